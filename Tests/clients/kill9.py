"""Kills a server again and again while it works, and checks that nothing it had answered or acknowledged is lost.

Writers change their rosters, private documents and block lists and send messages to recipients, many operations at a
time. A ledger holds what the server has promised: a change, when its IQ was answered with a result or its push came; a
message, when the server acknowledged it (XEP-0198), or without stream management, when an IQ set that was sent after it
on the same stream was answered. Some recipients are offline while that goes on and some are online, with stream
management, which they acknowledge by now and then, and without. The server is killed with SIGKILL at a random moment, started again, and asked for
everything. What was under way at that moment may have happened or not, and from then on counts as what is found.

scripts/kill9 prepares a server and calls this. It has nothing but Python's own library, to be fast.
"""

import argparse
import asyncio
import collections
import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import time

from wire import PATIENCE, Stream, StreamEnded, escape, quoteattr

ROSTER = "jabber:iq:roster"
PRIVATE = "jabber:iq:private"
BLOCKING = "urn:xmpp:blocking"
IDS = "urn:xmpp:sid:0"

OPERATIONS = 100  # answered or acknowledged in a round before the server may be killed
LONGEST_LOAD = 0.6  # seconds that the load may go on after that
LOAD_DEADLINE = 30.0  # seconds in which there must be that many
START_DEADLINE = 20.0  # seconds after which a start has failed
COLLECT_DEADLINE = 10.0  # seconds for what a recipient is owed to arrive
WINDOW = 16  # unanswered IQs of a writer
CONTACTS, DOCUMENTS, BLOCKED = 40, 12, 30  # how many different ones a writer changes
MESSAGES_AHEAD = 64  # messages of a writer that are not acknowledged yet

MUTANTS = ("message", "order", "duplicate", "stanza-id", "roster", "roster-version", "private", "block")


@dataclasses.dataclass
class Register:
    """One thing that can be changed: what it is known to be, and the changes that were not answered yet, oldest first."""

    value: object = None
    pending: list = dataclasses.field(default_factory=list)  # (operation, value)
    unpushed: list = dataclasses.field(default_factory=list)  # the same, of which no push came yet, answered or not
    promise: str = "before"  # how the value came to be known
    promised: float = 0.0  # and when

    def latest(self):
        return self.pending[-1][1] if self.pending else self.value

    def change(self, operation, value):
        self.pending.append((operation, value))
        self.unpushed.append((operation, value))

    def commit(self, operation, value, promise):
        if any(number == operation for number, _ in self.pending):
            self.value, self.promise, self.promised = value, f"{promise} to {operation}", time.monotonic()
            self.pending = [each for each in self.pending if each[0] > operation]

    def refuse(self, operation):
        self.pending = [each for each in self.pending if each[0] != operation]
        self.unpushed = [each for each in self.unpushed if each[0] != operation]

    def commit_pushed(self, value):
        """A push says that the value holds. Pushes come in the order of the changes, before or after the answers."""
        for index, (operation, each) in enumerate(self.unpushed):
            if each == value:
                del self.unpushed[: index + 1]
                self.commit(operation, value, "push")
                return

    def history(self, killed):
        """What to say when the promise was broken."""
        when = f"{1000 * (killed - self.promised):.1f} ms before the end" if self.promised else "in an earlier round"
        return f"{self.value} by {self.promise}, {when}; under way were {self.pending}"

    def may_be(self, value):
        return value == self.value or any(value == each for _, each in self.pending)

    def settle(self, value):
        self.value, self.promise, self.promised = value, "what was found", 0.0
        self.pending = []
        self.unpushed = []


@dataclasses.dataclass
class Message:
    sender: str
    number: int  # counted per sender and recipient, over all rounds
    recipient: str
    acknowledged: bool = False
    received: bool = False
    acknowledged_at: float = 0.0


