"""How servers prove who they are to each other, and what of it they may not believe."""

import asyncio
import re
import time

import network
from certificates import RARE, WRONG
from harness import STEP, Failed, equal, require
from registry import MAIN, Skipped, check
from messages import text
from peer import Peer, context_of
from sides import across, condition, demand, is_error, is_text, say

PATIENCE = 100.0  # seconds until somebody whose message cannot go must know

QUICK = tuple(f"certificate-{kind}" for kind in ("expired", "self-signed", "wrong-name"))

# What Martlet's log says about a certificate.
REASONS = {
    "expired": "expired at",
    "not-yet-valid": "not valid before",
    "self-signed": "is self-signed",
    "wrong-name": "is not for",
    "common-name": "is not for",
    "other-authority": "which is not trusted here",
    "revoked": "is revoked, as /",
    "revoked-http": "/crl.der says: it needs another one",
    "revoked-ocsp": ":8081/ says: it needs another one",
}


async def both_ways(sides):
    romeo, juliet = await sides.pair_of()
    await say(romeo, juliet)
    await say(juliet, romeo)
    await across(romeo, juliet, romeo)


@check("each direction has a stream of its own", modes=(MAIN, "dialback"))
async def _(sides):
    await both_ways(sides)
    return f"connections by port: {network.connections()}"


@check("both dial with TLS from the first byte (XEP-0368)", modes="direct-tls")
async def _(sides):
    await both_ways(sides)
    equal(network.connections(), {5269: 0, 5270: 2}, "connections by port")


@check("one stream carries both directions (XEP-0288)", modes="bidi")
async def _(sides):
    await both_ways(sides)
    equal(network.connections(), {5269: 1, 5270: 0}, "connections by port")


@check("a stream for both directions carries nothing before the header that follows authentication (XEP-0288)", modes="bidi", directed=True, quick=("bidi",))
async def _(sides):
    romeo = await sides.near.client("romeo")
    domain, address = network.stranger(0)
    peer = await Peer.dial(sides.near.server.address, domain)
    try:
        await peer.succeed(sides.near.domain, context_of(sides.authority, sides.authority.issue(domain), "client"), bidi=True)
        romeo.send_message(f"tybalt@{domain}", text())
        await romeo.fence()
        try:
            early = await asyncio.wait_for(peer.reader.read(200), 1.0)
        except asyncio.TimeoutError:
            early = b""
        demand(sides.near, not early, f"it carries {early.decode(errors='replace')}")
    finally:
        peer.close()


@check("what is sent to the other server is acknowledged (XEP-0198)", modes="management")
async def _(sides):
    await both_ways(sides)
    prosody = next((each for each in sides.servers if each.name.startswith("prosody")), None)
    if prosody is None:
        raise Skipped("only Prosody's log tells")
    debug = (prosody.folder / "debug").read_text(errors="replace")
    acknowledged = re.findall(r":smacks\s+debug\s+Received ack request, acking for (\d+)", debug)
    require(acknowledged, "nothing was acknowledged")
    return f"Prosody acknowledged {len(acknowledged)} times"


def certificate_check(kind, turned):
    mode = f"certificate-{kind}" + ("-turned" if turned else "")

    title = "who looks at certificates has nothing to do with a peer whose is wrong"

    @check(title, modes=mode, seconds=2 * PATIENCE, turned=turned, quick=QUICK)
    async def _(sides):
        romeo, juliet = await sides.pair_of()
        there, back = await asyncio.gather(attempt(romeo, juliet), attempt(juliet, romeo))
        words = f"there: {there[0]} after {there[1]:.1f} s; back: {back[0]} after {back[1]:.1f} s"
        demand(sides.near, "arrived" not in (there[0], back[0]), words)
        # Whoever runs the server reads there why.
        if kind in REASONS:
            demand(sides.near, await says(sides.near.server, REASONS[kind]), f"the log does not say '{REASONS[kind]}'; {words}")
        return words


async def says(server, reason):
    """Whether its log gives this reason: the line may be written a moment after the message has come back."""
    deadline = time.monotonic() + STEP
    while reason not in server.log_text():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def attempt(sender, recipient):
    """Whether a message arrives or comes back, and when."""
    body, begin = text(), time.monotonic()
    arriving = asyncio.ensure_future(recipient.expect(is_text(body), "the message", PATIENCE))
    bouncing = asyncio.ensure_future(bounced_as(sender, recipient, body))
    done, pending = await asyncio.wait((arriving, bouncing), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if arriving in done and not arriving.exception():
        return "arrived", time.monotonic() - begin
    if bouncing in done and not bouncing.exception():
        return bouncing.result(), time.monotonic() - begin
    raise Failed(f"a message from {sender.boundjid} neither arrived nor came back within {PATIENCE:.0f} s")


async def bounced_as(sender, recipient, body):
    sender.send_message(recipient.boundjid.full, body)
    return condition(await sender.expect(is_error(recipient.boundjid.full), "an error", PATIENCE))


def rare_certificate_check(kind, turned):
    mode = f"certificate-{kind}" + ("-turned" if turned else "")

    title = "a certificate that has this kind of name only is as good as another (RFC 6120 §13.7.1.2)"

    @check(title, modes=mode, seconds=2 * PATIENCE, turned=turned)
    async def _(sides):
        romeo, juliet = await sides.pair_of()
        there, back = await asyncio.gather(attempt(romeo, juliet), attempt(juliet, romeo))
        words = f"there: {there[0]} after {there[1]:.1f} s; back: {back[0]} after {back[1]:.1f} s"
        demand(sides.near, (there[0], back[0]) == ("arrived", "arrived"), words)
        return words


for kind in RARE:
    rare_certificate_check(kind, False)
    rare_certificate_check(kind, True)
for kind in WRONG:
    certificate_check(kind, False)
    certificate_check(kind, True)
