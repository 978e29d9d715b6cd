/// How clients may authenticate. What that means for one connection, and for one account, says ``LoginPolicy``.
public struct ClientStreamPolicy: Hashable, Sendable {
    /// The mechanisms without channel binding; of each with a -PLUS variant that is offered too where ``offersChannelBinding`` and TLS allow.
    public var mechanisms: [SASLMechanism]
    public var offersChannelBinding: Bool
    /// Whether clients may log in by tokens that the server gives them (XEP-0484).
    public var offersTokens: Bool
    /// The hashes of which keys are made up that an account lacks, when its client has proved to know the password (XEP-0480).
    public var upgrades: [ScramHash]
    /// Whether passwords may be proved in clear: for tests on loopback, and behind proxies that end TLS.
    public var allowsPlaintext: Bool
    /// Authentications that may fail on one stream before it ends.
    public var attemptsMax: Int
    /// What holds for some instead, in order.
    public var rules: [LoginRule] = []
    /// Who is in the groups that rules name.
    public var groups = LoginGroups()

    public init(
        mechanisms: [SASLMechanism] = [.scram(.sha512), .scram(.sha256), .scram(.sha1), .plain], offersChannelBinding: Bool = true,
        offersTokens: Bool = false, upgrades: [ScramHash] = [], allowsPlaintext: Bool = false, attemptsMax: Int = 5
    ) {
        self.mechanisms = mechanisms
        self.offersChannelBinding = offersChannelBinding
        self.offersTokens = offersTokens
        self.upgrades = upgrades
        self.allowsPlaintext = allowsPlaintext
        self.attemptsMax = attemptsMax
    }
}
