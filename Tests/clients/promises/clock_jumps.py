"""A wall clock that jumps (P3, P4, P5, P20).

Clients chat while the server's wall clock jumps forward and back, by an hour, a day and a year, and is a day behind when the server
is started again, after a stop and after a kill. Names of messages go on rising and are never given twice, archives keep their order, no
connection and no session is given up for it, and sessions are resumed as ever. Only the wall clock jumps, as it does on a machine whose
clock is set: wall_clock.c moves it for the one process.
"""

import asyncio
import datetime
import pathlib
import shutil
import signal
import struct
import subprocess

from .client import Client, Load
from .findings import Skipped
from .ledger import Ledger
from .server import Server

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400  # seconds
JUMPS = (HOUR, -DAY, 0, YEAR, -YEAR, 60, 120, 180, 0)  # to what the clock is wrong by, in turn
SETTINGS = """
idle: {ping-after: 10s, ping-timeout: 5s}
limits: {resumption-timeout: 60s, stanza-bytes-per-second: 1GiB, stanza-bytes-burst: 1GiB}
"""


class WallClock:
    def __init__(self, folder):
        compiler = shutil.which("clang") or shutil.which("cc")
        if compiler is None:
            raise Skipped("there is no C compiler")
        folder = pathlib.Path(folder)
        self.library, self.file = folder / "wall_clock.so", folder / "wall_clock"
        source = pathlib.Path(__file__).with_name("wall_clock.c")
        done = subprocess.run([compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", self.library, source], capture_output=True, text=True)
        if done.returncode != 0:
            raise Skipped(f"wall_clock.c cannot be compiled: {done.stderr.strip()}")
        self.file.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(self.library), "WALL_CLOCK_OFFSET": str(self.file)}

    def set(self, offset):
        with open(self.file, "r+b", buffering=0) as file:  # in place: it is mapped
            file.write(struct.pack("q", offset))


async def run(world, findings):
    clock = WallClock(world.folder)
    server = Server(world.binary, world.folder, SETTINGS, environment=clock.environment)
    try:
        await chat(world, server, clock, findings)
    finally:
        server.abandon()


async def chat(world, server, clock, findings):
    ledger = Ledger()
    await server.start()
    server.add_accounts("romeo", "juliet", "mercutio", "nurse", "benvolio")
    romeo, mercutio = [await Client(server, ledger, name, resumes=True).login() for name in ("romeo", "mercutio")]
    juliet = await Client(server, ledger, "juliet", resumes=True).login()
    benvolio = await Client(server, ledger, "benvolio", managed=False).login()  # who says nothing and is only pinged
    loads = [Load(each, ["juliet", "nurse"], world.random, pace=0.02) for each in (romeo, mercutio)]
    clients, problems = (romeo, mercutio, juliet, benvolio), {"time": [], "ended": [], "resumed": []}
    jumps = JUMPS * (5 if world.is_long else 1)
    for offset in jumps:
        juliet.break_connection()  # before the jump, and resumed after it
        clock.set(offset)
        await asyncio.sleep(1.3)  # deadlines are looked at once a second
        problems["time"] += await wrong_time(romeo, offset)
        await resume(juliet, problems["resumed"], f"at {offset} s")
        await juliet.ping()  # what it had missed has come
        problems["ended"] += [f"{each.name} at {offset} s: {each.stream.ended.result()}" for each in clients if each.stream.ended.done()]
        if problems["ended"]:
            break
    findings.check("the server's clock is the one that jumps", problems["time"])
    findings.check(f"no stream ends when the clock jumps ({len(jumps)} times)", problems["ended"])
    findings.check("a session is resumed across each jump", problems["resumed"])
    findings.expect("silent clients are pinged by the clock that does not jump", benvolio.pings in (1, 2) or world.is_long, f"{benvolio.pings} pings")
    for load in loads:
        await load.stop()
    await restart(server, clock, ledger, findings, (romeo, mercutio, juliet), world)
    await reckon(server, ledger, findings, juliet)


async def restart(server, clock, ledger, findings, clients, world):
    """Over a stop, sessions can be resumed; over a kill, clients log in anew and send again what was not handled."""
    romeo, mercutio, juliet = clients
    problems = []
    for end, offset in ((signal.SIGTERM, -DAY), (signal.SIGKILL, -2 * DAY)):
        loads = [Load(each, ["juliet", "nurse"], world.random, pace=0.005) for each in (romeo, mercutio)]
        await asyncio.sleep(0.5)
        for load in loads:
            await load.stop()
        await server.stop(end)
        clock.set(offset)
        await server.start()
        for client in clients:
            if end == signal.SIGTERM:
                await resume(client, problems, "after a stop, a day back")
            else:
                await client.start_over()
        for client in (romeo, mercutio):
            await client.settle()
        await juliet.collect()
    findings.check("sessions are resumed after a stop with the clock set back", problems)


async def resume(client, problems, when):
    try:
        await client.resume()
    except Exception as error:
        problems.append(f"{client.name}, {when}: {error}")
        await client.login()


async def wrong_time(client, offset):
    """The server's wall clock (XEP-0202) is wrong by as much as it was set to, or the part shows nothing."""
    answer = await client.stream.request("get", "<time xmlns='urn:xmpp:time'/>", to=client.server.domain)
    said = datetime.datetime.fromisoformat(answer.findtext("{urn:xmpp:time}time/{urn:xmpp:time}utc").replace("Z", "+00:00"))
    wrong = (said - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    return [] if abs(wrong - offset) < 5 else [f"it is wrong by {wrong:.0f} s and not by {offset} s"]


async def reckon(server, ledger, findings, juliet):
    nurse = await Client(server, ledger, "nurse").login()
    await nurse.collect()
    problems = []
    for client in (juliet, nurse):
        problems += ledger.archive(client.name, await client.archive())
    findings.check("archives keep the order of the messages, and name each once", problems)
    findings.measure(f"{ledger.repeated()} messages came again, under their stanza-ids")
    ledger.reckon(findings)
