import Logging
import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

@Suite("Ports for directory clients, and how these log in")
struct DirectoryListenerTests {
    private final class Record: AuditSink {
        private let events = NIOLockedValueBox<[AuditEvent]>([])
        var all: [AuditEvent] { events.withLockedValue { $0 } }
        func record(_ event: AuditEvent) { events.withLockedValue { $0.append(event) } }
    }

    private static let listeners = [ListenerConfiguration.Kind.ldap, .ldaps].map { ListenerConfiguration(kind: $0, addresses: ["127.0.0.1"], port: 0) }

    /// A port for directory clients beside one for others.
    private func with(
        audit: any AuditSink = NoAudit(), _ change: (inout NetworkSettings) -> Void = { _ in }, _ body: (DirectoryListenerService, TestServer) async throws -> Void
    ) async throws {
        var settings = NetworkSettings.test
        change(&settings)
        let server = try await TestServer([.plain], settings: settings, audit: audit)
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let service = DirectoryListenerService(Self.listeners + [.plain], beside: server.service, time: SystemTime(), log: log)
        let result: Result<Void, any Error>
        do { result = .success(try await body(service, server)) } catch { result = .failure(error) }
        await service.stopAccepting()
        try await server.stop()
        try result.get()
    }

    private static let juliet = try! BareJID(parsing: "juliet@verona.example")

    private static func origin(_ address: String = "192.0.2.7") throws -> DirectoryListenerService.Origin {
        .init(try SocketAddress(ipAddress: address, port: 1), at: listeners[0])
    }

    private func verdict(
        _ password: String, of account: BareJID? = Self.juliet, _ service: DirectoryListenerService
    ) async throws -> AccountVerdict {
        await service.verdict(on: PreparedPassword(password), of: account, claimed: "uid=juliet", from: try Self.origin(), called: "ldap-simple")
    }

    @Test("each connection is given to whoever takes them, with its port; other ports are not opened here")
    func ports() async throws {
        try await with { service, server in
            let came = NIOLockedValueBox<[Int]>([])
            try await service.start(on: server.pool.group) { index, channel in
                came.withLockedValue { $0.append(index) }
                channel.close(promise: nil)
            }
            #expect(service.ports.count == 2)
            for port in service.ports.reversed() {
                let client = try await TestClient.connect(to: port)
                _ = try await client.hearEnd()
            }
            #expect(came.withLockedValue { $0 } == [1, 0])
        }
    }

    @Test("a password is looked at as that of a stream is, and what comes of it is in the audit log")
    func verdicts() async throws {
        let record = Record()
        try await with(audit: record) { service, _ in
            var said = [try await verdict("pencil", service), try await verdict("guess", service), try await verdict("", service)]
            said.append(try await verdict("pencil", of: nil, service))
            #expect(said == [.ok, .badCredentials, .badCredentials, .badCredentials])
        }
        let failed = AuditEvent.loginFailed(claimed: "uid=juliet", mechanism: "ldap-simple", address: "192.0.2.7", .badCredentials)
        #expect(record.all.first == .loginSucceeded(Self.juliet, mechanism: "ldap-simple", address: "192.0.2.7"))
        #expect(record.all.dropFirst() == [failed, failed, failed])
    }

    @Test("rules about log-ins hold there, by the name of the listener; a right and a wrong password are refused alike", arguments: [
        ("ldap", AccountVerdict.mechanismTooWeak), ("ldaps", .ok),
    ])
    func rules(_ kind: String, _ expected: AccountVerdict) async throws {
        var rule = LoginRule(number: 1)
        rule.listeners = [LoginListener(kind: kind, port: nil)]
        rule.mechanisms = [.scram(.sha256)]
        let rules = [rule]
        try await with { $0.policy.rules = rules } _: { service, _ in
            let (right, wrong) = (try await verdict("pencil", service), try await verdict("guess", service))
            #expect(right == expected)
            #expect(wrong == (expected == .ok ? .badCredentials : expected))
        }
    }

    @Test("whoever has guessed waits before he is heard, with all at his address and nobody else; who was right does not")
    func guesses() async throws {
        try await with {
            $0.throttle.failuresPerAddressMax = 2
            $0.throttle.delayMax = .milliseconds(50)
        } _: { service, _ in
            let (here, elsewhere) = (try Self.origin(), try Self.origin("192.0.2.8"))
            for _ in 0..<5 { _ = try await verdict("pencil", service) }
            #expect(service.delay(of: here) == .zero)
            for _ in 0..<2 { _ = try await verdict("guess", service) }
            #expect(service.delay(of: here) > .zero)
            #expect(service.delay(of: elsewhere) == .zero)
        }
    }

    @Test("passwords that a directory behind has looked at count as well", arguments: [1, 2, 3])
    func guessesElsewhere(_ count: Int) async throws {
        try await with { $0.throttle.failuresPerAddressMax = 2 } _: { service, _ in
            let origin = try Self.origin()
            let waits = (0..<count).map { _ in service.passwordWasWrong(from: origin) }
            #expect(((waits.last ?? .zero) > .zero) == (count == 3))
            #expect((service.delay(of: origin) > .zero) == (count > 1))
        }
    }
}
