"""The servers that talk to each other: how each is configured for what a check is about, started, stopped and killed."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import time

from certificates import TINY
from network import DOMAINS, NAME_SERVER

START = 30.0  # seconds that a server may take until it accepts clients
STOP = 15.0  # seconds that it may take to end when it is asked to
PASSWORDS = {name: f"{name}'s secret" for name in ("romeo", "juliet", "mercutio", "nurse")}
STANZA_BYTES_MAX = 1_048_576  # larger than what the checks send
RETRY = 3  # seconds after which ejabberd dials a peer again that was down; by default it leaves it alone for up to 300


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a server is told of its streams to other servers."""

    certificate: str = "good"  # or one of certificates.WRONG
    # `external`: peers must have a certificate that is right; `dialback`: certificates are not looked at; `lenient`: either will do.
    authentication: str = "external"
    # The list of revoked certificates is in a file of the server's.
    lists: bool = False
    bidi: bool = False
    management: bool = False
    # What its TLSA records are about, where its domain is signed: `own`, its key, or `other`, another one.
    records: str = ""


class NotReady(Exception):
    """A server did not start."""


class Server:
    """One server with a folder of its own. `can` says what it knows of what the checks ask for."""

    can = frozenset()

    def __init__(self, name, folder, authorities, martlet=None):
        self.name = name
        self.domain, self.address = DOMAINS[name]
        self.folder = pathlib.Path(folder) / name
        self.authority, self.other_authority = authorities
        self.martlet = martlet
        self.processes = []

    @property
    def rooms(self):
        return f"conference.{self.domain}"

    def set_up(self, setting):
        """A new folder with configuration and accounts."""
        self.setting = setting
        self.folder.mkdir(parents=True, mode=0o700)
        self.log_file = self.folder / "log"
        self.certificate = self.authority.issue(self.domain, setting.certificate, self.other_authority)
        self.configure()

    async def start(self):
        self.spawn()
        await asyncio.gather(*(self.accepts(port) for port in self.ports()))

    def ports(self):
        return 5222, 5269

    async def accepts(self, port):
        deadline = time.monotonic() + START
        while True:
            try:
                _, writer = await asyncio.open_connection(self.address, port)
                writer.close()
                return
            except OSError:
                if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                    raise NotReady(f"{self.name} does not accept connections on port {port}:\n{self.last_words()}") from None
            await asyncio.sleep(0.05)

    def run(self, *command, **variables):
        # Variables of whoever runs the checks are not for a server.
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", **variables}
        with open(self.folder / "output", "ab") as output:
            process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=self.folder,
                start_new_session=True,
            )
        self.processes.append(process)

    async def stop(self):
        await self.end(signal.SIGTERM)

    async def kill(self):
        await self.end(signal.SIGKILL)

    async def end(self, with_signal):
        for process in reversed(self.processes):
            process.send_signal(with_signal)
        deadline = time.monotonic() + STOP
        while any(process.poll() is None for process in self.processes):
            if time.monotonic() > deadline:
                for process in self.processes:
                    process.kill()
            await asyncio.sleep(0.02)
        self.processes.clear()

    async def restart(self):
        await self.stop()
        await self.start()

    def log_text(self):
        files = [file for file in (self.log_file, self.folder / "output") if file.exists()]
        return "\n".join(file.read_text(errors="replace") for file in files)

    def last_words(self, count=25):
        return "\n".join(f"        {self.name}: {line[:300]}" for line in self.log_text().splitlines()[-count:])


