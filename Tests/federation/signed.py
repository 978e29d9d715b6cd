"""Domains whose DNS is signed, with TLSA records about their certificates: what that proves (DANE, RFC 7673)."""

import asyncio
import hashlib
import pathlib
import subprocess

import network
from harness import equal, require
from messages import text
from registry import check
from sides import ACROSS, bounced, is_text, say

ANCHORS = "anchors"  # the file with the keys of all zones

CONFIGURATION = """
server:
  interface: {address}
  port: 53
  access-control: {network}.0/24 allow
  do-daemonize: no
  use-syslog: no
  logfile: "{folder}/queries.log"
  log-queries: yes
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{folder}"
  module-config: "iterator"
remote-control:
  control-enable: no
"""

ZONE = """$ORIGIN {domain}.
$TTL 30
@ SOA ns hostmaster 1 3600 600 86400 30
@ NS ns
ns A {name_server}
@ A {address}
conference A {address}
_xmpp-server._tcp SRV 0 0 5269 {domain}.
_xmpp-server._tcp.conference SRV 0 0 5269 {domain}.
_5269._tcp TLSA 3 1 1 {hash}
"""


class SignedNames:
    """unbound with a signed zone for the domain of each server, and nothing else; ldns signs them. In place of `network.NameServer`."""

    def __init__(self, folder, servers):
        self.folder = pathlib.Path(folder)
        self.servers = servers
        self.process = None

    def start(self, direct=()):
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = CONFIGURATION.format(address=network.NAME_SERVER, network=network.NETWORK, folder=self.folder)
        anchors = ""
        for server in self.servers:
            zone = self.folder / server.domain
            zone.write_text(ZONE.format(domain=server.domain, address=server.address, name_server=network.NAME_SERVER, hash=listed(server)))
            key = self.call("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", server.domain).strip()
            anchors += (self.folder / f"{key}.key").read_text()
            self.call("ldns-signzone", "-f", f"{zone}.signed", zone, key)
            configuration += f'auth-zone:\n  name: "{server.domain}"\n  zonefile: "{zone}.signed"\n  for-downstream: yes\n  for-upstream: no\n'
        (self.folder / ANCHORS).write_text(anchors)
        (self.folder / "unbound.conf").write_text(configuration)
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                ["unbound", "-d", "-p", "-c", str(self.folder / "unbound.conf")], stdout=output, stderr=output, start_new_session=True,
            )

    def call(self, *command):
        return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, cwd=self.folder).stdout

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def listed(server):
    """The SHA-256 of the key that the server's TLSA record is about: its own, or nobody's."""
    if server.setting.records == "other":
        return "00" * 32
    key = subprocess.run(["openssl", "x509", "-in", server.certificate.chain, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    written = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    return hashlib.sha256(written).hexdigest()


async def martlet(server, *command):
    """What a command says, and its status."""
    process = await asyncio.create_subprocess_exec(
        server.martlet, *command, "--config", str(server.configuration), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode(), process.returncode


@check("what only DNS speaks for is believed of who is called and of who calls", modes="dane")
async def _(sides):
    romeo, juliet = await sides.pair_of()
    await say(romeo, juliet)
    await say(juliet, romeo)
    equal(network.connections(), {5269: 2, 5270: 0}, "connections by port")
    for server in sides.servers:
        said, _ = await martlet(server, "federation", "list")
        equal(said.count("by certificate"), 2, f"streams by certificate in what {server.name} says: {said}")


@check("a test of the other server and the doctor say what they find of TLSA records", modes="dane", directed=True)
async def _(sides):
    near, far = sides.servers
    said, status = await martlet(near, "federation", "test", far.domain)
    equal(status, 0, f"the status of the test, which says {said}")
    require(f"_5269._tcp.{far.domain}: 3 1 1 {listed(far)} (secure)" in said, said)
    require("accepted: the TLSA records allow it" in said, said)
    said, _ = await martlet(near, "doctor")
    require("they allow the certificate" in said, said)


@check("a server whose TLSA records are about another key is not called, whoever vouches for it; it may call", modes="dane-other")
async def _(sides):
    romeo, juliet = await sides.pair_of()
    seen, elapsed = await bounced(romeo, juliet.boundjid.full, ACROSS)
    equal(seen, "remote-server-timeout", "what romeo is told")
    body = text()
    juliet.send_message(romeo.boundjid.full, body)
    await romeo.expect(is_text(body), "the message of who calls", ACROSS)
    said, _ = await martlet(sides.servers[1], "doctor")
    require("IN TLSA 3 1 1 " in said, said)
    return f"{seen} after {elapsed:.1f} s"
