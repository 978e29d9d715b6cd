/// The server's side of PLAIN (RFC 4616), as a machine without I/O.
public struct PlainExchange: Hashable, Sendable {
    private enum State: Hashable, Sendable {
        case start
        case awaitingMessage
        case awaitingVerdict(SASLIdentity)
        case over
    }

    private let domain: String
    private var state = State.start

    /// - Parameter domain: the domainpart of the stream.
    public init(domain: String) {
        self.domain = domain
    }

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        switch state {
        case .start:
            if let message { return receive(message) }
            state = .awaitingMessage
            return .challenge([])
        case .awaitingMessage:
            return receive(message ?? [])
        case .awaitingVerdict, .over:
            return fail(.malformedRequest("No response is expected now."))
        }
    }

    /// Takes what was found out about the account that ``SASLStep/lookUp(_:_:)`` named.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        guard case .awaitingVerdict(let identity) = state else { return fail(.temporaryAuthFailure) }
        switch answer {
        case .passwordVerdict(true):
            state = .over
            return .success(identity, additionalData: nil)
        case .passwordVerdict(false): return fail(.notAuthorized)
        case .refused(let failure): return fail(failure)
        case .scramKeys, .certificateVerdict, .hashedTokens: return fail(.temporaryAuthFailure)
        }
    }

    private mutating func receive(_ message: [UInt8]) -> SASLStep {
        do throws(SASLFailure) {
            let credentials = try PlainMessage(parsing: message)
            let identity = try SASLIdentity(
                username: credentials.authcid, authzid: credentials.authzid, domain: domain)
            guard let password = PreparedPassword(credentials.password) else { throw .notAuthorized }
            state = .awaitingVerdict(identity)
            return .lookUp(identity, .passwordVerdict(password))
        } catch {
            return fail(error)
        }
    }

    private mutating func fail(_ failure: SASLFailure) -> SASLStep {
        state = .over
        return .failure(failure)
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
