"""Connections that die without a word (P2, P3, P9).

Clients sit in a network of their own (a network namespace, joined by a cable of two virtual interfaces), where all of a sudden nothing
answers any more: no FIN, no RST, no acknowledgement of TCP. Where the system does not let us make one, the kernel drops what arrives at
the clients' sockets, which looks the same to the server. Messages sent to such a client are acknowledged as ever, what waits for it is
bounded, its death is noticed in time, contacts see it go then and not before, and everything reaches its next session.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import time

from .client import Client
from .findings import Skipped
from .ledger import Ledger
from .server import Server

PING_AFTER, PING_TIMEOUT, USER_TIMEOUT, RESUMPTION = 10, 2, 5, 8  # seconds, as configured
TICKS = 2  # seconds: deadlines are rounded up to the next one, twice
SLACK = 2.0  # seconds that a busy machine may take for anything
UNACKNOWLEDGED = 64 << 10  # bytes
FLOOD, FLOOD_SIZE = 400, 1000  # messages and bytes each: several times as much
PAGE = 25  # messages of an archive at a time, which together are less than may be unacknowledged
MEMORY_LIMIT = 16 << 20  # bytes that the server may grow by because of clients that are gone
SETTINGS = f"""
idle: {{ping-after: {PING_AFTER}s, ping-timeout: {PING_TIMEOUT}s, tcp-user-timeout: {USER_TIMEOUT}s}}
limits: {{resumption-timeout: {RESUMPTION}s, unacknowledged-bytes: {UNACKNOWLEDGED}B, stanza-bytes-per-second: 1GiB, stanza-bytes-burst: 1GiB}}
"""
CLONE_NEWNET = 0x40000000
SO_ATTACH_FILTER = 26


class Cable:
    """A network namespace with an interface that leads here. Addresses are those of RFC 2544, which nobody has."""

    HERE, THERE = "198.18.77.1", "198.18.77.2"
    MAC = "02:00:00:00:77:02"

    def __init__(self):
        self.namespace = f"promises-{os.getpid()}"
        self.near, self.far = f"pn{os.getpid()}", f"pf{os.getpid()}"  # names of interfaces have 15 characters at most

    def plug(self):
        self.ip("netns", "add", self.namespace)
        self.ip("link", "add", self.near, "type", "veth", "peer", "name", self.far, "address", self.MAC, "netns", self.namespace)
        self.ip("address", "add", f"{self.HERE}/30", "dev", self.near)
        self.ip("link", "set", self.near, "up")
        self.ip("-n", self.namespace, "address", "add", f"{self.THERE}/30", "dev", self.far)
        self.ip("-n", self.namespace, "link", "set", self.far, "up")
        # The server's machine goes on believing that the other one is there.
        self.ip("neighbour", "replace", self.THERE, "lladdr", self.MAC, "dev", self.near, "nud", "permanent")

    def unplug(self):
        for words in (("link", "delete", self.near), ("netns", "delete", self.namespace)):
            with contextlib.suppress(OSError):  # there may be no such command
                subprocess.run(["ip", *words], capture_output=True)

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def connect(self, port):
        with open("/proc/self/ns/net") as here, open(f"/run/netns/{self.namespace}") as there:
            enter(there)
            try:
                connection = socket.socket()
            finally:
                enter(here)
        connection.connect((self.HERE, port))
        return connection

    def cut(self, clients):
        """The machine of the clients forgets its address: what arrives is for nobody."""
        self.ip("-n", self.namespace, "address", "flush", "dev", self.far)


class Deafness:
    """Without the right to make networks: a filter at each client's socket takes no packet, so that TCP never sees one."""

    HERE = None

    def plug(self):
        with socket.socket() as connection:
            self.deafen(connection)

    def unplug(self):
        pass

    def connect(self, port):
        return socket.create_connection((Server.address, port))

    def cut(self, clients):
        for client in clients:
            self.deafen(client.stream.transport.get_extra_info("socket"))

    @staticmethod
    def deafen(connection):
        program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET: how many bytes are taken
        connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


