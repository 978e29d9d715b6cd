"""The ledger: what was sent, what the server said about it, and what came of it. Pure, so that it can be tried with false entries."""

import collections
import dataclasses


@dataclasses.dataclass
class Message:
    sender: str
    recipient: str
    number: int  # counted per sender and recipient
    acknowledged: bool = False
    refused: str | None = None  # the condition of the error
    deliveries: list = dataclasses.field(default_factory=list)  # the stanza-id of each
    falsely: bool = False  # acknowledged, and refused after that
    abandoned: bool = False  # on its way when the server was killed: it may be there or not
    sent_at: float = 0.0  # seconds of the monotonic clock
    came_at: float = 0.0  # for the first time


class Ledger:
    def __init__(self):
        self.messages = {}  # by id
        self.sent = collections.Counter()  # (sender, recipient)
        self.arrived = collections.defaultdict(list)  # by recipient: ids in the order of their first delivery
        self.unknown = []  # what nobody sent

    def send(self, sender, recipient):
        self.sent[sender, recipient] += 1
        message = Message(sender, recipient, self.sent[sender, recipient])
        identifier = f"{sender}-{recipient}-{message.number}"
        self.messages[identifier] = message
        return identifier

    def acknowledge(self, identifier):
        self.messages[identifier].acknowledged = True

    def refuse(self, identifier, condition):
        message = self.messages[identifier]
        message.refused = condition
        message.falsely = message.acknowledged

    def deliver(self, recipient, identifier, stanza_id, now=0.0):
        message = self.messages.get(identifier)
        if message is None or message.recipient != recipient:
            self.unknown.append(f"{recipient} got {identifier}, which nobody sent")
            return
        if not message.deliveries:
            self.arrived[recipient].append(identifier)
            message.came_at = now
        message.deliveries.append(stanza_id)

    def safe(self, recipient=None):
        """Ids of what was acknowledged and not refused: the server answers for it."""
        return [
            identifier
            for identifier, message in self.messages.items()
            if message.acknowledged and not message.refused and recipient in (None, message.recipient)
        ]

    def missing(self, recipient=None):
        return [identifier for identifier in self.safe(recipient) if not self.messages[identifier].deliveries]

    # Reckoning. Each gives what is wrong.

    def lost(self):
        return [f"{identifier} was acknowledged and never came" for identifier in self.missing()] + self.unknown

    def falsely_acknowledged(self):
        return [f"{each} was acknowledged, and refused after that ({message.refused})" for each, message in self.messages.items() if message.falsely]

    def unresolved(self):
        return [
            f"{each} was neither acknowledged nor refused"
            for each, message in self.messages.items()
            if not (message.acknowledged or message.refused or message.abandoned)
        ]

    def disorder(self):
        """First deliveries are in the order of sending (P5)."""
        last = collections.Counter()
        for identifiers in self.arrived.values():
            for identifier in identifiers:
                message = self.messages[identifier]
                pair = message.sender, message.recipient
                if message.number <= last[pair]:
                    yield f"{identifier} came after number {last[pair]}"
                last[pair] = max(last[pair], message.number)

    def names(self):
        """Stanza-ids: one for each delivery, the same for each delivery of a message, and rising from message to message (P2, P20)."""
        for recipient, identifiers in self.arrived.items():
            last = 0
            for identifier in identifiers:
                deliveries = self.messages[identifier].deliveries
                if None in deliveries:
                    yield f"{identifier} came to {recipient} without a stanza-id"
                elif len(set(deliveries)) != 1:
                    yield f"{identifier} came to {recipient} under several names: {deliveries}"
                elif deliveries[0] <= last:
                    yield f"{identifier} is {deliveries[0]} for {recipient}, after {last}"
                last = max(last, deliveries[0] or 0)

    def repeated(self):
        """How many deliveries were not the first one of their message."""
        return sum(max(0, len(message.deliveries) - 1) for message in self.messages.values())

    def archive(self, owner, entries):
        """`entries` are what an archive returned, in its order: (archive id, id of the message)."""
        found = [identifier for _, identifier in entries]
        names = [name for name, _ in entries]
        yield from (f"{owner}: {each} is in the archive {count} times" for each, count in collections.Counter(found).items() if count > 1)
        yield from (f"{owner}: {name} comes after {before} in the archive" for before, name in zip(names, names[1:]) if name <= before)
        last = collections.Counter()
        for name, identifier in entries:
            message = self.messages.get(identifier)
            if message is None:
                yield f"{owner}: {identifier} is in the archive, and nobody sent it"
                continue
            if message.refused:
                yield f"{owner}: {identifier} is in the archive, and was refused"
            if message.number <= last[message.sender, message.recipient]:
                yield f"{owner}: {identifier} comes after number {last[message.sender, message.recipient]} in the archive"
            last[message.sender, message.recipient] = message.number
            if owner == message.recipient and message.deliveries and message.deliveries[0] != name:
                yield f"{owner}: {identifier} is {name} in the archive and was delivered as {message.deliveries[0]}"
        owed = {identifier for identifier in self.safe() if owner in (self.messages[identifier].sender, self.messages[identifier].recipient)}
        yield from (f"{owner}: {identifier} was acknowledged and is not in the archive" for identifier in sorted(owed - set(found)))

    def reckon(self, findings):
        findings.acknowledged += len(self.safe())
        findings.check("acknowledged messages come", self.lost())
        findings.check("nothing is acknowledged that is refused", self.falsely_acknowledged())
        findings.check("messages come in the order in which they were sent", self.disorder())
        findings.check("stanza-ids rise, and what comes again has the same", self.names())


