"""Kills a server again and again while a room is busy, and checks that the room's archive has what was acknowledged (P6).

Occupants say things as fast as they are acknowledged (XEP-0198). The server is killed with SIGKILL at a random moment and
started again. Then they enter again and read the archive (XEP-0313): every message that was acknowledged is there, once,
under rising names; those of one occupant in the order in which he said them; what somebody heard before the end is there
under the name that it had then, in the order in which he heard it. What was not acknowledged may be there or not.

scripts/kill9 --rooms prepares a server and calls this.
"""

import asyncio
import collections
import random
import time

from kill9 import Findings, LOAD_DEADLINE, LONGEST_LOAD, OPERATIONS, hold, parser_of
from wire import PATIENCE, Stream, quoteattr

MUC = "http://jabber.org/protocol/muc"
ARCHIVE = "urn:xmpp:mam:2"
IDS = "urn:xmpp:sid:0"
RSM = "http://jabber.org/protocol/rsm"
AHEAD = 32  # messages of an occupant that are not acknowledged yet

MUTANTS = ("lost", "order", "name")


class Occupant:
    def __init__(self, run, name):
        self.run, self.name = run, name
        self.number = 0  # messages that were said, over all rounds
        self.acknowledged = 0
        self.waiting = collections.deque()  # (place among the stream's stanzas, message)
        self.heard = []  # (stanza-id, message) in this round, in order
        self.found = None  # where the results of a query go
        self.stream = None
        self.loading = False

    async def enter(self):
        self.loading = False
        self.waiting.clear()
        self.heard = []
        await self.stream.manage()
        self.stream.on_stanza = self.received
        self.stream.on_acknowledged = self.acknowledge
        self.inside = asyncio.get_running_loop().create_future()
        self.stream.write(
            f"<presence to={quoteattr(self.run.room + '/' + self.name)}><x xmlns='{MUC}'><history maxstanzas='0'/></x></presence>"
        )
        await asyncio.wait_for(self.inside, PATIENCE)

    def begin(self):
        self.loading = True
        self.go_on()

    def go_on(self):
        written = []
        while len(self.waiting) < AHEAD:
            self.number += 1
            message = f"{self.name}-{self.number}"
            self.waiting.append((self.stream.sent_count + len(written) + 1, message))
            written.append(
                f"<message type='groupchat' id='{message}' to={quoteattr(self.run.room)}><body>{message}</body>"
                f"<origin-id xmlns='{IDS}' id='{message}'/></message>"
            )
        if written:
            self.stream.write("".join(written), stanzas=len(written))
            self.stream.ask()

    def acknowledge(self, handled):
        while self.waiting and self.waiting[0][0] <= handled:
            self.run.promised.add(self.waiting.popleft()[1])
            self.acknowledged += 1
        if self.loading:
            self.go_on()

    def received(self, stanza):
        if stanza.tag.endswith("}presence"):
            codes = [each.get("code") for each in stanza.iter(f"{{{MUC}#user}}status")]
            if stanza.get("type") is None and "110" in codes and not self.inside.done():
                self.inside.set_result(None)
            return
        result = stanza.find(f"{{{ARCHIVE}}}result")
        if result is not None:
            message = result.find(".//{jabber:client}message")
            self.found.append((int(result.get("id")), message.get("id")))
        elif stanza.get("type") == "error":
            self.run.refusals.append(f"{self.name}: {stanza.get('id')} came back")
        elif stanza.find("{jabber:client}body") is not None:
            identifier = next(each.get("id") for each in stanza.iterfind(f"{{{IDS}}}stanza-id") if each.get("by") == self.run.room)
            self.heard.append((int(identifier), stanza.get("id")))

    async def archive(self, after):
        """Everything beyond a name, page by page."""
        self.found = []
        while True:
            place = f"<after>{after}</after>" if after else ""
            answer = await self.stream.request(
                "set", f"<query xmlns='{ARCHIVE}'><set xmlns='{RSM}'><max>100</max>{place}</set></query>", to=self.run.room
            )
            fin = answer.find(f"{{{ARCHIVE}}}fin")
            if fin is None:
                raise SystemExit("the archive does not answer")
            if fin.get("complete") == "true":
                return self.found
            after = self.found[-1][0]


