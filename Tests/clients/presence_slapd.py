"""A directory (OpenLDAP's slapd, from Debian) on loopback, in a folder of its own, with the people of Fixtures/directory/base.ldif."""

import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

PATIENCE = 20.0  # seconds that the start may take
FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "Fixtures" / "directory"
SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{SUFFIX}", "secret"
SERVICE, SERVICE_PASSWORD = f"cn=martlet,ou=services,{SUFFIX}", "martletpw"

CONFIGURATION = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
include {fixtures}/martlet.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
moduleload pw-pbkdf2
password-hash {{PBKDF2-SHA256}}
authz-regexp uid=([^,]*),cn=[^,]*,cn=auth ldap:///{people}??one?(uid=$1)
sasl-secprops none
database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw {password}
directory {folder}/db
index objectClass,entryUUID,entryCSN eq
index uid,mail,xmppAddress eq
limits dn.exact="{service}" size=unlimited time=unlimited
access to attrs=userPassword,authPassword
  by dn.exact="{service}" read
  by self =xw
  by anonymous auth
  by * none
access to *
  by dn.exact="{service}" read
  by users read
  by anonymous auth
overlay syncprov
syncprov-checkpoint 100 10
syncprov-sessionlog 1000
"""


def program(name):
    """Where it is, also if it is one of those that only administrators are expected to call."""
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        raise FileNotFoundError(f"there is no {name}: scripts/install-packages test")
    return path


def person(name):
    return f"uid={name},{PEOPLE}"


class Directory:
    """Passwords of people are their names and pw; they are hashed by the directory, and SCRAM is possible with it."""

    def __init__(self, folder, people=("alice", "bob", "carol")):
        self.folder, self.people, self.process = pathlib.Path(folder), people, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"ldap://127.0.0.1:{self.port}"
        (self.folder / "db").mkdir(mode=0o700, parents=True)
        (self.folder / "slapd.conf").write_text(CONFIGURATION.format(
            fixtures=FIXTURES, folder=self.folder, people=PEOPLE, suffix=SUFFIX, admin=ADMIN, password=ADMIN_PASSWORD, service=SERVICE))
        (self.folder / "password").write_text(SERVICE_PASSWORD + "\n")
        (self.folder / "password").chmod(0o600)

    def __enter__(self):
        self.run(program("slapd"), "-T", "add", "-q", "-f", self.folder / "slapd.conf", "-l", FIXTURES / "base.ldif")
        self.start()
        for name in self.people:
            self.run("ldappasswd", *self.as_admin, "-s", f"{name}pw", person(name))
            self.change(f"dn: {person(name)}\nchangetype: modify\nreplace: authPassword\nauthPassword: {scram_keys(f'{name}pw')}\n")
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [program("slapd"), "-f", self.folder / "slapd.conf", "-h", self.url, "-d", "none"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    @property
    def as_admin(self):
        return "-x", "-H", self.url, "-D", ADMIN, "-w", ADMIN_PASSWORD

    def change(self, ldif):
        self.run("ldapmodify", *self.as_admin, input=ldif)

    @staticmethod
    def run(*words, input=None):
        done = subprocess.run(words, input=input, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")
        return done.stdout


def scram_keys(password, mechanism="SCRAM-SHA-256", iterations=4096):
    """An authPassword (RFC 5803)."""
    salt, name = os.urandom(16), mechanism.removeprefix("SCRAM-").replace("-", "").lower()
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations)
    stored = hashlib.new(name, hmac.digest(salted, b"Client Key", name)).digest()
    server = hmac.digest(salted, b"Server Key", name)
    return "%s$%d:%s$%s:%s" % (mechanism, iterations, *(base64.b64encode(each).decode() for each in (salt, stored, server)))
