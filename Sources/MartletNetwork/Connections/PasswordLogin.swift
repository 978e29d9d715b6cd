import MartletCore
import MartletXMPP
import NIOCore

/// A log-in by a password that is shown outside of any stream: at the white pages, or by a directory client. It is one by PLAIN: the same rules hold for it,
/// the same counts, and the same lines are written about it.
struct PasswordLogin: Sendable {
    private let service: ClientService
    private let origin: LoginOrigin
    private let sender: NetworkAddress?
    /// As the audit log has it.
    private let remoteAddress: String
    /// Whether nobody listens, or the operator does not mind.
    private let isProtected: Bool
    /// What the audit log calls it, where others have a mechanism.
    private let name: String

    init(
        _ service: ClientService, _ listener: ListenerConfiguration, from sender: NetworkAddress?, _ remoteAddress: String, isProtected: Bool, called name: String
    ) {
        self.service = service
        origin = LoginOrigin(listener: listener.name, address: sender?.octets)
        self.sender = sender
        self.remoteAddress = remoteAddress
        self.isProtected = isProtected
        self.name = name
    }

    /// Whether an account may come in by a password that it tells.
    func permits(_ account: BareJID) -> Bool {
        let certification: ClientCertification = service.clientCertificates.demand(of: account.domainpart) == .require ? .required(nil) : .none
        let connection = LoginConnection(at: account.domainpart, from: origin, isSecure: isProtected, certification)
        let login = LoginPolicy(service.currentPolicy, on: connection)
        return login.obstacle(.plain) == nil && login.permits(.plain, to: account)
    }

    /// How long the attempt has to wait, which begins now.
    func begin(_ account: BareJID?, at now: NIODeadline) -> TimeAmount { service.beginLogin(sender, account, at: now) }

    /// Asks whether a password is right. The attempt has begun, and has waited for as long as it had to.
    ///
    /// An account that may not come in by its password is asked about all the same: how long that takes tells nothing.
    func verdict(on password: PreparedPassword?, of account: BareJID?, claimed: String, at time: any TimeSource) async -> AccountVerdict {
        guard let account, let password else {
            record(.badCredentials, nil, claimed: claimed)
            return .badCredentials
        }
        var answer = await service.accounts.verify(password, of: account)
        if !permits(account) { answer = PasswordVerdict(answer.verdict == .unavailable ? .unavailable : .mechanismTooWeak) }
        switch answer.verdict {
        case .ok, .unavailable: service.excuseLogin(sender, account, at: time.monotonic)
        case .badCredentials, .disabled, .expired, .mechanismTooWeak: break
        }
        record(answer.verdict, account, claimed: claimed, answer.application)
        return answer.verdict
    }

    private func record(_ verdict: AccountVerdict, _ account: BareJID?, claimed: String, _ application: String? = nil) {
        let audit = service.router.audit
        if verdict == .ok, let account {
            audit.record(.loginSucceeded(account, mechanism: name, address: remoteAddress, application: application))
        } else {
            audit.record(.loginFailed(claimed: claimed, mechanism: name, address: remoteAddress, verdict))
        }
    }
}
