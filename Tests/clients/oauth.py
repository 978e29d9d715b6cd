"""Log-ins by tokens of an authorization server (RFC 7628, XEP-0493): Authlib's is one, on loopback (issuer.py), and what it would never give is made of its keys
by joserfc. OpenSSL speaks TLS."""

import asyncio
import base64
import contextlib
import hmac
import json
import pathlib
import ssl
import sys
import time
import urllib.parse
import urllib.request

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

import issuer as authority
from binding import SASL, TRANSPORTS, Connection, condition
from fast import BIND, PHONE, given
from harness import check, equal, require
from operations import PASSWORD, Server, accepts, free_ports, until
from tls import output

AUDIENCE = authority.AUDIENCE
REFETCH = 31  # seconds after which the server looks again for a key that it does not know


class Issuer:
    """An authorization server in a process of its own."""

    def __init__(self, folder, *keys):
        self.folder, self.keys, self.process = pathlib.Path(folder), list(keys) or [ECKey.generate_key("P-256", {"kid": "first"})], None
        self.port, = free_ports(1)
        self.name, self.certificate = f"https://127.0.0.1:{self.port}", self.folder / "issuer.pem"

    async def __aenter__(self):
        status, text = await output(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90", "-subj", "/CN=issuer",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "issuer.key", "-out", self.certificate)
        equal(status, 0, text)
        self.publish(*self.keys)
        await self.start()
        return self

    async def start(self):
        with open(self.folder / "issuer.log", "ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, pathlib.Path(authority.__file__), str(self.port), self.folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log)
        await until(lambda: accepts(self.port), "the authorization server")

    async def stop(self):
        if self.process and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    async def __aexit__(self, *_):
        await self.stop()

    def publish(self, *keys):
        """From now on it signs with the first of them."""
        self.keys = list(keys)
        (self.folder / "keys.json").write_text(json.dumps(KeySet(self.keys).as_dict(private=True)))

    async def post(self, path, client, **fields):
        credentials = base64.b64encode(f"{client}:{authority.CLIENTS[client]}".encode()).decode()
        request = urllib.request.Request(f"{self.name}{path}", urllib.parse.urlencode(fields).encode(), {"Authorization": f"Basic {credentials}"})
        context = ssl.create_default_context(cafile=self.certificate)
        return json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=8, context=context).read()))

    async def token(self, user="romeo", client="app", scope="chat"):
        """One that it gives, for the user's password."""
        answer = await self.post("/token", client, grant_type="password", username=user, password=f"{user} at the issuer", scope=scope)
        return answer["access_token"]

    def made(self, key=None, header=(), **changes):
        """One that looks as if it came from there. `None` leaves a claim out."""
        now, key = int(time.time()), key or self.keys[0]
        claims = {
            "iss": self.name, "aud": AUDIENCE, "sub": "1", "preferred_username": "romeo", "exp": now + 300, "iat": now, "scope": "chat", "client_id": "app"}
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        header = {"alg": authority.ALGORITHMS.get(key.key_type), "kid": key.kid} | dict(header)
        return jwt.encode({name: value for name, value in header.items() if value is not None}, claims, key, algorithms=[header["alg"]])


def url(text):
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def by_secret(secret, payload):
    """With a secret that is none: libraries refuse to make such a token."""
    signed = f"{url(json.dumps({'alg': 'HS256', 'kid': 'rsa'}))}.{payload}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), 'sha256')).rstrip(b'=').decode()}"


@contextlib.asynccontextmanager
async def oauth_server(world, *keys, more="", introspection=""):
    """A server that believes an authorization server, for whose users romeo, juliet and tybalt there are accounts; tybalt's is disabled."""
    tls_port, = free_ports(1)
    server = Server(
        world, f"}}\n  - {{kind: client-tls, port: {tls_port}, addresses: [127.0.0.1]", MARTLET_AUTHENTICATION_TRIES_PER_STREAM="20",
        MARTLET_LOG_LEVEL="debug")
    issuer = Issuer(server.folder, *keys)
    text = server.configuration.read_text() + (
        f"oauth:\n  - issuer: {issuer.name}\n    audience: {AUDIENCE}\n    account-claim: preferred_username\n    scopes: [chat]\n"
        f"    trust-anchors: {issuer.certificate}\n{more}")
    if introspection:
        secret = server.folder / "oauth.secret"
        secret.touch(mode=0o600)
        secret.write_text(authority.CLIENTS["martlet"] + "\n")
        text += f"    introspection: {{url: '{issuer.name}/introspect', client-id: martlet, secret-file: {secret}, remember: {introspection}}}\n"
    server.configuration.write_text(text)
    async with issuer:
        async with server:
            for name in ("juliet", "tybalt"):
                await server.command("account", "add", f"{name}@{server.domain}", input=PASSWORD.encode() + b"\n")
            await server.command("account", "disable", f"tybalt@{server.domain}")
            place = server.world()
            place.tls_port = tls_port
            yield server, issuer, place


