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
    /// Accounts with the admin role in the domain, per configuration; local ones only.
    private let admins: NamedAccounts
    /// Those with the role in this domain or another.
    private let othersAdmins: NamedAccounts
    private let audit: any AuditSink

    package init(admins: NamedAccounts = [], elsewhere othersAdmins: NamedAccounts = [], audit: any AuditSink = NoAudit()) {
        self.admins = admins
        self.othersAdmins = othersAdmins
        self.audit = audit
    }

    /// - Parameter isMarked: whether the actor's account was given the admin role when it was made.
    package func may(_ actor: BareJID, _ privilege: Privilege, isMarked: Bool) -> Bool {
        switch privilege {
        case .administer: isMarked || admins.contains(actor)
        }
    }

    /// Whether somebody has the admin role in this domain or another: whoever administers one does not get at him.
    package func isAdministrator(_ account: BareJID, isMarked: Bool) -> Bool {
        isMarked || admins.contains(account) || othersAdmins.contains(account)
    }

    /// Records that somebody has not been let.
    ///
    /// - Parameter privilege: what he would need; `nil`: nobody may.
    package func refused(_ actor: BareJID, _ action: String, needing privilege: Privilege?) {
        let reason = privilege.map { "needs the privilege to \($0.rawValue)" } ?? "nobody may"
        audit.record(.refused(Refusal(actor: actor.description, action: action, reason: reason)))
    }

    /// Records that somebody asked for what only the account's owner may have.
    package func refused(_ actor: BareJID, _ action: String, of owner: BareJID) {
        audit.record(.refused(Refusal(actor: actor.description, action: action, reason: "only \(owner) may")))
    }

    /// Records that a component wanted what the configuration does not let it do (XEP-0356).
    package func refused(component: BareJID, _ action: String) {
        audit.record(.refused(Refusal(actor: component.description, action: action, reason: "the component's privileges do not include it")))
    }
}
