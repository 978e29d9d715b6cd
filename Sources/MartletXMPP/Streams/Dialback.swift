import Crypto
public import MartletXML

extension Namespace {
    /// XEP-0220 §2.4.
    public static let dialbackFeature: Namespace = "urn:xmpp:features:dialback"
}

/// One element of Server Dialback (XEP-0220 §2).
public struct DialbackElement: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        /// Between the one who wants to send and the one who is to take it.
        case result
        /// Between the one who is to take it and the domain in whose name it would be.
        case verify
    }

    public enum Outcome: Hashable, Sendable {
        case valid, invalid
        /// Nothing is said about the key (§2.4.2).
        case error(StanzaError.Condition)
    }

    public var kind: Kind
    /// Domains, prepared.
    public var from: String
    public var to: String
    /// Of the stream that the key is for; with ``Kind/verify`` only.
    public var id: String?
    /// In a request.
    public var key: String?
    /// In an answer.
    public var outcome: Outcome?

    /// Longest key and identifier that are looked at, in bytes: the keys of XEP-0185 have 64.
    public static let textBytesMax = 1_024

    public init(_ kind: Kind, from: String, to: String, id: String? = nil, key: String? = nil, outcome: Outcome? = nil) {
        self.kind = kind
        self.from = from
        self.to = to
        self.id = id
        self.key = key
        self.outcome = outcome
    }

    /// - Returns: `nil` for what is none, or makes no sense as one.
    /// - Throws: `improper-addressing` where the addresses are none (§2.5).
    public init?(_ element: FlatElement) throws(StreamError) {
        if element.isNamed("result", .dialback) { kind = .result } else if element.isNamed("verify", .dialback) { kind = .verify } else { return nil }
        from = try Self.domain(element.attribute("from"))
        to = try Self.domain(element.attribute("to"))
        id = element.attribute("id")
        guard id?.utf8.count ?? 0 <= Self.textBytesMax, kind == .result || id?.isEmpty == false else { return nil }
        switch element.attribute("type") {
        case nil:
            let text = element.text.filter { !$0.isWhitespace }
            guard !text.isEmpty, text.utf8.count <= Self.textBytesMax else { return nil }
            key = text
        case "valid": outcome = .valid
        case "invalid": outcome = .invalid
        default: outcome = .error(Self.condition(element))
        }
    }

    private static func domain(_ text: String?) throws(StreamError) -> String {
        guard let text, let address = try? BareJID(parsing: text), address.isDomain else {
            throw StreamError(.improperAddressing, "Dialback is between domains.")
        }
        return address.domainpart
    }

    private static func condition(_ element: FlatElement) -> StanzaError.Condition {
        let error = element.firstChild("error", .client)
        return error?.children.lazy.filter { $0.isIn(.stanzaErrors) }.compactMap { StanzaError.Condition(rawValue: String($0.localName)) }.first
            ?? .undefinedCondition
    }

    /// The answer to a request.
    public func answer(_ outcome: Outcome) -> DialbackElement { DialbackElement(kind, from: to, to: from, id: id, outcome: outcome) }

    /// Writes it with the prefix that stream headers of servers declare.
    public func write(to writer: inout XMLWriter) {
        writer.open(kind == .result ? "result" : "verify", .dialback)
        writer.attribute("from", from)
        writer.attribute("to", to)
        writer.attribute("id", id)
        switch outcome {
        case nil: if let key { writer.text(key) }
        case .valid?: writer.attribute("type", "valid")
        case .invalid?: writer.attribute("type", "invalid")
        case .error(let condition)?:
            writer.attribute("type", "error")
            StanzaError(condition, .cancel).write(to: &writer)
        }
        writer.close()
    }
}

/// Makes and checks keys (XEP-0185): whoever knows the secret knows whether a key is ours, and keeps nothing for that.
public struct DialbackSecret: Sendable {
    private let key: SymmetricKey

    /// - Parameter secret: known to every server of our domains and to nobody else; 32 bytes or more.
    public init(_ secret: [UInt8]) {
        key = SymmetricKey(data: Array(Self.hexadecimal(SHA256.hash(data: secret)).utf8))
    }

    /// - Parameters:
    ///   - receiving: the domain that is to take what we send.
    ///   - originating: ours, which sends.
    ///   - streamID: as the receiving server gave it. It comes last: whatever is in it, it can be taken for no part of a domain.
    public func key(receiving: String, originating: String, streamID: String) -> String {
        Self.hexadecimal(HMAC<SHA256>.authenticationCode(for: Array("\(receiving) \(originating) \(streamID)".utf8), using: key))
    }

    /// Whether a key that somebody asks about is ours. Takes as long whatever the difference is.
    public func isOurs(_ request: DialbackElement) -> Bool {
        guard request.kind == .verify, let id = request.id, let given = request.key else { return false }
        let ours = Array(key(receiving: request.from, originating: request.to, streamID: id).utf8)
        let theirs = Array(given.utf8)
        guard ours.count == theirs.count else { return false }
        return zip(ours, theirs).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
