"""Checks of TLS: what each profile takes and refuses, as `openssl s_client` sees it, with a certificate of either kind of key."""

import asyncio
import itertools

from harness import check, equal
from operations import Server, free_ports

AEAD = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
# Without forward secrecy, or without authenticated encryption.
OLD = {
    "EC": ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA256"),
    "RSA": ("AES128-SHA", "AES256-SHA", "AES128-GCM-SHA256", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"),
}
KEYS = {"EC": ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"), "RSA": ("rsa:2048",)}
NAMES = {"EC": "ECDSA", "RSA": "RSA"}


def sweep(key):
    """What is tried, and the profiles that take it."""
    kind = NAMES[key]
    for version in ("-tls1", "-tls1_1"):
        # At the lowest security level, so that it is the server who refuses.
        yield (version, "-cipher", "ALL:@SECLEVEL=0"), ()
    for suite in AEAD:
        yield ("-tls1_2", "-cipher", f"ECDHE-{kind}-{suite}"), ("intermediate",)
    for suite in OLD[key]:
        yield ("-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"), ()
    for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
        yield ("-tls1_3", "-ciphersuites", suite), ("intermediate", "modern", "strict")
    for group, profiles in (("P-384", ("intermediate", "modern", "strict")), ("P-256", ("intermediate", "modern")), ("X25519", ("intermediate", "modern"))):
        yield ("-tls1_3", "-groups", group), profiles


async def output(*words):
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    text, _ = await process.communicate()
    return process.returncode, text.decode(errors="replace")


async def takes(port, domain, words):
    _, text = await output("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", domain, *words)
    return "Cipher is (NONE)" not in text and "Cipher is" in text


@check("TLS: each profile takes and refuses what it says, over direct TLS and HTTPS, with ECDSA and RSA (RFC 9325 §4)", only="martlet")
async def _(world):
    for key in KEYS:
        server = Server(world)
        chain, secret = server.folder / "chain.pem", server.folder / "key.pem"
        status, text = await output(
            "openssl", "req", "-x509", "-newkey", *KEYS[key], "-nodes", "-days", "90", "-subj", f"/CN={server.domain}",
            "-addext", f"subjectAltName=DNS:{server.domain}", "-keyout", secret, "-out", chain)
        equal(status, 0, text)
        secret.chmod(0o600)
        places = list(itertools.product(("client-tls", "https", "server-tls"), ("intermediate", "modern", "strict")))
        ports = dict(zip(places, free_ports(len(places))))
        listeners = "".join(
            f"  - {{kind: {kind}, port: {port}, addresses: [127.0.0.1], tls-profile: {profile}}}\n" for (kind, profile), port in ports.items())
        text = server.configuration.read_text()
        text = text.replace(f"{{name: {server.domain}}}", f"{{name: {server.domain}, certificate: {chain}, key: {secret}}}")
        server.configuration.write_text(text.replace("authentication:", listeners + "authentication:"))
        async with server:
            for words, profiles in sweep(key):
                for (kind, profile), port in ports.items():
                    equal(await takes(port, server.domain, words), profile in profiles, f"{key}, {kind}, {profile}, {' '.join(words)}: taken")


@check("TLS: of certificates of ECDSA and RSA side by side each client is shown one that it can verify, and ECDSA if it can", only="martlet")
async def _(world):
    server = Server(world)
    files = {}
    for key in KEYS:
        files[key] = (server.folder / f"{key}.pem", server.folder / f"{key}.key")
        status, text = await output(
            "openssl", "req", "-x509", "-newkey", *KEYS[key], "-nodes", "-days", "90", "-subj", f"/CN={key}", "-addext", f"subjectAltName=DNS:{server.domain}",
            "-keyout", files[key][1], "-out", files[key][0])
        equal(status, 0, text)
        files[key][1].chmod(0o600)
    ports = dict(zip(("client-tls", "https", "server-tls"), free_ports(3)))
    listeners = "".join(f"  - {{kind: {kind}, port: {port}, addresses: [127.0.0.1]}}\n" for kind, port in ports.items())
    pairs = f"certificate: {files['EC'][0]}, key: {files['EC'][1]}, second-certificate: {files['RSA'][0]}, second-key: {files['RSA'][1]}"
    text = server.configuration.read_text().replace(f"{{name: {server.domain}}}", f"{{name: {server.domain}, {pairs}}}")
    server.configuration.write_text(text.replace("authentication:", listeners + "authentication:"))
    offers = (
        ((), "EC"), (("-tls1_2",), "EC"), (("-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA384"), "RSA"), (("-tls1_2", "-sigalgs", "RSA+SHA256"), "RSA"),
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "RSA"), (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), "EC"),
        (("-tls1_3", "-sigalgs", "ECDSA+SHA256"), "EC"),
    )
    async with server:
        places = [(port, ()) for port in ports.values()] + [(server.port, ("-starttls", "xmpp", "-xmpphost", server.domain))]
        for port, more in places:
            for words, key in offers:
                _, said = await output("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", server.domain, *more, *words)
                seen = [line for line in said.splitlines() if line.startswith("subject=")]
                equal([line.split("=")[-1].strip() for line in seen], [key], f"port {port}, {' '.join(words)}: shown")