class Prosody(Server):
    can = frozenset("external dialback starttls direct-tls bidi management rooms pep vcard mam".split())

    def configure(self):
        data = self.folder / "data"
        accounts = data / self.domain.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True)
        for name, password in PASSWORDS.items():
            (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
        modules = "disco roster saslauth tls blocklist carbons pep private vcard_legacy ping time version offline admin_shell posix s2s_auth_certs"
        optional = {
            "dialback": self.setting.authentication != "external",
            "s2s_bidi": self.setting.bidi,
            "smacks": self.setting.management,
        }
        modules = modules.split() + [name for name, wanted in optional.items() if wanted]
        self.configuration = self.folder / "prosody.cfg.lua"
        self.configuration.write_text(f"""
run_as_root = true
pidfile = "{self.folder}/prosody.pid"
data_path = "{data}"
admin_socket = "{self.folder}/prosody.sock"
log = {{ info = "{self.log_file}", debug = "{self.folder}/debug" }}
interfaces = {{ "{self.address}" }}
s2s_direct_tls_ports = {{ 5270 }}
http_ports = {{ }} https_ports = {{ }}
limits = {{ }}
modules_enabled = {{ {", ".join(f'"{module}"' for module in modules)} }}
modules_disabled = {{ {"" if optional["dialback"] else '"dialback"'} }}
authentication = "internal_plain"
storage = "internal"
s2s_secure_auth = {"true" if self.setting.authentication == "external" else "false"}
s2s_stanza_size_limit = {STANZA_BYTES_MAX}
c2s_stanza_size_limit = {STANZA_BYTES_MAX}
unbound = {{ resolvconf = false; hoststxt = false; forward = "{NAME_SERVER}"; options = {{ ["do-not-query-localhost:"] = "no" }} }}
ssl = {{ certificate = "{self.certificate.chain}", key = "{self.certificate.key}", cafile = "{self.authority.certificate}" }}
s2s_direct_tls_ssl = ssl
VirtualHost "{self.domain}"
Component "{self.rooms}" "muc"
    modules_enabled = {{ "muc_mam" }}
    muc_room_default_history_length = 20
""")

    def ports(self):
        return 5222, 5269, 5270

    def spawn(self):
        self.run("prosody", "--config", self.configuration, "-F")


class Ejabberd(Server):
    can = frozenset("external dialback starttls direct-tls rooms pep vcard mam".split())

    def configure(self):
        (self.folder / "spool").mkdir()
        listeners = ((5222, "ejabberd_c2s", "starttls: true, "), (5269, "ejabberd_s2s_in", ""), (5270, "ejabberd_s2s_in", "tls: true, "))
        listen = "\n".join(
            f'  - {{port: {port}, ip: "{self.address}", module: {module}, {more}max_stanza_size: {STANZA_BYTES_MAX}, shaper: none}}'
            for port, module, more in listeners
        )
        dialback = self.setting.authentication != "external"
        (self.folder / "ejabberd.yml").write_text(f"""
loglevel: info
hosts: ["{self.domain}"]
certfiles: ["{self.certificate.both}"]
ca_file: "{self.authority.certificate}"
s2s_cafile: "{self.authority.certificate}"
listen:
{listen}
s2s_use_starttls: required
outgoing_s2s_families: [ipv4]
s2s_max_retry_delay: {RETRY}
auth_password_format: scram
acl: {{local: {{user_regexp: ""}}}}
access_rules: {{local: {{allow: local}}}}
modules:
  mod_adhoc: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_muc: {{access: all, access_create: local, host: "{self.rooms}", history_size: 20}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_pubsub: {{plugins: [flat, pep]}}
  mod_roster: {{}}
  {"mod_s2s_dialback: {}" if dialback else "mod_private: {}"}
  mod_stream_mgmt: {{}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
""")
        # Erlang's own resolver reads /etc/resolv.conf of the namespace for SRV records; told so here, for addresses too.
        (self.folder / "inetrc").write_text("{lookup, [file, dns]}.\n")

    def ports(self):
        return 5222, 5269, 5270

    def spawn(self):
        accounts = ", ".join(
            f'ejabberd_auth:try_register(<<"{name}">>, <<"{self.domain}">>, <<"{password}">>)' for name, password in PASSWORDS.items()
        )
        self.run(
            "erl", "+K", "true", "-noinput", "-mnesia", "dir", f'"{self.folder}/spool"', "-s", "ejabberd", "-eval", f"{accounts}.",
            EJABBERD_CONFIG_PATH=str(self.folder / "ejabberd.yml"), EJABBERD_LOG_PATH=str(self.log_file),
            ERL_LIBS="/usr/lib/x86_64-linux-gnu", ERL_INETRC=str(self.folder / "inetrc"), ERL_CRASH_DUMP_BYTES="0",
        )

    async def start(self):
        await super().start()
        # The accounts are made after the ports have been opened.
        deadline = time.monotonic() + START
        while not list((self.folder / "spool").glob("passwd.*")) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)


