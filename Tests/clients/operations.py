"""Checks of what stands around a server: load balancers in front of it, the service manager above it, the limits of the system.

Each starts a server of its own, with what it needs in its configuration.
"""

import asyncio
import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import tempfile
import time
from xml.etree import ElementTree

from harness import STEP, World, check, equal, is_message, require

PASSWORD = "r0m30-r0m30"
# haproxy connects from here, so that nothing of the client's address can come from the connection itself.
PROXY_SOURCE = "127.0.0.3"


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Server:
    """A martlet with one account, romeo, in a folder that goes with it."""

    start_limit = STEP

    def __init__(self, world, listener="", files=None, **environment):
        self.binary, self.domain, self.files = world.martlet, "verona.test", files
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="operations."))
        self.port, = free_ports(1)
        self.configuration = self.folder / "martlet.yaml"
        self.log = self.folder / "log"
        self.environment = {name: value for name, value in os.environ.items() if name != "MARTLET_ACCESS_ADMINS"} | environment
        self.process = None
        root = "true" if os.getuid() == 0 else "false"
        self.configuration.write_text(
            f"server: {{data: {self.folder}/data, run-as-root: {root}}}\ndomains: [{{name: {self.domain}}}]\n"
            f"listeners:\n  - {{kind: client, port: {self.port}, addresses: [127.0.0.1]{listener}}}\n"
            "authentication: {scram-iterations: 4096}\n"
        )

    async def command(self, *words, input=b"", status=0):
        process = await asyncio.create_subprocess_exec(
            self.binary, *words, "--config", self.configuration, env=self.environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate(input)
        equal(process.returncode, status, f"martlet {' '.join(words)}: {output.decode()}: status")
        return output.decode()

    async def __aenter__(self):
        (self.folder / "data").mkdir(mode=0o700)
        try:
            await self.start()
            await self.add_accounts()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def add_accounts(self):
        await self.command("account", "add", f"romeo@{self.domain}", input=PASSWORD.encode() + b"\n")

    async def start(self):
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))) if self.files else None
        with open(self.log, "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.binary, "serve", "--config", self.configuration, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=limit)
        await until(lambda: "is ready" in self.text() or self.process.returncode is not None, "the server's start", self.start_limit)
        equal(self.process.returncode, None, f"the server's start: {self.text()}: status")

    async def stop(self):
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    async def __aexit__(self, *_):
        await self.stop()
        shutil.rmtree(self.folder)

    def text(self):
        return self.log.read_text(errors="replace")

    def world(self, port=None):
        """For clients: of the server, or of something in front of it."""
        certificate = str(self.folder / "data" / "certificates" / f"{self.domain}.pem")
        return World("127.0.0.1", port or self.port, 0, self.domain, certificate, "", {"romeo": PASSWORD, "juliet": PASSWORD}, [], "martlet", "")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until(condition, what, seconds=STEP):
    end = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < end, f"waited for {what}")
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def connected(world, name="romeo"):
    try:
        yield await world.client(name)
    finally:
        await world.close_all()


# Load balancers


def proxy_check(version, option):
    @check(f"haproxy: PROXY protocol version {version}: a client's own address is what the server knows", only="martlet")
    async def _(world):
        async with Server(world, f", proxy-sources: [{PROXY_SOURCE}]") as server:
            port, = free_ports(1)
            configuration = server.folder / "haproxy.cfg"
            configuration.write_text(
                "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
                f"listen xmpp\n  bind 127.0.0.1:{port}\n  source {PROXY_SOURCE}\n  server martlet 127.0.0.1:{server.port} {option}\n"
            )
            haproxy = await asyncio.create_subprocess_exec("haproxy", "-db", "-q", "-f", configuration)
            try:
                await until(lambda: accepts(port), "haproxy")
                async with connected(server.world(port)) as romeo:
                    own = romeo.transport.get_extra_info("sockname")
                    require(romeo.boundjid.full in await server.command("session", "list"), "the session is not there")
                    logins = [line for line in server.text().splitlines() if "audit" in line and str(own[1]) in line]
                    require(logins and all(f"127.0.0.1:{own[1]}" in line for line in logins), f"not in the audit log: {own}")
                    require(PROXY_SOURCE not in " ".join(logins), "the proxy's address was taken for the client's")
            finally:
                haproxy.terminate()
                await haproxy.wait()


def accepts(port):
    with socket.socket() as each:
        return each.connect_ex(("127.0.0.1", port)) == 0


proxy_check(1, "send-proxy")
proxy_check(2, "send-proxy-v2")


# The service manager


