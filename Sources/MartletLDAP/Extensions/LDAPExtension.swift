/// The names of extended operations, as a root DSE lists those that its server knows in `supportedExtension` (RFC 4512 §5.1), and of what servers
/// say unasked.
public enum LDAPExtension {
    /// RFC 4511 §4.14.
    public static let startTLS = "1.3.6.1.4.1.1466.20037"
    /// RFC 3062.
    public static let passwordModify = "1.3.6.1.4.1.4203.1.11.1"
    /// RFC 4532.
    public static let whoAmI = "1.3.6.1.4.1.4203.1.11.3"
    /// RFC 3909.
    public static let cancel = "1.3.6.1.1.8"
    /// RFC 5805 §2.1 and §2.3.
    public static let startTransaction = "1.3.6.1.1.21.1"
    public static let endTransaction = "1.3.6.1.1.21.3"
    /// RFC 5805 §2.4.
    public static let abortedTransaction = "1.3.6.1.1.21.4"
    /// RFC 4511 §4.4.1.
    public static let noticeOfDisconnection = "1.3.6.1.4.1.1466.20036"
}

/// An extended operation that is known by its name, with what is asked.
public protocol TypedExtendedRequest: Hashable, Sendable {
    /// A dotted OID.
    static var name: String { get }
    /// - Parameter value: `nil` if the request has none.
    init(value: [UInt8]?) throws(LDAPFault)
    /// `nil` if nothing more is to be said.
    var value: [UInt8]? { get }
}

extension TypedExtendedRequest {
    public var request: ExtendedRequest { ExtendedRequest(Self.name, value: value) }
}

extension ExtendedRequest {
    /// RFC 4511 §4.14.1. It has no value.
    public static let startTLS = ExtendedRequest(LDAPExtension.startTLS)
    /// RFC 4532 §2. It has no value; the answer's is an ``AuthorizationIdentity``.
    public static let whoAmI = ExtendedRequest(LDAPExtension.whoAmI)
    /// RFC 5805 §2.1. It has no value; the answer's is the transaction's identifier.
    public static let startTransaction = ExtendedRequest(LDAPExtension.startTransaction)
}

extension AuthorizationIdentity {
    /// Of the answer to ``ExtendedRequest/whoAmI`` (RFC 4532 §2.2). An answer without a value names nobody.
    public init(whoAmI response: ExtendedResponse) throws(LDAPFault) { try self.init(decoding: response.value ?? []) }
}
