import MartletCore
import MartletXML
package import MartletXMPP

/// What one occupant says to, or asks of, another (§7.5, §13.2): the room puts nicknames where addresses were.
extension Room {
    mutating func sayPrivately(_ stanza: Stanza, _ type: MessageType, to nickname: String, _ key: RoomOccupants.Key?, _ effects: inout RoomEffects) {
        guard let key, let sender = occupants[key] else { return effects.actions.append(.refuse(.notAcceptable("only occupants"))) }
        guard let recipient = occupants.occupant(ofNickname: nickname) else { return effects.actions.append(.refuse(.itemNotFound("nobody of that name is here"))) }
        if let refusal = configuration.refusal(of: .sayPrivately, by: sender.standing) {
            return effects.actions.append(.refuse(refusal))
        }
        var message = stanza
        message.from = .full(sender.address)
        message.omitMarks(of: address)
        message.add { writer in
            OccupantIDs.write(sender.id, to: &writer)
            writer.element("x", .mucUser)
        }
        letters.note(id: stanza.id ?? "", by: sender.account, to: recipient.account)
        // Once through the account, which keeps it; the other sessions in the room have it from here.
        let shown = recipient.shownSession
        message.to = .full(shown.address)
        effects.actions.append(.deliver(message, type, to: .full(shown.address)))
        for session in recipient.sessions where session != shown {
            effects.actions.append(.send(message.encoded(to: .full(session.address)), to: session))
        }
    }

    /// Something that an occupant got, or should have got, has come back from one of his sessions.
    ///
    /// What the room itself sent, it sends no more: the occupant is not there (§18.1.1). What another occupant sent, that one is told of, but
    /// not where it came back from.
    mutating func failed(_ stanza: Stanza, _ nickname: String?, _ key: RoomOccupants.Key?, _ session: RoomSession, _ effects: inout RoomEffects) {
        guard let key, let occupant = occupants[key] else { return failed(stanza, nickname, at: session.address.bare, &effects) }
        let isLetter = nickname != nil && letters.take(id: stanza.id ?? "", to: occupant.account)
        // An account of this server's that does not want a message does not say that its session is gone.
        let isOfAccount = session.ref == nil && occupant.sessions.contains { $0.address == session.address && $0.ref != nil }
        if !isOfAccount, StanzaError(returned: stanza).meansGone(asAnswerToLetter: isLetter) { lose(key, session, &effects) }
        if isLetter { tellSender(stanza, nickname, from: occupant, &effects) }
    }

    /// The same, where the account answers for its sessions, or for one who was invited.
    package mutating func failed(_ stanza: Stanza, _ nickname: String?, at account: BareJID, _ effects: inout RoomEffects) {
        if nickname == nil, let host = invitations.take(guest: account) {
            let answer = StanzaBuilder.message(.error, from: .bare(address), to: .full(host.session.address), id: host.id) { writer in
                StanzaError.itemNotFound().write(to: &writer)
            }
            return effects.actions.append(.send(answer, to: host.session))
        }
        guard let key = occupants.keys(ofAccount: account).first, let occupant = occupants[key], nickname != nil,
            letters.take(id: stanza.id ?? "", to: account)
        else { return }
        tellSender(stanza, nickname, from: occupant, &effects)
    }

    private func tellSender(_ stanza: Stanza, _ nickname: String?, from occupant: RoomOccupant, _ effects: inout RoomEffects) {
        guard let nickname, let sender = occupants.occupant(ofNickname: nickname) else { return }
        let error = StanzaError(returned: stanza)
        let answer = StanzaBuilder.message(.error, from: .full(occupant.address), to: .full(sender.shownSession.address), id: stanza.id) { writer in
            StanzaError(error.condition, error.kind).write(to: &writer)
        }
        effects.actions.append(.send(answer, to: sender.shownSession))
    }

    // MARK: Requests

