"""Checks of rooms (XEP-0045) with slixmpp and go-sendxmpp: what people do in rooms with ordinary clients, and what they see of each other there.

Every check has a room of its own, so that none sees what another left behind.
"""

import datetime
import uuid

import slixmpp
from slixmpp.exceptions import PresenceError
from slixmpp.plugins.xep_0410 import PingStatus
from slixmpp.xmlstream import ET

from harness import STEP, Failed, check, equal, expect_error, is_message, is_presence, require
from messages import result_of, go_sendxmpp, text
from operations import two_accounts

USER = "{http://jabber.org/protocol/muc#user}"
ADMIN = "http://jabber.org/protocol/muc#admin"
DATA = "{jabber:x:data}"
PLUGINS = "xep_0045 xep_0077 xep_0249 xep_0313 xep_0410 xep_0421 xep_0424 xep_0425".split()


# People in rooms


def service(world):
    return f"conference.{world.domain}"


def new_room(world):
    return slixmpp.JID(f"{uuid.uuid4()}@{service(world)}")


async def person(world, name, resource="balcony", **options):
    client = await world.client(name, resource, **options)
    for plugin in PLUGINS:
        client.register_plugin(plugin)
    return client


async def enter(client, room, nickname, **options):
    """What slixmpp took from entering: the own presence, the subject, who was there, and the history."""
    return await client.plugin["xep_0045"].join_muc_wait(room, nickname, timeout=STEP, **options)


async def refused_entry(client, room, nickname, **options):
    """The condition of the error that answers who enters.

    slixmpp knows the answer by the element with which it asked to be let in, as all of §7.2 shows it. So does profanity.
    """
    try:
        await enter(client, room, nickname, **options)
    except PresenceError as error:
        return error.condition
    except TimeoutError:
        raise Failed(f"slixmpp knows of no answer to who may not enter. Last kept: {client.stanzas[-1]}") from None
    raise Failed(f"{client.boundjid} could enter {room}")


