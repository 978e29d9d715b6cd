"""Peers that are not there, and servers that go away in the middle of something."""

import asyncio
import time

import slixmpp

import network
from harness import Failed, is_presence, require
from registry import MAIN, check
from sides import ACROSS, across, befriend, bounced, demand, estrange, is_error, is_text, say

PATIENCE = 150.0  # seconds until the sender must have been told, whatever is wrong with the peer
AGAIN = 60.0  # seconds after a restart within which messages pass again


async def all_bounce(sides, names, conditions):
    """A message to each of these domains comes back; others are served meanwhile. Returns what was seen, in words."""
    romeo, mercutio = await sides.near.client("romeo"), await sides.near.client("mercutio")
    juliet = await sides.far.client("juliet")
    await say(mercutio, juliet)
    waiting = asyncio.gather(*(bounced(romeo, f"tybalt@{name}", PATIENCE) for name in names), return_exceptions=True)
    slowest = 0.0
    while not waiting.done():
        slowest = max(slowest, await say(mercutio, juliet))
        await asyncio.wait([waiting], timeout=1.0)
    problems = []
    seen = []
    for name, outcome in zip(names, waiting.result()):
        if isinstance(outcome, BaseException):
            problems.append(str(outcome) if isinstance(outcome, Failed) else repr(outcome))
            seen.append(f"{names[name]}: nothing within {PATIENCE:.0f} s")
            continue
        found, elapsed = outcome
        seen.append(f"{names[name]}: {found} after {elapsed:.1f} s")
        if found not in conditions:
            problems.append(f"{names[name]}: {found} after {elapsed:.1f} s")
    words = "; ".join(seen)
    demand(sides.near, not problems, "; ".join(problems) + f" (seen: {words})")
    demand(sides.near, slowest < 5, f"others waited {slowest:.1f} s meanwhile")
    return words + (f"; others waited {slowest:.1f} s" if slowest > 1 else "")


@check("a domain that does not exist, or says that it has no servers", directed=True, seconds=PATIENCE + 20)
async def _(sides):
    names = {network.NOWHERE: "no such domain", network.UNSERVED: "no such service"}
    return await all_bounce(sides, names, ("remote-server-not-found",))


@check("a peer that is down, one whose packets get lost, and one whose DNS does", directed=True, seconds=PATIENCE + 20)
async def _(sides):
    names = {network.DOWN: "refused", network.MUTE: "lost packets", network.LOST: "lost DNS"}
    return await all_bounce(sides, names, ("remote-server-not-found", "remote-server-timeout"))


@check("a peer that does not host the domain", directed=True, seconds=PATIENCE + 20)
async def _(sides):
    name = network.STRANGER_AT.format(sides.far.name)
    # jabberd2 takes the stream, and then the message comes back as from one who is not there.
    conditions = "remote-server-not-found", "remote-server-timeout", "service-unavailable", "item-not-found"
    return await all_bounce(sides, {name: "not hosted"}, conditions)


