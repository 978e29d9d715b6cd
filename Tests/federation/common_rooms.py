"""Rooms with occupants from both servers."""

import uuid

import slixmpp

from harness import STEP, equal, is_message, is_presence, require
from messages import text
from registry import MAIN, check
from sides import ACROSS, across

USER = "{http://jabber.org/protocol/muc#user}"


async def enter(client, room, nickname):
    """Own presence, subject, others, history."""
    return await client.plugin["xep_0045"].join_muc_wait(room, nickname, timeout=ACROSS)


async def open_room(client, service):
    """A new room that whoever made it has opened to all."""
    room = slixmpp.JID(f"{uuid.uuid4()}@{service}")
    await enter(client, room, "owner")
    form = client.plugin["xep_0004"].make_form(ftype="submit")
    form.add_field(var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/muc#roomconfig")
    form.add_field(var="muc#roomconfig_publicroom", value="1")
    await client.plugin["xep_0045"].set_room_config(room, form, timeout=STEP)
    return room


def say(client, room):
    body = text()
    client.send_message(mto=room, mbody=body, mtype="groupchat")
    return body


def codes(stanza):
    return {int(status.get("code")) for status in stanza.xml.iterfind(f"{USER}x/{USER}status")}


@check("a room here with occupants from both: all hear all in the same order", needs=("rooms",), far_needs=(), directed=True, quick=(MAIN,))
async def _(sides):
    romeo, juliet = await sides.pair_of()
    room = await open_room(romeo, sides.near.rooms)
    await enter(juliet, room, "guest")
    await romeo.expect(is_presence(f"{room}/guest", "available"), "who came in")
    for _ in range(20):
        say(romeo, room)
        say(juliet, room)
    last = say(juliet, room)
    for each in (romeo, juliet):
        await each.gather(is_message(last, kind="groupchat"))
    last = say(romeo, room)
    for each in (romeo, juliet):
        await each.gather(is_message(last, kind="groupchat"))
    heard = [[stanza["body"] for stanza in each.stanzas if is_message(kind="groupchat")(stanza) and stanza["body"]] for each in (romeo, juliet)]
    equal(len(heard[0]), 42, "messages")
    equal(heard[0], heard[1], "what both heard")


@check("who enters a room there is told what was said before", needs=("rooms",), far_needs=(), directed=True, quick=(MAIN,))
async def _(sides):
    romeo, juliet = await sides.pair_of()
    room = await open_room(romeo, sides.near.rooms)
    said = [say(romeo, room) for _ in range(5)]
    await romeo.gather(is_message(said[-1]))
    _, _, others, history = await enter(juliet, room, "guest")
    equal([each["body"] for each in history if each["body"]], said, "history")
    require("owner" in [each["from"].resource for each in others], "who is there is not told")


@check("who leaves a room there is seen leaving, and hears no more", needs=("rooms",), far_needs=(), directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    room = await open_room(romeo, sides.near.rooms)
    await enter(juliet, room, "guest")
    juliet.plugin["xep_0045"].leave_muc(room, "guest", "gone to bed")
    seen = await romeo.expect(is_presence(f"{room}/guest", "unavailable"), "the end of her presence")
    equal(seen["status"], "gone to bed", "what she said")
    own = await juliet.expect(is_presence(f"{room}/guest", "unavailable"), "the end of her own presence")
    require(110 in codes(own), f"codes: {codes(own)}")
    juliet.forget()
    said = say(romeo, room)
    await romeo.gather(is_message(said))
    await across(romeo, juliet)
    juliet.refuses_stanza(is_message(said), "what was said after she left")


@check("whose connection there ends leaves the room", needs=("rooms",), far_needs=(), directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    room = await open_room(romeo, sides.near.rooms)
    await enter(juliet, room, "guest")
    await juliet.close()
    await romeo.expect(is_presence(f"{room}/guest", "unavailable"), "the end of her presence", ACROSS)


@check("who is kicked from a room there is told so", needs=("rooms",), far_needs=(), directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    room = await open_room(romeo, sides.near.rooms)
    await enter(juliet, room, "guest")
    await romeo.plugin["xep_0045"].set_role(room, "guest", "none", reason="a plague", timeout=STEP)
    told = await juliet.expect(is_presence(f"{room}/guest", "unavailable"), "what she is told")
    require(307 in codes(told), f"codes: {codes(told)}")
    await romeo.expect(is_presence(f"{room}/guest", "unavailable"), "the end of her presence")


@check("private messages in a room go both ways", needs=("rooms",), far_needs=(), directed=True, quick=(MAIN,))
async def _(sides):
    romeo, juliet = await sides.pair_of()
    room = await open_room(romeo, sides.near.rooms)
    await enter(juliet, room, "guest")
    for sender, recipient, nickname, own in ((romeo, juliet, "guest", "owner"), (juliet, romeo, "owner", "guest")):
        body = text()
        sender.send_message(mto=f"{room}/{nickname}", mbody=body, mtype="chat")
        arrived = await recipient.expect(is_message(body, kind="chat"), "the message")
        equal(arrived["from"].full, f"{room}/{own}", "who it comes from")


@check("the rooms of the other server are listed", needs=("rooms",), far_needs=(), directed=True)
async def _(sides):
    romeo, juliet = await sides.pair_of()
    room = await open_room(romeo, sides.near.rooms)
    items = await juliet.plugin["xep_0030"].get_items(sides.near.rooms, timeout=ACROSS)
    require(str(room) in {str(jid) for jid, *_ in items["disco_items"]["items"]}, "the room is not listed")
