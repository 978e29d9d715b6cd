/// Asks who may log in how: what a client would be offered, and what its account may use.
package struct LoginQuestion: Codable, Hashable, Sendable {
    package var account: String
    /// From where it connects; if it is not said, no rule about networks matches.
    package var address: String?
    /// Where it connects, as rules call it; the first listener for clients, unless given.
    package var listener: String?
    package var isEncrypted = true
    /// Whether it shows a certificate that stands for the account.
    package var hasCertificate = false

    package init(account: String) { self.account = account }
}

/// What there is to say about that.
package struct LoginExplanation: Codable, Hashable, Sendable {
    package struct Mechanism: Codable, Hashable, Sendable {
        package var name: String
        /// Whether a client sees it, before it is known who it is.
        package var isOffered: Bool
        /// Whether the account may use it. If it is offered all the same, the account is told `mechanism-too-weak`.
        package var isPermitted: Bool
        package var why: String

        package init(name: String, isOffered: Bool, isPermitted: Bool, why: String) {
            self.name = name
            self.isOffered = isOffered
            self.isPermitted = isPermitted
            self.why = why
        }
    }

    package struct Account: Codable, Hashable, Sendable {
        package var isEnabled: Bool
        /// Its password is older than passwords may be.
        package var isExpired = false
        /// For which hashes of SCRAM there are keys; none if it has no password.
        package var passwordHashes: [String]
        /// Devices that have a token which is still good.
        package var devicesWithTokens: Int
    }

    package var question: LoginQuestion
    package var listener = ""
    /// `standard`, `domain`, or the name of the rule.
    package var decider = ""
    /// Which rule it is, and where it stands.
    package var rule: String?
    package var groups: [String] = []
    package var mechanisms: [Mechanism] = []
    /// To what a log-in can be bound.
    package var channelBindings: [String] = []
    /// What the domain asks: `off`, `request`, `require`.
    package var clientCertificates = ""
    /// Whether somebody whom no rule names could log in by a password.
    package var takesStrangers = false
    /// That nobody at all can log in there: the stream ends.
    package var isClosed = false
    /// Absent if there is no such account.
    package var state: Account?
    /// How long an attempt would wait for its answer now, in milliseconds.
    package var delayOfAddress: Int64 = 0
    package var delayOfAccount: Int64 = 0

    package init(_ question: LoginQuestion) { self.question = question }
}

extension LoginExplanation {
    /// As `martlet auth explain` prints it.
    package var text: String {
        let place = ["by \(listener)", question.isEncrypted ? "inside TLS" : "without TLS", question.hasCertificate ? "with a certificate" : "without a certificate"]
        let head = ["\(question.account)", "from \(question.address ?? "an address that is not given")"] + place
        let lines = [
            ("log-in", head.joined(separator: ", ")), ("decided by", decision), ("account", account),
            ("groups", groups.isEmpty ? "none" : groups.joined(separator: ", ")),
            ("certificates", "\(clientCertificates) at the domain"),
            ("bound to", channelBindings.isEmpty ? "nothing" : channelBindings.joined(separator: ", ")),
            ("new accounts", takesStrangers ? "could log in by their passwords" : "could not log in by their passwords"),
            ("delays", "\(delayOfAddress) ms because of the address, \(delayOfAccount) ms because of the account"),
        ]
        let closed = isClosed ? ["nobody can log in here: the stream ends"] : []
        return (lines.map { "\(Self.padded($0, 14))\($1)" } + closed + [""] + mechanisms.map(\.text)).map { ConfigurationProblem.printable($0) }.joined(separator: "\n")
    }

    private var decision: String {
        switch decider {
        case "standard": "what holds for everybody: no rule matches"
        case "domain": "the domain, which asks everybody for a certificate"
        default: rule ?? decider
        }
    }

    private var account: String {
        guard let state else { return "does not exist" }
        let password = state.passwordHashes.isEmpty ? "no password" : "keys for \(state.passwordHashes.joined(separator: ", "))"
        let standing = (state.isEnabled ? "enabled" : "disabled") + (state.isExpired ? ", its password has expired" : "")
        return "\(standing), \(password), tokens on \(state.devicesWithTokens.counted("device"))"
    }

    fileprivate static func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
}

extension LoginExplanation.Mechanism {
    fileprivate var text: String {
        let mark = isOffered ? isPermitted ? "yes" : "too weak" : "no"
        return LoginExplanation.padded(name, 22) + LoginExplanation.padded(mark, 10) + why
    }
}
