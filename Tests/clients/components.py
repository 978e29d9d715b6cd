"""Checks of external components (XEP-0114): one made with slixmpp, one that the operator lets do more (XEP-0355, XEP-0356), and biboumi between a room
of ours and an IRC server."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile

import slixmpp
from slixmpp.componentxmpp import ComponentXMPP
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from harness import STEP, Failed, check, equal, expect_error, is_message, is_presence, require
from messages import text


class Component(ComponentXMPP):
    """A component that answers every message with the same text, and keeps what it gets."""

    def __init__(self, world, name, secret=None, plugins=("xep_0030", "xep_0199")):
        super().__init__(f"{name}.{world.domain}", secret or f"{name}'s secret", world.address, world.component_port)
        self.world = world
        self.stanzas = []
        self.arrived = asyncio.Event()
        self.ready = self.loop.create_future()
        self.gone = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.settle("session"))
        self.add_event_handler("disconnected", lambda reason: (self.gone.set(), self.settle(f"ended: {reason}")))
        self.add_event_handler("stream_error", lambda error: self.settle(f"error: {error['condition']}"))
        self.add_event_handler("message", self.echo)
        self.add_filter("in", self.keep)
        for plugin in plugins:
            self.register_plugin(plugin)

    def settle(self, outcome):
        if not self.ready.done():
            self.ready.set_result(outcome)

    def keep(self, stanza):
        self.stanzas.append(stanza)
        self.arrived.set()
        return stanza

    def echo(self, message):
        if message["type"] in ("chat", "normal") and message["body"]:
            message.reply(message["body"]).send()

    async def start(self):
        self.connect()
        return await asyncio.wait_for(self.ready, STEP)

    async def expect(self, matches, what):
        deadline = self.loop.time() + STEP
        while True:
            for stanza in self.stanzas:
                if matches(stanza):
                    return stanza
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), deadline - self.loop.time())
            except asyncio.TimeoutError:
                raise Failed(f"the component did not get {what}") from None

    async def stop(self):
        with contextlib.suppress(Exception):
            await self.disconnect(wait=1)


@contextlib.asynccontextmanager
async def running(world, name, kind=Component, **options):
    component = kind(world, name, **options)
    try:
        equal(await component.start(), "session", "the log-in of the component")
        yield component
    finally:
        await component.stop()


async def control(world, *words):
    """What a command of the server's prints."""
    process = await asyncio.create_subprocess_exec(
        world.martlet, *words, "--config", world.configuration, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), STEP)
    return output.decode()


def only_martlet(world):
    require(world.kind == "martlet", "components are configured for Martlet only")


@check("slixmpp component: it is found, pinged, spoken with, and listed by 'martlet component list' (XEP-0114)")
async def _(world):
    only_martlet(world)
    juliet = await world.client("juliet")
    async with running(world, "echo") as echo:
        items = await juliet["xep_0030"].get_items(jid=world.domain, timeout=STEP)
        require(any(item[0] == echo.boundjid.bare for item in items["disco_items"]["items"]), "it is among the services of the domain")
        await juliet["xep_0199"].send_ping(echo.boundjid.bare, timeout=STEP)
        info = await juliet["xep_0030"].get_info(jid=echo.boundjid.bare, timeout=STEP)
        require("urn:xmpp:ping" in info["disco_info"]["features"], "it says itself what it can do")
        body = text()
        juliet.send_message(mto=f"anybody@{echo.boundjid.bare}", mbody=body, mtype="chat")
        answer = await juliet.expect(is_message(body), "the answer")
        equal(answer["from"].bare, f"anybody@{echo.boundjid.bare}", "who answers")
        line = next(line for line in (await control(world, "component", "list")).splitlines() if line.startswith(echo.boundjid.bare))
        require("  connected  " in line and world.address in line, f"the list says: {line}")
    await expect_error(juliet["xep_0199"].send_ping(f"echo.{world.domain}", timeout=STEP), "service-unavailable")


