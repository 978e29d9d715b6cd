"""Log-ins by tokens (XEP-0484), with a client of a few lines: OpenSSL speaks TLS, and Hashed Token is computed here."""

import base64
import datetime
import hashlib
import hmac
import json
import re

from binding import END_POINT, EXPORTER, Connection, binding_server, condition
from harness import check, equal, require
from operations import PASSWORD

BINDINGS = {"HT-SHA-256-EXPR": EXPORTER, "HT-SHA-256-ENDP": END_POINT, "HT-SHA-256-NONE": None}
PHONE, LAPTOP = "d4565fa7-4d72-4749-b3d3-740edbf87770", "e4565fa7-4d72-4749-b3d3-740edbf87770"
BIND = "<bind xmlns='urn:xmpp:bind:0'><tag>balcony</tag></bind>"


def authenticate(mechanism, payload, inline, device=PHONE):
    response = base64.b64encode(payload).decode()
    return (
        f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{response}</initial-response>"
        f"<user-agent id='{device}'><software>fast.py</software></user-agent>{BIND}{inline}</authenticate>")


def by_password(mechanism=None):
    wish = f"<request-token xmlns='urn:xmpp:fast:0' mechanism='{mechanism}'/>" if mechanism else ""
    return authenticate("PLAIN", b"\0romeo\0" + PASSWORD.encode(), wish)


def by_token(connection, token, mechanism, device=PHONE, count=None, inline=""):
    kind = BINDINGS[mechanism]
    proof = hmac.digest(token.encode(), b"Initiator" + (connection.binding(kind) if kind else b""), hashlib.sha256)
    attribute = f" count='{count}'" if count else ""
    return authenticate(mechanism, b"romeo\0" + proof, f"<fast xmlns='urn:xmpp:fast:0'{attribute}/>{inline}", device)


async def outcome(connection):
    """The content of the success, or the condition of the failure."""
    answer = await connection.hear(r"<(success|failure) xmlns='urn:xmpp:sasl:2'>(.*?)</\1>")
    return (True, answer[2]) if answer[1] == "success" else (False, condition(answer[2]))


async def accepted(connection, text):
    connection.write(text)
    is_accepted, content = await outcome(connection)
    require(is_accepted, f"the log-in failed: {content}")
    return content


async def refused(connection, text, why="not-authorized"):
    connection.write(text)
    equal(await outcome(connection), (False, why), "the log-in")


def given(success):
    """The token in a success, or None."""
    element = re.search(r"<token [^>]*>", success)
    if element is None:
        return None
    expiry = datetime.datetime.fromisoformat(re.search(r"expiry='([^']+)'", element[0])[1].replace("Z", "+00:00"))
    days = (expiry - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400
    require(20.9 < days <= 21, f"the token is good for {days} days")
    return re.search(r" token='([^']+)'", element[0])[1]


async def first_token(place, mechanism):
    async with Connection(place, "direct", "-tls1_3") as connection:
        token = given(await accepted(connection, by_password(mechanism)))
        require(token, "no token")
        return token


@check("fast: a client is given a token with its password, and logs in by it in one round trip, with each mechanism (XEP-0484)", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        for mechanism, kind in BINDINGS.items():
            token = await first_token(place, mechanism)
            for tls in ("direct", "starttls"):
                def first(connection):
                    return by_token(connection, token, mechanism) + "<iq type='get' id='q1'><query xmlns='urn:example:q'/></iq>"

                async with Connection(place, tls, "-tls1_3", first=first) as connection:
                    equal(connection.tokens, list(BINDINGS), "mechanisms of tokens")
                    require(not any(each.startswith("HT-") for each in connection.mechanisms), "tokens are among the mechanisms of RFC 6120")
                    is_accepted, success = await outcome(connection)
                    require(is_accepted, f"the log-in by {mechanism} failed: {success}")
                    proof = hmac.digest(token.encode(), b"Responder" + (connection.binding(kind) if kind else b""), hashlib.sha256)
                    require(f"<additional-data>{base64.b64encode(proof).decode()}</additional-data>" in success, "the server's proof")
                    require("<bound " in success and "romeo@verona.test/balcony/" in success, f"no resource: {success}")
                    require(given(success) is None, "a token that nobody needs")
                    await connection.hear(r"<iq [^>]*id='q1'")


@check("fast: with TLS 1.2 tokens are bound to the certificate or to nothing", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        token = await first_token(place, "HT-SHA-256-ENDP")
        async with Connection(place, "direct", "-tls1_2") as connection:
            equal(connection.tokens, ["HT-SHA-256-ENDP", "HT-SHA-256-NONE"], "mechanisms of tokens")
            await accepted(connection, by_token(connection, token, "HT-SHA-256-ENDP"))


@check("fast: a token is for one device, mechanism, connection and count, and whoever is refused logs in by the password", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        token = await first_token(place, "HT-SHA-256-EXPR")
        async with Connection(place, "direct", "-tls1_3") as one:
            words = by_token(one, token, "HT-SHA-256-EXPR", count=1)
            await refused(one, by_token(one, token, "HT-SHA-256-NONE"))
            await refused(one, by_token(one, token, "HT-SHA-256-EXPR", device=LAPTOP))
            await accepted(one, words)
        async with Connection(place, "direct", "-tls1_3") as other:
            await refused(other, words)  # as somebody would who has seen them
            await refused(other, by_token(other, token, "HT-SHA-256-EXPR", count=1))
            await accepted(other, by_password())
        async with Connection(place, "direct", "-tls1_3") as third:
            await accepted(third, by_token(third, token, "HT-SHA-256-EXPR", count=2))


@check("fast: tokens outlive the server, and end with what operators do to a device and to a password", only="martlet")
async def _(world):
    async with binding_server(world) as (server, place):
        romeo, mechanism = place.jid("romeo"), "HT-SHA-256-NONE"
        token = await first_token(place, mechanism)
        await server.stop()
        await server.start()
        async with Connection(place, "direct", "-tls1_3") as connection:
            await accepted(connection, by_token(connection, token, mechanism))
            device, = [json.loads(line) for line in (await server.command("device", "list", romeo, "--json")).splitlines()]
            require(device["hasToken"] and device["isConnected"] and device["knowsPassword"], f"the device is listed as {device}")
        await server.command("device", "revoke", romeo, device["id"])
        async with Connection(place, "direct", "-tls1_3") as connection:
            await refused(connection, by_token(connection, token, mechanism))
        token = await first_token(place, mechanism)
        await server.command("account", "password", romeo, input=PASSWORD.encode() + b"\n")
        async with Connection(place, "direct", "-tls1_3") as connection:
            await refused(connection, by_token(connection, token, mechanism))
        require(token not in server.text(), "the log has a token")


@check("fast: with devices.token-lifetime 0s there are no tokens, and the wish for one is passed over", only="martlet")
async def _(world):
    async with binding_server(world) as (server, place):
        server.configuration.write_text(server.configuration.read_text() + "devices: {token-lifetime: 0s}\n")
        await server.command("config", "reload")
        async with Connection(place, "direct", "-tls1_3") as connection:
            equal(connection.tokens, [], "mechanisms of tokens")
            require(given(await accepted(connection, by_password("HT-SHA-256-NONE"))) is None, "a token")
