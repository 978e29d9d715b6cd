"""Checks of files that clients exchange: by way of the server's proxy (XEP-0065), and as links (XEP-0066)."""

import asyncio
import os

from slixmpp.xmlstream import ET

from harness import STEP, befriend, check, equal, is_message, require
from messages import text

OOB = "jabber:x:oob"


@check("slixmpp: a file goes by way of the server's proxy, which the client finds by itself (XEP-0065)", only="martlet")
async def _(world):
    romeo = await world.client("romeo", "phone")
    juliet = await world.client("juliet", "phone")
    await befriend(world, romeo, juliet)
    for client in (romeo, juliet):
        client.register_plugin("xep_0065", {"auto_accept": True})
    content = os.urandom(1 << 20)
    received = bytearray()
    whole = asyncio.get_running_loop().create_future()

    def take(data):
        received.extend(data)
        if len(received) >= len(content) and not whole.done():
            whole.set_result(None)

    juliet.add_event_handler("socks5_data", take)
    stream = await asyncio.wait_for(romeo.plugin["xep_0065"].handshake(juliet.boundjid.full), STEP)
    require(stream is not None, "there is no stream")
    await stream.write(content)
    await asyncio.wait_for(whole, STEP)
    equal(bytes(received), content, "what has arrived")
    stream.transport.close()


@check("slixmpp: a link to a file arrives as it was sent (XEP-0066)")
async def _(world):
    romeo = await world.client("romeo")
    juliet = await world.client("juliet", "chamber")
    await befriend(world, romeo, juliet)
    body = text()
    message = romeo.make_message(mto=juliet.boundjid.bare, mbody=body, mtype="chat")
    x = ET.SubElement(message.xml, f"{{{OOB}}}x")
    ET.SubElement(x, f"{{{OOB}}}url").text = "https://files.example/a.png"
    message.send()
    seen = await juliet.expect(is_message(body), "the message")
    equal(seen.xml.findtext(f"{{{OOB}}}x/{{{OOB}}}url"), "https://files.example/a.png", "the link")
