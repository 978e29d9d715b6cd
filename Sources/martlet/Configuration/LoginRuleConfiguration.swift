extension ServerConfiguration {
    /// Accounts that rules name together.
    package struct LoginGroup: ConfigurationSection {
        package var name = ""
        package var accounts: [String] = []

        package init() {}
    }

    /// Who may log in how: conditions, all of which have to hold if they are given, and what may be used then.
    package struct LoginRule: ConfigurationSection {
        package var name = ""
        package var domains: [String] = []
        package var accounts: [String] = []
        package var groups: [String] = []
        package var networks: [AddressBlock] = []
        package var listeners: [ListenerName] = []
        /// What is offered to everybody, if there are none.
        package var mechanisms: [LoginMechanism] = []
        package var isStrong = false
        package var needsChannelBinding = false

        package init() {}
    }
}

/// A kind of listener for clients, or one of them by its port.
package struct ListenerName: Hashable, Sendable, CustomStringConvertible {
    package let kind: ListenerKind
    package let port: Int?

    /// Reads `https` or `client 5222`.
    package init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard let first = words.first, let kind = ListenerKind(rawValue: String(first)), words.count <= 2 else { return nil }
        self.kind = kind
        guard words.count == 2 else { port = nil; return }
        guard let port = WholeNumber.parse(words[1]), (1...65_535).contains(port) else { return nil }
        self.port = port
    }

    package func includes(_ listener: ServerConfiguration.Listener) -> Bool { kind == listener.kind && (port == nil || port == listener.port) }

    package var description: String { port.map { "\(kind.rawValue) \($0)" } ?? kind.rawValue }
}

/// What a rule may name.
package enum LoginMechanism: String, Sendable, CaseIterable {
    case external = "EXTERNAL"
    case gssapi = "GSSAPI"
    case scramSHA512PLUS = "SCRAM-SHA-512-PLUS"
    case scramSHA256PLUS = "SCRAM-SHA-256-PLUS"
    case scramSHA1PLUS = "SCRAM-SHA-1-PLUS"
    case scramSHA512 = "SCRAM-SHA-512"
    case scramSHA256 = "SCRAM-SHA-256"
    case scramSHA1 = "SCRAM-SHA-1"
    case oauthBearer = "OAUTHBEARER"
    case plain = "PLAIN"
    /// All mechanisms of tokens (XEP-0484).
    case tokens
}

extension ConfigurationSchema {
    /// Most groups, and most rules: each connection passes all of the latter.
    static let loginGroupsMax = 1_000
    static let loginRulesMax = 100

    static let loginGroup = ConfigurationMapping<ServerConfiguration.LoginGroup>([
        .value("name", \.name, .loginName, .reload, isRequired: true, example: "operators", "What rules call it."),
        .list("accounts", \.accounts, of: .bareAddress, .reload, example: "juliet@example.org", "Who is in it."),
    ])

    static let loginRule = ConfigurationMapping<ServerConfiguration.LoginRule>([
        .value("name", \.name, .loginName, .reload, isRequired: true, example: "operators-by-certificate", "What it is called where it is said who has decided."),
        .list(
            "domains", \.domains, of: .domain, .reload, counts: 1...1_000, example: "example.org",
            "Domains of the accounts; any, if it is left out, as with all conditions."),
        .list("accounts", \.accounts, of: .bareAddress, .reload, counts: 1...1_000, example: "juliet@example.org", "Accounts, whether they exist or not."),
        .list("groups", \.groups, of: .loginName, .reload, counts: 1...1_000, example: "operators", "Groups of login-groups; the account is in one of them."),
        .list("networks", \.networks, of: .addressBlock, .reload, counts: 1...1_000, example: "192.0.2.0/24", "Where the client comes from."),
        .list(
            "listeners", \.listeners, of: .listenerName, .reload, counts: 1...64, example: "client",
            "Where the client connects: a kind of listener, or one of a kind by its port, such as client 5222."),
        .list(
            "mechanisms", \.mechanisms, of: .choice, .reload, counts: 1...LoginMechanism.allCases.count, example: "SCRAM-SHA-256",
            """
            What may be used, in place of authentication.mechanisms, where the connection allows it; SCRAM stands for its -PLUS variant too. EXTERNAL is a \
            certificate, tokens are those of devices.token-lifetime. Without it, what is offered to everybody.
            """),
        .value(
            "strong", \.isStrong, .boolean, .reload,
            "Whether only a key will do that stays with the client, as that of a certificate: no password, and no token that was given for one."),
        .value(
            "require-channel-binding", \.needsChannelBinding, .boolean, .reload,
            "Whether the log-in has to be tied to the TLS connection: by -PLUS, a token that is bound, or a certificate."),
    ])
}

extension ValueType where Value == String {
    /// Longest name of a group or a rule, in bytes.
    private static var loginNameBytesMax: Int { 64 }

    static var loginName: Self {
        ValueType(expected: "up to \(loginNameBytesMax) letters, digits, hyphens, underscores and dots") { text, _ throws(ValueFault) in
            let isAllowed = { (byte: UInt8) in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || "-_.".utf8.contains(byte)
            }
            guard (1...loginNameBytesMax).contains(text.utf8.count), text.utf8.allSatisfy(isAllowed) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }
}

extension ValueType where Value == ListenerName {
    static var listenerName: Self {
        let kinds = ListenerKind.allCases.filter { !$0.isForServers && !$0.isForComponents }
        let expected = "a kind of listener (\(kinds.map(\.rawValue).joined(separator: ", "))), alone or with a port such as client 5222"
        return ValueType(expected: expected) { text, _ throws(ValueFault) in
            guard let name = ListenerName(text), kinds.contains(name.kind) else { throw .unexpected() }
            return name
        } write: {
            $0.description
        }
    }
}
