package import MartletCore
import MartletXML
import MartletXMPP

/// The commands by which accounts invite (XEP-0401 §4).
package struct InvitationCommands: Feature {
    package static let specification = Specification.xep(
        401, "Ad-hoc Account Invitation Generation", version: "0.6.0", note: "for accounts where the operator allows it, for administrators always")

    let settings: InvitationSettings
    let registration: InBandRegistration
    let random: any RandomSource

    private static let resultType = "urn:xmpp:invite#invitation"

    var commands: [ServerCommand] {
        [
            ServerCommand("urn:xmpp:invite#invite", "Invite somebody", for: settings.accountsInvite ? .accounts : .administrators, invite),
            ServerCommand("urn:xmpp:invite#create-account", "Invite somebody to make an account", for: .administrators, createAccount),
        ]
    }

    /// §4.1: one becomes a contact of whoever invites, and makes an account for that if one has none.
    private func invite(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        let account = call.actor.bare
        guard account.domainpart == call.host.domain.domainpart else { throw .notAllowed }
        let invitation = Invitation(
            at: call.host.domain, inviter: account, makesAccounts: registration.takesStrangers, by: call.by, settings, now: call.now, random)
        return try await make(invitation, openMax: call.isByAdmin ? InvitationSettings.administratorsOpenMax : settings.openMax, call)
    }

    /// §4.3: one makes an account, of a name that may be given.
    private func createAccount(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard registration.takesStrangers else { throw StanzaError(.notAllowed, text: "registration is closed") }
        guard let answer = call.answers.first else { return .ask(Self.form, isLast: true) }
        var fields = try FormSubmission(answer.typed(Self.resultType), type: Self.resultType)
        let name = try fields.text("username").flatMap { $0.isEmpty ? nil : $0 }
        let isSubscribed = try fields.boolean("roster-subscription") ?? false
        var address: BareJID?
        if let name { address = try await free(name, call) }
        let invitation = Invitation(
            at: call.host.domain, inviter: isSubscribed ? call.actor.bare : nil, localpart: address?.localpart, makesAccounts: true, by: call.by, settings,
            now: call.now, random)
        return try await make(invitation, openMax: InvitationSettings.administratorsOpenMax, call)
    }

    private static let form: DataForm = {
        let name = DataForm.Field("username", .textSingle, "Name of the account; without, whoever is invited chooses it", [])
        return DataForm(
            .form, title: "Invite somebody to make an account",
            fields: [name, .flag("roster-subscription", "Whether you become contacts of each other", false)])
    }()

    private func free(_ name: String, _ call: ServerCommand.Call) async throws(StanzaError) -> BareJID {
        guard let address = try? BareJID(localpart: name, domainpart: call.host.domain.domainpart) else { throw .notAcceptable("this cannot be a name") }
        do throws(StoreError) {
            let isTaken = try await call.router.store.credentials(of: address) != nil
            let isKept = try await call.router.store.invitation(reserving: address, now: call.now) != nil
            guard !isTaken, !isKept else { throw StoreError.constraint("the name is \(isTaken ? "taken" : "kept for somebody else")") }
        } catch { throw AccountRefusal.store(error).stanzaError }
        return address
    }

    private func make(_ invitation: Invitation, openMax: Int, _ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        do throws(StoreError) {
            try await call.router.store.commit([.invitation(.create(invitation.stored, openMax: openMax))])
        } catch {
            guard case .constraint(let why) = error else { throw StanzaError(refusal: error) }
            throw StanzaError(.resourceConstraint, text: why)
        }
        call.router.audit.record(.invited(call.host.domain, localpart: invitation.stored.localpart, contact: invitation.stored.inviter, by: call.by))
        var fields = [DataForm.Field.text("uri", "Link for a client", invitation.link.uri)]
        if let page = invitation.link.page { fields.append(.text("landing-url", "Link for a browser", page)) }
        fields.append(.text("expire", "Good until", DateTime.text(milliseconds: invitation.stored.expires)))
        return .done(DataForm(.result, type: Self.resultType, fields: fields))
    }
}

extension DataForm {
    /// The submission of a form that has no type of its own in the specification.
    fileprivate func typed(_ type: String) -> DataForm {
        guard self.type == nil else { return self }
        var form = self
        form.fields.insert(Field(Self.typeName, .hidden, [type]), at: 0)
        return form
    }
}
