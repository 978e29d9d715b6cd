"""Checks of certificates from an authority (ACME, RFC 8555): Debian's pebble is one, on loopback, which refuses some nonces on purpose."""

import asyncio
import contextlib
import json
import os
import pathlib
import time

from harness import check, equal, require
from operations import Server, free_ports, until
from tls import output

BOUND = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}


class Authority:
    """Pebble, with a name server that leads every name to this machine."""

    def __init__(self, folder, challenge_port, binds=False):
        self.folder, self.processes = pathlib.Path(folder), []
        self.port, management, tls_port, self.dns, dns_management = free_ports(5)
        self.certificate = self.folder / "authority.pem"
        self.configuration = {"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": str(self.certificate), "privateKey": str(self.folder / "authority.key"),
            "httpPort": challenge_port, "tlsPort": tls_port, "ocspResponderURL": "", "externalAccountBindingRequired": binds,
            **({"externalAccountMACKeys": BOUND} if binds else {}),
        }}
        self.management, self.dns_management = management, dns_management

    @property
    def directory(self):
        return f"https://127.0.0.1:{self.port}/dir"

    async def __aenter__(self):
        status, text = await output(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90", "-subj", "/CN=authority",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "authority.key", "-out", self.certificate)
        equal(status, 0, text)
        (self.folder / "pebble.json").write_text(json.dumps(self.configuration))
        await self.run(
            "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.dns}", "-http01", "", "-https01", "",
            "-tlsalpn01", "", "-management", f"127.0.0.1:{self.dns_management}")
        await self.begin()
        return self

    async def begin(self):
        await self.run("pebble", "-config", self.folder / "pebble.json", "-dnsserver", f"127.0.0.1:{self.dns}")
        await until(lambda: "ACME directory available" in self.text("pebble"), "pebble's start")

    async def run(self, program, *words):
        with open(self.folder / f"{program}.log", "ab") as log:
            self.processes.append(await asyncio.create_subprocess_exec(
                program, *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "3"}))

    def text(self, program):
        return (self.folder / f"{program}.log").read_text(errors="replace")

    async def stop(self, process):
        process.terminate()
        await process.wait()

    async def __aexit__(self, *_):
        for process in self.processes:
            if process.returncode is None:
                await self.stop(process)


@contextlib.asynccontextmanager
async def with_authority(world, binds=False, account="", address="127.0.0.1"):
    server = Server(world)
    challenge_port, tls_port = free_ports(2)
    authority = Authority(server.folder, challenge_port, binds)
    text = server.configuration.read_text().replace(
        "authentication:", f"  - {{kind: client-tls, port: {tls_port}, addresses: [127.0.0.1]}}\nauthentication:")
    server.configuration.write_text(text + (
        f"acme: {{enabled: true, directory: \"{authority.directory}\", contacts: [\"mailto:friar@{server.domain}\"], terms-agreed: true,\n"
        f"  trust-anchors: {authority.certificate}, port: {challenge_port}, addresses: [{address}]{account}}}\n"))
    server.tls_port, server.challenge_port = tls_port, challenge_port
    async with authority:
        async with server:
            yield server, authority


async def soon(server, line):
    """Waits for a line of the log: an authority takes its time."""
    end = time.monotonic() + 30
    while line not in server.text():
        require(time.monotonic() < end, f"waited for: {line}")
        await asyncio.sleep(0.05)


def issued(server):
    return server.folder / "data" / "certificates" / f"{server.domain}.acme.pem"


