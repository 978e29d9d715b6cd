"""A domain whose accounts are in a directory: the server follows OpenLDAP's, whose own tools change what is in it while people log in."""

import asyncio
import base64
import contextlib
import hashlib
import time

from binding import SASL, Connection, condition
from harness import STEP, World, check, equal, require
from messages import go_sendxmpp, result_of
from operations import Server
from slapd import PEOPLE, SERVICE, SERVICE_PASSWORD, Relay, Slapd, finished, named, person, replaced, stored_keys

DOMAIN = "example.org"
SOON = 2.0  # seconds within which a change of the directory counts, if no other program is in its way
RETURN = 35.0  # seconds after which a directory that is back is followed again
SCRAM, PLAIN = "SCRAM", "PLAIN"  # with the hash of the directory's own keys


class FollowingServer(Server):
    """A martlet whose one domain is in a directory, in a folder that goes with it."""

    def __init__(self, world, directory, url=None, more="", password=SERVICE_PASSWORD, **options):
        super().__init__(world, MARTLET_AUTHENTICATION_TRIES_PER_STREAM="20", **options)
        self.domain, self.directory = DOMAIN, directory
        secret = self.folder / "directory.password"
        secret.touch(mode=0o600)
        secret.write_text(password + "\n")
        self.configuration.write_text(
            self.configuration.read_text().replace("verona.test", DOMAIN)
            + f"directories:\n  - domain: {DOMAIN}\n    servers: ['{url or directory.url}']\n    start-tls: 'off'\n    hashes: [SCRAM-{directory.hash_name}]\n"
            f"    log-in: {{name: '{SERVICE}', password-file: {secret}}}\n"
            f"    people: {{base: '{PEOPLE}', filter: '(&(objectClass=xmppUser)(xmppEnabled=TRUE))'}}\n{more}")

    async def add_accounts(self):
        """The directory has them."""

    def world(self, port=None):
        certificate = str(self.folder / "data" / "certificates" / f"{DOMAIN}.pem")
        world = World("127.0.0.1", port or self.port, 0, DOMAIN, certificate, "", {}, [], "martlet", "")
        world.hash_name = self.directory.hash_name
        return world

    async def asked(self, *words):
        """What a command says, and how it ends."""
        return await finished(self.binary, "directory", *words, "--config", self.configuration, env=self.environment)

    async def status(self, wanted, seconds=STEP):
        """Returns when the state of the directory is like this; what was said of it."""
        said = ""

        async def is_there():
            nonlocal said
            _, said = await self.asked("status")
            return wanted in said

        await comes_true(is_there, lambda: f"{wanted!r}; its state is: {said}", seconds)
        return said

    async def explain(self, name):
        status, said = await self.asked("explain", f"{name}@{DOMAIN}")
        equal(status, 0, f"explain {name}: {said}: status")
        return said


@contextlib.asynccontextmanager
async def followed(world, make=Slapd, passwords=None, **options):
    """The directory, the server that follows it, and the place for clients: alice, bob and carol are there, and have these passwords."""
    async with make(world) as directory:
        for name, password in (passwords or {}).items():
            await directory.set_password(name, password)
        async with FollowingServer(world, directory, **options) as server:
            place = server.world()
            place.passwords |= passwords or {}
            await server.status("followed")
            try:
                yield directory, server, place
            finally:
                for client in place.clients:
                    client.abort()


async def comes_true(attempt, what, seconds=STEP):
    """Tries until it is so; the last try begins so many seconds after the first. How long it took."""
    begin = time.monotonic()
    while True:
        elapsed = time.monotonic() - begin
        if await attempt():
            return elapsed
        require(elapsed < seconds, f"waited {elapsed:.1f} s for {what() if callable(what) else what}")
        await asyncio.sleep(0.05)


def are_soon(took, seconds=SOON):
    """Other programs may be in the way of a change: the fastest of several was in nobody's."""
    require(min(took) < seconds, f"each change takes longer than {seconds:.0f} s until it counts: {', '.join(f'{each:.1f} s' for each in took)}")


