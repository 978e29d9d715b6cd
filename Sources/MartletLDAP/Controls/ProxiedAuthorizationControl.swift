/// The operation is somebody else's, for whom it is asked (RFC 4370 §3). The control is critical always, lest it be done in one's own right.
public struct ProxiedAuthorizationControl: TypedControl {
    public static var type: String { LDAPControlType.proxiedAuthorization }

    public var identity: AuthorizationIdentity

    public init(_ identity: AuthorizationIdentity) { self.identity = identity }

    public init(value: [UInt8]?) throws(LDAPFault) {
        guard let value else { throw .missing(tag: BERTag.octetString) }
        identity = try AuthorizationIdentity(decoding: value)
    }

    public var value: [UInt8]? { identity.encoded }
}
