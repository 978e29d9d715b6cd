"""The checks of scripts/clients: what people do with ordinary clients, done with slixmpp and go-sendxmpp.

Every check stands alone: it makes its clients, and they are closed after it. State in the server (rosters, block lists)
outlives a check, so checks that need it say so in their first lines.
"""

import argparse
import asyncio
import datetime
import json
import logging
import ssl
import sys

import slixmpp
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from harness import (
    STEP,
    Client,
    Failed,
    Refused,
    World,
    befriend,
    check,
    equal,
    expect_error,
    is_message,
    is_presence,
    is_roster_push,
    presences_from,
    require,
    run_checks,
)
from messages import go_sendxmpp, result_of, text

TRANSPORTS = {"starttls": "STARTTLS", "direct": "direct TLS"}
MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]


async def refused(world, name, **options):
    """The log-in must fail; returns how it did."""
    try:
        await world.client(name, presence=False, roster=False, **options)
    except Refused as refusal:
        return str(refusal)
    raise Failed("the log-in succeeded")


# Logging in


def login_checks():
    for tls, transport in TRANSPORTS.items():
        for mechanism in MECHANISMS:
            login_check(tls, transport, mechanism)
            wrong_password_check(tls, transport, mechanism)
        preferred_mechanism_check(tls, transport, ssl.TLSVersion.TLSv1_3)
        preferred_mechanism_check(tls, transport, ssl.TLSVersion.TLSv1_2)
        certificate_checks(tls, transport)


def login_check(tls, transport, mechanism):
    # Prosody keeps the key of one hash only.
    @check(f"slixmpp: {transport}: logs in with {mechanism}, the certificate checked", only="martlet" if "256" in mechanism else None)
    async def _(world):
        romeo = await world.client("romeo", tls=tls, mechanism=mechanism)
        equal(romeo.plugin["feature_mechanisms"].mech.name, mechanism, "mechanism")
        require(romeo.socket.getpeercert(), "the certificate was not checked")
        equal(romeo.boundjid.full, world.jid("romeo") + "/balcony", "address")


def wrong_password_check(tls, transport, mechanism):
    @check(f"slixmpp: {transport}: {mechanism} with a wrong password is refused", only="martlet" if "256" in mechanism else None)
    async def _(world):
        equal(await refused(world, "romeo", tls=tls, mechanism=mechanism, password="wrong"), "refused: not-authorized", "outcome")


def preferred_mechanism_check(tls, transport, version):
    @check(f"slixmpp: {transport}: {version.name.replace('TLSv1_', 'TLS 1.')}: logs in with what the client prefers, at the first try")
    async def _(world):
        romeo = Client(world, "romeo", "balcony", tls=tls)
        romeo.ssl_context.minimum_version = romeo.ssl_context.maximum_version = version
        await romeo.login()
        equal(romeo.failures, [], "refused tries before the one that succeeded")
        equal(romeo.socket.version().replace(".", "_"), version.name, "version of TLS")


def certificate_checks(tls, transport):
    @check(f"slixmpp: {transport}: a client that trusts another certificate does not connect")
    async def _(world):
        outcome = await refused(world, "romeo", tls=tls, certificate=world.other_certificate)
        require("ertificate" in outcome or "CERTIFICATE" in outcome, f"outcome: {outcome}")

    @check(f"slixmpp: {transport}: unknown accounts are refused as wrong passwords are")
    async def _(world):
        outcome = await refused(world, "nobody", tls=tls, mechanism="SCRAM-SHA-1", password="secret")
        equal(outcome, "refused: not-authorized", "outcome")


login_checks()


# Two people: romeo over STARTTLS, juliet over direct TLS


async def pair(world):
    return await world.client("romeo"), await world.client("juliet", "chamber", tls="direct")


@check("slixmpp: a subscription is asked for and approved, both ways, and rosters say so")
async def _(world):
    mercutio, nurse = await world.client("mercutio"), await world.client("nurse", tls="direct")
    mercutio_bare, nurse_bare = world.jid("mercutio"), world.jid("nurse")

    mercutio.send_presence_subscription(nurse_bare)
    await mercutio.expect(is_roster_push(nurse_bare, "none", ask=True), "the roster push that a request is pending")
    await nurse.expect(is_presence(mercutio_bare, "subscribe"), "the request")
    nurse.send_presence_subscription(mercutio_bare, ptype="subscribed")
    await nurse.expect(is_roster_push(mercutio_bare, "from"), "the roster push of a subscriber")
    await mercutio.expect(is_roster_push(nurse_bare, "to", ask=False), "the roster push of a subscription")
    await mercutio.expect(is_presence(nurse_bare, "subscribed"), "the approval")
    await mercutio.expect(is_presence(nurse.boundjid.full, "available"), "the presence of the new contact")

    nurse.send_presence_subscription(mercutio_bare)
    await mercutio.expect(is_presence(nurse_bare, "subscribe"), "the request in return")
    mercutio.send_presence_subscription(nurse_bare, ptype="subscribed")
    await mercutio.expect(is_roster_push(nurse_bare, "both"), "the roster push of a mutual subscription")
    await nurse.expect(is_roster_push(mercutio_bare, "both"), "the roster push of a mutual subscription")
    await nurse.expect(is_presence(mercutio.boundjid.full, "available"), "the presence of the new contact")