class Run:
    def __init__(self, arguments, server):
        self.arguments, self.server = arguments, server
        self.random = random.Random(arguments.seed)
        self.room = f"busy@conference.{arguments.domain}"
        self.occupants = [Occupant(self, f"w{number}") for number in range(4)]
        self.promised, self.refusals = set(), []
        self.last = None  # the last name that was read
        self.findings = Findings()
        self.restarts = []

    async def start(self):
        self.server.start()
        for number, each in enumerate(self.occupants):
            make = lambda: Stream(self.arguments.domain, each.name)
            if number == 0:
                each.stream, elapsed = await self.server.login(make, f"secret of {each.name}", "ledger")
                self.restarts.append(elapsed)
            else:
                each.stream = await make().login(self.server.address, self.server.port, f"secret of {each.name}", "ledger")

    async def found(self):
        """The first occupant makes the room, once."""
        await self.occupants[0].enter()
        fields = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
        fields += "<field var='muc#roomconfig_persistentroom'><value>1</value></field>"
        form = f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{fields}</x></query>"
        answer = await self.occupants[0].stream.request("set", form, to=self.room)
        if answer.get("type") != "result":
            raise SystemExit("the room cannot be configured")
        for each in self.occupants[1:]:
            await each.enter()

    async def load(self):
        before = len(self.promised)
        for each in self.occupants:
            each.begin()
        begin = time.monotonic()
        while len(self.promised) - before < OPERATIONS:
            if time.monotonic() - begin > LOAD_DEADLINE:
                raise SystemExit(f"only {len(self.promised) - before} messages in {LOAD_DEADLINE:.0f} s")
            await asyncio.sleep(0.002)
        await asyncio.sleep(self.random.uniform(0, LONGEST_LOAD))
        self.server.kill()
        for each in self.occupants:
            each.loading = False
        await asyncio.wait_for(asyncio.gather(*(each.stream.ended for each in self.occupants)), PATIENCE)
        return len(self.promised) - before

    async def check(self, promised):
        heard = [(each.name, each.heard) for each in self.occupants]
        for each in self.occupants:
            await each.enter()
        if self.arguments.mutant == "lost":
            promised = promised | {"w0-0"}
        found = await self.occupants[0].archive(self.last)
        if self.arguments.mutant == "order":
            found = [found[1], found[0], *found[2:]]
        if self.arguments.mutant == "name":
            heard[0][1][0] = (heard[0][1][0][0] + 1, heard[0][1][0][1])
        names = [name for name, _ in found]
        messages = collections.Counter(message for _, message in found)
        name_of = {message: name for name, message in found}
        check = self.findings.check
        check("every acknowledged message is in the archive", sorted(each for each in promised if each not in messages))
        check("and once", [each for each, count in messages.items() if count > 1])
        check("names rise", [f"{b} after {a}" for a, b in zip(names, names[1:]) if b <= a])
        check("each occupant's messages are in the order of saying", self.disorder(found))
        check(
            "what was heard is there under the name that it had",
            [f"{who} heard {message} as {name}" for who, all_heard in heard for name, message in all_heard if name_of.get(message, name) != name],
        )
        check("and was heard in that order", [who for who, all_heard in heard if [name for name, _ in all_heard] != sorted(name for name, _ in all_heard)])
        check("nothing is refused", self.refusals)
        self.refusals.clear()
        self.last = names[-1] if names else self.last
        return len(found), sum(len(all_heard) for _, all_heard in heard)

    def disorder(self, found):
        latest = collections.Counter()
        for _, message in found:
            who, number = message.rsplit("-", 1)
            if int(number) <= latest[who]:
                yield f"{message} after {latest[who]}"
            latest[who] = int(number)

    async def rounds(self):
        await self.start()
        await self.found()
        for number in range(1, self.arguments.rounds + 1):
            before = set(self.promised)
            acknowledged = await self.load()
            failed = self.findings.failed
            await self.start()
            found, heard = await self.check(self.promised - before)
            verdict = "ok" if self.findings.failed == failed else "FAIL"
            print(
                f"{verdict:5} round {number}: {acknowledged} messages acknowledged, {heard} heard, {found} in the archive; "
                f"log-in {self.restarts[-1]:.2f} s after the start",
                flush=True,
            )
        print(f"{self.arguments.rounds} rounds, {len(self.promised)} messages acknowledged, seed {self.arguments.seed}")
        print(f"{self.findings.passed} passed, {self.findings.failed} failed")


if __name__ == "__main__":
    hold(parser_of("Kills a server while a room is busy and checks the room's archive.", 20, MUTANTS).parse_args(), Run)
