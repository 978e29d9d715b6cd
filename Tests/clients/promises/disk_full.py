"""A disk that is full and then is not (P1, P7, P19).

The data folder is a small file system in memory. While clients chat, a ballast file takes all that is left of it: messages are
refused with `resource-constraint` before they count as handled, what needs no disk goes on, and when the ballast is gone the same server
writes again. The last time the server is killed meanwhile. At the end the archives hold what was acknowledged and nothing that was refused.
"""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import time

from .client import Client, Load, condition_of
from .findings import Skipped
from .ledger import Ledger
from .server import Server

SIZE = 48 << 20  # bytes of the disk: several times what the chat leaves there
PIECE = 4096
FULL_FOR = 2.0  # seconds that the load goes on after the first refusals
RECOVERY = 5.0  # seconds in which the server must take writes again
LOGIN = 2.0  # seconds that a log-in may take while the disk is full
SETTINGS = """
storage: {reserve: 1MiB, free-space-warning: off}
limits: {stanza-bytes-per-second: 1GiB, stanza-bytes-burst: 1GiB, offline-messages: 1000000, offline-bytes: 4GiB}
"""
PRIVATE = "jabber:iq:private"


@contextlib.contextmanager
def small_disk(folder):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"a small disk cannot be mounted: {done.stderr.strip() or done.returncode}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Ballast:
    """A file that takes what is left of a disk, again and again."""

    def __init__(self, path):
        self.path = path

    def fill(self):
        with open(self.path, "ab", buffering=0) as file:
            for size in (1 << 20, PIECE):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def remove(self):
        os.remove(self.path)


async def run(world, findings):
    if os.geteuid() != 0:
        raise Skipped("only root can mount a small disk")
    server = Server(world.binary, world.folder, SETTINGS)
    with small_disk(server.data):
        try:
            await chat(world, server, findings)
        finally:
            server.abandon()


async def chat(world, server, findings):
    ledger = Ledger()
    names = ("romeo", "juliet", "mercutio", "nurse", "friar")
    await server.start()
    server.add_accounts(*names)
    romeo, juliet, mercutio = [await Client(server, ledger, name).login() for name in names[:3]]
    await mercutio.befriend(juliet)
    loads = [Load(each, ["juliet", "nurse"], world.random) for each in (romeo, mercutio)]
    cycles = 10 if world.is_long else 2
    ballast = Ballast(server.data / "ballast")
    recoveries = []
    problems = {title: [] for title in ("reads", "writes", "presence", "log-in")}
    for _ in range(cycles):
        await asyncio.sleep(0.5)
        await fill(server, ledger, romeo, ballast)
        await use(server, ledger, juliet, mercutio, problems)
        recoveries.append(await free(ledger, ballast))
    await asyncio.sleep(0.5)
    await fill(server, ledger, romeo, ballast)
    await server.stop(signal.SIGKILL)
    for load in loads:
        await load.stop()
    findings.check("a server that is started while the disk is full serves or says why not", await start_full(server))
    ballast.remove()
    findings.measure("started on a full disk, the server " + ("ended with 74" if server.process is None else "served"))
    if server.process is None:
        await server.start()
    for client in (romeo, juliet, mercutio):
        await client.start_over()
    refused = [each for each in ledger.messages.values() if each.refused]
    findings.check("reads are answered while the disk is full", problems["reads"])
    findings.check("changes are refused with resource-constraint while the disk is full", problems["writes"])
    findings.check("presence goes on while the disk is full", problems["presence"])
    findings.check("log-ins go on while the disk is full", problems["log-in"])
    findings.check(
        "senders are told resource-constraint", {each.refused for each in refused} - {"resource-constraint"} or ([] if refused else ["nobody was"]))
    slow = [f"{each:.1f} s" for each in recoveries if each >= RECOVERY]
    findings.check(f"the server writes again within {RECOVERY:g} s of there being space", slow)
    findings.measure(f"{len(refused)} messages refused while the disk was full {cycles} times; written again after {max(recoveries):.2f} s at most")
    await reckon(server, ledger, findings, {"romeo": romeo, "juliet": juliet, "mercutio": mercutio})


async def fill(server, ledger, sender, ballast):
    """Until the server refuses: what it has set aside may last a while."""
    before = sum(message.refused is not None for message in ledger.messages.values())
    deadline = time.monotonic() + 20
    while sum(message.refused is not None for message in ledger.messages.values()) == before:
        if server.has_ended():
            raise RuntimeError(f"the server ended when the disk was full: {server.last_words()}")
        if time.monotonic() > deadline:
            raise RuntimeError("the disk is full and nothing is refused")
        ballast.fill()
        await asyncio.sleep(0.02)
    until = time.monotonic() + FULL_FOR
    while time.monotonic() < until:
        ballast.fill()
        await asyncio.sleep(0.1)
    if sender.stream.ended.done():
        raise RuntimeError(f"the sender's stream ended: {sender.stream.ended.result()}")


async def use(server, ledger, juliet, mercutio, problems):
    """What needs no disk, and what does."""
    for what, payload in (("the roster", "<query xmlns='jabber:iq:roster'/>"), ("a private document", f"<query xmlns='{PRIVATE}'><a xmlns='b'/></query>")):
        answer = await juliet.stream.request("get", payload)
        if answer.get("type") != "result":
            problems["reads"].append(f"{what}: {condition_of(answer)}")
    answer = await juliet.stream.request("set", f"<query xmlns='{PRIVATE}'><a xmlns='b'>{'x' * 20_000}</a></query>")
    if condition_of(answer) != "resource-constraint":
        problems["writes"].append(f"a private document: {condition_of(answer)}")
    seen = len(mercutio.presences)
    juliet.stream.write("<presence><show>away</show></presence>")
    try:
        await mercutio.until(lambda: len(mercutio.presences) > seen, "juliet's presence", 2)
    except TimeoutError as error:
        problems["presence"].append(error)
    begin = time.monotonic()
    friar = Client(server, ledger, "friar")
    try:
        await friar.login()
        await friar.close()
    except Exception as error:
        problems["log-in"].append(f"{type(error).__name__}: {error}")
    if time.monotonic() - begin > LOGIN:
        problems["log-in"].append(f"took {time.monotonic() - begin:.1f} s")


async def free(ledger, ballast):
    """Returns how long it took until something was acknowledged again."""
    begin = time.monotonic()
    ballast.remove()
    known = len(ledger.messages)  # those that are sent from here on
    while time.monotonic() - begin < 2 * RECOVERY:
        fresh = list(ledger.messages.values())[known:]
        if any(message.acknowledged and not message.refused for message in fresh):
            break
        await asyncio.sleep(0.02)
    return time.monotonic() - begin


async def start_full(server):
    try:
        await server.start()
        return []
    except RuntimeError as error:
        status, server.process = server.process.poll(), None
        return [] if status == 74 and "no space left" in str(error) else [f"status {status}: {error}"]


async def reckon(server, ledger, findings, clients):
    for title in ("before", "after"):
        if title == "after":  # what is on disk, not what is in memory
            await server.stop()
            await server.start()
            clients = {name: await Client(server, ledger, name).login() for name in clients}
        clients["nurse"] = await Client(server, ledger, "nurse").login()
        for name in ("juliet", "nurse"):
            await clients[name].collect()
        problems = []
        for name, client in clients.items():
            problems += ledger.archive(name, await client.archive())
        findings.check(f"archives hold what was acknowledged and nothing that was refused, {title} a restart", problems)
        for client in clients.values():
            await client.close()
    findings.check("every message is acknowledged or refused", ledger.unresolved())
    ledger.reckon(findings)