@check("slixmpp: the presence of a new contact comes after the approval, or a client takes it for a stranger's (RFC 6121 3.1.5)")
async def _(world):
    paris, rosaline = await world.client("paris"), await world.client("rosaline")
    paris.send_presence_subscription(world.jid("rosaline"))
    await rosaline.expect(is_presence(world.jid("paris"), "subscribe"), "the request")
    paris.forget()
    rosaline.send_presence_subscription(world.jid("paris"), ptype="subscribed")
    await paris.gather(
        is_presence(world.jid("rosaline"), "subscribed"),
        is_roster_push(world.jid("rosaline"), "to"),
        is_presence(rosaline.boundjid.full, "available"),
    )
    equal(presences_from(world.jid("rosaline"), paris), ["subscribed", "available"], "order of what came from the new contact")


@check("slixmpp: a request that was approved beforehand is granted at once, the presence after the approval (RFC 6121 3.4)", only="martlet")
async def _(world):
    nurse, friar = await world.client("nurse"), await world.client("friar")
    friar.send_presence_subscription(world.jid("nurse"), ptype="subscribed")
    await friar.expect(is_roster_push(world.jid("nurse"), "none"), "the roster push of the approval")
    nurse.send_presence_subscription(world.jid("friar"))
    await nurse.gather(
        is_presence(world.jid("friar"), "subscribed"),
        is_roster_push(world.jid("friar"), "to"),
        is_presence(friar.boundjid.full, "available"),
    )
    equal(presences_from(world.jid("friar"), nurse), ["subscribed", "available"], "order of what came from the new contact")
    await friar.fence()
    friar.refuses_stanza(is_presence(world.jid("nurse"), "subscribe"), "a request that was granted already")


@check("slixmpp: a request to somebody who is offline waits for them, and so does the answer")
async def _(world):
    benvolio = await world.client("benvolio")
    benvolio.send_presence_subscription(world.jid("rosaline"))
    await benvolio.expect(is_roster_push(world.jid("rosaline"), "none", ask=True), "the roster push")
    await benvolio.close()
    rosaline = await world.client("rosaline")
    await rosaline.expect(is_presence(world.jid("benvolio"), "subscribe"), "the request that waited")
    rosaline.send_presence_subscription(world.jid("benvolio"), ptype="subscribed")
    await rosaline.expect(is_roster_push(world.jid("benvolio"), "from"), "the roster push")
    benvolio = await world.client("benvolio")
    await benvolio.expect(is_presence(rosaline.boundjid.full, "available"), "the presence of the contact")
    equal(benvolio.client_roster[world.jid("rosaline")]["subscription"], "to", "subscription in the roster")


@check("slixmpp: a connection that breaks is resumed: nobody sees it, nothing is lost, nothing comes twice")
async def _(world):
    romeo, juliet = await pair(world)
    await befriend(world, romeo, juliet)
    await juliet.close()
    juliet = await world.client("juliet", stream_management=True)
    await romeo.expect(is_presence(juliet.boundjid.full, "available"), "the presence")
    first, second, third = text(), text(), text()
    romeo.send_message(juliet.boundjid.bare, first)
    await juliet.expect(is_message(first), "the message before the break")
    romeo.forget()
    await juliet.break_connection()
    romeo.send_message(juliet.boundjid.bare, second)
    await romeo.fence()
    romeo.refuses_stanza(is_presence(juliet.boundjid.full), "presence of the broken session")
    await juliet.resume()
    await juliet.expect(is_message(second), "the message that was sent meanwhile")
    juliet.send_message(romeo.boundjid.full, third)
    await romeo.expect(is_message(third), "the message of the resumed session")
    await juliet.fence(romeo)
    for body in (first, second):
        juliet.refuses_stanza(is_message(body), "a message again")
    romeo.refuses_stanza(is_presence(juliet.boundjid.full), "presence of the resumed session")


PUBSUB = "{http://jabber.org/protocol/pubsub}"


def message_count(stanza):
    """How many messages a push notification tells of, or nothing."""
    notification = stanza.xml.find(f"{PUBSUB}pubsub/{PUBSUB}publish[@node='device']/{PUBSUB}item/{{urn:xmpp:push:0}}notification")
    fields = [] if notification is None else notification.iter("{jabber:x:data}field")
    return next((field.findtext("{jabber:x:data}value") for field in fields if field.get("var") == "message-count"), None)


