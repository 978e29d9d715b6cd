"""Messages, presence and services between people on two servers."""

import asyncio
import time

import slixmpp
from slixmpp.xmlstream import ET

from harness import STEP, Failed, equal, expect_error, is_presence, presences_from, require
from messages import text
from registry import MAIN, check
from sides import ACROSS, across, befriend, bounced, demand, estrange, is_text, say

MANY = 200  # messages one way
LARGE = 200_000  # bytes of a large message
ALL = ("external", "dialback", "direct-tls", "bidi", "management")


@check("messages go both ways", modes=ALL, quick=("external", "dialback"))
async def _(sides):
    romeo, juliet = await sides.pair_of()
    there = await say(romeo, juliet)
    back = await say(juliet, romeo)
    again = await say(romeo, juliet)
    return f"first there {1000 * there:.0f} ms, first back {1000 * back:.0f} ms, then {1000 * again:.0f} ms"


@check(f"{MANY} messages each way at once keep their order", modes=ALL)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    begin = time.monotonic()
    for number in range(MANY):
        romeo.send_message(juliet.boundjid.full, f"there {number}")
        juliet.send_message(romeo.boundjid.full, f"back {number}")
    await asyncio.gather(
        juliet.expect(is_text(f"there {MANY - 1}"), "the last message", ACROSS), romeo.expect(is_text(f"back {MANY - 1}"), "the last message", ACROSS)
    )
    elapsed = time.monotonic() - begin
    for client, way in ((juliet, "there"), (romeo, "back")):
        bodies = [stanza["body"] for stanza in client.stanzas if isinstance(stanza, slixmpp.Message)]
        equal(bodies, [f"{way} {number}" for number in range(MANY - 1)], "messages")
    return f"{elapsed:.2f} s"


@check("a message to somebody who is offline waits there", directed=True, quick=(MAIN,))
async def _(sides):
    romeo = await sides.near.client("romeo")
    body = text()
    romeo.send_message(sides.far.jid("nurse"), body)
    mercutio = await sides.far.client("mercutio")
    await across(romeo, mercutio)
    nurse = await sides.far.client("nurse")
    await nurse.expect(is_text(body), "the message that waited")


@check("an account that does not exist is told as such", directed=True)
async def _(sides):
    romeo = await sides.near.client("romeo")
    seen, elapsed = await bounced(romeo, sides.far.jid("nobody"), ACROSS)
    require(seen in ("service-unavailable", "item-not-found"), f"seen {seen}")
    return f"{seen} after {elapsed:.2f} s"


