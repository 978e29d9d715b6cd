"""Checks of accounts with slixmpp: what people do to their own (XEP-0077), administrators to others' (XEP-0133), and invitations (XEP-0401)."""

import asyncio
import http.client
import socket
import ssl
import time
import urllib.parse

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET

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
    made = await command(chief, world, "add-user", accountjid=jid, password="the first one", password_verify="the first one")
    require(notes(made)[0][0] == "info", f"the account is made: {notes(made)}")
    person = await world.client(name, password="the first one")
    await command(chief, world, "change-user-password", accountjid=jid, password="the second one")
    await asyncio.wait_for(person.ended.wait(), STEP)
    person = await world.client(name, password="the second one")
    await command(chief, world, "disable-user", accountjids=[jid])
    await asyncio.wait_for(person.ended.wait(), STEP)
    try:
        await world.client(name, password="the second one")
        raise Failed("a disabled account was let in")
    except Refused as refused:
        require("disabled" in str(refused), f"the reason: {refused}")
    await command(chief, world, "reenable-user", accountjids=[jid])
    await world.client(name, password="the second one")
    await command(chief, world, "delete-user", accountjids=[jid])
    try:
        await world.client(name, "chamber", password="the second one")
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


# By invitations.
async def invite(client, world, name="invite", **fields):
    """Makes an invitation by command; returns its fields."""
    client.register_plugin("xep_0050")
    node = f"urn:xmpp:invite#{name}"
    answer = None
    if fields:
        answer = client["xep_0004"].make_form(ftype="submit")
        for var, value in fields.items():
            answer.add_field(var=var, value=value)
    done = await client["xep_0050"].send_command(world.domain, node, payload=answer, timeout=STEP)
    return done["command"]["form"].get_values()


def token_of(fields):
    return fields["uri"].split("preauth=")[1].split(";")[0]


def preauth(token):
    return ET.Element("{urn:xmpp:pars:0}preauth", {"token": token})


class Guest(Newcomer):
    """A newcomer who shows a token first (XEP-0445)."""

    def __init__(self, world, name, password, token):
        super().__init__(world, name, password)
        self.token = token

    async def fill_in(self, form):
        # This library keeps everything back until somebody is logged in, but for what is of XEP-0077.
        self.send_raw(f"<iq type='set' id='token' to='{self.world.domain}'><preauth xmlns='urn:xmpp:pars:0' token='{self.token}'/></iq>")
        answer = await self.expect(lambda stanza: isinstance(stanza, slixmpp.Iq) and stanza["id"] == "token", "the answer to the token")
        if answer["type"] == "error":
            self.registration = answer["error"]["condition"]
            self.disconnect()
            return
        await super().fill_in(form)


def subscription(client, jid):
    return client.client_roster[jid]["subscription"] if jid in client.client_roster else None


@check("slixmpp: whoever is invited makes an account by the token and is the inviter's contact; the token is good once (XEP-0401, XEP-0445)", only="martlet")
async def _(world):
    romeo = await world.client("romeo", "orchard")
    fields = await invite(romeo, world)
    require(fields["uri"].startswith(f"xmpp:romeo@{world.domain}?roster;preauth=") and fields["uri"].endswith(";ibr=y"), f"the link: {fields['uri']}")
    token, name = token_of(fields), fresh()
    guest = Guest(world, name, "a password", token)
    await guest.login()
    equal(guest.registration, "registered", "what came of the registration")
    await guest.get_roster(timeout=STEP)
    equal(subscription(guest, world.jid("romeo")), "both", "what the new account sees of the inviter")
    equal(subscription(romeo, world.jid(name)), "both", "what the inviter sees of the new account")
    again = Guest(world, fresh(), "a password", token)
    try:
        await again.login()
        raise Failed("the token was good twice")
    except Refused:
        equal(again.registration, "item-not-found", "what came of the second one")


@check("slixmpp: a request with a token is approved at once, both ways (XEP-0379)", only="martlet")
async def _(world):
    name = fresh()
    inviter, guest = Newcomer(world, name, "a password"), Newcomer(world, name + "x", "a password")
    for client in (inviter, guest):
        await client.login()
        await client.get_roster(timeout=STEP)
        client.send_presence()
    fields = await invite(inviter, world)
    guest.send_presence_subscription(pto=inviter.boundjid.bare, ptype="subscribed")
    wish = guest.make_presence(pto=inviter.boundjid.bare, ptype="subscribe")
    wish.append(preauth(token_of(fields)))
    wish.send()
    for _ in range(100):
        if subscription(guest, inviter.boundjid.bare) == "both" and subscription(inviter, guest.boundjid.bare) == "both":
            return
        await asyncio.sleep(0.05)
    raise Failed(f"they are no contacts: {subscription(guest, inviter.boundjid.bare)}, {subscription(inviter, guest.boundjid.bare)}")


@check("the page of an invitation makes an account, in a browser without scripts (XEP-0401 §4.2)", only="martlet")
async def _(world):
    chief = await administrator(world)
    name = fresh()
    fields = await invite(chief, world, "create-account", username=name, **{"roster-subscription": "1"})
    path = "/invite/" + token_of(fields)
    require(fields["landing-url"].endswith(path), f"where the page is: {fields['landing-url']}")
    context = ssl.create_default_context(cafile=world.certificate)

    def ask(body=None):
        connection = http.client.HTTPSConnection(world.domain, world.web_port, context=context, timeout=STEP)
        connection.sock = context.wrap_socket(socket.create_connection((world.address, world.web_port), STEP), server_hostname=world.domain)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    status, page = await asyncio.to_thread(ask)
    require(status == 200 and name in page and "<form" in page, f"the page: {status} {page[:300]}")
    form = urllib.parse.urlencode({"username": name, "password": "pass & wörd", "again": "pass & wörd"})
    status, page = await asyncio.to_thread(ask, form)
    require(status == 200 and world.jid(name) in page, f"what the form brought: {status} {page[:300]}")
    guest = await world.client(name, password="pass & wörd")
    equal(subscription(guest, world.jid("escalus")), "both", "the contact")
    status, page = await asyncio.to_thread(ask)
    equal(status, 404, "the page after that")
