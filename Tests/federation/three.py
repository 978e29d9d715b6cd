"""Three Martlets that talk to each other while packets get lost, the network breaks and one of them is killed: what became of messages and
of presence (docs/reliability.md, P9 and P10).

For each fault three servers start anew in network namespaces of their own, with two people each, who are contacts of all on other servers,
send them numbered messages and change their presence. One of the two on each server goes while the fault lasts, and comes back when it is
over. From the moment when it is over nobody else changes anything: what contacts see has to become true by the servers' own doing.
"""

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import pathlib
import sys
import time

import three_network
from certificates import Authority
from network import DOMAINS, NameServer
from people import Person
from reckoning import Ledger, unnoticed_falsehoods, untruths
from servers import PASSWORDS, Martlet, NotReady, Setting
from wire import StreamEnded

CALM = 3.0  # seconds before the fault
AFTERWARDS = 5.0  # seconds for which messages go on after it
TRUTH = 60.0  # seconds within which presence must be right (P9)
RESOLVED = 120.0  # seconds after the fault within which every message must have arrived or come back
COLLECTED = 10.0  # seconds for what waits for the next log-in
OPENED = 1.0  # seconds until streams are there
ASKED_AGAIN = 5.0  # seconds after which contacts are asked again for what is missing, before the fault
ASKED_MAX = 6
SHOWN = 4  # problems of a kind
RESUMPTION = 20  # seconds for which a server keeps the session of a client that is gone; its contacts see it there so long (P9)
PAUSE = 0.2  # seconds between two messages of one person
CHANGES = 0.7  # seconds between two changes of one person's presence
LOCALPARTS = ("romeo", "juliet")  # the second one goes and comes back
README = pathlib.Path(__file__).parent / "README.md"
COLUMNS = ("sent", "acknowledged", "arrived", "returned", "lost", "twice", "returned twice", "both", "out of order", "not acknowledged", "copies")


@dataclasses.dataclass(frozen=True)
class Fault:
    title: str
    run: object
    is_quick: bool  # part of what CI runs
    relayed: bool  # the first two servers talk through a relay
    drops: bool  # packets, so that some must have been met
    opened_by_one: bool  # the first server opens its streams before others do, and they serve for both directions (XEP-0288)


FAULTS = []


def fault(title, quick=False, relayed=False, drops=False, opened_by_one=False):
    def register(function):
        FAULTS.append(Fault(title, function, quick, relayed, drops, opened_by_one))
        return function

    return register


class Machine(Martlet):
    """A server in a namespace of its own. What it is not told here is as delivered."""

    client_port = 5222

    def __init__(self, name, folder, authority, binary, namespace, dialled):
        super().__init__(name, folder, (authority, authority), binary)
        self.namespace, self.dialled = namespace, dialled

    def configure(self):
        (self.folder / "data").mkdir(mode=0o700)
        self.configuration = self.folder / "martlet.yaml"
        peers = "".join(f"  - {{domain: {domain}, addresses: ['{address}']}}\n" for domain, address in self.dialled.items())
        self.configuration.write_text(f"""server: {{data: {self.folder}/data, run-as-root: true}}
domains: [{{name: {self.domain}, certificate: {self.certificate.chain}, key: {self.certificate.key}}}]
listeners:
  - {{kind: client, port: {self.client_port}, addresses: [{self.address}], plaintext-authentication: true}}
  - {{kind: server, port: 5269, addresses: [{self.address}]}}
authentication: {{scram-iterations: 4096, mechanisms: [SCRAM-SHA-1]}}
limits: {{resumption-timeout: {RESUMPTION}s}}
federation: {{private-networks: [10.83.0.0/24], trust-anchors: {self.authority.certificate}, name-servers: [10.83.0.53]}}
{"peers:" if peers else ""}
{peers}""")
        self.has_accounts = False

    def ports(self):
        return self.client_port, 5269

    def run(self, *command, **variables):
        super().run(*self.namespace.prefix, *command, **variables)

    async def start(self):
        await Martlet.start(self)


