"""Checks of presence for directory clients: OpenLDAP's tools, python3-ldap3 and Postfix see what people say of themselves in their chat clients, before
OpenLDAP's server (directory-clients.directory) and without one."""

import contextlib
import json
import pathlib

from directory import FollowingServer, are_soon, comes_true
from harness import STEP, befriend, check, equal, require
from operations import PASSWORD, Server, free_ports
from slapd import PEOPLE, SERVICE, SERVICE_PASSWORD, SUFFIX, Slapd, finished, named, replaced, stored_keys

STATUS = "In a meeting until 11:30"
PRESENCE = ("xmppPresence", "xmppShow", "xmppStatus", "xmppPresenceText", "xmppPriority", "xmppLastActivity")
POSTMAP, POSTFIX_LDAP = pathlib.Path("/usr/sbin/postmap"), pathlib.Path("/usr/lib/postfix/postfix-ldap.so")

LDAP3 = """
import json, sys, ldap3
port, name, password, base, filter = sys.argv[1:]
server = ldap3.Server("127.0.0.1", port=int(port), get_info=ldap3.ALL)
c = ldap3.Connection(server, name, password, auto_bind=True)
c.search(base, filter, attributes=["xmppStatus"])
print(json.dumps({"schema": "xmppShow" in server.schema.attribute_types, "status": [str(entry.xmppStatus) for entry in c.entries]}))
"""


class Found:
    def __init__(self, status, output):
        self.status, self.output = status, output

    def values(self, attribute):
        """In the order of the entries."""
        return [line.partition(": ")[2] for line in self.output.splitlines() if line.startswith(f"{attribute}: ")]


async def run(*words):
    return Found(*await finished(*words))


def admit_directory_clients(server, settings, presence=""):
    """Their port, which it has from its next start on, with these settings for them, and of the presence of its domain."""
    port, = free_ports(1)
    text = server.configuration.read_text()
    text = text.replace(f"{{name: {server.domain}}}", f"{{name: {server.domain}, presence: {{{presence}}}}}")
    text = text.replace("listeners:\n", f"listeners:\n  - {{kind: ldap, port: {port}, addresses: [127.0.0.1]}}\n")
    server.configuration.write_text(f"{text}directory-clients: {{{settings}}}\n")
    return port


class Place:
    """A server with a port for directory clients, and who can log in there."""

    def __init__(self, server, port, base, names, passwords, directory=None):
        self.server, self.port, self.base, self.directory = server, port, base, directory
        self.names, self.passwords = names, passwords
        self.url = f"ldap://127.0.0.1:{port}"
        self.world = server.world()
        self.world.passwords = passwords

    async def client(self, name):
        return await self.world.client(name, mechanism="PLAIN")

    async def search(self, name, filter, *attributes, more=(), password=None, url=None):
        bind = () if name is None else ("-D", self.names.get(name, name), "-w", password or self.passwords.get(name, "?"))
        return await run("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", url or self.url, "-b", self.base, *bind, *more, filter, *attributes)


@contextlib.asynccontextmanager
async def place_of(*place):
    place = Place(*place)
    try:
        yield place
    finally:
        await place.world.close_all()


@contextlib.asynccontextmanager
async def overlay(world):
    """Before a directory that lets its people in by SCRAM as well."""
    passwords = {name: f"{name}pw" for name in ("alice", "bob", "carol")}
    async with Slapd(world) as directory:
        for name, password in passwords.items():
            await directory.set_password(name, password)
        await directory.modify(*[replaced(name, authPassword=stored_keys(password)) for name, password in passwords.items()])
        server = FollowingServer(world, directory)
        port = admit_directory_clients(
            server, f"directory: {server.domain}, decorations: [mozillaCustom1=presenceText]",
            f"default-visibility: organisation, rules: [{{viewers: ['service {SERVICE}'], level: basic}}]")
        async with server:
            await server.status("followed")
            async with place_of(server, port, SUFFIX, {name: named(name) for name in passwords}, passwords, directory) as place:
                yield place


@contextlib.asynccontextmanager
async def embedded(world):
    server = Server(world)
    port = admit_directory_clients(server, "decorations: [mozillaCustom1=presenceText, labeledURI=xmppURI]")
    async with server:
        for name in ("juliet", "tybalt"):
            await server.command("account", "add", f"{name}@{server.domain}", input=PASSWORD.encode() + b"\n")
        base = "dc=verona,dc=test"
        names = {"romeo": f"romeo@{server.domain}", "juliet": f"uid=juliet,ou=people,{base}", "tybalt": f"tybalt@{server.domain}"}
        async with place_of(server, port, base, names, dict.fromkeys(names, PASSWORD)) as place:
            yield place


