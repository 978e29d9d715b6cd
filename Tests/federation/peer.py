"""A server's end of a stream on plain sockets: it does what a check tells it, right or wrong, and nothing else."""

import asyncio
import base64
import ssl
import time
import xml.parsers.expat
from xml.sax.saxutils import quoteattr

from wire import SASL, STREAMS, Parser

TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SERVER = "jabber:server"
DIALBACK = "jabber:server:dialback"
FEATURES = f"{{{STREAMS}}}features"
STARTTLS_FEATURES = f"<stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>"
EXTERNAL_FEATURES = f"<stream:features><mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>"
PATIENCE = 20.0  # seconds that an element may take


class Ended(Exception):
    """The stream is over; the text says how, with the error that the server sent."""


class RootParser(Parser):
    """Keeps the attributes of the stream's header, too."""

    header = None

    def start(self, name, attributes):
        if self.depth == 0:
            self.header = attributes
        super().start(name, attributes)


class Peer:
    def __init__(self, reader, writer, domain):
        self.reader, self.writer = reader, writer
        self.domain = domain
        self.restart()

    @classmethod
    async def dial(cls, address, domain, port=5269):
        return cls(*await asyncio.open_connection(address, port), domain)

    def restart(self):
        self.elements = []
        self.parser = RootParser(self.elements.append, lambda: self.elements.append(None))

    def write(self, text):
        self.writer.write(text if isinstance(text, bytes) else text.encode())

    def open(self, other, own=None, identifier=None):
        """The header of a stream, which may tell another domain than its own."""
        names = f" from={quoteattr(own or self.domain)} to={quoteattr(other)}" + (f" id={quoteattr(identifier)}" if identifier else "")
        self.write(
            f"<?xml version='1.0'?><stream:stream xmlns='{SERVER}' xmlns:stream='{STREAMS}' xmlns:db='{DIALBACK}'{names} version='1.0'>"
        )

    async def more(self, deadline):
        try:
            data = await asyncio.wait_for(self.reader.read(65536), max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise
        except (OSError, ssl.SSLError) as problem:
            raise Ended(f"connection lost: {type(problem).__name__}") from None
        if not data:
            raise Ended("closed without a word")
        try:
            self.parser.feed(data)
        except xml.parsers.expat.ExpatError as problem:
            raise Ended(f"what came is not XML: {problem}") from None

    async def header(self, seconds=PATIENCE):
        """The attributes of the other's header."""
        deadline = time.monotonic() + seconds
        while self.parser.header is None:
            await self.more(deadline)
        return self.parser.header

    async def element(self, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while not self.elements:
            await self.more(deadline)
        found = self.elements.pop(0)
        if found is None:
            raise Ended("stream closed")
        if found.tag == f"{{{STREAMS}}}error":
            raise Ended("/".join(child.tag.partition("}")[2] for child in found if not child.tag.endswith("}text")))
        return found

    async def expect(self, tag):
        found = await self.element()
        if found.tag != tag:
            raise Ended(f"got {found.tag} instead of {tag}" + "".join(f" with {child.tag}" for child in found))
        return found

    async def until_end(self, seconds):
        """How the stream ends, whatever else comes."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                await self.element(deadline - time.monotonic())
        except Ended as end:
            return str(end)

    async def secure(self, context):
        await asyncio.wait_for(self.writer.start_tls(context, server_hostname=None), PATIENCE)
        self.restart()

    # The steps of who dials

    async def start_tls(self, other, context):
        """Up to the second header's turn."""
        self.open(other)
        await self.expect(FEATURES)
        self.write(f"<starttls xmlns='{TLS}'/>")
        await self.expect(f"{{{TLS}}}proceed")
        await self.secure(context)

    async def authenticate(self, other, context):
        """A stream that was made with SASL EXTERNAL (XEP-0178), ready for stanzas."""
        await self.succeed(other, context)
        self.open(other)
        await self.expect(FEATURES)

    async def succeed(self, other, context, bidi=False):
        """Up to where it is this side's turn to open the stream that was authenticated."""
        await self.start_tls(other, context)
        self.open(other)
        await self.expect(FEATURES)
        if bidi:
            self.write("<bidi xmlns='urn:xmpp:bidi'/>")
        self.write(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>{base64.b64encode(self.domain.encode()).decode()}</auth>")
        await self.expect(f"{{{SASL}}}success")
        self.restart()

    def close(self):
        self.writer.transport.abort()


def context_of(authority, certificate, purpose):
    """TLS with a certificate, which trusts everybody: what a fake server does not check is not what the checks are about."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if purpose == "server" else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate.chain, certificate.key)
    if purpose == "server":
        # A server that has to authenticate by its certificate must be asked for one.
        context.load_verify_locations(authority.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class Listener:
    """Accepts connections and lets a function play the server; `reached` tells that one got to its end."""

    def __init__(self, domain, address, play):
        self.domain, self.address, self.play = domain, address, play
        self.tasks = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.accepted, self.address, 5269)
        return self

    async def accepted(self, reader, writer):
        self.tasks.append(asyncio.current_task())
        peer = Peer(reader, writer, self.domain)
        try:
            await self.play(peer)
            await peer.until_end(600)
        except (Ended, OSError, ssl.SSLError, asyncio.TimeoutError):
            pass
        finally:
            peer.close()

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