def message(token, authzid="", pairs=""):
    name = f"a={authzid}" if authzid else ""
    return f"n,{name},\x01{pairs}auth=Bearer {token}\x01\x01".encode()


async def outcome(connection, payload):
    """What comes of a log-in as RFC 6120 has it: `success`, the condition of a failure, or what the server has said of the token before it."""
    connection.write(f"<auth xmlns='{SASL}' mechanism='OAUTHBEARER'>{base64.b64encode(payload).decode()}</auth>")
    answer = await connection.hear(r"<(success|failure|challenge)(?: xmlns='[^']+')?(?:/>|>(.*?)</\1>)")
    if answer[1] == "failure":
        return condition(answer[2])
    if answer[1] == "success":
        return "success"
    said = json.loads(base64.b64decode(answer[2]))
    connection.write(f"<response xmlns='{SASL}'>AQ==</response>")
    failure = await connection.hear(r"<failure [^>]*>(.*?)</failure>")
    equal(condition(failure[1]), "not-authorized", "after the answer to a refusal")
    return said


async def bound(connection):
    """A session on a stream whose client has logged in."""
    connection.write(
        f"<stream:stream to='{connection.world.domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind></iq>")
    return (await connection.hear(r"<jid>([^<]+)</jid>"))[1]


@check("oauth: a client with a token of Authlib's has a session, signed with each kind of key, over STARTTLS and direct TLS (RFC 7628, RFC 9068)", only="martlet")
async def _(world):
    for key in (ECKey.generate_key("P-256", {"kid": "a"}), RSAKey.generate_key(2048, {"kid": "b"}), OKPKey.generate_key("Ed25519", {"kid": "c"})):
        async with oauth_server(world, key) as (server, issuer, place):
            for tls in TRANSPORTS:
                async with Connection(place, tls) as connection:
                    require("OAUTHBEARER" in connection.mechanisms, f"it is not offered: {connection.mechanisms}")
                    token = issuer.made() if key.key_type == "OKP" else await issuer.token()  # Authlib signs with no key of that kind
                    equal(await outcome(connection, message(token, f"romeo@{server.domain}", f"host={server.domain}\x01port=5222\x01")), "success", key.key_type)
                    equal(await bound(connection), f"romeo@{server.domain}/balcony", "the session")
            require(token not in server.text() and token.split(".")[2] not in server.text(), "the log has a token")


@check("oauth: the same in one round trip, and a token of the server's is given only where it may be (XEP-0388, XEP-0484)", only="martlet")
async def _(world):
    for more, is_given in (("", False), ("    device-tokens: true\n", True)):
        async with oauth_server(world, more=more) as (server, issuer, place):
            async with Connection(place, "starttls") as connection:
                response = base64.b64encode(message(await issuer.token())).decode()
                connection.write(
                    f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='OAUTHBEARER'><initial-response>{response}</initial-response>"
                    f"<user-agent id='{PHONE}'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>{BIND}</authenticate>")
                success = (await connection.hear(r"<success xmlns='urn:xmpp:sasl:2'>(.*?)</success>"))[1]
                require(f"romeo@{server.domain}/balcony/" in success, success)
                equal(given(success) is not None, is_given, "a token of the server's")


