/// Ends an operation, and asks what became of it (RFC 3909 §2). The operation itself is answered as well, with `canceled`, unlike one that is
/// abandoned.
public struct CancelRequest: TypedExtendedRequest {
    public static var name: String { LDAPExtension.cancel }

    public var id: Int32

    public init(_ id: Int32) { self.id = id }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in Self(try content.count()) }
    }

    public var value: [UInt8]? { BERWriter.bytes { $0.constructed { $0.integer(Int(id)) } } }
}
