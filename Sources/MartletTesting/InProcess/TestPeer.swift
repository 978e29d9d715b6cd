package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore
import Synchronization

/// What a ``TestServer`` has for other servers: kept, in order, until a test takes it.
package final class TestWire: RemoteDelivery {
    private let state = Mutex<(sent: [EncodedStanza], refusal: StanzaError?, lastView: UInt64)>(([], nil, 0))

    package init() {}

    package func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance {
        state.withLock { state in
            if let refusal = state.refusal { return .refused(refusal) }
            state.sent.append(stanza)
            guard var kept = kept?.entry else { return .accepted(.none) }
            state.lastView += 1
            kept.views.append(.init(owner: AccountID(queueFor: DomainPair(remote: to.domainpart, local: from.domainpart)), id: state.lastView))
            return .accepted(context.store.submit([.log(kept)]))
        }
    }

    /// There is no way to other servers any more, or there is again.
    package func refuse(_ error: StanzaError?) { state.withLock { $0.refusal = error } }

    package func takeEncoded() -> [EncodedStanza] {
        state.withLock { state in
            defer { state.sent = [] }
            return state.sent
        }
    }

    /// The same as elements.
    package func take() -> [FlatElement] {
        takeEncoded().map { stanza in
            guard let element = try? parseElement(stanza.bytes, limits: .authenticated) else { preconditionFailure("no stanza: \(stanza)") }
            return element
        }
    }
}

/// A stream from another server into a ``TestServer``.
package final class TestPeer: PeerTransport {
    private let server: TestServer
    private var session: PeerSession?
    /// Why the stream ended.
    package private(set) var error: StreamError?
    package private(set) var isReading = true
    /// The last that the other server was told of how much is safe.
    package private(set) var handledCount: UInt32?

    /// - Parameter pairs: what the other server has proved, as `remote → ours`.
    package init(_ server: TestServer, _ pairs: KeyValuePairs<String, String>) {
        self.server = server
        let session = PeerSession(self, router: server.router, context: server.context)
        session.pairs = Set(pairs.map { DomainPair(remote: $0.key, local: $0.value) })
        self.session = session
    }

    deinit { session?.end() }

    package func enableManagement() { session?.enableManagement() }
    package func enableManagement(named identifier: String, of domain: String, after handled: UInt32 = 0) {
        session?.enableManagement(named: identifier, of: domain, after: handled)
    }
    package func remember(in messages: RecentMessages) { session?.recentMessages = { _ in messages } }
    package func end() { session?.end() }
    package func handOver(_ finished: @escaping (UInt32) -> Void) { session?.handOver(finished) }

    package func setReading(_ isReading: Bool) { self.isReading = isReading }
    package func handled(_ count: UInt32) { handledCount = count }

    /// Sends one stanza and lets the server do all that it can do about it.
    package func send(_ xml: String) {
        guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no stanza: \(xml)") }
        send(element)
    }

    package func send(_ element: FlatElement) {
        do {
            try session?.receive(element)
        } catch {
            self.error = error
            session?.end()
            session = nil
        }
        server.context.flush()
        server.run()
    }
}
