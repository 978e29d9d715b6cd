"""A small XMPP client on plain sockets: fast, without opinions, and without waiting for anything nobody asked it to.

It knows log-in with SCRAM-SHA-1, resource binding, requests, and stream management with resumption (XEP-0198). Everything else that
arrives goes to `on_stanza`.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import xml.etree.ElementTree as ElementTree
import xml.parsers.expat
from xml.sax.saxutils import escape, quoteattr

CLIENT = "jabber:client"
STREAMS = "http://etherx.jabber.org/streams"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
MANAGEMENT = "urn:xmpp:sm:3"

PATIENCE = 20.0  # seconds that an answer may take

__all__ = ["Stream", "StreamEnded", "escape", "quoteattr"]


class StreamEnded(Exception):
    """The connection ended, or the server ended the stream."""


class Parser:
    """Elements below the root, as they are completed."""

    def __init__(self, on_element, on_end):
        self.on_element = on_element
        self.on_end = on_end
        self.rest = b""
        self.restart()

    def restart(self):
        """The next byte begins a new stream. Allowed while an element is handed out, between whose end and the next one
        nothing was sent yet."""
        self.path = []
        self.depth = 0
        self.expat = xml.parsers.expat.ParserCreate(namespace_separator="}")
        self.expat.StartElementHandler = self.start
        self.expat.EndElementHandler = self.end
        self.expat.CharacterDataHandler = self.text
        self.expat.buffer_text = True

    def feed(self, data):
        # Only whole tags go to expat: some versions put off a tag that came in two pieces until much more has come.
        data = self.rest + data
        cut = data.rfind(b">") + 1
        self.rest = data[cut:]
        if cut:
            self.expat.Parse(data[:cut], False)

    def start(self, name, attributes):
        self.depth += 1
        if self.depth == 1:
            return
        element = ElementTree.Element(self.expanded(name), {self.expanded(key): value for key, value in attributes.items()})
        if self.path:
            self.path[-1].append(element)
        self.path.append(element)

    def end(self, name):
        self.depth -= 1
        if self.depth == 0:
            self.on_end()
            return
        element = self.path.pop()
        if not self.path:
            self.on_element(element)

    def text(self, data):
        if not self.path:
            return
        element = self.path[-1]
        if len(element):
            element[-1].tail = (element[-1].tail or "") + data
        else:
            element.text = (element.text or "") + data

    @staticmethod
    def expanded(name):
        return "{" + name if "}" in name else name


class Stream(asyncio.Protocol):
    """A client's stream. After `login` every stanza that answers no `request` goes to `on_stanza`."""

    salted_passwords = {}  # (password, salt, iterations): derived once, however often the account logs in

    def __init__(self, domain, localpart):
        self.domain = domain
        self.localpart = localpart
        self.bare = f"{localpart}@{domain}"
        self.on_stanza = lambda stanza: None
        self.requests = {}
        self.next_id = 0
        self.step = self.enabling = None
        self.ended = asyncio.get_running_loop().create_future()
        self.transport = None
        self.features = None
        # Stream management: stanzas that were sent and received since it was enabled, and what to do with the server's count.
        self.is_managed = False
        self.resumption = None  # by what the server knows the session, if it can be resumed
        self.sent_count = self.received_count = 0
        self.on_acknowledged = lambda handled: None
        self.may_acknowledge = lambda: True

    # asyncio.Protocol

    def connection_made(self, transport):
        self.transport = transport
        self.parser = Parser(self.received, self.stream_ended)

    def data_received(self, data):
        try:
            self.parser.feed(data)
        except xml.parsers.expat.ExpatError as error:
            self.end(f"not XML: {error}")

    def connection_lost(self, exception):
        self.end(f"connection lost: {exception}")

    def stream_ended(self):
        self.end("the server closed the stream")

    def end(self, reason):
        if not self.ended.done():
            self.ended.set_result(reason)
        for waiting in [*self.requests.values(), self.step, self.enabling]:
            if waiting is not None and not waiting.done():
                waiting.set_exception(StreamEnded(reason))
                waiting.exception()  # it may be that nobody waits any more
        self.requests.clear()
        self.transport.abort()

    def received(self, element):
        if element.tag == f"{{{STREAMS}}}error":
            self.end("stream error: " + ", ".join(child.tag.partition("}")[2] for child in element))
            return
        if element.tag.startswith("{" + MANAGEMENT + "}"):
            self.managed(element)
            return
        self.received_count += 1
        if element.get("type") in ("result", "error"):
            waiting = self.requests.pop(element.get("id"), None)
            if waiting is not None:
                if not waiting.done():
                    waiting.set_result(element)
                return
        if self.step is not None:
            step, self.step = self.step, None
            step.set_result(element)
            return
        self.on_stanza(element)

    # What a client does

    async def connect(self, address, port, connection=None):
        """`connection` is a socket that is connected already."""
        loop = asyncio.get_running_loop()
        if connection is None:
            await loop.create_connection(lambda: self, address, port)
        else:
            await loop.create_connection(lambda: self, sock=connection)

    def write(self, text, stanzas=1):
        self.sent_count += stanzas
        if not self.ended.done() and not self.transport.is_closing():
            self.transport.write(text.encode())

    async def next_element(self):
        if self.ended.done():
            raise StreamEnded(self.ended.result())
        self.step = asyncio.get_running_loop().create_future()
        return await asyncio.wait_for(self.step, PATIENCE)

    async def open(self):
        self.write(
            f"<?xml version='1.0'?><stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAMS}' to={quoteattr(self.domain)} version='1.0'>"
        )
        self.features = await self.next_element()

    async def manage(self, resumes=False):
        """Enables stream management: from here on both sides count."""
        answer = self.enabling = asyncio.get_running_loop().create_future()
        self.write(f"<enable xmlns='{MANAGEMENT}'{' resume=' + quoteattr('true') if resumes else ''}/>")
        enabled = await asyncio.wait_for(answer, PATIENCE)
        self.is_managed = True
        self.resumption = enabled.get("id")

    async def resume(self, previous):
        """Goes on with the session of an earlier stream, instead of binding a resource (XEP-0198 §5).

        Returns what the server has handled of what that stream sent: what came after has to be sent again.
        """
        answer = self.enabling = asyncio.get_running_loop().create_future()
        self.received_count = previous.received_count
        self.write(f"<resume xmlns='{MANAGEMENT}' previd={quoteattr(previous.resumption)} h='{previous.received_count}'/>")
        resumed = await asyncio.wait_for(answer, PATIENCE)
        return int(resumed.get("h"))

    def managed(self, element):
        name = element.tag.partition("}")[2]
        if name == "enabled":
            self.sent_count = self.received_count = 0
            self.enabling.set_result(element)
        elif name == "resumed":
            # What the earlier stream lost follows at once: all of it counts.
            self.is_managed = True
            self.resumption = element.get("previd")
            self.sent_count = int(element.get("h"))
            self.enabling.set_result(element)
        elif name == "failed":
            self.enabling.set_exception(StreamEnded("refused: " + ElementTree.tostring(element, encoding="unicode")))
        elif name == "r" and self.may_acknowledge():
            self.acknowledge()
        elif name == "a":
            self.on_acknowledged(int(element.get("h")))

    def acknowledge(self):
        self.write(f"<a xmlns='{MANAGEMENT}' h='{self.received_count}'/>", stanzas=0)

    def ask(self):
        """Asks for the server's count."""
        self.write(f"<r xmlns='{MANAGEMENT}'/>", stanzas=0)

    def new_id(self):
        self.next_id += 1
        return f"q{self.next_id}"

    async def request(self, kind, payload, to=None):
        """The answer to an IQ, result or error."""
        identifier = self.new_id()
        waiting = self.requests[identifier] = asyncio.get_running_loop().create_future()
        if self.ended.done():
            raise StreamEnded(self.ended.result())
        self.write(f"<iq type='{kind}' id='{identifier}'{f' to={quoteattr(to)}' if to else ''}>{payload}</iq>")
        return await asyncio.wait_for(waiting, PATIENCE)

    async def login(self, address, port, password, resource, connection=None):
        await self.log_in(address, port, password, connection)
        return await self.bind(resource)

    async def log_in(self, address, port, password, connection=None):
        """Up to where a resource is bound, or an earlier session resumed."""
        await self.connect(address, port, connection)
        await self.open()
        await self.authenticate(password)
        self.parser.restart()
        await self.open()

    async def bind(self, resource):
        payload = f"<bind xmlns='{BIND}'><resource>{escape(resource)}</resource></bind>"
        bound = await self.request("set", payload)
        if bound.get("type") != "result":
            raise StreamEnded("the resource was not bound: " + ElementTree.tostring(bound, encoding="unicode"))
        return self

    async def authenticate(self, password):
        """SCRAM-SHA-1 (RFC 5802) without channel binding."""
        first = f"n={self.localpart},r={secrets.token_urlsafe(16)}"
        self.write(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{encoded('n,,' + first)}</auth>")
        challenge = await self.sasl_text("challenge")
        parts = dict(part.split("=", 1) for part in challenge.split(","))
        key = (password, parts["s"], int(parts["i"]))
        if key not in self.salted_passwords:
            salt = base64.b64decode(parts["s"])
            self.salted_passwords[key] = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, int(parts["i"]))
        client_key = hmac.digest(self.salted_passwords[key], b"Client Key", "sha1")
        last = f"c={encoded('n,,')},r={parts['r']}"
        signature = hmac.digest(hashlib.sha1(client_key).digest(), f"{first},{challenge},{last}".encode(), "sha1")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.write(f"<response xmlns='{SASL}'>{encoded(last + ',p=' + base64.b64encode(proof).decode())}</response>")
        await self.sasl_text("success")

    async def sasl_text(self, expected):
        element = await self.next_element()
        if element.tag != f"{{{SASL}}}{expected}":
            raise StreamEnded("refused: " + ElementTree.tostring(element, encoding="unicode"))
        return base64.b64decode(element.text or "").decode()

    async def close(self):
        """Closes the stream and returns when the server has closed its own, so that the session is over there too."""
        self.write("</stream:stream>")
        await asyncio.wait_for(asyncio.shield(self.ended), PATIENCE)


def encoded(text):
    return base64.b64encode(text.encode()).decode()
