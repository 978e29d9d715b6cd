/// How clients may authenticate.
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

    /// What is offered on a connection with these channel bindings, the strongest first.
    func offer(isSecure: Bool, bindings: [ChannelBinding], _ certification: ClientCertification = .none) -> [SASLMechanism] {
        let external: [SASLMechanism] = isSecure && certification.account != nil ? [.external] : []
        guard isSecure || allowsPlaintext, certification.allowsPasswords else { return external }
        let bindsChannel = offersChannelBinding && !bindings.isEmpty
        let plus = mechanisms.compactMap { mechanism -> SASLMechanism? in
            switch mechanism {
            case .scram(let hash): bindsChannel ? .scramPlus(hash) : nil
            case .scramPlus, .plain, .external, .hashedToken: nil
            }
        }
        let others = mechanisms.filter { !$0.bindsChannel && !$0.isOfTokens && $0 != .external }
        return (external + plus + others).sorted(by: >)
    }

    /// The hashes of which a client may make up keys there, the strongest first: inside TLS, since what it sends is as good as the password, and where it can
    /// prove to know the password without telling it. Whoever tells it leaves the work to the server.
    func upgradeOffer(isSecure: Bool, _ mechanisms: [SASLMechanism]) -> [ScramHash] {
        guard isSecure, mechanisms.contains(where: { $0.isScram }) else { return [] }
        return ScramHash.allCases.reversed().filter(upgrades.contains)
    }

    /// The mechanisms of tokens there. Where nobody comes in without a certificate a token is no way around that.
    func tokenOffer(isSecure: Bool, bindings: [ChannelBinding], _ certification: ClientCertification) -> [HashedTokenMechanism] {
        guard offersTokens, certification.allowsPasswords else { return [] }
        return FASTOffer.mechanisms(isSecure: isSecure, bindings: bindings)
    }
}
