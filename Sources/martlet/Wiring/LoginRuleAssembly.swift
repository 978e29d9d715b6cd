package import MartletXMPP

/// Makes of the configuration who may log in how.
package struct LoginRuleAssembly {
    private let configuration: ServerConfiguration

    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    package var groups: LoginGroups {
        LoginGroups(Dictionary(configuration.loginGroups.map { ($0.name, Self.addresses($0.accounts)) }) { $0.union($1) })
    }

    /// Those of the operator first: they decide where they match.
    package var rules: [LoginRule] {
        let configured = configuration.loginRules.enumerated().map { Self.rule($1, number: $0 + 1) }
        return configured + configuration.directories.enumerated().map { rule(of: $1, number: configured.count + $0 + 1) }
    }

    /// At the domain of a directory there is SCRAM with the hashes that its passwords have, and no other.
    private func rule(of directory: ServerConfiguration.Directory, number: Int) -> LoginRule {
        var rule = LoginRule(number: number)
        rule.domains = [directory.domain]
        let offered = Set(configuration.authentication.mechanisms.compactMap { SASLMechanism(name: $0.rawValue) })
        let scram = Set(LoginMechanism.allCases.filter(\.isScram).flatMap(\.mechanisms))
        let others = Set([LoginMechanism.external, .gssapi, .oauthBearer, .tokens].flatMap(\.mechanisms))
        rule.mechanisms = offered.subtracting(scram).union(others).union(offered.filter { directory.knows($0) })
        return rule
    }

    private static func rule(_ configured: ServerConfiguration.LoginRule, number: Int) -> LoginRule {
        var rule = LoginRule(number: number)
        rule.domains = Set(configured.domains)
        rule.accounts = addresses(configured.accounts)
        rule.groups = Set(configured.groups)
        rule.networks = configured.networks.compactMap { LoginNetwork($0.address.bytes, prefix: $0.prefixLength) }
        rule.listeners = Set(configured.listeners.map { LoginListener(kind: $0.kind.rawValue, port: $0.port) })
        rule.mechanisms = configured.mechanisms.isEmpty ? nil : Set(configured.mechanisms.flatMap(\.mechanisms))
        rule.isStrong = configured.isStrong
        rule.needsChannelBinding = configured.needsChannelBinding
        return rule
    }

    /// What is no address was refused as it was read.
    private static func addresses(_ texts: [String]) -> Set<BareJID> { Set(texts.compactMap { try? BareJID(parsing: $0) }) }
}

extension ServerConfiguration.Directory {
    /// Whether its passwords can be proved by SCRAM with that hash.
    fileprivate func knows(_ mechanism: SASLMechanism) -> Bool {
        passwords.contains { $0 != .bind } && hashes.contains { SASLMechanism(name: $0.rawValue) == mechanism }
    }
}

extension LoginMechanism {
    fileprivate var isScram: Bool { rawValue.hasPrefix("SCRAM-") }

    package var mechanisms: [SASLMechanism] {
        switch self {
        case .tokens: HashedTokenMechanism.allCases.map { .hashedToken($0) }
        case .external, .gssapi, .scramSHA512PLUS, .scramSHA256PLUS, .scramSHA1PLUS, .scramSHA512, .scramSHA256, .scramSHA1, .oauthBearer, .plain:
            SASLMechanism(name: rawValue).map { [$0] } ?? []
        }
    }
}
