package import MartletXMPP

/// Makes of the configuration who may log in how.
package struct LoginRuleAssembly {
    private let configuration: ServerConfiguration

    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    package var groups: LoginGroups {
        LoginGroups(Dictionary(configuration.loginGroups.map { ($0.name, Self.addresses($0.accounts)) }) { $0.union($1) })
    }

    package var rules: [LoginRule] { configuration.loginRules.enumerated().map { Self.rule($1, number: $0 + 1) } }

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

extension LoginMechanism {
    package var mechanisms: [SASLMechanism] {
        switch self {
        case .tokens: HashedTokenMechanism.allCases.map { .hashedToken($0) }
        case .external, .gssapi, .scramSHA512PLUS, .scramSHA256PLUS, .scramSHA1PLUS, .scramSHA512, .scramSHA256, .scramSHA1, .oauthBearer, .plain:
            SASLMechanism(name: rawValue).map { [$0] } ?? []
        }
    }
}
