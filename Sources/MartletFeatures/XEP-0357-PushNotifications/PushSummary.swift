import MartletCore
package import MartletXML
package import MartletXMPP

/// What push services may learn: they belong to the makers of apps, and pass it on to the makers of devices (§9).
package struct PushContent: Hashable, Sendable {
    /// Bytes of a body that are passed on, in UTF-8: what the services of devices take is little more.
    package static let bodyBytesMax = 1_024

    package var includesSender: Bool
    package var includesBody: Bool
    package init(includesSender: Bool = false, includesBody: Bool = false) {
        self.includesSender = includesSender
        self.includesBody = includesBody
    }
}

/// Messages and requests that a device is to be told of, in short.
package struct PushSummary: Hashable, Sendable {
    package var count = 0
    /// Whether somebody has asked for a subscription. How many wait is said when it is told; who, is not.
    package var hasRequest = false
    /// Of the last message.
    package var sender: JID?
    package var body: String?

    package var isEmpty: Bool { count == 0 && !hasRequest }

    package init(count: Int = 0, hasRequest: Bool = false, sender: JID? = nil, body: String? = nil) {
        self.count = count
        self.hasRequest = hasRequest
        self.sender = sender
        self.body = body
    }

    /// - Parameter later: what came after.
    package static func + (earlier: PushSummary, later: PushSummary) -> PushSummary {
        let last = later.count > 0 ? later : earlier
        return PushSummary(
            count: earlier.count + later.count, hasRequest: earlier.hasRequest || later.hasRequest, sender: last.sender, body: last.body)
    }
}

// MARK: Messages

extension PushSummary {
    init(of message: ElementView, from sender: JID, _ content: PushContent) {
        self.init(count: 1)
        if content.includesSender { self.sender = sender }
        if content.includesBody { body = (message.saidInRoom ?? message).firstChild("body", .client).map { $0.text.prefix(bytes: PushContent.bodyBytesMax) } }
    }

    /// Of a message as a session was sent it, perhaps as a carbon of what another session got; `nil` for what nobody is woken for.
    init?(sent stanza: Stanza, to account: BareJID, _ content: PushContent) {
        var (message, from) = (stanza.element.root, stanza.from)
        if from == .bare(account), let received = message.firstChild("received", .carbons) {
            guard let inner = received.firstChild("forwarded", .forwarding)?.firstChild("message", .client),
                let sender = inner.attribute("from").flatMap({ try? JID($0) })
            else { return nil }
            (message, from) = (inner, sender)
        }
        guard from.bare != account, Self.isWorthTelling(message) else { return nil }
        self.init(of: message, from: from, content)
    }

    /// Whether somebody is to be woken: for what a person says, in clear or encrypted, for calls and invitations; not for what clients say
    /// to each other, such as chat states, receipts and markers, or keys without a text. It may have been said in a room (XEP-0452).
    package static func isWorthTelling(_ message: ElementView) -> Bool {
        (message.saidInRoom ?? message).children.contains { child in
            if child.isNamed("body", .client) { return !child.text.isEmpty }
            return isEncrypted(child) || child.isNamed("propose", .jingleMessage) || child.isNamed("x", .conference)
        }
    }

    private static func isEncrypted(_ child: ElementView) -> Bool {
        for namespace in omemo where child.isNamed("encrypted", namespace) { return child.hasChild("payload", namespace) }
        return child.isNamed("openpgp", .openPGP) || child.isNamed("x", .legacyOpenPGP)
    }

    private static let omemo: [Namespace] = ["eu.siacs.conversations.axolotl", "urn:xmpp:omemo:1", "urn:xmpp:omemo:2"]
}

extension ElementView {
    /// The message of a room that a notice forwards.
    fileprivate var saidInRoom: ElementView? {
        firstChild("mentions", .mentionNotices)?.firstChild("forwarded", .forwarding)?.firstChild("message", .client)
    }
}

extension Namespace {
    fileprivate static let openPGP: Namespace = "urn:xmpp:openpgp:0"
    fileprivate static let legacyOpenPGP: Namespace = "jabber:x:encrypted"
    fileprivate static let jingleMessage: Namespace = "urn:xmpp:jingle-message:0"
}

extension String {
    /// As many whole characters as fit.
    fileprivate func prefix(bytes: Int) -> String {
        guard utf8.count > bytes else { return self }
        var (end, left) = (startIndex, bytes)
        while end < endIndex, case let next = index(after: end), self[end..<next].utf8.count <= left {
            left -= self[end..<next].utf8.count
            end = next
        }
        return String(self[..<end])
    }
}
