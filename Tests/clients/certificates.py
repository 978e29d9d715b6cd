"""Log-in with certificates (XEP-0178), by the programs of others: OpenSSL and GnuTLS speak TLS and hold the keys, one of them in a smart card;
slixmpp is a whole client. Whether a certificate counts is nobody's word but the server's, so what OpenSSL's own `-verify` would say is not asked."""

import asyncio
import base64
import contextlib
import datetime
import os
import time

from authority import AUTHORITY, KEYS, LOGS_IN, OTHER_POLICY, POLICY, SIGNS, Authority, address, person
from binding import SASL, Connection, condition
from harness import STEP, Client, Failed, Refused, check, equal, require
from operations import PASSWORD, Server, free_ports, until

VERSIONS = ("-tls1_3", "-tls1_2")


@contextlib.asynccontextmanager
async def certified_server(world, demand="request", revocation="mode: require", more=""):
    """The server, its world, and the authority that it believes, which has issued romeo a certificate."""
    tls_port, = free_ports(1)
    server = Server(world, f"}}\n  - {{kind: client-tls, port: {tls_port}, addresses: [127.0.0.1]")
    authority = await Authority(server.folder / "authority").make()
    await authority.issue("romeo", *person(f"romeo@{server.domain}"))
    text = server.configuration.read_text().replace(f"{{name: {server.domain}}}", f"{{name: {server.domain}, client-certificates: {demand}}}")
    server.configuration.write_text(
        f"{text}client-certificates:\n  trust-anchors: {authority.file('root')}\n  policies: [{POLICY}]\n"
        f"  revocation: {{{revocation}, lists: [{authority.folder / 'lists'}]}}\n{more}")
    async with server:
        place = server.world()
        place.tls_port = tls_port
        try:
            yield server, place, authority
        finally:
            await place.close_all()


