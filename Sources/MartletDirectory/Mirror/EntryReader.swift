/// Reads what is mirrored of an entry, by the names of attributes.
package struct EntryReader: Sendable {
    package let entry: MirroredEntry
    private let attributes: MirroredAttributes

    package init(_ entry: MirroredEntry, _ attributes: MirroredAttributes) {
        self.entry = entry
        self.attributes = attributes
    }

    /// In the server's order; none if the attribute is not mirrored.
    package func values(_ name: String) -> [ArraySlice<UInt8>] { attributes.place(of: name).map { entry.values(at: $0) } ?? [] }

    /// Values that are text; others are left out, and so are empty ones.
    package func texts(_ name: String) -> [String] {
        values(name).compactMap { String(validating: $0, as: UTF8.self) }.filter { !$0.isEmpty }
    }

    package func text(_ name: String) -> String? { texts(name).first }

    /// A Boolean (RFC 4517 §3.3.3), in whatever case it is written.
    package func isTrue(_ name: String) -> Bool { text(name)?.lowercased() == "true" }

    package func number(_ name: String) -> Int64? { text(name).flatMap { Int64($0) } }

    /// A moment, in milliseconds since 1970.
    package func moment(_ name: String) -> Int64? { text(name).flatMap { DirectoryTime.milliseconds($0) } }

    package func photo(_ name: String) -> PhotoDigest? { values(name).first.flatMap { PhotoDigest(kept: $0) } }
}
