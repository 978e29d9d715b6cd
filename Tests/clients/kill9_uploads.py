"""Kills a server again and again while files are uploaded, and checks that each is there as a whole or not at all (P12).

Two accounts ask for slots (XEP-0363) and put files of random sizes there, several at a time, each piece by piece. The server is
killed with SIGKILL at a random moment and started again. Then every file of the round is fetched: one whose upload was answered with
201 is there with all its bytes; any other is there with all its bytes, or is not there. Nothing is left of uploads that did not end.

scripts/kill9 --uploads prepares a server and calls this.
"""

import asyncio
import hashlib
import os
import random
import ssl
import time

from kill9 import Findings, LOAD_DEADLINE, LONGEST_LOAD, hold, parser_of
from wire import Stream

UPLOAD = "urn:xmpp:http:upload:0"
AT_A_TIME = 4  # uploads of each account
FILES = 12  # that are there in a round before the server may be killed
LARGEST = 2 << 20  # bytes
PIECE = 32 << 10  # bytes that are sent at a time
CLEAN_DEADLINE = 20.0  # seconds after a start in which what is left of uploads has to be gone

MUTANTS = ("lost", "part")


class File:
    def __init__(self, data, path, token):
        self.data, self.path, self.token = data, path, token
        self.is_promised = False


class Run:
    def __init__(self, arguments, server):
        self.arguments, self.server = arguments, server
        self.random = random.Random(arguments.seed)
        self.findings = Findings()
        self.streams = []
        self.files = []
        self.unexpected = []
        # What is checked is the disk, not the certificate.
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    async def start(self):
        self.server.start()
        first, elapsed = await self.server.login(lambda: Stream(self.arguments.domain, "w0"), "secret of w0", "ledger")
        second = await Stream(self.arguments.domain, "w1").login(self.server.address, self.server.port, "secret of w1", "ledger")
        self.streams = [first, second]
        return elapsed

    async def exchange(self, head, pieces=()):
        """Status and body of an answer."""
        reader, writer = await asyncio.open_connection(self.server.address, self.arguments.web_port, ssl=self.tls)
        try:
            writer.write((f"{head}\r\nHost: {self.arguments.domain}\r\nConnection: close\r\n\r\n").encode())
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            answer = await reader.read()
            if not answer:
                raise ConnectionError("no answer")
            head, _, body = answer.partition(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), body
        finally:
            writer.transport.abort()

    async def upload(self, stream):
        data = self.random.randbytes(self.random.randint(1, LARGEST))
        answer = await stream.request("get", f"<request xmlns='{UPLOAD}' filename='a.bin' size='{len(data)}'/>", to=f"upload.{self.arguments.domain}")
        put = answer.find(f".//{{{UPLOAD}}}put")
        if put is None:
            raise SystemExit("there is no slot")
        file = File(data, "/" + put.get("url").split("/", 3)[3], put.find(f"{{{UPLOAD}}}header").text)
        self.files.append(file)
        pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        status, body = await self.exchange(f"PUT {file.path} HTTP/1.1\r\nAuthorization: {file.token}\r\nContent-Length: {len(data)}", pieces)
        if status == 201:
            file.is_promised = True
        else:
            self.unexpected.append(f"{status}: {body[:80]}")

    async def work(self, stream):
        try:
            while True:
                await self.upload(stream)
        except (OSError, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # The server is gone.

    async def load(self):
        self.files, self.unexpected = [], []
        tasks = [asyncio.create_task(self.work(stream)) for stream in self.streams for _ in range(AT_A_TIME)]
        begin = time.monotonic()
        while sum(file.is_promised for file in self.files) < FILES:
            if time.monotonic() - begin > LOAD_DEADLINE:
                raise SystemExit(f"only {sum(file.is_promised for file in self.files)} files in {LOAD_DEADLINE:.0f} s")
            await asyncio.sleep(0.002)
        await asyncio.sleep(self.random.uniform(0, LONGEST_LOAD))
        self.server.kill()
        for task in tasks:
            # What waits for a slot would wait for ever.
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def check(self):
        lost, parts, others = [], [], 0
        for number, file in enumerate(self.files):
            status, body = await self.exchange(f"GET {file.path} HTTP/1.1")
            if self.arguments.mutant == "part" and number == 0:
                body = body[:-1]
            if self.arguments.mutant == "lost" and number == 0:
                status, file.is_promised = 404, True
            if status == 200:
                if hashlib.sha256(body).digest() != hashlib.sha256(file.data).digest():
                    parts.append(f"{file.path}: {len(body)} bytes of {len(file.data)}")
                others += not file.is_promised
            elif file.is_promised:
                lost.append(f"{file.path}: {status}")
            elif status != 404:
                parts.append(f"{file.path}: {status}")
        self.findings.check("every file that was answered with 201 is there", lost)
        self.findings.check("no file is there in part", parts)
        self.findings.check("every upload was answered with 201, or not at all", self.unexpected)
        self.findings.check("nothing is left of uploads that did not end", await self.remains())
        return others

    async def remains(self):
        """Looked after beside the log-in."""
        folder, begin = os.path.join(self.arguments.data, "uploads", "incoming"), time.monotonic()
        while names := os.listdir(folder):
            if time.monotonic() - begin > CLEAN_DEADLINE:
                return names
            await asyncio.sleep(0.05)
        return []

    async def rounds(self):
        await self.start()
        for number in range(1, self.arguments.rounds + 1):
            await self.load()
            elapsed = await self.start()
            others = await self.check()
            promised = sum(file.is_promised for file in self.files)
            print(
                f"round {number}: {promised} files were there, {len(self.files) - promised} were on their way, of which {others} are there; "
                f"log-in {elapsed:.2f} s after the start",
                flush=True,
            )
        print(f"{self.findings.passed} passed, {self.findings.failed} failed")


def main():
    parser = parser_of("Kills a server while files are uploaded and checks what is there.", 20, MUTANTS)
    parser.add_argument("--web-port", type=int, required=True)
    parser.add_argument("--data", required=True, help="the server's data folder")
    hold(parser.parse_args(), Run)


if __name__ == "__main__":
    main()
