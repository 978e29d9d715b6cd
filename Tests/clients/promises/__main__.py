"""Runs the parts, says what came of them, and in the long form writes it down. `scripts/promises` says how it is called."""

import argparse
import asyncio
import dataclasses
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from . import clock_jumps, disk_full, half_open, slow_readers
from .findings import Findings, Skipped
from .ledger import try_false_ledgers
from .page import Outcome, write_page

PARTS = {"disk-full": disk_full, "half-open": half_open, "slow-readers": slow_readers, "clock-jumps": clock_jumps}
ROUNDS = 150  # of scripts/kill9 in the long form: about five minutes
LOG_LINES = 15  # of the server's log that are shown when something failed


@dataclasses.dataclass
class World:
    """What a part is given."""

    binary: str
    folder: str
    random: random.Random
    is_long: bool


async def run_part(name, arguments):
    findings = Findings(name)
    begin = time.monotonic()
    skipped = ""
    with tempfile.TemporaryDirectory(prefix=f"promises-{name}.", ignore_cleanup_errors=True) as folder:
        world = World(arguments.martlet, folder, random.Random(f"{arguments.seed} {name}"), arguments.long)
        try:
            await PARTS[name].run(world, findings)
        except Skipped as reason:
            skipped = str(reason)
            print(f"      {name}: skipped: {reason}", flush=True)
        except Exception as error:  # a part that breaks has failed: the others go on
            traceback.print_exc()
            findings.expect("the part runs to its end", False, f"{type(error).__name__}: {error}")
        if findings.failed:
            show(pathlib.Path(folder, "server.log"))
    return Outcome(findings, time.monotonic() - begin, f"{findings.acknowledged} messages", skipped)


def show(log):
    if log.exists():
        for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
            print(f"      | {line}")


def run_script(name, arguments, *words):
    """Another script that prints `N passed, N failed`: its last lines are what it found."""
    findings = Findings(name)
    begin = time.monotonic()
    done = subprocess.Popen([*words], env=dict(os.environ, MARTLET=arguments.martlet), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = ""
    for line in done.stdout:
        print(line, end="", flush=True)
        output += line
    findings.expect("all checks passed", done.wait() == 0, f"it ended with {done.returncode}")
    findings.measured += [line.removeprefix("ok").strip() for line in output.splitlines() if re.match(r"[0-9]+ rounds, |ok +\S+ is found by ", line)]
    operations = re.search(r"([0-9]+) operations answered or acknowledged", output)
    return Outcome(findings, time.monotonic() - begin, f"{operations[1]} operations" if operations else "", "")


def arguments_of_command_line():
    parser = argparse.ArgumentParser(prog="scripts/promises")
    parser.add_argument("--martlet", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 100_000))
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("parts", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown or (arguments.write and not arguments.long):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(PARTS)}" if unknown else "--write goes with --long")
    return arguments


def main():
    arguments = arguments_of_command_line()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ledger = Findings("ledger")
    try_false_ledgers(ledger)
    outcomes = []
    if arguments.long:
        outcomes.append(run_script("kill -9", arguments, "scripts/kill9", str(arguments.rounds), str(arguments.seed)))
    outcomes += [asyncio.run(run_part(name, arguments)) for name in arguments.parts or PARTS]
    if arguments.long:
        outcomes.append(run_script("mutants", arguments, "scripts/mutants"))
    for outcome in outcomes:
        print(outcome.line())
    if arguments.write:
        write_page(arguments, outcomes)
    every = [ledger, *(outcome.findings for outcome in outcomes)]
    failed = sum(len(findings.failed) for findings in every)
    print(f"{sum(len(findings.passed) for findings in every)} passed, {failed} failed, seed {arguments.seed}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
