package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

extension Namespace {
    package static let carbons: Namespace = "urn:xmpp:carbons:2"
    package static let carbonsRules: Namespace = "urn:xmpp:carbons:rules:0"
    static let receipts: Namespace = "urn:xmpp:receipts"
    static let chatMarkers: Namespace = "urn:xmpp:chat-markers:0"
    static let conference: Namespace = "jabber:x:conference"
    static let roomUser: Namespace = "http://jabber.org/protocol/muc#user"
}

/// Copies of what one session sends or gets, for the account's other sessions.
///
/// A copy is always from the account itself: nobody else's can look so, because the server sets `from` and lets nothing from
/// outside through in an account's own name. `<private/>` stays on the message (§9 no longer wants it removed).
package struct MessageCarbons: IQResponder, FanOutStage, InlineStage {
    package static let specification = Specification.xep(280, "Message Carbons", version: "1.0.1")
    package var disco: DiscoFeatures { .everywhere(.carbons, .carbonsRules) }
    package init() {}

    package var routes: [IQRoute] {
        [
            .session(.set, "enable", .carbons) { _, session throws(StanzaError) in
                session.flags.insert(.carbons)
                return .empty
            },
            .session(.set, "disable", .carbons) { _, session throws(StanzaError) in
                session.flags.remove(.carbons)
                return .empty
            },
        ]
    }

    package func offer(_ offer: inout InlineOffer) { offer.features.append(Namespace.carbons.name) }

    /// It cannot fail, and needs no answer (XEP-0386 §3.2).
    package func begin(_ request: ElementView, _ session: ClientSession) -> ByteBuffer? {
        if request.isNamed("enable", .carbons) { session.insert(.carbons) }
        return nil
    }

    /// What an account sends to itself passes here twice; it is copied as it arrives, when it is known who got it already.
    package func copies(
        of message: borrowing Stanza, _ home: AccountHome, _ route: borrowing Route, besides recipients: SessionSet
    ) -> SessionSet {
        if route.direction == .sent, route.peer.bare == route.account { return [] }
        guard home.sessions.contains(where: { $0.flags.contains(.carbons) }), Self.isEligible(message, route) else { return [] }
        var copies: SessionSet = []
        for (index, entry) in home.sessions.enumerated() where entry.flags.contains(.carbons) {
            if entry.ref == route.origin || recipients.contains(index: index) { continue }
            copies.insert(SessionSet(index))
        }
        return copies
    }

    package func encodeCopy(of message: borrowing Stanza, for session: borrowing SessionEntry, _ route: borrowing Route) -> EncodedStanza {
        let type: MessageType = if case .message(let type) = message.kind { type } else { .normal }
        var writer = XMLWriter()
        switch route.direction {
        case .sent: writer.open("sent", .carbons)
        case .received: writer.open("received", .carbons)
        }
        writer.forwarded(message)
        writer.close()
        let copy = writer.buffer
        return StanzaBuilder.message(type, from: .bare(route.account), to: .full(session.address)) { $0.raw(copy) }
    }
}

// MARK: Eligibility (§6.1), announced as `carbons:rules:0`

extension MessageCarbons {
    private static func isEligible(_ message: borrowing Stanza, _ route: borrowing Route) -> Bool {
        guard case .message(let type) = message.kind else { return false }
        if message.hasChild("private", .carbons) || message.hints.contains(.noCopy) { return false }
        if isPrivateMessageOfRoom(message, route) { return false }
        switch type {
        case .chat: return true
        case .normal: return message.hasChild("body", .client) || isOfConversation(message)
        case .error: return answersCopied(message, route)
        case .groupchat, .headline: return false
        }
    }

    /// Receipts, chat states, markers; invitations, direct or by the room.
    private static func isOfConversation(_ message: borrowing Stanza) -> Bool {
        message.element.root.children.contains { child in
            child.isIn(.receipts) || child.isIn(.chatStates) || child.isIn(.chatMarkers) || child.isNamed("x", .conference)
                || isRoomInvitation(child)
        }
    }

    private static func isRoomInvitation(_ child: ElementView) -> Bool {
        child.isNamed("x", .roomUser) && child.hasChild("invite", .roomUser)
    }

    /// A room sends private messages to every client that is in it.
    private static func isPrivateMessageOfRoom(_ message: borrowing Stanza, _ route: borrowing Route) -> Bool {
        guard route.direction == .received, case .full = message.from else { return false }
        return message.element.root.children.contains { $0.isNamed("x", .roomUser) && !isRoomInvitation($0) }
    }

    /// Whether what an error answers was copied is no longer known. What went to an account was mostly conversation, and its
    /// answer comes from the account's bare address; Prosody judges the same way.
    private static func answersCopied(_ message: borrowing Stanza, _ route: borrowing Route) -> Bool {
        guard route.direction == .received, case .bare(let sender) = message.from else { return false }
        return !sender.isDomain
    }
}
