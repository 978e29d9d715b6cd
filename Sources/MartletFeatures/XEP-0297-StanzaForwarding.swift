import MartletXML
import MartletXMPP

extension Namespace {
    static let forwarding: Namespace = "urn:xmpp:forward:0"
}

extension XMLWriter {
    /// A stanza as it would go out, within another (XEP-0297 §3).
    mutating func forwarded(_ stanza: borrowing Stanza) {
        open("forwarded", .forwarding)
        stanza.write(to: &self, recipient: stanza.to)
        close()
    }
}