@check("slixmpp component: it asks the server and its rooms, and has a user's presence as another server has it")
async def _(world):
    only_martlet(world)
    juliet = await world.client("juliet")
    async with running(world, "echo") as echo:
        await echo["xep_0199"].send_ping(world.domain, ifrom=echo.boundjid.bare, timeout=STEP)
        info = await echo["xep_0030"].get_info(jid=f"conference.{world.domain}", ifrom=echo.boundjid.bare, timeout=STEP)
        require("http://jabber.org/protocol/muc" in info["disco_info"]["features"], "the rooms answer it")
        contact = f"contact@{echo.boundjid.bare}"
        juliet.send_presence(pto=contact, ptype="subscribe")
        await echo.expect(is_presence(juliet.boundjid.bare, "subscribe"), "the request for a subscription")
        echo.send_presence(pto=juliet.boundjid.bare, pfrom=contact, ptype="subscribed")
        echo.send_presence(pto=juliet.boundjid.bare, pfrom=f"{contact}/here")
        await juliet.expect(is_presence(f"{contact}/here"), "the contact's presence")
        echo.send_presence(pto=juliet.boundjid.bare, pfrom=contact, ptype="unsubscribed")


@check("slixmpp component: a wrong secret, an unknown name and a foreign sender end the stream, and the newer of two connections counts")
async def _(world):
    only_martlet(world)
    for name, secret, what in (("echo", "wrong", "not-authorized"), ("nobody", "x", "host-unknown")):
        component = Component(world, name, secret)
        outcome = await component.start()
        require(what in outcome or outcome.startswith("ended"), f"{name}: {outcome}")
        await component.stop()
    async with running(world, "echo") as first, running(world, "echo") as second:
        await asyncio.wait_for(first.gone.wait(), STEP)
        await second["xep_0199"].send_ping(world.domain, ifrom=second.boundjid.bare, timeout=STEP)
        second.send_message(mto=world.jid("juliet"), mfrom=world.jid("romeo"), mbody="false")
        await asyncio.wait_for(second.gone.wait(), STEP)


class Steward(Component):
    """A component with privileges, which answers for a namespace in the server's place."""

    NAMESPACE = "urn:example:steward"
    DELEGATION = "{urn:xmpp:delegation:2}"
    FORWARDING = "{urn:xmpp:forward:0}"

    def __init__(self, world, name):
        super().__init__(world, name, plugins=("xep_0030", "xep_0199", "xep_0356"))
        matcher = MatchXPath(f"{{{self.default_ns}}}iq/{self.DELEGATION}delegation")
        self.register_handler(Callback("delegated", matcher, self.delegated))
        self["xep_0030"].add_feature(f"{self.NAMESPACE}#nested", node=f"urn:xmpp:delegation:2::{self.NAMESPACE}", jid=self.boundjid)

    def delegated(self, request):
        ET = slixmpp.xmlstream.ET
        asked = request.xml.find(f"{self.DELEGATION}delegation/{self.FORWARDING}forwarded/{{jabber:client}}iq")
        result = self.make_iq_result(id=request["id"], ito=request["from"], ifrom=request["to"])
        forwarded = ET.SubElement(ET.SubElement(result.xml, f"{self.DELEGATION}delegation"), f"{self.FORWARDING}forwarded")
        answer = ET.SubElement(forwarded, "{jabber:client}iq", {"type": "result", "id": asked.get("id"), "to": asked.get("from")})
        ET.SubElement(answer, f"{{{self.NAMESPACE}}}served", {"asker": asked.get("from")})
        result.send()


def has(name):
    return lambda stanza: isinstance(stanza, slixmpp.Message) and stanza.xml.find(name) is not None


