"""Fake servers: those that stall at each step of making a stream, that send what is not XMPP, and that claim to be others."""

import asyncio
import time

import network
from harness import equal, require
from messages import text
from peer import DIALBACK, EXTERNAL_FEATURES, FEATURES, SASL, STARTTLS_FEATURES, TLS, Ended, Listener, Peer, context_of
from registry import MAIN, check
from sides import ACROSS, demand, is_text, say
from faults import all_bounce

STALL = 150.0  # seconds until a stream that goes on nowhere must have been ended
GARBAGE = 60.0  # seconds until who sends garbage must have been cut off


# Servers that are dialled and stall. Each step is played by one who does all before it as it should be done.


async def no_header(peer, context):
    await peer.header()


async def no_features(peer, context):
    other = (await peer.header()).get("from", "?")
    peer.open(other, identifier=text())
    return other


async def no_proceed(peer, context):
    await no_features(peer, context)
    peer.write(STARTTLS_FEATURES)
    await peer.expect(f"{{{TLS}}}starttls")


async def no_handshake(peer, context):
    await no_proceed(peer, context)
    peer.write(f"<proceed xmlns='{TLS}'/>")


async def silence_after_proceed(peer, context):
    await no_handshake(peer, context)
    # What comes now is TLS, which nobody reads.
    await asyncio.sleep(2 * STALL)


async def no_second_header(peer, context):
    await no_handshake(peer, context)
    await peer.secure(context)
    await peer.header()


async def no_answer_to_authentication(peer, context):
    await no_handshake(peer, context)
    await peer.secure(context)
    other = (await peer.header()).get("from", "?")
    peer.open(other, identifier=text())
    peer.write(EXTERNAL_FEATURES)
    await peer.element()


async def no_header_after_success(peer, context):
    await no_answer_to_authentication(peer, context)
    peer.restart()
    peer.write(f"<success xmlns='{SASL}'/>")


STEPS = {
    "no header": no_header,
    "no features": no_features,
    "no proceed": no_proceed,
    "no TLS handshake": silence_after_proceed,
    "no header in TLS": no_second_header,
    "no answer to authentication": no_answer_to_authentication,
    "no header after success": no_header_after_success,
}


@check("a peer that is dialled and stalls at any step: the sender is told, others are served", directed=True, seconds=STALL + 30)
async def _(sides):
    names, listeners = {}, []
    for number, (step, function) in enumerate(STEPS.items()):
        domain, address = network.stranger(number)
        context = context_of(sides.authority, sides.authority.issue(domain), "server")
        # Who dials may show a certificate that it has signed itself.
        context.load_verify_locations(sides.near.server.certificate.chain)

        async def play(peer, function=function, context=context):
            await function(peer, context)

        names[domain] = step
        listeners.append(await Listener(domain, address, play).__aenter__())
    try:
        return await all_bounce(sides, names, ("remote-server-timeout", "remote-server-not-found"))
    finally:
        for listener in listeners:
            await listener.__aexit__()


# Servers that dial and stall


async def says_nothing(peer, other, context):
    pass


async def half_a_header(peer, other, context):
    peer.write("<?xml version='1.0'?><stream:stream xmlns='jabber:server'")


async def no_starttls(peer, other, context):
    peer.open(other)
    await peer.expect(FEATURES)


async def starttls_without_handshake(peer, other, context):
    await no_starttls(peer, other, context)
    peer.write(f"<starttls xmlns='{TLS}'/>")
    await peer.expect(f"{{{TLS}}}proceed")


async def no_header_in_tls(peer, other, context):
    await peer.start_tls(other, context)


async def no_authentication(peer, other, context):
    await peer.start_tls(other, context)
    peer.open(other)
    await peer.expect(FEATURES)


async def spaces_instead_of_authentication(peer, other, context):
    await no_authentication(peer, other, context)

    async def spaces():
        while not peer.writer.is_closing():
            peer.write(" ")
            await asyncio.sleep(2.0)

    peer.spaces = asyncio.ensure_future(spaces())


