import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    /// XEP-0249.
    package static let directInvitations: Namespace = "jabber:x:conference"
}

/// Letters to the room itself: invitations and what is said to them, requests for voice and for membership (§7.8, §7.13, §8.6, §9.9).
extension Room {
    mutating func letter(
        _ stanza: Stanza, _ key: RoomOccupants.Key?, _ session: RoomSession, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        let root = stanza.element.root
        if let x = root.firstChild("x", .mucUser) {
            if x.hasChild("invite", .mucUser) { return invite(x, stanza, session, moment, &effects) }
            if let decline = x.firstChild("decline", .mucUser) { return pass(decline, from: session, moment, &effects) }
        }
        if let x = root.firstChild("x", .dataForms), let form = try? DataForm(x), let type = form.type {
            switch type {
            case RoomForm.voice: return voice(form, stanza, key, moment, &effects)
            case RoomForm.registration: return membership(form, key, moment, &effects)
            default: break
            }
        }
        effects.actions.append(.refuse(.badRequest("not for a room")))
    }

    // MARK: Invitations

    /// §7.8.2. Whoever is invited into a room for members becomes one (§9.3).
    private mutating func invite(_ x: ElementView, _ stanza: Stanza, _ session: RoomSession, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        let standing = standing(of: .full(session.address))
        if let refusal = configuration.refusal(of: .invite, by: standing) { return effects.actions.append(.refuse(refusal)) }
        let invitations = x.children.filter { $0.isNamed("invite", .mucUser) }
        guard invitations.count <= RoomLimits.invitationsMax else {
            return effects.actions.append(.refuse(.policyViolation("at most \(RoomLimits.invitationsMax) invitations at a time")))
        }
        var guests: [(JID, ElementView)] = []
        for invitation in invitations {
            guard hasShortReason(invitation, moment.limits),
                invitation.firstChild("continue", .mucUser)?.attribute("thread")?.utf8.count ?? 0 <= moment.limits.reasonBytesMax
            else { return effects.actions.append(.refuse(Self.tooLong(moment.limits))) }
            guard let guest = invitation.attribute("to").flatMap({ try? JID($0) }) else { return effects.actions.append(.refuse(.jidMalformed)) }
            // A whole server is nobody's guest.
            guard !guest.bare.isDomain else { return effects.actions.append(.refuse(.itemNotFound("an invitation is for an account"))) }
            if affiliations.affiliation(of: guest) == .outcast { return effects.actions.append(.refuse(.notAllowed)) }
            guard !guests.contains(where: { $0.0 == guest }) else { continue }
            guests.append((guest, invitation))
        }
        for (guest, invitation) in guests {
            if configuration.isMembersOnly, affiliations.affiliation(of: guest) == .none {
                guard affiliations.count < moment.limits.affiliationsMax else { return effects.actions.append(.refuse(.resourceConstraint("too many members"))) }
                change(.bare(guest.bare), to: .member, nil, by: nil, moment, &effects)
            }
            self.invitations.note(guest: guest.bare, by: session, id: stanza.id)
            effects.actions.append(.deliver(self.invitation(invitation, of: guest, from: session.address.bare), .normal, to: guest))
        }
    }

    private func hasShortReason(_ element: ElementView, _ limits: RoomLimits) -> Bool {
        element.firstChild("reason", .mucUser)?.text.utf8.count ?? 0 <= limits.reasonBytesMax
    }

    private static func tooLong(_ limits: RoomLimits) -> StanzaError { .notAcceptable("a reason or a thread may have \(limits.reasonBytesMax) bytes") }

    private func invitation(_ invitation: ElementView, of guest: JID, from host: BareJID) -> Stanza {
        self.invitation(
            of: guest, from: host, reason: invitation.firstChild("reason", .mucUser)?.text, thread: invitation.firstChild("continue", .mucUser))
    }

    /// What somebody gets who may enter now.
    func invitation(of guest: JID, from host: BareJID, reason: String?, thread: ElementView? = nil) -> Stanza {
        let encoded = StanzaBuilder.message(.normal, from: .bare(address), to: guest) { writer in
            writer.element("x", .mucUser) { writer in
                writer.element("invite", .mucUser, ["from": host.description]) { writer in
                    if let reason { writer.element("reason", .mucUser, text: reason) }
                    if let thread {
                        writer.element("continue", .mucUser, ["thread": thread.attribute("thread")])
                    }
                }
                if let secret = configuration.secret { writer.element("password", .mucUser, text: secret) }
            }
            writer.element("x", .directInvitations, ["jid": address.description, "password": configuration.secret, "reason": reason])
            writer.element("body", .client, text: "\(host) invites you to the room \(address)" + (reason.map { ": \($0)" } ?? ""))
        }
        return encoded.asStanza
    }