async def external(connection, name=""):
    """SASL EXTERNAL, for the account of this name; how it failed, or None."""
    response = base64.b64encode(name.encode()).decode() or "="
    connection.write(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>{response}</auth>")
    answer = await connection.hear(r"<success [^>]*>|<failure [^>]*>(.*?)</failure>")
    return condition(answer[1]) if answer[1] else None


async def bind(connection, resource="balcony"):
    """The address that a session has, once it has logged in."""
    await connection.open_stream()
    connection.write(f"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>")
    return (await connection.hear(r"<jid>(.*?)</jid>"))[1]


@check("certificates: openssl logs in with EXTERNAL as who the certificate is for, over STARTTLS and direct TLS (XEP-0178 §3)", only="martlet")
async def _(world):
    async with certified_server(world) as (server, place, authority):
        shows = authority.shows("romeo", "issuing")
        for version in VERSIONS:
            for tls in ("starttls", "direct"):
                async with Connection(place, tls, version, *shows) as connection:
                    require("EXTERNAL" in connection.mechanisms, f"offered: {connection.mechanisms}; {server.text()}")
                    equal(await external(connection, f"nurse@{place.domain}"), "invalid-authzid", "to be somebody else")
                    equal(await external(connection), None, "EXTERNAL")
                    equal(await bind(connection), f"romeo@{place.domain}/balcony", "the address")
                async with Connection(place, tls, version, *shows) as connection:
                    equal(await external(connection, f"romeo@{place.domain}"), None, "EXTERNAL with the own address")
                async with Connection(place, tls, version, *shows) as connection:
                    connection.write(
                        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response/>"
                        "<bind xmlns='urn:xmpp:bind:0'><tag>card</tag></bind></authenticate>")
                    success = await connection.hear(r"<(success|failure) xmlns='urn:xmpp:sasl:2'>(.*?)</\1>")
                    require(f"romeo@{place.domain}/card" in success[2] and "<bound " in success[2], f"EXTERNAL inside SASL2: {success[0]}")
                async with Connection(place, tls, version) as connection:
                    require("EXTERNAL" not in connection.mechanisms, "EXTERNAL is offered to who has no certificate")
                    equal(await external(connection, f"romeo@{place.domain}"), "invalid-mechanism", "EXTERNAL without a certificate")
                    equal(await connection.authenticate("SHA-256", "n"), None, "the password")


@check("certificates: openssl logs in with keys of every kind that TLS is asked for", only="martlet")
async def _(world):
    async with certified_server(world) as (_, place, authority):
        for kind in KEYS:
            await authority.issue(kind, *person(place.jid("romeo")), key=kind)
            for version in VERSIONS:
                async with Connection(place, "direct", version, *authority.shows(kind, "issuing")) as connection:
                    equal(await external(connection), None, f"{kind}, {version}: EXTERNAL")


@check("certificates: a handshake that openssl signs with SHA-1 is refused (RFC 9155)", only="martlet")
async def _(world):
    async with certified_server(world) as (_, place, authority):
        await authority.issue("rsa", *person(place.jid("romeo")), key="RSA")
        weak = ("-cipher", "DEFAULT:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA256:RSA+SHA1")
        with contextlib.suppress(Failed):  # that openssl has nothing to sign with; or it shows no certificate
            async with Connection(place, "direct", "-tls1_2", *authority.shows("rsa", "issuing"), *weak) as connection:
                require("EXTERNAL" not in connection.mechanisms, f"offered: {connection.mechanisms}")


@check("certificates: one whose key is not for signatures ends the handshake, and the log says so (RFC 5280 §4.2.1.3)", only="martlet")
async def _(world):
    async with certified_server(world) as (server, place, authority):
        extensions = [each for each in person(place.jid("romeo")) if each != SIGNS]
        await authority.issue("encrypting", *extensions, "keyUsage = critical,keyEncipherment")
        for version in VERSIONS:
            with contextlib.suppress(Failed):
                async with Connection(place, "starttls", version, *authority.shows("encrypting", "issuing")) as connection:
                    raise AssertionError(f"offered: {connection.mechanisms}")
        equal(server.text().count("its key is not for signatures"), 2 * len(VERSIONS), "lines of the log and of the audit log")
        async with Connection(place, "starttls", "-tls1_3") as connection:
            equal(await connection.authenticate("SHA-256", "n"), None, "the password, without a certificate")


DEPTH = 20  # authorities one below the other


async def issue_unfit(authority, jid):
    """Certificates that are good for nothing, by name: which authorities are shown with each, and what the log has to say."""
    policy, plain = f"certificatePolicies = {POLICY}", ("basicConstraints = critical,CA:FALSE", address(jid))
    good, other = (*plain, policy, SIGNS, LOGS_IN), f"certificatePolicies = {OTHER_POLICY}"
    await authority.issue("constrained", *AUTHORITY, policy, "nameConstraints = critical,permitted;DNS:mantua.test", issuer="root")
    await authority.issue("strangers", *AUTHORITY, policy, issuer=None)
    for number in range(1, DEPTH + 1):
        await authority.issue(f"deep{number}", *AUTHORITY, policy, issuer=f"deep{number - 1}" if number > 1 else "root")

    async def made(name, extensions, issuer, chain, why):
        await authority.issue(name, *extensions, issuer=issuer)
        return name, chain, why

    def below(depth):
        return f"deep{depth}", tuple(f"deep{number}" for number in range(depth, 0, -1))

    return [
        await made("server", (*plain, policy, SIGNS, "extendedKeyUsage = serverAuth"), "issuing", ("issuing",), "for another purpose"),
        await made("other-policy", (*plain, other, SIGNS, LOGS_IN), "issuing", ("issuing",), "none of the certificate policies"),
        await made("no-policy", (*plain, SIGNS, LOGS_IN), "issuing", ("issuing",), "none of the certificate policies"),
        await made("outside", good, "constrained", ("constrained",), "no rule of client-certificates.mapping finds a name"),
        await made("self-signed", good, None, (), "self-signed"),
        await made("stranger", good, "strangers", ("strangers",), "leads to CN=strangers, which is not trusted"),
        await made("alone", good, "issuing", (), "leads to CN=issuing, which is not trusted"),
        await made("own-authority", good, "romeo", ("romeo", "issuing"), "CN=romeo may not issue certificates"),
        await made("too-deep", good, *below(7), "7 authorities above it"),
        await made("deep", good, *below(DEPTH), f"it sends {DEPTH + 1} certificates"),
    ]


@check("certificates: what is not for logging in, or leads to nobody who is believed, is as good as none (RFC 5280 §6)", only="martlet")
async def _(world):
    async with certified_server(world, revocation="mode: prefer") as (server, place, authority):
        for name, chain, why in await issue_unfit(authority, place.jid("romeo")):
            for version in VERSIONS:
                before = len(server.text())
                async with Connection(place, "direct", version, *authority.shows(name, *chain)) as connection:
                    require("EXTERNAL" not in connection.mechanisms, f"{name}, {version}: EXTERNAL is offered")
                    await until(lambda: why in server.text()[before:], f"{why!r} in the log, for {name}, {version}")
                    equal(await external(connection, place.jid("romeo")), "invalid-mechanism", f"{name}, {version}: EXTERNAL all the same")
        # Six authorities are followed, and those that the operator has need not be shown.
        await authority.issue("six-deep", *person(place.jid("romeo")), issuer="deep6")
        async with Connection(place, "direct", *authority.shows("six-deep", *(f"deep{number}" for number in range(6, 0, -1)))) as connection:
            equal(await external(connection), None, "six authorities deep: EXTERNAL")
        text, heading = server.configuration.read_text(), "client-certificates:\n"
        server.configuration.write_text(text.replace(heading, f"{heading}  authorities: {authority.file('issuing')}\n"))
        await server.command("config", "reload")
        async with Connection(place, "direct", *authority.shows("alone")) as connection:
            equal(await external(connection), None, "the operator has the authority: EXTERNAL")


# Revocation, and TLS sessions that go on


@check("certificates: one that is revoked between the offer and its use is refused, and the password is not (XEP-0178 §3)", only="martlet")
async def _(world):
    async with certified_server(world) as (server, place, authority):
        shows = authority.shows("romeo", "issuing")
        async with Connection(place, "starttls", *shows) as connection:
            require("EXTERNAL" in connection.mechanisms, f"offered: {connection.mechanisms}")
            await authority.revoke("romeo")
            await authority.publish()
            await server.command("config", "reload")
            equal(await external(connection), "not-authorized", "EXTERNAL")
            equal(await connection.authenticate("SHA-256", "n"), None, "the password")
        async with Connection(place, "starttls", *shows) as connection:
            require("EXTERNAL" not in connection.mechanisms, "EXTERNAL is offered")
        await until(lambda: "is revoked" in server.text(), "the log to say why")


async def begin(place, version, shows, file):
    """A session that began with a certificate, whose TLS session is in the file. That goes on as long as the certificate is good."""
    connection = await Connection(place, "direct", version, *shows, "-sess_out", file).__aenter__()
    equal(await external(connection), None, "EXTERNAL")
    await bind(connection, file.name)
    async with Connection(place, "direct", version, "-sess_in", file) as again:
        require(again.is_resumed, "the TLS session was not resumed")
        equal(await external(again), None, "EXTERNAL by a TLS session that goes on")
    return connection


async def expect_end(connection, seconds=STEP):
    await connection.hear(r"<stream:error><not-authorized [^>]*/><text [^>]*>The certificate is accepted no more.</text></stream:error>", seconds)


@check("certificates: a device that came by one has its session ended when it is revoked, and the operator hears that the certificate is still good (XEP-0494 §3.2)", only="martlet")
async def _(world):
    async with certified_server(world) as (server, place, authority):
        romeo, shows = place.jid("romeo"), authority.shows("romeo", "issuing")
        async with Connection(place, "starttls", "-tls1_3", *shows) as connection:
            equal(await external(connection), None, "EXTERNAL")
            await bind(connection, "card")
            line, = (await server.command("device", "list", romeo)).splitlines()
            device, state = line.split("  ", 1)
            equal(state, "connected  by certificate  card", "what is told of the device")
            said = await server.command("device", "revoke", romeo, device)
            require(f"revoked {device}" in said and f"martlet account certificates {romeo}" in said, f"said: {said}")
            await connection.hear(r"<stream:error><not-authorized [^>]*/><text [^>]*>the access of this client was revoked</text></stream:error>")
        line, = (await server.command("device", "list", romeo)).splitlines()
        require(line.startswith(f"{device}  last seen ") and line.endswith("  by certificate  card"), f"after that: {line}")
        async with Connection(place, "starttls", "-tls1_3", *shows) as connection:
            equal(await external(connection), None, "EXTERNAL with the certificate, which nobody has revoked")
            equal(await bind(connection, "card"), f"{romeo}/card", "the address")
        await server.stop()
        said = await server.command("device", "revoke", romeo, device)
        require(f"martlet account certificates {romeo}" in said, f"said while it does not run: {said}")


async def expect_no_offer(place, version, file):
    """Goes on with a TLS session without certificate and key: the server knows only from then whose it was."""
    async with Connection(place, "direct", version, "-sess_in", file) as connection:
        require(connection.is_resumed, "the TLS session was not resumed")
        require("EXTERNAL" not in connection.mechanisms, "EXTERNAL is offered")
        equal(await external(connection, place.jid("romeo")), "invalid-mechanism", "EXTERNAL all the same")


async def expect_answer(connection):
    """The session is there."""
    connection.write("<iq type='get' id='there'><ping xmlns='urn:xmpp:ping'/></iq>")
    await connection.hear(r"<iq [^>]*id='there'[^>]*>")


class Responder:
    """OpenSSL's OCSP responder, behind a door that is closed at first: who asks then waits."""

    def __init__(self, authority, port):
        self.authority, self.port, self.door = authority, port, asyncio.Event()
        self.process = None

    async def __aenter__(self):
        await self.authority.issue("responder", "basicConstraints = critical,CA:FALSE", SIGNS, "extendedKeyUsage = critical,OCSPSigning")
        self.outer = await asyncio.start_server(self.pass_on, "127.0.0.1", self.port)
        return self

    async def open(self):
        """It knows what the authority knows now."""
        authority, (self.inner,) = self.authority, free_ports(1)
        self.process = await asyncio.create_subprocess_exec(
            "openssl", "ocsp", "-port", str(self.inner), "-index", authority.file("issuing", "txt"), "-CA", authority.file("issuing"),
            "-rsigner", authority.file("responder"), "-rkey", authority.file("responder", "key"), "-nmin", "5",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        # It has to be left alone until somebody asks: a connection on which nothing comes would keep it busy.
        while b"waiting for OCSP" not in (line := await asyncio.wait_for(self.process.stdout.readline(), STEP)):
            require(line, "the responder did not start")

    async def pass_on(self, reader, writer):
        await self.door.wait()
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.inner)
        await asyncio.gather(self.copy(reader, inner_writer), self.copy(inner_reader, writer), return_exceptions=True)

    async def copy(self, reader, writer):
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def __aexit__(self, *_):
        self.outer.close()
        if self.process is not None:
            self.process.kill()
            await self.process.wait()


@check("certificates: a responder's word ends sessions, and TLS sessions that go on begin none (RFC 6960)", only="martlet")
async def _(world):
    port, = free_ports(1)
    more = "federation: {private-networks: [127.0.0.1/32]}\n"
    async with certified_server(world, revocation="mode: prefer", more=more) as (server, place, authority), Responder(authority, port) as responder:
        async def shows(name):
            await authority.issue(name, *person(place.jid("romeo"), f"authorityInfoAccess = OCSP;URI:http://127.0.0.1:{port}/"))
            await authority.note(name)
            return authority.shows(name, "issuing")

        async def is_offered(shown):
            async with Connection(place, "direct", *shown) as connection:
                return "EXTERNAL" in connection.mechanisms

        async def expect_offer(shown, offered):
            while await is_offered(shown) != offered:
                await asyncio.sleep(0.05)

        (authority.folder / "lists" / "issuing.crl").unlink()  # else nobody would be asked
        await server.command("config", "reload")
        good, bad = await shows("good"), await shows("bad")
        await authority.revoke("bad")
        await responder.open()
        files = {version: server.folder / f"session{version}" for version in VERSIONS}
        sessions = [await begin(place, version, bad, file) for version, file in files.items()]
        responder.door.set()
        await asyncio.wait_for(expect_offer(bad, False), STEP)
        for version, file in files.items():
            await expect_no_offer(place, version, file)
        await server.command("config", "reload")
        for session in sessions:
            await expect_end(session)
            await session.__aexit__()

        server.configuration.write_text(server.configuration.read_text().replace("mode: prefer", "mode: require"))
        await server.command("config", "reload")
        responder.door.clear()
        require(not await is_offered(good), "EXTERNAL is offered before anybody knows")
        responder.door.set()
        await asyncio.wait_for(expect_offer(good, True), STEP)
        require(not await is_offered(bad), "EXTERNAL is offered to who is revoked")


@check("certificates: a minute after a new list, or after its end, a certificate has no session (RFC 5280 §6.3)", only="martlet", beside=True)
async def _(world):
    async with certified_server(world) as (server, place, authority):
        files = {version: server.folder / f"session{version}" for version in VERSIONS}
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=15)
        for name in ("stays", *VERSIONS):
            await authority.issue(name, *person(place.jid("romeo")))
        await authority.issue_until("ends", ends, *person(place.jid("romeo")))
        sessions = {name: await begin(place, "-tls1_3", authority.shows(name, "issuing"), server.folder / name) for name in ("stays", "ends")}
        sessions |= {version: await begin(place, version, authority.shows(version, "issuing"), file) for version, file in files.items()}
        for version in VERSIONS:
            await authority.revoke(version)
        await authority.publish()
        published = time.monotonic()
        # Nobody tells the server: it looks at its files once a minute.
        for name in ("ends", *VERSIONS):
            await expect_end(sessions[name], 65)
        require(time.monotonic() - published < 62, f"it took {time.monotonic() - published:.0f} s")
        for version, file in files.items():
            await expect_no_offer(place, version, file)
        await expect_no_offer(place, "-tls1_3", server.folder / "ends")
        await expect_answer(sessions["stays"])
        for session in sessions.values():
            await session.__aexit__()