class World:
    """Three servers and six people, made for one fault."""

    def __init__(self, folder, authority, binary, namespaces, names, relayed):
        self.ledger = Ledger()
        self.namespaces, self.names = namespaces, names
        for namespace in namespaces:
            namespace.dropped = 0
        self.relays = []
        domains = [(each, *DOMAINS[each]) for each in SERVERS]
        dialled = {each: {} for each in SERVERS}
        if relayed:
            (one, one_domain, one_address), (two, two_domain, two_address) = domains[:2]
            self.relays = [three_network.Relay(5301, two_address), three_network.Relay(5302, one_address)]
            dialled[one] = {two_domain: f"{three_network.RELAY}:5301"}
            dialled[two] = {one_domain: f"{three_network.RELAY}:5302"}
        self.servers = [
            Machine(each, folder, authority, binary, namespace, dialled[each]) for each, namespace in zip(SERVERS, namespaces)
        ]
        self.people = [Person(server, name, PASSWORDS[name], self.ledger) for server in self.servers for name in LOCALPARTS]
        for person in self.people:
            person.contacts = [other.bare for other in self.people if other.server is not person.server]

    @property
    def staying(self):
        return self.people[:: len(LOCALPARTS)]

    @property
    def wandering(self):
        return [person for person in self.people if person not in self.staying]

    async def start(self, opened_by_one):
        self.names.start()
        for server in self.servers:
            server.set_up(Setting())
        for relay in self.relays:
            await relay.start()
        await asyncio.gather(*(server.start() for server in self.servers))
        await asyncio.gather(*(person.log_in() for person in self.people))
        if opened_by_one:
            for person in self.people[: len(LOCALPARTS)]:
                person.befriend()
            await asyncio.sleep(OPENED)
        # A request that comes back is made again, as a person would: the fault has not begun yet.
        for _ in range(ASKED_MAX):
            for person in self.people:
                person.befriend()
            if await seconds_until(lambda: not self.untruths(), ASKED_AGAIN) is not None:
                return
        last_words = "\n".join(server.last_words(8) for server in self.servers)
        raise NotReady(f"presence was not right before the fault: {'; '.join(self.untruths()[:3])}\n{last_words}")

    async def stop(self):
        for person in self.people:
            if person.keeper is not None:
                person.keeper.cancel()
            if person.stream is not None and not person.stream.ended.done():
                person.stream.end("the checks are over")
        await asyncio.gather(*(server.kill() for server in self.servers))
        for relay in self.relays:
            await relay.stop()
        self.names.stop()

    def untruths(self):
        present = [person for person in self.people if person.resource is not None]
        away = [f"{person.bare} is not logged in again" for person in present if not person.is_ready]
        return away + untruths({person.bare: person.picture for person in present}, {person.bare: person.truth for person in self.people})

    async def seconds_to_truth(self):
        """How long it takes until everybody's picture is right, or nothing if it takes too long."""
        return await seconds_until(lambda: not self.untruths(), TRUTH)

    async def cut(self, seconds, during=None, both_ways=True):
        """The first server is on its own for a while."""
        with three_network.cut(self.namespaces[0], self.namespaces[1:], both_ways):
            if during is not None:
                await asyncio.sleep(seconds / 3)
                begin = time.monotonic()
                await during()
                seconds = seconds * 2 / 3 - (time.monotonic() - begin)
            await asyncio.sleep(seconds)


SERVERS = ("martlet", "martlet2", "martlet3")


@fault("nothing is wrong")
async def _(world):
    await asyncio.sleep(10)


@fault("5 % of the packets are lost for 20 s", drops=True)
async def _(world):
    with three_network.losing(world.namespaces, 0.05):
        await asyncio.sleep(20)


@fault("20 % of the packets are lost for 30 s", drops=True)
async def _(world):
    with three_network.losing(world.namespaces, 0.2):
        await asyncio.sleep(30)


@fault("half a second of delay between two for 20 s", relayed=True)
async def _(world):
    for relay in world.relays:
        relay.delay = 0.5
    await asyncio.sleep(20)
    for relay in world.relays:
        relay.delay = 0.0


async def stall(world, seconds):
    for relay in world.relays:
        relay.stall()
    await asyncio.sleep(seconds)
    for relay in world.relays:
        relay.stall(False)


