package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    /// XEP-0160 §4 announces a plain word, no address.
    package static let offlineMessages: Namespace = "msgoffline"
    package static let chatStates: Namespace = "http://jabber.org/protocol/chatstates"
}

/// Messages wait for an account that nobody is online for. What is worth keeping is decided here; keeping and delivering is
/// the message log's (`OfflineReplay`).
package struct OfflineMessages: FallBackStage {
    package static let specification = Specification.xep(160, "Best Practices for Handling Offline Messages", version: "1.0.1")
    package let disco = DiscoFeatures.everywhere(.offlineMessages)
    package init() {}

    /// A message with a body is kept or refused, never lost in silence. When an account has no more room, senders are told what
    /// they would be told if there were no account.
    package func fallBack(_ message: borrowing Stanza, _ home: AccountHome, _ limits: HostLimits) -> FallBack {
        guard isWorthKeeping(message) else { return Self.unkept(message, home) }
        let waiting = home.offlineMessages
        let hasRoom = waiting.count < limits.offlineMessagesMax && waiting.bytes + message.element.byteCount <= limits.offlineBytesMax
        return hasRoom ? .keep : .refuse(.serviceUnavailable)
    }

    /// What has a body comes back, but not to somebody who would learn from it that nobody is online.
    private static func unkept(_ message: borrowing Stanza, _ home: AccountHome) -> FallBack {
        message.hasChild("body", .client) && home.maySeePresence(message.from) ? .refuse(.serviceUnavailable) : .ignore
    }

    /// §3, with the hints of XEP-0334.
    package func isWorthKeeping(_ message: borrowing Stanza) -> Bool {
        guard case .message(let type) = message.kind else { return false }
        switch type {
        case .groupchat, .headline, .error: return false
        case .normal, .chat: break
        }
        if message.hints.contains(.noStore) { return false }
        if message.hints.contains(.store) { return true }
        return message.element.root.children.contains { !Self.isPassing($0) }
    }

    /// What says nothing once it is late, or nothing by itself.
    private static func isPassing(_ child: ElementView) -> Bool {
        child.isIn(.chatStates) || child.isIn(.hints) || child.isIn(.stanzaIDs) || child.isNamed("thread", .client)
            || child.isIn(.delay)
    }
}