@check("slixmpp component with privileges: it changes a roster, sends and asks in an account's name, and hears who comes (XEP-0356)")
async def _(world):
    only_martlet(world)
    ET = slixmpp.xmlstream.ET
    romeo = await world.client("romeo")
    async with running(world, "steward", Steward) as steward:
        told = await steward.expect(has("{urn:xmpp:privilege:2}privilege"), "what it may do")
        equal(told["from"], world.domain, "who lets it")
        juliet = await world.client("juliet")
        await steward.expect(is_presence(juliet.boundjid.full), "juliet's presence")
        privileges = steward["xep_0356"]
        contact = f"contact@{steward.boundjid.bare}"
        await privileges.set_roster(world.jid("juliet"), {contact: {"name": "Contact", "subscription": "none", "groups": ["Steward"]}}, timeout=STEP)
        roster = await privileges.get_roster(world.jid("juliet"), timeout=STEP)
        equal(roster["roster"]["items"][contact]["name"], "Contact", "the name in the roster")

        async def is_pushed():
            return contact in juliet.client_roster

        await until_true(is_pushed, "juliet is told of the contact")
        await privileges.set_roster(world.jid("juliet"), {contact: {"subscription": "remove"}}, timeout=STEP)
        body = text()
        privileges.send_privileged_message(steward.make_message(mto=world.jid("romeo"), mfrom=world.jid("juliet"), mbody=body, mtype="chat"))
        heard = await romeo.expect(is_message(body), "the message in juliet's name")
        equal(heard["from"], world.jid("juliet"), "who says it")
        pubsub = "{http://jabber.org/protocol/pubsub}"
        request = steward.make_iq_set(ifrom=world.jid("juliet"))
        publish = ET.SubElement(ET.SubElement(request.xml, f"{pubsub}pubsub"), f"{pubsub}publish", {"node": "urn:example:stewarded"})
        ET.SubElement(ET.SubElement(publish, f"{pubsub}item", {"id": "1"}), "{urn:example:thing}thing")
        answer = await asyncio.wait_for(privileges.send_privileged_iq(request), STEP)
        equal(answer["type"], "result", "what comes of a publication")
        items = juliet.make_iq_get()
        ET.SubElement(ET.SubElement(items.xml, f"{pubsub}pubsub"), f"{pubsub}items", {"node": "urn:example:stewarded"})
        require((await items.send(timeout=STEP)).xml.find(".//{urn:example:thing}thing") is not None, "juliet has published it")
        forbidden = steward.make_iq_get(ito=world.jid("juliet"), ifrom=f"other@{steward.boundjid.bare}", queryxmlns="jabber:iq:roster")
        try:
            await forbidden.send(timeout=STEP)
            raise Failed("only the component's own address is privileged")
        except IqError as error:
            # slixmpp looks for conditions in the namespace of clients.
            require(error.iq.xml.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}forbidden") is not None, "it is forbidden")


@check("slixmpp component in the server's place: it answers for a namespace, and what it can do is said to be the server's (XEP-0355)")
async def _(world):
    only_martlet(world)
    juliet = await world.client("juliet")

    def request(to):
        return juliet.make_iq_get(ito=to, queryxmlns=Steward.NAMESPACE).send(timeout=STEP)

    await expect_error(request(world.domain), "service-unavailable")
    async with running(world, "steward", Steward) as steward:
        await steward.expect(has("{urn:xmpp:delegation:2}delegation"), "what it answers for")
        for address in (world.domain, world.jid("juliet"), world.jid("romeo"), world.jid("nobody")):
            answer = await request(address)
            served = answer.xml.find(f"{{{Steward.NAMESPACE}}}served")
            require(served is not None, f"{address}: the component has answered")
            equal(served.get("asker"), juliet.boundjid.full, "who has asked")
            equal(answer["from"], address, "who answers")
        await until_true(lambda: said(juliet, world.domain, f"{Steward.NAMESPACE}#nested"), "the domain says what the component can do")
    await expect_error(request(world.domain), "service-unavailable")


async def said(client, address, feature):
    info = await client["xep_0030"].get_info(jid=address, timeout=STEP)
    return feature in info["disco_info"]["features"]


async def until_true(question, what):
    """What the server asks a component when it has connected takes a moment."""
    for _ in range(80):
        if await question():
            return
        await asyncio.sleep(0.1)
    raise Failed(what)


# biboumi


def free_port():
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