@check("slixmpp: the push service of a client whose connection broke is told of messages, until it knows the client no more (XEP-0357)", only="martlet")
async def _(world):
    romeo, service = await world.client("romeo"), await world.client("nurse", "push")
    # It would answer by itself that it does not understand.
    service.register_handler(Callback("notification", MatchXPath(f"{{jabber:client}}iq/{PUBSUB}pubsub"), lambda _: None))
    juliet = await world.client("juliet", stream_management=True)
    # Else a request from juliet's account would not reach it.
    service.send_presence(pto=juliet.boundjid.bare)
    enable = juliet.make_iq_set(ET.Element("{urn:xmpp:push:0}enable", jid=service.boundjid.full, node="device"))
    await enable.send(timeout=STEP)
    first, second, third = text(), text(), text()
    romeo.send_message(juliet.boundjid.bare, first)
    await juliet.expect(is_message(first), "the message before the break")
    await juliet.fence(romeo)
    await service.fence()
    service.refuses_stanza(message_count, "a notification for a client that is there")
    await juliet.break_connection()
    romeo.send_message(juliet.boundjid.bare, second)
    notification = await service.expect(message_count, "the notification")
    equal(message_count(notification), "1", "messages")
    equal(notification["from"].full, juliet.boundjid.bare, "in whose name")
    answer = notification.reply()
    answer["error"]["type"], answer["error"]["condition"] = "cancel", "item-not-found"
    answer.send()
    await service.fence()
    romeo.send_message(juliet.boundjid.bare, third)
    await romeo.fence()
    await service.fence()
    service.refuses_stanza(message_count, "a notification that it did not want")
    await juliet.resume()
    for body in (second, third):
        await juliet.expect(is_message(body), "a message that was sent meanwhile")


@check("slixmpp: the archive has what was said, by page, by person, and for its owner alone (XEP-0313)", only="martlet")
async def _(world):
    romeo, juliet = await pair(world)
    for each in (romeo, juliet):
        each.register_plugin("xep_0313")
    nurse = await world.client("nurse")
    bodies = [text() for _ in range(5)]
    for body in bodies[:3]:
        romeo.send_message(juliet.boundjid.bare, body)
        await juliet.expect(is_message(body), "a message")
    nurse.send_message(juliet.boundjid.bare, bodies[3])
    await juliet.expect(is_message(bodies[3]), "the message of somebody else")
    juliet.send_message(romeo.boundjid.full, bodies[4])
    await romeo.expect(is_message(bodies[4]), "an answer")

    async def archive(client, **options):
        found = []
        async for result in client.plugin["xep_0313"].iterate(**options):
            found.append(result["mam_result"]["forwarded"]["stanza"]["body"])
        return [body for body in found if body in bodies]

    equal(await archive(juliet, rsm={"max": 2}), bodies, "her archive, two at a time")
    equal(await archive(juliet, with_jid=romeo.boundjid.bare), bodies[:3] + bodies[4:], "what was between the two")
    equal(await archive(romeo), bodies[:3] + bodies[4:], "his archive")
    equal(await archive(romeo, reverse=True, rsm={"max": 2}, total=4), (bodies[:3] + bodies[4:])[::-1], "his archive from its end")
    refusal = await refused_iq(romeo.plugin["xep_0313"].retrieve(jid=juliet.boundjid.bare))
    equal(refusal, "service-unavailable", "the answer about somebody else's archive")


async def refused_iq(question):
    """The condition of the error that answers a request."""
    try:
        await question
    except slixmpp.exceptions.IqError as error:
        return error.condition
    return None


@check("slixmpp: roster items have names and groups, all clients are told, and removal removes")
async def _(world):
    balcony, garden = await world.client("romeo"), await world.client("romeo", "garden", tls="direct")
    await balcony.client_roster.update(world.jid("friar"), name="Friar <&> 'Laurence'", groups=["Verona", "Church"])
    await garden.expect(is_roster_push(world.jid("friar"), "none"), "the roster push")
    item = garden.client_roster[world.jid("friar")]
    equal((item["name"], sorted(item["groups"])), ("Friar <&> 'Laurence'", ["Church", "Verona"]), "the item")
    third = await world.client("romeo", "street")
    equal(third.client_roster[world.jid("friar")]["name"], "Friar <&> 'Laurence'", "name in the roster")
    await balcony.client_roster.remove(world.jid("friar"))
    await garden.expect(is_roster_push(world.jid("friar"), "remove"), "the roster push")


