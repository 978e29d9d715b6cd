import Foundation
import MartletCore
import MartletFeatures
import MartletXML
import MartletXMPP
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A server with rosters and subscriptions at `example.org`, on an event loop, without network and disk: for what goes on beside its tests.
///
/// `@unchecked Sendable`: its context is touched on its loop only.
final class RosterServer: @unchecked Sendable {
    /// The time that it is.
    struct Time: TimeSource {
        var monotonic: NIODeadline { .now() }
        var wallMilliseconds: Int64 { Int64(Date().timeIntervalSince1970 * 1_000) }
    }

    let store: InMemoryStore
    let router: Router
    private let context: LoopContext
    let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.any()

    /// - Parameter store: of the server that was there before.
    init(_ store: InMemoryStore = InMemoryStore(time: Time())) throws {
        self.store = store
        router = Router(store: store, ids: StanzaIDSource(floor: 0), remote: Remote(), audit: NoAudit())
        let host = try Host(domain: try BareJID(parsing: "example.org"), features: [RosterManagement()])
        context = LoopContext(loop: loop, hosts: HostTable([host]), store: store, time: Time(), random: SystemRandom())
        Self.all.withLock { $0.append(self) }
    }

    /// They stay: what was asked for last may come to their loop after the end of a test.
    private static let all = Mutex<[RosterServer]>([])

    var mailbox: LoopMailbox { context.mailbox }

    /// Whatever is said to others is said.
    private struct Remote: RemoteDelivery {
        func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance { .accepted(.none) }
    }

    func create(_ accounts: String...) async throws {
        try await store.commit(accounts.map { .account(.create(jid($0), credentials: [], isAdmin: false)) })
    }

    /// The roster as it is on disk.
    func roster(_ account: String) -> [BareJID: RosterItem] { store.contents[jid(account)]?.roster ?? [:] }

    /// A session that has asked for its roster and is there.
    func client(_ account: String) async throws -> RosterClient {
        let client = RosterClient()
        let isBound = await withCheckedContinuation { continuation in
            mailbox.run { [router] context in
                router.bind(jid(account), resource: "test", client, context) { outcome in
                    if case .bound(let session) = outcome { client.session = session }
                    continuation.resume(returning: client.session != nil)
                }
            }
        }
        try #require(isBound)
        for stanza in ["<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>", "<presence/>"] { send(stanza, by: client) }
        return client
    }

    func send(_ xml: String, by client: RosterClient) {
        mailbox.run { _ in
            guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no stanza: \(xml)") }
            try? client.session?.receive(element)
        }
    }

    /// Another server says something.
    func say(_ xml: String, from domain: String) {
        mailbox.run { [router] context in
            guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no stanza: \(xml)") }
            let peer = SilentPeer()
            let session = PeerSession(peer, router: router, context: context)
            session.pairs = [DomainPair(remote: domain, local: "example.org")]
            try? session.receive(element)
            withExtendedLifetime(peer) { session.end() }
        }
    }
}

private final class SilentPeer: PeerTransport {
    func setReading(_ isReading: Bool) {}
    func handled(_ count: UInt32) {}
}

/// `@unchecked Sendable`: its session is touched on the server's loop only; what it has heard is behind a lock.
final class RosterClient: SessionTransport, @unchecked Sendable {
    var session: ClientSession?
    private let stanzas = Mutex<[String]>([])
    let pendingBytes = 0
    let remoteAddress = "192.0.2.1:40000"

    /// Everything, in order.
    var heard: [String] { stanzas.withLock { $0 } }

    /// Whether there is a stanza with all of these in it, in whatever quotes.
    func hasHeard(_ parts: String...) -> Bool { heard.contains { stanza in parts.allSatisfy { stanza.contains($0) } } }

    func write(_ bytes: ByteBuffer) { stanzas.withLock { $0.append(String(buffer: bytes).replacing("\"", with: "'")) } }
    func flush() {}
    func close(_ error: StreamError?) {}
    func setReading(_ isReading: Bool) {}
}
