package import MartletXMPP

/// What needs more than being somebody.
package enum Privilege: String, Hashable, Sendable, CaseIterable {
    /// Sees and ends other accounts' sessions, changes accounts.
    case administer
}

/// Who may do what. Every decision that refuses goes through here and is recorded.
package struct AccessPolicy: Sendable {
    /// Addresses with the admin role, per configuration; local ones only.
    private let admins: Set<BareJID>
    private let audit: any AuditSink

    package init(admins: Set<BareJID>, audit: any AuditSink) {
        self.admins = admins
        self.audit = audit
    }

    package func may(_ actor: BareJID, _ privilege: Privilege) -> Bool { admins.contains(actor) }

    /// - Throws: `forbidden`, after recording the refusal.
    package func require(_ privilege: Privilege, of actor: BareJID, for action: String) throws(StanzaError) {
        guard !may(actor, privilege) else { return }
        audit.record(.refused(Refusal(actor: actor.description, action: action, reason: "lacks the privilege \(privilege.rawValue)")))
        throw .forbidden()
    }
}