    /// A request or an answer from one occupant to another.
    package mutating func pass(
        _ stanza: Stanza, _ type: IQType, to nickname: String, from session: RoomSession, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        guard let key = occupants.key(ofSession: session.address), let sender = occupants[key] else {
            // XEP-0410 §3.2, §6.6.
            let isPing = stanza.element.root.hasChild("ping", .ping)
            return effects.actions.append(.refuse(isPing ? StanzaError(.notAcceptable, .cancel) : .badRequest("only occupants")))
        }
        if let ref = session.ref { occupants.setRef(ref, of: session.address, key) }
        switch type {
        case .get, .set: ask(stanza, type, nickname, sender, session, moment, &effects)
        case .result, .error: answer(stanza, to: nickname, &effects)
        }
    }

    private mutating func ask(
        _ stanza: Stanza, _ type: IQType, _ nickname: String, _ sender: RoomOccupant, _ session: RoomSession, _ moment: RoomMoment,
        _ effects: inout RoomEffects
    ) {
        // XEP-0410: whether one is still in the room is for the room to say.
        if nickname == sender.nickname, stanza.element.root.hasChild("ping", .ping) {
            return effects.actions.append(.answer(StanzaBuilder.iq(.result, from: stanza.to, to: stanza.from, id: stanza.id ?? "")))
        }
        guard let recipient = occupants.occupant(ofNickname: nickname) else {
            return effects.actions.append(.refuse(.itemNotFound("nobody of that name is here")))
        }
        // A card is the account's: its clients would answer with their own.
        let isForAccount = type == .get && stanza.element.root.asksForCard
        let to: JID = isForAccount ? .bare(recipient.account) : .full(recipient.shownSession.address)
        let request = RelayedRequests.Request(
            id: stanza.id ?? "", requester: session, requesterNickname: sender.nickname, responder: to, asked: recipient.address, time: moment.now)
        guard relayed.note(request, max: moment.limits.relayedMax) else {
            return effects.actions.append(.refuse(StanzaError(.resourceConstraint, .wait, text: "too many requests wait for an answer")))
        }
        effects.actions.append(.pass(relaying(stanza, from: sender.address), type, to: to))
    }

    /// Either of the two may have another nickname by now: the answer comes from whom was asked.
    private mutating func answer(_ stanza: Stanza, to nickname: String, _ effects: inout RoomEffects) {
        guard let id = stanza.id, let request = relayed.take(id: id, by: stanza.from, to: nickname) else { return }
        effects.actions.append(.send(relaying(stanza, from: request.asked).encoded(to: .full(request.requester.address)), to: request.requester))
    }

    /// An account of another server has answered for an occupant, whom the answer comes from. Why it does not answer is told without its words,
    /// which may name it.
    package mutating func answered(_ stanza: Stanza, _ type: IQType, to nickname: String, by account: BareJID, _ effects: inout RoomEffects) {
        guard let id = stanza.id, let request = relayed.take(id: id, by: .bare(account), to: nickname) else { return }
        let to = request.requester
        guard type == .error else {
            var answer = stanza
            answer.from = .full(request.asked)
            return effects.actions.append(.send(answer.encoded(to: .full(to.address)), to: to))
        }
        let error = StanzaError(returned: stanza)
        let answer = StanzaBuilder.iq(.error, from: .full(request.asked), to: .full(to.address), id: id) { writer in
            StanzaError(error.condition, error.kind).write(to: &writer)
        }
        effects.actions.append(.send(answer, to: to))
    }

    private func relaying(_ stanza: Stanza, from sender: FullJID) -> Stanza {
        var relayed = stanza
        relayed.from = .full(sender)
        relayed.to = nil
        return relayed
    }
}

extension Room {
    /// Whoever has left answers nothing any more: who asked him is told (RFC 6120 §8.2.3).
    mutating func endRequests(to session: FullJID, _ effects: inout RoomEffects) {
        for request in relayed.takeAll(by: .full(session)) {
            let answer = StanzaBuilder.iq(.error, from: .full(request.asked), to: .full(request.requester.address), id: request.id) { writer in
                StanzaError(.recipientUnavailable, .wait).write(to: &writer)
            }
            effects.actions.append(.send(answer, to: request.requester))
        }
    }
}

