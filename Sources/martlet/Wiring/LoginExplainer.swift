import MartletCore
import MartletNetwork
import MartletStorage
import MartletXMPP
import NIOCore

/// Tells operators who may log in how, from the same policy that decides.
struct LoginExplainer: Sendable {
    let core: ServerCore
    let clients: ClientListenerService
    /// For where rules stand.
    let loaded: LoadedConfiguration

    func answer(_ question: LoginQuestion) async throws(CommandFailure) -> ControlResponse {
        let domains = Set(loaded.configuration.domains.map(\.name))
        let account = try AccountAddress.hosted(question.account, domains)
        let address = try question.address.map { text throws(CommandFailure) in try Self.address(text) }
        let (listener, policy) = try self.listener(question.listener)
        let login = LoginPolicy(policy, on: connection(question, account, address, listener))
        var explanation = LoginExplanation(question)
        explanation.listener = "\(listener.name.kind) \(listener.port)"
        (explanation.decider, explanation.rule) = (name(login.decider(of: account)), place(login.decider(of: account)))
        explanation.groups = policy.groups.groups(of: account)
        explanation.mechanisms = mechanisms(login, account)
        explanation.channelBindings = login.bindings.map(\.kind.name)
        explanation.clientCertificates = clients.certificateDemand(of: account.domainpart).rawValue
        (explanation.takesStrangers, explanation.isClosed) = (login.takesStrangers, login.isClosed)
        explanation.state = try await state(of: account)
        let delays = clients.loginDelays(address, account)
        (explanation.delayOfAddress, explanation.delayOfAccount) = (delays.address.nanoseconds / 1_000_000, delays.account.nanoseconds / 1_000_000)
        return .login(explanation)
    }

    // MARK: The connection

    private static func address(_ text: String) throws(CommandFailure) -> NetworkAddress {
        guard let address = NetworkAddress(text) else {
            throw CommandFailure(.usage, "\(ConfigurationSource.shortened(text)) is not an address", hint: "write it like 192.0.2.7 or 2001:db8::7")
        }
        return address
    }

    private func listener(_ text: String?) throws(CommandFailure) -> (ListenerConfiguration, ClientStreamPolicy) {
        let name = text.map(ListenerName.init)
        if name != .some(nil), let found = clients.policy(of: name??.login) { return found }
        throw CommandFailure(
            .usage, "there is no listener \(ConfigurationSource.shortened(text ?? "for clients"))",
            hint: "write it as rules do: a kind such as https, or one with its port, such as client 5222")
    }

    /// TLS as it usually is: 1.3, as far as it ends here.
    private func connection(
        _ question: LoginQuestion, _ account: BareJID, _ address: NetworkAddress?, _ listener: ListenerConfiguration
    ) -> LoginConnection {
        let bindings = question.isEncrypted && listener.kind != .http ? [ChannelBinding(.tlsExporter, data: []), ChannelBinding(.tlsServerEndPoint, data: [])] : []
        return LoginConnection(
            at: account.domainpart, from: LoginOrigin(listener: listener.name, address: address?.octets), isSecure: question.isEncrypted, bindings: bindings,
            certification(question, account), bearer: clients.bearerOffer(at: account.domainpart),
            kerberos: clients.kerberos(at: account.domainpart))
    }

    private func certification(_ question: LoginQuestion, _ account: BareJID) -> ClientCertification {
        let shown = question.hasCertificate && question.isEncrypted ? account : nil
        return switch clients.certificateDemand(of: account.domainpart) {
        case .off: .none
        case .request: shown.map { .optional($0) } ?? .none
        case .require: .required(shown)
        }
    }

    // MARK: What is said of it

    private func name(_ decider: LoginPolicy.Decider) -> String {
        switch decider {
        case .standard: "standard"
        case .domain: "domain"
        // Behind those of the operator are those of directories.
        case .rule(let number): rule(number)?.name ?? "directory"
        }
    }

    private func place(_ decider: LoginPolicy.Decider) -> String? {
        guard case .rule(let number) = decider else { return nil }
        guard rule(number) != nil else { return "what the directory's passwords are hashed with (directories)" }
        return "rule \(number), \(name(decider)) (\(loaded.origin(of: "login-rules[\(number - 1)]")))"
    }

    private func rule(_ number: Int) -> ServerConfiguration.LoginRule? {
        let rules = loaded.configuration.loginRules
        return rules.indices.contains(number - 1) ? rules[number - 1] : nil
    }

    private func mechanisms(_ login: LoginPolicy, _ account: BareJID) -> [LoginExplanation.Mechanism] {
        SASLMechanism.allCases.sorted(by: >).map { mechanism in
            LoginExplanation.Mechanism(
                name: mechanism.name, isOffered: login.offers(mechanism), isPermitted: login.permits(mechanism, to: account),
                why: why(mechanism, login, account))
        }
    }

    private func why(_ mechanism: SASLMechanism, _ login: LoginPolicy, _ account: BareJID) -> String {
        let decider = login.decider(of: account)
        if let obstacle = login.obstacle(mechanism) { return obstacle.text }
        switch (login.permits(mechanism, to: account), login.offers(mechanism)) {
        case (true, true): return "allowed by \(decider.text)"
        case (false, true): return "not allowed by \(decider.text); offered, because others may be"
        case (false, false): return "not allowed by \(decider.text)"
        case (true, false): return "nobody is offered it here"
        }
    }

    private func state(of address: BareJID) async throws(CommandFailure) -> LoginExplanation.Account? {
        do throws(StoreError) {
            guard let identity = try await core.store.credentials(of: address) else { return nil }
            let now = core.time.wallMilliseconds
            let devices = try await core.store.devices(of: identity.id).filter { $0.tokens.values.contains { $0.expires > now } }
            let hashes = identity.credentials.map(\.hash).sorted { $0.byteCount > $1.byteCount }
            return LoginExplanation.Account(isEnabled: identity.isEnabled, isExpired: core.passwordLifetime.isOver(identity), passwordHashes: hashes.map(\.mechanismName),
                devicesWithTokens: devices.count)
        } catch {
            throw CommandFailure(error, in: loaded.configuration.server.dataFolder)
        }
    }
}

extension ListenerName {
    fileprivate var login: LoginListener { LoginListener(kind: kind.rawValue, port: port) }
}

extension LoginPolicy.Decider {
    fileprivate var text: String {
        switch self {
        case .standard: "what holds for everybody"
        case .domain: "the domain, which asks for a certificate"
        case .rule(let number): "rule \(number)"
        }
    }
}

extension LoginPolicy.Obstacle {
    fileprivate var text: String {
        switch self {
        case .notEncrypted: "it is for TLS only"
        case .channelBindingOff: "authentication.channel-binding is false"
        case .nothingToBind: "nothing is there to which it could be bound"
        case .noCertificate: "no certificate is shown that stands for an account"
        case .noIssuer: "the domain believes no authorization server"
        case .noRealm: "the domain has no kerberos-realms"
        case .tokensOff: "devices.token-lifetime is 0s"
        }
    }
}
