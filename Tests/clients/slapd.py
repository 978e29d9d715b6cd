"""OpenLDAP's server for the checks: on loopback, with a port and a folder of its own, and the entries of Fixtures/directory/base.ldif."""

import asyncio
import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import signal
import tempfile

from harness import STEP, Failed, equal
from operations import accepts, free_ports, until

START = 20.0  # seconds that the start may take
FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "Fixtures" / "directory"
SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
SERVICE = f"cn=martlet,ou=services,{SUFFIX}"
SERVICE_PASSWORD = "martletpw"
PROGRAM = next((each for each in ("/usr/sbin/slapd", "/usr/libexec/slapd", "/usr/lib/openldap/slapd") if os.access(each, os.X_OK)), "slapd")


def named(name):
    """The entry of a person."""
    return f"uid={name},{PEOPLE}"


def person(name, more=""):
    return (
        f"dn: {named(name)}\nobjectClass: inetOrgPerson\nobjectClass: xmppUser\nuid: {name}\ncn: {name.capitalize()}\nsn: {name}\n"
        f"xmppAddress: {name}@example.org\nxmppEnabled: TRUE\n{more}\n")


def replaced(name, **attributes):
    """These attributes of a person have these values, texts or bytes, from now on."""

    def line(attribute, value):
        return f"{attribute}:: {base64.b64encode(value).decode()}\n" if isinstance(value, bytes) else f"{attribute}: {value}\n"

    changes = "-\n".join(f"replace: {attribute}\n{line(attribute, value)}" for attribute, value in attributes.items())
    return f"dn: {named(name)}\nchangetype: modify\n{changes}\n"


def stored_keys(password, hash_name="SHA-256", salt=bytes(range(16)), iterations=10_000):
    """An authPassword (RFC 5803)."""
    digest = hash_name.replace("-", "").lower()
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
    stored = hashlib.new(digest, hmac.digest(salted, b"Client Key", digest)).digest()
    text = [base64.b64encode(each).decode() for each in (salt, stored, hmac.digest(salted, b"Server Key", digest))]
    return f"SCRAM-{hash_name}${iterations}:{text[0]}${text[1]}:{text[2]}"


async def finished(*words, input="", seconds=STEP, **options):
    """The status of a program that has come to its end, and what it said."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, words), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT, **options)
    try:
        output, _ = await asyncio.wait_for(process.communicate(input.encode()), seconds)
    except asyncio.TimeoutError:
        raise Failed(f"{words[0]} did not end within {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(errors="replace")


class Directory:
    """What the checks want of a directory's server, whichever it is; OpenLDAP's tools speak to it."""

    title = ""
    admin = ""
    admin_password = "secret"
    hash_name = "SHA-256"  # of the keys that follow from its passwords

    def __init__(self, world):
        self.martlet = world.martlet
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="directory."))
        self.port, = free_ports(1)
        self.process = None

    @property
    def url(self):
        return f"ldap://127.0.0.1:{self.port}"

    async def __aenter__(self):
        try:
            await self.prepare()
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        await self.kill()
        shutil.rmtree(self.folder)

    async def launch(self, log, *words):
        """Returns when somebody can connect to it."""
        with open(log, "ab") as output:
            self.process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output)
        await until(lambda: accepts(self.port) or self.process.returncode is not None, f"the start of {words[0]}", START)
        equal(self.process.returncode, None, f"{words[0]}: {log.read_text(errors='replace')}: status")

    async def tool(self, name, *words, input=""):
        status, said = await finished(name, "-x", "-H", self.url, "-D", self.admin, "-w", self.admin_password, *words, input=input)
        equal(status, 0, f"{name} {' '.join(words)}: {said}: status")
        return said

    async def add(self, *entries):
        await self.tool("ldapadd", input="\n".join(entries))

    async def modify(self, *changes):
        await self.tool("ldapmodify", input="\n".join(changes))

    async def delete(self, *names):
        await self.tool("ldapdelete", *names)

    async def set_password(self, name, password):
        """The directory hashes it itself (RFC 3062)."""
        await self.tool("ldappasswd", "-s", password, named(name))

    def freeze(self):
        """It does nothing any more; the system still accepts connections for it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    async def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.process = None

    async def while_nobody_looks(self, change):
        """Changes it while the server cannot reach it. It runs afterwards, as before, and has forgotten what it had in memory."""
        await self.kill()
        visible, (self.port,) = self.port, free_ports(1)
        await self.start()
        await change
        await self.kill()
        self.port = visible
        await self.start()


class Slapd(Directory):
    """It hashes passwords with PBKDF2 and SHA-256, lets people in by SASL if it has their keys (authPassword), and remembers what was deleted for as
    long as it runs (syncprov-sessionlog).
    """

    title = "slapd"
    admin = f"cn=admin,{SUFFIX}"

    async def prepare(self):
        (self.folder / "db").mkdir()
        (self.folder / "slapd.conf").write_text(self.configuration())
        await self.load(FIXTURES / "base.ldif")

    async def load(self, entries, seconds=START):
        """Adds the entries of a file while it does not run."""
        # slapd is slapadd too, by the name that it is called by.
        status, said = await finished(PROGRAM, "-T", "add", "-q", "-f", self.folder / "slapd.conf", "-l", entries, seconds=seconds)
        equal(status, 0, f"slapadd: {said}: status")

    def configuration(self):
        return f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
include {FIXTURES}/martlet.schema
pidfile {self.folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
moduleload pw-pbkdf2
password-hash {{PBKDF2-SHA256}}
authz-regexp uid=([^,]*),cn=[^,]*,cn=auth ldap:///{PEOPLE}??one?(uid=$1)
sasl-secprops none
sizelimit unlimited
database mdb
maxsize 1073741824
suffix "{SUFFIX}"
rootdn "{self.admin}"
rootpw {self.admin_password}
directory {self.folder}/db
index objectClass,entryUUID,entryCSN eq
index uid,mail,xmppAddress,member,memberUid eq
limits dn.exact="{SERVICE}" size=unlimited time=unlimited
access to attrs=userPassword,authPassword by dn.exact="{SERVICE}" read by self =xw by anonymous auth by * none
access to * by dn.exact="{SERVICE}" read by users read by anonymous auth
overlay syncprov
syncprov-checkpoint 100 10
syncprov-sessionlog 1000
"""

    async def start(self):
        await self.launch(self.folder / "log", PROGRAM, "-f", self.folder / "slapd.conf", "-h", self.url, "-d", "none")


class Relay:
    """Stands between the server and its directory, so that the one can lose the other, which notices nothing."""

    def __init__(self, directory):
        self.target = directory.port
        self.port, = free_ports(1)
        self.listener, self.writers = None, set()

    @property
    def url(self):
        return f"ldap://127.0.0.1:{self.port}"

    async def __aenter__(self):
        await self.open()
        return self

    async def __aexit__(self, *_):
        await self.cut()

    async def open(self):
        self.listener = await asyncio.start_server(self.serve, "127.0.0.1", self.port, reuse_address=True)

    async def cut(self):
        """Every connection ends, and no other comes about."""
        if self.listener is not None:
            self.listener.close()
        for writer in list(self.writers):
            writer.transport.abort()
        self.listener = None

    async def serve(self, reader, writer):
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return writer.close()
        ends = {writer, to_writer}
        self.writers |= ends
        try:
            await asyncio.gather(self.copy(reader, to_writer), self.copy(to_reader, writer))
        finally:
            self.writers -= ends

    @staticmethod
    async def copy(reader, writer):
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

