"""Log-ins whose proofs are computed by others: GNU SASL's `gsasl` speaks each mechanism over OpenSSL's TLS and over GnuTLS, nbxmpp and
go-sendxmpp are whole clients over TLS 1.3."""

import asyncio
import base64
import contextlib
import re
import signal

from binding import EXPORTER, SASL, TRANSPORTS, Connection, binding_server, condition
from certificates import bind, certified_server
from harness import STEP, check, equal, require
from messages import go_sendxmpp, result_of
from operations import PASSWORD, Server
from rooms_nbxmpp import nbxmpp

HASHES = ("SCRAM-SHA-1", "SCRAM-SHA-256")  # that it knows


class Library:
    """GNU SASL as a client, which is told what the server says and says what to send."""

    def __init__(self, mechanism, password=PASSWORD, binding=b"", name="romeo", authorization=None):
        self.mechanism, self.binding, self.heard = mechanism, binding, ""
        self.words = ["--client", "--mechanism", mechanism, "--authentication-id", name, "--password", password]
        if authorization:
            self.words += ["--authorization-id", authorization]

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec("gsasl", *self.words, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        if self.mechanism.startswith("SCRAM"):
            # It asks first for the binding of tls-exporter, and without one for that of tls-unique, which nobody has.
            for words in [self.binding] if self.binding else [b"", b""]:
                self.write(words)
        return self

    def write(self, words):
        self.process.stdin.write(base64.b64encode(words) + b"\n")

    async def says(self):
        """What it wants to send."""
        return base64.b64decode((await self.hear(r"Output from client:\n(.*?)\n"))[1])

    async def trusts(self):
        """Whether what the server said at last proves that it knows the account."""
        self.write(b"")
        return (await self.hear(r"\(server trusted\)|mechanism error: .*"))[0] == "(server trusted)"

    async def hear(self, pattern):
        async def listen():
            while (match := re.search(pattern, self.heard)) is None:
                piece = await self.process.stdout.read(4096)
                require(piece, f"gsasl ended: {self.heard}")
                self.heard += piece.decode(errors="replace")
            self.heard = self.heard[match.end():]
            return match

        return await asyncio.wait_for(listen(), STEP)

    async def __aexit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def by_library(connection, mechanism, **options):
    """Logs in with the mechanism; how it failed, or None."""
    async with Library(mechanism, **options) as library:
        first = base64.b64encode(await library.says()).decode() or "="
        connection.write(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>")
        while True:
            answer = await connection.hear(r"<(challenge|success|failure) ([^>]*/>|[^>]*>(.*?)</\1>)")
            if answer[1] == "failure":
                return condition(answer[3])
            words = base64.b64decode(answer[3] or "")
            if answer[1] == "success":
                if words:
                    library.write(words)
                    require(await library.trusts(), f"gsasl does not trust the server: {library.heard}")
                return None
            library.write(words)
            connection.write(f"<response xmlns='{SASL}'>{base64.b64encode(await library.says()).decode()}</response>")


@check("gsasl: logs in with PLAIN and SCRAM, and trusts the server's proof; a wrong password is refused (RFC 5802)", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        for tls in TRANSPORTS:
            for mechanism in (*HASHES, "PLAIN"):
                async with Connection(place, tls, "-tls1_2") as connection:
                    equal(await by_library(connection, mechanism, password="wrong"), "not-authorized", f"{tls}: {mechanism} with a wrong password")
                    equal(await by_library(connection, mechanism, name="nobody"), "not-authorized", f"{tls}: {mechanism} of nobody")
                    equal(await by_library(connection, mechanism), None, f"{tls}: {mechanism}")


@check("gsasl: binds to what OpenSSL exports, and is refused on another connection (RFC 9266)", only="martlet")
async def _(world):
    async with binding_server(world) as (_, place):
        for tls in TRANSPORTS:
            for mechanism in HASHES:
                plus = f"{mechanism}-PLUS"
                async with Connection(place, tls, "-tls1_3") as connection:
                    require(plus in connection.mechanisms and EXPORTER in connection.types, f"offered: {connection.mechanisms}, {connection.types}")
                    own = connection.exported
                    equal(await by_library(connection, plus, binding=own, password="wrong"), "not-authorized", f"{tls}: {plus} with a wrong password")
                    equal(await by_library(connection, plus, binding=bytes(32)), "not-authorized", f"{tls}: {plus} of another connection")
                    equal(await by_library(connection, plus, binding=own), None, f"{tls}: {plus}")


class GnuTLSConnection(Connection):
    """The same over GnuTLS. Its program knows XMPP only with the name to which it connects, so that STARTTLS is spoken here."""

    def __init__(self, world, version, *options):
        super().__init__(world, "starttls")
        self.command = [
            "stdbuf", "-o0", "gnutls-cli", "--port", str(world.port), "--starttls", "--verify-hostname", world.domain, "--sni-hostname", world.domain,
            "--x509cafile", world.certificate, "--priority", f"NORMAL:-VERS-ALL:+VERS-{version}", *options, world.address]

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*self.command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        await self.open_stream()
        self.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await self.hear(r"<proceed [^>]*/>")
        self.process.send_signal(signal.SIGALRM)
        # What it is given before that would go out in the clear.
        await self.hear(r"- Options:")
        await self.open_stream()
        return self


@check("gsasl: EXTERNAL, over GnuTLS 1.2 and 1.3 and STARTTLS, with a certificate that GnuTLS shows (XEP-0178 §3)", only="martlet")
async def _(world):
    async with certified_server(world) as (_, place, authority):
        shows = ("--x509certfile", authority.chain("romeo", "issuing"), "--x509keyfile", authority.file("romeo", "key"))
        for version in ("TLS1.3", "TLS1.2"):
            async with GnuTLSConnection(place, version, *shows) as connection:
                equal(await by_library(connection, "EXTERNAL", authorization=place.jid("nurse")), "invalid-authzid", "to be somebody else")
                equal(await by_library(connection, "EXTERNAL", authorization=place.jid("romeo")), None, "EXTERNAL")
                equal(await bind(connection), f"{place.jid('romeo')}/balcony", "the address")
            async with GnuTLSConnection(place, version) as connection:
                require("EXTERNAL" not in connection.mechanisms, "EXTERNAL is offered to who has no certificate")
                equal(await by_library(connection, "SCRAM-SHA-256"), None, "SCRAM-SHA-256")


@contextlib.asynccontextmanager
async def strict_server(world, mechanisms):
    """Takes TLS 1.3 and these mechanisms and nothing else, so that whoever is in has used them."""
    environment = {"MARTLET_AUTHENTICATION_MECHANISMS": mechanisms, "MARTLET_AUTHENTICATION_CHANNEL_BINDING": "true"}
    async with Server(world, ", tls-profile: modern", **environment) as server:
        yield server, server.world()


@check("nbxmpp: logs in with each SCRAM that it knows over TLS 1.3, also where binding is offered, which it does not know", only="martlet")
async def _(world):
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        async with strict_server(world, mechanism) as (server, place), nbxmpp(place, "romeo"):
            require(f"mechanism={mechanism}" in server.text(), f"the log has another mechanism: {server.text()}")


@check("go-sendxmpp: logs in with PLAIN, the one mechanism that it knows, over TLS 1.3", only="martlet")
async def _(world):
    async with strict_server(world, "PLAIN") as (server, place):
        equal(await result_of(await go_sendxmpp(place, "romeo", "starttls", place.jid("romeo")), b"x"), (0, ""), "result and output")
        require("mechanism=PLAIN" in server.text(), f"the log has another mechanism: {server.text()}")
