"""Three network namespaces on one switch, which is in the namespace of the checks: what passes between them can be lost, cut and delayed.

There is no netem in every kernel. Packets are dropped by iptables; delay and stalls are made by a relay that one server dials instead of
another, and which reads and writes on its own terms.
"""

import asyncio
import contextlib
import itertools
import os
import subprocess
import time

from network import NAME_SERVER, NETWORK, run

RELAY = f"{NETWORK}.90"
DEADLINE = 5.0  # seconds until a namespace is there
TIED = ("setpriv", "--pdeathsig", "KILL")  # what is started so ends with the checks


class Impossible(Exception):
    """The system does not let us make such a network; the text says what."""


class Namespace:
    """One server's machine, with an interface on the switch."""

    def __init__(self, number, address):
        self.number, self.address = number, address
        self.holder = None
        self.dropped = 0  # packets, by faults that are over

    def open(self):
        self.holder = subprocess.Popen([*TIED, "unshare", "--net", "sleep", "infinity"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            if self.holder.poll() is not None or time.monotonic() > deadline:
                raise Impossible("no network namespaces can be made inside of one")
            time.sleep(0.01)
        near = f"port{self.number}"
        run("ip", "link", "add", near, "type", "veth", "peer", "name", "wire", "netns", str(self.holder.pid))
        run("ip", "link", "set", near, "master", "switch", "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "wire")
        self.run("ip", "link", "set", "wire", "up")

    @property
    def prefix(self):
        return (*TIED, "nsenter", f"--net=/proc/{self.holder.pid}/ns/net")

    def run(self, *command):
        return run(*self.prefix, *command)

    def close(self):
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait()

    @contextlib.contextmanager
    def dropping(self, *matches):
        """Packets that come in are dropped if they match one of these."""
        for match in matches:
            self.run("iptables", "--wait", "-I", "INPUT", *match, "-j", "DROP")
        try:
            yield
        finally:
            # Only DROP rules are in there; the first column is how many packets they met.
            rows = self.run("iptables", "--wait", "-vnxL", "INPUT").splitlines()[2:]
            self.dropped += sum(int(row.split()[0]) for row in rows)
            for match in matches:
                self.run("iptables", "--wait", "-D", "INPUT", *match, "-j", "DROP")


def lay_switch():
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "switch", "type", "bridge")
    for address in (NAME_SERVER, RELAY):
        run("ip", "address", "add", f"{address}/24", "dev", "switch")
    run("ip", "link", "set", "switch", "up")


@contextlib.contextmanager
def cut(one, others, both_ways=True):
    """No packet passes from `others` to `one`, nor back. What the machines say to clients and name server does."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(one.dropping(*(("-s", other.address) for other in others)))
        for other in others if both_ways else ():
            stack.enter_context(other.dropping(("-s", one.address)))
        yield


@contextlib.contextmanager
def losing(namespaces, probability):
    """Between each two of them packets get lost, in both directions."""
    with contextlib.ExitStack() as stack:
        for one, other in itertools.permutations(namespaces, 2):
            lottery = "-m", "statistic", "--mode", "random", "--probability", str(probability)
            stack.enter_context(one.dropping(("-s", other.address, *lottery)))
        yield


class Relay:
    """Accepts connections for a server and passes on what both say, `delay` seconds later, and not at all while it is `stalled`."""

    PIECE = 16_384  # bytes that are read at once
    WAITING_MAX = 64  # pieces on their way in one direction: then it does not read on

    def __init__(self, port, target):
        self.port, self.target = port, target
        self.delay = 0.0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.tasks = set()
        self.passed = 0  # bytes

    async def start(self):
        self.server = await asyncio.start_server(self.accepted, RELAY, self.port)

    def stall(self, stalled=True):
        if stalled:
            self.flowing.clear()
        else:
            self.flowing.set()

    async def accepted(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(self.target, 5269)
        except OSError:
            writer.transport.abort()
            return
        for source, sink, back in ((reader, far_writer, writer), (far_reader, writer, far_writer)):
            task = asyncio.create_task(self.carry(source, sink, back))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def carry(self, source, sink, back):
        """One direction. If it breaks, both do."""
        pieces = asyncio.Queue(self.WAITING_MAX)
        reading = asyncio.create_task(self.read(source, pieces))
        try:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self.flowing.wait()
                if not piece:
                    sink.write_eof()
                    return
                sink.write(piece)
                self.passed += len(piece)
                await sink.drain()
        except (OSError, RuntimeError):
            for writer in (sink, back):
                writer.transport.abort()
        finally:
            reading.cancel()

    async def read(self, source, pieces):
        piece = None
        while piece != b"":
            try:
                piece = await source.read(self.PIECE)
            except OSError:
                piece = b""
            await pieces.put((time.monotonic() + self.delay, piece))

    async def stop(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