def enter(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def network(findings):
    reasons = []
    for cable, what in ((Cable(), "clients are in a network namespace"), (Deafness(), "packets are dropped at the clients' sockets")):
        try:
            cable.plug()
        except (OSError, subprocess.CalledProcessError) as error:
            cable.unplug()
            reasons.append((getattr(error, "stderr", None) or str(error)).strip())
            continue
        findings.measure(what)
        try:
            yield cable
        finally:
            cable.unplug()
        return
    raise Skipped(f"no connection can be made to die without a word: {'; '.join(reasons)}")


async def run(world, findings):
    with network(findings) as cable:
        server = Server(world.binary, world.folder, SETTINGS, [cable.HERE] if cable.HERE else [])
        try:
            await vanish(server, cable, findings)
        finally:
            server.abandon()


async def vanish(server, cable, findings):
    ledger = Ledger()
    await server.start()
    names = ("watcher", "sender", "quiet", "plain", "back", "gone", "flood")
    server.add_accounts(*names)
    watcher, sender = [await Client(server, ledger, name).login() for name in names[:2]]
    # Without stream management; with it, and resumed in time, never, or given up for what it left unacknowledged.
    quiet, plain = [await Client(server, ledger, name, managed=False).login(cable.connect(server.port)) for name in ("quiet", "plain")]
    back, gone, flood = [
        await Client(server, ledger, name, resumes=True).login(cable.connect(server.port)) for name in ("back", "gone", "flood")]
    victims = (quiet, plain, back, gone, flood)
    for victim in victims:
        await watcher.befriend(victim)
    for _ in range(20):
        for name in ("plain", "back", "gone"):
            sender.send(name)
    await sender.settle()
    for name in ("plain", "back", "gone"):
        await sender.until(lambda: not ledger.missing(name), "delivery while all was well")

    memory = server.memory()
    cable.cut(victims)
    cut = time.monotonic()
    for _ in range(50):
        for name in ("plain", "back", "gone"):
            sender.send(name)
    for _ in range(FLOOD):
        sender.send("flood", "x" * FLOOD_SIZE)
    await sender.settle()
    findings.expect(
        "messages to clients that are gone are acknowledged as ever", time.monotonic() - cut < SLACK, f"after {time.monotonic() - cut:.1f} s")
    await told(watcher, findings, "flood", cut, 0, 0, "one that leaves too much unacknowledged is ended at once")
    growth = server.memory() - memory
    findings.expect(f"what waits for them is bounded ({MEMORY_LIMIT >> 20} MiB)", growth < MEMORY_LIMIT, f"{growth >> 20} MiB")

    await asyncio.sleep(max(0, cut + USER_TIMEOUT + 4 - time.monotonic()))
    await back.resume()
    findings.check("a session is resumed with all its messages", await missing(back))
    await told(
        watcher, findings, "plain", cut, USER_TIMEOUT - TICKS, USER_TIMEOUT + TICKS, "one whose TCP acknowledges nothing is given up after tcp-user-timeout")
    await told(
        watcher, findings, "quiet", cut, USER_TIMEOUT, PING_AFTER + PING_TIMEOUT + TICKS, "one that is sent nothing is given up after ping-after and ping-timeout")
    await told(
        watcher, findings, "gone", cut, RESUMPTION + USER_TIMEOUT - TICKS, RESUMPTION + USER_TIMEOUT + TICKS,
        "one that could have been resumed is gone for its contacts when it cannot be any more")
    seen = [kind for _, name, kind in watcher.presences if name == "back"]
    findings.expect("contacts see nothing of one that was resumed", "unavailable" not in seen, seen)
    findings.expect(
        "a client that answers pings stays", sender.pings > 0 and not sender.stream.ended.done(), f"{sender.pings} pings, {sender.stream.ended}")
    await reckon(server, ledger, findings, {"back": back, "sender": sender})


async def told(watcher, findings, name, cut, earliest, latest, title):
    """The contact of `name` sees it go between two moments, in seconds after the cut."""
    latest += SLACK
    try:
        await watcher.until(lambda: watcher.last_presence(name)[1] == "unavailable", name, max(0.001, cut + latest - time.monotonic()))
    except TimeoutError:
        pass
    when, kind = watcher.last_presence(name)
    after = when - cut
    if kind != "unavailable":
        return findings.check(title, [f"{name} is still {kind} {time.monotonic() - cut:.1f} s after the cut"])
    findings.expect(title, earliest <= after <= latest, f"{name} went {after:.1f} s after the cut, not between {earliest} and {latest:g}")
    findings.measure(f"{name} seen going {after:.1f} s after the cut")


async def missing(client):
    await client.collect()
    return [f"{each} did not come" for each in client.ledger.missing(client.name)]


async def reckon(server, ledger, findings, clients):
    for name in ("plain", "gone", "flood"):
        clients[name] = await Client(server, ledger, name).login()
        findings.check(f"everything reaches the next session of {name}", await missing(clients[name]))
    problems = []
    for name, client in clients.items():
        problems += ledger.archive(name, await client.archive(PAGE))
    findings.check("archives hold all of it", problems)
    findings.measure(f"{ledger.repeated()} messages came again, under their stanza-ids")
    ledger.reckon(findings)
