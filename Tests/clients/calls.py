"""Checks of calls: what clients say to each other before there is sound (XEP-0353, XEP-0166), and a relay for the sound (XEP-0215, coturn)."""

import asyncio
import contextlib
import pathlib
import re

from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from harness import STEP, Failed, befriend, check, equal, require
from messages import text

MESSAGE = "urn:xmpp:jingle-message:0"
JINGLE = "urn:xmpp:jingle:1"
ICE = "urn:xmpp:jingle:transports:ice-udp:1"
SERVICES = "urn:xmpp:extdisco:2"
REPOSITORY = pathlib.Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def relay(world):
    """coturn with the secret that the server has, where the server says that it is."""
    folder = pathlib.Path(world.folder)
    script = f'. scripts/lib/calls.sh; turn_configuration "$1" {world.domain} "$1/turn.secret" {world.turn_port} {world.address}'
    made = await asyncio.create_subprocess_exec("bash", "-c", script, "-", folder, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)
    configuration = folder / "turnserver.conf"
    configuration.write_bytes((await made.communicate())[0])
    process = await asyncio.create_subprocess_exec(
        "turnserver", "-c", configuration, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.wait_for(listening(world.turn_port), STEP)
        yield
    finally:
        process.terminate()
        await process.wait()


async def listening(port):
    """Its port is among the system's, in hexadecimal digits."""
    while f":{port:04X} " not in pathlib.Path("/proc/net/udp").read_text():
        await asyncio.sleep(0.05)


async def credentials(client):
    iq = client.make_iq_get(ito=client.boundjid.domain)
    iq.xml.append(ET.Element(f"{{{SERVICES}}}services", {"type": "turn"}))
    answer = await iq.send(timeout=STEP)
    service = answer.xml.find(f"{{{SERVICES}}}services/{{{SERVICES}}}service")
    require(service is not None, "no TURN server is told of")
    return service


async def sound(service, password):
    """Packets by way of the relay and back, with coturn's own client: what it says, and its address at the relay if all have come back."""
    process = await asyncio.create_subprocess_exec(
        *("turnutils_uclient", "-v", "-y", "-c", "-n", "20", "-m", "2", "-u", service.get("username"), "-w", password),
        *("-p", service.get("port"), service.get("host")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = (await asyncio.wait_for(process.communicate(), 15))[0].decode(errors="replace")
    except asyncio.TimeoutError:
        process.kill()
        raise Failed("the relay does not answer") from None
    passed = "tot_send_msgs=40, tot_recv_msgs=40" in said
    return said, re.search(r"Received relay addr: ([\d.]+):(\d+)", said) if passed else None


@check("slixmpp and coturn: a call is offered and taken, and the relay of the server's credentials passes sound (XEP-0353, XEP-0215)", only="martlet")
async def _(world):
    romeo = await world.client("romeo", "phone")
    juliet = await world.client("juliet", "phone")
    await befriend(world, romeo, juliet)
    call = text().replace(" ", "-")

    def offer(to, name):
        message = romeo.make_message(mto=to, mtype="chat")
        element = ET.SubElement(message.xml, f"{{{MESSAGE}}}{name}", {"id": call})
        ET.SubElement(element, "{urn:xmpp:jingle:apps:rtp:1}description", {"media": "audio"})
        ET.SubElement(message.xml, "{urn:xmpp:hints}store")
        return message

    def is_about_call(name):
        return lambda stanza: stanza.xml.find(f"{{{MESSAGE}}}{name}") is not None and stanza.xml.find(f"{{{MESSAGE}}}{name}").get("id") == call

    offer(juliet.boundjid.bare, "propose").send()
    ringing = await juliet.expect(is_about_call("propose"), "the call")
    answer = juliet.make_message(mto=ringing["from"], mtype="chat")
    ET.SubElement(answer.xml, f"{{{MESSAGE}}}proceed", {"id": call})
    answer.send()
    taken = await romeo.expect(is_about_call("proceed"), "that she takes it")
    equal(taken["from"], juliet.boundjid, "who takes the call")

    async with relay(world):
        service = await credentials(romeo)
        said, address = await sound(service, service.get("password"))
        require(address is not None, f"not all has passed by way of the relay: {said[-1500:]}")
        _, wrong = await sound(service, service.get("password") + "x")
        require(wrong is None, "a wrong password relays as well")

    iq = romeo.make_iq_set(ito=juliet.boundjid)
    jingle = ET.SubElement(iq.xml, f"{{{JINGLE}}}jingle", {"action": "session-initiate", "sid": call, "initiator": str(romeo.boundjid)})
    content = ET.SubElement(jingle, f"{{{JINGLE}}}content", {"creator": "initiator", "name": "voice"})
    transport = ET.SubElement(content, f"{{{ICE}}}transport", {"ufrag": "8hhy", "pwd": "asd88fgpdd777uzjYhagZg"})
    ET.SubElement(
        transport,
        f"{{{ICE}}}candidate",
        {"component": "1", "foundation": "1", "generation": "0", "id": "r", "ip": address[1], "port": address[2], "priority": "1", "protocol": "udp", "type": "relay"},
    )
    begun = None

    def take(stanza):
        nonlocal begun
        begun = stanza
        stanza.reply(clear=True).send()

    juliet.register_handler(Callback("jingle", MatchXPath(f"{{jabber:client}}iq/{{{JINGLE}}}jingle"), take))
    await iq.send(timeout=STEP)
    candidate = begun.xml.find(f".//{{{ICE}}}candidate")
    equal((candidate.get("ip"), candidate.get("port")), (address[1], address[2]), "where the sound comes by")