@check("slixmpp: a client that knows the roster's version is told only what changed")
async def _(world):
    first = await world.client("romeo")
    require("rosterver" in first.features, "roster versions are not offered")
    await first.client_roster.update(world.jid("paris"), name="Paris")
    await first.expect(is_roster_push(world.jid("paris")), "the roster push")
    version = first.client_roster.version
    require(version, "the push has no version")
    second = await world.client("romeo", "garden", roster=False)
    second.client_roster.version = version
    result = await second.get_roster(timeout=STEP)
    require(
        result.xml.find("{jabber:iq:roster}query") is None or second.client_roster.version == version,
        "the roster came with another version although nothing had changed",
    )
    await first.client_roster.remove(world.jid("paris"))


@check("slixmpp: presence is seen: show, status, priority, and the end of the session")
async def _(world):
    romeo, juliet = await pair(world)
    await befriend(world, romeo, juliet)
    romeo.send_presence(pshow="away", pstatus="climbing", ppriority=5)
    seen = await juliet.expect(is_presence(romeo.boundjid.full, "available"), "the changed presence")
    equal((seen["show"], seen["status"], seen["priority"]), ("away", "climbing", 5), "presence")
    await romeo.close()
    await juliet.expect(is_presence(romeo.boundjid.full, "unavailable"), "the end of the presence")
    romeo = await world.client("romeo")
    await romeo.expect(is_presence(juliet.boundjid.full, "available"), "the presence of a contact at log-in")
    await juliet.expect(is_presence(romeo.boundjid.full, "available"), "the presence")


@check("slixmpp: an inactive client gets the presence of ten contacts in one piece, the newest of each, before the next message", only="martlet")
async def _(world):
    juliet = await world.client("juliet", client_state=True)
    names = ("romeo", "mercutio", "nurse", "benvolio", "rosaline")
    contacts = [await world.client(name, resource) for name in names for resource in ("balcony", "garden")]
    for contact in contacts[::2]:
        await befriend(world, contact, juliet)
    require(juliet.plugin["xep_0352"].enabled, "client state indication is not offered")
    juliet.plugin["xep_0352"].send_inactive()
    await juliet.fence(*contacts)
    juliet.forget()
    pieces = juliet.pieces

    async def storm(turns):
        for turn in turns:
            for contact in contacts:
                contact.send_presence(pstatus=f"turn {turn}")
        for contact in contacts:
            await contact.fence()

    def seen():
        return sorted((stanza["from"].full, stanza["status"]) for stanza in juliet.stanzas if is_presence(kind="available")(stanza))

    await storm(range(5))
    equal((juliet.pieces - pieces, juliet.stanzas), (0, []), "what came to the inactive client")
    body = text()
    contacts[0].send_message(mto=juliet.boundjid.bare, mbody=body, mtype="chat")
    await juliet.gather(is_message(body))
    equal(juliet.pieces - pieces, 1, "pieces that woke the client")
    require(is_message(body)(juliet.stanzas[-1]), "the message came before presence that was sent before it")
    equal(seen(), sorted((contact.boundjid.full, "turn 4") for contact in contacts), "presence before the message")

    juliet.forget()
    await storm(range(5, 7))
    juliet.plugin["xep_0352"].send_active()
    await juliet.fence()
    equal(seen(), sorted((contact.boundjid.full, "turn 6") for contact in contacts), "presence of the active client")


@check("slixmpp: a connection that breaks off ends the presence")
async def _(world):
    romeo, juliet = await pair(world)
    await befriend(world, romeo, juliet)
    romeo.abort()
    await juliet.expect(is_presence(romeo.boundjid.full, "unavailable"), "the end of the presence")


@check("slixmpp: presence is not shown to those who are not subscribed")
async def _(world):
    juliet, paris = await world.client("juliet"), await world.client("paris")
    juliet.send_presence(pstatus="not for everybody")
    paris.send_presence(pto=world.jid("juliet"), ptype="probe")
    await paris.fence(juliet)
    paris.refuses_stanza(is_presence(world.jid("juliet"), "available"), "the presence of somebody else")


@check("slixmpp: directed presence reaches somebody who is not subscribed, and so does its end")
async def _(world):
    juliet, paris = await world.client("juliet"), await world.client("paris")
    juliet.send_presence(pto=paris.boundjid.full, pstatus="only for you")
    seen = await paris.expect(is_presence(juliet.boundjid.full, "available"), "the directed presence")
    equal(seen["status"], "only for you", "status")
    await juliet.close()
    await paris.expect(is_presence(juliet.boundjid.full, "unavailable"), "the end of the directed presence")


# Messages


@check("slixmpp: chat both ways, to the account and to the client")
async def _(world):
    romeo, juliet = await pair(world)
    for sender, receiver in ((romeo, juliet), (juliet, romeo)):
        for to in (receiver.boundjid.bare, receiver.boundjid.full):
            body = text() + " <&> \"'\u00e9\u2665\U0001f339"
            sender.send_message(mto=to, mbody=body, mtype="chat")
            message = await receiver.expect(is_message(body), "the message")
            equal((message["from"].full, message["type"]), (sender.boundjid.full, "chat"), "sender and type")


