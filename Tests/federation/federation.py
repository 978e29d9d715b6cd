"""The checks of scripts/federation: pairs of servers that talk to each other, each with what it is told of the other's streams.

For a pair and a mode both servers start in new folders; then the checks of that mode run one after the other. Checks of a mode that one of
the two does not know are skipped.
"""

import argparse
import asyncio
import logging
import pathlib
import subprocess
import sys

import network
from certificates import Authority
from registry import CHECKS, MAIN, MODES, Report, run_check
from servers import NotReady, kind, server
from signed import SignedNames
from sides import Sides

# They register their checks.
import conversations  # noqa: F401
import common_rooms  # noqa: F401
import faults  # noqa: F401
import authentication  # noqa: F401
import hostile  # noqa: F401

README = pathlib.Path(__file__).parent / "README.md"


def arguments():
    parser = argparse.ArgumentParser(description="Runs the checks in a network namespace; scripts/federation makes one and calls this.")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--martlet")
    parser.add_argument("--pairs")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args()


def pairs(options):
    if options.pairs:
        found = [tuple(pair.split("-")) for pair in options.pairs.split(",")]
    elif options.martlet and "server-tls" in said(options.martlet, "config", "example"):
        found = [("martlet", other) for other in (("prosody", "ejabberd") if options.quick else ("prosody", "ejabberd", "jabberd2"))]
    elif options.quick:
        sys.exit("--quick: name a Martlet that listens for servers")
    else:
        print("This martlet does not listen for servers: Prosody and ejabberd talk to each other")
        found = [("prosody", "ejabberd")]
    for pair in found:
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(network.DOMAINS):
            sys.exit(f"--pairs: {'-'.join(pair)}: give two different ones of {' '.join(network.DOMAINS)}")
    return found


def main_mode(pair):
    return "external" if all("external" in kind(name).can for name in pair) else "dialback"


def said(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout


async def run(options):
    folder = pathlib.Path(options.folder)
    network.prepare()
    authorities = Authority(folder / "authority"), Authority(folder / "other-authority")
    end_publishing = authorities[0].publish()
    try:
        return await run_all(options, folder, authorities)
    finally:
        end_publishing()


async def run_all(options, folder, authorities):
    names = network.NameServer(folder / "dns")
    report = Report()
    kept = None
    for pair in pairs(options):
        for mode in MODES:
            here = (mode.name, MAIN) if mode.name == main_mode(pair) else (mode.name,)
            wanted = [each for each in CHECKS if each.mode in here and each.is_wanted(pair, options.names) and (each.is_quick or not options.quick)]
            if not wanted:
                continue
            place = folder / f"{'-'.join(pair)}-{mode.name}"
            servers = [server(name, place, authorities, options.martlet) for name in pair]
            lacks = [f"{each.name} has no {need}" for each, needs in zip(servers, mode.needs) for need in needs if need not in each.can]
            if lacks:
                for each in wanted:
                    report.skipped(pair, each, ", ".join(lacks))
                continue
            sides = Sides(servers, SignedNames(place / "dns", servers) if mode.is_signed else names, authorities[0], folder)
            await end(kept)
            kept = sides
            await run_mode(sides, mode, wanted, report)
            if not options.keep:
                await end(sides)
    if options.write:
        report.write(README)
    return report.finish()


async def end(sides):
    """Stops the servers of a mode, of which nothing may be left when the next one begins."""
    if sides is not None:
        await asyncio.gather(*(each.stop() for each in sides.servers))
        sides.names.stop()


async def run_mode(sides, mode, wanted, report):
    """All wanted checks of a mode between two servers."""
    try:
        for each, setting in zip(sides.servers, mode.settings):
            each.set_up(setting)
        sides.names.start(direct=[each.domain for each, direct in zip(sides.servers, mode.direct) if direct])
        await asyncio.gather(*(each.start() for each in sides.servers))
        for each in wanted:
            await run_check(sides, each, report)
    except NotReady as problem:
        print(problem, file=sys.stderr)
        for each in wanted:
            report.failed(sides.pair, each, 0.0, "a server did not start")
    finally:
        await sides.close_all()


def main():
    options = arguments()
    if options.list:
        for each in CHECKS:
            print(f"{each.mode}: {each.title}")
        return
    sys.stdout.reconfigure(line_buffering=True)
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)  # what it finds wrong is what the checks are about

    async def checks():
        # What slixmpp leaves behind in the background when a stream ends is not a check's business.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        return await run(options)

    sys.exit(1 if asyncio.run(checks()) else 0)


if __name__ == "__main__":
    main()