@contextlib.contextmanager
def irc_server(folder):
    """An IRC server of the check's own."""
    port = free_port()
    configuration = os.path.join(folder, "ngircd.conf")
    with open(configuration, "w", encoding="utf-8") as file:
        file.write(
            f"[Global]\nName = irc.test\nInfo = Test\nListen = 127.0.0.1\nPorts = {port}\nServerGID = {os.getgid()}\nServerUID = {os.getuid()}\n"
            "[Options]\nDNS = no\nIdent = no\nPAM = no\n[Limits]\nMaxConnectionsIP = 0\nMaxJoins = 0\n"
        )
    with subprocess.Popen(["ngircd", "-n", "-f", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


@contextlib.contextmanager
def biboumi(world, folder):
    configuration = os.path.join(folder, "biboumi.cfg")
    with open(configuration, "w", encoding="utf-8") as file:
        file.write(
            f"hostname=irc.{world.domain}\npassword=irc's secret\nxmpp_server_ip={world.address}\nport={world.component_port}\n"
            f"db_name={folder}/biboumi.sqlite\nlog_level=0\nlog_file={folder}/biboumi.log\npersistent_by_default=false\nidentd_port=0\n"
        )
    with subprocess.Popen(["biboumi", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


class IRCPerson:
    """Somebody who uses an IRC client."""

    async def join(self, port, nickname, channel):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.say(f"NICK {nickname}", f"USER {nickname} 0 * :{nickname}")
        await self.hear(" 001 ")
        self.say(f"JOIN {channel}")
        await self.hear(" 366 ")

    def say(self, *lines):
        for line in lines:
            self.writer.write(f"{line}\r\n".encode())

    async def hear(self, what):
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), STEP)).decode()
            require(line, f"the IRC server has gone before {what!r}")
            if line.startswith("PING"):
                self.say(line.replace("PING", "PONG", 1).strip())
            if what in line:
                return line


async def until(attempt):
    """What comes up takes a moment."""
    for _ in range(80):
        try:
            return await attempt()
        except (IqError, OSError):
            await asyncio.sleep(0.1)
    return await attempt()


@check("biboumi: a channel of an IRC server is a room for our people, both ways")
async def _(world):
    only_martlet(world)
    require(shutil.which("biboumi") and shutil.which("ngircd"), "biboumi and ngircd are missing: scripts/install-packages test")
    with tempfile.TemporaryDirectory() as folder, irc_server(folder) as port, biboumi(world, folder):
        juliet = await world.client("juliet")
        gateway = f"irc.{world.domain}"
        await until(lambda: juliet["xep_0199"].send_ping(gateway, timeout=STEP))
        info = await juliet["xep_0030"].get_info(jid=gateway, timeout=STEP)
        require(any(identity[:2] == ("conference", "irc") for identity in info["disco_info"]["identities"]), "it says that it leads to IRC")
        romeo = IRCPerson()
        await until(lambda: romeo.join(port, "romeo", "#verona"))
        # The port of the server is one of its settings at the gateway.
        server = f"127.0.0.1@{gateway}"
        await configure(juliet, server, {"ports": str(port), "tls_ports": ""})
        room = f"#verona%127.0.0.1@{gateway}"
        presence = juliet.make_presence(pto=f"{room}/juliet")
        presence.xml.append(slixmpp.xmlstream.ET.Element("{http://jabber.org/protocol/muc}x"))
        presence.send()
        await juliet.expect(lambda stanza: isinstance(stanza, slixmpp.Presence) and stanza["from"] == f"{room}/romeo", "romeo in the room")
        body = text()
        juliet.send_message(mto=room, mbody=body, mtype="groupchat")
        require(body in await romeo.hear("PRIVMSG #verona"), "romeo reads what juliet says")
        answer = text()
        romeo.say(f"PRIVMSG #verona :{answer}")
        heard = await juliet.expect(is_message(answer), "what romeo says")
        equal(heard["from"], f"{room}/romeo", "who says it")


async def configure(client, jid, values):
    """Fills in the form of the ad-hoc command 'configure' (XEP-0050)."""
    commands = "http://jabber.org/protocol/commands"
    data = "jabber:x:data"
    ET = slixmpp.xmlstream.ET

    async def run(action, session=None, form=None):
        request = client.make_iq_set(ito=jid)
        command = ET.SubElement(request.xml, f"{{{commands}}}command", {"node": "configure", "action": action})
        if session:
            command.set("sessionid", session)
        if form is not None:
            command.append(form)
        answer = await request.send(timeout=STEP)
        return answer.xml.find(f"{{{commands}}}command")

    first = await run("execute")
    form = first.find(f"{{{data}}}x")
    require(form is not None, "there is a form")
    submitted = ET.Element(f"{{{data}}}x", {"type": "submit"})
    for field in form.findall(f"{{{data}}}field"):
        name = field.get("var")
        if not name:
            continue
        given = [values[name]] if name in values else [value.text or "" for value in field.findall(f"{{{data}}}value")]
        copy = ET.SubElement(submitted, f"{{{data}}}field", {"var": name})
        for value in given:
            ET.SubElement(copy, f"{{{data}}}value").text = value
    await run("complete", first.get("sessionid"), submitted)
