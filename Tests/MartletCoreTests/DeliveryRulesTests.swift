import MartletCore
import MartletXMPP
import Testing

private struct Entry: DeliverySession {
    var name: String
    var address: FullJID
    var isAvailable: Bool
    var priority: Int8
    var takesMessages: Bool { isAvailable && priority >= 0 }
}

private let account = try! BareJID(parsing: "juliet@example.com")

private func entry(_ name: String, _ priority: Int8) -> Entry {
    Entry(name: name, address: try! account.with(resourcepart: name), isAvailable: true, priority: priority)
}

/// A session that has not sent presence.
private func connected(_ name: String) -> Entry {
    Entry(name: name, address: try! account.with(resourcepart: name), isAvailable: false, priority: 0)
}

/// An outcome with the sessions' names.
private enum Outcome: Equatable {
    case to([String]), fallBack, unavailable, ignore, answer, subscription(SubscriptionStanza), probe
    /// Refused, but not with `service-unavailable`.
    case otherError
}

private let bare = JID.bare(account)
private func full(_ name: String) -> JID { .full(try! account.with(resourcepart: name)) }

private func names(_ set: SessionSet, _ sessions: [Entry]) -> Outcome {
    .to(sessions.indices.filter { set.contains(index: $0) }.map { sessions[$0].name })
}

private func message(_ type: MessageType, _ to: JID, _ sessions: [Entry], _ policy: MessageTargets = .mostAvailable) -> Outcome {
    switch DeliveryRules.message(type, to: to, sessions: sessions, policy: policy) {
    case .deliver(let set): names(set, sessions)
    case .fallBack: .fallBack
    case .refuse(.serviceUnavailable): .unavailable
    case .refuse: .otherError
    case .ignore: .ignore
    }
}

private func presence(_ type: PresenceType, _ to: JID, _ sessions: [Entry]) -> Outcome {
    switch DeliveryRules.presence(type, to: to, sessions: sessions) {
    case .deliver(let set): names(set, sessions)
    case .subscription(let stanza): .subscription(stanza)
    case .probe: .probe
    case .ignore: .ignore
    }
}

private func iq(_ type: IQType, _ to: JID, _ sessions: [Entry], sharesPresence: Bool = true) -> Outcome {
    switch DeliveryRules.iq(type, to: to, sessions: sessions, sharesPresence: sharesPresence) {
    case .deliver(let set): names(set, sessions)
    case .answer: .answer
    case .refuse(.serviceUnavailable): .unavailable
    case .refuse: .otherError
    case .ignore: .ignore
    }
}

private let types: [MessageType] = [.normal, .chat, .groupchat, .headline, .error]

@Suite("Messages are delivered by Table 1 (RFC 6121 §8.5.4)")
struct MessageDeliveryTests {
    private func row(_ to: JID, _ sessions: [Entry], _ policy: MessageTargets = .mostAvailable) -> [Outcome] {
        types.map { message($0, to, sessions, policy) }
    }

    //                                                            normal     chat       groupchat     headline error
    @Test("no sessions, bare address (RFC 6121 §8.5.2.2.1)")
    func nobodyBare() {
        #expect(row(bare, []) == /*                            */ [.fallBack, .fallBack, .unavailable, .ignore, .ignore])
    }

    @Test("no sessions, full address (RFC 6121 §8.5.3.2.1; normal as chat)")
    func nobodyFull() {
        #expect(row(full("balcony"), []) == /*                 */ [.fallBack, .fallBack, .unavailable, .ignore, .ignore])
    }

    @Test("sessions without presence take nothing by the bare address (RFC 6121 §8.5.2.1.1)")
    func connectedBare() {
        #expect(row(bare, [connected("balcony")]) == /*        */ [.fallBack, .fallBack, .unavailable, .ignore, .ignore])
    }

    @Test("a session without presence gets what is sent to its full address (RFC 6121 §8.5.3.1)")
    func connectedFull() {
        let balcony = Outcome.to(["balcony"])
        #expect(row(full("balcony"), [connected("balcony")]) == [balcony, balcony, balcony, balcony, balcony])
    }

    @Test("only negative priorities, bare address")
    func negativeBare() {
        let sessions = [entry("orchard", -1), entry("crypt", -128)]
        #expect(row(bare, sessions) == /*                      */ [.fallBack, .fallBack, .unavailable, .ignore, .ignore])
        #expect(row(bare, sessions, .all) == /*                */ [.fallBack, .fallBack, .unavailable, .ignore, .ignore])
    }

    @Test("only negative priorities, full address of one of them")
    func negativeMatch() {
        let orchard = Outcome.to(["orchard"])
        #expect(row(full("orchard"), [entry("crypt", -1), entry("orchard", -1)]) == [orchard, orchard, orchard, orchard, orchard])
    }

