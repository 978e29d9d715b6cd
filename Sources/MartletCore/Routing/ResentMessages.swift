import MartletXML
package import MartletXMPP
package import NIOCore

/// The last messages that the log got before the server was started, by what their senders called them (XEP-0359 §3, `origin-id`). Pure.
///
/// A client whose connection went with the server may not know of its last messages whether they were handled, and sends them again. Those
/// that are in the log count as handled and go to nobody a second time (P4).
package struct ResentMessages: Sendable {
    /// Entries at the end of the log that are looked at: more than clients and server can be apart when the server dies.
    package static let entriesMax = 4_096
    /// How long after the start clients may come with them.
    package static let rememberedFor = TimeAmount.hours(24)

    private struct Name: Hashable {
        let sender: BareJID
        let recipient: JID
        let origin: String
    }

    private var names: Set<Name> = []
    private var senders: Set<BareJID> = []
    private let until: NIODeadline

    /// - Parameter stanzas: as they are in the log.
    package init(_ stanzas: [EncodedStanza] = [], until: NIODeadline = .distantPast) {
        self.until = until
        for stanza in stanzas.lazy.compactMap({ Stanza(sent: $0) }) {
            guard let to = stanza.to, let name = Self.name(of: stanza, to: to) else { continue }
            names.insert(name)
            senders.insert(name.sender)
        }
    }

    /// Whether any of them is by `account`: others need not be looked at.
    func has(sender account: BareJID) -> Bool { senders.contains(account) }

    func contains(_ message: borrowing Stanza, to: JID, at time: NIODeadline) -> Bool {
        guard time < until, let name = Self.name(of: message, to: to) else { return false }
        return names.contains(name)
    }

    private static let ids: Namespace = "urn:xmpp:sid:0"

    private static func name(of message: borrowing Stanza, to: JID) -> Name? {
        guard let origin = message.element.root.firstChild("origin-id", ids)?.attribute("id"), !origin.isEmpty else { return nil }
        return Name(sender: message.from.bare, recipient: to, origin: origin)
    }
}
