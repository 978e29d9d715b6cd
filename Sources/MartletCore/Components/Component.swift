import MartletXML
package import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Synchronization

/// A domain of this server that another program answers for (XEP-0114): an external component.
///
/// The rest of the server sees it as it sees another server: its users have presence and subscriptions with addresses there, and everything that
/// comes for the domain is handed on. What cannot be handed on is refused at once: nothing waits for a component that is not connected, and so
/// much at most for one that reads slowly (``Limits``). There is no acknowledgement in the protocol: what was written to a connection that then
/// breaks may be lost.
///
/// It stays the same over reloads, and over connections.
package final class Component: DomainService {
    /// What may wait for a component that reads slowly; past either, stanzas for it are refused with `resource-constraint`.
    package struct Limits: Hashable, Sendable {
        package var stanzasMax = 10_000
        package var bytesMax = 4 * 1024 * 1024
        /// Requests in the server's name that the component has not answered; a further one fails at once.
        package var requestsMax = 1_000
        /// Those of them that are of one account, or of all addresses of another server (XEP-0355).
        package var requestsOfOneMax = 64
        /// The bytes of what such requests were, all together.
        package var requestBytesMax = 8 * 1024 * 1024
        /// Sessions of which it is remembered what the component has heard of their presence (XEP-0356 §8); past it, it may hear the same again.
        package var presencesMax = 10_000
        package init() {}
    }

    private struct Connection {
        let ref: ComponentRef
        let address: String
        /// Milliseconds since 1970.
        let since: Int64
    }

    /// Somebody's request for which the component is asked.
    package struct Burden: Sendable {
        /// An account, or the domain of another server.
        let asker: BareJID
        let bytes: Int

        package init(of stanza: Stanza, _ context: LoopContext) {
            let sender = stanza.from.bare
            asker = context.hosts.host(of: sender) != nil ? sender : sender.domain
            bytes = stanza.element.byteCount
        }
    }

    /// Requests that wait for the component's answers (``AwaitedAnswers``).
    private struct Requests {
        /// In whose name they are, by identifier.
        private(set) var askers: [String: BareJID] = [:]
        private var burdens: [String: Burden] = [:]
        private var counts: [BareJID: Int] = [:]
        private var bytes = 0

        /// - Returns: whether there was room for it.
        mutating func insert(_ id: String, of asker: BareJID, for burden: Burden?, _ limits: Limits) -> Bool {
            guard askers.count < limits.requestsMax else { return false }
            if let burden {
                let count = counts[burden.asker, default: 0]
                guard count < limits.requestsOfOneMax, bytes + burden.bytes <= limits.requestBytesMax else { return false }
                counts[burden.asker] = count + 1
                bytes += burden.bytes
                burdens[id] = burden
            }
            askers[id] = asker
            return true
        }

        mutating func remove(_ id: String) {
            askers[id] = nil
            guard let burden = burdens.removeValue(forKey: id) else { return }
            bytes -= burden.bytes
            let count = counts[burden.asker, default: 0] - 1
            counts[burden.asker] = count > 0 ? count : nil
        }
    }

    private struct State {
        /// `nil` before the configuration that names it is in force, and after it is not any more.
        var settings: ComponentSettings?
        var connection: Connection?
        var stanzas = 0
        var bytes = 0
        var requests = Requests()
        /// What it says of itself at the addresses of domains and of accounts.
        var nested: [IQRoute.Scope: [NestedDisco]] = [:]
        /// What it has heard last of sessions, as hashes.
        var presences: [FullJID: Int] = [:]
        /// Contacts elsewhere that were asked for it whether they are there.
        var probed: Set<BareJID> = []

        /// What belongs to a connection.
        mutating func forget() {
            requests = Requests()
            nested = [:]
            presences = [:]
            probed = []
        }
    }

    /// The domain.
    package let name: BareJID
    private let limits: Limits
    // One for all loops: held for look-ups and counts, for each stanza to the component 0.1 µs.
    private let state = NIOLockedValueBox(State())
    private let receivedCount = Atomic<Int>(0)
    private let sentCount = Atomic<Int>(0)
    private let requestsInName = Atomic<Int>(0)

    package init(_ name: BareJID, limits: Limits = Limits()) {
        self.name = name
        self.limits = limits
    }

    package var settings: ComponentSettings? { state.withLockedValue { $0.settings } }
    package var isConnected: Bool { state.withLockedValue { $0.connection != nil } }
    package var actsAsServer: Bool { true }

    /// - Returns: what a component that is connected could do before, if that is something else now.
    func apply(_ settings: ComponentSettings?) -> ComponentPowers? {
        state.withLockedValue { state in
            defer { state.settings = settings }
            guard state.connection != nil, let former = state.settings?.powers, former != settings?.powers else { return nil }
            return former
        }
    }

    // MARK: To the component

    package func receive(_ arrival: Arrival, _ router: Router, _ context: LoopContext) -> Progress {
        if let error = deliver(arrival.stanza.encoded(to: arrival.to), context), arrival.stanza.isAnswerable { router.refuse(arrival, error, context) }
        return .done
    }

    package func take(_ stanza: EncodedStanza, to address: JID, _ router: Router, _ context: LoopContext) {
        guard let error = deliver(stanza, context) else { return }
        context.after { context in router.returnUndelivered(stanza, error, context) }
    }

    package func stop(_ router: Router, _ context: LoopContext) {}

    /// What a component keeps of an account is its own affair, as another server's is.
    package func withdraw(
        from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext,
        _ done: @escaping @Sendable (_ isWithdrawn: Bool, LoopContext) -> Void
    ) {
        done(true, context)
    }

    /// Hands a stanza to the component. Memory only: may be called under a shard's lock, which fixes the order.
    ///
    /// - Returns: why it does not get there.
    package func deliver(_ stanza: EncodedStanza, _ context: LoopContext) -> StanzaError? {
        let bytes = stanza.bytes.readableBytes
        return state.withLockedValue { state in
            guard let connection = state.connection else { return isAway }
            guard state.stanzas < limits.stanzasMax, state.bytes + bytes <= limits.bytesMax else {
                return StanzaError(.resourceConstraint, .wait, text: "too much waits for \(name)")
            }
            state.stanzas += 1
            state.bytes += bytes
            context.post(.forward(PeerQueue.Item(stanza, after: 0), to: connection.ref), to: connection.ref.mailbox)
            return nil
        }
    }

    private var isAway: StanzaError { StanzaError(.serviceUnavailable, .wait, text: "\(name) is not connected to this server") }

    /// Stanzas are written, or wait no more for another reason.
    func release(_ stanzas: Int, bytes: Int, by ref: ComponentRef) {
        state.withLockedValue { state in
            guard state.connection?.ref === ref else { return }
            state.stanzas -= stanzas
            state.bytes -= bytes
        }
    }

    func sent(_ count: Int) { sentCount.add(count, ordering: .relaxed) }
    func received() { receivedCount.add(1, ordering: .relaxed) }

    // MARK: Its connection

    /// - Returns: the connection that it had, which is to end.
    func connected(_ ref: ComponentRef, address: String, at milliseconds: Int64) -> ComponentRef? {
        state.withLockedValue { state in
            let old = state.connection?.ref
            state.connection = Connection(ref: ref, address: address, since: milliseconds)
            (state.stanzas, state.bytes) = (0, 0)
            (state.nested, state.presences, state.probed) = ([:], [:], [])
            return old
        }
    }

    /// - Returns: in whose name it has not answered something, by identifier; `nil` if it has another connection already.
    func disconnected(_ ref: ComponentRef) -> [String: BareJID]? {
        state.withLockedValue { state in
            guard state.connection?.ref === ref else { return nil }
            state.connection = nil
            defer { state.forget() }
            return state.requests.askers
        }
    }

    /// Ends its stream, if it has one.
    package func end(_ error: StreamError) {
        guard let ref = state.withLockedValue({ $0.connection?.ref }) else { return }
        ref.mailbox.run { _ in ref.session?.end(error) }
    }

    /// Does something with its session, on that one's loop, if it is connected.
    package func withSession(_ body: @escaping @Sendable (ComponentSession, LoopContext) -> Void) {
        guard let ref = state.withLockedValue({ $0.connection?.ref }) else { return }
        ref.mailbox.run { context in
            if let session = ref.session { body(session, context) }
        }
    }

    // MARK: Requests

    /// Requests in accounts' names that may wait for their answers; a further one fails at once with `resource-constraint`.
    package static var requestsInNameMax: Int { 1_000 }

    /// - Returns: whether one more may wait.
    func beginRequestInName() -> Bool {
        if requestsInName.add(1, ordering: .relaxed).newValue <= Self.requestsInNameMax { return true }
        endRequestInName()
        return false
    }

    func endRequestInName() { requestsInName.subtract(1, ordering: .relaxed) }

    /// It is to be asked something in the name of a domain.
    ///
    /// - Returns: whether there is room for it.
    func beginRequest(_ id: String, of asker: BareJID, for burden: Burden?) -> Bool {
        state.withLockedValue { $0.requests.insert(id, of: asker, for: burden, limits) }
    }

    func endRequest(_ id: String) { state.withLockedValue { $0.requests.remove(id) } }

    // MARK: What it says of itself

    /// What it says that it can do at such addresses, in a domain's place (XEP-0355 §7.2); nothing while it is away.
    package func nested(at scope: IQRoute.Scope) -> [NestedDisco] { state.withLockedValue { $0.nested[scope] ?? [] } }

    /// It has said so.
    package func note(_ nested: NestedDisco, at scope: IQRoute.Scope) {
        state.withLockedValue { state in
            guard state.connection != nil else { return }
            state.nested[scope, default: []].removeAll { $0.namespace == nested.namespace }
            state.nested[scope, default: []].append(nested)
        }
    }

    // MARK: Presence

    /// Tells it of somebody's presence, unless it has heard just that (XEP-0356 §8). Memory only: may be called under a shard's lock.
    ///
    /// - Returns: whether it is told, or need not be.
    @discardableResult
    package func show(_ presence: borrowing Stanza, _ context: LoopContext) -> Bool {
        guard case .full(let session) = presence.from, isConnected, !serves(session.bare, context.hosts) else { return true }
        let encoded = presence.encoded(to: .bare(name))
        guard !hasHeard(encoded, of: session) else { return true }
        guard deliver(encoded, context) == nil else { return false }
        state.withLockedValue { state in
            if state.presences.count >= limits.presencesMax, state.presences[session] == nil { state.presences = [:] }
            state.presences[session] = encoded.hashValue
        }
        return true
    }

    /// Whether it would hear something new.
    package func isNews(_ presence: borrowing Stanza, _ context: LoopContext) -> Bool {
        guard case .full(let session) = presence.from, isConnected, !serves(session.bare, context.hosts) else { return false }
        return !hasHeard(presence.encoded(to: .bare(name)), of: session)
    }

    private func hasHeard(_ presence: EncodedStanza, of session: FullJID) -> Bool { state.withLockedValue({ $0.presences[session] }) == presence.hashValue }

    /// Whether somebody elsewhere is to be asked for it whether he is there: once while it is connected.
    func mayAsk(after contact: BareJID) -> Bool {
        state.withLockedValue { $0.probed.count < limits.presencesMax && $0.probed.insert(contact).inserted }
    }

    func isConnection(_ ref: ComponentRef) -> Bool { state.withLockedValue { $0.connection?.ref === ref } }

    /// Whether so little waits for it that it can be told a lot.
    package var isKeepingUp: Bool { state.withLockedValue { $0.stanzas <= limits.stanzasMax / 2 && $0.bytes <= limits.bytesMax / 2 } }

    // MARK: What operators see

    package var report: ComponentReport {
        state.withLockedValue { state in
            ComponentReport(
                name: name.domainpart, domain: state.settings?.domain.domainpart ?? "", address: state.connection?.address,
                since: state.connection?.since, waitingStanzas: state.stanzas, waitingBytes: state.bytes,
                sent: sentCount.load(ordering: .relaxed), received: receivedCount.load(ordering: .relaxed))
        }
    }
}

/// A component as operators see it.
package struct ComponentReport: Codable, Hashable, Sendable {
    package var name: String
    /// Whose accounts it is there for.
    package var domain: String
    /// Of the other end; `nil` while it is not connected.
    package var address: String?
    /// Milliseconds since 1970.
    package var since: Int64?
    package var waitingStanzas: Int
    package var waitingBytes: Int
    /// Stanzas to it and from it since the start of the server.
    package var sent: Int
    package var received: Int

    package init(
        name: String, domain: String, address: String?, since: Int64?, waitingStanzas: Int, waitingBytes: Int, sent: Int, received: Int
    ) {
        self.name = name
        self.domain = domain
        self.address = address
        self.since = since
        self.waitingStanzas = waitingStanzas
        self.waitingBytes = waitingBytes
        self.sent = sent
        self.received = received
    }
}
