/// The server's side of OAUTHBEARER (RFC 7628), as a machine without I/O: the client sends a token that an authorization server has given it, and hears, if
/// that is not accepted, where it gets another one. Such a failure has a message of its own, which the client answers before the exchange is over (§3.2.3).
///
/// Whoever sees a token can use it, so that the mechanism is for TLS only.
public struct BearerExchange: Hashable, Sendable {
    private enum State: Hashable, Sendable {
        case start
        case awaitingMessage
        /// The authorization identity that the client has sent.
        case awaitingVerdict(authzid: String?)
        /// The client is to answer what was said of its token.
        case refused
        case over
    }

    private let domain: String
    private let offer: BearerOffer
    private var state = State.start

    /// - Parameters:
    ///   - domain: the domainpart of the stream: the account is of this domain.
    ///   - offer: of this domain.
    public init(domain: String, offer: BearerOffer) {
        self.domain = domain
        self.offer = offer
    }

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        switch state {
        case .start:
            if let message { return receive(message) }
            state = .awaitingMessage
            return .challenge([])
        case .awaitingMessage: return receive(message ?? [])
        case .refused:
            guard message == [BearerMessage.separator] else { return fail(.malformedRequest("The answer to a refusal is one byte, 01.")) }
            return fail(.notAuthorized)
        case .awaitingVerdict, .over: return fail(.malformedRequest("No response is expected now."))
        }
    }

    /// Takes what was found out about the token.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        guard case .awaitingVerdict(let authzid) = state else { return fail(.temporaryAuthFailure) }
        switch answer {
        case .bearerVerdict(.account(let account, let refusal)):
            do throws(SASLFailure) {
                let identity = try SASLIdentity(account, authzid: authzid)
                if let refusal { throw refusal }
                state = .over
                return .success(identity, additionalData: nil)
            } catch {
                return fail(error)
            }
        case .bearerVerdict(.refused(let status)): return refuse(status)
        case .refused(let failure): return fail(failure)
        case .scramKeys, .passwordVerdict, .certificateVerdict, .hashedTokens, .standing, .gssapi: return fail(.temporaryAuthFailure)
        }
    }

    private mutating func receive(_ bytes: [UInt8]) -> SASLStep {
        do throws(SASLFailure) {
            let message = try BearerMessage(parsing: bytes)
            guard let token = message.token else { return refuse(.invalidToken) }
            state = .awaitingVerdict(authzid: message.authzid)
            return .consult(.bearerToken(token, domain: domain))
        } catch {
            return fail(error)
        }
    }

    private mutating func refuse(_ status: BearerStatus) -> SASLStep {
        state = .refused
        return .challenge(offer.message(status))
    }

    private mutating func fail(_ failure: SASLFailure) -> SASLStep {
        state = .over
        return .failure(failure)
    }
}

/// `gs2-header 01 *(key "=" value 01) 01` (RFC 7628 §3.1).
///
/// Of the pairs `auth` is needed, `host` and `port` are looked at, and all others passed over; none may be there twice. `host` is whatever the client has
/// connected to, which DNS may have called anything, so that it has to be a name or an address and is not compared: only tokens that sign it, which
/// OAUTHBEARER has none of, would prove anything by it.
public struct BearerMessage: Hashable, Sendable {
    /// Longest message, in bytes after base64: what tokens with many claims need, and still fits an element before authentication.
    public static let bytesMax = 10_240
    /// Most pairs in one.
    public static let pairsMax = 16
    /// Longest name of a host, in bytes.
    static let hostBytesMax = 255

    static let separator: UInt8 = 0x01

    /// As whom to act; `nil` if the client left it to the server.
    public let authzid: String?
    /// `nil` if it is empty: the client has none, and asks where it gets one (XEP-0493 §2.3.1).
    public let token: BearerToken?

    public init(parsing message: [UInt8]) throws(SASLFailure) {
        guard message.count <= Self.bytesMax else { throw .malformedRequest("The message is too long.") }
        guard let end = message.firstIndex(of: Self.separator), message.count >= end + 2, message.last == Self.separator else {
            throw .malformedRequest("A header and pairs are expected, each ended by 01, and 01 at the end.")
        }
        authzid = try Self.authzid(message[..<end])
        let values = try Self.pairs(message[(end + 1)...].dropLast())
        guard let authorization = values["auth"] else { throw .malformedRequest("There is no token.") }
        try Self.check(host: values["host"], port: values["port"])
        token = try Self.token(authorization)
    }