@check("slixmpp: the sender's address is the server's to say")
async def _(world):
    romeo, juliet = await pair(world)
    body = text()
    message = romeo.make_message(mto=juliet.boundjid.bare, mbody=body, mtype="chat")
    message["from"] = world.jid("romeo")
    message.send()
    seen = await juliet.expect(is_message(body), "the message")
    equal(seen["from"].full, romeo.boundjid.full, "sender")


@check("slixmpp: one message follows the other, a thousand times")
async def _(world):
    romeo, juliet = await pair(world)
    for number in range(1000):
        romeo.send_message(mto=juliet.boundjid.bare, mbody=str(number), mtype="chat")
    for number in range(1000):
        message = await juliet.expect(is_message(), f"message {number}")
        equal(message["body"], str(number), "order")


@check("slixmpp: a message to nobody is answered with an error")
async def _(world):
    romeo = await world.client("romeo")
    body = text()
    romeo.send_message(mto=world.jid("nobody"), mbody=body, mtype="chat")
    error = await romeo.expect(is_message(sender=world.jid("nobody"), kind="error"), "the error")
    equal(error["error"]["condition"], "service-unavailable", "condition")


@check("slixmpp: messages to somebody offline come at the next log-in, in order, with the time they were sent")
async def _(world):
    romeo = await world.client("romeo")
    before = datetime.datetime.now(datetime.timezone.utc)
    bodies = [text() for _ in range(5)]
    for body in bodies:
        romeo.send_message(mto=world.jid("friar"), mbody=body, mtype="chat")
    await romeo.fence()
    after = datetime.datetime.now(datetime.timezone.utc)
    friar = await world.client("friar", tls="direct")
    for body in bodies:
        message = await friar.expect(is_message(), "a message that was kept")
        equal(message["body"], body, "order")
        equal(message["from"].full, romeo.boundjid.full, "sender")
        require(message.xml.find("{urn:xmpp:delay}delay") is not None, "the message does not say when it was sent")
        equal(message["delay"]["from"].bare, world.domain, "who says so")
        stamp = message["delay"]["stamp"]
        second = datetime.timedelta(seconds=1)
        require(before - second <= stamp <= after + second, f"time of sending: {stamp}, sent between {before} and {after}")
    await friar.fence()
    await friar.close()
    again = await world.client("friar")
    await again.fence()
    again.refuses_stanza(is_message(), "a message for the second time")


@check("slixmpp: a message that asks not to be kept is not kept", only="martlet")
async def _(world):
    romeo = await world.client("romeo")
    body, kept = text(), text()
    message = romeo.make_message(mto=world.jid("friar"), mbody=body, mtype="chat")
    message.enable("no-store")
    message.send()
    romeo.send_message(mto=world.jid("friar"), mbody=kept, mtype="chat")
    await romeo.fence()
    friar = await world.client("friar")
    await friar.expect(is_message(kept), "the message that was kept")
    friar.refuses_stanza(is_message(body), "the message that was not to be kept")


def body_of_copy(stanza, direction):
    """The text inside a carbon copy, or nothing."""
    carbons, forward, client = "{urn:xmpp:carbons:2}", "{urn:xmpp:forward:0}", "{jabber:client}"
    return stanza.xml.findtext(f"{carbons}{direction}/{forward}forwarded/{client}message/{client}body")


@check("slixmpp: carbons: the other client gets a copy of what is received and of what is sent")
async def _(world):
    romeo, juliet = await pair(world)
    garden = await world.client("romeo", "garden", tls="direct")
    for client in (romeo, garden):
        await client.plugin["xep_0280"].enable()
    received = text()
    juliet.send_message(mto=romeo.boundjid.full, mbody=received, mtype="chat")
    await romeo.expect(is_message(received), "the message")
    copy = await garden.expect(lambda stanza: body_of_copy(stanza, "received"), "the copy of what was received")
    equal(body_of_copy(copy, "received"), received, "text of the copy")
    equal(copy["from"].full, world.jid("romeo"), "sender of the copy")
    sent = text()
    romeo.send_message(mto=juliet.boundjid.bare, mbody=sent, mtype="chat")
    await juliet.expect(is_message(sent), "the message")
    copy = await garden.expect(lambda stanza: body_of_copy(stanza, "sent"), "the copy of what was sent")
    equal(body_of_copy(copy, "sent"), sent, "text of the copy")
    await romeo.fence(garden)
    romeo.refuses_stanza(lambda s: isinstance(s, slixmpp.Message), "a copy of its own message")

    private = text()
    message = juliet.make_message(mto=romeo.boundjid.full, mbody=private, mtype="chat")
    message.enable("carbon_private")
    message.enable("no-copy")
    message.send()
    await romeo.expect(is_message(private), "the private message")
    await garden.plugin["xep_0280"].disable()
    await garden.fence()
    garden.refuses_stanza(lambda s: isinstance(s, slixmpp.Message), "a copy of a private message")


