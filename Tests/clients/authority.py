"""An authority of people's certificates, made by OpenSSL for one check: a root, an authority below it, and what they issue and revoke."""

import asyncio
import pathlib

from harness import equal

POLICY, OTHER_POLICY = "1.3.6.1.4.1.99999.1.2", "1.3.6.1.4.1.99999.1.3"
AUTHORITY = ("basicConstraints = critical,CA:TRUE", "keyUsage = critical,keyCertSign,cRLSign", "subjectKeyIdentifier = hash")
KEYS = {f"P-{bits}": ("ec", "-pkeyopt", f"ec_paramgen_curve:P-{bits}") for bits in (256, 384, 521)} | {"RSA": ("rsa:2048",), "Ed25519": ("ed25519",)}
SIGNS, LOGS_IN = "keyUsage = critical,digitalSignature", "extendedKeyUsage = clientAuth"
CONFIGURATION = """
[ca]
default_ca = record
[record]
database = {folder}/{issuer}.txt
new_certs_dir = {folder}
default_md = sha256
default_crl_days = 7
policy = any
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = x
[extensions]
{extensions}
"""


def address(jid):
    """The subject's XMPP address (RFC 6120 §13.7.1.4)."""
    return f"subjectAltName = otherName:1.3.6.1.5.5.7.8.5;UTF8:{jid}"


def person(jid, *more):
    """What is in a certificate by which somebody logs in."""
    return ("basicConstraints = critical,CA:FALSE", SIGNS, LOGS_IN, address(jid), f"certificatePolicies = {POLICY}", *more)


class Authority:
    """Files NAME.pem and NAME.key in a folder, of `root` and `issuing`, and of whom something is issued."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    async def make(self):
        self.folder.mkdir()
        await self.issue("root", *AUTHORITY, issuer=None)
        await self.issue("issuing", *AUTHORITY, f"certificatePolicies = {POLICY},{OTHER_POLICY}", issuer="root")
        (self.folder / "lists").mkdir()
        for issuer in ("root", "issuing"):
            (self.folder / f"{issuer}.txt").touch()
            await self.publish(issuer)
        return self

    def file(self, name, kind="pem"):
        return self.folder / f"{name}.{kind}"

    def shows(self, name, *chain):
        """What `openssl s_client` shows: the certificate, and those of authorities behind it."""
        words = ["-cert", self.file(name), "-key", self.file(name, "key")]
        if chain:
            above = self.file(f"{name}.above")
            above.write_text("".join(self.file(each).read_text() for each in chain))
            words += ["-cert_chain", above]
        return words

    def chain(self, name, *chain):
        """One file with all of it, for libraries."""
        whole = self.file(f"{name}.chain")
        whole.write_text("".join(self.file(each).read_text() for each in (name, *chain)))
        return whole

    async def issue(self, name, *extensions, issuer="issuing", key="P-256"):
        """A certificate for a new key; without an issuer it is signed by itself."""
        words = ["req", "-x509", "-new", *self.new_key(name, key)]
        if issuer:
            words += ["-CA", self.file(issuer), "-CAkey", self.file(issuer, "key")]
        await self.openssl(*words, "-days", "90", "-sha256", "-subj", f"/CN={name}", *self.configured(name, extensions), "-out", self.file(name))

    async def issue_until(self, name, end, *extensions):
        """One that has ended, or will before long. `req` counts in whole days only."""
        await self.openssl(
            "req", "-new", *self.new_key(name), "-subj", f"/CN={name}",
            "-config", self.configuration(name, ()), "-out", self.file(name, "csr"))
        await self.sign(name, *extensions, end=end)

    async def sign(self, name, *extensions, end=None):
        """The certificate for a request, whoever has the key."""
        times = ("-startdate", "20240101000000Z", "-enddate", f"{end:%Y%m%d%H%M%SZ}") if end else ("-days", "90")
        await self.openssl(
            "ca", "-batch", "-notext", *self.signing("issuing"), "-in", self.file(name, "csr"), *times, *self.configured(name, extensions),
            "-out", self.file(name))

    async def note(self, name):
        """The authority's responder knows of it."""
        await self.openssl("ca", *self.signing("issuing"), "-valid", self.file(name), "-config", self.configuration("issuing", ()))

    async def revoke(self, name, issuer="issuing"):
        await self.openssl("ca", *self.signing(issuer), "-revoke", self.file(name), "-config", self.configuration(issuer, ()))

    async def publish(self, issuer="issuing"):
        """The list of what is revoked, which takes the place of the last one in one step."""
        fresh = self.file(issuer, "crl.new")
        await self.openssl("ca", *self.signing(issuer), "-gencrl", "-crlexts", "crl", "-config", self.configuration(issuer, ()), "-out", fresh)
        fresh.rename(self.folder / "lists" / f"{issuer}.crl")

    def new_key(self, name, key="P-256"):
        return "-newkey", *KEYS[key], "-nodes", "-keyout", self.file(name, "key")

    def signing(self, issuer):
        return "-cert", self.file(issuer), "-keyfile", self.file(issuer, "key")

    def configured(self, name, extensions):
        return "-config", self.configuration(name, extensions), "-extensions", "extensions"

    def configuration(self, name, extensions):
        issuer = name if name in ("root", "issuing") else "issuing"
        file = self.file(name, "cnf")
        text = CONFIGURATION.format(folder=self.folder, issuer=issuer, extensions="\n".join(extensions))
        file.write_text(text + "[crl]\nauthorityKeyIdentifier = keyid\n")
        return file

    async def openssl(self, *words):
        process = await asyncio.create_subprocess_exec(
            "openssl", *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate()
        equal(process.returncode, 0, f"openssl {' '.join(map(str, words))}: {output.decode(errors='replace')}")
