/// What is wrong with octets that should have been a message, or a value in one.
///
/// After a fault of framing nobody knows where the next message would start: the connection ends, where a server first says the notice of
/// disconnection (RFC 4511 §4.1.1). After any other a server may answer that operation with ``resultCode`` if ``LDAPEnvelope`` could be read.
public enum LDAPFault: Error, Hashable, Sendable {
    /// No message starts here: every one is a SEQUENCE (RFC 4511 §4.1.1).
    case notAMessage(tag: UInt8)
    case messageTooLong(bytes: Int, max: Int)
    /// RFC 4511 §5.1 allows only the definite form.
    case indefiniteLength
    /// A length of more than four octets, or one that BER reserves.
    case lengthOctets(Int)
    /// LDAP has no tag of more than one octet.
    case highTagNumber(UInt8)
    /// An element is longer than what it stands in.
    case truncated
    /// Octets behind the end.
    case surplus(bytes: Int)
    /// There is nothing where this tag had to be; `nil` where it could have been one of several.
    case missing(tag: UInt8?)
    case unexpected(tag: UInt8, expected: UInt8)
    case unknownOperation(tag: UInt8)
    /// Neither a password nor SASL (RFC 4511 §4.2).
    case unknownAuthentication(tag: UInt8)
    /// Of another CHOICE: a filter, a part of one, or of a control's value.
    case unknownChoice(tag: UInt8)
    /// 0 is only for what a server says unasked (RFC 4511 §4.1.1.1).
    case zeroMessageID
    /// Of none, or more than eight octets.
    case malformedInteger(bytes: Int)
    case outOfRange(Int)
    /// A BOOLEAN has one octet.
    case malformedBoolean(bytes: Int)
    case notUTF8
    case malformedIdentifier
    /// A `dn:` or `u:` is missing (RFC 4513 §5.2.1.8).
    case malformedAuthorizationIdentity
    /// An `initial` that is not the first or a `final` that is not the last (RFC 4511 §4.5.1.7.2).
    case substringOrder
    /// Neither a matching rule nor an attribute (RFC 4511 §4.5.1.7.7).
    case matchesNothing
    /// Not of the 16 octets that a UUID has (RFC 4533 §2.1).
    case malformedUUID(bytes: Int)
    /// A list of which RFC 4511 wants one element at least.
    case empty(Countable)
    case tooMany(Countable, max: Int)
    case tooLong(bytes: Int, max: Int)
    case filterTooDeep(max: Int)

    public enum Countable: Hashable, Sendable { case attributes, values, changes, controls, referrals, filterNodes, substrings, uuids }

    /// What a server answers to a request with this fault.
    public var resultCode: LDAPResultCode { if case .unknownAuthentication = self { .authMethodNotSupported } else { .protocolError } }
}
