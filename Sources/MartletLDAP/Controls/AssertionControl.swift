/// The operation takes place only if the filter is true of its entry (RFC 4528 §3); otherwise its result is `assertionFailed`.
public struct AssertionControl: TypedControl {
    public static var type: String { LDAPControlType.assertion }

    public var filter: LDAPFilter

    public init(_ filter: LDAPFilter) { self.filter = filter }

    public init(value: [UInt8]?) throws(LDAPFault) {
        guard let value else { throw .missing(tag: BERTag.octetString) }
        filter = try LDAPFilter(decoding: value)
    }

    public var value: [UInt8]? { filter.encoded }
}