async def configure(client, room, **values):
    """Submits these fields of the configuration, which are named without their prefix."""
    form = client.plugin["xep_0004"].make_form(ftype="submit")
    form.add_field(var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/muc#roomconfig")
    for name, value in values.items():
        form.add_field(var=f"muc#roomconfig_{name}", value=value)
    await client.plugin["xep_0045"].set_room_config(room, form, timeout=STEP)


async def room_of(world, *names, **configuration):
    """A room that the first of these people made, with all of them in it under their own names, who have forgotten how they came in."""
    room, people = new_room(world), [await person(world, name) for name in names]
    await enter(people[0], room, names[0])
    await configure(people[0], room, **configuration)
    for client, name in zip(people[1:], names[1:]):
        await enter(client, room, name)
    await settle(room, *people)
    return room, *people


async def settle(room, *people):
    """All of them have got what was sent to them before, and forget it."""
    await people[0].fence(*people[1:])
    for each in people:
        await each.fence()
        each.forget()


def say(client, room, body=None):
    body = body or text()
    client.send_message(mto=room, mbody=body, mtype="groupchat")
    return body


def occupant(room, nickname):
    return f"{room}/{nickname}"


def codes(stanza):
    """The status codes of a stanza, in its order."""
    return [int(status.get("code")) for status in stanza.xml.iterfind(f"{USER}x/{USER}status")]


def item(stanza):
    """Affiliation and role, as a room tells them."""
    found = stanza.xml.find(f"{USER}x/{USER}item")
    require(found is not None, f"nothing is said of affiliation and role: {stanza}")
    return found.get("affiliation"), found.get("role")


def reason(stanza):
    return stanza.xml.findtext(f"{USER}x/{USER}item/{USER}reason")


def actor(stanza):
    found = stanza.xml.find(f"{USER}x/{USER}item/{USER}actor")
    return None if found is None else found.get("nick")


def stanza_id(message, room):
    """The name that the room's archive has for a message (XEP-0359)."""
    names = [each.get("id") for each in message.xml.iterfind("{urn:xmpp:sid:0}stanza-id") if each.get("by") == room]
    equal(len(names), 1, "stanza-ids of the room")
    return names[0]


def occupant_id(stanza):
    names = [each.get("id") for each in stanza.xml.iterfind("{urn:xmpp:occupant-id:0}occupant-id")]
    equal(len(names), 1, "occupant-ids")
    return names[0]


def is_from(room):
    """Presence and messages of a room and who is in it."""
    return lambda stanza: isinstance(stanza, (slixmpp.Presence, slixmpp.Message)) and stanza["from"].bare == room


def is_subject(room, words=None):
    def matches(stanza):
        if not (is_from(room)(stanza) and stanza["type"] == "groupchat"):
            return False
        subject = stanza.xml.find("{jabber:client}subject")
        return subject is not None and (words is None or (subject.text or "") == words)

    return matches


def is_form(kind):
    """A message with a form of this type (§8.6, §9.9)."""

    def matches(stanza):
        if not isinstance(stanza, slixmpp.Message):
            return False
        fields = stanza.xml.iterfind(f"{DATA}x/{DATA}field[@var='FORM_TYPE']/{DATA}value")
        return any(value.text == f"http://jabber.org/protocol/muc#{kind}" for value in fields)

    return matches


# Entering and leaving


@check("slixmpp: rooms: a room is made by entering it, and is closed to others until its owner has configured it (XEP-0045 §10.1)")
async def _(world):
    room, romeo, juliet = new_room(world), await person(world, "romeo"), await person(world, "juliet")
    presence, _, others, _ = await enter(romeo, room, "romeo")
    require({110, 201} <= set(codes(presence)), f"codes: {codes(presence)}")
    equal(item(presence), ("owner", "moderator"), "who made it")
    equal(await refused_entry(juliet, room, "juliet"), "item-not-found", "before it is configured")
    await configure(romeo, room)
    presence, *_ = await enter(juliet, room, "juliet")
    equal((item(presence), 201 in codes(presence)), (("none", "participant"), False), "who enters then")


@check("slixmpp: rooms: who enters is told of those who are there, then of himself, then what was said, then the subject (§7.1)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    said = say(romeo, room)
    await juliet.expect(is_message(said), "the message")
    nurse = await person(world, "nurse")
    presence, subject, others, history = await enter(nurse, room, "nurse")
    order = [each["from"].resource or "subject" for each in nurse.stanzas if is_from(room)(each)]
    equal((sorted(order[:2]), order[2:]), (["juliet", "romeo"], ["nurse", "romeo", "subject"]), "order")
    equal(presence["from"].full, occupant(room, "nurse"), "her own address")
    equal([each["body"] for each in history], [said], "history")
    equal(sorted(nurse.plugin["xep_0045"].get_roster(room)), ["juliet", "nurse", "romeo"], "roster of the room")
    seen = await juliet.expect(is_presence(occupant(room, "nurse"), "available"), "the presence of who entered")
    equal((item(seen), codes(seen)), (("none", "participant"), []), "what others are told")
    require(seen.xml.find(f"{USER}x/{USER}item").get("jid") is None, "an address is shown to everybody")
    seen = await romeo.expect(is_presence(occupant(room, "nurse"), "available"), "the presence of who entered")
    equal(seen["muc"]["jid"].full, nurse.boundjid.full, "what moderators are told")


@check("slixmpp: rooms: who leaves is told so himself, others see it, and a room that nobody is in is gone (§7.14)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    juliet.plugin["xep_0045"].leave_muc(room, "juliet", "gone to bed")
    own = await juliet.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of her own presence")
    require(110 in codes(own), f"codes: {codes(own)}")
    seen = await romeo.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of her presence")
    equal((item(seen), seen["status"]), (("none", "none"), "gone to bed"), "what others see")
    equal(romeo.plugin["xep_0045"].get_roster(room), ["romeo"], "roster of the room")
    romeo.plugin["xep_0045"].leave_muc(room, "romeo")
    await romeo.expect(is_presence(occupant(room, "romeo"), "unavailable"), "the end of his own presence")
    await expect_error(romeo.plugin["xep_0030"].get_info(jid=room, cached=False, timeout=STEP), "item-not-found")


@check("slixmpp: rooms: a connection that breaks is a leaving, and one that is resumed is none", only="martlet")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    nurse = await person(world, "nurse", stream_management=True)
    await enter(nurse, room, "nurse")
    await settle(room, romeo, juliet, nurse)
    await juliet.break_connection()
    await romeo.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of the presence")
    await nurse.break_connection()
    said = say(romeo, room)
    await romeo.fence()
    await nurse.resume()
    await nurse.expect(is_message(said, occupant(room, "romeo")), "what was said meanwhile")
    romeo.refuses_stanza(is_presence(occupant(room, "nurse"), "unavailable"), "the end of a presence that did not end")
    answer = say(nurse, room)
    await romeo.expect(is_message(answer, occupant(room, "nurse")), "the answer")


@check("slixmpp: rooms: who may not enter is told why: no password, no member, banned, a name that is taken (§7.2)", only="martlet")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    nurse, muc = await person(world, "nurse"), romeo.plugin["xep_0045"]
    equal(await refused_entry(nurse, room, "juliet"), "conflict", "a nickname of somebody else")
    await muc.set_affiliation(room, "outcast", jid=world.jid("nurse"), timeout=STEP)
    equal(await refused_entry(nurse, room, "nurse"), "forbidden", "banned")
    await muc.set_affiliation(room, "none", jid=world.jid("nurse"), timeout=STEP)
    await configure(romeo, room, passwordprotectedroom=True, roomsecret="sesame")
    equal(await refused_entry(nurse, room, "nurse"), "not-authorized", "without the password")
    equal(await refused_entry(nurse, room, "nurse", password="thyme"), "not-authorized", "with another password")
    await configure(romeo, room, passwordprotectedroom=False, membersonly=True)
    equal(await refused_entry(nurse, room, "nurse"), "registration-required", "no member")
    await muc.set_affiliation(room, "member", jid=world.jid("nurse"), timeout=STEP)
    presence, *_ = await enter(nurse, room, "nurse")
    equal(item(presence), ("member", "participant"), "a member")


@check("slixmpp: rooms: with the password one enters, and it is not told to others (§7.2.6)")
async def _(world):
    room, romeo = await room_of(world, "romeo", passwordprotectedroom=True, roomsecret="sesame")
    juliet = await person(world, "juliet")
    await enter(juliet, room, "juliet", password="sesame")
    seen = await romeo.expect(is_presence(occupant(room, "juliet"), "available"), "the presence")
    require("sesame" not in str(seen), f"the password is told: {seen}")
    features = (await juliet.plugin["xep_0030"].get_info(jid=room, cached=False, timeout=STEP))["disco_info"]["features"]
    require("muc_passwordprotected" in features, f"features: {features}")


@check("slixmpp: rooms: no more enter than the owner allows (§7.2.9)", only="martlet")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet", maxusers="2")
    nurse = await person(world, "nurse")
    equal(await refused_entry(nurse, room, "nurse"), "service-unavailable", "the third of two")
    juliet.plugin["xep_0045"].leave_muc(room, "juliet")
    await romeo.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of the presence")
    await enter(nurse, room, "nurse")


@check("slixmpp: rooms: a nickname is changed for everybody's eyes, and one that is taken is refused (§7.6)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    equal(await juliet.plugin["xep_0045"].set_self_nick(room, "Julia", timeout=STEP), "Julia", "the new nickname")
    await juliet.expect(is_presence(occupant(room, "Julia"), "available"), "her own new presence")
    old = await romeo.expect(is_presence(occupant(room, "juliet")), "the end of the old nickname")
    equal((old["type"], codes(old), old["muc"]["item_nick"]), ("unavailable", [303], "Julia"), "what is told of the old one")
    equal(item(old), ("none", "participant"), "role and affiliation, which stay")
    await romeo.expect(is_presence(occupant(room, "Julia"), "available"), "the new nickname")
    equal(sorted(romeo.plugin["xep_0045"].get_roster(room)), ["Julia", "romeo"], "roster of the room")
    juliet.send_presence(pto=occupant(room, "romeo"))
    refusal = await juliet.expect(is_presence(kind="error"), "the refusal")
    equal(refusal["error"]["condition"], "conflict", "condition")
    said = say(juliet, room)
    await romeo.expect(is_message(said, occupant(room, "Julia")), "what she says afterwards")


@check("slixmpp: rooms: what an occupant does is shown to all: away, and back (§7.7)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    for show in ("away", "dnd", "xa"):
        juliet.send_presence(pto=occupant(room, "juliet"), pshow=show, pstatus=f"is {show}")
        for each in (romeo, juliet):
            seen = await each.expect(is_presence(occupant(room, "juliet"), "available"), "the presence")
            equal((seen["show"], seen["status"]), (show, f"is {show}"), "what is shown")


# Saying things


@check("slixmpp: rooms: what is said is heard by all, by who said it too, in one order and under one name (§7.4, XEP-0359)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    said = []
    for _ in range(3):
        said += [say(romeo, room), say(juliet, room)]
    heard = [[await each.expect(is_message(kind="groupchat"), "a message") for _ in said] for each in (romeo, juliet)]
    equal(sorted(message["body"] for message in heard[0]), sorted(said), "what was heard")
    names = [[(message["body"], stanza_id(message, room)) for message in messages] for messages in heard]
    equal(names[0], names[1], "order and names")
    equal(len(set(names[0])), len(said), "different names")
    speakers = {message["body"]: message["from"].full for message in heard[0]}
    equal([speakers[body] for body in said], [occupant(room, "romeo"), occupant(room, "juliet")] * 3, "who said it")


@check("slixmpp: rooms: somebody who is not in a room says nothing in it (§7.4)")
async def _(world):
    room, romeo = await room_of(world, "romeo")
    nurse = await person(world, "nurse")
    said = say(nurse, room)
    refusal = await nurse.expect(is_message(kind="error"), "the refusal")
    equal((refusal["from"].full, refusal["error"]["condition"]), (room, "not-acceptable"), "the refusal")
    await romeo.fence(nurse)
    romeo.refuses_stanza(is_message(said), "a message of a stranger")


@check("slixmpp: rooms: what was said before is shown to who enters, as much of it as he wants (§7.2.13)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    said = [say(romeo, room) for _ in range(4)]
    await juliet.expect(is_message(said[-1]), "the last message")
    begin = datetime.datetime.now(datetime.timezone.utc)
    for options, expected in (
        ({}, said), ({"maxstanzas": 2}, said[2:]), ({"maxstanzas": 0}, []), ({"maxchars": 0}, []), ({"seconds": 600}, said),
        ({"since": begin + datetime.timedelta(seconds=5)}, []), ({"since": begin - datetime.timedelta(seconds=60)}, said),
    ):
        nurse = await person(world, "nurse")
        *_, history = await enter(nurse, room, "nurse", **options)
        equal([each["body"] for each in history], expected, f"history with {options}")
        equal({each["from"].full for each in history}, {occupant(room, "romeo")} if expected else set(), "who said it")
        for each in history:
            require(abs(each["delay"]["stamp"] - begin) < datetime.timedelta(seconds=10), f"when it was said: {each}")
        await nurse.close()


@check("slixmpp: rooms: the subject is changed for all and told to who enters, with who set it (§7.2.16, §8.1)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet", changesubject=False)
    romeo.plugin["xep_0045"].set_subject(room, "Fire & <ashes>")
    for each in (romeo, juliet):
        subject = await each.expect(is_subject(room, "Fire & <ashes>"), "the subject")
        equal(subject["from"].full, occupant(room, "romeo"), "who set it")
    juliet.plugin["xep_0045"].set_subject(room, "Roses")
    refusal = await juliet.expect(is_message(kind="error"), "the refusal")
    equal(refusal["error"]["condition"], "forbidden", "condition")
    nurse = await person(world, "nurse")
    _, subject, _, history = await enter(nurse, room, "nurse")
    equal((subject["subject"], subject["from"].full), ("Fire & <ashes>", occupant(room, "romeo")), "the subject for who enters")
    equal(len(history), 0, "messages in the history")
    romeo.plugin["xep_0045"].set_subject(room, "")
    await nurse.expect(is_subject(room, ""), "the end of the subject")


@check("slixmpp: rooms: a private message is for one occupant alone, in the name of the other (§7.5)")
async def _(world):
    room, romeo, juliet, nurse = await room_of(world, "romeo", "juliet", "nurse")
    body = text()
    romeo.send_message(mto=occupant(room, "juliet"), mbody=body, mtype="chat")
    message = await juliet.expect(is_message(body), "the message")
    equal((message["from"].full, message["type"]), (occupant(room, "romeo"), "chat"), "sender and type")
    require(message.xml.find(f"{USER}x") is not None, "it does not say that it comes through a room")
    answer = text()
    message.reply(answer).send()
    message = await romeo.expect(is_message(answer), "the answer")
    equal(message["from"].full, occupant(room, "juliet"), "sender")
    await nurse.fence(romeo, juliet)
    nurse.refuses_stanza(is_message(), "a private message of others")
    romeo.send_message(mto=occupant(room, "nobody"), mbody=body, mtype="chat")
    refusal = await romeo.expect(is_message(kind="error"), "the refusal")
    equal(refusal["error"]["condition"], "item-not-found", "condition")


@check("slixmpp: rooms: without voice one is heard by nobody; it is asked for and granted, and taken again (§8.3, §8.4, §8.6)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet", moderatedroom=True)
    muc = romeo.plugin["xep_0045"]
    equal(juliet.plugin["xep_0045"].get_jid_property(room, "juliet", "role"), "visitor", "role at first")
    said = say(juliet, room)
    refusal = await juliet.expect(is_message(kind="error"), "the refusal")
    equal(refusal["error"]["condition"], "forbidden", "condition")
    juliet.plugin["xep_0045"].request_voice(room, "participant")
    request = await romeo.expect(is_form("request"), "the request for voice")
    form = request["form"]
    equal((form.get_values()["muc#roomnick"], form.get_values()["muc#jid"]), ("juliet", juliet.boundjid.full), "whose request")
    answer = romeo.make_message(room)
    form["type"] = "submit"
    form.get_fields()["muc#request_allow"]["value"] = True
    answer.append(form)
    answer.send()
    seen = await juliet.expect(is_presence(occupant(room, "juliet"), "available"), "the new role")
    equal(item(seen), ("none", "participant"), "role")
    said = say(juliet, room)
    await romeo.expect(is_message(said), "what she says then")
    await muc.set_role(room, "juliet", "visitor", reason="hush", timeout=STEP)
    seen = await juliet.expect(is_presence(occupant(room, "juliet"), "available"), "the new role")
    equal((item(seen), reason(seen)), (("none", "visitor"), "hush"), "role and reason")


# Invitations


@check("slixmpp: rooms: an invitation through the room says who invites and why, and is declined the same way (§7.8.2)")
async def _(world):
    room, romeo = await room_of(world, "romeo")
    juliet = await person(world, "juliet")
    romeo.plugin["xep_0045"].invite(room, world.jid("juliet"), "a ball")
    invitation = await juliet.expect(is_message(sender=room), "the invitation")
    invite = invitation["muc"]["invite"]
    require(invite["from"].bare == world.jid("romeo") or invite["from"].full == occupant(room, "romeo"), f"who invites: {invite['from']}")
    equal(invite["reason"], "a ball", "why")
    juliet.plugin["xep_0045"].decline(room, invite["from"], "too tired")
    declined = await romeo.expect(is_message(sender=room), "that it was declined")
    decline = declined["muc"]["decline"]
    equal((decline["from"].bare, decline["reason"]), (world.jid("juliet"), "too tired"), "who declines and why")


@check("slixmpp: rooms: who is invited into a room for members may enter it (§7.8.2)")
async def _(world):
    room, romeo = await room_of(world, "romeo", membersonly=True)
    juliet = await person(world, "juliet")
    equal(await refused_entry(juliet, room, "juliet"), "registration-required", "before")
    romeo.plugin["xep_0045"].invite(room, world.jid("juliet"))
    await juliet.expect(is_message(sender=room), "the invitation")
    presence, *_ = await enter(juliet, room, "juliet")
    equal(item(presence), ("member", "participant"), "who was invited")


@check("slixmpp: rooms: a direct invitation arrives as it was sent (XEP-0249)")
async def _(world):
    room, romeo = await room_of(world, "romeo", passwordprotectedroom=True, roomsecret="sesame")
    juliet = await person(world, "juliet")
    romeo.plugin["xep_0249"].send_invitation(juliet.boundjid.bare, room, password="sesame", reason="a ball")
    invitation = await juliet.expect(is_message(sender=romeo.boundjid.full), "the invitation")
    invite = invitation["groupchat_invite"]
    equal((invite["jid"], invite["password"], invite["reason"]), (room, "sesame", "a ball"), "the invitation")
    await enter(juliet, slixmpp.JID(invite["jid"]), "juliet", password=invite["password"])


# Putting people out


@check("slixmpp: rooms: who is kicked is out, told by whom and why, and may come again (§8.2)")
async def _(world):
    room, romeo, juliet, nurse = await room_of(world, "romeo", "juliet", "nurse")
    await expect_error(juliet.plugin["xep_0045"].set_role(room, "nurse", "none", timeout=STEP), "forbidden|not-allowed")
    await romeo.plugin["xep_0045"].set_role(room, "juliet", "none", reason="avaunt", timeout=STEP)
    for each, own in ((juliet, [110]), (nurse, []), (romeo, [])):
        seen = await each.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of the presence")
        equal((item(seen), reason(seen), actor(seen)), (("none", "none"), "avaunt", "romeo"), "what is told")
        equal(sorted(codes(seen)), own + [307], "codes")
    say(juliet, room)
    refusal = await juliet.expect(is_message(kind="error"), "the refusal of what is said from outside")
    equal(refusal["error"]["condition"], "not-acceptable", "condition")
    await enter(juliet, room, "juliet")


@check("slixmpp: rooms: who is banned is out and stays out, until the ban is lifted (§9.1)")
async def _(world):
    room, romeo, juliet, nurse = await room_of(world, "romeo", "juliet", "nurse")
    muc = romeo.plugin["xep_0045"]
    await muc.set_affiliation(room, "outcast", jid=world.jid("juliet"), reason="banished", timeout=STEP)
    for each, own in ((juliet, [110]), (nurse, [])):
        seen = await each.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of the presence")
        equal((item(seen), reason(seen), actor(seen)), (("outcast", "none"), "banished", "romeo"), "what is told")
        equal(sorted(codes(seen)), own + [301], "codes")
    equal(await muc.get_affiliation_list(room, "outcast", timeout=STEP), [world.jid("juliet")], "the list of outcasts")
    equal(await refused_entry(juliet, room, "juliet"), "forbidden", "entering")
    await muc.set_affiliation(room, "none", jid=world.jid("juliet"), timeout=STEP)
    await enter(juliet, room, "juliet")


@check("slixmpp: rooms: a room that becomes one for members puts out who is none (§10.2.1)")
async def _(world):
    room, romeo, juliet, nurse = await room_of(world, "romeo", "juliet", "nurse")
    await romeo.plugin["xep_0045"].set_affiliation(room, "member", jid=world.jid("nurse"), timeout=STEP)
    await configure(romeo, room, membersonly=True)
    seen = await juliet.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of her presence")
    equal(sorted(codes(seen)), [110, 322], "codes")
    await nurse.fence()
    nurse.refuses_stanza(is_presence(occupant(room, "nurse"), "unavailable"), "the end of a member's presence")


# Affiliations and configuration


@check("slixmpp: rooms: affiliations are given and listed, told to who is there, and outlive a leaving (§9, §10)", only="martlet")
async def _(world):
    room, romeo, juliet, nurse = await room_of(world, "romeo", "juliet", "nurse")
    muc = romeo.plugin["xep_0045"]
    for affiliation, role in (("member", "participant"), ("admin", "moderator"), ("owner", "moderator")):
        await muc.set_affiliation(room, affiliation, jid=world.jid("juliet"), timeout=STEP)
        for each in (juliet, nurse):
            seen = await each.expect(is_presence(occupant(room, "juliet"), "available"), "the new affiliation")
            equal(item(seen), (affiliation, role), "affiliation and role")
        require(world.jid("juliet") in await muc.get_affiliation_list(room, affiliation, timeout=STEP), f"not in the list of {affiliation}s")
    equal(sorted(await muc.get_roles_list(room, "moderator", timeout=STEP)), ["juliet", "romeo"], "moderators")
    await expect_error(nurse.plugin["xep_0045"].set_affiliation(room, "owner", jid=world.jid("nurse"), timeout=STEP), "forbidden|not-allowed")
    await muc.send_affiliation_list(room, [(world.jid("paris"), "member"), (world.jid("juliet"), "admin")], timeout=STEP)
    equal(await muc.get_affiliation_list(room, "member", timeout=STEP), [world.jid("paris")], "members")
    juliet.plugin["xep_0045"].leave_muc(room, "juliet")
    await juliet.expect(is_presence(occupant(room, "juliet"), "unavailable"), "the end of her own presence")
    presence, *_ = await enter(juliet, room, "Julia")
    equal(item(presence), ("admin", "moderator"), "affiliation after coming back")


@check("slixmpp: rooms: the only owner of a room stays one (§10.4)")
async def _(world):
    room, romeo = await room_of(world, "romeo")
    await expect_error(romeo.plugin["xep_0045"].set_affiliation(room, "admin", jid=world.jid("romeo"), timeout=STEP), "conflict")


@check("slixmpp: rooms: the owner gets the configuration, sends it back changed, and others are told that it changed (§10.2)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    muc = romeo.plugin["xep_0045"]
    form = await muc.get_room_config(room, timeout=STEP)
    equal(form["type"], "form", "kind of form")
    fields = form.get_fields()
    for name in ("roomname", "roomdesc", "persistentroom", "publicroom", "membersonly", "moderatedroom", "whois", "roomsecret"):
        require(f"muc#roomconfig_{name}" in fields, f"there is no {name}: {sorted(fields)}")
    require(not form.get_values()["muc#roomconfig_persistentroom"], "it is persistent at first")
    # As a client does that shows the form: every field is sent back, with the values that somebody changed.
    form.get_fields()["muc#roomconfig_roomname"]["value"] = "A balcony <&> an orchard"
    form.get_fields()["muc#roomconfig_persistentroom"]["value"] = True
    await muc.set_room_config(room, form, timeout=STEP)
    changed = await juliet.expect(is_message(sender=room, kind="groupchat"), "that the configuration changed")
    require(104 in codes(changed), f"codes: {codes(changed)}")
    values = (await muc.get_room_config(room, timeout=STEP)).get_values()
    equal(
        (values["muc#roomconfig_roomname"], values["muc#roomconfig_persistentroom"]), ("A balcony <&> an orchard", True), "what is configured")
    info = (await juliet.plugin["xep_0030"].get_info(jid=room, cached=False, timeout=STEP))["disco_info"]
    require(("conference", "text", None, "A balcony <&> an orchard") in info["identities"], f"identities: {info['identities']}")
    require("muc_persistent" in info["features"], f"features: {info['features']}")
    await expect_error(juliet.plugin["xep_0045"].get_room_config(room, timeout=STEP), "forbidden")
    romeo.plugin["xep_0045"].leave_muc(room, "romeo")
    juliet.plugin["xep_0045"].leave_muc(room, "juliet")
    await juliet.fence(romeo)
    presence, *_ = await enter(romeo, room, "romeo")
    equal((item(presence), 201 in codes(presence)), (("owner", "moderator"), False), "a room that stays")


@check("slixmpp: rooms: an owner who makes a room and cancels its configuration has made none (§10.1.3)", only="martlet")
async def _(world):
    room, romeo = new_room(world), await person(world, "romeo")
    await enter(romeo, room, "romeo")
    await romeo.plugin["xep_0045"].cancel_config(room, timeout=STEP)
    own = await romeo.expect(is_presence(occupant(room, "romeo"), "unavailable"), "the end of the room")
    equal(item(own), ("none", "none"), "what is told")
    require(own.xml.find(f"{USER}x/{USER}destroy") is not None, f"it does not say that the room is destroyed: {own}")
    await expect_error(romeo.plugin["xep_0030"].get_info(jid=room, cached=False, timeout=STEP), "item-not-found")


@check("slixmpp: rooms: addresses are shown to all when the owner says so, and all are told that (§10.2.1)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    await configure(romeo, room, whois="anyone")
    changed = await juliet.expect(is_message(sender=room, kind="groupchat"), "that the configuration changed")
    require(172 in codes(changed), f"codes: {codes(changed)}")
    nurse = await person(world, "nurse")
    presence, _, others, _ = await enter(nurse, room, "nurse")
    require(100 in codes(presence), f"codes for who enters: {codes(presence)}")
    addresses = {each["from"].resource: each["muc"]["jid"].full for each in others}
    equal((addresses["juliet"], addresses["romeo"]), (juliet.boundjid.full, romeo.boundjid.full), "addresses")


@check("slixmpp: rooms: who registers in a room has a nickname that nobody else can take (§7.10)", only="martlet")
async def _(world):
    room, romeo, juliet, nurse = await room_of(world, "romeo", "juliet", "nurse")
    register = juliet.plugin["xep_0077"]
    form = (await register.get_registration(jid=room, timeout=STEP))["register"]["form"]
    require("muc#register_roomnick" in form.get_fields(), f"fields: {sorted(form.get_fields())}")
    form["type"] = "submit"
    form.get_fields()["muc#register_roomnick"]["value"] = "Julia"
    iq = juliet.make_iq_set(ito=room)
    iq["register"].append(form)
    await iq.send(timeout=STEP)
    seen = await juliet.expect(is_presence(occupant(room, "juliet"), "available"), "the new affiliation")
    equal(item(seen), ("member", "participant"), "affiliation")
    nurse.send_presence(pto=occupant(room, "Julia"))
    refusal = await nurse.expect(is_presence(kind="error"), "the refusal")
    equal(refusal["error"]["condition"], "conflict", "condition")
    again = (await register.get_registration(jid=room, timeout=STEP))["register"]
    equal((again["registered"], again["username"]), (True, "Julia"), "what is registered")
    node = (await juliet.plugin["xep_0030"].get_info(jid=room, node="x-roomuser-item", cached=False, timeout=STEP))["disco_info"]
    equal([name for *_, name in node["identities"]], ["Julia"], "the reserved nickname (§7.12)")
    await register.cancel_registration(jid=room, timeout=STEP)
    seen = await juliet.expect(is_presence(occupant(room, "juliet"), "available"), "the affiliation after that")
    equal(item(seen), ("none", "participant"), "affiliation")


@check("slixmpp: rooms: a room that is destroyed is left by all, who are told why and where to go (§10.9)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet", persistentroom=True)
    await expect_error(juliet.plugin["xep_0045"].destroy(room, timeout=STEP), "forbidden")
    venue = f"orchard@{service(world)}"
    await romeo.plugin["xep_0045"].destroy(room, "the ball is over", venue, timeout=STEP)
    for each, nickname in ((juliet, "juliet"), (romeo, "romeo")):
        seen = await each.expect(is_presence(occupant(room, nickname), "unavailable"), "the end of the presence")
        destroy = seen["muc"]["destroy"]
        equal((item(seen), destroy["jid"], destroy["reason"]), (("none", "none"), venue, "the ball is over"), "what is told")
    await expect_error(juliet.plugin["xep_0030"].get_info(jid=room, cached=False, timeout=STEP), "item-not-found|gone")


# Finding rooms and what was said in them


@check("slixmpp: rooms: the server names its rooms, they are listed except the hidden ones, and say what they are (§6)")
async def _(world):
    shown, romeo, juliet = await room_of(world, "romeo", "juliet", publicroom=True, roomname="Balcony", roomdesc="Where one talks")
    hidden = new_room(world)
    await enter(romeo, hidden, "romeo")
    await configure(romeo, hidden, publicroom=False)
    disco = juliet.plugin["xep_0030"]
    services = (await disco.get_items(jid=world.domain, timeout=STEP))["disco_items"]["items"]
    require(service(world) in [jid for jid, *_ in services], f"services: {services}")
    info = (await disco.get_info(jid=service(world), cached=False, timeout=STEP))["disco_info"]
    require(("conference", "text") in [each[:2] for each in info["identities"]], f"identities: {info['identities']}")
    require("http://jabber.org/protocol/muc" in info["features"], f"features: {info['features']}")
    rooms = {jid: name for jid, _, name in (await disco.get_items(jid=service(world), timeout=STEP))["disco_items"]["items"]}
    equal(rooms.get(shown), "Balcony", "name in the list")
    require(hidden not in rooms, "a hidden room is listed")
    result = await disco.get_info(jid=shown, cached=False, timeout=STEP)
    features = result["disco_info"]["features"]
    expected = {
        "http://jabber.org/protocol/muc", "muc_public", "muc_open", "muc_unmoderated", "muc_semianonymous", "muc_unsecured", "muc_temporary",
    }
    require(expected <= features, f"features that are missing: {expected - features}")
    values = {field.get("var"): field.findtext(f"{DATA}value") for field in result.xml.iter(f"{DATA}field")}
    equal(values.get("muc#roominfo_description"), "Where one talks", "description")
    equal(values.get("muc#roominfo_occupants"), "2", "occupants")


@check("slixmpp: rooms: the archive has what was said, as it was heard, and is open to who may enter (XEP-0313)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet", **({"enablearchiving": True} if world.kind == "martlet" else {}))
    said = [say(romeo, room) for _ in range(5)]
    names = [stanza_id(await juliet.expect(is_message(body), "a message"), room) for body in said]

    async def archive(client, **options):
        found = []
        async for result in client.plugin["xep_0313"].iterate(jid=room, **options):
            message = result["mam_result"]["forwarded"]["stanza"]
            if message["body"]:
                found.append((message["body"], result["mam_result"]["id"], message["from"].full))
        return found

    expected = [(body, name, occupant(room, "romeo")) for body, name in zip(said, names)]
    equal(await archive(juliet, rsm={"max": 2}), expected, "two at a time")
    equal(await archive(juliet, reverse=True, rsm={"max": 2}, total=4), expected[:0:-1], "from the end")
    equal(await archive(juliet, rsm={"max": 10, "after": names[2]}), expected[3:], "after the third")
    nurse = await person(world, "nurse")
    await configure(romeo, room, membersonly=True)
    await expect_error(nurse.plugin["xep_0313"].retrieve(jid=room, timeout=STEP), "forbidden|registration-required")


@check("slixmpp: rooms: a client learns whether it is still in a room (XEP-0410)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    ping = juliet.plugin["xep_0410"].send_self_ping
    equal(await ping(slixmpp.JID(occupant(room, "juliet")), timeout=STEP), PingStatus.JOINED, "in the room")
    await romeo.plugin["xep_0045"].set_role(room, "juliet", "none", timeout=STEP)
    equal(await ping(slixmpp.JID(occupant(room, "juliet")), timeout=STEP), PingStatus.DISCONNECTED, "after a kick")


@check("slixmpp: rooms: an occupant has one identifier, in presence and messages, under any name, and can say no other (XEP-0421)")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    features = (await juliet.plugin["xep_0030"].get_info(jid=room, cached=False, timeout=STEP))["disco_info"]["features"]
    require("urn:xmpp:occupant-id:0" in features, f"features: {features}")
    body = text()
    message = juliet.make_message(mto=room, mbody=body, mtype="groupchat")
    message.append(ET.Element("{urn:xmpp:occupant-id:0}occupant-id", id="forged"))
    message.send()
    first = occupant_id(await romeo.expect(is_message(body), "the message"))
    require(first != "forged", "the occupant chose it")
    await juliet.plugin["xep_0045"].set_self_nick(room, "Julia", timeout=STEP)
    equal(occupant_id(await romeo.expect(is_presence(occupant(room, "Julia")), "the new nickname")), first, "under the new nickname")
    said = say(romeo, room)
    require(occupant_id(await juliet.expect(is_message(said), "the message")) != first, "two occupants have the same")
    juliet.plugin["xep_0045"].leave_muc(room, "Julia")
    await juliet.fence()
    presence, *_, history = await enter(juliet, room, "juliet")
    equal(occupant_id(presence), first, "after coming back")
    equal([occupant_id(each) == first for each in history], [True, False], "in the history")


@check("slixmpp: rooms: a moderator takes a message away for all, for the archive too, and nobody else does (XEP-0425)", only="martlet")
async def _(world):
    room, romeo, juliet = await room_of(world, "romeo", "juliet")
    said = say(juliet, room)
    name = stanza_id(await romeo.expect(is_message(said), "the message"), room)
    await expect_error(juliet.plugin["xep_0425"].moderate(room, name, timeout=STEP), "forbidden")
    await romeo.plugin["xep_0425"].moderate(room, name, "not here", timeout=STEP)
    for each in (romeo, juliet):
        seen = await each.expect(lambda s: isinstance(s, slixmpp.Message) and s["retract"]["id"] == name, "that it was taken away")
        retract = seen["retract"]
        equal((seen["from"].full, seen["type"]), (room, "groupchat"), "who says so")
        equal((retract["reason"], retract["moderated"]["by"]), ("not here", occupant(room, "romeo")), "why and by whom")
    results = (await juliet.plugin["xep_0313"].retrieve(jid=room, timeout=STEP))["mam"]["results"]
    require(said not in "".join(str(each) for each in results), "the archive still has it")
    kept = [each["mam_result"] for each in results if each["mam_result"]["id"] == name]
    equal([each["forwarded"]["stanza"]["retracted"]["reason"] for each in kept], ["not here"], "what is left of it")
    nurse = await person(world, "nurse")
    await enter(nurse, room, "nurse")
    nurse.refuses_stanza(lambda s: said in str(s), "what was taken away")


# A stop of the server


@check("restart: occupants are told that the server stops, and find the room as it was on the next one (XEP-0045 §17.2)", only="martlet")
async def _(world):
    async with two_accounts(world) as (server, inside):
        room, romeo, juliet = await room_of(inside, "romeo", "juliet", persistentroom=True, roomname="Balcony")
        await romeo.plugin["xep_0045"].set_affiliation(room, "member", jid=inside.jid("juliet"), timeout=STEP)
        romeo.plugin["xep_0045"].set_subject(room, "Love")
        said = say(romeo, room)
        name = stanza_id(await juliet.expect(is_message(said), "the message"), room)
        await server.stop()
        for each, nickname in ((romeo, "romeo"), (juliet, "juliet")):
            own = await each.expect(is_presence(occupant(room, nickname), "unavailable"), "the end of the presence")
            equal((sorted(codes(own)), item(own)[1]), ([110, 332], "none"), "what is told")
        await server.start()
        juliet = await person(inside, "juliet", "garden")
        presence, subject, others, history = await enter(juliet, room, "juliet")
        equal((item(presence), 201 in codes(presence)), (("member", "participant"), False), "who enters")
        equal([each["from"].resource for each in others if each["from"].resource != "juliet"], [], "others who are there")
        equal((subject["subject"], [(each["body"], stanza_id(each, room)) for each in history]), ("Love", [(said, name)]), "subject and history")
        info = (await juliet.plugin["xep_0030"].get_info(jid=room, cached=False, timeout=STEP))["disco_info"]
        require(("conference", "text", None, "Balcony") in info["identities"], f"identities: {info['identities']}")


# go-sendxmpp


@check("go-sendxmpp: rooms: says something in a room under a nickname of its own, and is gone")
async def _(world):
    room, romeo = await room_of(world, "romeo")
    body = text()
    process = await go_sendxmpp(world, "mercutio", "starttls", "-c", "-a", "Queen Mab", str(room))
    code, output = await result_of(process, body.encode())
    equal((code, output), (0, ""), "result and output")
    await romeo.expect(is_presence(occupant(room, "Queen Mab"), "available"), "its presence")
    await romeo.expect(is_message(body, occupant(room, "Queen Mab"), "groupchat"), "the message")
    await romeo.expect(is_presence(occupant(room, "Queen Mab"), "unavailable"), "the end of its presence")


@check("go-sendxmpp: rooms: enters with a password")
async def _(world):
    room, romeo = await room_of(world, "romeo", passwordprotectedroom=True, roomsecret="sesame")
    body = text()
    process = await go_sendxmpp(world, "mercutio", "direct", "-c", "--muc-password", "sesame", "-a", "mercutio", str(room))
    code, output = await result_of(process, body.encode())
    equal((code, output), (0, ""), "result and output")
    await romeo.expect(is_message(body, occupant(room, "mercutio")), "the message")
