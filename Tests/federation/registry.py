"""The list of named checks, the modes in which servers are run for them, and what was seen."""

import asyncio
import dataclasses
import time

from certificates import RARE, WRONG
from harness import Failed, Refused
from servers import Setting
from slixmpp.exceptions import IqError, IqTimeout

MAIN = "main"  # `external`, or `dialback` if one of the two knows nothing else
SECONDS = 60.0  # that a check may take which says nothing else


class Skipped(Exception):
    """A check cannot be made with these servers; the text says why."""


@dataclasses.dataclass(frozen=True)
class Mode:
    """What the near and the far server are told, and what they must know for it."""

    name: str
    settings: tuple
    needs: tuple
    direct: tuple = (False, False)  # is found by direct TLS only (XEP-0368)

    @property
    def is_signed(self):
        """DNS is signed, and knows the two servers only."""
        return any(setting.records for setting in self.settings)


def alike(name, *needs, direct=False, **setting):
    return Mode(name, (Setting(**setting),) * 2, (needs,) * 2, (direct, direct))


MODES = [
    alike("external", "external"),
    alike("dialback", "dialback", certificate="self-signed", authentication="dialback"),
    alike("direct-tls", "external", "direct-tls", direct=True),
    alike("bidi", "external", "bidi", bidi=True),
    alike("management", "external", "management", management=True),
    alike("dane", "external", "dane", certificate="self-signed", records="own"),
    Mode("dane-other", (Setting(records="own"), Setting(records="other")), (("external", "dane"),) * 2),
]
for kind in RARE + WRONG:
    # The near server looks at certificates, the far one has a rare or wrong one and looks at none.
    settings = Setting(lists=kind == "revoked"), Setting(certificate=kind, authentication="lenient")
    MODES.append(Mode(f"certificate-{kind}", settings, (("external",), ("external",))))
    MODES.append(Mode(f"certificate-{kind}-turned", settings[::-1], (("external",), ("external",))))


@dataclasses.dataclass(frozen=True)
class Check:
    title: str
    run: object
    mode: str
    needs: tuple
    seconds: float
    turned: bool  # the far server is in the place of the near one
    is_quick: bool  # part of what CI runs

    def is_wanted(self, pair, names):
        title = self.shown(pair)
        return not names or any(name in title for name in names)

    @property
    def row_mode(self):
        return self.mode.removesuffix("-turned")

    def shown(self, pair):
        near, far = reversed(pair) if self.turned else pair
        return f"{near}-{far}: {self.row_mode}: {self.title}"


CHECKS = []


def check(title, modes=MAIN, needs=(), far_needs=None, directed=False, seconds=SECONDS, turned=False, quick=()):
    """Registers a check for each of these modes, or for the ordinary one.

    It is called with the two sides and may return a remark of what it saw. `needs` is what the near server must know, `far_needs` the far
    one, which is the same if nothing is said. A directed check runs a second time with the two in each other's place; one that is `turned`
    runs only so. `quick` are the modes in which CI runs it.
    """

    def register(function):
        far = needs if far_needs is None else far_needs
        for mode in [modes] if isinstance(modes, str) else modes:
            for place in (False, True) if directed else (turned,):
                CHECKS.append(Check(title, function, mode, (tuple(needs), tuple(far)), seconds, place, mode in quick))
        return function

    return register


class Report:
    """Prints a line for each check, counts, and writes the table."""

    def __init__(self):
        self.rows = {}  # mode and title -> pair -> cell
        self.pairs = []
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def passed(self, pair, check, elapsed, remark):
        print(f"ok    {check.shown(pair)} ({elapsed:.2f} s){': ' + remark if remark else ''}")
        self.note(pair, check, "passed", remark or "yes")

    def failed(self, pair, check, elapsed, problem):
        print(f"FAIL  {check.shown(pair)} ({elapsed:.2f} s)\n      {problem}")
        self.note(pair, check, "failed", "**no**: " + problem.splitlines()[0].partition(" Last kept")[0])

    def skipped(self, pair, check, reason):
        print(f"skip  {check.shown(pair)}: {reason}")
        self.note(pair, check, "skipped", "–")

    def note(self, pair, check, outcome, cell):
        self.counts[outcome] += 1
        near, far = reversed(pair) if check.turned else pair
        if (near, far) not in self.pairs:
            self.pairs.append((near, far))
        self.rows.setdefault((check.row_mode, check.title), {})[near, far] = cell[:600].replace("|", "/")

    def finish(self):
        print(", ".join(f"{count} {outcome}" for outcome, count in self.counts.items()))
        return self.counts["failed"]

    def write(self, file):
        """Puts what was seen into the table between the two marks of a page; what was not looked at stays."""
        begin, end = "<!-- seen: begin -->\n", "<!-- seen: end -->"
        before, _, rest = file.read_text().partition(begin)
        old, _, after = rest.partition(end)
        columns, rows = read_table(old)
        columns += [pair for pair in self.pairs if pair not in columns]
        for key, cells in self.rows.items():
            rows.setdefault(key, {}).update(cells)
        order = list(dict.fromkeys((each.row_mode, each.title) for each in CHECKS))
        lines = ["| Mode | Check | " + " | ".join(" → ".join(pair) for pair in columns) + " |", "|---|---|" + "---|" * len(columns)]
        for key in sorted(rows, key=lambda key: order.index(key) if key in order else len(order)):
            lines.append("| " + " | ".join([*key, *(rows[key].get(pair, "") for pair in columns)]) + " |")
        file.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


def read_table(text):
    """Columns and rows of a table that was written before."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    if not lines:
        return [], {}
    columns = [tuple(cell.split(" → ")) for cell in lines[0][2:]]
    return columns, {(line[0], line[1]): dict(zip(columns, line[2:])) for line in lines[2:]}


async def run_check(sides, check, report):
    """Runs a check, whatever it does, and closes its clients."""
    turned = sides.turned() if check.turned else sides
    begin = time.monotonic()
    problem = remark = None
    try:
        for each, needs in zip(turned.servers, check.needs):
            for need in needs:
                if need not in each.can:
                    raise Skipped(f"{each.name} has no {need}")
        remark = await asyncio.wait_for(check.run(turned), check.seconds)
    except Skipped as reason:
        report.skipped(sides.pair, check, str(reason))
        return
    except (Failed, Refused, IqError, IqTimeout, AssertionError) as error:
        problem = f"{type(error).__name__}: {error}"
    except asyncio.TimeoutError:
        problem = f"it took more than {check.seconds:.0f} s"
    except Exception as error:  # a check that breaks is a check that failed: the others go on
        problem = f"{type(error).__name__}: {error}"
    elapsed = time.monotonic() - begin
    await turned.close_all()
    if problem is None:
        report.passed(sides.pair, check, elapsed, remark)
        return
    report.failed(sides.pair, check, elapsed, problem)
    for each in turned.servers:
        print(each.last_words(12))
