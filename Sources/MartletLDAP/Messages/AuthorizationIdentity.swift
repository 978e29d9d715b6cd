/// `authzId` (RFC 4513 §5.2.1.8): who somebody is, or acts for.
public enum AuthorizationIdentity: Hashable, Sendable {
    /// Nobody in particular, which is the empty one.
    case anonymous
    /// The name of an entry.
    case name(String)
    /// A name as the directory's own rules have it. Active Directory answers `u:DOMAIN\name`.
    case user(String)

    private static let namePrefix = "dn:"
    private static let userPrefix = "u:"

    public init(decoding bytes: [UInt8]) throws(LDAPFault) {
        guard bytes.count <= LDAPLimits.nameBytesMax else { throw .tooLong(bytes: bytes.count, max: LDAPLimits.nameBytesMax) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .notUTF8 }
        if text.isEmpty { self = .anonymous }
        else if let name = Self.rest(of: text, behind: Self.namePrefix) { self = .name(name) }
        else if let name = Self.rest(of: text, behind: Self.userPrefix) { self = .user(name) }
        else { throw .malformedAuthorizationIdentity }
    }

    /// By octets: an accent at the beginning of the rest would be one character with the colon.
    private static func rest(of text: String, behind prefix: String) -> String? {
        guard text.utf8.starts(with: prefix.utf8) else { return nil }
        return String(Substring(text.utf8.dropFirst(prefix.utf8.count)))
    }

    public var encoded: [UInt8] {
        switch self {
        case .anonymous: []
        case .name(let name): Array((Self.namePrefix + name).utf8)
        case .user(let name): Array((Self.userPrefix + name).utf8)
        }
    }
}
