import MartletCore
import MartletXML
package import MartletXMPP

/// Occupants of other servers who are not there any more, and whose server does not say so (XEP-0410 §1): from whom nothing has come for a while is
/// asked whether he is there, by the room itself, at his own address.
///
/// The sessions of this server need no question: their end is known.
extension Room {
    /// Looks after everybody of other servers who has been silent, once a minute: asks them, and takes those out who are gone.
    package mutating func lookForGhosts(_ moment: RoomMoment, _ effects: inout RoomEffects) {
        let after = moment.limits.pingAfter.milliseconds
        guard after > 0 else { return silence = RoomSilence() }
        silence.watch(occupants.remote, now: moment.now)
        for session in silence.unanswered(now: moment.now) { lose(session, &effects) }
        for session in silence.due(after: after, now: moment.now, max: moment.limits.pingsMax) { ask(.ping, session, moment, &effects) }
    }

    private mutating func ask(_ question: RoomSilence.Question, _ session: FullJID, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        let id = moment.random.token()
        silence.asked(question, session, id: id, now: moment.now)
        let request = StanzaBuilder.iq(.get, from: .bare(address), to: .full(session), id: id) { writer in
            switch question {
            case .ping: writer.element("ping", .ping)
            case .info: writer.element("query", .discoInfo)
            }
        }
        effects.actions.append(.send(request, to: RoomSession(session, nil)))
    }

    /// Something has come from a session of another server. Errors do not count: its server may have made them.
    mutating func heard(_ session: FullJID, _ moment: RoomMoment) { silence.heard(session, now: moment.now) }

    /// An answer to a request of the room's own. What nobody was asked, and what comes from somebody else, is of no interest.
    ///
    /// An error says that somebody is there, unless it says that nobody is. `service-unavailable` may mean either: that a client knows no pings
    /// (RFC 6120 §8.4), or that there is no such session (RFC 6121 §8.5.3.2.3). Every client answers disco#info, so that is asked then.
    package mutating func answered(_ stanza: Stanza, _ type: IQType, by responder: FullJID, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        guard let question = silence.take(id: stanza.id, by: responder) else { return }
        guard type == .error else { return silence.heard(responder, now: moment.now) }
        let error = StanzaError(returned: stanza)
        if error.meansGone(asAnswerToLetter: true) { return lose(responder, &effects) }
        switch (error.condition, question) {
        case (.serviceUnavailable, .ping): ask(.info, responder, moment, &effects)
        case (.serviceUnavailable, .info): lose(responder, &effects)
        case (_, .ping), (_, .info): silence.heard(responder, now: moment.now)
        }
    }

    private mutating func lose(_ address: FullJID, _ effects: inout RoomEffects) {
        silence.forget(address)
        guard let key = occupants.key(ofSession: address) else { return }
        lose(key, RoomSession(address, nil), &effects)
    }
}

/// When something came last from each session of other servers, and what those were asked from whom nothing has come.
struct RoomSilence: Sendable {
    enum Question: Sendable { case ping, info }

    /// For how long an answer is waited for, in milliseconds.
    static let patience: Int64 = 60_000
    /// Questions in a row that somebody leaves without an answer who is gone.
    static let questionsMax = 2

    private struct Watch {
        /// Milliseconds since 1970, as is ``asked``.
        var heard: Int64
        var asked: Int64 = 0
        /// What he was asked last, and under which name; `nil` if nothing is open.
        var open: (question: Question, id: String)?
        /// Pings in a row, the open one included.
        var pings = 0
    }
    /// Of those who were there at the last look: it begins with the first look after somebody has entered.
    private var watches: [FullJID: Watch] = [:]

    /// - Parameter sessions: all who are there now; nobody else is watched any more.
    mutating func watch(_ sessions: [FullJID], now: Int64) {
        var next: [FullJID: Watch] = [:]
        next.reserveCapacity(sessions.count)
        for session in sessions {
            var watch = watches[session] ?? Watch(heard: now)
            // A clock that was put back.
            (watch.heard, watch.asked) = (min(watch.heard, now), min(watch.asked, now))
            next[session] = watch
        }
        watches = next
    }

    mutating func heard(_ session: FullJID, now: Int64) {
        if watches[session] != nil { watches[session] = Watch(heard: now) }
    }

    mutating func forget(_ session: FullJID) { watches[session] = nil }

    /// Who has not answered, as often as there is to be an answer.
    func unanswered(now: Int64) -> [FullJID] {
        watches.filter { $0.value.pings >= Self.questionsMax && now - $0.value.asked >= Self.patience }.map(\.key)
    }

    /// Who is to be asked now, those first from whom nothing has come for longest.
    ///
    /// - Parameter after: milliseconds of silence.
    func due(after: Int64, now: Int64, max: Int) -> [FullJID] {
        let due = watches.filter { watch in
            watch.value.open == nil ? now - watch.value.heard >= after : now - watch.value.asked >= Self.patience
        }
        return due.sorted { $0.value.heard < $1.value.heard }.prefix(max).map(\.key)
    }

    mutating func asked(_ question: Question, _ session: FullJID, id: String, now: Int64) {
        watches[session]?.open = (question, id)
        watches[session]?.asked = now
        if question == .ping { watches[session]?.pings += 1 }
    }

    /// - Returns: what was asked.
    mutating func take(id: String?, by session: FullJID) -> Question? {
        guard let open = watches[session]?.open, open.id == id else { return nil }
        watches[session]?.open = nil
        return open.question
    }
}

extension RoomOccupants {
    /// The sessions of other servers.
    fileprivate var remote: [FullJID] { open.remote + hidden.remote }
    var hasRemote: Bool { !open.remote.isEmpty || !hidden.remote.isEmpty }
}

extension Duration {
    fileprivate var milliseconds: Int64 { components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000 }
}

extension MultiUserChat {
    /// Rooms in which somebody of another server is.
    static func roomsWithRemoteOccupants(_ router: Router) -> [BareJID] {
        var addresses: [BareJID] = []
        router.placement.forEachShard { shard in
            shard.withLock {
                for case let home as RoomHome in shard.allServiceHomes() where home.room?.occupants.hasRemote == true { addresses.append(home.address) }
            }
        }
        return addresses
    }
}