/// Requests from one occupant to another that wait for their answer, oldest first. Only an answer that somebody waits for is passed on.
struct RelayedRequests: Sendable {
    struct Request: Sendable {
        let id: String
        let requester: RoomSession
        /// As whom he asked, and is answered.
        let requesterNickname: String
        /// A session of the occupant, or his account.
        let responder: JID
        /// The occupant.
        let asked: FullJID
        /// Milliseconds since 1970.
        let time: Int64
    }
    private var requests: [Request] = []
    /// After so many milliseconds nobody waits for an answer any more.
    private static let ageMax: Int64 = 300_000

    /// - Parameter max: of one session; one's own requests are in nobody else's way.
    /// - Returns: whether it may be passed on.
    mutating func note(_ request: Request, max: Int) -> Bool {
        requests.removeAll { request.time - $0.time > Self.ageMax }
        guard requests.count(where: { $0.requester.address == request.requester.address }) < max else { return false }
        requests.append(request)
        return true
    }

    /// - Returns: what was asked, by whom.
    mutating func take(id: String, by responder: JID, to nickname: String) -> Request? {
        guard let index = requests.firstIndex(where: { $0.id == id && $0.responder == responder && $0.requesterNickname == nickname }) else { return nil }
        return requests.remove(at: index)
    }

    /// Everything that one was asked.
    mutating func takeAll(by responder: JID) -> [Request] {
        let all = requests.filter { $0.responder == responder }
        if !all.isEmpty { requests.removeAll { $0.responder == responder } }
        return all
    }
}

/// Private messages that were passed on lately, oldest first: an error may answer one.
struct RelayedLetters: Sendable {
    /// Of one account; those of others are not in its way.
    private static let countMax = 64
    private var letters: [(id: String, sender: BareJID, recipient: BareJID)] = []

    mutating func note(id: String, by sender: BareJID, to recipient: BareJID) {
        if letters.count(where: { $0.sender == sender }) >= Self.countMax, let oldest = letters.firstIndex(where: { $0.sender == sender }) {
            letters.remove(at: oldest)
        }
        letters.append((id, sender, recipient))
    }

    mutating func take(id: String, to recipient: BareJID) -> Bool {
        guard let index = letters.lastIndex(where: { $0.id == id && $0.recipient == recipient }) else { return false }
        letters.remove(at: index)
        return true
    }

    /// Somebody has left: nobody is to be told for him.
    mutating func forget(_ sender: BareJID) { letters.removeAll { $0.sender == sender } }
}

extension StanzaError {
    /// What an error says that has come back.
    init(returned stanza: Stanza) {
        let error = stanza.element.root.firstChild("error", .client)
        let condition = error?.children.lazy.filter { $0.isIn(.stanzaErrors) }.compactMap { Condition(rawValue: String($0.localName)) }.first
        self.init(condition ?? .undefinedCondition, error?.attribute("type").flatMap(Kind.init(rawValue:)))
    }

    /// Whether there is nobody at the address any more.
    ///
    /// - Parameter isLetter: somebody who is there may not want a private message, and says the same as one who is not.
    func meansGone(asAnswerToLetter isLetter: Bool) -> Bool {
        switch condition {
        case .gone, .itemNotFound, .jidMalformed, .recipientUnavailable, .redirect, .remoteServerNotFound, .remoteServerTimeout: true
        case .serviceUnavailable: !isLetter
        case .internalServerError: false
        case .badRequest, .conflict, .featureNotImplemented, .forbidden, .notAcceptable, .notAllowed, .notAuthorized, .policyViolation,
            .registrationRequired, .resourceConstraint, .subscriptionRequired, .undefinedCondition, .unexpectedRequest: false
        }
    }
}
