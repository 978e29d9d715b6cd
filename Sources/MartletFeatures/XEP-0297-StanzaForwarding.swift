import MartletXML
import MartletXMPP

extension Namespace {
    static let forwarding: Namespace = "urn:xmpp:forward:0"
}

extension XMLWriter {
    /// A stanza as it would go out, within another (XEP-0297 §3).
    mutating func forwarded(_ stanza: borrowing Stanza) {
        open("forwarded", .forwarding)
        open(copying: stanza.element.root, setting: ["from": stanza.from.description, "to": stanza.to?.description])
        if stanza.omitted.isEmpty {
            appendContent(of: stanza.element.root)
        } else {
            let omitted = Set(stanza.omitted)
            var index = -1
            appendContent(of: stanza.element.root) { _ in
                index += 1
                return !omitted.contains(index)
            }
        }
        raw(stanza.added)
        close()
        close()
    }
}
