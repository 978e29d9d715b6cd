"""What became of messages, and whether pictures of presence are true. Pure, so that it can be tried with false entries.

The promise (docs/reliability.md): a message that its sender's server has acknowledged (XEP-0198) arrives once, or comes back once as an
error, whatever happens between the two servers; what arrives of one sender at one recipient does so in the order of sending. A copy under
the same stanza-id (XEP-0359) is no second arrival: clients know it by that.
"""

import collections
import dataclasses


@dataclasses.dataclass
class Message:
    sender: str
    recipient: str
    number: int  # counted per sender and recipient
    acknowledged: bool = False
    arrivals: list = dataclasses.field(default_factory=list)  # the stanza-id of each, `None` without one
    returns: list = dataclasses.field(default_factory=list)  # condition and stanza-id of each error
    given_up: bool = False  # its sender is gone before it was acknowledged: it may be there or not


class Ledger:
    """Addresses are bare JIDs, identifiers the `id` of messages."""

    def __init__(self):
        self.messages = {}
        self.sent = collections.Counter()  # (sender, recipient)
        self.arrived = []  # ids in the order of their first arrival
        self.strange = []

    def send(self, sender, recipient):
        self.sent[sender, recipient] += 1
        message = Message(sender, recipient, self.sent[sender, recipient])
        identifier = f"{sender}/{recipient}/{message.number}"
        self.messages[identifier] = message
        return identifier

    def acknowledge(self, identifier):
        self.messages[identifier].acknowledged = True

    def arrive(self, sender, recipient, identifier, stanza_id):
        message = self.messages.get(identifier)
        if message is None or (message.sender, message.recipient) != (sender, recipient):
            self.strange.append(f"{recipient} got {identifier} from {sender}, which was not sent")
            return
        if not message.arrivals:
            self.arrived.append(identifier)
        message.arrivals.append(stanza_id)

    def come_back(self, sender, identifier, condition, stanza_id=None):
        message = self.messages.get(identifier)
        if message is None or message.sender != sender:
            self.strange.append(f"{sender} got the error {condition} for {identifier}, which was not sent")
            return
        if stanza_id is None or (condition, stanza_id) not in message.returns:
            message.returns.append((condition, stanza_id))

    def unresolved(self):
        """What was acknowledged and neither arrived nor came back, and what was not acknowledged."""
        return [each for each, message in self.messages.items() if is_lost(message) or is_ignored(message)]

    # What is wrong, in words.

    def select(self, holds):
        return [each for each, message in self.messages.items() if holds(message)]

    def lost(self):
        return [f"{each} was acknowledged, and neither arrived nor came back" for each in self.select(is_lost)]

    def ignored(self):
        return [f"{each} was never acknowledged" for each in self.select(is_ignored)]

    def twice(self):
        return [f"{each} arrived as {self.messages[each].arrivals}" for each in self.select(is_twice)]

    def returned_twice(self):
        return [f"{each} came back as {self.messages[each].returns}" for each in self.select(lambda message: len(message.returns) > 1)]

    def both(self):
        return [f"{each} arrived, and came back as {self.messages[each].returns[0][0]}" for each in self.select(is_both)]

    def disorder(self):
        last = collections.Counter()
        found = []
        for identifier in self.arrived:
            message = self.messages[identifier]
            pair = message.sender, message.recipient
            if message.number < last[pair]:
                found.append(f"{identifier} arrived after number {last[pair]}")
            last[pair] = max(last[pair], message.number)
        return found

    def problems(self):
        """By the heading in the table: what is wrong there."""
        return {
            "lost": self.lost(), "twice": self.twice(), "returned twice": self.returned_twice(), "both": self.both(),
            "out of order": self.disorder(), "not acknowledged": self.ignored(), "strange": self.strange,
        }

    def counts(self):
        every = self.messages.values()
        return {
            "sent": len(every),
            "acknowledged": sum(message.acknowledged for message in every),
            "arrived": sum(bool(message.arrivals) for message in every),
            "copies": sum(max(0, len(message.arrivals) - len(set(message.arrivals))) for message in every),
            "returned": sum(bool(message.returns) for message in every),
        }


def is_lost(message):
    return message.acknowledged and not message.arrivals and not message.returns


def is_ignored(message):
    return not message.acknowledged and not message.given_up


def is_twice(message):
    # Without a stanza-id there is nothing by which a copy could be known.
    return len(message.arrivals) > 1 and (None in message.arrivals or len(set(message.arrivals)) > 1)


def is_both(message):
    return bool(message.arrivals) and bool(message.returns)


def untruths(pictures, truth):
    """`pictures`: person → contact → resource → status, as each client was told; `truth`: person → resource → status."""
    return [
        f"{person} sees {contact} as {seen or 'offline'}, who is {truth[contact] or 'offline'}"
        for person, contacts in pictures.items()
        for contact, seen in contacts.items()
        if seen != truth[contact]
    ]


def unnoticed_falsehoods():
    """Tries each kind of false entry. Returns those that are not noticed, and what is said of true ones."""

    def true_ledger():
        ledger = Ledger()
        for number in range(3):
            identifier = ledger.send("a", "b")
            ledger.acknowledge(identifier)
            ledger.arrive("a", "b", identifier, str(number))
        ledger.arrive("a", "b", "a/b/2", "1")  # a copy
        returned = ledger.send("a", "b")
        ledger.acknowledge(returned)
        ledger.come_back("a", returned, "remote-server-timeout")
        ledger.messages[ledger.send("a", "b")].given_up = True
        return ledger

    falsify = {
        "lost": lambda ledger: ledger.messages["a/b/3"].arrivals.clear(),
        "twice": lambda ledger: ledger.arrive("a", "b", "a/b/2", "7"),
        "returned twice": lambda ledger: ledger.come_back("a", "a/b/4", "remote-server-timeout"),
        "both": lambda ledger: ledger.come_back("a", "a/b/1", "remote-server-timeout"),
        "out of order": lambda ledger: ledger.arrived.reverse(),
        "not acknowledged": lambda ledger: ledger.send("a", "b"),
        "strange": lambda ledger: ledger.arrive("a", "c", "a/b/1", "8"),
    }
    others = {
        "twice": lambda ledger: ledger.messages["a/b/3"].arrivals.extend([None]),
        "strange": lambda ledger: ledger.come_back("b", "a/b/1", "gone"),
    }
    unnoticed = [f"a true ledger: {found}" for found in true_ledger().problems().values() if found]
    for kinds in (falsify, others):
        for kind, change in kinds.items():
            ledger = true_ledger()
            change(ledger)
            found = [name for name, problems in ledger.problems().items() if problems]
            if found != [kind]:
                unnoticed.append(f"{kind}: noticed as {found}")
    unnoticed += sorted(set(true_ledger().problems()) - set(falsify))
    truth = {"a": {}, "b": {"r1": "2"}}
    for seen, is_true in (({"r1": "2"}, True), ({"r1": "1"}, False), ({}, False), ({"r1": "2", "r0": "2"}, False)):
        if bool(untruths({"a": {"b": seen}}, truth)) == is_true:
            unnoticed.append(f"a picture: {seen}")
    return unnoticed
