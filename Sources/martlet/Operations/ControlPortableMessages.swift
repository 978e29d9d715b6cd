package import MartletFeatures

/// What commands ask about accounts that move (XEP-0227).
package enum PortableOrder: Codable, Hashable, Sendable {
    /// A page of an account.
    case page(of: String, at: PortableExport.Place, hasArchive: Bool)
    /// Asks whether an account can be imported: whether there is none, or one that an import has begun and not finished.
    case isFree(String)
    /// Makes an account that is being imported, and takes away what an earlier import has left of it.
    case begin(String, replacing: Bool)
    /// Written together or not at all.
    case take(of: String, [PortablePiece], lastView: UInt64)
    /// Lets the account's people in. Keys are as `ScramKeys.text` writes them.
    case finish(String, keys: [String], isEnabled: Bool)
}

/// A page of an account's document.
package struct PortablePage: Codable, Hashable, Sendable {
    package var lines: [String]
    /// Absent at the end.
    package var next: PortableExport.Place?
}