@check("oauth: a client without a token is told where it gets one, and what it has to be good for (XEP-0493 2.3.1)", only="martlet")
async def _(world):
    async with oauth_server(world) as (server, issuer, place):
        async with Connection(place, "starttls") as connection:
            said = await outcome(connection, message(""))
            equal(
                said, {"status": "invalid_token", "scope": "chat", "openid-configuration": f"{issuer.name}/.well-known/openid-configuration"}, "what is said")
            context = ssl.create_default_context(cafile=issuer.certificate)
            found = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(said["openid-configuration"], context=context, timeout=8).read()))
            equal(found["issuer"], issuer.name, "what is there")
            equal(await outcome(connection, message(await issuer.token())), "success", "with one")


@check("oauth: a token that is not as it should be lets nobody in, whatever is wrong with it (RFC 8725)", only="martlet")
async def _(world):
    rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
    async with oauth_server(world, ECKey.generate_key("P-256", {"kid": "first"}), rsa) as (server, issuer, place):
        now, other = int(time.time()), ECKey.generate_key("P-256", {"kid": "first"})
        header, payload, signature = issuer.made().split(".")
        changed = url(json.dumps({"iss": issuer.name, "aud": AUDIENCE, "preferred_username": "juliet", "exp": now + 300, "scope": "chat"}))
        bad = {
            "wrong issuer": issuer.made(iss="https://id.mantua.test"), "no issuer": issuer.made(iss=None),
            "wrong audience": issuer.made(aud="mail.verona.test"), "no audience": issuer.made(aud=None),
            "expired": issuer.made(exp=now - 31), "no end": issuer.made(exp=None), "not yet": issuer.made(nbf=now + 60), "from the future": issuer.made(iat=now + 60),
            "unsigned": f"{url(json.dumps({'alg': 'none', 'kid': 'first'}))}.{payload}.", "unsigned, with a signature": f"{url(json.dumps({'alg': 'none'}))}.{payload}.{signature}",
            "the public key as a secret": by_secret(rsa.as_pem(private=False), payload),
            "another's key": issuer.made(other), "unknown key": issuer.made(header={"kid": "third"}), "changed": f"{header}.{changed}.{signature}",
            "cut": issuer.made()[:-4],
            "an extension": f"{url(json.dumps({'alg': 'ES256', 'kid': 'first', 'crit': ['x'], 'x': 1}))}.{payload}.{signature}",
            "nobody": issuer.made(preferred_username="benvolio"), "no name": issuer.made(preferred_username=None),
            "another domain's": issuer.made(preferred_username="romeo@mantua.test"), "garbage": "a.b.c", "opaque": "x" * 40,
        }
        names = list(bad)
        for start in range(0, len(names), 6):
            async with Connection(place, "starttls") as connection:
                for name in names[start:start + 6]:
                    said = await outcome(connection, message(bad[name]))
                    require(isinstance(said, dict) and said["status"] == "invalid_token", f"{name}: {said}")
                equal(await outcome(connection, message(issuer.made())), "success", "a good one on the same stream")
        for line in ("from another issuer", "for another audience", "has expired", "not good yet", "by an algorithm that is not taken", "no such key", "signature is wrong"):
            require(line in server.text(), f"the log does not say: {line}")
        require(not any(token in server.text() for token in bad.values() if token.count(".") == 2 and len(token) > 20), "the log has a token")


@check("oauth: what a token allows is no more than it says, and only for its own account", only="martlet")
async def _(world):
    async with oauth_server(world) as (server, issuer, place):
        async with Connection(place, "starttls") as connection:
            said = await outcome(connection, message(await issuer.token(scope="mail")))
            equal(said["status"], "insufficient_scope", "another scope")
            for authzid in (f"juliet@{server.domain}", f"romeo@{server.domain}/balcony", server.domain, "romeo"):
                equal(await outcome(connection, message(await issuer.token(), authzid)), "invalid-authzid", authzid)
            equal(await outcome(connection, message(await issuer.token("tybalt"))), "account-disabled", "a disabled account")
            equal(await outcome(connection, message(await issuer.token("tybalt"), f"romeo@{server.domain}")), "invalid-authzid", "a disabled account's, for another")
            for payload in (b"\x01", b"n,,\x01", b"p=tls-exporter,,\x01auth=Bearer x\x01\x01", b"n,,\x01auth=Basic x\x01\x01", message("a b"), message("x" * 10_240)):
                equal(await outcome(connection, payload), "malformed-request", f"{payload[:40]}")
            equal(await outcome(connection, message(await issuer.token("juliet"), f"juliet@{server.domain}")), "success", "juliet")
            equal(await bound(connection), f"juliet@{server.domain}/balcony", "the session")


