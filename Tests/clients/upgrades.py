"""Keys that clients make up as they log in (XEP-0480), with a client of a few lines: OpenSSL speaks TLS, and SCRAM is computed here (RFC 5802)."""

import base64
import contextlib
import hashlib
import hmac
import re
import secrets

from binding import EXPORTER, Connection, binding_server, condition
from fast import BIND, PHONE, accepted, by_password, outcome
from harness import check, equal, require
from operations import PASSWORD, until

TASKS = ["UPGR-SCRAM-SHA-512", "UPGR-SCRAM-SHA-256"]
DIGESTS = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
ALL = "SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN"


class Login:
    """A log-in by SCRAM with channel binding, in the profile of XEP-0388, up to the server's answer to the proof."""

    def __init__(self, connection, hash_name, password=PASSWORD):
        self.connection, self.name, self.digest, self.password = connection, hash_name, DIGESTS[hash_name], password

    async def prove(self, tasks=(), inline=BIND):
        header, first = f"p={EXPORTER},,", f"n=romeo,r={secrets.token_urlsafe(16)}"
        wishes = "".join(f"<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>{task}</upgrade>" for task in tasks)
        self.connection.write(
            f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-{self.name}-PLUS'>"
            f"<initial-response>{base64.b64encode((header + first).encode()).decode()}</initial-response>"
            f"<user-agent id='{PHONE}'/>{wishes}{inline}</authenticate>")
        challenge = base64.b64decode((await self.connection.hear(r"<challenge [^>]*>(.*?)</challenge>"))[1]).decode()
        said = dict(part.split("=", 1) for part in challenge.split(","))
        salted = self.salted(self.digest, said["s"], int(said["i"]))
        key = hmac.digest(salted, b"Client Key", self.digest)
        last = f"c={base64.b64encode(header.encode() + self.connection.binding(EXPORTER)).decode()},r={said['r']}"
        message = f"{first},{challenge},{last}".encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.new(self.digest, key).digest(), message, self.digest)))
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", self.digest), message, self.digest)
        final = f"{last},p={base64.b64encode(proof).decode()}"
        self.connection.write(f"<response xmlns='urn:xmpp:sasl:2'>{base64.b64encode(final.encode()).decode()}</response>")

    def salted(self, digest, salt, iterations):
        return hashlib.pbkdf2_hmac(digest, self.password.encode(), base64.b64decode(salt), iterations)

    async def task(self, computed=None):
        """Does what the server asks for, or answers `computed`; the name of the task, and whether the server's own proof came with it."""
        request = (await self.connection.hear(r"<continue xmlns='urn:xmpp:sasl:2'>(.*?)</continue>"))[1]
        name, = re.findall(r"<task>([^<]+)</task>", request)
        self.connection.write(f"<next xmlns='urn:xmpp:sasl:2' task='{name}'/>")
        told = await self.connection.hear(r"<task-data [^>]*><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='(\d+)'>([^<]+)</salt></task-data>")
        value = computed or self.salted(DIGESTS[name.removeprefix("UPGR-SCRAM-")], told[2], int(told[1]))
        self.connection.write(
            "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>"
            f"{base64.b64encode(value).decode()}</hash></task-data>")
        return name, self.proof() in request

    def proof(self):
        return f"<additional-data>{base64.b64encode(b'v=' + base64.b64encode(self.signature)).decode()}</additional-data>"

    async def success(self):
        is_accepted, content = await outcome(self.connection)
        require(is_accepted, f"the log-in by SCRAM-{self.name} failed: {content}")
        return content


async def configure(server, mechanisms):
    text = server.configuration.read_text()
    text = re.sub(r"authentication: \{.*\}", f"authentication: {{scram-iterations: 4096, mechanisms: [{mechanisms}]}}", text)
    server.configuration.write_text(text)
    await server.command("config", "reload")


@contextlib.asynccontextmanager
async def old_server(world):
    """A server that has known nothing but SCRAM-SHA-1, and a place in it."""
    async with binding_server(world) as (server, place):
        await configure(server, "SCRAM-SHA-1, PLAIN")
        await server.command("account", "password", place.jid("romeo"), input=PASSWORD.encode() + b"\n")
        yield server, place


async def logs_in(place, hash_name, tasks=()):
    """The whole log-in; nothing may be asked for."""
    async with Connection(place, "direct", "-tls1_3") as connection:
        login = Login(connection, hash_name)
        await login.prove(tasks)
        require(login.proof() in await login.success(), "the server's proof")


@check("upgrades: a client makes up the keys of stronger mechanisms, which the operator offers then (XEP-0480)", only="martlet")
async def _(world):
    async with old_server(world) as (server, place):
        async with Connection(place, "direct", "-tls1_3") as connection:
            equal(connection.upgrades, TASKS, "tasks")
            equal([name for name in connection.mechanisms if "SHA-" in name], ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"], "mechanisms")
            login = Login(connection, "SHA-1")
            await login.prove(TASKS)
            equal(await login.task(), (TASKS[0], True), "the first task, with the server's proof")
            equal(await login.task(), (TASKS[1], False), "the second task")
            success = await login.success()
            require("<bound " in success and "<additional-data>" not in success, f"the success: {success}")
        await until(lambda: server.text().count("keys of a password added") == 2, "two lines in the log")
        await configure(server, ALL)
        for hash_name in DIGESTS:
            await logs_in(place, hash_name, TASKS)
        await server.stop()
        await server.start()
        await logs_in(place, "SHA-512")


@check("upgrades: of a password that is told the server makes the keys itself (XEP-0480)", only="martlet")
async def _(world):
    async with old_server(world) as (server, place):
        async with Connection(place, "direct", "-tls1_3") as connection:
            await accepted(connection, by_password())
        await until(lambda: "keys of a password added" in server.text(), "a line in the log")
        await configure(server, ALL)
        for hash_name in DIGESTS:
            await logs_in(place, hash_name)


@check("upgrades: keys that a client made up end with its password, also one that is changed while it computes (XEP-0480)", only="martlet")
async def _(world):
    async with old_server(world) as (server, place):
        romeo = place.jid("romeo")
        async with Connection(place, "direct", "-tls1_3") as connection:
            login = Login(connection, "SHA-1")
            await login.prove(TASKS[:1])
            await server.command("account", "password", romeo, input=b"m0ntagues\n")
            await login.task()
            failure = (await connection.hear(r"<failure xmlns='urn:xmpp:sasl:2'>(.*?)</failure>"))[1]
            equal(condition(failure), "not-authorized", "keys of an old password")
            await connection.hear(r"</stream:stream>")
        require("keys of a password added" not in server.text(), "keys were added")


@check("upgrades: what has not the length of the hash ends the stream, and the next log-in is asked again (XEP-0480)", only="martlet")
async def _(world):
    async with old_server(world) as (server, place):
        async with Connection(place, "direct", "-tls1_3") as connection:
            login = Login(connection, "SHA-1")
            await login.prove(TASKS[1:])
            await login.task(computed=bytes(31))
            failure = (await connection.hear(r"<failure xmlns='urn:xmpp:sasl:2'>(.*?)</failure>"))[1]
            equal(condition(failure), "malformed-request", "31 bytes")
            await connection.hear(r"</stream:stream>")
        async with Connection(place, "direct", "-tls1_3") as connection:
            login = Login(connection, "SHA-1")
            await login.prove(TASKS[1:])
            equal(await login.task(), (TASKS[1], True), "the task")
            await login.success()
