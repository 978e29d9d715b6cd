"""Checks of what people do with accounts by their clients (XEP-0077), with slixmpp."""

import asyncio
import time

from slixmpp.exceptions import IqError

from harness import STEP, Client, Failed, Refused, check, equal, is_message, require


class Newcomer(Client):
    """Somebody who has no account yet: asks for the form, fills it in, and logs in."""

    def __init__(self, world, name, password, **options):
        super().__init__(world, name, "balcony", password=password, **options)
        for plugin in ("xep_0004", "xep_0066", "xep_0077"):
            self.register_plugin(plugin)
        self.forms = []
        self.registration = None
        self.add_event_handler("register", self.fill_in)

    async def fill_in(self, form):
        self.forms.append(form)
        wish = self.Iq()
        wish["type"] = "set"
        wish["register"]["username"] = self.boundjid.user
        wish["register"]["password"] = self.password
        try:
            await wish.send(timeout=STEP)
            self.registration = "registered"
        except IqError as error:
            self.registration = error.iq["error"]["condition"]
            self.disconnect()


def fresh():
    return f"newcomer{time.monotonic_ns():x}"


@check("slixmpp: somebody registers before log-in and is logged in on the same stream (XEP-0077)", only="martlet")
async def _(world):
    name = fresh()
    newcomer = Newcomer(world, name, "a password of my own")
    world.clients.append(newcomer)
    await newcomer.login()
    equal(newcomer.registration, "registered", "what came of the registration")
    require(newcomer.forms, "the form was asked for first")
    again = await world.client(name, "chamber", password="a password of my own")
    equal(again.boundjid.bare, f"{name}@{world.domain}", "who logs in with the new account")


@check("slixmpp: a name that is taken, or kept, is refused with conflict (XEP-0077 §3.1)", only="martlet")
async def _(world):
    for name in ("romeo", "postmaster"):
        newcomer = Newcomer(world, name, "another password")
        world.clients.append(newcomer)
        try:
            await newcomer.login()
            raise Failed(f"{name} was logged in")
        except Refused:
            equal(newcomer.registration, "conflict", f"what came of {name}")


@check("slixmpp: a new password holds for the next log-in, the old one does not, and other sessions end (XEP-0077 §3.3)", only="martlet")
async def _(world):
    name = fresh()
    first = Newcomer(world, name, "first password")
    world.clients.append(first)
    await first.login()
    other = await world.client(name, "chamber", password="first password")
    await first["xep_0077"].change_password("second password", jid=world.domain, timeout=STEP)
    for _ in range(100):
        if not other.is_connected():
            break
        await asyncio.sleep(0.05)
    require(not other.is_connected(), "the other session has ended")
    await first.plugin["xep_0199"].send_ping(world.domain, timeout=STEP)
    await world.client(name, "garden", password="second password")
    try:
        await world.client(name, "orchard", password="first password")
        raise Failed("the old password lets in")
    except Refused:
        pass


@check("slixmpp: who removes his account is told so, and it is gone (XEP-0077 §3.2)", only="martlet")
async def _(world):
    name = fresh()
    leaver = Newcomer(world, name, "a password")
    world.clients.append(leaver)
    await leaver.login()
    await leaver["xep_0077"].cancel_registration(jid=world.domain, timeout=STEP)
    try:
        await world.client(name, "chamber", password="a password")
        raise Failed("the account is still there")
    except Refused:
        pass


# By XEP-0133's commands.
ADMIN = "http://jabber.org/protocol/admin#"
COMMANDS = "http://jabber.org/protocol/commands"


async def administrator(world):
    chief = await world.client("escalus", "desk")
    for plugin in ("xep_0004", "xep_0050", "xep_0133"):
        chief.register_plugin(plugin)
    return chief


async def command(client, world, name, **fields):
    """Goes through a command: asks for its form, fills it in, and returns what came of it."""
    asked = await client["xep_0050"].send_command(world.domain, ADMIN + name, timeout=STEP)
    if asked["command"]["status"] == "completed":
        return asked["command"]
    form = asked["command"]["form"]
    answer = client["xep_0004"].make_form(ftype="submit")
    for var in form.get_fields():
        if form.get_fields()[var]["type"] == "hidden":
            answer.add_field(var=var, ftype="hidden", value=form.get_fields()[var]["value"])
    for var, value in fields.items():
        var = var.replace("_verify", "-verify")
        require(var in form.get_fields(), f"{name} asks for {var}")
        answer.add_field(var=var, value=value)
    done = await client["xep_0050"].send_command(
        world.domain, ADMIN + name, sessionid=asked["command"]["sessionid"], action="complete", payload=answer, timeout=STEP)
    equal(done["command"]["status"], "completed", f"the end of {name}")
    return done["command"]


def notes(done):
    return [(kind, text) for kind, text in done["notes"]]


@check("slixmpp: an administrator makes an account, sets its password, disables and enables and deletes it (XEP-0133)", only="martlet")
async def _(world):
    chief = await administrator(world)
    name = fresh()
    jid = f"{name}@{world.domain}"
    made = await command(chief, world, "add-user", accountjid=jid, password="one", password_verify="one")
    require(notes(made)[0][0] == "info", f"the account is made: {notes(made)}")
    person = await world.client(name, password="one")
    await command(chief, world, "change-user-password", accountjid=jid, password="two")
    await asyncio.wait_for(person.ended.wait(), STEP)
    person = await world.client(name, password="two")
    await command(chief, world, "disable-user", accountjids=[jid])
    await asyncio.wait_for(person.ended.wait(), STEP)
    try:
        await world.client(name, password="two")
        raise Failed("a disabled account was let in")
    except Refused as refused:
        require("disabled" in str(refused), f"the reason: {refused}")
    await command(chief, world, "reenable-user", accountjids=[jid])
    await world.client(name, password="two")
    await command(chief, world, "delete-user", accountjids=[jid])
    try:
        await world.client(name, "chamber", password="two")
        raise Failed("a deleted account was let in")
    except Refused:
        pass


@check("slixmpp: an administrator sees who is online, and tells everybody something (XEP-0133 §4.19, §4.23)", only="martlet")
async def _(world):
    chief = await administrator(world)
    juliet = await world.client("juliet", "chamber")
    listed = await command(chief, world, "get-online-users-list", max_items="none")
    require(world.jid("juliet") in listed["form"].get_values()["onlineuserjids"], "juliet is among them")
    await command(chief, world, "announce", announcement="The server rests tonight.")
    await juliet.expect(is_message("The server rests tonight.", world.domain, "headline"), "the announcement")


@check("slixmpp: the commands are in the list of administrators, and of nobody else (XEP-0050 §2.2)", only="martlet")
async def _(world):
    chief, juliet = await administrator(world), await world.client("juliet", "chamber")
    for client, sees in ((chief, True), (juliet, False)):
        client.register_plugin("xep_0050")
        items = await client["xep_0030"].get_items(world.domain, COMMANDS, timeout=STEP)
        nodes = [node for _, node, _ in items["disco_items"]["items"]]
        equal(ADMIN + "add-user" in nodes, sees, f"what {client.boundjid.user} sees: {nodes}")
