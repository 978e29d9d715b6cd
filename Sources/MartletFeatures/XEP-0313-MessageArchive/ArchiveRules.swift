import MartletXML
package import MartletXMPP

/// Which messages go into the archive of an account (§6.1.1): what somebody may want to read again, on another device or later.
package enum ArchiveRules {
    /// By type, then by what the sender asks for, then by content.
    package static func isWorthKeeping(_ message: borrowing Stanza) -> Bool {
        guard case .message(let type) = message.kind else { return false }
        switch type {
        // Rooms have archives of their own; headlines are of today; errors are of the moment.
        case .groupchat, .headline, .error: return false
        case .normal, .chat: return hasContent(message)
        }
    }

    /// The same for a message of a room, in the room's archive.
    package static func isWorthKeepingInRoom(_ message: borrowing Stanza) -> Bool {
        message.element.root.hasChild("subject", .client) || hasContent(message)
    }

    private static func hasContent(_ message: borrowing Stanza) -> Bool {
        let hints = message.hints
        if !hints.isDisjoint(with: [.noStore, .noPermanentStore]) { return false }
        let root = message.element.root
        return hints.contains(.store) || root.hasChild("body", .client) || root.children.contains { isContent($0) }
    }

    private static func isContent(_ child: ElementView) -> Bool {
        contents.contains { namespace, names in child.isIn(namespace) && names.contains { child.isNamed($0, namespace) } }
    }

    /// What counts besides a body.
    private static let contents: [(Namespace, [StaticString])] = [
        // Encrypted: whatever is in there (XEP-0380, 0384, 0373, 0027).
        ("urn:xmpp:eme:0", ["encryption"]),
        ("eu.siacs.conversations.axolotl", ["encrypted"]),
        ("urn:xmpp:omemo:1", ["encrypted"]),
        ("urn:xmpp:omemo:2", ["encrypted"]),
        ("urn:xmpp:openpgp:0", ["openpgp"]),
        ("jabber:x:encrypted", ["x"]),
        // What becomes of other messages: receipts, markers, reactions, retractions (XEP-0184, 0333, 0444, 0424). A message that only
        // asks for such a thing says nothing.
        ("urn:xmpp:receipts", ["received"]),
        ("urn:xmpp:chat-markers:0", ["received", "displayed", "acknowledged"]),
        ("urn:xmpp:reactions:0", ["reactions"]),
        ("urn:xmpp:message-retract:0", ["retract"]),
        ("urn:xmpp:message-retract:1", ["retract"]),
        // Calls, so that those are shown that were missed (XEP-0353). Senders should ask for it by a hint, and not all do.
        ("urn:xmpp:jingle-message:0", ["propose", "ringing", "proceed", "accept", "retract", "reject", "finish"]),
        // What was said in a room that one was not in (XEP-0452).
        ("urn:xmpp:mmn:0", ["mentions"]),
        // An invitation to a room (XEP-0249).
        ("jabber:x:conference", ["x"]),
    ]
}