class Jabberd2(Server):
    """Four processes. It knows no EXTERNAL, looks at nobody's certificate, and Debian's package has no rooms."""

    can = frozenset("dialback starttls vcard".split())
    parts = ("router", "sm", "c2s", "s2s")

    def configure(self):
        schema = subprocess.run(["zcat", "/usr/share/doc/jabberd2/db-setup.sqlite.gz"], check=True, capture_output=True, text=True).stdout
        database = sqlite3.connect(self.folder / "sqlite.db")
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(schema)
        for name, password in PASSWORDS.items():
            database.execute("INSERT INTO authreg(username, realm, password) VALUES (?, ?, ?)", (name, self.domain, password))
            database.execute('INSERT INTO active("collection-owner", time) VALUES (?, 1)', (f"{name}@{self.domain}",))
        database.commit()
        database.close()
        for part in self.parts:
            text = pathlib.Path(f"/etc/jabberd2/{part}.xml").read_text()
            for place in ("run", "log", "lib"):
                text = text.replace(f"/var/{place}/jabberd2/", f"{self.folder}/")
            text = re.sub(r"<ip>(0\.0\.0\.0|127\.0\.0\.1)</ip>", f"<ip>{self.address}</ip>", text.replace("localhost.localdomain", self.domain))
            text = re.sub(r"<stanzasize>\d+</stanzasize>", f"<stanzasize>{STANZA_BYTES_MAX}</stanzasize>", text)
            text = text.replace("<stanzas>1000</stanzas>", "<stanzas>0</stanzas>")
            if part == "c2s":
                text = text.replace("<id register-enable='mu'>", f"<id pemfile='{self.certificate.both}'>", 1)
                text = re.sub(r"(<ssl-mechanisms>.*?<sasl>)(.*?)(</sasl>)", r"\1<plain/>\3", text, count=1, flags=re.S)
            if part == "s2s":
                # Martlet's tickets hold the peer's certificate, and jabberd2 reads no more than 1,024 bytes of them (README.md).
                certificate = self.authority.issue(self.domain, TINY).both
                text = text.replace("<local>", f"<local>\n<pemfile>{certificate}</pemfile>", 1)
            (self.folder / f"{part}.xml").write_text(text)

    def spawn(self):
        # After a kill, whoever opens the database first repairs it, and jabberd2's parts do not wait for each other.
        with contextlib.closing(sqlite3.connect(self.folder / "sqlite.db", timeout=10)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
        for part in self.parts:
            self.run(f"/usr/sbin/jabberd2-{part}", "-c", self.folder / f"{part}.xml", NAMESERVERS=NAME_SERVER)

    async def start(self):
        await super().start()
        # Its ports open before its parts have found each other.
        await asyncio.sleep(2.5)

    def log_text(self):
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))


class Martlet(Server):
    can = frozenset("external dialback starttls direct-tls bidi management dane rooms pep vcard mam".split())

    def configure(self):
        (self.folder / "data").mkdir(mode=0o700)
        self.configuration = self.folder / "martlet.yaml"
        policy = "certificate" if self.setting.authentication == "external" else "dialback"
        listeners = "\n".join(
            f"  - kind: {kind}\n    port: {port}\n    addresses: [{self.address}]"
            for kind, port in (("client", 5222), ("server", 5269), ("server-tls", 5270))
        )
        revocation = f"\n  revocation:\n    lists: [{self.authority.revocations}]" if self.setting.lists else ""
        self.configuration.write_text(f"""server:
  data: {self.folder}/data
  run-as-root: true
domains:
  - name: {self.domain}
    certificate: {self.certificate.chain}
    key: {self.certificate.key}
listeners:
{listeners}
limits:
  stanza-bytes: 1MiB
federation:
  private-networks: [10.83.0.0/24]
  authentication: {policy}
  bidirectional: {"ask" if self.setting.bidi else "off"}
  trust-anchors: {self.authority.certificate}{revocation}
{f"  dnssec-anchor: {self.folder.parent / 'dns' / 'anchors'}" if self.setting.records else ""}
""")
        self.has_accounts = False

    def ports(self):
        return 5222, 5269, 5270

    def spawn(self):
        self.run(self.martlet, "serve", "--config", self.configuration)

    async def start(self):
        await super().start()
        if not self.has_accounts:
            await asyncio.gather(*(self.add_account(name, password) for name, password in PASSWORDS.items()))
            self.has_accounts = True

    async def add_account(self, name, password):
        process = await asyncio.create_subprocess_exec(
            self.martlet, "account", "add", "--config", str(self.configuration), f"{name}@{self.domain}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate(f"{password}\n".encode())
        if process.returncode != 0:
            raise NotReady(f"martlet account add: {said.decode()}")


KINDS = {"martlet": Martlet, "prosody": Prosody, "ejabberd": Ejabberd, "jabberd2": Jabberd2}


def kind(name):
    """What a server is, by its name in a pair: `prosody2` is a second Prosody."""
    return KINDS[name if name in KINDS else name[:-1]]


def server(name, *arguments):
    return kind(name)(name, *arguments)
