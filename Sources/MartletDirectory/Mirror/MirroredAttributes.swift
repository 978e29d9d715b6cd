/// Which attributes of entries are mirrored, and how.
package struct MirroredAttributes: Hashable, Sendable {
    package enum Form: UInt8, Hashable, Sendable, CaseIterable {
        /// As it is.
        case whole
        /// As it is, but only in memory: passwords and keys.
        case secret
        /// How long it is and its SHA-1, by which clients name a picture (XEP-0153): the picture is read when somebody wants it. Only JPEG, of at most
        /// ``MirrorLimits/photoBytesMax`` octets.
        case photo
        /// Its SHA-256 and nothing else: certificates, which are only looked for.
        case digest
    }

    /// In lower case, in order. A type is its place here.
    package let names: [String]
    package let forms: [Form]
    private let places: [String: UInt8]

    /// - Parameter forms: by the attributes' names, of which there are at most ``MirrorLimits/attributesMax``.
    package init(_ forms: [String: Form]) {
        precondition(forms.count <= MirrorLimits.attributesMax, "the type of an attribute has one octet")
        let sorted = forms.map { ($0.key.lowercased(), $0.value) }.sorted { $0.0 < $1.0 }
        names = sorted.map(\.0)
        self.forms = sorted.map(\.1)
        places = Dictionary(zip(names, (0...).lazy.map { UInt8($0) })) { first, _ in first }
    }

    /// The place of an attribute by what stands in an entry: a name with options (RFC 4512 §2.5).
    ///
    /// `;binary` says how values are transferred (RFC 4522), `;range=` which of them (Active Directory): that is the same attribute. One in a certain language is
    /// another.
    func place(of description: String) -> UInt8? {
        // Who reads an entry asks by the very name.
        if let place = places[description] { return place }
        let parts = description.lowercased().split(separator: ";", omittingEmptySubsequences: false)
        guard parts.dropFirst().allSatisfy({ $0 == "binary" || $0.hasPrefix("range=") }) else { return nil }
        return places[String(parts[0])]
    }

    func form(_ place: UInt8) -> Form { forms[Int(place)] }

    /// What may be written to disk.
    package var withoutSecrets: MirroredAttributes {
        MirroredAttributes(Dictionary(zip(names, forms).filter { $0.1 != .secret }) { first, _ in first })
    }
}

package enum MirrorLimits {
    /// Attributes that are mirrored.
    package static let attributesMax = 256
    /// Octets of an entry with all that is mirrored of it: a group of two hundred thousand.
    package static let entryBytesMax = 16 * 1024 * 1024
    /// Octets of a picture. Longer ones are as if they were not there.
    package static let photoBytesMax = 128 * 1024
}
