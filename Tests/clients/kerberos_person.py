"""Logs in once by a ticket of Kerberos, with Debian's binding of MIT's library (python3-gssapi) and RFC 4752 written out here.

Run by /usr/bin/python3, where Debian's packages are, with KRB5_CONFIG and KRB5CCNAME. Takes one JSON object as its argument and prints one: `outcome` is
`success` with `jid`, the condition of a failure, `no ticket` with `why`, or `dropped`; `mechanisms` and `hostname` are what was offered.
"""

import base64
import json
import socket
import ssl
import sys
import xml.etree.ElementTree as ElementTree

import gssapi

SASL, SASL2 = "urn:ietf:params:xml:ns:xmpp-sasl", "urn:xmpp:sasl:2"
PATIENCE = 20.0  # seconds that an answer may take


class Person:
    def __init__(self, wish):
        self.wish, self.offer = wish, {}
        self.socket = socket.create_connection((wish["address"], wish["port"]), PATIENCE)

    def open(self):
        self.parser, self.depth, self.elements = ElementTree.XMLPullParser(["start", "end"]), 0, []
        self.send(f"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='{self.wish['domain']}'>")
        return self.next()

    def send(self, text):
        self.socket.sendall(text.encode())

    def next(self):
        """The next element below the header."""
        while not self.elements:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the server closed the connection")
            self.parser.feed(data)
            for event, element in self.parser.read_events():
                self.depth += 1 if event == "start" else -1
                if event == "end" and self.depth == 1:
                    self.elements.append(element)
        return self.elements.pop(0)

    def secure(self):
        self.open()
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.next()
        context = ssl.create_default_context(cafile=self.wish["certificate"])
        self.socket = context.wrap_socket(self.socket, server_hostname=self.wish["domain"])
        features = self.open()
        self.offer = {
            "mechanisms": [each.text for each in features.iter(f"{{{SASL}}}mechanism")],
            "hostname": features.findtext(".//{urn:xmpp:domain-based-name:1}hostname"),
        }

    # RFC 4752 §3.1

    def begin(self):
        flags = gssapi.RequirementFlag.integrity
        if self.wish.get("mutual"):
            flags |= gssapi.RequirementFlag.mutual_authentication
        kind = gssapi.NameType.kerberos_principal if "/" in self.wish["service"] else gssapi.NameType.hostbased_service
        self.context = gssapi.SecurityContext(name=gssapi.Name(self.wish["service"], kind), usage="initiate", flags=flags)
        return self.context.step()

    def answer(self, challenge):
        if not self.context.complete:
            return self.context.step(challenge) or b""
        offered = self.context.unwrap(challenge).message
        if offered != b"\x01\x00\x00\x00":
            raise ValueError(f"other layers are offered: {offered!r}")
        choice = bytes([self.wish.get("layer", 1)]) + self.wish.get("size", 0).to_bytes(3, "big") + self.wish.get("authzid", "").encode()
        return self.context.wrap(choice, False).message

    def log_in(self):
        """The outcome. `garbage` is sent in place of the message of that number, `drops` ends the connection in place of it."""
        namespace = SASL2 if self.wish.get("sasl2") else SASL
        number, message = 0, self.begin()
        while True:
            if number == self.wish.get("drops"):
                self.socket.close()
                return {"outcome": "dropped"}
            if number == self.wish.get("garbage"):
                message = bytes(range(256))[:200]
            text = base64.b64encode(message).decode()
            if number > 0:
                self.send(f"<response xmlns='{namespace}'>{text}</response>")
            elif namespace == SASL:
                self.send(f"<auth xmlns='{SASL}' mechanism='GSSAPI'>{text}</auth>")
            else:
                self.send(f"<authenticate xmlns='{SASL2}' mechanism='GSSAPI'><initial-response>{text}</initial-response></authenticate>")
            number, reply = number + 1, self.next()
            kind = reply.tag.partition("}")[2]
            if kind == "challenge":
                message = self.answer(base64.b64decode(reply.text or ""))
            elif kind == "success":
                return {"outcome": "success", "jid": self.bind(reply, namespace)}
            else:
                return {"outcome": reply[0].tag.partition("}")[2]}

    def bind(self, success, namespace):
        if namespace == SASL2:
            return success.findtext(f"{{{SASL2}}}authorization-identifier")
        self.open()
        self.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind></iq>")
        return self.next().findtext(".//{urn:ietf:params:xml:ns:xmpp-bind}jid")


def main():
    person = Person(json.loads(sys.argv[1]))
    person.secure()
    try:
        outcome = person.log_in()
    except gssapi.exceptions.GSSError as error:
        outcome = {"outcome": "no ticket", "why": str(error)}
    print(json.dumps(person.offer | outcome))


main()
