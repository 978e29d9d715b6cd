/// The results of a search come page by page (RFC 2696 §2).
public struct PagedResultsControl: TypedControl {
    public static var type: String { LDAPControlType.pagedResults }

    /// Entries: how many a page is to have, or how many the server believes that there are in all; 0 if it does not know.
    public var size: Int32
    /// Where the search goes on. Empty at first, and again when there is no more.
    public var cookie: [UInt8]

    public init(size: Int32, cookie: [UInt8] = []) {
        self.size = size
        self.cookie = cookie
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in Self(size: try content.count(), cookie: try content.octets()) }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                content.integer(Int(size))
                content.octets(cookie)
            }
        }
    }
}
