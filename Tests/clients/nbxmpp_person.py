"""Somebody with nbxmpp, the library of Gajim, who does in a room what is read from standard input and tells what that library made of what came.

Needs Debian's python3-nbxmpp, so it is run by the system's Python, in a process of its own (rooms_nbxmpp.py). Its only argument is a file that says
who and where (JSON). A command is a line of JSON, `["join", "room@conference.example.org", "nickname"]`; so is what is told: `{"event": "presence", …}`.
It ends when its standard input does.
"""

import json
import logging
import sys

import gi

gi.require_version("Soup", "3.0")
from gi.repository import Gio, GLib  # noqa: E402
from nbxmpp.client import Client  # noqa: E402
from nbxmpp.const import ConnectionProtocol, ConnectionType, InviteType  # noqa: E402
from nbxmpp.namespaces import Namespace  # noqa: E402
from nbxmpp.protocol import JID, Message, Presence  # noqa: E402
from nbxmpp.structs import StanzaHandler  # noqa: E402


def tell(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)


class Complaints(logging.Handler):
    """What the library finds wrong with what came."""

    def emit(self, record):
        tell("complaint", text=record.getMessage())


class Person:
    def __init__(self, account):
        self.loop = GLib.MainLoop()
        self.callbacks = []  # the library keeps none of them
        self.client = client = Client()
        client.set_domain(account["domain"])
        client.set_username(account["name"])
        client.set_password(account["password"])
        client.set_resource("nbxmpp")
        client.set_custom_host(f"{account['address']}:{account['port']}", ConnectionProtocol.TCP, ConnectionType.START_TLS)
        client.set_accepted_certificates([Gio.TlsCertificate.new_from_file(account["certificate"])])
        for signal in ("connected", "disconnected", "connection-failed"):
            client.subscribe(signal, self.changed)
        client.register_handler(StanzaHandler(name="presence", callback=self.presence, priority=50))
        client.register_handler(StanzaHandler(name="message", callback=self.message, priority=50))
        self.muc = client.get_module("MUC")

    def run(self):
        self.client.connect()
        # Not buffered: a line that has been read ahead would wake nobody.
        GLib.io_add_watch(open(0, "rb", buffering=0), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, self.read)
        self.loop.run()

    # What the library tells

    def changed(self, client, signal, *_):
        if signal == "connected":
            client.send_stanza(Presence())
            return tell("login")
        tell("end", why=str(client.get_error()))
        self.loop.quit()

    def presence(self, _client, _stanza, properties):
        user, destroyed = properties.muc_user, properties.muc_destroyed
        tell(
            "presence", sender=str(properties.jid), kind=str(properties.type.value), room=properties.from_muc, own=properties.is_muc_self_presence,
            codes=sorted(code.value for code in properties.muc_status_codes or ()),
            affiliation=user and user.affiliation and user.affiliation.value, role=user and user.role and user.role.value,
            reason=user and user.reason, actor=user and user.actor, occupant=properties.occupant_id, destroyed=destroyed is not None,
            venue=destroyed and destroyed.alternate and str(destroyed.alternate), error=properties.error and properties.error.condition)

    def message(self, _client, _stanza, properties):
        invite, subject = properties.muc_invite, properties.muc_subject
        tell(
            "message", sender=str(properties.jid), kind=properties.type.value, body=properties.body, room=properties.from_muc,
            codes=sorted(code.value for code in properties.muc_status_codes or ()), subject=subject and subject.text,
            private=properties.muc_private_message, invited_to=invite and str(invite.muc), invited_by=invite and str(invite.from_),
            direct=invite is not None and invite.type == InviteType.DIRECT, reason=invite and invite.reason,
            ids=[(each.id, str(each.by)) for each in properties.stanza_ids], occupant=properties.occupant_id,
            delayed=properties.has_server_delay, error=properties.error and properties.error.condition)

    # What it is told to do

    def read(self, source, _condition):
        line = source.readline()
        if not line:
            self.client.disconnect()
            return False
        command, *arguments = json.loads(line)
        getattr(self, f"do_{command}")(*arguments)
        return True

    def answer(self, event, values=lambda result: {}):
        """A callback of a request, which tells what was answered."""

        def finished(task):
            try:
                tell(event, error=None, **values(task.finish()))
            except Exception as error:  # the library has an exception for every error of a stanza
                tell(event, error=getattr(error, "condition", None) or repr(error))

        self.callbacks.append(finished)
        return finished

    def do_ping(self, address):
        self.client.get_module("Ping").ping(JID.from_string(address), callback=self.answer("pong"))

    def do_join(self, room, nickname, password=None):
        presence = Presence(to=f"{room}/{nickname}")
        muc = presence.setTag(Namespace.MUC + " x")
        muc.setTag("history", {"maxchars": "1000"})
        if password:
            muc.setTagData("password", password)
        self.client.send_stanza(presence)

    def do_leave(self, room, nickname):
        self.client.send_stanza(Presence(to=f"{room}/{nickname}", typ="unavailable"))

    def do_say(self, address, body, kind="groupchat"):
        self.client.send_stanza(Message(to=address, body=body, typ=kind))

    def do_subject(self, room, subject):
        self.muc.set_subject(JID.from_string(room), subject)

    def do_info(self, room):
        self.muc.request_info(JID.from_string(room), callback=self.answer("info", lambda result: {
            "name": result.info.muc_name, "description": result.info.muc_description, "open": result.info.muc_is_open,
            "persistent": result.info.muc_is_persistent, "hidden": result.info.muc_is_hidden, "users": result.info.muc_users,
            "archive": result.info.has_mam_2, "moderated": result.info.muc_is_moderated}))

    def do_configuration(self, room):
        self.muc.request_config(JID.from_string(room), callback=self.answer("configuration", lambda result: {
            "fields": {field.var: field.value for field in result.form.iter_fields() if hasattr(field, "value")}}))

    def do_configure(self, room, values):
        """As Gajim does: the form that came is sent back with what is changed."""

        def got(task):
            form = task.finish().form
            for name, value in values.items():
                form[name].value = value
            self.muc.set_config(JID.from_string(room), form, callback=self.answer("configured"))

        self.callbacks.append(got)
        self.muc.request_config(JID.from_string(room), callback=got)

    def do_affiliation(self, room, account, affiliation):
        self.muc.set_affiliation(
            JID.from_string(room), {JID.from_string(account): {"affiliation": affiliation, "reason": "so it is"}}, callback=self.answer("affiliation"))

    def do_affiliations(self, room, affiliation):
        self.muc.get_affiliation(JID.from_string(room), affiliation, callback=self.answer("affiliations", lambda result: {
            "accounts": sorted(str(account) for account in result.users)}))

    def do_kick(self, room, nickname):
        self.muc.set_role(JID.from_string(room), nickname, "none", "avaunt", callback=self.answer("kicked"))

    def do_invite(self, room, account, direct):
        self.muc.invite(room, account, None, "a ball", type_=InviteType.DIRECT if direct else InviteType.MEDIATED)

    def do_destroy(self, room, venue):
        self.muc.destroy(JID.from_string(room), "it is over", venue, callback=self.answer("destroyed"))


def main():
    log = logging.getLogger("nbxmpp")
    log.setLevel(logging.WARNING)
    log.addHandler(Complaints())
    log.propagate = False
    with open(sys.argv[1], encoding="utf-8") as file:
        account = json.load(file)
    Person(account).run()


if __name__ == "__main__":
    main()