    /// §7.8.2: only who was invited can decline, and only the one who invited him hears of it.
    private mutating func pass(_ decline: ElementView, from session: RoomSession, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        guard hasShortReason(decline, moment.limits) else { return effects.actions.append(.refuse(Self.tooLong(moment.limits))) }
        let guest = session.address.bare
        guard let host = decline.attribute("to").flatMap({ try? JID($0) }), invitations.take(guest: guest, by: host.bare) else { return }
        for key in occupants.keys(ofAccount: host.bare) {
            for session in occupants[key]?.sessions ?? [] {
                let message = StanzaBuilder.message(.normal, from: .bare(address), to: .full(session.address)) { writer in
                    writer.element("x", .mucUser) { writer in
                        writer.element("decline", .mucUser, ["from": guest.description]) { writer in
                            if let reason = decline.firstChild("reason", .mucUser)?.text { writer.element("reason", .mucUser, text: reason) }
                        }
                    }
                }
                effects.actions.append(.send(message, to: session))
            }
        }
    }

    // MARK: Voice

    /// A visitor asks for voice (§7.13), or a moderator answers (§8.6).
    private mutating func voice(
        _ form: DataForm, _ stanza: Stanza, _ key: RoomOccupants.Key?, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        guard let key, let occupant = occupants[key] else { return effects.actions.append(.refuse(.notAcceptable("only occupants"))) }
        do throws(StanzaError) {
            var fields = try FormSubmission(form, type: RoomForm.voice)
            let isAllowed = try fields.boolean("muc#request_allow")
            let nickname = try fields.text("muc#roomnick")
            let role = try fields.text("muc#role").flatMap(RoomRole.init(named:)) ?? .participant
            guard let isAllowed else { return askModerators(for: occupant, &effects) }
            guard isAllowed else { return }
            guard let target = nickname.flatMap({ occupants.key(ofNickname: $0) }), let visitor = occupants[target] else { throw .itemNotFound() }
            if let refusal = configuration.refusal(of: .setRole(visitor.standing, to: role), by: occupant.standing) { throw refusal }
            setRole(role, of: target, RoomNote(actor: occupant.nickname), &effects)
        } catch {
            effects.actions.append(.refuse(error))
        }
    }

    private func askModerators(for occupant: RoomOccupant, _ effects: inout RoomEffects) {
        guard occupant.role == .visitor else { return }
        let form = RoomForm.request(
            RoomForm.voice, title: "Request for voice", [
                .init("muc#role", .listSingle, ["participant"]), .init("muc#jid", .jidSingle, [occupant.shownSession.address.description]),
                .init("muc#roomnick", .textSingle, [occupant.nickname]), .init("muc#request_allow", .boolean, ["false"]),
            ])
        send(form, toAll: { $0.role == .moderator }, &effects)
    }

    /// A form from the room to some of the occupants.
    func send(_ form: DataForm, toAll isMeant: (RoomOccupant) -> Bool, _ effects: inout RoomEffects) {
        for occupant in occupants.all where isMeant(occupant) {
            for session in occupant.sessions {
                let message = StanzaBuilder.message(.normal, from: .bare(address), to: .full(session.address)) { form.write(to: &$0) }
                effects.actions.append(.send(message, to: session))
            }
        }
    }
}

/// Forms besides the configuration (§16).
enum RoomForm {
    static let voice = "http://jabber.org/protocol/muc#request"
    static let registration = "http://jabber.org/protocol/muc#register"

    static func request(_ type: String, title: String, _ fields: [DataForm.Field]) -> DataForm {
        var form = DataForm(.form, type: type, fields: fields)
        form.title = title
        return form
    }
}

extension RoomLimits {
    /// Guests in one message.
    package static let invitationsMax = 32
}

/// Who was invited lately by whom, oldest first.
struct RoomInvitations: Sendable {
    private static let countMax = 256
    private var all: [(guest: BareJID, session: RoomSession, id: String?)] = []

    mutating func note(guest: BareJID, by session: RoomSession, id: String?) {
        if all.count >= Self.countMax { all.removeFirst() }
        all.append((guest.compacted(), session, id))
    }

    /// Forgets an invitation that did not arrive.
    mutating func take(guest: BareJID) -> (session: RoomSession, id: String?)? {
        guard let index = all.lastIndex(where: { $0.guest == guest }) else { return nil }
        let invitation = all.remove(at: index)
        return (invitation.session, invitation.id)
    }

    /// Forgets an invitation.
    ///
    /// - Returns: whether there was one.
    mutating func take(guest: BareJID, by host: BareJID) -> Bool {
        guard let index = all.lastIndex(where: { $0.guest == guest && $0.session.address.bare == host }) else { return false }
        all.remove(at: index)
        return true
    }
}

extension EncodedStanza {
    /// What the server itself has written.
    var asStanza: Stanza {
        guard let stanza = Stanza(sent: self) else { preconditionFailure("the writer writes what the parser reads") }
        return stanza
    }
}