@check("slixmpp: a message to the account reaches the clients of highest priority or all of them")
async def _(world):
    high, low = await world.client("romeo"), await world.client("romeo", "garden")
    high.send_presence(ppriority=5)
    low.send_presence(ppriority=-1)
    await high.fence(low)
    juliet = await world.client("juliet")
    body = text()
    juliet.send_message(mto=world.jid("romeo"), mbody=body, mtype="chat")
    await high.expect(is_message(body), "the message")
    await low.fence(juliet)
    low.refuses_stanza(is_message(body), "a message at negative priority")


# Blocking (XEP-0191)


@check("slixmpp: blocking: messages are refused, presence ends, the list is kept, and unblocking restores")
async def _(world):
    romeo, juliet = await pair(world)
    await befriend(world, romeo, juliet)
    garden = await world.client("juliet", "garden")
    await garden.plugin["xep_0191"].get_blocked()
    await juliet.plugin["xep_0191"].get_blocked()
    romeo.forget()
    await juliet.plugin["xep_0191"].block(world.jid("romeo"))
    await romeo.expect(is_presence(juliet.boundjid.full, "unavailable"), "the end of the presence")
    await garden.expect(
        lambda s: isinstance(s, slixmpp.Iq) and s.xml.find("{urn:xmpp:blocking}block") is not None and s["type"] == "set",
        "the push of the changed list",
    )
    body = text()
    romeo.send_message(mto=world.jid("juliet"), mbody=body, mtype="chat")
    error = await romeo.expect(is_message(sender=world.jid("juliet"), kind="error"), "the refusal")
    equal(error["error"]["condition"], "service-unavailable", "condition")
    await juliet.fence()
    juliet.refuses_stanza(is_message(body), "a message from somebody blocked")
    await juliet.close()
    juliet = await world.client("juliet", "chamber")
    blocked = await juliet.plugin["xep_0191"].get_blocked()
    items = [item.get("jid") for item in blocked.xml.iter("{urn:xmpp:blocking}item")]
    equal(items, [world.jid("romeo")], "the list after another log-in")
    romeo.refuses_stanza(is_presence(juliet.boundjid.full, "available"), "presence from somebody who has blocked them")
    await juliet.plugin["xep_0191"].unblock(world.jid("romeo"))
    await romeo.expect(is_presence(juliet.boundjid.full, "available"), "the presence")
    romeo.send_message(mto=world.jid("juliet"), mbody=body, mtype="chat")
    await juliet.expect(is_message(body), "the message after unblocking")


# Small requests


@check("slixmpp: a vCard is kept, others read it, nobody else writes it (XEP-0054)")
async def _(world):
    romeo, juliet = await pair(world)
    card = romeo.plugin["xep_0054"].make_vcard()
    card["FN"] = "Romeo <Montague> & sons"
    await romeo.plugin["xep_0054"].publish_vcard(vcard=card)
    for reader in (romeo, juliet):
        result = await reader.plugin["xep_0054"].get_vcard(jid=world.jid("romeo"), cached=False, local=False)
        equal(result["vcard_temp"]["FN"], "Romeo <Montague> & sons", "name")
    iq = juliet.make_iq_set(ito=world.jid("romeo"))
    iq.append(card)
    await expect_error(iq.send(timeout=STEP), "forbidden|not-allowed|service-unavailable|not-authorized")


@check("slixmpp: private storage is kept, and is private (XEP-0049)")
async def _(world):
    romeo, juliet = await pair(world)
    value = text()

    def request(client, kind, to=None, value=None):
        iq = client.make_iq(itype=kind, ito=to)
        query = slixmpp.xmlstream.ET.SubElement(iq.xml, "{jabber:iq:private}query")
        note = slixmpp.xmlstream.ET.SubElement(query, "{martlet:test}note")
        note.text = value
        return iq.send(timeout=STEP)

    def note_of(result):
        return result.xml.findtext("{jabber:iq:private}query/{martlet:test}note")

    equal(note_of(await request(romeo, "get")) or "", "", "before it is stored")
    await request(romeo, "set", value=value)
    await romeo.close()
    romeo = await world.client("romeo")
    equal(note_of(await request(romeo, "get")), value, "what was stored")
    await expect_error(request(juliet, "get", to=world.jid("romeo")), "forbidden|not-allowed|service-unavailable")