async def meeting(place, one, other):
    """One is available, the other in a meeting; both see that of each other."""
    first, second = await place.client(one), await place.client(other)
    await befriend(place.world, first, second)
    second.send_presence(pshow="dnd", pstatus=STATUS)
    await second.fence(first)
    await finds(place, one, f"(uid={other})", "xmppShow", ["dnd"])
    await finds(place, other, f"(uid={one})", "xmppShow", ["available"])
    return first, second


async def finds(place, viewer, filter, attribute, wanted):
    """Returns when a search finds these values. How long it took."""
    found = None

    async def is_so():
        nonlocal found
        found = await place.search(viewer, filter, attribute)
        return (found.status, found.values(attribute)) == (0, wanted)

    return await comes_true(is_so, lambda: f"{attribute} of {filter} to be {wanted}; {found.status}: {found.output}")


async def check_searches(place, one, other, stranger):
    """What holds for both kinds of directory."""
    mine, others = f"(uid={one})", f"(uid={other})"
    found = await place.search(one, others, "xmppStatus", "cn")
    equal((found.status, found.values("xmppStatus")), (0, [STATUS]), f"status: {found.output}")
    equal(found.values("xmppShow"), [], "what was not asked for")
    found = await place.search(one, others)
    equal((found.values("xmppShow"), found.values("xmppPresence"), found.values("xmppPresenceText")), (["dnd"], ["online"], [STATUS]), "all attributes")
    found = await place.search(other, "(&(objectClass=xmppUser)(xmppShow=available))", "uid", "xmppShow")
    equal((found.values("uid"), found.values("xmppShow")), ([one], ["available"]), f"who is available: {found.output}")
    found = await place.search(one, "(xmppStatus=*meeting*)", "uid")
    equal(found.values("uid"), [other], "who is in a meeting")
    found = await place.search(one, others, "mozillaCustom1")
    equal(found.values("mozillaCustom1"), [STATUS], "decoration")
    # Whoever sees nobody's presence sees nothing of it, and finds nobody by it.
    found = await place.search(stranger, others)
    equal(found.values("uid"), [other], f"a stranger's search: {found.output}")
    for attribute in PRESENCE:
        equal(found.values(attribute), [], f"a stranger's {attribute}")
    for filter in ("(xmppShow=dnd)", "(xmppPresenceText=*)", f"(&(uid={other})(xmppPresence=online))"):
        found = await place.search(stranger, filter, "uid")
        equal((found.status, other in found.values("uid")), (0, False), f"a stranger's search for {filter}")
    equal((await place.search(stranger, f"(&(uid={other})(!(xmppShow=dnd)))", "uid")).values("uid"), [other], "what is not true for a stranger")
    found = await place.search(one, "(objectClass=xmppUser)", "uid", "xmppShow", more=("-E", "pr=2/noprompt"))
    equal((found.status, sorted(found.values("uid"))), (0, sorted([one, other, stranger])), f"page by page: {found.output}")
    equal(sorted(found.values("xmppShow")), ["available", "dnd"], "presence page by page")
    await check_ldap3(place, one, others)
    require((await place.search(one, mine, password="wrong")).status == 49, "a wrong password was taken")
    equal((await place.search("nobody@nowhere.test", mine, password="x")).status in (34, 49), True, "a name that is nobody's")


async def check_ldap3(place, name, filter):
    said = await run("/usr/bin/python3", "-c", LDAP3, place.port, place.names[name], place.passwords[name], place.base, filter)
    require(said.status == 0, f"python3-ldap3: {said.output}")
    equal(json.loads(said.output), {"schema": True, "status": [STATUS]}, "what python3-ldap3 finds")


async def check_follows(place, viewer, client, name):
    """A change is seen within a second."""
    took = []
    for show, text in ((None, "back"), ("away", "soon back"), ("dnd", STATUS)):
        client.send_presence(pshow=show, pstatus=text)
        took.append(await finds(place, viewer, f"(uid={name})", "xmppPresenceText", [text]))
    are_soon(took, 1)


@check("directory clients before slapd: a person's entry says what he says of himself, to those who see his presence; people are found by it", only="martlet")
async def _(world):
    async with overlay(world) as place:
        _, bob = await meeting(place, "alice", "bob")
        await check_searches(place, "alice", "bob", "carol")
        await check_follows(place, "alice", bob, "bob")
        # What slapd itself has is there as ever, and slapd alone knows no presence.
        equal((await place.search("alice", "(uid=alice)", "telephoneNumber")).values("telephoneNumber"), ["+44 20 7946 0001"], "slapd's own attributes")
        equal((await place.search("alice", "(uid=bob)", "xmppShow", url=place.directory.url)).values("xmppShow"), [], "slapd alone")
        text = place.server.text()
        require("mechanism=ldap-simple" in text and "account=alice@example.org" in text, "the log does not say that alice has bound")


