/// What a client has instead of a password that somebody else has given it (RFC 6750 §2.1). It describes itself without its bytes, so that no log and no
/// failed test shows one.
public struct BearerToken: Hashable, Sendable {
    /// As it stands behind `Bearer`. Not empty.
    public let text: String

    /// `nil` if it is no `b64token`: letters, digits and a few signs, `=` only at the end.
    public init?(_ text: some StringProtocol) {
        let body = text.utf8.reversed().drop { $0 == UInt8(ascii: "=") }
        guard !body.isEmpty, body.allSatisfy(Self.isAllowed) else { return nil }
        self.text = String(text)
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: "-._~+/".utf8.contains(byte)
        }
    }
}

extension BearerToken: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "(token)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// What a domain says of where its clients get tokens, to those whose token is not accepted (RFC 7628 §3.2.2): with an empty one a client asks for it
/// (XEP-0493 §2.3.1).
public struct BearerOffer: Hashable, Sendable {
    /// Where the authorization server describes itself (RFC 8414), a URL.
    public var configuration: String
    /// What a token has to be good for, with blanks between; empty if nothing is asked for.
    public var scope: String
    /// Whether a client that has come in by a token of somebody else's may get one of ours (XEP-0484), which nobody else can take back.
    public var givesTokens: Bool

    public init(configuration: String, scope: String = "", givesTokens: Bool = false) {
        self.configuration = configuration
        self.scope = scope
        self.givesTokens = givesTokens
    }

    /// The server's message after a failure (RFC 7628 §3.2.2), in JSON.
    func message(_ status: BearerStatus) -> [UInt8] {
        let scope = scope.isEmpty ? "" : ",\"scope\":\(Self.quoted(scope))"
        return Array("{\"status\":\"\(status.rawValue)\"\(scope),\"openid-configuration\":\(Self.quoted(configuration))}".utf8)
    }

    /// A string of JSON (RFC 8259 §7).
    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\u{0}"..."\u{1F}": quoted += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

/// What a client hears of its token: an error of OAuth (RFC 6750 §3.1).
public enum BearerStatus: String, Hashable, Sendable {
    case invalidToken = "invalid_token"
    /// The token is good, and not for this.
    case insufficientScope = "insufficient_scope"
}

/// What was found out about a token.
public enum BearerVerdict: Hashable, Sendable {
    /// It is an account's; and what to answer whoever has it and may not come in all the same.
    case account(BareJID, refusal: SASLFailure? = nil)
    case refused(BearerStatus)
}
