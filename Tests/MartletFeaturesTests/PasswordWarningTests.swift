import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("Passwords that are about to expire")
struct PasswordWarningTests {
    private static let day: Int64 = 86_400_000

    /// Knows when passwords end, and how often it was asked.
    private final class Expiry: PasswordExpiry {
        private let state: Mutex<(isPossible: Bool, end: Int64?, questions: Int)>
        init(_ end: Int64?, isPossible: Bool) { state = Mutex((isPossible, end, 0)) }
        var isPossible: Bool { state.withLock { $0.isPossible } }
        var questions: Int { state.withLock { $0.questions } }
        func passwordEnd(of account: BareJID) async -> Int64? {
            state.withLock { state in
                state.questions += 1
                return state.end
            }
        }
    }

    private static func server(
        endsIn left: Int64?, notice: Int64 = 14 * day, changesPasswords: Bool = true, isPossible: Bool = true
    ) -> (server: TestServer, expiry: Expiry) {
        let expiry = Expiry(left.map { ManualTime.start + $0 }, isPossible: isPossible)
        let server = TestServer(features: { configuration in
            var configuration = configuration
            configuration.passwordWarning = .init(expiry, notice: notice, changesPasswords: changesPasswords)
            return StandardFeatures.all(configuration)
        })
        return (server, expiry)
    }

    /// What a client has been told by its domain.
    private func told(_ client: TestClient) -> [String] {
        client.received().filter { $0.element.localName == "message" && $0.element.attribute("from") == "capulet.example" }.map {
            "\($0.element.attribute("type") ?? "normal"): \($0.child("body")?.text ?? "")"
        }
    }

    private func visit(_ server: TestServer, _ name: String = "juliet/balcony") -> [String] {
        let client = server.client(name)
        client.send("<presence/>")
        defer { client.disconnect() }
        return told(client)
    }

    @Test("whoever comes online is told from so long before on, and not a moment earlier", arguments: [0, 1])
    func notice(more: Int64) {
        let (server, _) = Self.server(endsIn: 14 * Self.day + more)
        let expected = "headline: Your password expires on 2020-09-27. Change it in your client before then."
        #expect(visit(server) == (more == 0 ? [expected] : []))
        withExtendedLifetime(server) {}
    }

    @Test("once a day, each account, also over a restart; and again the next day")
    func onceADay() {
        let (server, _) = Self.server(endsIn: 3 * Self.day)
        #expect(visit(server).count == 1)
        #expect(visit(server, "juliet/chamber") == [])
        #expect(visit(server, "romeo/orchard").count == 1)
        let next = server.restarted()
        #expect(visit(next) == [])
        next.advance(by: .seconds(86_400))
        #expect(visit(next).count == 1)
        #expect(visit(next) == [])
        withExtendedLifetime((server, next)) {}
    }

    @Test("whoever takes no messages is told when he does")
    func lowPriority() {
        let (server, expiry) = Self.server(endsIn: Self.day)
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence><priority>-1</priority></presence>")
        #expect(told(juliet) == [] && expiry.questions == 0)
        juliet.send("<presence/>")
        #expect(told(juliet).count == 1)
        withExtendedLifetime(server) {}
    }

    @Test("where people do not change their passwords they are told whom to ask")
    func advice() {
        let (server, _) = Self.server(endsIn: Self.day, changesPasswords: false)
        #expect(visit(server) == ["headline: Your password expires on 2020-09-14. Ask whoever runs capulet.example for a new one before then."])
        withExtendedLifetime(server) {}
    }

    @Test("nobody is told of a password without an end, nor of one that has ended", arguments: [nil, 0, -1] as [Int64?])
    func nothing(left: Int64?) {
        let (server, _) = Self.server(endsIn: left)
        #expect(visit(server) == [])
        withExtendedLifetime(server) {}
    }

    @Test("nobody is asked where that is off, or no password has an end", arguments: [true, false])
    func off(isPossible: Bool) {
        let (server, expiry) = Self.server(endsIn: Self.day, notice: isPossible ? 0 : Self.day, isPossible: isPossible)
        #expect(visit(server) == [] && expiry.questions == 0)
        withExtendedLifetime(server) {}
    }
}
