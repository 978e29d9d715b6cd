"""What the checks with real clients are made of: a list of named checks, and clients whose stanzas can be waited for."""

import asyncio
import dataclasses
import logging
import ssl
import sys
import time

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout

STEP = 8.0  # seconds that anything may take which a check waits for
LOGIN = 12.0  # seconds for a log-in: this client derives its keys in Python


class Failed(Exception):
    """A check's own words for what was seen instead of what was expected."""


def require(condition, message):
    if not condition:
        raise Failed(message)


def equal(seen, expected, what):
    require(seen == expected, f"{what}: expected {expected!r}, seen {seen!r}")


class Refused(Exception):
    """The log-in did not succeed; the text says how."""


@dataclasses.dataclass
class World:
    """The server under test, as scripts/clients describes it."""

    address: str
    port: int
    tls_port: int
    domain: str
    certificate: str
    other_certificate: str
    passwords: dict
    delete_account: list
    kind: str
    martlet: str
    web_port: int = 0
    turn_port: int = 0
    folder: str = ""
    component_port: int = 0
    configuration: str = ""
    clients: list = dataclasses.field(default_factory=list)

    def jid(self, name):
        return f"{name}@{self.domain}"

    async def client(self, name, resource="balcony", presence=True, roster=True, **options):
        """A client that has logged in, has its roster and has sent its presence."""
        client = Client(self, name, resource, **options)
        await client.login()
        if roster:
            await client.get_roster(timeout=STEP)
        if presence:
            client.send_presence()
            await client.expect(is_presence(client.boundjid.full), "its own presence")
        return client

    async def close_all(self):
        for client in self.clients:
            await client.close()
        self.clients.clear()


