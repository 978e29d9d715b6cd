import MartletXML
package import MartletXMPP
import NIOCore

/// What waits for a client that nobody looks at (XEP-0352), so that its radio can sleep. Pure.
///
/// Only what is never durable (`reliability.md` P9) waits: presence and chat states. Both say how something is now, so that only the newest
/// about one subject is kept, and it needs no mark of when it was sent. Everything else goes out at once, with all that waits before it:
/// what goes out is what came in, in its order, without what a newer one has replaced. In particular go out at once:
///
/// - what somebody may be waiting for: requests, answers, errors, subscriptions, a room's word that the client itself is in it (XEP-0045
///   status 110);
/// - messages with anything but a chat state in them: nobody knows what is in an encrypted one;
/// - receipts (XEP-0184) and markers (XEP-0333), as with ejabberd: they are stored and acknowledged like messages (P1), and a marker from the
///   user's other client takes a notification away. Prosody holds them back;
/// - notifications (XEP-0060): of two about one node the older one may be about another item.
package struct ClientStateQueue: Sendable {
    /// What one stanza says something about, and a newer one says again.
    private enum Subject: Hashable {
        /// Whether an entity is there, and how.
        case presence(JID)
        /// What a peer does in a conversation with the account (XEP-0085).
        case chatState(JID)
        /// What the account's other clients do in a conversation with a peer. A client may take its notifications away when it hears of that
        /// (XEP-0280 §10.2), and ejabberd lets it hear at once; a marker says the same, and does not wait.
        case ownChatState(JID)
    }

    private struct Held {
        var stanza: EncodedStanza
        /// Its place in the order of arrival.
        var place: UInt64
    }

    /// How much may wait.
    package struct Limits: Hashable, Sendable {
        /// Stanzas. 0: none, ever.
        package var stanzasMax: Int
        package var bytesMax: Int

        package init(stanzasMax: Int = 1_000, bytesMax: Int = 256 * 1024) {
            self.stanzasMax = stanzasMax
            self.bytesMax = bytesMax
        }
    }

    private let limits: Limits
    private var held: [Subject: Held] = [:]
    private var arrivals: UInt64 = 0
    package private(set) var bytes = 0

    /// Longest message that is looked into, in bytes: a chat state has a few hundred, as a carbon twice as many.
    package static let chatStateBytesMax = 4_096

    package init(_ limits: Limits) { self.limits = limits }

    package var count: Int { held.count }

    /// Keeps a stanza if it can wait and there is room for it.
    ///
    /// - Returns: whether it waits. If not, it goes out, after everything that ``release()`` gives.
    package mutating func hold(_ stanza: EncodedStanza) -> Bool {
        guard let subject = Self.subject(of: stanza) else { return false }
        if let replaced = held.removeValue(forKey: subject) { bytes -= replaced.stanza.bytes.readableBytes }
        let size = stanza.bytes.readableBytes
        guard held.count < limits.stanzasMax, bytes + size <= limits.bytesMax else { return false }
        held[subject] = Held(stanza: stanza, place: arrivals)
        arrivals += 1
        bytes += size
        return true
    }

    /// Everything that waits, in the order in which it came. Then nothing does.
    package mutating func release() -> [EncodedStanza] {
        guard !held.isEmpty else { return [] }
        defer {
            held = [:]
            bytes = 0
        }
        return held.values.sorted { $0.place < $1.place }.map(\.stanza)
    }
}

// MARK: What can wait

extension Namespace {
    fileprivate static let chatStates: Namespace = "http://jabber.org/protocol/chatstates"
    fileprivate static let carbons: Namespace = "urn:xmpp:carbons:2"
    fileprivate static let forwarding: Namespace = "urn:xmpp:forward:0"
    fileprivate static let hints: Namespace = "urn:xmpp:hints"
    fileprivate static let stanzaIDs: Namespace = "urn:xmpp:sid:0"
    fileprivate static let occupantIDs: Namespace = "urn:xmpp:occupant-id:0"
    fileprivate static let roomUser: Namespace = "http://jabber.org/protocol/muc#user"
}

extension ClientStateQueue {
    /// `nil` for what cannot wait.
    private static func subject(of encoded: EncodedStanza) -> Subject? {
        switch encoded.bytes.getInteger(at: encoded.bytes.readerIndex + 1, as: UInt8.self) {
        case UInt8(ascii: "p"): break
        case UInt8(ascii: "m") where encoded.bytes.readableBytes <= chatStateBytesMax: break
        default: return nil
        }
        guard let stanza = Stanza(sent: encoded) else { return nil }
        switch stanza.kind {
        case .presence(.available), .presence(.unavailable): return isOfSelf(stanza.element.root) ? nil : .presence(stanza.from)
        case .message(.error): return nil
        case .message: return chatState(stanza)
        case .presence, .iq: return nil
        }
    }

    /// Whether a room tells the client of its own place in it (XEP-0045 §7.2.2): that ends an entrance, or a stay.
    private static func isOfSelf(_ presence: ElementView) -> Bool {
        presence.children.contains { child in
            child.isNamed("x", .roomUser) && child.children.contains { $0.isNamed("status", .roomUser) && $0.attributeEquals("code", "110") }
        }
    }

    private static func chatState(_ message: Stanza) -> Subject? {
        let root = message.element.root
        // Nobody but the server writes in the account's name.
        if let to = message.to, message.from == .bare(to.bare), let copy = root.children.first(where: { $0.isIn(.carbons) }) {
            return chatState(copy)
        }
        return isChatState(root) ? .chatState(message.from) : nil
    }

    /// A copy of a chat state can wait as well as the chat state (XEP-0280 §7, §8).
    private static func chatState(_ carbon: ElementView) -> Subject? {
        guard let copied = carbon.firstChild("forwarded", .forwarding)?.firstChild("message", .client), isChatState(copied) else { return nil }
        let isSent = carbon.isNamed("sent", .carbons)
        guard let peer = copied.attribute(isSent ? "to" : "from").flatMap({ try? JID($0) }) else { return nil }
        return isSent ? .ownChatState(peer) : .chatState(peer)
    }

    /// Whether a message says what somebody does in a conversation and nothing else (XEP-0085 §5.6). What rooms and servers add to any
    /// message does not count, and neither do hints, but for the one that it be kept (XEP-0334 §4.4).
    private static func isChatState(_ message: ElementView) -> Bool {
        guard !message.attributeEquals("type", "error"), !message.hasText else { return false }
        var hasState = false
        for child in message.children {
            if child.isIn(.chatStates) {
                hasState = true
            } else if !isAside(child) {
                return false
            }
        }
        return hasState
    }

    private static func isAside(_ child: ElementView) -> Bool {
        child.isNamed("thread", .client) || child.isIn(.stanzaIDs) || child.isIn(.occupantIDs)
            || (child.isIn(.hints) && !child.isNamed("store", .hints))
    }
}