# Whole clients


async def slixmpp_with(place, chain, key, password=PASSWORD, mechanism=None):
    """A client that has the files, and the password as well; how it has logged in, or how not."""
    client = Client(place, "romeo", "balcony", password=password, mechanism=mechanism)
    client.certfile, client.keyfile = str(chain), str(key)
    try:
        await client.login()
        return client.plugin["feature_mechanisms"].mech.name
    except Refused as refusal:
        return str(refusal)
    finally:
        await client.close()


@check("certificates: slixmpp logs in with a certificate, and once that is over or revoked with the password alone", only="martlet")
async def _(world):
    async with certified_server(world) as (server, place, authority):
        await authority.issue_until("over", datetime.datetime(2025, 1, 1), *person(place.jid("romeo")))
        await authority.issue("nurse", *person(place.jid("nurse")))
        files = {name: (authority.chain(name, "issuing"), authority.file(name, "key")) for name in ("romeo", "over", "nurse")}
        equal(await slixmpp_with(place, *files["romeo"], password="wrong"), "EXTERNAL", "the mechanism that it prefers")
        for name in ("over", "nurse"):
            equal(await slixmpp_with(place, *files[name]), "SCRAM-SHA-512", f"the mechanism with the certificate {name}")
            equal(await slixmpp_with(place, *files[name], mechanism="EXTERNAL"), "refused: ", f"EXTERNAL alone, with the certificate {name}")
        await authority.revoke("romeo")
        await authority.publish()
        await server.command("config", "reload")
        equal(await slixmpp_with(place, *files["romeo"]), "SCRAM-SHA-512", "the mechanism with a certificate that is revoked")


