import Logging
import MartletCore
package import MartletXMPP
import NIOCore

// MARK: Whether a log-in is still good enough

extension ClientStream {
    /// Whether an account may log in by a mechanism, by the rules that the stream has begun with.
    func permits(_ mechanism: SASLMechanism, to account: BareJID) -> Bool {
        LoginPolicy(listener.policy, on: LoginConnection(at: account.domainpart, from: surroundings.origin, isSecure: true)).permits(mechanism, to: account)
    }

    /// Rules about log-ins may have become other ones since the client has logged in by those that held as it connected. Sees to that when what is
    /// under way has been done.
    func lookAtLoginSoon() {
        guard service.hasOtherRules else { return }
        let stream = NIOLoopBound(self, eventLoop: loop.loop)
        loop.context.mailbox.run { _ in stream.value.lookAtLoginAgain() }
    }

    /// A client whose account may not log in any more as it has done goes, as one does whose certificate is revoked. A session without connection
    /// stays: whoever resumes it logs in before, by the rules that hold then.
    func lookAtLoginAgain() {
        guard let account, let mechanism, !machine.isEnding else { return }
        let login = LoginPolicy(service.currentPolicy, on: LoginConnection(at: account.domainpart, from: surroundings.origin, isSecure: true))
        guard case .rule(let number) = login.decider(of: account), !login.permits(mechanism, to: account) else { return }
        service.log.notice(
            "a client's log-in is accepted no more",
            metadata: ["account": "\(account)", "mechanism": "\(mechanism.name)", "rule": "\(number)", "address": "\(remoteAddress)"])
        carrier?.close(StreamError(.notAuthorized, "The account has to log in by another mechanism now."))
        loop.context.flushSoon()
    }
}

extension ClientService {
    /// Whether rules about log-ins have become other ones since the connections of this service began.
    fileprivate var hasOtherRules: Bool {
        let (current, own) = (currentPolicy, settings.policy)
        return current.rules != own.rules || current.groups != own.groups
    }
}

extension ClientSurroundings {
    var origin: LoginOrigin { LoginOrigin(listener: listener.configuration.name, address: peer?.octets) }
}

extension ListenerConfiguration {
    /// What rules call it.
    package var name: LoginListener { LoginListener(kind: kind.name, port: port) }
}

extension ListenerConfiguration.Kind {
    /// As the configuration has it.
    fileprivate var name: String {
        switch self {
        case .client: "client"
        case .clientTLS: "client-tls"
        case .server: "server"
        case .serverTLS: "server-tls"
        case .https: "https"
        case .http: "http"
        case .challenge: "challenge"
        case .component: "component"
        case .componentTLS: "component-tls"
        case .ldap: "ldap"
        case .ldaps: "ldaps"
        }
    }
}

extension NetworkAddress {
    /// All sixteen, most significant first.
    package var octets: [UInt8] {
        [high, low].flatMap { half in (0..<8).reversed().map { UInt8(truncatingIfNeeded: half >> ($0 * 8)) } }
    }
}
