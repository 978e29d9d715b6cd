"""Where the checks take place: a network namespace with addresses on its loopback, and a DNS server that knows nobody else.

scripts/federation makes the namespace and runs this inside it. The addresses are private ones rather than 127.0.0.0/8: libunbound, by
which Prosody resolves, asks no server on loopback.
"""

import pathlib
import subprocess

NETWORK = "10.83.0"
NAME_SERVER = f"{NETWORK}.53"
REFUSING = f"{NETWORK}.60"  # nothing listens there
AUTHORITY = f"{NETWORK}.54"  # publishes which certificates are revoked
SILENT = f"{NETWORK}.61"  # packets to it are dropped
STRANGERS = 24  # fake servers that a run may have at most

DOMAINS = {
    "martlet": ("capulet.example", f"{NETWORK}.1"),
    "prosody": ("montague.example", f"{NETWORK}.2"),
    "ejabberd": ("verona.example", f"{NETWORK}.3"),
    "jabberd2": ("mantua.example", f"{NETWORK}.4"),
    # Second ones of a kind, for pairs of two alike, and a third one for three.
    "martlet2": ("messina.example", f"{NETWORK}.11"),
    "martlet3": ("syracuse.example", f"{NETWORK}.14"),
    "prosody2": ("padua.example", f"{NETWORK}.12"),
    "ejabberd2": ("venice.example", f"{NETWORK}.13"),
}

NOWHERE = "nowhere.example"  # does not exist
UNSERVED = "unserved.example"  # says in its DNS that it has no such service (RFC 2782: the target is the root)
DOWN = "down.example"  # nobody listens
MUTE = "mute.example"  # packets get lost
LOST = "lost.example"  # its DNS server does not answer
STRANGER_AT = "stranger-at-{}.example"  # is sent to a server that does not host it


def stranger(number):
    """Domain and address of a fake server."""
    return f"peer{number}.example", f"{NETWORK}.{100 + number}"


def prepare():
    """Addresses and the one that swallows."""
    run("ip", "link", "set", "lo", "up")
    used = [address for _, address in DOMAINS.values()] + [NAME_SERVER, AUTHORITY, REFUSING, SILENT]
    used += [stranger(number)[1] for number in range(STRANGERS)]
    for address in used:
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    run("iptables", "-A", "INPUT", "-d", SILENT, "-j", "DROP")


def cut_between(one, other):
    """All packets between two servers are dropped, also those of connections that exist. Returns what heals it."""
    # On the loopback both ends have the address that was dialled: the ports of servers tell what is to be dropped.
    rules = [
        ("INPUT", "-p", "tcp", "-d", address, "-m", "multiport", "--ports", "5269,5270", "-j", "DROP") for address in (one, other)
    ]
    for rule in rules:
        run("iptables", "-I", *rule)

    def heal():
        for rule in rules:
            run("iptables", "-D", *rule)

    return heal


def connections(ports=(5269, 5270)):
    """How many connections between servers exist, by the port that was dialled."""
    output = run("ss", "-Htn", "state", "established")
    # Each connection is listed once for each end: only the end that listens has the port as its own.
    local = [row.split()[2].rpartition(":")[2] for row in output.splitlines()]
    return {port: local.count(str(port)) for port in ports}


class NameServer:
    """dnsmasq with the records of all domains. It has no upstream: what it does not know does not exist."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.process = None

    def start(self, direct=()):
        """Domains in `direct` are found by `_xmpps-server` only (XEP-0368), all others by `_xmpp-server`."""
        self.stop()
        lines = [
            "no-resolv", "no-hosts", "bind-interfaces", "port=53", "pid-file=", "log-queries", f"listen-address={NAME_SERVER}",
            f"log-facility={self.folder / 'queries.log'}", "local=/example/", "local-ttl=30",
        ]
        for domain, address in [*DOMAINS.values(), *(stranger(number) for number in range(STRANGERS))]:
            for name in (domain, f"conference.{domain}"):
                lines.append(f"host-record={name},{address}")
                lines.append(service(name, domain, domain in direct))
        for kind, (domain, _) in DOMAINS.items():
            lines.append(service(STRANGER_AT.format(kind), domain, False))
        for name, address in ((DOWN, REFUSING), (MUTE, SILENT)):
            lines += [f"host-record=xmpp.{name},{address}", service(name, f"xmpp.{name}", False)]
        lines += [f"srv-host=_xmpp-server._tcp.{UNSERVED}", f"server=/{LOST}/{SILENT}"]
        configuration = self.folder / "dnsmasq.conf"
        configuration.write_text("\n".join(lines) + "\n")
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                ["dnsmasq", "--keep-in-foreground", f"--conf-file={configuration}", "--user=root"], stdout=output, stderr=output,
                start_new_session=True,
            )

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def service(name, target, is_direct):
    label, port = ("_xmpps-server", 5270) if is_direct else ("_xmpp-server", 5269)
    return f"srv-host={label}._tcp.{name},{target},{port}"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
