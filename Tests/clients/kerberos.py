"""Checks of log-in by tickets of Kerberos (SASL GSSAPI, RFC 4752; XEP-0233): a realm of MIT's on loopback gives the tickets; who logs in is Debian's
binding of MIT's library with the exchange written anew (kerberos_person.py), and GNU's gsasl."""

import asyncio
import base64
import contextlib
import json
import os
import pathlib
import ssl
import xml.etree.ElementTree as ElementTree

from harness import check, equal, require
from kdc import Realm
from operations import Server

HOST = "chat.verona.test"
SERVICE = f"xmpp@{HOST}"
PERSON = pathlib.Path(__file__).with_name("kerberos_person.py")


class Kingdom:
    """A server, and a realm whose people have accounts there."""

    def __init__(self, server, realm):
        self.server, self.realm, self.caches = server, realm, 0

    def ticket(self, principal="romeo", *options, realm=None):
        self.caches += 1
        return (realm or self.realm).ticket(principal, "pw", self.server.folder / f"cache.{self.caches}", *options)

    async def log_in(self, tickets, **wish):
        wish = {"address": "127.0.0.1", "port": self.server.port, "domain": self.server.domain, "service": SERVICE,
                "certificate": str(self.server.folder / "data" / "certificates" / f"{self.server.domain}.pem")} | wish
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", PERSON, json.dumps(wish), env=tickets, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        said, complained = await process.communicate()
        require(process.returncode == 0, f"the client failed: {complained.decode()}")
        return json.loads(said)

    async def outcome(self, tickets, **wish):
        return (await self.log_in(tickets, **wish))["outcome"]


@contextlib.asynccontextmanager
async def kingdom(world, more=""):
    server = Server(world)
    with Realm(server.folder / "realm", "REALM.TEST") as realm:
        for name in ("romeo", "stranger", "romeo/admin"):
            realm.add(name, "pw")
        for name in (f"xmpp/{HOST}", f"http/{HOST}", f"imap/{HOST}", f"xmpp/{HOST}/{server.domain}"):
            realm.add(name)
        # Keys of another service are there, too; of imap there are none.
        keytab = realm.keytab(server.folder / "keytab", f"xmpp/{HOST}", f"http/{HOST}", f"xmpp/{HOST}/{server.domain}")
        text = server.configuration.read_text().replace(
            f"{{name: {server.domain}}}", f"{{name: {server.domain}, kerberos-realms: [REALM.TEST]}}")
        server.configuration.write_text(text + f"kerberos: {{keytab: {keytab}, hostname: {HOST}}}\n{more}")
        # The library reads whatever the system says of Kerberos, unless it is told otherwise.
        server.environment |= {"KRB5_CONFIG": realm.environment["KRB5_CONFIG"]}
        async with server:
            yield Kingdom(server, realm)


@check("Kerberos: GSSAPI is offered with the host of the principal; a ticket logs in, in both profiles, with and without mutual authentication", only="martlet")
async def _(world):
    async with kingdom(world) as place:
        ticket = place.ticket()
        for wish in ({}, {"mutual": True}, {"authzid": f"romeo@{place.server.domain}"}, {"authzid": "romeo@REALM.TEST", "layer": 0},
                     {"service": f"xmpp/{HOST}/{place.server.domain}@REALM.TEST"}):
            seen = await place.log_in(ticket, **wish)
            equal((seen["outcome"], seen.get("jid")), ("success", f"romeo@{place.server.domain}/balcony"), f"outcome with {wish}")
        seen = await place.log_in(ticket, sasl2=True, mutual=True)
        equal((seen["outcome"], seen["jid"]), ("success", f"romeo@{place.server.domain}"), "outcome in the profile of XEP-0388")
        equal((seen["hostname"], "GSSAPI" in seen["mechanisms"]), (HOST, True), "what is offered")
        require("mechanism=GSSAPI" in place.server.text(), "the log does not say how romeo logged in")


@check("Kerberos: tickets for other services, of other realms, of instances, of people without an account, and expired ones are refused", only="martlet")
async def _(world):
    async with kingdom(world) as place:
        ticket = place.ticket()
        equal(await place.outcome(ticket, service=f"http@{HOST}"), "not-authorized", "for http, whose key is in the keytab")
        equal(await place.outcome(ticket, service=f"imap@{HOST}"), "not-authorized", "for imap, whose key is not")
        equal(await place.outcome(place.ticket("stranger")), "not-authorized", "of somebody without an account")
        equal(await place.outcome(place.ticket("romeo/admin")), "not-authorized", "of an instance")
        equal(await place.outcome(place.realm.environment | {"KRB5CCNAME": "FILE:/nowhere"}), "no ticket", "without a ticket")
        short = place.ticket("romeo", "-l", "2s")
        await asyncio.sleep(3)
        equal(await place.outcome(short), "no ticket", "with one that has expired")
        # Another realm that has the same key for a principal of the same name: its people are not believed all the same.
        with Realm(place.server.folder / "other", "OTHER.TEST") as other:
            other.add("romeo", "pw")
            other.add(f"xmpp/{HOST}")
            other.keytab(place.server.folder / "keytab", f"xmpp/{HOST}")
            equal(await place.outcome(place.ticket(realm=other)), "not-authorized", "of another realm")
        equal(await place.outcome(place.ticket()), "success", "after all that")


