"""Checks of rooms (XEP-0045) with nbxmpp, the library of Gajim, on one side and slixmpp on the other."""

import asyncio
import contextlib
import json
import tempfile

import slixmpp

from harness import STEP, Failed, check, equal, is_message, is_presence, require
from messages import text
from rooms import configure, enter, new_room, occupant, person, room_of, say, service

PYTHON = "/usr/bin/python3"  # python3-nbxmpp is a package of the system


class Person:
    """A process with nbxmpp: told what to do, and asked for what it saw."""

    def __init__(self, process):
        self.process, self.seen, self.complaints = process, [], []

    def do(self, *command):
        self.process.stdin.write(json.dumps([str(word) if isinstance(word, slixmpp.JID) else word for word in command]).encode() + b"\n")

    async def expect(self, event, **values):
        """The oldest of what was seen that has these values; it and nothing else is forgotten."""

        def matches(each):
            return each["event"] == event and all(each.get(name) == value for name, value in values.items())

        try:
            async with asyncio.timeout(STEP):
                while not any(matches(each) for each in self.seen):
                    await self.read()
        except TimeoutError:
            raise Failed(f"nbxmpp did not see {event} {values} within {STEP:.0f} s. Last seen: {self.seen[-4:]}") from None
        return self.seen.pop(next(index for index, each in enumerate(self.seen) if matches(each)))

    async def read(self):
        line = await self.process.stdout.readline()
        require(line, f"nbxmpp ended. Last seen: {self.seen[-4:]}")
        seen = json.loads(line)
        (self.complaints if seen["event"] == "complaint" else self.seen).append(seen)

    async def enter(self, room, nickname, password=None):
        """The own presence."""
        self.do("join", room, nickname, password)
        return await self.expect("presence", sender=occupant(room, nickname), own=True)