    @Test("only negative priorities, full address of none of them")
    func negativeNoMatch() {
        #expect(row(full("balcony"), [entry("orchard", -1)]) == [.fallBack, .fallBack, .unavailable, .ignore, .ignore])
    }

    @Test("one session of non-negative priority, bare address")
    func oneBare() {
        let balcony = Outcome.to(["balcony"])
        let sessions = [entry("orchard", -1), entry("balcony", 0), connected("chamber")]
        for policy in [MessageTargets.mostAvailable, .all] {
            #expect(row(bare, sessions, policy) == [balcony, balcony, .unavailable, balcony, .ignore])
        }
    }

    @Test("one session of non-negative priority, its full address")
    func oneMatch() {
        let balcony = Outcome.to(["balcony"])
        #expect(row(full("balcony"), [entry("balcony", 0)]) == [balcony, balcony, balcony, balcony, balcony])
    }

    @Test("one session of non-negative priority, full address of another")
    func oneNoMatch() {
        let balcony = Outcome.to(["balcony"])
        #expect(row(full("chamber"), [entry("balcony", 0)]) == [balcony, balcony, .unavailable, .ignore, .ignore])
    }

    private static let several = [entry("orchard", -1), entry("balcony", 5), entry("chamber", 0), connected("hall"), entry("garden", 5)]

    @Test("several sessions, bare address: the highest priority, all of it on a tie (RFC 6121 §8.5.2.1.1)")
    func severalBare() {
        let most = Outcome.to(["balcony", "garden"])
        let all = Outcome.to(["balcony", "chamber", "garden"])
        #expect(row(bare, Self.several) == [most, most, .unavailable, all, .ignore])
    }

    @Test("several sessions, bare address, all non-negative ones by configuration (RFC 6121 §8.5.2.1.1)")
    func severalBareAll() {
        let all = Outcome.to(["balcony", "chamber", "garden"])
        #expect(row(bare, Self.several, .all) == [all, all, .unavailable, all, .ignore])
    }

    @Test("several sessions, full address of one: that one alone (RFC 6121 §8.5.3.1)")
    func severalMatch() {
        let chamber = Outcome.to(["chamber"])
        for policy in [MessageTargets.mostAvailable, .all] {
            #expect(row(full("chamber"), Self.several, policy) == [chamber, chamber, chamber, chamber, chamber])
        }
    }

    @Test("several sessions, full address of none (RFC 6121 §8.5.3.2.1; normal as chat)")
    func severalNoMatch() {
        let most = Outcome.to(["balcony", "garden"])
        let all = Outcome.to(["balcony", "chamber", "garden"])
        #expect(row(full("attic"), Self.several) == [most, most, .unavailable, .ignore, .ignore])
        #expect(row(full("attic"), Self.several, .all) == [all, all, .unavailable, .ignore, .ignore])
    }

    @Test("the highest priority is found wherever it stands", arguments: [Int8(0), 1, 126])
    func order(priority: Int8) {
        let low = entry("low", priority)
        let high = entry("high", priority + 1)
        #expect(message(.chat, bare, [low, high]) == .to(["high"]))
        #expect(message(.chat, bare, [high, low]) == .to(["high"]))
        #expect(message(.chat, bare, [low, high, low]) == .to(["high"]))
        #expect(message(.chat, bare, [low, low]) == .to(["low", "low"]))
    }

    @Test("all 64 sessions that an account can have get a message")
    func manySessions() {
        let sessions = (0..<64).map { entry("s\($0)", 3) }
        #expect(message(.chat, bare, sessions) == .to(sessions.map(\.name)))
        #expect(message(.headline, bare, sessions) == .to(sessions.map(\.name)))
        #expect(message(.chat, full("s63"), sessions) == .to(["s63"]))
    }

    @Test("a headline to a bare JID reaches every resource of non-negative priority (RFC 6121 §8.5.2.1.1)")
    func headlineToBareJID() {
        let online = [entry("balcony", 1), entry("chamber", 0), entry("orchard", -1)]
        #expect(message(.headline, bare, online) == .to(["balcony", "chamber"]))
    }
}

@Suite("Presence is delivered by RFC 6121 §8.5.2 and §8.5.3")
struct PresenceDeliveryTests {
    private let sessions = [entry("balcony", 1), connected("hall"), entry("orchard", -1)]

    @Test("to the bare address: every available session, whatever its priority (RFC 6121 §8.5.2.1.2)", arguments: [PresenceType.available, .unavailable, .error])
    func bareAddress(type: PresenceType) {
        #expect(presence(type, bare, sessions) == .to(["balcony", "orchard"]))
        #expect(presence(type, bare, [connected("hall")]) == .ignore)
    }

