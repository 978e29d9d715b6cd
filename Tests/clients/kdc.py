"""A realm of Kerberos (MIT's krb5kdc, from Debian) on loopback, in a folder of its own: principals, keytabs and tickets."""

import os
import pathlib
import signal
import socket
import subprocess
import time

PATIENCE = 20.0  # seconds that the start may take

CLIENT = """[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{realm} = {{
  kdc = 127.0.0.1:{port}
}}
[domain_realm]
.test = {realm}
"""

KDC = """[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
  max_life = 1h
}}
[logging]
kdc = FILE:{folder}/kdc.log
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Realm:
    def __init__(self, folder, name):
        self.folder, self.name, self.port, self.process = pathlib.Path(folder), name, free_port(), None
        self.folder.mkdir(mode=0o700, parents=True)
        words = {"realm": name, "port": self.port, "folder": self.folder}
        (self.folder / "krb5.conf").write_text(CLIENT.format(**words))
        (self.folder / "kdc.conf").write_text(KDC.format(**words))
        # Whoever has to do with the realm finds it by this; nothing of the system's is read.
        self.environment = os.environ | {
            "KRB5_CONFIG": str(self.folder / "krb5.conf"), "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}

    def __enter__(self):
        self.run("kdb5_util", "create", "-s", "-r", self.name, "-P", "the master key")
        self.process = subprocess.Popen(["krb5kdc", "-n", "-r", self.name], env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def run(self, *words, stdin=None, **environment):
        done = subprocess.run(words, env=self.environment | environment, input=stdin, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return done.stdout

    def add(self, principal, password=None):
        self.run("kadmin.local", "-r", self.name, "addprinc", *(["-pw", password] if password else ["-randkey"]), principal)

    def change_key(self, principal):
        self.run("kadmin.local", "-r", self.name, "change_password", "-randkey", principal)

    def keytab(self, path, *principals):
        """Adds the present keys of the principals to a keytab."""
        self.run("kadmin.local", "-r", self.name, "ktadd", "-norandkey", "-k", str(path), *principals)
        return path

    def ticket(self, principal, password, cache, *options):
        """Gets a ticket as a person does. Returns the variables by which a client finds it."""
        variables = {"KRB5CCNAME": f"FILE:{cache}"}
        self.run("kinit", *options, principal, stdin=password + "\n", **variables)
        return self.environment | variables
