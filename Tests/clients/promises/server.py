"""A server of a part's own: on ports and in a folder that nobody else has, with the accounts that it names."""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

START_DEADLINE = 20.0  # seconds
STOP_DEADLINE = 30.0


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Server:
    domain = "promise.test"
    address = "127.0.0.1"

    def __init__(self, binary, folder, settings="", more_addresses=(), environment=None):
        """`settings` are lines of the configuration; variables of the environment go before them, so that a check can be seen failing."""
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.port, = free_ports(1)
        self.environment = dict(os.environ, **(environment or {}))
        self.configuration = self.folder / "martlet.yaml"
        self.log = self.folder / "server.log"
        self.process = None
        self.configuration.write_text(
            f"server: {{data: {self.data}, run-as-root: {'true' if os.getuid() == 0 else 'false'}}}\n"
            f"domains: [{{name: {self.domain}}}]\n"
            f"listeners:\n  - {{kind: client, port: {self.port}, addresses: [{', '.join([self.address, *more_addresses])}], plaintext-authentication: true}}\n"
            f"authentication: {{scram-iterations: 4096, mechanisms: [SCRAM-SHA-1]}}\n{settings}"
        )
        self.data.mkdir(mode=0o700, exist_ok=True)

    @property
    def data(self):
        return self.folder / "data"

    def jid(self, name):
        return f"{name}@{self.domain}"

    @staticmethod
    def password(name):
        return f"secret of {name}"

    def add_accounts(self, *names):
        """To a server that runs."""
        lines = "".join(f"{self.jid(name)}\t{self.password(name)}\n" for name in names)
        accounts = self.folder / "accounts"
        accounts.write_text(lines)
        self.command("account", "import", str(accounts))

    def command(self, *words):
        done = subprocess.run(
            [self.binary, *words, "--config", self.configuration], env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"martlet {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")

    async def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--config", self.configuration], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_DEADLINE
        while True:
            try:
                _, writer = await asyncio.open_connection(self.address, self.port)
                writer.close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server did not start: {self.last_words()}") from None
                await asyncio.sleep(0.02)  # nothing tells a client that a port is open, so it asks

    async def stop(self, number=signal.SIGTERM):
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(number)
        deadline = time.monotonic() + STOP_DEADLINE
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(f"the server did not stop within {STOP_DEADLINE:.0f} s")
            await asyncio.sleep(0.02)

    def abandon(self):
        """Leaves no process behind, whatever happened."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def has_ended(self):
        return self.process.poll() is not None

    def last_words(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])

    def memory(self):
        """Bytes of memory that the process has to itself."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("smaps_rollup has no Pss_Anon")