def try_false_ledgers(findings):
    """Each kind of false entry must be found, and nothing in a true ledger."""

    def true_ledger():
        ledger = Ledger()
        for number in (1, 2, 3):
            identifier = ledger.send("a", "b")
            ledger.acknowledge(identifier)
            ledger.deliver("b", identifier, number)
        ledger.refuse(ledger.send("a", "b"), "resource-constraint")
        return ledger

    def problems(ledger, entries=((1, "a-b-1"), (2, "a-b-2"), (3, "a-b-3"))):
        return [
            *ledger.lost(), *ledger.falsely_acknowledged(), *ledger.unresolved(), *ledger.disorder(), *ledger.names(),
            *ledger.archive("b", entries),
        ]

    def lose(ledger):
        ledger.acknowledge(ledger.send("a", "c"))

    def forge(ledger):
        ledger.deliver("b", "never-sent", 9)

    def recall(ledger):
        ledger.acknowledge(identifier := ledger.send("a", "c"))
        ledger.deliver("c", identifier, 1)
        ledger.refuse(identifier, "resource-constraint")

    def forget(ledger):
        ledger.send("a", "c")

    def disorder(ledger):
        ledger.messages["a-b-3"].number = 1

    def rename(ledger):
        ledger.deliver("b", "a-b-2", 7)

    def fall(ledger):
        ledger.messages["a-b-3"].deliveries = [2]

    def strip(ledger):
        ledger.messages["a-b-3"].deliveries = [None]

    unnoticed = [f"a true ledger: {problems(true_ledger())}"] if problems(true_ledger()) else []
    for falsify in (lose, forge, recall, forget, disorder, rename, fall, strip):
        ledger = true_ledger()
        falsify(ledger)
        if not problems(ledger):
            unnoticed.append(falsify.__name__)
    for name, entries in {
        "an archive without a message": [(1, "a-b-1"), (3, "a-b-3")],
        "an archive with one twice": [(1, "a-b-1"), (2, "a-b-2"), (3, "a-b-3"), (4, "a-b-3")],
        "an archive with names that fall": [(1, "a-b-1"), (3, "a-b-2"), (3, "a-b-3")],
        "an archive in another order": [(1, "a-b-2"), (2, "a-b-1"), (3, "a-b-3")],
        "an archive with what was refused": [(1, "a-b-1"), (2, "a-b-2"), (3, "a-b-3"), (4, "a-b-4")],
        "an archive with other names": [(1, "a-b-1"), (2, "a-b-2"), (4, "a-b-3")],
    }.items():
        if not problems(true_ledger(), entries):
            unnoticed.append(name)
    findings.check("every kind of false entry is noticed", unnoticed)
