"""What checks send: words of their own, with slixmpp, and with go-sendxmpp, which is a process for each message."""

import asyncio
import os
import uuid

from harness import STEP


def text():
    """Words that occur in no other message."""
    return f"But soft! {uuid.uuid4()}"


async def go_sendxmpp(world, name, tls, *arguments, password=None, certificate=None, listen=False):
    port = world.port if tls == "starttls" else world.tls_port
    options = ["-u", world.jid(name), "-p", password or world.passwords[name], "-j", f"{world.address}:{port}", "--timeout", "8"]
    if tls == "direct":
        options.append("-t")
    # The one certificate is trusted: no others of the system's.
    environment = dict(os.environ, SSL_CERT_FILE=certificate or world.certificate, SSL_CERT_DIR="/nonexistent", HOME="/nonexistent")
    return await asyncio.create_subprocess_exec(
        "go-sendxmpp",
        *options,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def result_of(process, stdin=b""):
    output, _ = await asyncio.wait_for(process.communicate(stdin), 2 * STEP)
    return process.returncode, output.decode(errors="replace")