@check(f"a message of {LARGE // 1000} kB arrives whole", directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    body = text() + "x" * LARGE
    romeo.send_message(juliet.boundjid.full, body)
    await juliet.expect(is_text(body), "the message", ACROSS)


@check("subscription and presence both ways; going offline is seen", seconds=90, quick=(MAIN,))
async def _(sides):
    romeo, juliet = await sides.pair_of()
    await befriend(romeo, juliet)
    for one, other in ((romeo, juliet), (juliet, romeo)):
        equal(one.client_roster[other.boundjid.bare]["subscription"], "both", f"subscription in the roster of {one.boundjid.bare}")
        one.send_presence(pshow="away", pstatus="gone to bed")
        seen = await other.expect(is_presence(one.boundjid.full, "available"), "the change of presence")
        equal((seen["show"], seen["status"]), ("away", "gone to bed"), "what is seen")
    await juliet.close()
    await romeo.expect(is_presence(juliet.boundjid.full, "unavailable"), "the end of her presence")
    juliet = await sides.far.client("juliet")
    await romeo.expect(is_presence(juliet.boundjid.full, "available"), "her new presence")
    await estrange(romeo, juliet)


@check("who logs in is told who is there: the server asks the other (RFC 6121 §4.3)", directed=True, quick=(MAIN,))
async def _(sides):
    romeo, juliet = await sides.pair_of()
    await befriend(romeo, juliet)
    juliet.send_presence(pstatus="still here")
    await romeo.expect(is_presence(juliet.boundjid.full, "available"), "the change of presence")
    await romeo.close()
    romeo = await sides.near.client("romeo")
    seen = await romeo.expect(is_presence(juliet.boundjid.full, "available"), "the presence of who was there before")
    equal(seen["status"], "still here", "status")
    await estrange(romeo, juliet)


@check("a request that is refused, and a subscription that is cancelled by either", directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    romeo.send_presence_subscription(juliet.boundjid.bare)
    await juliet.expect(is_presence(romeo.boundjid.bare, "subscribe"), "the request", ACROSS)
    juliet.send_presence_subscription(romeo.boundjid.bare, ptype="unsubscribed")
    try:
        await romeo.expect(is_presence(juliet.boundjid.bare, "unsubscribed"), "the refusal")
        told = True
    except Failed:
        told = False
    refused = demand(sides.near, told, "the client is not told of the refusal")
    await befriend(romeo, juliet)
    romeo.send_presence_subscription(juliet.boundjid.bare, ptype="unsubscribe")
    await juliet.expect(is_presence(romeo.boundjid.bare, "unsubscribe"), "the end of his interest")
    try:
        await romeo.expect(is_presence(juliet.boundjid.full, "unavailable"), "the end of what he sees")
        told = True
    except Failed:
        told = False
    words = demand(sides.far, told, "who unsubscribes is not sent unavailable presence")
    romeo.forget()
    juliet.send_presence(pstatus="unseen")
    await across(juliet, romeo)
    equal(presences_from(juliet.boundjid.full, romeo), [], "presence that he is told after that")
    juliet.send_presence_subscription(romeo.boundjid.bare, ptype="unsubscribe")
    await romeo.expect(is_presence(juliet.boundjid.bare, "unsubscribe"), "the end of her interest")
    await estrange(romeo, juliet)
    return "; ".join(filter(None, (refused, words)))


@check("presence that is sent to one who is no contact ends when its sender goes (RFC 6121 §4.6)", directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    romeo.send_presence(pto=juliet.boundjid.full)
    await juliet.expect(is_presence(romeo.boundjid.full, "available"), "the presence", ACROSS)
    await romeo.close()
    await juliet.expect(is_presence(romeo.boundjid.full, "unavailable"), "its end")


@check("ping, disco#info and version of the other server", directed=True)
async def _(sides):
    romeo = await sides.near.client("romeo")
    await romeo.plugin["xep_0199"].send_ping(sides.far.domain, timeout=ACROSS)
    info = await romeo.plugin["xep_0030"].get_info(sides.far.domain, timeout=STEP)
    identities = {(identity[0], identity[1]) for identity in info["disco_info"]["identities"]}
    require(("server", "im") in identities, f"identities: {identities}")
    version = await romeo.plugin["xep_0092"].get_version(sides.far.domain, timeout=STEP)
    return version["software_version"]["name"]


@check("a question that nobody understands is answered with an error", directed=True)
async def _(sides):
    romeo = await sides.near.client("romeo")
    question = romeo.make_iq_get(ito=sides.far.domain)
    question.append(ET.Element("{urn:example:nobody-knows}query"))
    await expect_error(question.send(timeout=ACROSS), "service-unavailable|feature-not-implemented")


@check("a client is asked and answers through both servers", directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    # Without her presence he may not know that she is there.
    juliet.send_presence(pto=romeo.boundjid.full)
    await romeo.expect(is_presence(juliet.boundjid.full, "available"), "her presence", ACROSS)
    info = await romeo.plugin["xep_0030"].get_info(juliet.boundjid.full, timeout=ACROSS)
    # jabberd2 answers in its clients' place.
    return demand(sides.far, "urn:xmpp:ping" in info["disco_info"]["features"], "what her client knows is not told")


@check("the card of somebody on the other server is read (XEP-0054)", needs=("vcard",), directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    card = juliet.plugin["xep_0054"].make_vcard()
    card["FN"] = name = f"Juliet Capulet {time.monotonic_ns()}"
    await juliet.plugin["xep_0054"].publish_vcard(card, timeout=STEP)
    read = await romeo.plugin["xep_0054"].get_vcard(juliet.boundjid.bare, timeout=ACROSS, cached=False)
    equal(read["vcard_temp"]["FN"], name, "name in the card")


TUNE = "http://jabber.org/protocol/tune"


@check("a contact is told what somebody published on the other server (XEP-0163)", far_needs=("pep",), directed=True, quick=(MAIN,))
async def _(sides):
    romeo, juliet = await sides.pair_of()
    await befriend(romeo, juliet)
    romeo.plugin["xep_0163"].add_interest(TUNE)
    await romeo.plugin["xep_0115"].update_caps()
    romeo.send_presence()
    await across(romeo, juliet)
    title = f"Der Hölle Rache {time.monotonic_ns()}"
    # The far server asks his client first what it wants to hear of: what is published before that is told then.
    await juliet.plugin["xep_0118"].publish_tune(artist="Mozart", title=title)

    def is_tune(stanza):
        return isinstance(stanza, slixmpp.Message) and any(element.text == title for element in stanza.xml.iter(f"{{{TUNE}}}title"))

    notification = await romeo.expect(is_tune, "the notification", ACROSS)
    equal(notification["from"].bare, juliet.boundjid.bare, "in whose name it comes")
    await estrange(romeo, juliet)

