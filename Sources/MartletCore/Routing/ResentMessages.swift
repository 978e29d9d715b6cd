import MartletXML
package import MartletXMPP
package import NIOCore

/// The last messages that the log got before the server was started, by what their senders called them (XEP-0359 §3, `origin-id`). Pure.
///
/// A client whose connection went with the server may not know of its last messages whether they were handled, and sends them again. Those
/// that are in the log for somebody who gets them count as handled and go to nobody a second time (P4). What was refused is not there for
/// anybody but its sender.
package struct ResentMessages: Sendable {
    /// Entries at the end of the log that are looked at: more than clients and server can be apart when the server dies.
    package static let entriesMax = 4_096
    /// How much older than the last of them an entry may be, in milliseconds: what came before was acknowledged long ago.
    package static let ageMax: Int64 = 600_000
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

    /// - Parameter messages: the last of the log.
    package init(_ messages: [LoggedMessage] = [], until: NIODeadline = .distantPast) {
        self.until = until
        let last = messages.map(\.time).max() ?? 0
        for message in messages where message.time >= last - Self.ageMax {
            guard let stanza = Stanza(sent: message.stanza), let name = Self.name(ofLogged: stanza) else { continue }
            names.insert(name)
            senders.insert(name.sender)
        }
    }

    /// Whether any of them is by `account`: others need not be looked at.
    func has(sender account: BareJID) -> Bool { senders.contains(account) }

    package func contains(_ message: borrowing Stanza, to: JID, at time: NIODeadline) -> Bool {
        guard time < until, let name = Self.name(of: message, to: to) else { return false }
        return names.contains(name)
    }

    /// A message to a room is from one of its occupants there, with who that is beside it.
    private static func name(ofLogged stanza: Stanza) -> Name? {
        guard stanza.kind == .message(.groupchat) else { return stanza.to.flatMap { name(of: stanza, to: $0) } }
        let item = stanza.element.root.firstChild("x", rooms)?.firstChild("item", rooms)
        guard let author = item?.attribute("jid").flatMap({ try? JID($0) }) else { return nil }
        var sent = stanza
        sent.from = author
        return name(of: sent, to: .bare(stanza.from.bare.compacted()))
    }

    private static let rooms: Namespace = "http://jabber.org/protocol/muc#user"
    private static let ids: Namespace = "urn:xmpp:sid:0"

    private static func name(of message: borrowing Stanza, to: JID) -> Name? {
        guard let origin = message.element.root.firstChild("origin-id", ids)?.attribute("id"), !origin.isEmpty else { return nil }
        return Name(sender: message.from.bare, recipient: to, origin: origin)
    }
}