@check("systemd: the server says when it is ready, reloads and stops (sd_notify(3))", only="martlet")
async def _(world):
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.setblocking(False)

        async def told():
            message = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 4096), STEP)
            return dict(line.split("=", 1) for line in message.decode().splitlines())

        async with Server(world, NOTIFY_SOCKET=f"{folder}/notify") as server:
            equal((await told()).get("READY"), "1", "at the start")
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            await server.command("config", "reload")
            reloading = await told()
            equal(reloading.get("RELOADING"), "1", "at the reload")
            require(before <= int(reloading["MONOTONIC_USEC"]), "the time of the reload is another clock's")
            equal((await told()).get("READY"), "1", "after the reload")
            server.process.send_signal(signal.SIGTERM)
            equal((await told()).get("STOPPING"), "1", "at the stop")
            equal(await asyncio.wait_for(server.process.wait(), STEP), 0, "status")


# The system's limits


@check("ulimit: a server without files for more connections rests, keeps its sessions, says so once, and recovers", only="martlet")
async def _(world):
    async with Server(world, files=120) as server, connected(server.world()) as romeo:
        strangers = []
        try:
            for _ in range(200):
                stranger = socket.create_connection(("127.0.0.1", server.port))
                strangers.append(stranger)
            await until(lambda: "connections cannot be accepted" in server.text(), "the log's line")
            before, begin = server.cpu_seconds(), time.monotonic()
            await asyncio.sleep(3)
            share = (server.cpu_seconds() - before) / (time.monotonic() - begin)
            require(share < 0.05, f"it takes {share:.0%} of a processor while it waits")
            await romeo.plugin["xep_0199"].ping(server.domain, timeout=STEP)
            lines = [line for line in server.text().splitlines() if "connections cannot be accepted" in line]
            equal(len(lines), 1, "lines in the log")
            require(re.search(r"LimitNOFILE.*ulimit -n", lines[0]), f"it does not say what to do: {lines[0]}")
        finally:
            for stranger in strangers:
                stranger.close()
        async with connected(server.world()) as again:
            require(again.boundjid.resource, "there is no session")


# A stop


@check("restart: a session is resumed on the server that is started after its own stopped, and has what came (XEP-0198 §5)", only="martlet")
async def _(world):
    async with two_accounts(world) as (server, world):
        juliet = await world.client("juliet", stream_management=True)
        romeo = await world.client("romeo")
        romeo.send_message(juliet.boundjid.bare, "one")
        await juliet.expect(is_message("one"), "the message before the stop")
        await juliet.break_connection()
        for body in ("two", "three"):
            romeo.send_message(juliet.boundjid.bare, body)
        await romeo.fence()
        await server.stop()
        await server.start()
        await juliet.resume()
        for body in ("two", "three"):
            await juliet.expect(is_message(body), f"the message {body}")
        again = await world.client("romeo", "garden")
        again.send_message(juliet.boundjid.full, "four")
        await juliet.expect(is_message("four"), "a message to the resumed session")
        juliet.refuses_stanza(is_message("one"), "a message again")


@check("restart: what was acknowledged is there after kill -9, whoever had it in hand (P1, P2)", only="martlet")
async def _(world):
    async with two_accounts(world) as (server, world):
        juliet = await world.client("juliet", stream_management=True)
        romeo = await world.client("romeo", stream_management=True)
        await juliet.break_connection()
        for body in ("one", "two"):
            romeo.send_message(juliet.boundjid.bare, body)
        await romeo.acknowledged()
        server.process.kill()
        await server.process.wait()
        await server.start()
        again = await world.client("juliet", "chamber")
        for body in ("one", "two"):
            await again.expect(is_message(body), f"the message {body}")


@check("archive: export and purge say and forget what they should, with the server and without it", only="martlet")
async def _(world):
    async with two_accounts(world) as (server, world):
        juliet, romeo = await world.client("juliet"), await world.client("romeo")
        for body in ("one <&>", "two"):
            romeo.send_message(juliet.boundjid.bare, body)
            await juliet.expect(is_message(body), f"the message {body}")
        address = juliet.boundjid.bare
        for runs in (True, False):
            if not runs:
                await server.stop()
            exported = ElementTree.fromstring(await server.command("archive", "export", address))
            equal([each.text for each in exported.iter("{jabber:client}body")], ["one <&>", "two"], "what was exported")
            none = await server.command("archive", "export", address, "--end", "2020-01-01")
            equal(len(ElementTree.fromstring(none)), 0, "messages of 2019")
        await server.start()
        await server.command("archive", "purge", address, "--before", "2020-01-01", "--yes")
        equal((await server.command("archive", "export", address)).count("<result"), 2, "messages after a purge of 2019")
        await server.command("archive", "purge", address, "--yes")
        equal((await server.command("archive", "export", address)).count("<result"), 0, "messages after a purge")
        equal((await server.command("archive", "export", romeo.boundjid.bare)).count("<result"), 2, "messages of the other")
        require("archive read" in server.text() and "archive purged" in server.text(), "the audit log says nothing")


@contextlib.asynccontextmanager
async def two_accounts(world):
    async with Server(world) as server:
        await server.command("account", "add", f"juliet@{server.domain}", input=PASSWORD.encode() + b"\n")
        inside = server.world()
        try:
            yield server, inside
        finally:
            for client in inside.clients:
                client.abort()