class Findings:
    """What was wrong, and how many checks there were."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, title, problems):
        problems = list(problems)
        if not problems:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAIL  {title}: {len(problems)} problem{'s' * (len(problems) != 1)}")
        for problem in problems[:5]:
            print(f"      {problem}")


class Server:
    """The process under test."""

    def __init__(self, command, address, port, log):
        self.command, self.address, self.port = command, address, port
        self.log = open(log, "ab")
        self.process = None
        self.started = None

    def start(self):
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def kill(self, number=signal.SIGKILL):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    async def login(self, stream, password, resource):
        """The first log-in after a start: tried until it succeeds. Returns how long after the start that was."""
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended by itself with {self.process.returncode}; see its log")
            attempt = stream()
            try:
                await attempt.login(self.address, self.port, password, resource)
                return attempt, time.monotonic() - self.started
            except (OSError, StreamEnded) as problem:
                if time.monotonic() - self.started > START_DEADLINE:
                    raise SystemExit(f"no log-in within {START_DEADLINE:.0f} s of the start: {problem}") from None
                await asyncio.sleep(0.005)  # nothing tells a client that a port is open, so it asks


class Writer:
    """An account that changes its data and sends messages."""

    def __init__(self, run, name):
        self.run, self.name = run, name
        self.roster = {run.jid(f"c{number}"): Register() for number in range(CONTACTS)}
        self.private = {f"martlet:ledger:{number}": Register() for number in range(DOCUMENTS)}
        self.block = {run.jid(f"b{number}"): Register(value=False) for number in range(BLOCKED)}
        self.seen_roster, self.seen_version = {}, None  # what a client that listens to pushes has
        self.sent = collections.Counter()
        self.operation = 0
        self.unanswered = {}  # id: (operation, register, value)
        self.unacknowledged = collections.deque()  # (place among the stream's stanzas, or operation; message)
        self.written = []
        self.stream = None

    # Load

    def attach(self, stream):
        self.stream = stream
        stream.on_stanza = self.received
        stream.on_acknowledged = lambda handled: self.acknowledge(handled + 1)
        self.unanswered.clear()
        self.unacknowledged.clear()
        self.loading = False

    def begin(self):
        self.loading = True
        self.go_on()

    def go_on(self):
        """Keeps the window full."""
        written = self.written = []
        while len(self.unanswered) < WINDOW:
            if self.run.random.random() < 0.45 and len(self.unacknowledged) < MESSAGES_AHEAD:
                written.append(self.message())
            else:
                written.append(self.change())
        if written:
            self.stream.write("".join(written), stanzas=len(written))
            if self.stream.is_managed:
                self.stream.ask()

    def message(self):
        recipient = self.run.random.choice(self.run.recipients)
        self.operation += 1
        self.sent[recipient.name] += 1
        message = Message(self.name, self.sent[recipient.name], recipient.name)
        identifier = f"{self.name}-{recipient.name}-{message.number}"
        self.run.messages[identifier] = self.run.of_this_round[identifier] = message
        place = self.stream.sent_count + len(self.written) + 1 if self.stream.is_managed else self.operation
        self.unacknowledged.append((place, message))
        return (
            f"<message type='chat' id='{identifier}' to={quoteattr(self.run.jid(recipient.name))}>"
            f"<body>{identifier}</body><origin-id xmlns='{IDS}' id='{identifier}'/></message>"
        )

    def change(self):
        self.operation += 1
        register, value, payload = self.run.random.choices(
            (self.roster_change, self.private_change, self.block_change), weights=(5, 3, 3)
        )[0]()
        register.change(self.operation, value)
        identifier = f"{self.name}.{self.operation}"
        self.unanswered[identifier] = (self.operation, register, value)
        return f"<iq type='set' id='{identifier}'>{payload}</iq>"

    def roster_change(self):
        contact, register = self.run.random.choice(list(self.roster.items()))
        if register.latest() is not None and self.run.random.random() < 0.3:
            item = f"<item jid={quoteattr(contact)} subscription='remove'/>"
            return register, None, f"<query xmlns='{ROSTER}'>{item}</query>"
        name, group = f"{self.name}'s <{self.operation}>", f"group {self.operation % 7}"
        item = f"<item jid={quoteattr(contact)} name={quoteattr(name)}><group>{group}</group></item>"
        return register, (name, group), f"<query xmlns='{ROSTER}'>{item}</query>"

    def private_change(self):
        namespace, register = self.run.random.choice(list(self.private.items()))
        value = f"{self.operation} " + "x" * self.run.random.choice((0, 10, 300, 3000))
        return register, value, f"<query xmlns='{PRIVATE}'><ledger xmlns='{namespace}'>{value}</ledger></query>"

    def block_change(self):
        address, register = self.run.random.choice(list(self.block.items()))
        value = not register.latest()
        name = "block" if value else "unblock"
        return register, value, f"<{name} xmlns='{BLOCKING}'><item jid={quoteattr(address)}/></{name}>"

    # What comes back

    def received(self, stanza):
        kind, identifier = stanza.get("type"), stanza.get("id")
        if identifier in self.unanswered:
            operation, register, value = self.unanswered.pop(identifier)
            if kind == "result":
                register.commit(operation, value, "answer")
                self.run.answered += 1
                if not self.stream.is_managed:
                    self.acknowledge(operation)
            else:
                register.refuse(operation)
                self.run.refusals.append(f"{self.name}: {identifier} was answered with {description(stanza)}")
        elif kind == "set":
            self.stream.write(f"<iq type='result' id={quoteattr(identifier)}/>")
            query = stanza.find(f"{{{ROSTER}}}query")
            if query is not None:
                self.pushed(query)
        elif kind == "error":
            self.run.refusals.append(f"{self.name}: {description(stanza)}")
        if self.loading:
            self.go_on()

    def acknowledge(self, place):
        """Every message that was sent before that is safe."""
        while self.unacknowledged and self.unacknowledged[0][0] < place:
            _, message = self.unacknowledged.popleft()
            message.acknowledged, message.acknowledged_at = True, time.monotonic()
            self.run.acknowledged += 1

    def pushed(self, query):
        self.apply(query)
        for contact, value in items_of(query):
            if contact in self.roster:
                self.roster[contact].commit_pushed(value)

    def apply(self, query):
        """What a client does that keeps its roster (RFC 6121 §2.6)."""
        for contact, value in items_of(query):
            if value is None:
                self.seen_roster.pop(contact, None)
            else:
                self.seen_roster[contact] = value
        self.seen_version = query.get("ver", self.seen_version)

    # Checks

    async def check_roster(self):
        """The roster holds what was promised; and a client that kept a version comes to the same roster."""
        problems, version_problems = [], []
        known = self.seen_version
        versioned = self.stream.features.find("{urn:xmpp:features:rosterver}ver") is not None
        if versioned and known is not None:
            before = dict(self.seen_roster)
            answer = await self.stream.request("get", f"<query xmlns='{ROSTER}' ver={quoteattr(known)}/>")
            query = answer.find(f"{{{ROSTER}}}query")
            if query is not None:
                self.seen_roster.clear()
                self.apply(query)
            # Changes since that version may come as pushes after the answer; what follows the answer to a ping is late.
            await self.stream.request("get", "<ping xmlns='urn:xmpp:ping'/>", to=self.run.domain)
            kept = dict(self.seen_roster)
        answer = await self.stream.request("get", f"<query xmlns='{ROSTER}'{' ver=' + quoteattr('') if versioned else ''}/>")
        query = answer.find(f"{{{ROSTER}}}query")
        found = dict(items_of(query))
        if versioned and known is not None and kept != found:
            version_problems.append(f"{self.name}: version {known} with {len(before)} items leads to {difference(kept, found)}")
        if versioned and goes_back(known, query.get("ver")):
            version_problems.append(f"{self.name}: the version went back from {known} to {query.get('ver')}")
        for contact, register in self.roster.items():
            value = found.pop(contact, None)
            if not register.may_be(value):
                problems.append(f"{self.name}: {contact} is {value}, was promised as {register.history(self.run.killed)}")
            register.settle(value)
        problems += [f"{self.name}: {contact} was never added" for contact in found]
        self.seen_roster = {contact: register.value for contact, register in self.roster.items() if register.value is not None}
        self.seen_version = query.get("ver")
        return problems, version_problems

    async def check_private(self):
        problems = []
        for namespace, register in self.private.items():
            answer = await self.stream.request("get", f"<query xmlns='{PRIVATE}'><ledger xmlns='{namespace}'/></query>")
            value = answer.findtext(f"{{{PRIVATE}}}query/{{{namespace}}}ledger") or None
            if not register.may_be(value):
                problems.append(f"{self.name}: {namespace} is {value!r:.40}, was promised as {register.history(self.run.killed)!s:.200}")
            register.settle(value)
        return problems

    async def check_block(self):
        problems = []
        answer = await self.stream.request("get", f"<blocklist xmlns='{BLOCKING}'/>")
        found = {item.get("jid") for item in answer.iter(f"{{{BLOCKING}}}item")}
        for address, register in self.block.items():
            value = address in found
            if not register.may_be(value):
                problems.append(f"{self.name}: {address} blocked: {value}, was promised as {register.history(self.run.killed)}")
            register.settle(value)
        problems += [f"{self.name}: {address} was never blocked" for address in found - set(self.block)]
        return problems


class Recipient:
    """An account that messages are sent to."""

    def __init__(self, run, name):
        self.run, self.name = run, name
        self.ids = {}  # message: stanza-id
        self.last_id = 0
        self.last_number = collections.Counter()  # of each sender: the last message that came
        self.problems = collections.defaultdict(list)
        self.came = asyncio.Event()
        self.owed = 0
        self.stream = None

    def attach(self, stream):
        self.stream = stream
        stream.on_stanza = self.received

    async def be_online(self, managed=False):
        self.attach(await self.run.login(self.name))
        if managed:
            await self.stream.manage()
            self.stream.may_acknowledge = lambda: self.run.random.random() < 0.3
        self.stream.write("<presence/>")

    def received(self, stanza):
        if not stanza.tag.endswith("}message"):
            return
        identifier = stanza.get("id")
        message = self.run.messages.get(identifier)
        if message is None or stanza.get("type") == "error":
            self.problems["messages"].append(f"{self.name} got what nobody sent: {description(stanza)}")
            return
        stanza_id = self.stanza_id(stanza, identifier)
        if message.received:
            self.again(identifier, stanza_id)
            return
        if message.number <= self.last_number[message.sender]:
            self.problems["order"].append(f"{identifier} came to {self.name} after {self.last_number[message.sender]}")
        elif message.number > self.last_number[message.sender] + 1:
            self.gap(message)
        self.last_number[message.sender] = max(message.number, self.last_number[message.sender])
        message.received = True
        self.run.delivered += 1
        self.named(identifier, stanza_id)
        self.came.set()

    def gap(self, message):
        """Commits are first in, first out: if a message is there, so are those before it, promised or not."""
        for number in range(self.last_number[message.sender] + 1, message.number):
            if f"{message.sender}-{self.name}-{number}" in self.run.of_this_round:
                self.problems["order"].append(f"{message.sender}-{self.name}-{message.number} came, and {number} had not")

    def stanza_id(self, stanza, identifier):
        ids = [each.get("id") for each in stanza.iterfind(f"{{{IDS}}}stanza-id") if each.get("by") == self.run.jid(self.name)]
        if len(ids) > 1 or (self.run.stanza_ids and len(ids) != 1):
            self.problems["stanza-ids"].append(f"{identifier} came to {self.name} with {len(ids)} stanza-ids")
        return ids[0] if ids else None

    def named(self, identifier, stanza_id):
        self.ids[identifier] = stanza_id
        if stanza_id is None:
            return
        if not re.fullmatch("[0-9]+", stanza_id):
            self.problems["stanza-ids"].append(f"{stanza_id!r} is not a number, so that nobody can tell whether it rose")
        elif int(stanza_id) <= self.last_id:
            self.problems["stanza-ids"].append(f"{identifier} is {stanza_id} for {self.name}, after {self.last_id}")
        else:
            self.last_id = int(stanza_id)

    def again(self, identifier, stanza_id):
        """A second delivery is allowed under the same stanza-id, by which a client knows it for one."""
        self.run.again += 1
        if stanza_id is None or stanza_id != self.ids.get(identifier):
            was = self.ids.get(identifier)
            self.problems["messages"].append(f"{identifier} came to {self.name} again, as {stanza_id}, after it had come as {was}")

    async def collect(self):
        """Takes what it is owed, and says so to the server by a request that it makes after that."""
        owed = [message for message in self.run.of_this_round.values() if message.recipient == self.name and message.acknowledged]
        deadline = time.monotonic() + COLLECT_DEADLINE
        while not all(message.received for message in owed) and time.monotonic() < deadline:
            self.came.clear()
            try:
                await asyncio.wait_for(self.came.wait(), max(0.001, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                break
        await self.stream.request("get", "<ping xmlns='urn:xmpp:ping'/>", to=self.run.domain)

    def lost(self):
        return [
            f"{identifier} was acknowledged {1000 * (self.run.killed - message.acknowledged_at):.1f} ms before the end, and did not come; "
            f"{self.name} was {'online' if self in self.run.online else 'offline'}"
            for identifier, message in self.run.of_this_round.items()
            if message.recipient == self.name and message.acknowledged and not message.received
        ]


class Run:
    """Rounds of load, death, restart and reckoning."""

    def __init__(self, arguments, server):
        self.arguments, self.server = arguments, server
        self.domain = arguments.domain
        self.random = random.Random(arguments.seed)
        self.stanza_ids = arguments.stanza_ids == "required"
        self.messages = {}  # all that were sent, by their id
        self.of_this_round = {}
        self.findings = Findings()
        self.refusals = []
        self.restarts = []
        self.online = []
        self.killed = 0.0
        self.answered = self.acknowledged = self.delivered = self.again = 0
        self.recipients = [Recipient(self, f"r{number}") for number in range(arguments.recipients)]
        self.writers = [Writer(self, f"w{number}") for number in range(arguments.writers)]

    def jid(self, name):
        return f"{name}@{self.domain}"

    def password(self, name):
        return f"secret of {name}"

    async def login(self, name):
        stream = Stream(self.domain, name)
        return await stream.login(self.server.address, self.server.port, self.password(name), "ledger")

    async def start(self):
        self.server.start()
        first, *others = self.writers
        make = lambda: Stream(self.domain, first.name)
        stream, elapsed = await self.server.login(make, self.password(first.name), "ledger")
        first.attach(stream)
        self.restarts.append(elapsed)
        for writer in others:
            writer.attach(await self.login(writer.name))
        if self.arguments.managed:
            for writer in self.writers:
                await writer.stream.manage()

    async def load(self):
        """Returns what a killed server had still to answer."""
        self.answered = self.acknowledged = 0
        self.of_this_round.clear()
        self.online = self.random.sample(self.recipients, self.arguments.online)
        for number, recipient in enumerate(self.online):
            await recipient.be_online(managed=self.arguments.managed and number % 2 == 0)
            await recipient.stream.request("get", "<ping xmlns='urn:xmpp:ping'/>", to=self.domain)
        for writer in self.writers:
            writer.begin()
        begin = time.monotonic()
        while self.answered + self.acknowledged < OPERATIONS:
            if time.monotonic() - begin > LOAD_DEADLINE:
                raise SystemExit(f"only {self.answered + self.acknowledged} operations in {LOAD_DEADLINE:.0f} s")
            for writer in self.writers:
                if writer.stream.ended.done():
                    raise SystemExit(f"{writer.name}: {writer.stream.ended.result()}")
            await asyncio.sleep(0.002)
        await asyncio.sleep(self.random.uniform(0, LONGEST_LOAD))  # the random moment
        self.killed = time.monotonic()
        self.server.kill()
        streams = [each.stream for each in [*self.writers, *self.online]]
        for writer in self.writers:
            writer.loading = False
        # What the system had already taken from the server still arrives, and counts.
        await asyncio.wait_for(asyncio.gather(*(stream.ended for stream in streams)), PATIENCE)
        return sum(len(writer.unanswered) + len(writer.unacknowledged) for writer in self.writers)

    async def check(self):
        roster, versions, private, block = [], [], [], []
        for writer in self.writers:
            problems, version_problems = await writer.check_roster()
            roster += problems
            versions += version_problems
            private += await writer.check_private()
            block += await writer.check_block()
        for recipient in self.recipients:
            await recipient.be_online()
        await asyncio.gather(*(recipient.collect() for recipient in self.recipients))
        for recipient in self.recipients:
            await recipient.stream.close()
        self.findings.check("roster items that were answered or pushed are there", roster)
        self.findings.check("a client that kept its roster's version gets the rest", versions)
        self.findings.check("private documents that were answered are there", private)
        self.findings.check("blocked addresses that were answered are there", block)
        for kind, title in (
            ("messages", "acknowledged messages come, and come once"),
            ("order", "messages come in the order they were sent"),
            ("stanza-ids", "stanza-ids are given, rise and never repeat"),
        ):
            problems = [problem for recipient in self.recipients for problem in recipient.problems.pop(kind, [])]
            if kind == "messages":
                problems += [problem for recipient in self.recipients for problem in recipient.lost()]
            self.findings.check(title, problems)
        self.findings.check("nothing is refused", self.refusals)
        self.refusals.clear()
        limit = self.arguments.restart_limit
        late = [] if self.restarts[-1] < limit else [f"{self.restarts[-1]:.2f} s from the start to the first log-in"]
        self.findings.check(f"a restart takes less than {limit:g} s", late)

    def spoil(self, mutant):
        """Makes the ledger wrong, to see that the checks can fail."""
        writer = self.writers[0]
        recipient = next(each for each in self.recipients if each not in self.online)  # to whom all of the round comes now
        if mutant == "message":
            self.of_this_round["never-sent"] = Message(writer.name, 0, recipient.name, acknowledged=True)
        elif mutant == "order":
            recipient.last_number[writer.name] = writer.sent[recipient.name] + 1
        elif mutant == "duplicate":
            message = next(each for each in self.of_this_round.values() if each.recipient == recipient.name and each.acknowledged)
            message.received = True
            recipient.last_number[message.sender] = message.number
        elif mutant == "stanza-id":
            recipient.last_id = 2**64
        elif mutant == "roster":
            next(iter(writer.roster.values())).settle(("never set", "nowhere"))
        elif mutant == "roster-version":
            writer.seen_version = re.sub("[0-9]+$", str(2**62), writer.seen_version)
        elif mutant == "private":
            next(iter(writer.private.values())).settle("never set")
        elif mutant == "block":
            writer.block[self.jid("never-blocked")] = Register(value=True)  # others may be under change, and have either value

    async def rounds(self):
        await self.start()
        for writer in self.writers:  # who asks for a list is told of its changes
            await writer.check_roster()
            await writer.check_block()
        promised = 0
        for number in range(1, self.arguments.rounds + 1):
            unanswered = await self.load()
            delivered, again, failed = self.delivered, self.again, self.findings.failed
            promised += self.answered + self.acknowledged
            if self.arguments.mutant:
                self.spoil(self.arguments.mutant)
            await self.start()
            await self.check()
            verdict = "ok" if self.findings.failed == failed else "FAIL"
            print(
                f"{verdict:5} round {number}: {self.answered} changes answered, {self.acknowledged} messages acknowledged, "
                f"{unanswered} operations under way when killed; {self.delivered - delivered} messages came afterwards, "
                f"{self.again - again} again; log-in {self.restarts[-1]:.2f} s after the start",
                flush=True,
            )
        for writer in self.writers:
            await writer.stream.close()
        print(
            f"{self.arguments.rounds} rounds, {promised} operations answered or acknowledged, {self.again} deliveries repeated "
            f"under their stanza-id, longest restart to log-in {max(self.restarts[1:]):.2f} s, seed {self.arguments.seed}"
        )
        print(f"{self.findings.passed} passed, {self.findings.failed} failed")


def items_of(query):
    """Contacts with name and group; with nothing if the item says that it was removed."""
    for item in query.iterfind(f"{{{ROSTER}}}item"):
        if item.get("subscription") == "remove":
            yield item.get("jid"), None
        else:
            yield item.get("jid"), (item.get("name"), item.findtext(f"{{{ROSTER}}}group"))


def goes_back(known, version):
    """Versions are opaque to clients; here those that differ only in a number at their end are compared by it."""
    parts = [re.fullmatch("(.*?)([0-9]+)", each or "") for each in (known, version)]
    return all(parts) and parts[0][1] == parts[1][1] and int(parts[1][2]) < int(parts[0][2])


def difference(kept, found):
    return ", ".join(
        f"{contact}: {kept.get(contact)} instead of {found.get(contact)}"
        for contact in [*kept, *found]
        if kept.get(contact) != found.get(contact)
    )[:300]


def description(stanza):
    names = [child.tag.partition("}")[2] for child in stanza.iter()]
    return f"{names[0]} {dict(stanza.attrib)} with {', '.join(names[1:])}"


def parser_of(description, rounds, mutants):
    """What both checks that kill a server are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", required=True, type=int, help="a listener that allows log-in without encryption")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--log", required=True, help="file that the server's output is appended to")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--mutant", choices=mutants, help="falsify the ledger, so that the run must fail")
    parser.add_argument("command", nargs="+", help="runs the server in the foreground")
    return parser


def hold(arguments, make):
    """Runs what `make` makes of the arguments and a server, and exits with 1 if something was wrong."""
    server = Server(arguments.command, arguments.address, arguments.port, arguments.log)

    async def run():
        each = make(arguments, server)
        await each.rounds()
        return each.findings.failed

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        failed = asyncio.run(run())
    finally:
        server.kill(signal.SIGTERM)
    sys.exit(1 if failed else 0)


def main():
    parser = parser_of("Kills a server under load and checks what it kept.", 50, MUTANTS)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--recipients", type=int, default=4)
    parser.add_argument("--online", type=int, default=0, help="recipients that are online while the server is killed")
    parser.add_argument("--managed", action="store_true", help="use stream management (XEP-0198)")
    parser.add_argument("--stanza-ids", choices=("required", "optional"), default="required")
    parser.add_argument("--restart-limit", type=float, default=2.0, help="seconds from a start to the first log-in")
    hold(parser.parse_args(), Run)


if __name__ == "__main__":
    main()