class Client(slixmpp.ClientXMPP):
    """A slixmpp client that keeps every stanza it gets until a check asks for it.

    It trusts one certificate, requires it to be valid for the domain, and never speaks without encryption.
    """

    def __init__(
        self, world, name, resource, password=None, mechanism=None, tls="starttls", certificate=None, domain=None, stream_management=False,
        client_state=False,
    ):
        super().__init__(
            f"{name}@{domain or world.domain}/{resource}", world.passwords[name] if password is None else password, sasl_mech=mechanism
        )
        self.world = world
        self.tls = tls
        self.ssl_context = ssl.create_default_context(cafile=certificate or world.certificate)
        self.enable_direct_tls = tls == "direct"
        self.enable_starttls = tls == "starttls"
        self.enable_plaintext = False
        self.roster.auto_authorize = None
        self.roster.auto_subscribe = False
        self.stanzas = []
        self.pieces = 0  # that came from the network
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()
        self.failures = []
        self.outcome = self.loop.create_future()
        self.add_filter("in", self.keep)
        self.add_event_handler("session_start", lambda _: self.settle("session"))
        self.add_event_handler("failed_auth", lambda failure: self.failures.append(failure["condition"]))
        self.add_event_handler("failed_all_auth", lambda _: self.settle("refused: " + ", ".join(self.failures)))
        self.add_event_handler("ssl_invalid_chain", lambda problem: self.settle(f"certificate: {problem}"))
        self.add_event_handler("connection_failed", lambda problem: self.settle(f"connection: {problem}"))
        self.add_event_handler("disconnected", lambda reason: (self.ended.set(), self.settle(f"ended: {reason}")))
        for plugin in (
            "xep_0012 xep_0030 xep_0049 xep_0054 xep_0092 xep_0191 xep_0199 xep_0202 xep_0203 xep_0280 xep_0334 xep_0359"
        ).split():
            self.register_plugin(plugin)
        if stream_management:
            self.register_plugin("xep_0198")
            self.resumed = asyncio.Event()
            self.add_event_handler("session_resumed", lambda _: self.resumed.set())
        if client_state:
            self.register_plugin("xep_0352")
        world.clients.append(self)

    def data_received(self, data):
        self.pieces += 1
        super().data_received(data)

    def settle(self, outcome):
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def keep(self, stanza):
        self.stanzas.append(stanza)
        self.arrived.set()
        return stanza

    async def login(self):
        port = self.world.port if self.tls == "starttls" else self.world.tls_port
        self.connect(self.world.address, port)
        try:
            outcome = await asyncio.wait_for(self.outcome, LOGIN)
        except asyncio.TimeoutError:
            raise Failed(f"no end of the log-in within {LOGIN:.0f} s") from None
        if outcome != "session":
            self.cancel_connection_attempt()
            await self.close()
            raise Refused(outcome)

    async def break_connection(self):
        """The connection goes without a word of XMPP or TLS."""
        self.ended.clear()
        self.abort()
        await asyncio.wait_for(self.ended.wait(), STEP)

    async def resume(self):
        """Connects again and goes on with the session that broke (XEP-0198)."""
        self.connect(self.world.address, self.world.port)
        try:
            await asyncio.wait_for(self.resumed.wait(), LOGIN)
        except asyncio.TimeoutError:
            raise Failed(f"the session was not resumed within {LOGIN:.0f} s") from None
        self.ended.clear()

    async def close(self):
        self.cancel_connection_attempt()
        if self.transport is not None:
            await self.disconnect(wait=2.0)
            await asyncio.wait_for(self.ended.wait(), STEP)

    async def expect(self, matches, what, seconds=STEP):
        """The oldest stanza kept that matches; it and nothing else is forgotten. Waits for it to arrive."""
        deadline = time.monotonic() + seconds
        while True:
            for index, stanza in enumerate(self.stanzas):
                if matches(stanza):
                    return self.stanzas.pop(index)
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), max(0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                kept = "; ".join(str(stanza)[:300] for stanza in self.stanzas[-4:])
                raise Failed(f"{self.boundjid} did not get {what} within {seconds:.0f} s. Last kept: {kept or 'nothing'}") from None

    async def gather(self, *wanted):
        """Waits until there is a stanza for each, and keeps them all in the order in which they came."""
        deadline = time.monotonic() + STEP
        while not all(any(matches(stanza) for stanza in self.stanzas) for matches in wanted):
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), max(0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise Failed(f"{self.boundjid} did not get all {len(wanted)} stanzas within {STEP:.0f} s") from None

    def forget(self):
        self.stanzas.clear()

    async def fence(self, *others):
        """Returns when everything that was sent before, by this client and by the others, has taken effect.

        The server handles a stream's stanzas in order and delivers them in order, so that what has not been delivered
        before the answer to a ping is not coming any more.
        """
        for client in (self, *others, self):
            await client.plugin["xep_0199"].send_ping(client.world.domain, timeout=STEP)

    async def acknowledged(self):
        """Returns when the server has acknowledged all that was sent (XEP-0198): only then it is safe."""
        management = self.plugin["xep_0198"]
        acknowledged = asyncio.Event()
        self.add_event_handler("stanza_acked", lambda _: acknowledged.set())
        deadline = time.monotonic() + STEP
        # What is sent waits in a queue, which the request does not.
        await self.fence()
        management.request_ack()
        while management.unacked_queue:
            acknowledged.clear()
            try:
                await asyncio.wait_for(acknowledged.wait(), max(0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise Failed(f"{self.boundjid}: not everything was acknowledged within {STEP:.0f} s") from None

    def refuses_stanza(self, matches, what):
        """Fails if a stanza that must not have arrived is there."""
        for stanza in self.stanzas:
            require(not matches(stanza), f"{self.boundjid} got {what}: {stanza}")


def is_message(body=None, sender=None, kind=None):
    def matches(stanza):
        return (
            isinstance(stanza, slixmpp.Message)
            and (body is None or stanza["body"] == body)
            and (sender is None or stanza["from"] in (sender, slixmpp.JID(sender)))
            and (kind is None or stanza["type"] == kind)
        )

    return matches


def is_presence(sender=None, kind=None):
    """`kind` is the type, or `available`; a sender without resource means any of its resources."""

    def matches(stanza):
        if not isinstance(stanza, slixmpp.Presence):
            return False
        if sender is not None and sender not in (stanza["from"].full, stanza["from"].bare):
            return False
        return kind is None or (stanza.xml.get("type") or "available") == kind

    return matches


def presences_from(contact, client):
    """The types of what came from a contact, in order."""
    return [stanza.xml.get("type") or "available" for stanza in client.stanzas if is_presence(contact)(stanza)]


def is_roster_push(contact, subscription=None, ask=None):
    def matches(stanza):
        if not (isinstance(stanza, slixmpp.Iq) and stanza["type"] == "set"):
            return False
        for item in stanza.xml.iterfind("{jabber:iq:roster}query/{jabber:iq:roster}item"):
            if item.get("jid") == contact and subscription in (None, item.get("subscription")):
                return ask is None or (item.get("ask") == "subscribe") == ask
        return False

    return matches


async def expect_error(awaitable, condition):
    """The IQ is answered with this error."""
    try:
        await awaitable
    except IqError as error:
        require(error.condition in condition.split("|"), f"expected the error {condition}, seen {error.condition}")
    except IqTimeout:
        raise Failed("the request was not answered") from None
    else:
        raise Failed(f"expected the error {condition}, seen a result")


@dataclasses.dataclass
class Check:
    title: str
    run: object
    only: str | None
    beside: bool


CHECKS = []


def check(title, only=None, beside=False):
    """Registers a check. `only` names the one kind of server that it is for. One that mostly waits, on a server of its own, goes on `beside` the
    others from the beginning, and has its line in its place.
    """

    def register(function):
        CHECKS.append(Check(title, function, only, beside))
        return function

    return register


async def run_checks(world, pattern="", chooses=lambda check: True, seconds=30):
    """Runs the checks in their order, prints a line for each, and returns how many failed."""
    passed = failed = 0
    chosen = [each for each in CHECKS if pattern in each.title and each.only in (None, world.kind) and chooses(each)]
    under_way = {each.title: asyncio.create_task(asyncio.wait_for(each.run(world), 120)) for each in chosen if each.beside}
    for each in chosen:
        begin = time.monotonic()
        try:
            await (under_way.get(each.title) or asyncio.wait_for(each.run(world), seconds))
            problem = None
        except (Failed, Refused, IqError, IqTimeout, AssertionError) as error:
            problem = f"{type(error).__name__}: {error}"
        except asyncio.TimeoutError:
            problem = f"it took more than {120 if each.beside else seconds} s"
        except Exception as error:  # a check that breaks is a check that failed: the others go on
            logging.getLogger("checks").exception("in %s", each.title)
            problem = f"{type(error).__name__}: {error}"
        await close_quietly(world)
        elapsed = time.monotonic() - begin
        if problem is None:
            passed += 1
            print(f"ok    {each.title} ({elapsed:.2f} s)", flush=True)
        else:
            failed += 1
            print(f"FAIL  {each.title} ({elapsed:.2f} s)\n      {problem}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed


async def close_quietly(world):
    try:
        await world.close_all()
    except Exception as error:
        print(f"      closing: {type(error).__name__}: {error}", file=sys.stderr)
        world.clients.clear()


async def befriend(world, one, other):
    """Both see each other's presence from here on. Nothing happens if they do already."""
    for first, second in ((one, other), (other, one)):
        if first.client_roster[second.boundjid.bare]["subscription"] in ("to", "both"):
            continue
        first.send_presence_subscription(second.boundjid.bare)
        await second.expect(is_presence(first.boundjid.bare, "subscribe"), "the subscription request")
        second.send_presence_subscription(first.boundjid.bare, ptype="subscribed")
        await first.expect(is_presence(second.boundjid.bare, "subscribed"), "the approval")
        await first.expect(is_presence(second.boundjid.full, "available"), "the presence after the approval")
    one.forget()
    other.forget()
