import CoreMetrics
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletNetwork
import MartletXMPP
import NIOCore
import NIOPosix
import Synchronization

/// The front end for directory clients with its ports, from start to stop.
///
/// It has threads of its own: what a filter costs, or an entry of many megabytes, is no concern of those who chat.
final class DirectoryClients: Sendable {
    private static let threads = min(2, System.coreCount)

    private let frontEnd: LDAPFrontEnd
    private let ports: DirectoryListenerService
    private let listeners: [ListenerConfiguration]
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: DirectoryClients.threads)

    init(_ frontEnd: LDAPFrontEnd, _ ports: DirectoryListenerService, _ listeners: [ListenerConfiguration]) {
        self.frontEnd = frontEnd
        self.ports = ports
        self.listeners = listeners
    }

    /// - Throws: ``ListenerError`` about the first port that cannot be opened.
    func start() async throws(ListenerError) {
        do throws(ListenerError) {
            try await ports.start(on: group) { [frontEnd, listeners] index, channel in
                let listener = listeners[index]
                try frontEnd.take(
                    channel,
                    at: LDAPFrontEnd.Listener(
                        listener.kind == .ldaps ? .secure : .plain, host: "", port: listener.port, allowsPasswordsInClear: listener.allowsPlaintext, number: index))
            }
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    var clientCount: Int { frontEnd.clientCount }

    /// Takes no new clients, and tells those who are there that the server stops. The threads end with the process: whoever still looks something up for one of
    /// them gives his answer to a loop, which has to be there.
    func stop() async {
        await ports.stopAccepting()
        await frontEnd.stop()
    }
}

extension ServerMetrics {
    static func set(_ clients: DirectoryClients, in registry: OpenMetricsRegistry) {
        registry.makeMeter(label: "martlet_directory_clients", dimensions: []).set(Int64(clients.clientCount))
    }
}

/// Who logs in as a directory client: passwords of accounts are looked at as those of streams are, and whoever the directory behind lets in, or does not, is
/// counted and written down.
struct DirectoryClientLogins: Sendable {
    private let ports: DirectoryListenerService
    private let listeners: [ListenerConfiguration]
    private let audit: any AuditSink
    private let time: any TimeSource
    private let recent = RecentBinds()

    init(_ ports: DirectoryListenerService, _ listeners: [ListenerConfiguration], audit: any AuditSink, time: any TimeSource) {
        self.ports = ports
        self.listeners = listeners
        self.audit = audit
        self.time = time
    }

    /// Longest name that is written down, in characters.
    private static let nameMax = 256

    private static func name(_ mechanism: String) -> String { "ldap-\(mechanism)" }

    private func origin(_ peer: FrontEndPeer) -> DirectoryListenerService.Origin { .init(peer.address, at: listeners[peer.listener.number]) }

    // MARK: Accounts

    /// - Parameter account: `nil` if there can be none that is meant.
    func verdict(on claim: EmbeddedDirectory.Claim, of account: BareJID?) async -> AccountVerdict {
        await ports.verdict(
            on: claim.password, of: account, claimed: String(claim.name.prefix(Self.nameMax)), from: origin(claim.peer), called: Self.name("simple"))
    }

    // MARK: The directory behind

    var watch: BindWatch { BindWatch(delay: { ports.delay(of: origin($0)) }, heard: { heard($0, $1) }) }

    private func heard(_ outcome: FrontEndBind, _ peer: FrontEndPeer) -> TimeAmount {
        let address = peer.address?.ipAddress ?? ""
        switch outcome {
        case .bound(.anonymous, _): return .zero
        case .bound(let viewer, let mechanism):
            guard recent.isNew(viewer, address, at: time.monotonic) else { return .zero }
            switch viewer {
            case .account(let account): audit.record(.loginSucceeded(account, mechanism: Self.name(mechanism), address: address))
            case .service(let name):
                audit.record(.serviceBound(String(name.prefix(Self.nameMax)), mechanism: Self.name(mechanism), address: address))
            case .anonymous: break
            }
            return .zero
        case .refused(let name, let mechanism, let code):
            let verdict = AccountVerdict(code)
            audit.record(.loginFailed(claimed: String(name.prefix(Self.nameMax)), mechanism: Self.name(mechanism), address: address, verdict))
            return verdict == .badCredentials ? ports.passwordWasWrong(from: origin(peer)) : .zero
        }
    }
}

/// Who has bound lately: mail servers bind for every message, and are written down once a minute.
///
/// A `Mutex`, because several loops bind; it is never held across anything else.
private final class RecentBinds: Sendable {
    private struct Bind: Hashable {
        let viewer: PresenceViewer
        let address: String
    }

    static let silence = TimeAmount.minutes(1)
    static let entriesMax = 4_096

    private let known = Mutex<[Bind: NIODeadline]>([:])

    func isNew(_ viewer: PresenceViewer, _ address: String, at now: NIODeadline) -> Bool {
        known.withLock { known in
            let bind = Bind(viewer: viewer, address: address)
            if let last = known[bind], last + Self.silence > now { return false }
            // Whoever is forgotten is written down once more.
            if known.count >= Self.entriesMax { known = known.filter { $0.value + Self.silence > now } }
            if known.count >= Self.entriesMax { known = [:] }
            known[bind] = now
            return true
        }
    }
}

extension AccountVerdict {
    /// What a directory has answered to a bind (RFC 4511 appendix A).
    fileprivate init(_ code: LDAPResultCode) {
        switch code {
        case .invalidCredentials, .noSuchObject: self = .badCredentials
        case .strongerAuthRequired, .confidentialityRequired, .inappropriateAuthentication, .authMethodNotSupported: self = .mechanismTooWeak
        case .unwillingToPerform, .insufficientAccessRights: self = .disabled
        default: self = .unavailable
        }
    }
}
