import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

@Suite("What waits for other servers")
struct PeerQueueTests {
    private func stanza(_ number: Int) -> EncodedStanza { EncodedStanza(ByteBuffer(string: "<message id='\(number)'/>")) }

    /// Acknowledgements one after the other, and what each of them is done with.
    private func done(_ sent: Int, _ handled: UInt32...) -> [[EncodedStanza]?] {
        var management = OutgoingManagement<EncodedStanza>()
        for number in 1...sent { management.append(stanza(number)) }
        return handled.map { management.acknowledge($0) }
    }

    @Test("what is acknowledged is done with, in order, and nothing else (XEP-0198 §4)")
    func acknowledging() {
        #expect(done(5, 2, 2, 1, 5) == [[stanza(1), stanza(2)], [], [], [stanza(3), stanza(4), stanza(5)]])
    }

    @Test("more than was sent is acknowledged by nobody in his senses")
    func tooMuch() {
        #expect(done(1, 2, 1, 2) == [nil, [stanza(1)], nil])
    }

    @Test("it is asked once for what was sent, and again when there is more")
    func asking() {
        var management = OutgoingManagement<EncodedStanza>()
        var asked = [management.asks()]
        management.append(stanza(1))
        asked += [management.asks(), management.asks()]
        management.append(stanza(2))
        asked.append(management.asks())
        _ = management.acknowledge(2)
        asked.append(management.asks())
        #expect(asked == [false, true, false, true, false])
    }

    @Test("a stream that goes on with another counts on from what that had handled, also past 2³²")
    func goingOn() {
        var management = OutgoingManagement<Int>(after: .max)
        for number in 1...3 { management.append(number) }
        #expect(management.acknowledged == .max && management.sent == 2)
        let done = [management.acknowledge(.max), management.acknowledge(1), management.acknowledge(3), management.acknowledge(2)]
        #expect(done == [[], [1, 2], nil, [3]])
    }

    @Test("so many are called at a time, so many wait, and who waits is next when somebody is done")
    func calls() {
        let queue = CallQueue(runningMax: 2, waitingMax: 1)
        let entered = NIOLockedValueBox<[Int]>([])
        func enter(_ number: Int) -> Bool { queue.enter { entered.withLockedValue { $0.append(number) } } }
        #expect(enter(1) && enter(2) && enter(3))
        #expect(entered.withLockedValue { $0 } == [1, 2])
        #expect(!enter(4))
        queue.leave()
        #expect(entered.withLockedValue { $0 } == [1, 2, 3])
        queue.leave()
        queue.leave()
        #expect(enter(5))
        #expect(entered.withLockedValue { $0 } == [1, 2, 3, 5])
    }

    @Test("who has many called has a quarter of the places and half of the waiting room, and others are called at once")
    func shares() throws {
        let queue = CallQueue(runningMax: 8, waitingMax: 4)
        let (greedy, other) = (try BareJID(parsing: "greedy@here.example"), try BareJID(parsing: "other@here.example"))
        let entered = NIOLockedValueBox<[String]>([])
        func enter(_ name: String, _ party: BareJID) -> Bool { queue.enter(for: party) { entered.withLockedValue { $0.append(name) } } }
        let ofGreedy = (1...5).map { enter("greedy \($0)", greedy) }
        #expect(ofGreedy == [true, true, true, true, false])
        let others = (1...3).map { enter("other \($0)", other) }
        #expect(others == [true, true, true])
        #expect(entered.withLockedValue { $0 } == ["greedy 1", "greedy 2", "other 1", "other 2"])
        queue.leave(for: other)
        queue.leave(for: greedy)
        queue.leave(for: greedy)
        queue.leave(for: other)
        #expect(entered.withLockedValue { $0.dropFirst(4) } == ["other 3", "greedy 3", "greedy 4"])
    }

    @Test("who has the fewest places is next")
    func fewest() throws {
        let queue = CallQueue(runningMax: 8, waitingMax: 8)
        let parties = try (0..<6).map { try BareJID(parsing: "u\($0)@here.example") }
        let entered = NIOLockedValueBox<[Int]>([])
        func enter(_ party: Int) -> Bool { queue.enter(for: parties[party]) { entered.withLockedValue { $0.append(party) } } }
        let all = [0, 0, 1, 1, 2, 2, 3, 3].map(enter)
        let late = [0, 4].map(enter)
        #expect(all.allSatisfy { $0 } && late == [true, true])
        queue.leave(for: parties[0])
        #expect(entered.withLockedValue { $0.dropFirst(8) } == [4])
    }

    @Test("strangers who cannot be reached have so many lines in a minute, and the next one says how many had none")
    func lines() {
        var limit = LineLimit()
        let first = (0..<LineLimit.linesMax).map { _ in limit.take(at: 59_999) }
        let over = [limit.take(at: 59_999), limit.take(at: 30_000)]
        let next = [limit.take(at: 60_000), limit.take(at: 60_000)]
        #expect(first.allSatisfy { $0 == 0 } && over == [nil, nil] && next == [2, 0])
    }
}

@Suite("Who may have streams with this server")
struct FederationPolicyTests {
    private func settings(_ change: (inout FederationSettings) -> Void) -> FederationSettings {
        var settings = FederationSettings()
        change(&settings)
        return settings
    }

    @Test("a blocked domain and all below it are refused, and nobody else")
    func blocked() {
        let settings = settings { $0.blocked = ["spam.example"] }
        #expect(settings.policy(of: "spam.example").refusal != nil)
        #expect(settings.policy(of: "conference.spam.example").refusal != nil)
        #expect(settings.policy(of: "notspam.example").refusal == nil)
        #expect(settings.policy(of: "example").refusal == nil)
    }

    @Test("a closed server has streams with those that it knows, and the domains below theirs; a block counts for more")
    func closed() {
        let settings = settings {
            $0.isClosed = true
            $0.policies = ["friend.example": PeerPolicy(authentication: .dialback)]
            $0.blocked = ["foe.friend.example"]
        }
        #expect(settings.policy(of: "friend.example") == PeerPolicy(authentication: .dialback))
        #expect(settings.policy(of: "conference.friend.example").refusal == nil)
        #expect(settings.policy(of: "foe.friend.example").refusal != nil)
        #expect(settings.policy(of: "stranger.example").refusal != nil)
    }

    @Test("the nearest name decides")
    func nearest() {
        let settings = settings {
            $0.policies = ["example.net": PeerPolicy(authentication: .dialback), "chat.example.net": PeerPolicy(requiresEncryption: false)]
        }
        #expect(settings.policy(of: "chat.example.net") == PeerPolicy(requiresEncryption: false))
        #expect(settings.policy(of: "other.example.net") == PeerPolicy(authentication: .dialback))
        #expect(settings.policy(of: "example.org") == PeerPolicy())
    }
}