@fault("between two everything stalls for 5 s, three times", relayed=True)
async def _(world):
    for _ in range(3):
        await stall(world, 5)
        await asyncio.sleep(2)


@fault("between two everything stalls for 100 s", relayed=True)
async def _(world):
    await stall(world, 100)


@fault("one is cut off for 10 s", drops=True, quick=True)
async def _(world):
    await world.cut(10)


@fault("one is cut off for 90 s", drops=True)
async def _(world):
    await world.cut(90)


@fault("one that has opened all streams is cut off for 90 s", drops=True, opened_by_one=True)
async def _(world):
    await world.cut(90)


@fault("one hears nothing from the others for 30 s, who hear it", drops=True)
async def _(world):
    await world.cut(30, both_ways=False)


@fault("one is killed and starts again after 5 s", quick=True)
async def _(world):
    await world.servers[0].kill()
    await asyncio.sleep(5)
    await world.servers[0].start()


@fault("one is killed and starts again at once, three times")
async def _(world):
    for _ in range(3):
        await world.servers[0].kill()
        await world.servers[0].start()
        await asyncio.sleep(4)


@fault("one stops in order and starts again after 3 s")
async def _(world):
    await world.servers[0].stop()
    await asyncio.sleep(3)
    await world.servers[0].start()


@fault("one is cut off for 30 s, and stops in order and starts again meanwhile", drops=True)
async def _(world):
    await world.cut(30, world.servers[0].restart)


@fault("one is cut off for 30 s, and another one is killed and starts again meanwhile", drops=True)
async def _(world):
    async def killed():
        await world.servers[1].kill()
        await world.servers[1].start()

    await world.cut(30, killed)


async def seconds_until(holds, limit):
    begin = time.monotonic()
    while not holds():
        if time.monotonic() - begin > limit:
            return None
        await asyncio.sleep(0.1)  # many clients are looked at: none of them can tell when all are done
    return time.monotonic() - begin


async def keep_changing(person):
    while True:
        await asyncio.sleep(CHANGES)
        person.change()


async def go(people):
    """The people who wander leave one after the other while the fault lasts, whether or not their server is there to see it."""
    for person in people:
        await asyncio.sleep(0.4)
        await person.log_out()


