"""Channel binding (RFC 5056), with OpenSSL's own idea of the connection: `openssl s_client` speaks TLS and exports the keying material, and SCRAM is
computed here (RFC 5802, RFC 9266, XEP-0440, XEP-0474, XEP-0515)."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
import secrets
import ssl

from harness import STEP, check, equal, require
from operations import PASSWORD, Server, free_ports, until

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
EXPORTER, END_POINT = "tls-exporter", "tls-server-end-point"
TRANSPORTS = {"starttls": "STARTTLS", "direct": "direct TLS"}
SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]  # one for each hash that TLS 1.3 has


class Connection:
    """A stream over `openssl s_client`, up to the features that are offered behind TLS.

    `first` says what goes out with the header, before anything was heard.
    """

    def __init__(self, world, tls, *options, first=lambda connection: "", environment=None):
        self.first_words, self.environment = first, environment
        port = world.port if tls == "starttls" else world.tls_port
        self.world = world
        self.command = ["openssl", "s_client", "-connect", f"{world.address}:{port}", "-servername", world.domain, "-CAfile", world.certificate]
        self.command += ["-verify_return_error", "-verify_hostname", world.domain, "-nocommands", "-ign_eof"]
        self.command += ["-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", *options]
        if tls == "starttls":
            self.command += ["-starttls", "xmpp", "-xmpphost", world.domain]
        self.heard = ""

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env=self.environment)
        banner = await self.hear(r"Keying material: ([0-9A-F]{64})")
        self.exported = bytes.fromhex(banner[1])
        self.is_resumed = "Reused, " in banner.string[: banner.end()]
        await self.open_stream(self.first_words(self))
        return self

    async def open_stream(self, first_words=""):
        self.write(
            f"<stream:stream to='{self.world.domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            + first_words)
        features = (await self.hear(r"<stream:features>.*?</stream:features>"))[0]
        listed, fast = re.search(r"<mechanisms .*?</mechanisms>", features), re.search(r"<fast .*?</fast>", features)
        self.mechanisms = re.findall(r"<mechanism>([^<]+)</mechanism>", listed[0] if listed else "")
        self.tokens = re.findall(r"<mechanism>([^<]+)</mechanism>", fast[0] if fast else "")
        self.upgrades = re.findall(r"<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>([^<]+)</upgrade>", features)
        self.types = re.findall(r"<channel-binding type='([^']+)'/>", features)

    async def __aexit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    def write(self, text):
        self.process.stdin.write(text.encode())

    async def hear(self, pattern, seconds=STEP):
        """The first match in what the server says; what is before it is forgotten."""

        async def listen():
            while (match := re.search(pattern, self.heard, re.DOTALL)) is None:
                piece = await self.process.stdout.read(65536)
                require(piece, f"the connection ended before {pattern}: {self.heard[-300:]}")
                self.heard += piece.decode(errors="replace")
            self.heard = self.heard[match.end():]
            return match

        return await asyncio.wait_for(listen(), seconds)

    def binding(self, kind):
        if kind == EXPORTER:
            return self.exported
        with open(self.world.certificate) as file:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).digest()  # signed with SHA-256

    async def authenticate(self, hash_name, flag, data=b"", password=PASSWORD, name="romeo"):
        """SCRAM with this GS2 flag and binding data; the condition of the failure, or None. Keeps the server's first message."""
        mechanism = f"SCRAM-{hash_name}" + ("-PLUS" if flag.startswith("p=") else "")
        digest = hash_name.replace("-", "").lower()
        header, first = f"{flag},,", f"n={name},r={secrets.token_urlsafe(16)}"
        self.write(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{base64.b64encode((header + first).encode()).decode()}</auth>")
        answer = await self.hear(r"<(challenge|failure) [^>]*>(.*?)</\1>")
        if answer[1] == "failure":
            return condition(answer[2])
        self.first = base64.b64decode(answer[2]).decode()
        said = dict(part.split("=", 1) for part in self.first.split(","))
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(said["s"]), int(said["i"]))
        client_key = hmac.digest(salted, b"Client Key", digest)
        last = f"c={base64.b64encode(header.encode() + data).decode()},r={said['r']}"
        message = f"{first},{self.first},{last}".encode()
        proof = bytes(a ^ b for a, b in zip(client_key, hmac.digest(hashlib.new(digest, client_key).digest(), message, digest)))
        self.write(f"<response xmlns='{SASL}'>{base64.b64encode((last + ',p=' + base64.b64encode(proof).decode()).encode()).decode()}</response>")
        answer = await self.hear(r"<(success|failure) [^>]*>(.*?)</\1>")
        if answer[1] == "failure":
            return condition(answer[2])
        signature = hmac.digest(hmac.digest(salted, b"Server Key", digest), message, digest)
        equal(base64.b64decode(answer[2]), b"v=" + base64.b64encode(signature), "the server's signature")
        # What was offered, as this end has seen it (XEP-0474 5.2).
        offered = "\x1e".join(sorted(self.mechanisms)) + ("\x1f" + "\x1e".join(sorted(self.types)) if self.types else "")
        equal(said.get("h"), base64.b64encode(hashlib.new(digest, offered.encode()).digest()).decode(), "h=, of what was offered")
        self.version = said.get("t")
        return None


