"""The two sides of a check, and their people."""

import ssl
import time

import slixmpp

from harness import STEP, Client, World, is_presence, require
from messages import text
from servers import PASSWORDS

ACROSS = 20.0  # seconds that a stanza may take to the other server, while the first stream is made
PLUGINS = "xep_0045 xep_0060 xep_0115 xep_0118 xep_0163 xep_0313".split()
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


class Side:
    """A server and the clients that are logged in there."""

    def __init__(self, server, authority):
        self.server = server
        self.domain = server.domain
        self.rooms = server.rooms
        self.name = server.name
        self.world = World(
            address=server.address, port=5222, tls_port=5223, domain=server.domain, certificate=authority.certificate, other_certificate="",
            passwords=PASSWORDS, delete_account=[], kind=server.name, martlet="",
        )

    def jid(self, name):
        return f"{name}@{self.domain}"

    async def client(self, name, resource="balcony", presence=True, **options):
        """A client that has logged in, has its roster and has sent its presence."""
        client = Client(self.world, name, resource, **options)
        for plugin in PLUGINS:
            client.register_plugin(plugin)
        if self.server.setting.certificate != "good":
            client.ssl_context.check_hostname = False
            client.ssl_context.verify_mode = ssl.CERT_NONE
        await client.login()
        await client.get_roster(timeout=STEP)
        if presence:
            client.send_presence()
            await client.fence()
        return client

    async def close_all(self):
        for client in self.world.clients:
            try:
                await client.close()
            except Exception:  # the server may be gone
                client.abort()
        self.world.clients.clear()


class Sides:
    """The near and the far side."""

    def __init__(self, servers, names, authority, folder):
        self.servers = servers
        self.names = names
        self.authority = authority
        self.folder = folder
        self.near, self.far = (Side(server, authority) for server in servers)

    @property
    def pair(self):
        return tuple(each.name for each in self.servers)

    def turned(self):
        return Sides(self.servers[::-1], self.names, self.authority, self.folder)

    async def pair_of(self, near="romeo", far="juliet"):
        return await self.near.client(near), await self.far.client(far)

    async def close_all(self):
        await self.near.close_all()
        await self.far.close_all()


def is_text(body):
    return lambda stanza: isinstance(stanza, slixmpp.Message) and stanza["type"] != "error" and stanza["body"] == body


def is_error(sender=None):
    """A message that came back."""
    return lambda stanza: (
        isinstance(stanza, slixmpp.Message) and stanza["type"] == "error" and sender in (None, stanza["from"].full, stanza["from"].bare)
    )


def condition(stanza):
    """The condition of an error."""
    error = next((child for child in stanza.xml if child.tag.endswith("}error")), None)
    require(error is not None, f"an error without an error: {stanza}")
    return next((child.tag.removeprefix(STANZAS) for child in error if child.tag.startswith(STANZAS) and not child.tag.endswith("}text")), "?")


async def say(sender, recipient, seconds=ACROSS):
    """A message arrives, with the address of who sent it. Returns how long that took, in seconds."""
    body, begin = text(), time.monotonic()
    sender.send_message(recipient.boundjid.full, body)
    arrived = await recipient.expect(is_text(body), "the message", seconds)
    require(arrived["from"].full == sender.boundjid.full, f"it came from {arrived['from']}")
    return time.monotonic() - begin


async def across(*people):
    """Returns when what each sent to the next before has arrived: streams between servers keep the order.

    By messages, because a server may keep questions of strangers from its clients, so that nobody learns who is there.
    """
    for sender, recipient in zip(people, people[1:]):
        await say(sender, recipient)


async def bounced(sender, recipient, seconds):
    """Sends a message that must come back. Returns condition and time."""
    begin = time.monotonic()
    sender.send_message(recipient, text())
    error = await sender.expect(is_error(slixmpp.JID(recipient).full), f"an error from {recipient}", seconds)
    return condition(error), time.monotonic() - begin


def demand(side, holds, words):
    """What must hold of our own server is written down of the servers of others. Returns the words for that."""
    require(holds or not side.name.startswith("martlet"), words)
    return "" if holds else words


async def befriend(one, other):
    """Both see each other's presence; what that took is forgotten."""
    await estrange(one, other)
    for asking, asked in ((one, other), (other, one)):
        asking.send_presence_subscription(asked.boundjid.bare)
        await asked.expect(is_presence(asking.boundjid.bare, "subscribe"), "the request", ACROSS)
        asked.send_presence_subscription(asking.boundjid.bare, ptype="subscribed")
        await asking.expect(is_presence(asked.boundjid.bare, "subscribed"), "the approval", ACROSS)
        await asking.expect(is_presence(asked.boundjid.full, "available"), "the presence after it", ACROSS)
    await across(one, other, one)
    one.forget()
    other.forget()


async def estrange(one, other):
    """Neither has the other in the roster any more, whatever an earlier check left there."""
    for client, contact in ((one, other), (other, one)):
        if contact.boundjid.bare in client.client_roster:
            client.del_roster_item(contact.boundjid.bare)
        await client.fence()
    await across(one, other, one)
    one.forget()
    other.forget()