@check("slixmpp: disco tells what the server is and can, and what an account is (XEP-0030)")
async def _(world):
    romeo = await world.client("romeo")
    disco = romeo.plugin["xep_0030"]
    info = (await disco.get_info(jid=world.domain, cached=False, timeout=STEP))["disco_info"]
    identities = {(category, kind) for category, kind, *_ in info["identities"]}
    require(("server", "im") in identities, f"identities: {identities}")
    expected = {
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "jabber:iq:version",
        "jabber:iq:last",
        "urn:xmpp:ping",
        "urn:xmpp:time",
        "urn:xmpp:blocking",
        "urn:xmpp:carbons:2",
        "vcard-temp",
        "msgoffline",
    }
    require(expected <= info["features"], f"features that are missing: {expected - info['features']}")
    await disco.get_items(jid=world.domain, timeout=STEP)
    account = (await disco.get_info(jid=world.jid("romeo"), cached=False, timeout=STEP))["disco_info"]
    identities = {(category, kind) for category, kind, *_ in account["identities"]}
    require(("account", "registered") in identities, f"identities of the account: {identities}")


@check("slixmpp: disco tells where to report abuse (XEP-0157)")
async def _(world):
    romeo = await world.client("romeo")
    info = await romeo.plugin["xep_0030"].get_info(jid=world.domain, cached=False, timeout=STEP)
    values = [value.text for value in info.xml.iter("{jabber:x:data}value")]
    require(f"mailto:abuse@{world.domain}" in values, f"contact addresses: {values}")


@check("slixmpp: ping: the server, the own account, and the other client (XEP-0199)")
async def _(world):
    romeo, juliet = await pair(world)
    for target in (world.domain, world.jid("romeo"), juliet.boundjid.full):
        await romeo.plugin["xep_0199"].send_ping(target, timeout=STEP)


@check("slixmpp: the server tells its name and version (XEP-0092)")
async def _(world):
    romeo = await world.client("romeo")
    version = (await romeo.plugin["xep_0092"].get_version(world.domain, timeout=STEP))["software_version"]
    require(version["name"] and version["version"], f"version: {version}")
    if world.kind == "martlet":
        require("artlet" in version["name"], f"name: {version['name']}")


@check("slixmpp: the server tells the time (XEP-0202)")
async def _(world):
    romeo = await world.client("romeo")
    result = await romeo.plugin["xep_0202"].get_entity_time(world.domain, timeout=STEP)
    utc = datetime.datetime.fromisoformat(result.xml.findtext("{urn:xmpp:time}time/{urn:xmpp:time}utc"))
    difference = abs(utc - datetime.datetime.now(datetime.timezone.utc))
    require(difference < datetime.timedelta(seconds=10), f"the clock differs by {difference}")


@check("slixmpp: last activity: of the server, of a contact who is offline, and not of strangers (XEP-0012)")
async def _(world):
    romeo, juliet = await pair(world)
    await befriend(world, romeo, juliet)
    uptime = await romeo.plugin["xep_0012"].get_last_activity(world.domain, local=False, timeout=STEP)
    require(0 <= int(uptime["last_activity"]["seconds"]) < 600, f"time since the start: {uptime['last_activity']['seconds']}")
    juliet.send_presence(ptype="unavailable", pstatus="gone to bed")
    await romeo.expect(is_presence(juliet.boundjid.full, "unavailable"), "the end of the presence")
    await juliet.close()
    last = await romeo.plugin["xep_0012"].get_last_activity(world.jid("juliet"), local=False, timeout=STEP)
    require(0 <= int(last["last_activity"]["seconds"]) < 60, f"seconds since: {last['last_activity']['seconds']}")
    paris = await world.client("paris")
    await expect_error(
        paris.plugin["xep_0012"].get_last_activity(world.jid("juliet"), local=False, timeout=STEP),
        "forbidden|service-unavailable|subscription-required|not-allowed",
    )


@check("slixmpp: what nobody offers is answered with service-unavailable")
async def _(world):
    romeo = await world.client("romeo")
    for target in (world.domain, world.jid("romeo"), world.jid("nobody"), world.jid("juliet") + "/nowhere"):
        iq = romeo.make_iq_get(queryxmlns="martlet:test:unknown", ito=target)
        await expect_error(iq.send(timeout=STEP), "service-unavailable")


# Sessions


@check("slixmpp: a client that takes the resource of another ends it with conflict, or is refused")
async def _(world):
    first = await world.client("romeo")
    second = await world.client("romeo")
    if first.boundjid.full == second.boundjid.full:
        await asyncio.wait_for(first.ended.wait(), STEP)
    await second.fence()