DIALLING = {
    "says nothing": says_nothing,
    "half a header": half_a_header,
    "no starttls": no_starttls,
    "no handshake": starttls_without_handshake,
    "no header in TLS": no_header_in_tls,
    "no authentication": no_authentication,
    "only spaces": spaces_instead_of_authentication,
}


@check("a peer that dials and stalls at any step is cut off, others are served", directed=True, seconds=STALL + 30)
async def _(sides):
    server = sides.near.server
    domain, _ = network.stranger(20)
    context = context_of(sides.authority, sides.authority.issue(domain), "client")

    async def stalled(function):
        peer = await Peer.dial(server.address, domain)
        begin = time.monotonic()
        try:
            await function(peer, server.domain, context)
            how = await peer.until_end(STALL)
        except Ended as end:
            how = str(end)
        except asyncio.TimeoutError:
            return "still there", STALL
        finally:
            peer.close()
        return how, time.monotonic() - begin

    romeo, juliet = await sides.pair_of()
    await say(romeo, juliet)
    waiting = asyncio.gather(*(stalled(function) for function in DIALLING.values()))
    slowest = 0.0
    while not waiting.done():
        slowest = max(slowest, await say(juliet, romeo))
        await asyncio.wait([waiting], timeout=1.0)
    outcomes = dict(zip(DIALLING, waiting.result()))
    words = "; ".join(f"{step}: {how} after {elapsed:.0f} s" for step, (how, elapsed) in outcomes.items())
    demand(sides.near, slowest < 5, f"others waited {slowest:.1f} s meanwhile; {words}")
    demand(sides.near, all(how != "still there" for how, _ in outcomes.values()), words)
    return words


# Garbage


def header(other, own="peer20.example", content="jabber:server"):
    return (
        f"<?xml version='1.0'?><stream:stream xmlns='{content}' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='{DIALBACK}' "
        f"from='{own}' to='{other}' version='1.0'>"
    )


def garbage(other):
    begin = header(other)
    return {
        "noise": bytes(range(256)) * 64,
        "HTTP": b"GET / HTTP/1.1\r\nHost: example\r\n\r\n",
        "TLS on the port for STARTTLS": bytes.fromhex("16030100c8010000c40303") + bytes(189),
        "a header that has no end": b"<stream:stream " + b"a" * 2_000_000,
        "a client's namespace": header(other, content="jabber:client"),
        "a domain that is not hosted": header("not-hosted.example"),
        "a DOCTYPE": f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]>{begin.partition('?>')[2]}",
        "UTF-16": begin.encode("utf-16"),
        "elements 10000 deep": begin + "<a>" * 10_000,
        "an attribute of 1 MB": begin + f"<a b='{'c' * 1_000_000}'/>",
        "a stanza before TLS": begin + f"<message from='a@peer20.example' to='romeo@{other}'><body>early</body></message>",
        "two elements that cross": begin + "<a><b></a></b>",
        "a prefix that is not bound": begin + "<x:a/>",
    }


@check("garbage ends the stream that sent it, and nothing else", modes=(MAIN, "dialback"), directed=True, seconds=GARBAGE + 60)
async def _(sides):
    server = sides.near.server
    romeo, juliet = await sides.pair_of()
    await say(romeo, juliet)

    async def thrown(data):
        peer = await Peer.dial(server.address, "peer20.example")
        begin = time.monotonic()
        try:
            peer.write(data)
            return await peer.until_end(GARBAGE), time.monotonic() - begin
        except asyncio.TimeoutError:
            return "still there", GARBAGE
        finally:
            peer.close()

    kinds = garbage(server.domain)
    outcomes = dict(zip(kinds, await asyncio.gather(*(thrown(data) for data in kinds.values()))))
    await say(romeo, juliet)
    await say(juliet, romeo)
    romeo.refuses_stanza(is_text("early"), "a stanza of a stream that had not proved anything")
    words = "; ".join(f"{kind}: {how}" + (f" after {elapsed:.0f} s" if elapsed > 1 else "") for kind, (how, elapsed) in outcomes.items())
    demand(sides.near, all(how != "still there" for how, _ in outcomes.values()), words)
    return words


