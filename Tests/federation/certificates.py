"""A certification authority of the checks' own, with right certificates and all the wrong ones (openssl)."""

import dataclasses
import datetime
import functools
import http.server
import pathlib
import subprocess
import threading

from network import AUTHORITY

LIST_PORT, RESPONDER_PORT = 8080, 8081

# Right, but by one kind of name only, other than that of DNS (RFC 4985; RFC 6120 §13.7.1.4).
RARE = ("srv-name", "xmpp-address")
# What is wrong with the others.
WRONG = ("expired", "not-yet-valid", "self-signed", "wrong-name", "other-authority", "revoked", "revoked-http", "revoked-ocsp", "common-name")
# Who knows that a certificate is revoked, if that is not only in the file `Authority.revocations`: said in the certificate.
PUBLISHED = {
    "revoked-http": f"crlDistributionPoints = URI:http://{AUTHORITY}:{LIST_PORT}/crl.der\n",
    "revoked-ocsp": f"authorityInfoAccess = OCSP;URI:http://{AUTHORITY}:{RESPONDER_PORT}/\n",
}
ELSEWHERE = "elsewhere.example"
# As few bytes as can be, about 260: no extensions, and a name of one letter.
TINY = "tiny"

CONFIGURATION = """
[ca]
default_ca = authority
[authority]
dir = {folder}
database = $dir/index.txt
new_certs_dir = $dir/issued
serial = $dir/serial
crlnumber = $dir/crlnumber
certificate = $dir/ca.pem
private_key = $dir/ca-key.pem
default_md = sha256
default_days = 90
default_crl_days = 30
policy = anything
unique_subject = no
[anything]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = Authority of the federation checks
[responder]
extendedKeyUsage = OCSPSigning
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""

SERVER = """
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
subjectAltName = {names}
"""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Files in PEM form: the certificate, its key, and both in one."""

    chain: str
    key: str
    both: str


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.responder = None
        (self.folder / "issued").mkdir(parents=True)
        for name, content in (("index.txt", ""), ("serial", "01\n"), ("crlnumber", "01\n")):
            (self.folder / name).write_text(content)
        (self.folder / "ca.cnf").write_text(CONFIGURATION.format(folder=self.folder))
        self.certificate = str(self.folder / "ca.pem")
        self.revocations = str(self.folder / "crl.pem")
        openssl(
            "req", "-x509", *new_key(self.folder / "ca-key.pem"), "-config", self.folder / "ca.cnf", "-extensions", "root", "-days", "90",
            "-out", self.certificate,
        )
        self.list_revocations()

    def issue(self, domain, kind="good", others=None):
        """A certificate for a domain and its rooms; `kind` is `good`, `TINY`, or one of `RARE` or `WRONG`."""
        stem = self.folder / f"{domain}-{kind}"
        chain, key, both = (stem.with_name(stem.name + ending) for ending in (".pem", "-key.pem", "-both.pem"))
        if both.exists():
            return Certificate(str(chain), str(key), str(both))
        named = ELSEWHERE if kind == "wrong-name" else domain
        # Nobody may look at the common name (RFC 9525 §2), so that it says nothing where it is not what a check is about.
        common = domain if kind == "common-name" else ELSEWHERE
        configuration = stem.with_name(stem.name + ".cnf")
        configuration.write_text((self.folder / "ca.cnf").read_text() + SERVER.format(names=names(named, kind)) + PUBLISHED.get(kind, ""))
        if kind == TINY:
            request = chain.with_suffix(".csr")
            openssl("req", "-new", *new_key(key), "-config", configuration, "-subj", "/CN=m", "-out", request)
            openssl("x509", "-req", "-in", request, "-signkey", key, "-set_serial", "1", "-days", "90", "-out", chain)
        elif kind == "self-signed":
            openssl(
                "req", "-x509", *new_key(key), "-config", configuration, "-extensions", "server", "-days", "90", "-subj", f"/CN={common}",
                "-out", chain,
            )
        else:
            self.sign(common, kind, configuration, chain, key, others)
        both.write_text(chain.read_text() + key.read_text())
        return Certificate(str(chain), str(key), str(both))

    def sign(self, common, kind, configuration, chain, key, others):
        request = chain.with_suffix(".csr")
        openssl("req", "-new", *new_key(key), "-config", configuration, "-subj", f"/CN={common}", "-out", request)
        begin, end = {"expired": (-20, -1), "not-yet-valid": (10, 20)}.get(kind, (-1, 20))
        signer = others.folder / "ca.cnf" if kind == "other-authority" else configuration
        openssl(
            "ca", "-batch", "-notext", "-config", signer, "-extfile", configuration, "-extensions", "server", "-in", request, "-out", chain,
            "-startdate", day(begin), "-enddate", day(end),
        )
        if kind.startswith("revoked"):
            openssl("ca", "-config", configuration, "-revoke", chain)
            self.list_revocations()

    def list_revocations(self):
        openssl("ca", "-config", self.folder / "ca.cnf", "-gencrl", "-out", self.revocations)
        (self.folder / "published").mkdir(exist_ok=True)
        openssl("crl", "-in", self.revocations, "-outform", "DER", "-out", self.folder / "published/crl.der")
        if self.responder is not None:
            self.start_responder()

    def publish(self):
        """Serves the list over HTTP, and answers by OCSP. Returns what ends that."""
        handler = functools.partial(Quiet, directory=self.folder / "published")
        lists = http.server.ThreadingHTTPServer((AUTHORITY, LIST_PORT), handler)
        threading.Thread(target=lists.serve_forever, daemon=True).start()
        key, request, chain = (self.folder / f"responder{ending}" for ending in ("-key.pem", ".csr", ".pem"))
        configuration = self.folder / "ca.cnf"
        openssl("req", "-new", *new_key(key), "-config", configuration, "-subj", "/CN=responder", "-out", request)
        openssl(
            "ca", "-batch", "-notext", "-config", configuration, "-extfile", configuration, "-extensions", "responder", "-in", request, "-out", chain,
        )
        self.start_responder()

        def end():
            lists.shutdown()
            self.stop_responder()

        return end

    def start_responder(self):
        """It reads the index when it starts, and never again."""
        self.stop_responder()
        self.responder = subprocess.Popen(
            [
                "openssl", "ocsp", "-port", str(RESPONDER_PORT), "-index", str(self.folder / "index.txt"), "-CA", self.certificate,
                "-rkey", str(self.folder / "responder-key.pem"), "-rsigner", str(self.folder / "responder.pem"), "-nmin", "60",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def stop_responder(self):
        if self.responder is not None:
            self.responder.terminate()
            self.responder.wait()
        self.responder = None


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def names(domain, kind):
    """What a certificate is for. A good one has the names of DNS and those of the service.

    It has no xmppAddr: ejabberd 23.01 knows no peer whose certificate has one (README.md).
    """
    both = domain, f"conference.{domain}"
    found = {
        "DNS": [f"DNS:{name}" for name in both],
        "srv-name": [f"otherName:1.3.6.1.5.5.7.8.7;IA5:_xmpp-server.{name}" for name in both],
        "xmpp-address": [f"otherName:1.3.6.1.5.5.7.8.5;UTF8:{name}" for name in both],
    }
    if kind == "common-name":
        return f"email:postmaster@{ELSEWHERE}"
    return ",".join(found[kind] if kind in RARE else found["DNS"] + found["srv-name"])


def new_key(file):
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file


def day(days):
    """A moment so many days from now, as openssl writes it."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")
