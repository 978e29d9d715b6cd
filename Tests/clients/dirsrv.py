"""389 Directory Server for the checks: on loopback, with a port and a folder of its own, and the entries of Fixtures/directory/base.ldif.

What `dscreate` would put where the system's servers are is put together here, of the same template.
"""

import asyncio
import base64
import hashlib
import pathlib
import re
import shutil

from harness import STEP, equal
from slapd import FIXTURES, SERVICE, SUFFIX, Directory, finished, replaced

PROGRAM = "/usr/sbin/ns-slapd"
TEMPLATE = pathlib.Path("/usr/share/dirsrv/data/template-dse.ldif")
CONFIGURED_SCHEMA = pathlib.Path("/etc/dirsrv/schema")

BACKEND = f"""dn: cn=userRoot,cn=ldbm database,cn=plugins,cn=config
objectClass: top
objectClass: extensibleObject
objectClass: nsBackendInstance
cn: userRoot
nsslapd-suffix: {SUFFIX}

dn: cn="{SUFFIX}",cn=mapping tree,cn=config
objectClass: top
objectClass: extensibleObject
objectClass: nsMappingTree
cn: {SUFFIX}
nsslapd-state: backend
nsslapd-backend: userRoot
"""

# Entries are told apart by nsUniqueId, which the changelog must remember of those that are deleted.
FOLLOWING = """dn: cn=Retro Changelog Plugin,cn=plugins,cn=config
changetype: modify
replace: nsslapd-pluginEnabled
nsslapd-pluginEnabled: on
-
add: nsslapd-attribute
nsslapd-attribute: nsuniqueid:targetUniqueId

dn: cn=Content Synchronization,cn=plugins,cn=config
changetype: modify
replace: nsslapd-pluginEnabled
nsslapd-pluginEnabled: on
"""

# It would hash a password anew, of which keys follow, as soon as somebody has bound with it.
KEEPING = """dn: cn=config
changetype: modify
replace: nsslapd-enable-upgrade-hash
nsslapd-enable-upgrade-hash: off
"""

# The service reads everything, passwords included; people may bind.
RIGHTS = f"""dn: {SUFFIX}
changetype: modify
add: aci
aci: (targetattr = "*")(version 3.0; acl "service"; allow (read, search, compare) userdn = "ldap:///{SERVICE}";)
"""


def hashed(password, salt=bytes(range(24)), iterations=10_000):
    """The form of its own passwords that it reads."""
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"{{PBKDF2-SHA512}}{iterations}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


class DirectoryServer389(Directory):
    """With content synchronization (RFC 4533); `PersistentSearch389` is without. It hashes passwords with PBKDF2 and SHA-512."""

    title = "389"
    admin = "cn=Directory Manager"
    admin_password = "secretsecret"
    hash_name = "SHA-512"
    synchronizes = True

    async def prepare(self):
        folders = {name: self.folder / name for name in ("bak", "config", "db", "home", "inst", "ldif", "lock", "log", "run", "tmp")}
        for folder in folders.values():
            folder.mkdir()
        shutil.copytree(CONFIGURED_SCHEMA, folders["config"] / "schema")
        values = {f"{name}_dir": str(folder) for name, folder in folders.items()} | {
            "schema_dir": str(folders["config"] / "schema"), "cert_dir": str(folders["config"]), "db_home_dir": str(folders["home"]), "db_lib": "bdb",
            "fqdn": "localhost", "ds_port": str(self.port), "ds_user": "root", "rootdn": self.admin, "ds_passwd": hashed(self.admin_password),
            "instance_name": self.folder.name, "ds_suffix": SUFFIX, "ldapi_enabled": "off", "ldapi": str(self.folder / "ldapi"), "ldapi_autobind": "off"}
        text = re.sub(r"%(\w+)%", lambda match: values[match[1]], TEMPLATE.read_text())
        (folders["config"] / "dse.ldif").write_text(text)
        await self.start()
        await self.modify(await self.schema())
        await self.tool("ldapadd", input=BACKEND)
        await self.modify(KEEPING)
        if self.synchronizes:
            await self.modify(FOLLOWING)
        await self.kill()
        await self.start()
        entries = (FIXTURES / "base.ldif").read_text().replace("objectClass: dcObject\nobjectClass: organization", "objectClass: domain\nobjectClass: top")
        await self.add(entries.replace("o: Example\n", "", 1))
        await self.modify(RIGHTS)
        await self.kill()

    async def set_password(self, name, password):
        """It hashes what it is given; RFC 3062 it takes over TLS only."""
        await self.modify(replaced(name, userPassword=password))

    async def schema(self):
        """What the server asks for of this kind of directory."""
        status, said = await finished(self.martlet, "directory", "schema", "--format", "389")
        equal(status, 0, f"martlet directory schema: {said}: status")
        return said

    async def start(self):
        file = self.folder / "config" / "dse.ldif"
        file.write_text(re.sub(r"(?m)^nsslapd-port: \d+$", f"nsslapd-port: {self.port}", file.read_text()))
        await self.launch(self.folder / "log" / "output", PROGRAM, "-D", self.folder / "config", "-i", self.folder / "run" / "pid", "-d", "0")

    async def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), STEP)
            except asyncio.TimeoutError:
                self.process.kill()
                await self.process.wait()
        self.process = None


class PersistentSearch389(DirectoryServer389):
    """Without the plug-in for content synchronization, so that it is followed by persistent search."""

    title = "389 by persistent search"
    synchronizes = False
