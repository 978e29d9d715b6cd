"""How long the server takes to know all people of a large directory, and how much memory that takes. scripts/directories-large starts it."""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import pathlib
import sqlite3
import sys
import time

from directory import FollowingServer, comes_true, log_in
from harness import World, require
from slapd import PEOPLE, Slapd, replaced

# What is wanted for so many people: seconds until all have their accounts, and MiB that they take. Memory is asked of the smaller directory only.
AIMS = {10_000: (10, 60), 100_000: (120, None)}
PATIENCE = 900.0
GIVEN = ["Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy", "Karl", "Laura", "Mallory", "Niaj", "Olivia", "Peggy"]
FAMILY = ["Adams", "Brown", "Clark", "Dunn", "Evans", "Ford", "Green", "Hill", "Ingram", "Jones", "King", "Lewis", "Moore", "Nash", "Owen", "Price"]
ITERATIONS = 10_000


def hashed(password, salt):
    """As slapd's pw-pbkdf2 does it."""

    def text(value):
        return base64.b64encode(value).decode().rstrip("=").replace("+", ".")

    return f"{{PBKDF2-SHA256}}{ITERATIONS}${text(salt)}${text(hashlib.pbkdf2_hmac('sha256', password.encode(), salt, ITERATIONS))}"


def entry(number, password):
    given, family = GIVEN[number % 16], FAMILY[number // 16 % 16]
    return (
        f"dn: uid=p{number},{PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: xmppUser\nuid: p{number}\ncn: {given} {family} {number}\nsn: {family}\n"
        f"givenName: {given}\nmail: {given}.{family}.{number}@example.org\nxmppAddress: p{number}@example.org\nxmppEnabled: TRUE\n"
        f"telephoneNumber: +44 20 7946 {number % 10_000:04}\nmobile: +44 7700 {number:06}\ntitle: Officer\no: Example\nou: Department {number % 97}\n"
        f"l: London\npostalCode: N{number % 23} {number % 9}AB\nuserPassword: {password}\n")


class LargeSlapd(Slapd):
    def __init__(self, world, count):
        super().__init__(world)
        self.count = count

    async def prepare(self):
        await super().prepare()
        people = self.folder / "people.ldif"
        # Each has a salt of his own; that of the one who logs in is real.
        with open(people, "w") as file:
            for number in range(self.count):
                salt = hashlib.sha256(str(number).encode()).digest()
                password = hashed("p0's", salt[:16]) if number == 0 else (
                    f"{{PBKDF2-SHA256}}{ITERATIONS}${base64.b64encode(salt[:16]).decode().rstrip('=').replace('+', '.')}"
                    f"${base64.b64encode(salt).decode().rstrip('=').replace('+', '.')}")
                file.write(entry(number, password) + "\n")
        await self.load(people, PATIENCE)
        people.unlink()


class MeasuredServer(FollowingServer):
    start_limit = 60.0

    async def start(self):
        self.began = time.monotonic()
        await super().start()

    def accounts(self):
        """As the store has them: asking the server would be in its way."""
        file = self.folder / "data" / "martlet.db"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as store:
            return store.execute("SELECT count(*) FROM account").fetchone()[0]

    async def has(self, count):
        """Seconds since its start, when all are there."""
        await comes_true(lambda: settled(self.accounts() >= count), f"{count} accounts", PATIENCE)
        return time.monotonic() - self.began

    def memory(self):
        """What it holds for itself, in MiB."""
        fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()[1:])
        return int(fields["Rss"].split()[0]) / 1024, int(fields["Anonymous"].split()[0]) / 1024


async def settled(value):
    await asyncio.sleep(0.05)
    return value


async def measured(world, count):
    """One line of the table."""
    line = {"people": count}
    async with LargeSlapd(world, 0) as few, MeasuredServer(world, few) as server:
        await server.status("followed")
        await asyncio.sleep(2)
        line["rss before"], before = server.memory()
    began = time.monotonic()
    async with LargeSlapd(world, count) as directory:
        line["slapadd"] = time.monotonic() - began
        async with MeasuredServer(world, directory) as server:
            line["accounts"] = await server.has(count + 3)
            said = await server.status("followed", PATIENCE)
            line["followed"] = time.monotonic() - server.began
            require(f"{count + 3} people" in said, said)
            place = server.world()
            failure, line["log-in"] = await log_in(place, "p0", "p0's")
            require(failure is None, f"log-in: {failure}")
            await asyncio.sleep(2)
            line["rss after"], after = server.memory()
            line["people take"] = after - before
            began = time.monotonic()
            await directory.modify(replaced(f"p{count - 1}", xmppEnabled="FALSE"))

            async def is_gone():
                return f"{count + 2} people" in (await server.asked("status"))[1]

            await comes_true(is_gone, "the end of an account", PATIENCE)
            line["change"] = time.monotonic() - began
            await server.stop()
            line["stop"] = time.monotonic() - began - line["change"]
            await server.start()
            line["ready again"] = time.monotonic() - server.began
            await server.status("followed", PATIENCE)
            line["followed again"] = time.monotonic() - server.began
            await asyncio.sleep(2)
            line["rss again"], _ = server.memory()
            require("password changed" not in server.text(), "passwords are taken for new ones")
    return line


COLUMNS = [
    ("people", "people", "{:,}"), ("slapadd", "slapadd s", "{:.1f}"), ("followed", "followed s", "{:.1f}"), ("accounts", "accounts s", "{:.1f}"),
    ("log-in", "log-in s", "{:.3f}"), ("change", "change s", "{:.2f}"), ("rss before", "RSS before MiB", "{:.0f}"), ("rss after", "RSS after MiB", "{:.0f}"),
    ("people take", "people take MiB", "{:.0f}"), ("stop", "stop s", "{:.1f}"), ("ready again", "ready again s", "{:.1f}"),
    ("followed again", "followed again s", "{:.1f}"), ("rss again", "RSS again MiB", "{:.0f}"),
]


def missed(line):
    """What is not as it is wanted."""
    seconds, mebibytes = AIMS.get(line["people"], (None, None))
    if seconds and line["accounts"] > seconds:
        yield f"{line['people']:,} people have accounts after {line['accounts']:.1f} s: {seconds} s are wanted"
    if mebibytes and line["people take"] > mebibytes:
        yield f"{line['people']:,} people take {line['people take']:.0f} MiB: {mebibytes} MiB are wanted"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("martlet")
    parser.add_argument("counts", type=int, nargs="*", default=[10_000, 100_000])
    arguments = parser.parse_args()
    world = World("127.0.0.1", 0, 0, "", "", "", {}, [], "martlet", arguments.martlet)
    print("| " + " | ".join(title for _, title, _ in COLUMNS) + " |\n|" + "---:|" * len(COLUMNS), flush=True)
    lines = []
    for count in arguments.counts or [10_000, 100_000]:
        lines.append(asyncio.run(measured(world, count)))
        print("| " + " | ".join(form.format(lines[-1][key]) for key, _, form in COLUMNS) + " |", flush=True)
    problems = [problem for line in lines for problem in missed(line)]
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