    /// What the GS2 header says (RFC 5801 §4). There is no channel binding in this mechanism: a client that could bind elsewhere may say so.
    private static func authzid(_ header: ArraySlice<UInt8>) throws(SASLFailure) -> String? {
        let fields = header.split(separator: ScramGrammar.comma, omittingEmptySubsequences: false)
        guard fields.count == 3, fields[0].elementsEqual("n".utf8) || fields[0].elementsEqual("y".utf8), fields[2].isEmpty else {
            throw .malformedRequest("The GS2 header is malformed, or wants channel binding.")
        }
        guard !fields[1].isEmpty else { return nil }
        guard fields[1].starts(with: "a=".utf8) else { throw .malformedRequest("The GS2 header is malformed.") }
        do throws(ScramSyntaxError) { return try ScramGrammar.unescapedName(fields[1].dropFirst(2)) } catch { throw SASLFailure(error) }
    }

    private static func pairs(_ bytes: ArraySlice<UInt8>) throws(SASLFailure) -> [String: ArraySlice<UInt8>] {
        var values: [String: ArraySlice<UInt8>] = [:]
        guard !bytes.isEmpty else { return values }
        guard bytes.last == separator else { throw .malformedRequest("A pair is not ended by 01.") }
        for pair in bytes.dropLast().split(separator: separator, maxSplits: pairsMax, omittingEmptySubsequences: false) {
            guard values.count < pairsMax else { throw .malformedRequest("There are too many pairs.") }
            guard let equals = pair.firstIndex(of: ScramGrammar.equals), equals > pair.startIndex, pair[..<equals].allSatisfy(isLetter),
                pair[(equals + 1)...].allSatisfy(isInValue)
            else { throw .malformedRequest("A pair is not of the form key=value.") }
            guard values.updateValue(pair[(equals + 1)...], forKey: String(decoding: pair[..<equals], as: UTF8.self)) == nil else {
                throw .malformedRequest("A key is there twice.")
            }
        }
        return values
    }

    private static func check(host: ArraySlice<UInt8>?, port: ArraySlice<UInt8>?) throws(SASLFailure) {
        if let host {
            guard (1...hostBytesMax).contains(host.count), host.allSatisfy({ isLetter($0) || isDigit($0) || "-.:[]_".utf8.contains($0) }) else {
                throw .malformedRequest("The host is neither a name nor an address.")
            }
        }
        if let port {
            guard let number = ScramGrammar.positiveNumber(port), (1...65_535).contains(number) else { throw .malformedRequest("The port is no number of a port.") }
        }
    }

    /// `Bearer`, in letters of either case (RFC 9110 §11.1), blanks, and the token; or nothing.
    private static func token(_ value: ArraySlice<UInt8>) throws(SASLFailure) -> BearerToken? {
        guard !value.isEmpty else { return nil }
        let text = String(decoding: value, as: UTF8.self)
        let scheme = text.prefix { $0 != " " }
        guard scheme.lowercased() == "bearer" else { throw .malformedRequest("Only Bearer is known.") }
        let rest = text.dropFirst(scheme.count).drop { $0 == " " }
        guard !rest.isEmpty else { return nil }
        guard let token = BearerToken(rest) else { throw .malformedRequest("The token has characters that none has.") }
        return token
    }

    /// `VCHAR / SP / HTAB / CR / LF`.
    private static func isInValue(_ byte: UInt8) -> Bool { (0x20...0x7E).contains(byte) || byte == 0x09 || byte == 0x0D || byte == 0x0A }
    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    /// The message as a client sends it.
    public static func bytes(authzid: String? = nil, token: String, pairs: [(String, String)] = []) -> [UInt8] {
        let name = authzid.map { Array("a=".utf8) + ScramGrammar.escapedName($0) } ?? []
        let all = pairs + [("auth", "Bearer \(token)")]
        return Array("n,".utf8) + name + [ScramGrammar.comma, separator] + all.flatMap { Array("\($0)=\($1)".utf8) + [separator] } + [separator]
    }
}

extension BearerMessage: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Everything but the token.
    public var description: String { "OAUTHBEARER authzid \(authzid ?? "none")" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