async def until_served(sender, recipient, seconds=AGAIN):
    """How long it takes until a message arrives again, in seconds."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        try:
            await say(sender, recipient, 1.0)
            return time.monotonic() - begin
        except Failed:
            pass
    raise Failed(f"no message from {sender.boundjid} to {recipient.boundjid} arrived within {seconds:.0f} s after the restart")


def numbers(client, word, waited=True):
    """The numbers of the messages `word 1`, `word 2` … that arrived, in their order, without those that came back."""
    stanzas = [stanza for stanza in client.stanzas if isinstance(stanza, slixmpp.Message) and stanza["type"] != "error"]
    kept = [stanza["body"] for stanza in stanzas if waited or stanza.xml.find("{urn:xmpp:delay}delay") is None]
    return [int(body.split()[1]) for body in kept if body.startswith(word + " ")]


def copies_of_another_name(clients, word):
    """How many messages came more than once, and not all copies under the same stanza-id (XEP-0359), by which clients know them."""
    names = {}
    for stanza in (stanza for client in clients for stanza in client.stanzas if isinstance(stanza, slixmpp.Message)):
        if stanza["type"] != "error" and stanza["body"].startswith(word + " "):
            names.setdefault(stanza["body"], []).append([each.get("id") for each in stanza.xml.iterfind("{urn:xmpp:sid:0}stanza-id")])
    return sum(len(copies) > 1 and (not copies[0] or any(copy != copies[0] for copy in copies)) for copies in names.values())


def returned(client, word):
    """The numbers of those that came back."""
    found = []
    for stanza in client.stanzas:
        if is_error()(stanza) and stanza["id"].startswith(word + "-"):
            found.append(int(stanza["id"].rpartition("-")[2]))
    return found


async def stream_of_messages(sender, recipient, word, pause=0.01):
    """Sends numbered messages until it is cancelled. Returns how many."""
    count = 0
    try:
        while True:
            message = sender.make_message(mto=recipient, mbody=f"{word} {count}", mtype="chat")
            message["id"] = f"{word}-{count}"
            message.send()
            count += 1
            await asyncio.sleep(pause)
    except asyncio.CancelledError:
        return count


async def peer_dies(sides):
    """The far server is killed while messages go there, and started again three seconds later."""
    romeo, mercutio, juliet = await sides.near.client("romeo"), await sides.near.client("mercutio"), await sides.far.client("juliet")
    await say(romeo, juliet)
    sending = asyncio.ensure_future(stream_of_messages(romeo, juliet.boundjid.bare, "stream"))
    await asyncio.sleep(1.5)
    await sides.far.server.kill()
    await asyncio.sleep(3.0)
    await sides.far.server.start()
    after = await sides.far.client("juliet", "orchard")
    served = await until_served(mercutio, after)
    await asyncio.sleep(2.0)
    sending.cancel()
    count = await sending
    romeo.send_message(after.boundjid.full, "the end")
    await after.expect(is_text("the end"), "the last message", AGAIN)
    arrived = numbers(juliet, "stream") + numbers(after, "stream")
    back = returned(romeo, "stream")
    lost = set(range(count)) - set(arrived) - set(back)
    twice = len(arrived) - len(set(arrived))
    renamed = copies_of_another_name((juliet, after), "stream")
    both = len(set(arrived) & set(back))
    # What waited at the far server until somebody logged in there may come after what did not.
    for client in (juliet, after):
        own = numbers(client, "stream", waited=False)
        demand(sides.near, own == sorted(own), f"out of order: {own}")
    words = (
        f"of {count}: {len(set(arrived))} arrived, {len(set(back))} came back, {len(lost)} lost, {twice} twice, "
        f"{renamed} of them not under the same stanza-id, {both} arrived and came back; served again after {served:.1f} s"
    )
    require(arrived, words)
    # A copy of what came already is known by its stanza-id (docs/reliability.md, P2).
    demand(sides.far, not renamed, words)
    # Without stream management what was under way when the connection broke is lost (docs/reliability.md, P10).
    demand(sides.near, not (lost and sides.near.server.setting.management), words)
    return words


@check("the peer is killed in the middle of a stream of messages", modes=(MAIN, "management"), directed=True, seconds=180, quick=(MAIN,))
async def _(sides):
    return await peer_dies(sides)


@check("the server itself stops and starts again: presence is right afterwards, messages pass both ways", directed=True, seconds=150)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    await befriend(romeo, juliet)
    await sides.near.server.stop()
    for client in list(sides.near.world.clients):
        client.abort()
    sides.near.world.clients.clear()
    try:
        await juliet.expect(is_presence(romeo.boundjid.full, "unavailable"), "the end of his presence", 3.0)
        seen = "his end was seen"
    except Failed:
        seen = "his end was not seen"
    await sides.near.server.start()
    begin = time.monotonic()
    romeo = await sides.near.client("romeo")
    await romeo.expect(is_presence(juliet.boundjid.full, "available"), "her presence, after the restart", AGAIN)
    asked = time.monotonic() - begin
    await juliet.expect(is_presence(romeo.boundjid.full, "available"), "his presence, after the restart", AGAIN)
    back = await until_served(juliet, romeo)
    there = await until_served(romeo, juliet)
    await estrange(romeo, juliet)
    return f"{seen}; presence after {asked:.1f} s; messages there {there:.1f} s, back {back:.1f} s"


@check("the network between the two is cut for a while", modes=(MAIN, "management"), directed=True, seconds=240)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    await say(romeo, juliet)
    await say(juliet, romeo)
    sending = asyncio.ensure_future(stream_of_messages(romeo, juliet.boundjid.bare, "cut", 0.1))
    heal = network.cut_between(sides.near.server.address, sides.far.server.address)
    await asyncio.sleep(15.0)
    heal()
    try:
        await asyncio.sleep(2.0)
        sending.cancel()
        count = await sending
        served = await until_served(romeo, juliet)
    finally:
        sending.cancel()
    await across(romeo, juliet)
    arrived, back = numbers(juliet, "cut"), returned(romeo, "cut")
    lost = set(range(count)) - set(arrived) - set(back)
    words = f"of {count}: {len(arrived)} arrived, {len(back)} came back, {len(lost)} lost; served again after {served:.1f} s"
    demand(sides.near, arrived == sorted(set(arrived)), f"not in order, or twice: {words}")
    return words