@contextlib.asynccontextmanager
async def nbxmpp(world, name="mercutio"):
    """Somebody who is logged in. Fails if the library found anything wrong with what came."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(
            {"domain": world.domain, "name": name, "password": world.passwords[name], "address": world.address, "port": world.port,
             "certificate": world.certificate}, file)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            PYTHON, "Tests/clients/nbxmpp_person.py", file.name, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL)
        try:
            somebody = Person(process)
            await somebody.expect("login")
            yield somebody
            somebody.do("ping", world.domain)
            equal((await somebody.expect("pong"))["error"], None, "the answer to a ping")
            equal(somebody.complaints, [], "what nbxmpp complains about")
            process.stdin.close()
            await somebody.expect("end")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@check("nbxmpp: rooms: makes a room, configures it with its own form, and learns what it is by disco (XEP-0045 §10.1)")
async def _(world):
    room = new_room(world)
    async with nbxmpp(world) as mercutio:
        own = await mercutio.enter(room, "Queen Mab")
        require({"110", "201"} <= set(own["codes"]), f"codes: {own['codes']}")
        equal((own["affiliation"], own["role"]), ("owner", "moderator"), "who made it")
        mercutio.do("configure", room, {"muc#roomconfig_roomname": "Dreams & <more>", "muc#roomconfig_persistentroom": True})
        equal((await mercutio.expect("configured"))["error"], None, "the answer to the configuration")
        mercutio.do("configuration", room)
        fields = (await mercutio.expect("configuration"))["fields"]
        equal((fields["muc#roomconfig_roomname"], fields["muc#roomconfig_persistentroom"]), ("Dreams & <more>", True), "what is configured")
        mercutio.do("info", room)
        info = await mercutio.expect("info")
        equal((info["name"], info["persistent"], info["open"], info["archive"]), ("Dreams & <more>", True, True, True), "what the room is")
        mercutio.do("destroy", room, f"orchard@{service(world)}")
        end = await mercutio.expect("presence", destroyed=True)
        equal((end["kind"], end["venue"]), ("unavailable", f"orchard@{service(world)}"), "the end of the room")
        equal((await mercutio.expect("destroyed"))["error"], None, "the answer")


@check("nbxmpp: rooms: enters, hears what was said and what is, says something, sets the subject, and leaves (§7)")
async def _(world):
    room, romeo = await room_of(world, "romeo")
    before = say(romeo, room)
    async with nbxmpp(world) as mercutio:
        own = await mercutio.enter(room, "Queen Mab")
        other = await mercutio.expect("presence", sender=occupant(room, "romeo"))
        equal((other["affiliation"], other["role"], other["room"]), ("owner", "moderator", True), "who is there")
        history = await mercutio.expect("message", body=before)
        equal((history["delayed"], history["sender"], history["room"]), (True, occupant(room, "romeo"), True), "history")
        await mercutio.expect("message", subject="")
        said = text()
        mercutio.do("say", room, said)
        await romeo.expect(is_message(said, occupant(room, "Queen Mab"), "groupchat"), "what it says")
        heard = await mercutio.expect("message", body=said)
        equal((heard["occupant"], [by for _, by in heard["ids"]]), (own["occupant"], [room]), "its own message")
        answer = say(romeo, room)
        equal((await mercutio.expect("message", body=answer))["delayed"], False, "what is said now")
        await configure(romeo, room, changesubject=True)
        require("104" in (await mercutio.expect("message", sender=str(room), body=None, subject=None))["codes"], "a changed configuration is not told")
        mercutio.do("subject", room, "Dreams")
        await mercutio.expect("message", subject="Dreams")
        mercutio.do("leave", room, "Queen Mab")
        equal((await mercutio.expect("presence", own=True))["kind"], "unavailable", "its own presence")
        await romeo.expect(is_presence(occupant(room, "Queen Mab"), "unavailable"), "the end of its presence")


@check("nbxmpp: rooms: private messages and invitations of both kinds are what they are (§7.5, §7.8, XEP-0249)")
async def _(world):
    room, romeo = await room_of(world, "romeo")
    async with nbxmpp(world) as mercutio:
        romeo.plugin["xep_0045"].invite(room, world.jid("mercutio"), "a ball")
        invitation = await mercutio.expect("message", invited_to=room)
        equal((invitation["direct"], invitation["reason"]), (False, "a ball"), "the invitation through the room")
        romeo.plugin["xep_0249"].send_invitation(world.jid("mercutio"), room, reason="a ball")
        invitation = await mercutio.expect("message", invited_to=room, direct=True)
        equal(invitation["invited_by"], romeo.boundjid.full, "who invites directly")
        await mercutio.enter(room, "Queen Mab")
        body = text()
        romeo.send_message(mto=occupant(room, "Queen Mab"), mbody=body, mtype="chat")
        message = await mercutio.expect("message", body=body)
        equal((message["private"], message["sender"]), (True, occupant(room, "romeo")), "a private message")
        mercutio.do("say", occupant(room, "romeo"), body, "chat")
        await romeo.expect(is_message(body, occupant(room, "Queen Mab"), "chat"), "the answer")
        juliet = await person(world, "juliet")
        for direct in (False, True):
            mercutio.do("invite", room, world.jid("juliet"), direct)
            sender = world.jid("mercutio") + "/nbxmpp" if direct else room
            await juliet.expect(is_message(sender=sender), "its invitation")


@check("nbxmpp: rooms: an owner gives and lists affiliations, and kicks; who is kicked learns by whom and why (§8.2, §9)")
async def _(world):
    room = new_room(world)
    juliet = await person(world, "juliet")
    async with nbxmpp(world) as mercutio:
        await mercutio.enter(room, "Queen Mab")
        mercutio.do("configure", room, {})
        equal((await mercutio.expect("configured"))["error"], None, "the answer to the configuration")
        await enter(juliet, room, "juliet")
        await mercutio.expect("presence", sender=occupant(room, "juliet"), affiliation="none")
        mercutio.do("affiliation", room, world.jid("juliet"), "member")
        equal((await mercutio.expect("affiliation"))["error"], None, "the answer to the affiliation")
        told = await mercutio.expect("presence", sender=occupant(room, "juliet"), affiliation="member")
        equal(told["reason"], "so it is", "reason")
        mercutio.do("affiliations", room, "member")
        equal((await mercutio.expect("affiliations"))["accounts"], [world.jid("juliet")], "members")
        mercutio.do("kick", room, "juliet")
        told = await mercutio.expect("presence", sender=occupant(room, "juliet"), kind="unavailable")
        equal((told["codes"], told["reason"], told["actor"]), (["307"], "avaunt", "Queen Mab"), "what is told of a kick")
        mercutio.do("affiliation", room, world.jid("mercutio"), "none")
        equal((await mercutio.expect("affiliation"))["error"], "conflict", "the only owner")


@check("nbxmpp: rooms: who may not enter is told why (§7.2)")
async def _(world):
    room, romeo = await room_of(world, "romeo", passwordprotectedroom=True, roomsecret="sesame")
    async with nbxmpp(world) as mercutio:
        mercutio.do("join", room, "romeo", "sesame")
        refusal = await mercutio.expect("presence", sender=occupant(room, "romeo"))
        equal((refusal["kind"], refusal["error"], refusal["room"]), ("error", "conflict", True), "a nickname of somebody else")
        mercutio.do("join", room, "Queen Mab")
        refusal = await mercutio.expect("presence", sender=occupant(room, "Queen Mab"))
        equal((refusal["kind"], refusal["error"], refusal["room"]), ("error", "not-authorized", True), "without the password")
        await mercutio.enter(room, "Queen Mab", "sesame")
