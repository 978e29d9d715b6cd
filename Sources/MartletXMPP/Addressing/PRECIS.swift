/// Preparation of strings that are compared: names, passwords, nicknames (RFC 8264, 8265, 8266).
public enum PRECIS {
    /// UsernameCaseMapped (RFC 8265 §3.3): the profile of localparts and of SASL's simple user names.
    public static func usernameCaseMapped(_ text: some StringProtocol) throws(PRECISError) -> String { try ascii(String(text)).lowercased() }
    /// UsernameCasePreserved (RFC 8265 §3.4).
    public static func usernameCasePreserved(_ text: some StringProtocol) throws(PRECISError) -> String { try ascii(String(text)) }
    /// OpaqueString (RFC 8265 §4.2): the profile of passwords and of resourceparts.
    public static func opaqueString(_ text: some StringProtocol) throws(PRECISError) -> String { try ascii(String(text)) }
    /// Nickname as it is shown (RFC 8266 §2.3).
    public static func nickname(_ text: some StringProtocol) throws(PRECISError) -> String { try ascii(String(text)) }
    /// Nickname as it is compared (RFC 8266 §2.4).
    public static func nicknameForComparison(_ text: some StringProtocol) throws(PRECISError) -> String { try ascii(String(text)).lowercased() }

    private static func ascii(_ text: String) throws(PRECISError) -> String {
        guard !text.isEmpty else { throw .empty }
        for scalar in text.unicodeScalars where !(0x20...0x7E ~= scalar.value) { throw .disallowed(scalar) }
        return text
    }
}

/// Why a string has no prepared form.
public enum PRECISError: Error, Hashable, Sendable {
    /// Nothing is left.
    case empty
    /// A character which the string class leaves out (RFC 8264 §4).
    case disallowed(Unicode.Scalar)
    /// A character which is allowed only beside certain others is not beside them (RFC 5892 appendix A).
    case outOfContext(Unicode.Scalar)
    /// Left-to-right and right-to-left characters are mixed against the Bidi Rule (RFC 5893 §2).
    case bidirectional
}
