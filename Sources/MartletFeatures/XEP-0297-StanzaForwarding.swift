import MartletXML
import MartletXMPP

extension Namespace {
    static let forwarding: Namespace = "urn:xmpp:forward:0"
}

extension XMLWriter {
    /// A stanza as it would go out, within another (XEP-0297 §3).
    ///
    /// - Parameter milliseconds: when the server took it, since 1970, if it is forwarded later than that.
    mutating func forwarded(_ stanza: borrowing Stanza, since milliseconds: Int64? = nil) {
        open("forwarded", .forwarding)
        if let milliseconds { element("delay", .delay, ["stamp": DateTime.text(milliseconds: milliseconds)]) }
        stanza.write(to: &self, recipient: stanza.to)
        close()
    }
}