@contextlib.asynccontextmanager
async def doing(*coroutines):
    """What is done in the background, until the end of the block."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def suffer(world, each):
    """Lives through a fault. Returns a row of the table and what is wrong."""
    row, problems = {}, []
    await world.start(each.opened_by_one)
    async with doing(*(person.talk(PAUSE) for person in world.people)):
        async with doing(*(keep_changing(person) for person in world.staying)):
            await asyncio.sleep(CALM)
            going = asyncio.create_task(go(world.wandering))
            await each.run(world)
            await going
        healed = time.monotonic()
        if each.relayed and not any(relay.passed for relay in world.relays):
            problems.append("the fault did not take place: nothing went through the relay")
        if each.drops and not any(namespace.dropped for namespace in world.namespaces):
            problems.append("the fault did not take place: no packet was dropped")
        truth = asyncio.create_task(world.seconds_to_truth())
        await asyncio.sleep(AFTERWARDS)
    row["truth"] = await truth
    if row["truth"] is None:
        problems += [f"presence: {untruth}" for untruth in world.untruths()]
    await asyncio.gather(*(person.log_in() for person in world.wandering))
    row["truth of those who came back"] = await world.seconds_to_truth()
    if row["truth of those who came back"] is None:
        problems += [f"after the log-in of some: {untruth}" for untruth in world.untruths()]
    await seconds_until(lambda: not world.ledger.unresolved(), RESOLVED - (time.monotonic() - healed))
    row["resolved"] = time.monotonic() - healed
    for person in world.people:
        await person.log_out()
    await asyncio.gather(*(person.log_in() for person in world.people))
    await seconds_until(lambda: not world.ledger.unresolved(), COLLECTED)
    await asyncio.sleep(1.0)  # for what must not come
    row |= world.ledger.counts()
    for heading, found in world.ledger.problems().items():
        row[heading] = len(found)
        problems += [f"{heading}: {each}" for each in found]
    return row, problems


def in_words(row):
    seconds = {name: "never" if row[name] is None else f"{row[name]:.1f} s" for name in ("truth", "truth of those who came back", "resolved")}
    counts = ", ".join(f"{row[name]} {name}" for name in COLUMNS if row[name] or name in COLUMNS[:5])
    return f"presence right after {seconds['truth']}, with those who came back after {seconds['truth of those who came back']}; {counts}"


def cells(title, row):
    if not row:
        return f"| {title} | did not get through |" + " |" * (len(COLUMNS) + 1)
    seconds = ["**never**" if row[name] is None else f"{row[name]:.1f}" for name in ("truth", "truth of those who came back")]
    return f"| {title} | " + " | ".join([*seconds, *(str(row[name]) for name in COLUMNS)]) + " |"


def write(file, rows):
    """Puts the table between two marks of a page; faults that were not run keep their rows."""
    begin, end = "<!-- three: begin -->\n", "<!-- three: end -->"
    before, _, rest = file.read_text().partition(begin)
    old, _, after = rest.partition(end)
    kept = {line.split(" | ")[0].removeprefix("| "): line for line in old.splitlines()[2:]}
    kept |= {title: cells(title, row) for title, row in rows.items()}
    lines = [
        "| fault | presence right after (s) | those who came back (s) | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * (len(COLUMNS) + 2),
        *(kept[each.title] for each in FAULTS if each.title in kept),
    ]
    file.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


async def run_fault(each, number, folder, authority, binary, namespaces, names):
    """Returns the row, and whether the promises held."""
    world = World(folder / f"{number}", authority, binary, namespaces, names, each.relayed)
    begin = time.monotonic()
    row, problems = {}, []
    try:
        row, problems = await suffer(world, each)
    except (NotReady, StreamEnded, OSError, asyncio.TimeoutError) as error:
        problems = [f"{type(error).__name__}: {error}"]
    finally:
        await world.stop()
    print(f"{'FAIL ' if problems else 'ok   '} three: {each.title} ({time.monotonic() - begin:.0f} s){': ' + in_words(row) if row else ''}")
    shown = collections.Counter()
    for problem in problems:
        heading = problem.partition(":")[0]
        shown[heading] += 1
        if shown[heading] <= SHOWN:
            print(f"      {problem}")
    for heading, count in shown.items():
        if count > SHOWN:
            print(f"      {heading}: {count - SHOWN} more")
    return row, not problems


async def run(options):
    folder = pathlib.Path(options.folder)
    authority = Authority(folder / "authority")
    three_network.lay_switch()
    namespaces = [three_network.Namespace(number, DOMAINS[each][1]) for number, each in enumerate(SERVERS)]
    names = NameServer(folder / "dns")
    rows, failed = {}, 0
    try:
        for namespace in namespaces:
            namespace.open()
        for number, each in enumerate(FAULTS):
            wanted = each.is_quick if options.quick else not options.names or any(name in each.title for name in options.names)
            if wanted:
                rows[each.title], holds = await run_fault(each, number, folder, authority, options.martlet, namespaces, names)
                failed += not holds
    finally:
        for namespace in namespaces:
            namespace.close()
    if options.write:
        write(README, rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return failed


def arguments():
    parser = argparse.ArgumentParser(description="Runs in a network namespace; scripts/federation --three makes one and calls this.")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--martlet")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args()


def main():
    options = arguments()
    if not options.martlet and not options.list:
        sys.exit("FAIL  three: there is no martlet to test")
    if options.list:
        for each in FAULTS:
            print(f"three: {each.title}")
        return
    sys.stdout.reconfigure(line_buffering=True)
    if unnoticed := unnoticed_falsehoods():
        sys.exit("FAIL  three: false entries are not noticed: " + "; ".join(unnoticed))
    print("ok    three: every kind of false entry in the ledger, and false pictures of presence, are noticed")
    try:
        sys.exit(1 if asyncio.run(run(options)) else 0)
    except three_network.Impossible as problem:
        sys.exit(f"FAIL  three: {problem}")


if __name__ == "__main__":
    main()