# Keys that nobody sees: softhsm is a smart card, and OpenSSL's engine asks it for signatures

TOKEN = "/usr/lib/softhsm/libsofthsm2.so"


async def run(*words, environment):
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate()
    equal(process.returncode, 0, f"{' '.join(map(str, words))}: {said.decode(errors='replace')}: status")


@check("certificates: openssl logs in with a key that is made in a smart card and never leaves it (PKCS #11)", only="martlet")
async def _(world):
    async with certified_server(world) as (server, place, authority):
        tokens = server.folder / "tokens"
        tokens.mkdir()
        settings = server.folder / "softhsm2.conf"
        settings.write_text(f"directories.tokendir = {tokens}\n")
        environment = os.environ | {"SOFTHSM2_CONF": str(settings), "PKCS11_MODULE_PATH": TOKEN}
        await run("softhsm2-util", "--init-token", "--free", "--label", "card", "--so-pin", "5678", "--pin", "1234", environment=environment)
        await run(
            "p11tool", "--provider", TOKEN, "--login", "--set-pin", "1234", "--generate-privkey", "ecdsa", "--curve", "secp256r1", "--label", "romeo",
            "--outfile", authority.file("card", "pub"), "pkcs11:token=card", environment=environment)
        key = ("-engine", "pkcs11", "-keyform", "engine", "-key", "pkcs11:token=card;object=romeo;type=private?pin-value=1234")
        await run(
            "openssl", "req", "-new", *key, "-subj", "/CN=card", *authority.configured("card", person(place.jid("romeo"))),
            "-out", authority.file("card", "csr"), environment=environment)
        await authority.sign("card", *person(place.jid("romeo")))
        for version in VERSIONS:
            shown = authority.shows("card", "issuing")
            async with Connection(place, "starttls", version, *shown[:2], *key, *shown[4:], environment=environment) as connection:
                equal(await external(connection), None, "EXTERNAL")
                equal(await bind(connection), f"{place.jid('romeo')}/balcony", "the address")