async def shown(server):
    """What the server shows, in words."""
    _, pem = await output("openssl", "s_client", "-connect", f"127.0.0.1:{server.tls_port}", "-servername", server.domain)
    reading = await asyncio.create_subprocess_exec(
        "openssl", "x509", "-noout", "-serial", "-issuer", "-ext", "subjectAltName", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    text, _ = await reading.communicate(pem.encode())
    return text.decode()


@check("ACME: a certificate of pebble's is there soon after the start, is shown without a restart, and stays at the next start (RFC 8555)", only="martlet")
async def _(world):
    async with with_authority(world) as (server, authority):
        await soon(server, "a certificate was issued")
        require("Pebble" in await shown(server), "it is not shown")
        names = await shown(server)
        for name in (server.domain, f"conference.{server.domain}", f"vjud.{server.domain}"):
            require(f"DNS:{name}" in names, f"it is not for {name}: {names}")
        equal(issued(server).stat().st_mode & 0o777, 0o600, "mode of its file")
        for key in (server.folder / "data" / "acme").iterdir():
            equal(key.stat().st_mode & 0o777, 0o600, f"mode of {key.name}")
        before = await shown(server)
        await server.stop()
        await server.start()
        equal(await shown(server), before, "what is shown after a restart")
        require("a certificate was issued" not in server.text(), "another one was asked for")
        equal(list(issued(server).parent.glob("*.candidate")), [], "what is left over")


@check("ACME: one that is about to end, or lacks a name, is replaced; meanwhile the old one is shown", only="martlet")
async def _(world):
    async with with_authority(world) as (server, authority):
        await soon(server, "a certificate was issued")
        first = await shown(server)
        await server.stop()
        text = server.configuration.read_text()
        server.configuration.write_text(text.replace("authentication:", "pubsub: {service: {enabled: true}}\nauthentication:", 1))
        await server.start()
        await soon(server, "a certificate was issued")
        second = await shown(server)
        require(first != second and f"DNS:pubsub.{server.domain}" in second, f"it is not for the new service: {second}")


@check("ACME: an authority that cannot be reached, or cannot see that a name is ours, is told of with what to do, and the server serves", only="martlet")
async def _(world):
    # The authority looks at 127.0.0.1, and the server answers elsewhere.
    async with with_authority(world, address="127.0.0.9") as (server, authority):
        await soon(server, "no certificate was issued")
        line = next(line for line in server.text().splitlines() if "no certificate was issued" in line)
        for part in ("could not see that", ".well-known/acme-challenge/", "failures=1", f"domain={server.domain}"):
            require(part in line, f"{part} is not in {line}")
        require(server.domain in await shown(server), "there is no certificate")
        equal(issued(server).exists(), False, "a file of the authority's")
        for process in authority.processes:
            await authority.stop(process)
        await server.stop()
        (server.folder / "data" / "acme" / "state.json").unlink()
        await server.start()
        await soon(server, "no certificate was issued")
        require("see that this machine may connect there" in server.text(), "it does not say what to do")
        await server.stop()
        await server.start()
        await asyncio.sleep(1)
        require("no certificate was issued" not in server.text(), "it does not rest after a restart")


@check("ACME: an authority that issues to customers only gets what binds the account to one (RFC 8555 §7.3.4)", only="martlet")
async def _(world):
    async with with_authority(world, binds=True) as (server, authority):
        await soon(server, "no certificate was issued")
        require("acme.external-account" in server.text(), "it does not say what to do")
        secret = server.folder / "acme.secret"
        secret.touch(0o600)
        secret.write_text(BOUND["kid-1"] + "\n")
        text = server.configuration.read_text()
        server.configuration.write_text(text.replace("terms-agreed: true,", f"terms-agreed: true, external-account: {{id: kid-1, key-file: {secret}}},"))
        await server.command("config", "reload")
        await soon(server, "a certificate was issued")


@check("ACME: nothing is asked for without agreement to the terms, and only challenges are answered at that port", only="martlet")
async def _(world):
    async with with_authority(world) as (server, authority):
        await soon(server, "a certificate was issued")
        for path in ("/.well-known/acme-challenge/none", "/.well-known/host-meta", "/http-bind", "/"):
            _, text = await output("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{server.challenge_port}{path}")
            equal(text, "404", f"status of {path}")
        text = server.configuration.read_text()
        server.configuration.write_text(text.replace("terms-agreed: true", "terms-agreed: false"))
        process = await asyncio.create_subprocess_exec(
            server.binary, "config", "check", "--config", server.configuration, env=server.environment, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT)
        said, _ = await process.communicate()
        require(process.returncode != 0 and "acme.terms-agreed" in said.decode(), said.decode())