    @Test("to the bare address with nobody there: ignored (RFC 6121 §8.5.2.2.2)", arguments: [PresenceType.available, .unavailable, .error])
    func nobody(type: PresenceType) {
        #expect(presence(type, bare, []) == .ignore)
    }

    @Test("to a session: that one, available or only connected (RFC 6121 §8.5.3.1)", arguments: [PresenceType.available, .unavailable, .error])
    func session(type: PresenceType) {
        #expect(presence(type, full("orchard"), sessions) == .to(["orchard"]))
        #expect(presence(type, full("hall"), sessions) == .to(["hall"]))
    }

    @Test("to a session that is gone: ignored (RFC 6121 §8.5.3.2.2)", arguments: [PresenceType.available, .unavailable, .error])
    func gone(type: PresenceType) {
        #expect(presence(type, full("attic"), sessions) == .ignore)
    }

    private static let subscriptions: [(PresenceType, SubscriptionStanza)] = [
        (.subscribe, .subscribe), (.subscribed, .subscribed), (.unsubscribe, .unsubscribe), (.unsubscribed, .unsubscribed),
    ]

    @Test("subscription stanzas go to the roster (RFC 6121 §8.5.2.1.2, §8.5.2.2.2, §8.5.3.1)", arguments: subscriptions)
    func subscription(type: PresenceType, stanza: SubscriptionStanza) {
        #expect(presence(type, bare, sessions) == .subscription(stanza))
        #expect(presence(type, bare, []) == .subscription(stanza))
        #expect(presence(type, full("balcony"), sessions) == .subscription(stanza))
    }

    @Test("to a session that is gone only subscribe counts (RFC 6121 §8.5.3.2.2)")
    func subscriptionToGone() {
        #expect(presence(.subscribe, full("attic"), sessions) == .subscription(.subscribe))
        #expect(presence(.subscribed, full("attic"), sessions) == .ignore)
        #expect(presence(.unsubscribe, full("attic"), sessions) == .ignore)
        #expect(presence(.unsubscribed, full("attic"), sessions) == .ignore)
    }

    @Test("the server answers probes (RFC 6121 §8.5.2.1.2, §8.5.3)")
    func probe() {
        #expect(presence(.probe, bare, sessions) == .probe)
        #expect(presence(.probe, bare, []) == .probe)
        #expect(presence(.probe, full("balcony"), sessions) == .probe)
        #expect(presence(.probe, full("attic"), sessions) == .probe)
    }
}

@Suite("IQs are delivered by RFC 6121 §8.5.2 and §8.5.3")
struct IQDeliveryTests {
    private let sessions = [entry("balcony", 1), connected("hall"), entry("orchard", -1)]

    @Test("to the bare address: the server answers, sessions or not (RFC 6121 §8.5.2.1.3, §8.5.2.2.3)", arguments: [IQType.get, .set])
    func bareAddress(type: IQType) {
        #expect(iq(type, bare, sessions) == .answer)
        #expect(iq(type, bare, []) == .answer)
        #expect(iq(type, bare, sessions, sharesPresence: false) == .answer)
    }

    @Test("to a session: that one, available or only connected (RFC 6121 §8.5.3.1)", arguments: [IQType.get, .set, .result, .error])
    func session(type: IQType) {
        #expect(iq(type, full("balcony"), sessions) == .to(["balcony"]))
        #expect(iq(type, full("hall"), sessions) == .to(["hall"]))
        #expect(iq(type, full("orchard"), sessions) == .to(["orchard"]))
    }

    @Test("a request by somebody who does not see the session gets the same answer as if it were gone (RFC 6121 §8.5.3.1)", arguments: [IQType.get, .set])
    func presenceLeak(type: IQType) {
        #expect(iq(type, full("balcony"), sessions, sharesPresence: false) == .unavailable)
        #expect(iq(type, full("attic"), sessions, sharesPresence: false) == .unavailable)
        #expect(iq(type, full("attic"), sessions, sharesPresence: true) == .unavailable)
        #expect(iq(type, full("attic"), []) == .unavailable)
    }

    @Test("an answer reaches its session whoever it is from (RFC 6121 §8.5.3.1)", arguments: [IQType.result, .error])
    func answers(type: IQType) {
        #expect(iq(type, full("balcony"), sessions, sharesPresence: false) == .to(["balcony"]))
    }

    @Test("an answer that nobody waits for is not answered (RFC 6120 §8.2.3)", arguments: [IQType.result, .error])
    func strayAnswers(type: IQType) {
        #expect(iq(type, full("attic"), sessions) == .ignore)
        #expect(iq(type, bare, sessions) == .ignore)
        #expect(iq(type, bare, []) == .ignore)
    }
}
