/// The server's side of PLAIN (RFC 4616), as a machine without I/O.
public struct PlainExchange: Hashable, Sendable {
    private let domain: String
    private var exchange = OneMessageExchange<SASLIdentity>()
    /// Of which application the password is, if it is not the account's own, once the step said success.
    public private(set) var application: String?

    /// - Parameter domain: the domainpart of the stream.
    public init(domain: String) {
        self.domain = domain
    }

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        exchange.step(message) { [domain] message throws(SASLFailure) in
            let credentials = try PlainMessage(parsing: message)
            let identity = try SASLIdentity(username: credentials.authcid, authzid: credentials.authzid, domain: domain)
            guard let password = PreparedPassword(credentials.password) else { throw .notAuthorized }
            return (identity, .lookUp(identity, .passwordVerdict(password)))
        }
    }

    /// Takes what was found out about the account that ``SASLStep/lookUp(_:_:)`` named.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        var application: String?
        defer { self.application = application }
        return exchange.provide { identity throws(SASLFailure) in
            switch answer {
            case .passwordVerdict(true, let its):
                application = its
                return .success(identity, additionalData: nil)
            case .passwordVerdict(false, _): throw .notAuthorized
            case .refused(let failure): throw failure
            case .scramKeys, .bearerVerdict, .certificateVerdict, .hashedTokens, .standing, .gssapi: throw .temporaryAuthFailure
            }
        }
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2): UTF-8 with exactly two NULs.
public struct PlainMessage: Hashable, Sendable {
    /// As whom to act; `nil` if the client left it to the server.
    public let authzid: String?
    /// Who asks.
    public let authcid: String
    public let password: String

    public init(parsing message: [UInt8]) throws(SASLFailure) {
        guard message.count <= SASLServerExchange.messageBytesMax else {
            throw .malformedRequest("The message is too long.")
        }
        let fields = message.split(separator: 0, omittingEmptySubsequences: false)
        guard fields.count == 3 else { throw .malformedRequest("PLAIN has exactly two NULs.") }
        let texts = fields.compactMap { String(validating: $0, as: UTF8.self) }
        guard texts.count == 3 else { throw .malformedRequest("The message is not UTF-8.") }
        guard !texts[1].isEmpty, !texts[2].isEmpty else {
            throw .malformedRequest("Neither the user name nor the password may be empty.")
        }
        authzid = texts[0].isEmpty ? nil : texts[0]
        authcid = texts[1]
        password = texts[2]
    }

    /// The message as a client sends it.
    public static func bytes(authzid: String? = nil, authcid: String, password: String) -> [UInt8] {
        Array((authzid ?? "").utf8) + [0] + Array(authcid.utf8) + [0] + Array(password.utf8)
    }
}

extension PlainMessage: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Everything but the password.
    public var description: String { "PLAIN authcid \(authcid), authzid \(authzid ?? "none")" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