@check("directory clients before slapd: SCRAM passes; a service sees as much as a rule grants", only="martlet")
async def _(world):
    async with overlay(world) as place:
        await meeting(place, "alice", "bob")
        found = await run("ldapsearch", "-Q", "-LLL", "-Y", "SCRAM-SHA-256", "-U", "alice", "-w", "alicepw", "-H", place.url, "-b", SUFFIX, "(uid=bob)", "xmppStatus")
        equal(found.values("xmppStatus"), [STATUS], f"by SCRAM: {found.output}")
        found = await place.search(SERVICE, "(uid=bob)", "xmppShow", "xmppStatus", password=SERVICE_PASSWORD)
        equal((found.values("xmppShow"), found.values("xmppStatus")), (["dnd"], []), f"what a service sees: {found.output}")
        require("service bound" in place.server.text(), "the log does not say that a service has bound")


@check("directory clients before slapd: without slapd they are told unavailable (52), and find people again when it is back", only="martlet")
async def _(world):
    async with overlay(world) as place:
        await meeting(place, "alice", "bob")
        await place.directory.kill()
        equal((await place.search("alice", "(uid=bob)", "xmppShow")).status, 52, "without slapd")
        await place.directory.start()
        await finds(place, "alice", "(uid=bob)", "xmppShow", ["dnd"])


@check("directory clients before slapd: Postfix looks up who is there", only="martlet")
async def _(world):
    if not (POSTMAP.exists() and POSTFIX_LDAP.exists()):
        return print("skip  Postfix with its LDAP tables is not installed: scripts/install-packages test", flush=True)
    async with overlay(world) as place:
        _, bob = await meeting(place, "alice", "bob")
        folder = place.server.folder / "postfix"
        folder.mkdir()
        (folder / "main.cf").write_text("compatibility_level = 3.6\n")
        (folder / "master.cf").write_text("")
        (folder / "present.cf").write_text(
            f"server_host = {place.url}\nversion = 3\nbind = yes\nbind_dn = {SERVICE}\nbind_pw = {SERVICE_PASSWORD}\n"
            f"search_base = {PEOPLE}\nquery_filter = (&(mail=%s)(xmppPresence=online))\nresult_attribute = xmppAddress\n")
        (folder / "present.cf").chmod(0o600)

        async def lookup(address):
            return (await run(POSTMAP, "-c", folder, "-q", address, f"ldap:{folder}/present.cf")).output

        equal(await lookup("bob@example.org"), "bob@example.org\n", "who is there")
        equal(await lookup("carol@example.org"), "", "who is not")
        await bob.close()

        async def is_gone():
            return not await lookup("bob@example.org")

        await comes_true(is_gone, "bob to be gone")


@check("directory clients without a directory: accounts are entries, with the same presence for the same people", only="martlet")
async def _(world):
    async with embedded(world) as place:
        _, juliet = await meeting(place, "romeo", "juliet")
        await check_searches(place, "romeo", "juliet", "tybalt")
        await check_follows(place, "romeo", juliet, "juliet")
        equal((await place.search("romeo", "(uid=juliet)", "labeledURI")).values("labeledURI"), ["xmpp:juliet@verona.test?message"], "address for chat")
        equal((await place.search(None, "(uid=juliet)")).status, 50, "without a bind")
        text = place.server.text()
        require("mechanism=ldap-simple" in text and "verdict=badCredentials" in text, "the log does not say who has bound, and who has not")
        # Who is disabled is out, on a connection that is there as well.
        await place.server.command("account", "disable", f"tybalt@{place.server.domain}")
        equal((await place.search("tybalt", "(uid=juliet)")).status, 49, "of a disabled account")


@check("directory clients without a directory: people choose by a command of their domain whom they are shown to", only="martlet")
async def _(world):
    async with embedded(world) as place:
        _, juliet = await meeting(place, "romeo", "juliet")
        for plugin in ("xep_0004", "xep_0050"):
            juliet.register_plugin(plugin)
        domain, node = place.server.domain, "urn:x-martlet:directory-visibility"
        asked = await juliet["xep_0050"].send_command(domain, node, timeout=STEP)
        equal(asked["command"]["form"].get_fields()["visibility"]["value"], "contacts", "what holds before")
        answer = juliet["xep_0004"].make_form(ftype="submit")
        answer.add_field(var="FORM_TYPE", ftype="hidden", value=node)
        answer.add_field(var="visibility", value="none")
        done = await juliet["xep_0050"].send_command(
            domain, node, sessionid=asked["command"]["sessionid"], action="complete", payload=answer, timeout=STEP)
        equal(done["command"]["status"], "completed", "the end of the command")
        # Nor does a contact see anything of whoever is shown to nobody.
        await finds(place, "romeo", "(uid=juliet)", "xmppShow", [])
        equal((await place.search("juliet", "(uid=juliet)", "xmppShow")).values("xmppShow"), ["dnd"], "what she sees of herself")
