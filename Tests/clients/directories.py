"""The checks of directory.py with every kind of directory that there is here; scripts/directories starts it."""

import argparse
import asyncio
import logging
import os
import sys

import directory  # noqa: F401
from directory import directory_checks
from dirsrv import PROGRAM, DirectoryServer389, PersistentSearch389
from harness import World, run_checks


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("martlet")
    parser.add_argument("pattern", nargs="?", default="", help="run only checks whose title contains this")
    arguments = parser.parse_args()
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
    if os.access(PROGRAM, os.X_OK):
        directory_checks(DirectoryServer389)
        directory_checks(PersistentSearch389)
    else:
        print("not run: 389 Directory Server is not installed (apt-get install 389-ds-base)")
    world = World("127.0.0.1", 0, 0, "", "", "", {}, [], "martlet", arguments.martlet)

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        # The checks of others are there as well. 389 Directory Server takes its time to start and to stop.
        return await run_checks(world, arguments.pattern, lambda each: each.run.__module__ == directory.__name__, seconds=60)

    sys.exit(1 if asyncio.run(run()) else 0)


if __name__ == "__main__":
    main()