async def log_in(place, name, password, mechanism=SCRAM):
    """How a log-in fails, or None, and how many seconds it took from the first word of it."""
    async with Connection(place, "starttls", "-tls1_3") as connection:
        begin = time.monotonic()
        if mechanism == PLAIN:
            response = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
            connection.write(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{response}</auth>")
            answer = await connection.hear(r"<(success|failure) (?:[^>]*/>|[^>]*>(.*?)</\1>)")
            failure = None if answer[1] == "success" else condition(answer[2])
        else:
            failure = await connection.authenticate(place.hash_name, "n", name=name, password=password)
        return failure, time.monotonic() - begin


async def ends(place, name, password, wanted, mechanism=SCRAM, seconds=STEP):
    """Returns when a log-in ends like this: with a condition, or None. How long it took."""
    seen = None

    async def is_so():
        nonlocal seen
        seen, _ = await log_in(place, name, password, mechanism)
        return seen == wanted

    return await comes_true(is_so, lambda: f"{name}'s {mechanism} to end with {wanted}; it ends with {seen}", seconds)


async def at_once(place, name, password, wanted, mechanism=SCRAM):
    equal((await log_in(place, name, password, mechanism))[0], wanted, f"{name}'s {mechanism}")


async def online(place, name, **options):
    """A whole client, which says how its stream ended."""
    client = await place.client(name, **options)
    client.stream_errors = []
    client.add_event_handler("stream_error", lambda error: client.stream_errors.append(error["condition"]))
    return client


async def is_out(client, wanted, what):
    """Returns when the stream has ended with that error. How long it took."""
    begin = time.monotonic()
    try:
        await asyncio.wait_for(client.ended.wait(), STEP)
    except asyncio.TimeoutError:
        require(False, f"the stream goes on {time.monotonic() - begin:.1f} s after {what}")
    equal(client.stream_errors, [wanted], f"the end of the stream after {what}")
    return time.monotonic() - begin


def directory_checks(make):
    """The same for each kind of directory: what it has, and what becomes of it, is what the server says."""
    kind = make.title

    @check(f"{kind}: who is added logs in two seconds later, who is disabled is out, and is in again (RFC 4533)", only="martlet")
    async def _(world):
        async with followed(world, make) as (directory, server, place):
            await at_once(place, "dave", "davepw", "not-authorized")
            await directory.add(person("dave"))
            await directory.set_password("dave", "davepw")
            added = await ends(place, "dave", "davepw", None)
            process = await go_sendxmpp(place, "dave", "starttls", place.jid("alice"), password="davepw")
            equal((await result_of(process, b"hi"))[0], 0, "go-sendxmpp")
            dave = await online(place, "dave", password="davepw")
            await directory.modify(replaced("dave", xmppEnabled="FALSE"))
            disabled = await is_out(dave, "not-authorized", "the account was disabled")
            for mechanism in (SCRAM, PLAIN):
                await at_once(place, "dave", "davepw", "not-authorized", mechanism)
            await directory.modify(replaced("dave", xmppEnabled="TRUE"))
            enabled = await ends(place, "dave", "davepw", None)
            dave = await online(place, "dave", password="davepw")
            await directory.delete(named("dave"))
            deleted = await is_out(dave, "not-authorized", "the entry was deleted")
            await at_once(place, "dave", "davepw", "not-authorized")
            are_soon([added, enabled])
            are_soon([disabled, deleted])

    @check(f"{kind}: a new password counts two seconds later, the old one does not, and who came in by it is out", only="martlet")
    async def _(world):
        async with followed(world, make, {"alice": "alicepw"}) as (directory, server, place):
            for mechanism in (SCRAM, PLAIN):
                await ends(place, "alice", "alicepw", None, mechanism)
                await at_once(place, "alice", "wrong", "not-authorized", mechanism)
                await at_once(place, "alice", "", "not-authorized" if mechanism == SCRAM else "malformed-request", mechanism)
            bob = await server.explain("bob")
            require("no keys" in bob, f"bob has no password: {bob}")
            took = []
            for old, new in (("alicepw", "capulet"), ("capulet", "montague")):
                alice = await online(place, "alice", password=old)
                await directory.set_password("alice", new)
                took.append(await is_out(alice, "reset", "the password was changed"))
                await ends(place, "alice", new, None)
                for mechanism in (SCRAM, PLAIN):
                    await at_once(place, "alice", old, "not-authorized", mechanism)
                    await at_once(place, "alice", new, None, mechanism)
            are_soon(took)

    @check(f"{kind}: a person without keys logs in by a bind, and only by PLAIN; one with authPassword by SCRAM (RFC 5803)", only="martlet")
    async def _(world):
        async with followed(world, make) as (directory, server, place):
            await directory.add(person("dave", f"userPassword: {salted_hash('davepw')}\n"))
            await ends(place, "dave", "davepw", None, PLAIN)
            await at_once(place, "dave", "davepw", "not-authorized")
            await at_once(place, "dave", "wrong", "not-authorized", PLAIN)
            require("by a bind" in await server.explain("dave"), "what is said of keys")
            await directory.add(person("erin", f"authPassword: {stored_keys('erinpw', place.hash_name)}\n"))
            await ends(place, "erin", "erinpw", None)
            await at_once(place, "erin", "wrong", "not-authorized")
            await at_once(place, "erin", "erinpw", None, PLAIN)
            require(f"SCRAM-{place.hash_name}" in await server.explain("erin"), "what is said of keys")

    @check(f"{kind}: while it hangs, keys let people in as fast as ever, a bind is a temporary failure, and then all is well again", only="martlet")
    async def _(world):
        async with followed(world, make, {"alice": "alicepw"}) as (directory, server, place):
            await directory.add(person("dave", f"userPassword: {salted_hash('davepw')}\n"))
            await ends(place, "dave", "davepw", None, PLAIN)
            await ends(place, "alice", "alicepw", None)
            directory.freeze()
            took = []
            for _ in range(5):
                failure, seconds = await log_in(place, "alice", "alicepw")
                equal(failure, None, "SCRAM while it hangs")
                took.append(seconds)
            # Other programs may be in its way; the fastest was in nobody's.
            require(min(took) < 0.1, f"SCRAM takes {min(took):.3f} s while it hangs")
            failure, seconds = await log_in(place, "dave", "davepw", PLAIN)
            equal(failure, "temporary-auth-failure", "PLAIN while it hangs")
            require(seconds < STEP, f"PLAIN takes {seconds:.1f} s while it hangs")
            await at_once(place, "alice", "wrong", "not-authorized")
            alice = await online(place, "alice")
            directory.thaw()
            await ends(place, "dave", "davepw", None, PLAIN, RETURN)
            await directory.modify(replaced("alice", xmppEnabled="FALSE"))
            await is_out(alice, "not-authorized", "the account was disabled")

    @check(f"{kind}: one that has hung for a minute is missed, and followed again within 35 seconds", only="martlet", beside=True)
    async def _(world):
        async with followed(world, make, {"alice": "alicepw"}) as (directory, server, place):
            directory.freeze()
            await server.status("lost since", 40)
            await ends(place, "alice", "alicepw", None)
            # It fails to answer at each new attempt.
            await asyncio.sleep(15)
            directory.thaw()
            await server.status("followed", RETURN)
            await directory.add(person("dave"))
            await directory.set_password("dave", "davepw")
            await ends(place, "dave", "davepw", None)

    @check(f"{kind}: killed and started again, it is followed again, and who was deleted meanwhile is out (RFC 4533 §3.3.2)", only="martlet", beside=True)
    async def _(world):
        async with followed(world, make, {"alice": "alicepw", "bob": "bobpw"}) as (directory, server, place):
            await directory.add(person("dave"))
            await directory.set_password("dave", "davepw")
            await ends(place, "dave", "davepw", None)
            dave, alice = await online(place, "dave", password="davepw"), await online(place, "alice")
            await directory.kill()
            await server.status("lost since")
            await at_once(place, "dave", "davepw", None)

            async def change():
                await directory.delete(named("dave"))
                await directory.add(person("erin"))
                await directory.set_password("erin", "erinpw")

            await directory.while_nobody_looks(change())
            await server.status("followed", RETURN)
            await is_out(dave, "not-authorized", "the entry was deleted")
            await at_once(place, "dave", "davepw", "not-authorized")
            await ends(place, "erin", "erinpw", None)
            require(not alice.ended.is_set(), f"alice is out: {alice.stream_errors}")

    @check(f"{kind}: what happened while the connection to it was broken is found out when it is back (RFC 4533 §3.3.1)", only="martlet")
    async def _(world):
        async with make(world) as directory, Relay(directory) as relay:
            await directory.set_password("alice", "alicepw")
            await directory.set_password("bob", "bobpw")
            async with FollowingServer(world, directory, url=relay.url) as server:
                place = server.world()
                place.passwords |= {"alice": "alicepw", "bob": "bobpw"}
                await server.status("followed")
                try:
                    alice, bob = await online(place, "alice"), await online(place, "bob")
                    await relay.cut()
                    await server.status("lost since")
                    await directory.delete(named("alice"))
                    await directory.add(person("dave"))
                    await directory.set_password("dave", "davepw")
                    await relay.open()
                    await server.status("followed", RETURN)
                    await is_out(alice, "not-authorized", "the entry was deleted")
                    await ends(place, "dave", "davepw", None)
                    require(not bob.ended.is_set(), f"bob is out: {bob.stream_errors}")
                finally:
                    for client in place.clients:
                        client.abort()

    @check(f"{kind}: the server starts without it: nobody is told that his password is wrong; when it is back, all log in", only="martlet")
    async def _(world):
        async with followed(world, make, {"alice": "alicepw"}) as (directory, server, place):
            await ends(place, "alice", "alicepw", None)
            await server.stop()
            await directory.kill()
            await server.start()
            await server.status("lost since")
            for mechanism in (SCRAM, PLAIN):
                for name, password in (("alice", "alicepw"), ("alice", "wrong"), ("nobody", "alicepw")):
                    await at_once(place, name, password, "temporary-auth-failure", mechanism)
            await directory.start()
            await server.status("followed", RETURN)
            await at_once(place, "alice", "alicepw", None)
            await at_once(place, "nobody", "alicepw", "not-authorized")

    @check(f"{kind}: a session goes on after a restart of the server: nobody's password has changed meanwhile (XEP-0198 §5)", only="martlet")
    async def _(world):
        async with followed(world, make, {"alice": "alicepw"}) as (directory, server, place):
            alice = await online(place, "alice", stream_management=True)
            await alice.fence()
            await alice.break_connection()
            await server.stop()
            await server.start()
            await alice.resume()
            await server.status("followed")
            # A change that is heard of comes after all that the first look has found.
            await directory.add(person("dave"))
            await directory.set_password("dave", "davepw")
            await ends(place, "dave", "davepw", None)
            await alice.fence()
            changed = [line for line in server.text().splitlines() if "password changed" in line and place.jid("alice") in line]
            equal(changed, [], "passwords that are taken for new ones")

    @check(f"{kind}: accounts that all vanish at once stay until an operator says so (martlet directory sync --confirm)", only="martlet", beside=True)
    async def _(world):
        async with followed(world, make) as (directory, server, place):
            crew = [f"crew{number}" for number in range(20)]
            await directory.add(*[person(name) for name in crew])
            await directory.set_password(crew[0], "crewpw")
            await ends(place, crew[0], "crewpw", None)
            sailor = await online(place, crew[0], password="crewpw")
            await directory.kill()
            await server.status("lost since")
            await directory.while_nobody_looks(directory.delete(*map(named, crew)))
            said = await server.status("held back", RETURN)
            require("20 accounts held back" in said and f"directory sync {DOMAIN} --confirm" in said, f"what is said: {said}")
            equal((await server.asked("status"))[0], 1, "the status of status")
            await at_once(place, crew[0], "crewpw", None)
            equal((await server.asked("sync", DOMAIN))[0], 64, "the status of sync without --confirm")
            equal(await server.asked("sync", DOMAIN, "--confirm"), (0, ""), "sync")
            await is_out(sailor, "not-authorized", "it was confirmed")
            await at_once(place, crew[0], "crewpw", "not-authorized")
            require("held back" not in await server.status("followed"), "accounts are held back still")

    @check(f"{kind}: status and explain say whose entry an account is, and why somebody is kept out", only="martlet")
    async def _(world):
        async with followed(world, make, {"alice": "alicepw"}) as (directory, server, place):
            said = await server.status("followed")
            require(f"{DOMAIN}  followed" in said and "3 people" in said and "127.0.0.1" in said, f"what is said: {said}")
            equal((await server.asked("status"))[0], 0, "the status of status")
            alice = await server.explain("alice")
            for word in ("may come in", named("alice"), "UUID", f"SCRAM-{place.hash_name}"):
                require(word in alice, f"{word} is not said of alice: {alice}")
            require("nobody" in await server.explain("nobody"), "what is said of nobody")
            # The name of one entry, and the address of another.
            await directory.add(person("carla").replace("carla@", "carol@"))

            async def is_contested():
                return "several entries" in await server.explain("carol")

            await comes_true(is_contested, "the word of two entries")
            await at_once(place, "carol", "carolpw", "not-authorized")
            await directory.delete(named("carla"))

            async def is_carols():
                return "may come in" in await server.explain("carol")

            await comes_true(is_carols, "carol's address to be hers again")
            status, said = await server.asked("explain", "alice@elsewhere.org")
            require(status != 0 and "in no directory" in said, f"of another domain: {said}")

    @check(f"{kind}: names that mean something to filters are names", only="martlet")
    async def _(world):
        async with followed(world, make, {"alice": "alicepw", "carol": "carolpw"}) as (directory, server, place):
            for name in ("carol*)(uid=*", "*", "carol)(objectClass=*", "c\\2a", "uid=carol", "alice\\00"):
                escaped = name.replace("=", "=3D").replace(",", "=2C")
                await at_once(place, escaped, "carolpw", "not-authorized")
                failure, _ = await log_in(place, name, "carolpw", PLAIN)
                require(failure in ("not-authorized", "malformed-request"), f"{name}: {failure}")
            await at_once(place, "carol", "carolpw", None)

    @check(f"{kind}: a server that the directory does not let in says so, and refuses for the time being", only="martlet")
    async def _(world):
        async with make(world) as directory:
            await directory.set_password("alice", "alicepw")
            async with FollowingServer(world, directory, password="wrong") as server:
                await server.status("not read yet")
                await server.status("result 49")
                equal((await server.asked("status"))[0], 1, "the status of status")
                place = server.world()
                for mechanism in (SCRAM, PLAIN):
                    await at_once(place, "alice", "alicepw", "temporary-auth-failure", mechanism)
                    await at_once(place, "nobody", "alicepw", "temporary-auth-failure", mechanism)


def salted_hash(password, salt=b"salt"):
    """What a directory keeps that serves for nothing but a bind."""
    return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()


directory_checks(Slapd)