@check("300 claims of other domains on one stream are borne, and nobody waits for it", modes="dialback", directed=True, seconds=120)
async def _(sides):
    server = sides.near.server
    romeo, juliet = await sides.pair_of()
    await say(romeo, juliet)
    domain, _ = network.stranger(21)
    peer = await Peer.dial(server.address, domain)
    try:
        await peer.start_tls(server.domain, context_of(sides.authority, sides.authority.issue(domain), "client"))
        peer.open(server.domain)
        await peer.expect(FEATURES)
        for number in range(300):
            peer.write(f"<db:result from='flood{number}.example' to='{server.domain}'>{number:064x}</db:result>")
        slowest = 0.0
        for _ in range(10):
            begin = time.monotonic()
            mercutio = await sides.near.client("mercutio", f"at-{begin}")
            slowest = max(slowest, time.monotonic() - begin)
            await say(mercutio, juliet, 5.0)
            await mercutio.close()
        demand(sides.near, slowest < 8, f"a log-in took {slowest:.1f} s")
        return f"log-in and message in at most {slowest:.2f} s"
    finally:
        peer.close()


# Claims to be somebody else


async def authenticated(sides, number):
    """A fake server that near has accepted by its certificate."""
    domain, _ = network.stranger(number)
    peer = await Peer.dial(sides.near.server.address, domain)
    await peer.authenticate(sides.near.domain, context_of(sides.authority, sides.authority.issue(domain), "client"))
    return peer


def message(sender, recipient, body):
    return f"<message from='{sender}' to='{recipient}' type='chat'><body>{body}</body></message>"


FORGED = {
    "the other server's people": lambda sides, peer: f"juliet@{sides.far.domain}/balcony",
    "the server's own people": lambda sides, peer: f"mercutio@{sides.near.domain}/balcony",
    "a domain below its own": lambda sides, peer: f"tybalt@below.{peer.domain}",
    "no address": lambda sides, peer: "tybalt@",
    "an empty address": lambda sides, peer: "",
}


@check("a peer cannot send in the name of others", modes="external", directed=True)
async def _(sides):
    romeo = await sides.near.client("romeo")
    words = []
    for what, sender in FORGED.items():
        peer = await authenticated(sides, 22)
        own = text()
        peer.write(message(f"tybalt@{peer.domain}", romeo.boundjid.full, own))
        await romeo.expect(is_text(own), "what it sends in its own name", ACROSS)
        forged, after = text(), text()
        peer.write(message(sender(sides, peer), romeo.boundjid.full, forged))
        peer.write(message(f"tybalt@{peer.domain}", romeo.boundjid.full, after))
        try:
            end = await peer.until_end(3.0)
        except asyncio.TimeoutError:
            end = "dropped"
        await romeo.fence()
        romeo.refuses_stanza(is_text(forged), f"a message in the name of: {what}")
        peer.close()
        words.append(f"{what}: {end}")
    return "; ".join(words)


@check("a peer cannot send to domains that are not hosted here", modes="external", directed=True)
async def _(sides):
    juliet = await sides.far.client("juliet")
    peer = await authenticated(sides, 23)
    body = text()
    peer.write(message(f"tybalt@{peer.domain}", juliet.boundjid.full, body))
    try:
        end = await peer.until_end(3.0)
    except asyncio.TimeoutError:
        end = "dropped"
    juliet.refuses_stanza(is_text(body), "a message that was passed on")
    peer.close()
    return end


@check("a certificate for one domain does not authenticate another", modes="external", directed=True)
async def _(sides):
    domain, _ = network.stranger(19)
    peer = await Peer.dial(sides.near.server.address, sides.far.domain)
    context = context_of(sides.authority, sides.authority.issue(domain), "client")
    try:
        await peer.authenticate(sides.near.domain, context)
    except Ended as end:
        return str(end).replace("{urn:ietf:params:xml:ns:xmpp-sasl}", "").replace("{http://etherx.jabber.org/streams}", "")
    finally:
        peer.close()
    equal("accepted", "refused", "EXTERNAL in the name of the other server")
