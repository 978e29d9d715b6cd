"""Clients that do not read (P17).

Some have stream management and some not. While others send to them as fast as they can, two bystanders chat. Each slow reader costs no
more than its bounds, is ended with `resource-constraint` (RFC 6120 §4.9.3.17) when it is past one, which it finds when it reads again, and
has every message at its next log-in. Bystanders notice nothing.
"""

import asyncio
import socket
import time

from .client import Client, Load
from .ledger import Ledger
from .server import Server

QUEUE, UNACKNOWLEDGED = 1 << 20, 1 << 20  # bytes, as configured
RECEIVE = 64 << 10  # bytes that the system takes for a client that does not read
SIZE = 4000  # bytes of a message
LATENCY = 0.2  # seconds that 99 of 100 messages of bystanders may take at most
ENDED = 30.0  # seconds in which every slow reader must have been ended
ERROR = 4.0  # seconds from there until it has read why: the server waits for 5 s
ROOM = 40 << 20  # bytes that the server may grow by for what it writes and keeps for all, besides the readers' own bounds
SETTINGS = f"""
limits: {{session-queue-bytes: {QUEUE}B, unacknowledged-bytes: {UNACKNOWLEDGED}B, stanza-bytes-per-second: 1GiB, stanza-bytes-burst: 1GiB,
         offline-messages: 1000000, offline-bytes: 4GiB}}
"""


async def run(world, findings):
    server = Server(world.binary, world.folder, SETTINGS)
    try:
        await flood(world, server, findings)
    finally:
        server.abandon()


async def flood(world, server, findings):
    ledger = Ledger()
    await server.start()
    count = 24 if world.is_long else 4
    names = [f"reader{number}" for number in range(count)]
    server.add_accounts("sender0", "sender1", "near", "far", *names)
    senders = [await Client(server, ledger, name).login() for name in ("sender0", "sender1")]
    near, far = [await Client(server, ledger, name).login() for name in ("near", "far")]
    readers = [await deaf(Client(server, ledger, name, managed=number % 2 == 0), near) for number, name in enumerate(names)]
    chat = Load(near, ["far"], world.random, burst=1, pace=0.02)
    await asyncio.sleep(0.5)
    memory, begin = server.memory(), time.monotonic()
    most = Most(server)
    loads = [Load(sender, names, world.random, window=400, burst=16, pace=0.004, sizes=(SIZE,)) for sender in senders]
    ends = await asyncio.gather(*(end(reader, near) for reader in readers))
    await asyncio.sleep(0.5)
    for task in (*loads, chat, most):
        await task.stop()
    elapsed = time.monotonic() - begin
    for sender in (*senders, near):
        await sender.settle()

    findings.check("a client that does not read is ended with resource-constraint, and finds that when it reads", [each for each in ends if each])
    growth, bound = most.value - memory, count * (QUEUE + UNACKNOWLEDGED) + ROOM
    findings.expect(f"what waits for {count} such clients is bounded ({bound >> 20} MiB)", growth <= bound, f"{growth >> 20} MiB")
    times = sorted(each.came_at - each.sent_at for each in ledger.messages.values() if each.sender == "near" and each.came_at)
    late = times[len(times) * 99 // 100]
    findings.expect(f"messages of bystanders take less than {1000 * LATENCY:.0f} ms (99 of 100)", late < LATENCY, f"{1000 * late:.0f} ms")
    findings.expect(
        "bystanders and senders stay", not any(each.stream.ended.done() for each in (*senders, near, far)), "a stream of theirs ended")
    sent = sum(each.sender != "near" for each in ledger.messages.values()) * SIZE
    findings.measure(
        f"{sent >> 20} MiB sent to {count} clients that did not read, in {elapsed:.1f} s; the server grew by {growth >> 20} MiB; "
        f"bystanders' messages took {1000 * times[len(times) // 2]:.1f} ms (50 of 100), {1000 * late:.1f} ms (99 of 100)")
    await reckon(server, ledger, findings, names)


async def deaf(reader, contact):
    """A client that does not read any more."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
    connection.connect((reader.server.address, reader.server.port))
    await reader.login(connection)
    await contact.befriend(reader)
    reader.stream.transport.pause_reading()
    return reader


async def end(reader, contact):
    """What is wrong with how a slow reader came to its end, if anything."""
    try:
        await contact.until(lambda: contact.last_presence(reader.name)[1] == "unavailable", f"the end of {reader.name}", ENDED)
        reader.stream.transport.resume_reading()
        reason = await asyncio.wait_for(asyncio.shield(reader.stream.ended), ERROR)
    except (TimeoutError, asyncio.TimeoutError) as error:
        return f"{reader.name}: {error or 'the stream did not end when it was read'}"
    return None if reason.startswith("stream error: resource-constraint") else f"{reader.name}: {reason}"


class Most:
    """The most memory that the server had."""

    def __init__(self, server):
        self.server, self.value = server, 0
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while True:
            self.value = max(self.value, self.server.memory())
            await asyncio.sleep(0.05)

    async def stop(self):
        self.task.cancel()


async def reckon(server, ledger, findings, names):
    for name in names:
        reader = await Client(server, ledger, name).login()
        await reader.collect()
        await reader.close()
    findings.measure(f"{ledger.repeated()} messages came again, under their stanza-ids")
    ledger.reckon(findings)
