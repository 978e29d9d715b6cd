"""Clients that keep the ledger: what they send, what they are told, and what they get."""

import asyncio
import collections
import re
import time

from wire import PATIENCE, Stream, StreamEnded, quoteattr

IDS = "urn:xmpp:sid:0"
ARCHIVE = "urn:xmpp:mam:2"
PAGES = "http://jabber.org/protocol/rsm"
ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


class Client:
    """A session of an account, over however many connections it takes."""

    def __init__(self, server, ledger, name, managed=True, resumes=False):
        self.server, self.ledger, self.name = server, ledger, name
        self.is_managed, self.resumes = managed, resumes
        self.stream = None
        self.open = collections.deque()  # (place in the stream, id, the stanza): sent and not resolved
        self.presences = []  # (when, from, type), as they came
        self.results = []  # of the archive
        self.pings = 0
        self.changed = asyncio.Event()

    # Connections

    async def login(self, connection=None, presence=True):
        stream = Stream(self.server.domain, self.name)
        await stream.login(self.server.address, self.server.port, self.server.password(self.name), "ledger", connection)
        self.attach(stream)
        if self.is_managed:
            await stream.manage(self.resumes)
        if presence:
            stream.write("<presence/>")
            await self.ping()  # the server has dealt with it
        return self

    async def resume(self):
        """A new connection for the same session; what the server had not handled is sent again."""
        previous = self.stream
        stream = Stream(self.server.domain, self.name)
        await stream.log_in(self.server.address, self.server.port, self.server.password(self.name))
        self.attach(stream)
        handled = await stream.resume(previous)
        self.acknowledged(handled)
        again, self.open = self.open, collections.deque()
        for _, identifier, stanza in again:
            self.write(identifier, stanza)
        if again:
            stream.ask()

    async def start_over(self):
        """After the server was killed. What it had not acknowledged is no promise."""
        for _, identifier, _ in self.open:
            self.ledger.messages[identifier].abandoned = True
        self.open.clear()
        await self.login()

    def attach(self, stream):
        self.stream = stream
        stream.on_stanza = self.received
        stream.on_acknowledged = self.acknowledged

    def break_connection(self):
        self.stream.transport.abort()

    async def close(self):
        if not self.stream.ended.done():
            await self.stream.close()

    # Sending

    def send(self, recipient, text=""):
        identifier = self.ledger.send(self.name, recipient)
        self.write(
            identifier,
            f"<message type='chat' id='{identifier}' to={quoteattr(self.server.jid(recipient))}><body>{text or identifier}</body>"
            f"<origin-id xmlns='{IDS}' id='{identifier}'/></message>")

        self.ledger.messages[identifier].sent_at = time.monotonic()

    def write(self, identifier, stanza):
        self.stream.write(stanza)
        self.open.append((self.stream.sent_count, identifier, stanza))

    def acknowledged(self, handled):
        while self.open and self.open[0][0] <= handled:
            _, identifier, _ = self.open.popleft()
            if self.ledger.messages[identifier].refused is None:
                self.ledger.acknowledge(identifier)
        self.changed.set()

    async def ping(self):
        await self.stream.request("get", "<ping xmlns='urn:xmpp:ping'/>", to=self.server.domain)

    async def until(self, holds, what, seconds=PATIENCE):
        """Returns when `holds`, asked again with everything that comes. Raises if it takes longer."""
        deadline = time.monotonic() + seconds
        while not holds():
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), max(0.001, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise TimeoutError(f"{self.name}: {what} did not happen within {seconds:g} s") from None

    async def settle(self):
        """Everything that was sent is acknowledged or refused."""
        self.stream.ask()
        await self.until(lambda: not self.open, "the acknowledgement of all messages")

    async def collect(self):
        """Everything that it is owed has come."""
        try:
            await self.until(lambda: not self.ledger.missing(self.name), "the delivery of all messages", 10)
        except TimeoutError:
            pass  # the ledger says what is missing
        await self.ping()

    # Receiving

    def received(self, stanza):
        name = stanza.tag.partition("}")[2]
        if name == "message":
            self.message(stanza)
        elif name == "presence":
            self.presences.append((time.monotonic(), stanza.get("from", "").partition("@")[0], stanza.get("type") or "available"))
            if stanza.get("type") == "subscribe":
                self.stream.write(f"<presence type='subscribed' to={quoteattr(stanza.get('from'))}/>")
        elif name == "iq" and stanza.get("type") in ("get", "set"):
            self.pings += stanza.find("{urn:xmpp:ping}ping") is not None
            to = f" to={quoteattr(stanza.get('from'))}" if stanza.get("from") else ""
            self.stream.write(f"<iq type='result' id={quoteattr(stanza.get('id'))}{to}/>")
        self.changed.set()

    def message(self, stanza):
        result = stanza.find(f"{{{ARCHIVE}}}result")
        if result is not None:
            inner = next(result.iter("{jabber:client}message"))
            self.results.append((number(result.get("id")), inner.get("id")))
        elif stanza.get("type") == "error":
            error = stanza.find("{jabber:client}error")
            conditions = [child.tag.removeprefix(ERRORS) for child in error if child.tag.startswith(ERRORS)]
            self.ledger.refuse(stanza.get("id"), conditions[0])
        else:
            ids = [each.get("id") for each in stanza.iterfind(f"{{{IDS}}}stanza-id") if each.get("by") == self.server.jid(self.name)]
            self.ledger.deliver(self.name, stanza.get("id"), number(ids[0]) if len(ids) == 1 else None, time.monotonic())

    def last_presence(self, name):
        """(when, type) of what came last from somebody."""
        return next(((when, kind) for when, sender, kind in reversed(self.presences) if sender == name), (0.0, None))

    # Requests

    async def archive(self, page_size=100):
        """All of the account's archive, page by page."""
        self.results = []
        after = ""
        while True:
            page = f"<set xmlns='{PAGES}'><max>{page_size}</max>{after}</set>"
            answer = await self.stream.request("set", f"<query xmlns='{ARCHIVE}'>{page}</query>")
            fin = answer.find(f"{{{ARCHIVE}}}fin")
            if fin is None:
                raise StreamEnded(f"{self.name}: the archive was not read: {condition_of(answer)}")
            if fin.get("complete") == "true":
                return self.results
            after = f"<after>{fin.findtext(f'{{{PAGES}}}set/{{{PAGES}}}last')}</after>"

    async def befriend(self, contact):
        """Sees the presence of `contact`, who is online, from now on."""
        self.stream.write(f"<presence type='subscribe' to={quoteattr(self.server.jid(contact.name))}/>")
        await self.until(lambda: self.last_presence(contact.name)[1] == "available", f"the presence of {contact.name}")


def condition_of(answer):
    return next((child.tag.removeprefix(ERRORS) for child in answer.iter() if child.tag.startswith(ERRORS)), answer.get("type"))


def number(name):
    """Names in archives are opaque to clients; here they are looked at, because their order is a promise."""
    return int(name) if name is not None and re.fullmatch("[0-9]+", name) else None


class Load:
    """Somebody who keeps sending to several others until told to stop."""

    def __init__(self, client, recipients, random, window=32, burst=4, pace=0.01, sizes=(0, 200, 2000)):
        self.client, self.recipients, self.random = client, recipients, random
        self.window, self.burst, self.pace, self.sizes = window, burst, pace, sizes
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while True:
            stream = self.client.stream
            if len(self.client.open) < self.window and not stream.ended.done():
                for _ in range(self.burst):
                    self.client.send(self.random.choice(self.recipients), "x" * self.random.choice(self.sizes))
                stream.ask()
            await asyncio.sleep(self.pace)

    async def stop(self):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