def condition(failure):
    match = re.match(r"<([a-z-]+)[ /]", failure)
    return match[1] if match else failure


@contextlib.asynccontextmanager
async def binding_server(world):
    tls_port, = free_ports(1)
    listener = f"}}\n  - {{kind: client-tls, port: {tls_port}, addresses: [127.0.0.1]"
    async with Server(world, listener, MARTLET_AUTHENTICATION_CHANNEL_BINDING="true") as server:
        place = server.world()
        place.tls_port = tls_port
        yield server, place


async def log_in(connection, hash_name="SHA-256", kind=EXPORTER):
    equal(await connection.authenticate(hash_name, f"p={kind}", connection.binding(kind)), None, f"SCRAM-{hash_name}-PLUS with {kind}")


@check("openssl: a client binds by what its end of TLS 1.3 exports, over STARTTLS and direct TLS, with both hashes (RFC 9266)", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        for tls in TRANSPORTS:
            for suite in SUITES:
                async with Connection(place, tls, "-tls1_3", "-ciphersuites", suite) as connection:
                    equal(connection.types, [EXPORTER, END_POINT], "channel bindings")
                    await log_in(connection)
                    equal(connection.version, "0304", "t=")


@check("openssl: a client whose key share is not taken at first binds as others do (RFC 8446 4.1.4)", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        async with Connection(place, "direct", "-tls1_3", "-groups", "P-521:P-256") as connection:
            await log_in(connection, "SHA-512")


@check("openssl: a TLS session that is resumed has a binding of its own", only="martlet")
async def _(world):
    async with binding_server(world) as (server, place):
        file = str(server.folder / "session")
        async with Connection(place, "direct", "-tls1_3", "-sess_out", file) as first:
            await log_in(first, "SHA-1")
        async with Connection(place, "direct", "-tls1_3", "-sess_in", file) as second:
            require(second.is_resumed, "the session was not resumed")
            require(second.exported != first.exported, "both connections export the same")
            await log_in(second)


@check("openssl: with TLS 1.2 a client binds by the certificate (RFC 5929)", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        for tls in TRANSPORTS:
            async with Connection(place, tls, "-tls1_2") as connection:
                equal(connection.types, [END_POINT], "channel bindings")
                await log_in(connection, kind=END_POINT)
                equal(connection.version, "0303", "t=")


@check("openssl: who is at the end of another connection, or was not shown the offer, is refused, and the operator hears of it", only="martlet")
async def _(world):
    async with binding_server(world) as (server, place):
        async with Connection(place, "direct", "-tls1_3") as connection:
            elsewhere = bytes(32)
            equal(await connection.authenticate("SHA-256", f"p={EXPORTER}", elsewhere, password="wrong"), "not-authorized", "a stranger")
            equal(await connection.authenticate("SHA-256", "p=tls-unique", elsewhere), "not-authorized", "a type that was not offered")
            require("channel-binding=" not in server.text(), "a stranger raised an alarm")
            equal(await connection.authenticate("SHA-256", f"p={EXPORTER}", elsewhere), "not-authorized", "another connection")
            await until(lambda: "channel-binding=mismatch" in server.text(), "a line in the log")
            equal(await connection.authenticate("SHA-256", "y"), "not-authorized", "an offer that was taken away")
            await until(lambda: "channel-binding=stripped" in server.text(), "a line in the log")
        async with Connection(place, "direct", "-tls1_3") as connection:
            await log_in(connection)


@check("openssl: a client that does not bind logs in all the same", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        async with Connection(place, "starttls", "-tls1_3") as connection:
            equal(await connection.authenticate("SHA-256", "n"), None, "SCRAM-SHA-256")