@check("Kerberos: the authorization identity is the account or nothing, there is no security layer, and garbage is refused", only="martlet")
async def _(world):
    async with kingdom(world) as place:
        ticket = place.ticket()
        for authzid in (f"juliet@{place.server.domain}", place.server.domain, "romeo/admin@REALM.TEST"):
            equal(await place.outcome(ticket, authzid=authzid), "invalid-authzid", f"as {authzid}")
        for layer, size in ((2, 0), (4, 65536), (3, 1), (1, 4096)):
            equal(await place.outcome(ticket, layer=layer, size=size), "malformed-request", f"layer {layer} of {size}")
        for number, expected in ((0, "not-authorized"), (1, "malformed-request"), (2, "not-authorized")):
            equal(await place.outcome(ticket, mutual=True, garbage=number), expected, f"garbage as message {number}")
        equal(await place.outcome(ticket), "success", "after all that")


@check("Kerberos: a new key in the keytab counts at once, an old keytab is a temporary failure, and one that is not there changes nothing", only="martlet")
async def _(world):
    async with kingdom(world) as place:
        place.realm.change_key(f"xmpp/{HOST}")
        equal(await place.outcome(place.ticket()), "temporary-auth-failure", "with a key that the server does not have yet")
        place.realm.keytab(place.server.folder / "keytab", f"xmpp/{HOST}")
        equal(await place.outcome(place.ticket()), "success", "with it")
        equal("good" in await place.server.command("config", "check"), True, "config check is content")
        # Nothing of a mistake in the file is applied.
        text = place.server.configuration.read_text()
        place.server.configuration.write_text(text.replace("/keytab,", "/nowhere,"))
        for command, status in (("check", 78), ("reload", 78)):
            said = await place.server.command("config", command, status=status)
            require("nowhere" in said, f"config {command} with a keytab that is not there: {said}")
        equal(await place.outcome(place.ticket()), "success", "as before")


@check("Kerberos: streams that are dropped in the middle of the exchange leave neither memory nor files behind", only="martlet")
async def _(world):
    async with kingdom(world, "limits: {streams-per-address: 1000}\n") as place:
        ticket = place.ticket()

        async def drop(times):
            for _ in range(times):
                outcomes = await asyncio.gather(*(place.outcome(ticket, mutual=True, drops=number) for number in (1, 2, 1, 2)))
                equal(set(outcomes), {"dropped"}, "outcomes")

        await drop(10)
        before = memory(place), files(place)
        await drop(15)
        after = memory(place), files(place)
        require(after[0] - before[0] < 8 << 10, f"from {before[0]} to {after[0]} KiB")
        require(after[1] <= before[1] + 4, f"from {before[1]} to {after[1]} files")
        equal(await place.outcome(ticket), "success", "after all that")


def memory(place):
    """KiB that the server holds."""
    return int(pathlib.Path(f"/proc/{place.server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 10


def files(place):
    return len(list(pathlib.Path(f"/proc/{place.server.process.pid}/fd").iterdir()))


# GNU's gsasl knows no XMPP: it is given challenges in Base64, a line each, and its answers are carried to the server.


async def element(reader, parser):
    """The next element below the header."""
    while True:
        for event, found in parser.read_events():
            parser.depth += 1 if event == "start" else -1
            if event == "end" and parser.depth == 1:
                return found
        data = await asyncio.wait_for(reader.read(65536), 20)
        require(data, "the server closed the connection")
        parser.feed(data)


async def stream(reader, writer, domain):
    parser = ElementTree.XMLPullParser(["start", "end"])
    parser.depth = 0
    writer.write(f"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='{domain}'>".encode())
    return parser, await element(reader, parser)


@check("Kerberos: gsasl logs in (GNU SASL, an implementation of its own)", only="martlet")
async def _(world):
    async with kingdom(world) as place:
        server = place.server
        gsasl = await asyncio.create_subprocess_exec(
            "gsasl", "--client", "--quiet", "--mechanism", "GSSAPI", "--service", "xmpp", "--hostname", HOST,
            "--authorization-id", f"romeo@{server.domain}", "--authentication-id", "romeo", "--no-cb",
            env=place.ticket(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)

        async def message():
            """The next line of Base64, whatever else it says."""
            while True:
                line = (await asyncio.wait_for(gsasl.stdout.readline(), 20)).decode().strip()
                with contextlib.suppress(ValueError):
                    base64.b64decode(line, validate=True)
                    return line

        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await stream(reader, writer, server.domain)
        writer.write(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await reader.readuntil(b">")
        context = ssl.create_default_context(cafile=server.folder / "data" / "certificates" / f"{server.domain}.pem")
        await writer.start_tls(context, server_hostname=server.domain)
        parser, _ = await stream(reader, writer, server.domain)
        namespace = "urn:ietf:params:xml:ns:xmpp-sasl"
        writer.write(f"<auth xmlns='{namespace}' mechanism='GSSAPI'>{await message()}</auth>".encode())
        while (reply := await element(reader, parser)).tag == f"{{{namespace}}}challenge":
            gsasl.stdin.write((reply.text or "").encode() + b"\n")
            answer = await message()
            writer.write(f"<response xmlns='{namespace}'>{answer or '='}</response>".encode())
        writer.close()
        gsasl.kill()
        await gsasl.wait()
        equal(reply.tag, f"{{{namespace}}}success", "outcome")
