"""People who keep talking: clients with stream management that come back whenever their connection breaks (XEP-0198 §5)."""

import asyncio
import collections
import contextlib
import itertools
import re
import xml.etree.ElementTree as ElementTree

from wire import Stream, StreamEnded, escape, quoteattr

IDS = "urn:xmpp:sid:0"
ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
CLIENT = "{jabber:client}"
RETRY = 0.3  # seconds until a client tries again to reach its server


class Person:
    """One account with one client. It keeps the ledger, and a picture of its contacts' presence."""

    def __init__(self, server, localpart, password, ledger):
        self.server, self.localpart, self.password, self.ledger = server, localpart, password, ledger
        self.bare = f"{localpart}@{server.domain}"
        self.contacts = []
        self.stream = None
        self.is_ready = False  # the session is there, or there again
        self.keeper = None
        self.resource = None
        self.status = "0"
        self.sessions = itertools.count(1)
        self.open = collections.deque()  # (place in the stream, id of a message or None, stanza): sent and not acknowledged
        self.unsent = []  # what was in there when the session was lost, and waits for the next one
        self.picture = {}  # contact → resource → status

    # Sessions

    async def log_in(self):
        """A new session, which is kept until `log_out`."""
        await self.begin(await self.connect())
        self.keeper = asyncio.create_task(self.keep())

    async def log_out(self):
        self.keeper.cancel()
        self.is_ready = False
        self.give_up()
        if not self.stream.ended.done():
            self.stream.acknowledge()
            with contextlib.suppress(asyncio.TimeoutError):
                await self.stream.close()
        self.resource = None

    def give_up(self):
        """Nobody is there any more to send again what was not acknowledged."""
        for _, identifier, _ in (*self.unsent, *self.open):
            if identifier is not None:
                self.ledger.messages[identifier].given_up = True
        self.open.clear()
        self.unsent.clear()

    async def connect(self):
        stream = Stream(self.server.domain, self.localpart)
        await stream.log_in(self.server.address, self.server.client_port, self.password)
        return stream

    async def begin(self, stream):
        """A session with a resource that was not there before, so that nobody takes it for an earlier one."""
        self.open.clear()
        self.attach(stream)
        self.picture = {contact: {} for contact in self.contacts}
        self.resource = f"r{next(self.sessions)}"
        await stream.bind(self.resource)
        await stream.manage(resumes=True)
        await stream.request("get", "<query xmlns='jabber:iq:roster'/>")
        self.announce()
        await stream.request("get", "<ping xmlns='urn:xmpp:ping'/>", to=self.server.domain)
        self.is_ready = True

    def attach(self, stream):
        self.stream = stream
        stream.on_stanza = self.received
        stream.on_acknowledged = self.acknowledged

    async def keep(self):
        """Comes back whenever the connection ends: to the same session, or to a new one if the server does not know it any more."""
        while True:
            await asyncio.shield(self.stream.ended)
            self.is_ready = False
            previous, stream = self.stream, None
            while not self.is_ready:
                try:
                    stream = await self.connect()
                    await self.come_back(stream, previous)
                except (OSError, StreamEnded, asyncio.TimeoutError):
                    if stream is not None:
                        stream.transport.abort()
                    await asyncio.sleep(RETRY)

    async def come_back(self, stream, previous):
        stream.on_stanza = self.received
        handled = None
        if previous.resumption is not None:
            try:
                handled = await stream.resume(previous)
            except StreamEnded as refusal:
                if stream.ended.done():
                    raise
                if found := re.search(r"\bh=\"(\d+)\"", str(refusal)):
                    self.acknowledged(int(found[1]))
        if handled is not None:
            self.acknowledged(handled)
            self.attach(stream)
            again, self.open = self.open, collections.deque()
            self.send_again(again)
            self.is_ready = True
            return
        previous.resumption = None
        self.unsent += [entry for entry in self.open if entry[1] is not None]
        self.open.clear()
        await self.begin(stream)
        self.send_again(self.unsent)
        self.unsent = []

    def send_again(self, entries):
        for _, identifier, stanza in entries:
            self.write(identifier, stanza)
        self.stream.ask()

    # Sending

    def write(self, identifier, stanza):
        self.stream.write(stanza)
        self.open.append((self.stream.sent_count, identifier, stanza))

    def send(self, recipient):
        identifier = self.ledger.send(self.bare, recipient)
        self.write(
            identifier,
            f"<message type='chat' id={quoteattr(identifier)} to={quoteattr(recipient)}><body>{escape(identifier)}</body>"
            f"<origin-id xmlns='{IDS}' id={quoteattr(identifier)}/></message>",
        )

    def announce(self):
        self.write(None, f"<presence><status>{self.status}</status></presence>")

    def change(self):
        """Another status, which contacts must come to see. Who is not connected has nobody to tell it to."""
        if self.is_ready:
            self.status = str(int(self.status) + 1)
            self.announce()

    async def talk(self, pause):
        """To each contact in turn, until it is cancelled."""
        for contact in itertools.cycle(self.contacts):
            if self.is_ready:
                self.send(contact)
                self.stream.ask()
            await asyncio.sleep(pause)

    def acknowledged(self, handled):
        while self.open and self.open[0][0] <= handled:
            _, identifier, _ = self.open.popleft()
            if identifier is not None:
                self.ledger.acknowledge(identifier)

    def befriend(self):
        """Asks those contacts for their presence who are not seen."""
        for contact in self.contacts:
            if self.picture[contact]:
                continue
            self.write(None, f"<presence type='subscribe' to={quoteattr(contact)}/>")

    @property
    def truth(self):
        """What contacts should see."""
        return {self.resource: self.status} if self.resource is not None else {}

    # Receiving

    def received(self, stanza):
        name = stanza.tag.removeprefix(CLIENT)
        sender, _, resource = stanza.get("from", "").partition("/")
        if name == "message":
            self.message(stanza, sender)
        elif name == "presence":
            self.presence(stanza.get("type"), sender, resource, stanza.findtext(f"{CLIENT}status"))
        elif name == "iq" and stanza.get("type") in ("get", "set"):
            to = f" to={quoteattr(stanza.get('from'))}" if stanza.get("from") else ""
            self.stream.write(f"<iq type='result' id={quoteattr(stanza.get('id'))}{to}/>")

    def message(self, stanza, sender):
        names = [each.get("id") for each in stanza.iterfind(f"{{{IDS}}}stanza-id") if each.get("by") == self.bare]
        name = names[0] if len(names) == 1 else None
        if stanza.get("type") == "error":
            self.ledger.come_back(self.bare, stanza.get("id"), condition(stanza), name)
        else:
            self.ledger.arrive(sender, self.bare, stanza.get("id"), name)

    def presence(self, kind, sender, resource, status):
        if kind == "subscribe":
            self.write(None, f"<presence type='subscribed' to={quoteattr(sender)}/>")
        if sender not in self.picture:
            return
        if kind is None:
            self.picture[sender][resource] = status
        elif kind == "unavailable" and resource:
            self.picture[sender].pop(resource, None)
        elif kind == "unavailable":
            self.picture[sender].clear()


def condition(stanza):
    error = stanza.find(f"{CLIENT}error")
    return next((child.tag.removeprefix(ERRORS) for child in error if child.tag.startswith(ERRORS)), ElementTree.tostring(error, "unicode"))