@check("oauth: an element that is longer than a token can be ends the stream, and nothing else", only="martlet")
async def _(world):
    async with oauth_server(world) as (server, issuer, place):
        async with Connection(place, "starttls") as connection:
            connection.write(f"<auth xmlns='{SASL}' mechanism='OAUTHBEARER'>{'A' * 20_000}</auth>")
            await connection.hear(r"<policy-violation ")
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(await issuer.token())), "success", "somebody else")


@check("oauth: a new key of the issuer's is found by the first token that it has signed, and one that was withdrawn is good for nothing", only="martlet", beside=True)
async def _(world):
    first, second = (ECKey.generate_key("P-256", {"kid": name}) for name in ("first", "second"))
    async with oauth_server(world, first) as (server, issuer, place):
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(issuer.made())), "success", "the first key")
        old = issuer.made()
        issuer.publish(second)
        await asyncio.sleep(REFETCH)
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(issuer.made())), "success", "the second key")
        async with Connection(place, "starttls") as connection:
            equal((await outcome(connection, message(old)))["status"], "invalid_token", "the first key, withdrawn")


@check("oauth: an issuer that is down is believed by the keys that are known; a server that has none says so, and takes passwords", only="martlet")
async def _(world):
    async with oauth_server(world) as (server, issuer, place):
        await issuer.stop()
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(issuer.made())), "success", "with known keys")
        await server.stop()
        await server.start()
        await until(lambda: "keys of an authorization server cannot be fetched" in server.text(), "a line of the log")
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(issuer.made())), "temporary-auth-failure", "without keys")
            equal(await connection.authenticate("SHA-256", "n"), None, "by password")


@check("oauth: an opaque token is asked about, and one that was revoked lets nobody in (RFC 7662, RFC 7009)", only="martlet")
async def _(world):
    async with oauth_server(world, introspection="0s") as (server, issuer, place):
        token = await issuer.token(client="opaque")
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(token, f"romeo@{server.domain}")), "success", "an opaque token")
        with contextlib.suppress(json.JSONDecodeError):
            await issuer.post("/revoke", "opaque", token=token)
        async with Connection(place, "starttls") as connection:
            equal((await outcome(connection, message(token)))["status"], "invalid_token", "revoked")
            equal((await outcome(connection, message("made-up")))["status"], "invalid_token", "made up")
            equal((await outcome(connection, message(await issuer.token(client="opaque", scope="mail"))))["status"], "insufficient_scope", "another scope")
        token = await issuer.token(client="opaque")
        await issuer.stop()
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(token)), "temporary-auth-failure", "nobody can be asked")
        require(token not in server.text(), "the log has a token")


@check("oauth: an answer that a token is good is used again for as long as the operator says, and no longer", only="martlet")
async def _(world):
    async with oauth_server(world, introspection="3s") as (server, issuer, place):
        token = await issuer.token(client="opaque")
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(token)), "success", "a token")
        with contextlib.suppress(json.JSONDecodeError):
            await issuer.post("/revoke", "opaque", token=token)
        async with Connection(place, "starttls") as connection:
            equal(await outcome(connection, message(token)), "success", "a moment later")
        await asyncio.sleep(4)
        async with Connection(place, "starttls") as connection:
            equal((await outcome(connection, message(token)))["status"], "invalid_token", "after that")


@check("oauth: a session ends with its token where the operator wants that, and goes on otherwise", only="martlet")
async def _(world):
    for more, ends in (("    end-sessions: true\n", True), ("", False)):
        async with oauth_server(world, more=more) as (server, issuer, place):
            async with Connection(place, "starttls") as connection:
                equal(await outcome(connection, message(issuer.made(exp=int(time.time()) + 3))), "success", "a short token")
                await bound(connection)
                await asyncio.sleep(4)
                connection.write("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
                answer = await connection.hear(r"<iq [^>]*id='p'|<stream:error><not-authorized ")
                equal(answer[0].startswith("<stream:error>"), ends, "the end of the session")
