"""Opens connections that do not log in, as far as a stage, and prints what the server's memory grew by for each.

half_open.py STAGE PID COUNT ADDRESS PORT TLS_PORT
"""
import socket
import ssl
import sys
import time

HEADER = (b"<?xml version='1.0'?><stream:stream to='montague.test' version='1.0' xmlns='jabber:client'"
          b" xmlns:stream='http://etherx.jabber.org/streams'>")
# An element that does not end, a little shorter than what may be sent before log-in.
ELEMENT = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + b"A" * 16_000
TITLES = {
    "connected": "nothing sent",
    "header": "stream opened",
    "element": "stream opened, 16 kB of an element",
    "hello": "TLS, half of the hello sent",
    "tls": "TLS, stream opened",
    "tls-element": "TLS, stream opened, 16 kB of an element",
}


def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


def settled(pid):
    """Memory once it has stopped growing."""
    before, calm = memory(pid), 0
    while calm < 3:
        time.sleep(0.2)
        now = memory(pid)
        calm = calm + 1 if now <= before else 0
        before = now
    return before


def hear(connection, text):
    heard = b""
    while text not in heard:
        more = connection.recv(65_536)
        if not more:
            raise EOFError(heard)
        heard += more


def open_one(stage, plain, secure, context):
    connection = socket.create_connection(secure if stage in ("hello", "tls", "tls-element") else plain)
    if stage == "hello":
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="montague.test")
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = outgoing.read()
        connection.sendall(hello[: len(hello) // 2])
    elif stage in ("tls", "tls-element"):
        connection = context.wrap_socket(connection, server_hostname="montague.test")
    if stage in ("header", "element", "tls", "tls-element"):
        connection.sendall(HEADER)
        hear(connection, b"</stream:features>")
    if stage in ("element", "tls-element"):
        connection.sendall(ELEMENT)
    return connection


def main():
    stage, pid, count, address, port, tls_port = sys.argv[1:]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain, secure = (address, int(port)), (address, int(tls_port))
    # What is set up with the first connections is not theirs.
    for _ in range(20):
        open_one(stage, plain, secure, context).close()
    before = settled(pid)
    held = [open_one(stage, plain, secure, context) for _ in range(int(count))]
    each = (settled(pid) - before) // len(held)
    print(f"{each:>8}  {TITLES[stage]}", flush=True)


main()