@check("slixmpp: an account that is deleted while online is logged out and gone, and its contacts see it")
async def _(world):
    romeo, tybalt = await world.client("romeo"), await world.client("tybalt")
    await befriend(world, romeo, tybalt)
    command = [part.replace("{jid}", world.jid("tybalt")) for part in world.delete_account]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output, _ = await asyncio.wait_for(process.communicate(), STEP)
    equal(process.returncode, 0, f"result of the deletion, which said {output!r}")
    await asyncio.wait_for(tybalt.ended.wait(), STEP)
    await romeo.expect(is_presence(tybalt.boundjid.full, "unavailable"), "the end of the presence")
    require((await refused(world, "tybalt")).startswith("refused: "), "the log-in afterwards was not refused")
    if world.kind == "martlet":
        await romeo.expect(is_roster_push(world.jid("tybalt"), "none"), "the roster push that the subscriptions ended")


# go-sendxmpp


def go_checks():
    for tls, transport in TRANSPORTS.items():
        go_check(tls, transport)


def go_check(tls, transport):
    @check(f"go-sendxmpp: {transport}: sends a message, the certificate checked")
    async def _(world):
        juliet = await world.client("juliet")
        body = text()
        code, output = await result_of(await go_sendxmpp(world, "mercutio", tls, world.jid("juliet")), body.encode())
        equal((code, output), (0, ""), "result and output")
        message = await juliet.expect(is_message(body), "the message")
        equal(message["from"].bare, world.jid("mercutio"), "sender")

    @check(f"go-sendxmpp: {transport}: sends to somebody offline, who gets it at the next log-in")
    async def _(world):
        body = text()
        code, output = await result_of(await go_sendxmpp(world, "mercutio", tls, world.jid("friar")), body.encode())
        equal((code, output), (0, ""), "result and output")
        friar = await world.client("friar")
        message = await friar.expect(is_message(body), "the message")
        require(message.xml.find("{urn:xmpp:delay}delay") is not None, "the message does not say when it was sent")

    @check(f"go-sendxmpp: {transport}: listens and gets a message")
    async def _(world):
        juliet = await world.client("juliet")
        process = await go_sendxmpp(world, "nurse", tls, "-l")
        try:
            # Its presence is directed to nobody; a message to the account is kept until it is there, then delivered.
            body = text()
            juliet.send_message(mto=world.jid("nurse"), mbody=body, mtype="chat")
            while True:
                line = await asyncio.wait_for(process.stdout.readline(), STEP)
                require(line, "it ended")
                if body in line.decode(errors="replace"):
                    break
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    @check(f"go-sendxmpp: {transport}: a wrong password is refused")
    async def _(world):
        code, output = await result_of(await go_sendxmpp(world, "mercutio", tls, world.jid("juliet"), password="wrong"), b"x")
        require(code != 0, f"it succeeded: {output}")
        require("certificate" not in output, f"it failed for another reason: {output}")

    @check(f"go-sendxmpp: {transport}: a client that trusts another certificate does not connect")
    async def _(world):
        process = await go_sendxmpp(world, "mercutio", tls, world.jid("juliet"), certificate=world.other_certificate)
        code, output = await result_of(process, b"x")
        require(code != 0 and "certificate" in output, f"result {code}: {output}")


go_checks()

# Their checks come behind these.
import calls  # noqa: E402, F401
import files  # noqa: E402, F401
import accounts  # noqa: E402, F401
import publishing  # noqa: E402, F401
import rooms  # noqa: E402, F401
import rooms_nbxmpp  # noqa: E402, F401
import operations  # noqa: E402, F401
import tls  # noqa: E402, F401
import acme  # noqa: E402, F401
import kerberos  # noqa: E402, F401
import browser  # noqa: E402, F401
import people  # noqa: E402, F401
import components  # noqa: E402, F401
import uploads  # noqa: E402, F401
import buckets  # noqa: E402, F401
import binding  # noqa: E402, F401
import fast  # noqa: E402, F401
import upgrades  # noqa: E402, F401
import oauth  # noqa: E402, F401
import mechanisms  # noqa: E402, F401
import certificates  # noqa: E402, F401
import directory  # noqa: E402, F401
import directory_cards  # noqa: E402, F401
import directory_presence  # noqa: E402, F401


def main():
    parser = argparse.ArgumentParser(description="Runs the checks against a server; scripts/clients starts one and calls this.")
    parser.add_argument("world", help="file with the description of the server (JSON)")
    parser.add_argument("pattern", nargs="?", default="", help="run only checks whose title contains this")
    arguments = parser.parse_args()
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)  # what it finds wrong is what the checks are about
    with open(arguments.world, encoding="utf-8") as file:
        world = World(**json.load(file))

    async def run():
        # What slixmpp leaves behind in the background when a stream ends is not a check's business.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        return await run_checks(world, arguments.pattern)

    sys.exit(1 if asyncio.run(run()) else 0)


if __name__ == "__main__":
    main()
