"""Checks of what people publish (XEP-0163) with slixmpp: avatars, moods, bookmarks, and who hears of them."""

import contextlib
import hashlib

import slixmpp
from slixmpp.xmlstream import ET

from harness import STEP, Failed, befriend, check, equal, expect_error, require
from messages import text

AVATAR_DATA = "urn:xmpp:avatar:data"
AVATAR = "urn:xmpp:avatar:metadata"
MOOD = "http://jabber.org/protocol/mood"
BOOKMARKS = "urn:xmpp:bookmarks:1"
EVENT = "{http://jabber.org/protocol/pubsub#event}"
PICTURE = bytes.fromhex(  # one pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
PLUGINS = "xep_0060 xep_0115 xep_0163 xep_0084 xep_0107".split()


async def person(world, name, resource=None, interests=()):
    """Somebody who says what he wants to hear of, and has been asked what his digest stands for."""
    client = await (world.client(name, resource) if resource else world.client(name))
    for plugin in PLUGINS:
        client.register_plugin(plugin)
    for node in interests:
        client.plugin["xep_0163"].add_interest(node)
    await client.plugin["xep_0115"].update_caps()
    client.send_presence()
    await client.plugin["xep_0199"].send_ping(world.domain, timeout=STEP)
    return client


def is_event(node, item=None):
    def holds(stanza):
        if not isinstance(stanza, slixmpp.Message):
            return False
        items = stanza.xml.find(f"{EVENT}event/{EVENT}items")
        if items is None or items.get("node") != node:
            return False
        return item is None or any(each.get("id") == item for each in items)

    return holds


@check("slixmpp: an avatar is published, a contact hears of it at once and when he comes later, and fetches it (XEP-0084)")
async def _(world):
    romeo = await person(world, "romeo", interests=[AVATAR])
    juliet = await person(world, "juliet", "chamber")
    await befriend(world, romeo, juliet)
    picture = PICTURE + text().encode()
    name = hashlib.sha1(picture).hexdigest()
    await juliet.plugin["xep_0084"].publish_avatar(picture, timeout=STEP)
    await juliet.plugin["xep_0084"].publish_avatar_metadata({"id": name, "type": "image/png", "bytes": len(picture)}, timeout=STEP)
    notice = await romeo.expect(is_event(AVATAR, name), "the event")
    equal(notice["from"], juliet.boundjid.bare, "in whose name it comes")
    data = await romeo.plugin["xep_0084"].retrieve_avatar(juliet.boundjid.bare, name, timeout=STEP)
    require(data["pubsub"]["items"]["item"]["avatar_data"]["value"] == picture, "the picture is the one that was published")
    await juliet.close()
    await romeo.close()
    romeo = await person(world, "romeo", interests=[AVATAR])
    late = await romeo.expect(is_event(AVATAR, name), "the last item, though she is away")
    require(late.xml.find("{urn:xmpp:delay}delay") is not None, "it says when it was published")


@check("slixmpp: who is no contact, and who has not asked to, hears nothing of a mood; nor may a stranger read it (XEP-0107)")
async def _(world):
    juliet = await person(world, "juliet", "chamber", [MOOD])
    tybalt = await person(world, "mercutio", interests=[MOOD])
    romeo = await world.client("romeo")
    # Another check may have made them contacts.
    with contextlib.suppress(slixmpp.exceptions.IqError):
        await juliet.update_roster(tybalt.boundjid.bare, subscription="remove", timeout=STEP)
    await juliet.plugin["xep_0199"].send_ping(world.domain, timeout=STEP)
    for client in (tybalt, romeo):
        client.forget()
    await juliet.plugin["xep_0107"].publish_mood("happy", text(), timeout=STEP)
    await juliet.expect(is_event(MOOD), "the event at her own client")
    for client in (tybalt, romeo):
        await client.plugin["xep_0199"].send_ping(world.domain, timeout=STEP)
        if any(is_event(MOOD)(stanza) for stanza in client.stanzas):
            raise Failed(f"{client.boundjid.bare} hears of it")
    stranger = tybalt.plugin["xep_0060"].get_items(juliet.boundjid.bare, MOOD, timeout=STEP)
    await expect_error(stranger, "not-authorized|forbidden|service-unavailable|item-not-found|not-allowed")


@check("slixmpp: a bookmark of a client that keeps them in a node is one of a client that keeps them in private storage, and back (XEP-0402)", only="martlet")
async def _(world):
    romeo = await person(world, "romeo", interests=[BOOKMARKS])
    room = f"council-{hashlib.sha1(text().encode()).hexdigest()[:8]}@conference.{world.domain}"
    payload = ET.Element(f"{{{BOOKMARKS}}}conference", {"name": "Council", "autojoin": "true"})
    await romeo.plugin["xep_0060"].publish(world.jid("romeo"), BOOKMARKS, id=room, payload=payload, timeout=STEP)
    await romeo.expect(is_event(BOOKMARKS, room), "the event")

    def private(kind, *conferences):
        iq = romeo.make_iq(itype=kind)
        storage = ET.SubElement(ET.SubElement(iq.xml, "{jabber:iq:private}query"), "{storage:bookmarks}storage")
        storage.extend(conferences)
        return iq.send(timeout=STEP)

    storage = (await private("get")).xml.find("{jabber:iq:private}query/{storage:bookmarks}storage")
    found = {each.get("jid"): each for each in storage}
    require(room in found and found[room].get("name") == "Council", "the older list has it")
    others = [each for jid, each in found.items() if jid != room]
    romeo.forget()
    await private("set", *others)
    gone = await romeo.expect(is_event(BOOKMARKS), "the event that it is gone")
    retracted = [each.get("id") for each in gone.xml.iter(f"{EVENT}retract")]
    equal(retracted, [room], "what is gone")
