"""What a directory says of people in their cards, and what they change there by their clients: cards, pictures and passwords."""

import hashlib

from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET

from directory import DOMAIN, comes_true, ends, followed
from harness import STEP, check, equal, expect_error, require
from publishing import AVATAR, is_event, person
from slapd import PEOPLE, SERVICE, Slapd, named, replaced

CARD = "{vcard-temp}"
REGISTER = "{jabber:iq:register}"
WRITABLE = "    vcard: {writable: [title, jpegPhoto]}\n    password-change: proxied\n"


class PersonalSlapd(Slapd):
    """It lets the server act for people, who may write some of what their entries say (RFC 4370)."""

    def configuration(self):
        own = f"access to attrs=title,jpegPhoto by dn.exact=\"{SERVICE}\" read by self write by users read\n"
        return super().configuration().replace("database mdb\n", "authz-policy to\ndatabase mdb\n").replace("access to * ", own + "access to * ")

    async def let_act(self):
        await self.modify(f"dn: {SERVICE}\nchangetype: modify\nadd: authzTo\nauthzTo: dn.subtree:{PEOPLE}\n")

    async def value(self, name, attribute):
        return await self.tool("ldapsearch", "-LLL", "-b", named(name), "-s", "base", attribute)


def picture(number):
    """A beginning that only a JPEG has, and something to tell it by."""
    return bytes([0xFF, 0xD8, 0xFF, 0xE0]) + bytes([number]) * 1000


async def card(client, jid):
    """The texts of a card by the names of their elements; none if there is no card."""
    iq = client.make_iq_get(ito=jid)
    iq.xml.append(ET.Element(f"{CARD}vCard"))
    try:
        answer = await iq.send(timeout=STEP)
    except IqError:
        return {}
    found = answer.xml.find(f"{CARD}vCard")
    return {each.tag.removeprefix(CARD): "".join(each.itertext()) for each in found}


def setting(client, **texts):
    """A card that somebody sets, which has these elements."""
    iq = client.make_iq_set()
    root = ET.SubElement(iq.xml, f"{CARD}vCard")
    for name, text in texts.items():
        ET.SubElement(root, f"{CARD}{name}").text = text
    return iq.send(timeout=STEP)


async def shows(client, jid, name, text):
    async def is_so():
        return (await card(client, jid)).get(name) == text

    return await comes_true(is_so, f"{name} to be {text}")


@check("slapd: what it says of somebody is in the card, and what changes there, with the picture at the avatar's node (XEP-0054, XEP-0084)", only="martlet")
async def _(world):
    async with followed(world, Slapd, {"alice": "alicepw", "bob": "bobpw"}) as (directory, server, place):
        bob = await place.client("bob")
        await shows(bob, place.jid("alice"), "FN", "Alice Adams")
        await shows(bob, place.jid("alice"), "TITLE", "Duty officer")
        await directory.modify(replaced("alice", title="Captain"))
        await shows(bob, place.jid("alice"), "TITLE", "Captain")
        alice = await person(place, "alice", interests=[AVATAR])
        for number in (1, 2):
            await directory.modify(replaced("alice", jpegPhoto=picture(number)))
            await alice.expect(is_event(AVATAR, hashlib.sha1(picture(number)).hexdigest()), "the event of a new picture")
        # The picture is the directory's, and so is the name.
        await expect_error(setting(alice, FN="Somebody else"), "not-allowed")
        await setting(alice, FN="Alice Adams", NICKNAME="Al")
        equal((await card(bob, place.jid("alice"))).get("NICKNAME"), "Al", "what she says besides")
        require("PHOTO" in await card(bob, place.jid("alice")), "the picture is still there")


@check("slapd: people change there what it lets them, by their cards, in their own names (RFC 4370)", only="martlet")
async def _(world):
    async with followed(world, PersonalSlapd, {"alice": "alicepw"}, more=WRITABLE) as (directory, server, place):
        alice = await place.client("alice")
        await shows(alice, place.jid("alice"), "TITLE", "Duty officer")
        # Nobody lets the server act for her yet.
        await expect_error(setting(alice, TITLE="Captain"), "not-allowed")
        await directory.let_act()
        await setting(alice, TITLE="Captain")
        require("title: Captain" in await directory.value("alice", "title"), "it is in her entry")
        equal((await card(alice, place.jid("alice"))).get("TITLE"), "Captain", "what the card says at once")
        await directory.kill()
        await expect_error(setting(alice, TITLE="Admiral"), "resource-constraint")
        equal((await card(alice, place.jid("alice"))).get("TITLE"), "Captain", "what the card says without the directory")


@check("slapd: a new password goes there by a client (XEP-0077, RFC 3062); the session goes on, and the old password is worth nothing", only="martlet")
async def _(world):
    async with followed(world, PersonalSlapd, {"alice": "alicepw"}, more=WRITABLE) as (directory, server, place):
        await directory.let_act()
        alice, other = await place.client("alice"), await place.client("alice", "chamber")
        iq = alice.make_iq_set(ito=DOMAIN)
        query = ET.SubElement(iq.xml, f"{REGISTER}query")
        ET.SubElement(query, f"{REGISTER}username").text = "alice"
        ET.SubElement(query, f"{REGISTER}password").text = "capulet1"
        await iq.send(timeout=STEP)
        await ends(place, "alice", "capulet1", None)
        await ends(place, "alice", "alicepw", "not-authorized")

        async def is_out():
            return other.ended.is_set()

        await comes_true(is_out, "the other session to end")
        await alice.plugin["xep_0199"].send_ping(DOMAIN, timeout=STEP)


@check("slapd: it is tried before a server runs: what it is, and who is found there", only="martlet")
async def _(world):
    async with followed(world, Slapd, {"alice": "alicepw"}) as (directory, server, place):
        status, said = await server.asked("test")
        equal(status, 0, f"martlet directory test: {said}: status")
        for words in ("logged in as", "content synchronization", "3, of whom 3 have an account", "PBKDF2-SHA256 1"):
            require(words in said, f"{words}: {said}")
        await directory.kill()
        status, said = await server.asked("test")
        equal(status, 1, f"martlet directory test, when it is away: {said}: status")
        require("wrong" in said and "look at servers" in said, said)
