package import MartletXMPP

/// What needs more than being somebody.
package enum Privilege: String, Hashable, Sendable, CaseIterable {
    /// Learns of any account of the domain what otherwise only those learn who see its presence.
    case administer
}

/// Who may do what in one domain. Every decision that refuses because of who asks goes through here and is recorded, so that "why
/// was this refused" always has an answer.
///
/// What only an account's owner may do needs no privilege, and there is none for it: an administrator does not read other people's
/// messages, rosters or private data.
package struct AccessPolicy: Sendable {
    /// Addresses with the admin role in the domain, per configuration; local ones only.
    private let admins: Set<BareJID>
    private let audit: any AuditSink

    package init(admins: Set<BareJID> = [], audit: any AuditSink = NoAudit()) {
        self.admins = admins
        self.audit = audit
    }

    /// - Parameter isMarked: whether the actor's account was given the admin role when it was made.
    package func may(_ actor: BareJID, _ privilege: Privilege, isMarked: Bool) -> Bool {
        switch privilege {
        case .administer: isMarked || admins.contains(actor)
        }
    }

    /// Records that somebody asked for what only the account's owner may have.
    package func refused(_ actor: BareJID, _ action: String, of owner: BareJID) {
        audit.record(.refused(Refusal(actor: actor.description, action: action, reason: "only \(owner) may")))
    }
}
