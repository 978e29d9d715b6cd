/// The three parts of an address (RFC 7622 §3.1).
public enum JIDPart: Hashable, Sendable {
    case localpart
    case domainpart
    case resourcepart
}

/// Why some bytes are not an address. The peer sees `jid-malformed` (RFC 6120 §8.3.3.8).
public enum JIDError: Error, Hashable, Sendable {
    /// The part is required, or its separator is there and nothing beside it.
    case empty(JIDPart)
    /// Prepared, the part has more than ``BareJID/partBytesMax`` octets (RFC 7622 §3.1), or so many octets
    /// unprepared that it could not have fewer. `bytes` is what was counted.
    case tooLong(JIDPart, bytes: Int)
    /// The part has a character which its string class or profile leaves out.
    case disallowed(JIDPart, Unicode.Scalar)
    /// A character which is allowed only beside certain others is not beside them (RFC 5892 appendix A).
    case outOfContext(JIDPart, Unicode.Scalar)
    /// Left-to-right and right-to-left characters are mixed against the Bidi Rule (RFC 5893 §2).
    case bidirectional(JIDPart)
    /// Each application of the rules gives something else (RFC 8264 §7).
    case unstable(JIDPart)
    /// The part is not UTF-8.
    case notUTF8(JIDPart)
    /// A part of the address is there that this kind of address has not: a resourcepart in a bare one.
    case unexpected(JIDPart)
    /// A label of the domainpart is no host name label.
    case label(DomainLabelError)
    /// What stands between brackets is no IPv6 address (RFC 3986 §3.2.2).
    case ipLiteral
}

/// What is wrong with one label of a domainpart (RFC 1123 §2.1, RFC 5891 §4.2.3).
public enum DomainLabelError: Hashable, Sendable {
    case empty
    /// More than 63 octets, counted as an A-label.
    case tooLong
    /// A hyphen at the start, at the end, or in both the third and the fourth place.
    case hyphens
    /// The first character is a combining mark.
    case startsWithMark
    /// An A-label that is no Punycode, or decodes to what would not be encoded so.
    case invalidALabel
}
