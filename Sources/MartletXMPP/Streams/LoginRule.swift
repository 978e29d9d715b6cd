/// One rule of an operator's: whom it is about, and by what they may log in.
///
/// Every condition that is given has to hold. Of several rules the first whose conditions hold decides, alone.
public struct LoginRule: Hashable, Sendable {
    /// Which one it is, counted from one.
    public let number: Int
    /// Of the accounts; any if there are none.
    public var domains: Set<String> = []
    public var accounts: Set<BareJID> = []
    /// Names of groups, in one of which an account has to be.
    public var groups: Set<String> = []
    /// Where clients come from; from anywhere if there are none.
    public var networks: [LoginNetwork] = []
    /// Where they connect; anywhere if there are none.
    public var listeners: Set<LoginListener> = []
    /// What may be used: SCRAM stands for its -PLUS variant as well. `nil`: what the server offers to everybody.
    public var mechanisms: Set<SASLMechanism>?
    /// Whether neither passwords nor what the server has given in their place will do.
    public var isStrong = false
    /// Whether a log-in has to be tied to the TLS connection.
    public var needsChannelBinding = false

    public init(number: Int) { self.number = number }

    /// Whether it is about some accounts of a domain and not about others, so that it cannot decide before it is known who the client is.
    public var namesAccounts: Bool { !accounts.isEmpty || !groups.isEmpty }

    /// Whether it lets a mechanism be used that `standard` says to be the server's own, or not.
    func permits(_ mechanism: SASLMechanism, standard: Bool) -> Bool {
        guard !isStrong || mechanism.isStrong, !needsChannelBinding || mechanism.isTiedToConnection else { return false }
        guard let mechanisms else { return standard }
        return mechanisms.contains(mechanism) || mechanism.unbound.map(mechanisms.contains) ?? false
    }

    /// Whether everything holds that is not about an account.
    func isAbout(_ connection: LoginConnection) -> Bool {
        (domains.isEmpty || domains.contains(connection.domain)) && (networks.isEmpty || networks.contains { $0.contains(connection.origin.address) })
            && (listeners.isEmpty || listeners.contains { $0.includes(connection.origin.listener) })
    }

    /// Whether it is about an account, given that the rest holds.
    func isAbout(_ account: BareJID, _ memberships: LoginGroups) -> Bool {
        (accounts.isEmpty || accounts.contains(account)) && (groups.isEmpty || groups.contains { memberships.isMember(account, of: $0) })
    }

    /// Whether it may be about somebody at a domain, given that the rest holds.
    func mayBeAboutSomebody(at domain: String, _ memberships: LoginGroups) -> Bool {
        (accounts.isEmpty || accounts.contains { $0.domainpart == domain })
            && (groups.isEmpty || groups.contains { memberships.mayHaveMembers($0, at: domain) })
    }
}

/// Who is in which group, as rules ask it: the one place where other sources of groups, such as a directory, come in.
public struct LoginGroups: Hashable, Sendable {
    private var members: [String: Set<BareJID>]

    public init(_ members: [String: Set<BareJID>] = [:]) { self.members = members }

    public func isMember(_ account: BareJID, of group: String) -> Bool { members[group]?.contains(account) ?? false }

    /// Whether there may be members at a domain; whoever cannot know says that there may.
    func mayHaveMembers(_ group: String, at domain: String) -> Bool { members[group]?.contains { $0.domainpart == domain } ?? false }

    /// The groups that an account is in, by name, in order.
    public func groups(of account: BareJID) -> [String] { members.filter { $0.value.contains(account) }.keys.sorted() }
}

/// Where clients connect: a kind of listener, or one of them.
public struct LoginListener: Hashable, Sendable {
    /// As the configuration has it.
    public var kind: String
    /// `nil`: all of the kind.
    public var port: Int?

    public init(kind: String, port: Int? = nil) {
        self.kind = kind
        self.port = port
    }

    /// - Parameter listener: `nil` if it is not known, and then it is none of these.
    public func includes(_ listener: LoginListener?) -> Bool {
        guard let listener else { return false }
        return kind == listener.kind && (port == nil || port == listener.port)
    }
}

/// The addresses that share their first bits (RFC 4632 §3.1). An IPv4 address is in 128 bits what it is among those of IPv6 (RFC 4291 §2.5.5.2).
public struct LoginNetwork: Hashable, Sendable {
    private let octets: [UInt8]
    /// Of 128.
    private let bits: Int

    /// - Parameters:
    ///   - octets: four or sixteen.
    ///   - prefix: how many bits of them count.
    public init?(_ octets: [UInt8], prefix: Int) {
        guard octets.count == 4 || octets.count == 16, (0...octets.count * 8).contains(prefix) else { return nil }
        bits = prefix + (16 - octets.count) * 8
        self.octets = Self.mapped(octets)
    }

    /// - Parameter address: four or sixteen octets; `nil` if it is not known, and then it is none of these.
    public func contains(_ address: [UInt8]?) -> Bool {
        guard let address, address.count == 4 || address.count == 16 else { return false }
        return zip(octets, Self.mapped(address)).enumerated().allSatisfy { index, pair in
            let mask = ~(UInt8.max >> UInt8(min(max(bits - index * 8, 0), 8)))
            return pair.0 & mask == pair.1 & mask
        }
    }

    private static func mapped(_ octets: [UInt8]) -> [UInt8] {
        octets.count == 16 ? octets : [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF] + octets
    }
}

/// Where a client has come in.
public struct LoginOrigin: Hashable, Sendable {
    /// `nil` where there is none, as in tests.
    public var listener: LoginListener?
    /// Four or sixteen octets; `nil` if it is not known.
    public var address: [UInt8]?

    public init(listener: LoginListener? = nil, address: [UInt8]? = nil) {
        self.listener = listener
        self.address = address
    }
}

extension SASLMechanism {
    /// Whether it proves more than to know something that can be told to others: the client has a key that stays with it.
    public var isStrong: Bool {
        switch self {
        case .external, .gssapi: true
        case .plain, .scram, .scramPlus, .oauthBearer, .hashedToken: false
        }
    }

    /// Whether somebody between the client and the server could not use what the client sends: the handshake, or the exchange, says on which
    /// TLS connection it is.
    public var isTiedToConnection: Bool { bindsChannel || self == .external }

    /// Whether an account has a password for it.
    public var isOfPasswords: Bool {
        switch self {
        case .plain, .scram, .scramPlus: true
        case .external, .oauthBearer, .gssapi, .hashedToken: false
        }
    }

    /// The mechanism that it is with channel binding.
    var unbound: SASLMechanism? {
        switch self {
        case .scramPlus(let hash): .scram(hash)
        case .plain, .scram, .external, .oauthBearer, .gssapi, .hashedToken: nil
        }
    }
}
