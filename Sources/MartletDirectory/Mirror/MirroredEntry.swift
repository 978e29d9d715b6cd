internal import Crypto
package import MartletLDAP

/// What is mirrored of an entry, in one piece of memory: its name, then by their places the attributes that it has, each with its values.
///
/// A number is written in base 128, the least significant digit first, each but the last with its high bit set. An attribute is its place in
/// ``MirroredAttributes``, the number of its values, and of each the length and the octets.
package struct MirroredEntry: Hashable, Sendable {
    package let bytes: [UInt8]

    private init(unchecked bytes: [UInt8]) { self.bytes = bytes }

    /// - Returns: `nil` if the entry is longer than ``MirrorLimits/entryBytesMax``.
    package init?(_ entry: LDAPEntry, _ attributes: MirroredAttributes) {
        var values: [UInt8: [[UInt8]]] = [:]
        var total = entry.name.utf8.count
        for attribute in entry.attributes {
            guard let place = attributes.place(of: attribute.description) else { continue }
            let kept = attribute.values.compactMap { attributes.form(place).kept($0) }
            total += kept.reduce(0) { $0 + $1.count + Self.overheadBytes }
            guard total <= MirrorLimits.entryBytesMax else { return nil }
            if !kept.isEmpty { values[place, default: []] += kept }
        }
        bytes = Self.encode(entry.name, values.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
    }

    /// Of the length before a value.
    private static let overheadBytes = 5

    private static func encode(_ name: String, _ attributes: [(place: UInt8, values: [[UInt8]])]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(attributes.reduce(name.utf8.count + 4) { $1.values.reduce($0 + 3) { $0 + $1.count + 2 } })
        append(name.utf8, to: &bytes)
        for (place, values) in attributes {
            bytes.append(place)
            appendNumber(values.count, to: &bytes)
            for value in values { append(value, to: &bytes) }
        }
        // Without the room that was not needed: of an entry that stays for months.
        return bytes.withUnsafeBytes { Array($0) }
    }

    private static func append(_ octets: some Collection<UInt8>, to bytes: inout [UInt8]) {
        appendNumber(octets.count, to: &bytes)
        bytes.append(contentsOf: octets)
    }

    private static func appendNumber(_ number: Int, to bytes: inout [UInt8]) {
        var rest = number
        while rest > 127 {
            bytes.append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// The name as the server writes it.
    package var name: String {
        var reader = Reader(bytes)
        return reader.octets().map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// The values of the attribute in that place, in the server's order.
    func values(at place: UInt8) -> [ArraySlice<UInt8>] {
        var reader = Reader(bytes)
        guard reader.octets() != nil else { return [] }
        while let attribute = reader.attribute(keeping: { $0 == place }) {
            if attribute.place == place { return attribute.values }
            // They are in order.
            if attribute.place > place { return [] }
        }
        return []
    }

    fileprivate var attributes: [(place: UInt8, values: [ArraySlice<UInt8>])] {
        var reader = Reader(bytes)
        guard reader.octets() != nil else { return [] }
        var all: [(UInt8, [ArraySlice<UInt8>])] = []
        while let attribute = reader.attribute(keeping: { _ in true }) { all.append(attribute) }
        return all
    }

    /// The entry as far as it was mirrored whole.
    package func entry(_ attributes: MirroredAttributes) -> LDAPEntry {
        let whole = self.attributes.filter { [.whole, .secret].contains(attributes.form($0.place)) }
        return LDAPEntry(name, whole.map { LDAPAttribute(attributes.names[Int($0.place)], $0.values.map(Array.init)) })
    }
}

extension MirroredAttributes.Form {
    /// - Returns: `nil` if nothing is.
    fileprivate func kept(_ value: [UInt8]) -> [UInt8]? {
        switch self {
        case .whole, .secret: value
        case .digest: Array(SHA256.hash(data: value))
        case .photo:
            PhotoDigest(value).map { digest in (0..<4).map { UInt8(truncatingIfNeeded: digest.byteCount >> (8 * (3 - $0))) } + digest.sha1 }
        }
    }
}

/// What is remembered of a picture.
package struct PhotoDigest: Hashable, Sendable {
    package let byteCount: Int
    /// 20 octets.
    package let sha1: [UInt8]

    /// - Returns: `nil` if it is no JPEG, or longer than ``MirrorLimits/photoBytesMax``.
    package init?(_ photo: [UInt8]) {
        guard photo.count <= MirrorLimits.photoBytesMax, photo.starts(with: Self.jpegStart) else { return nil }
        byteCount = photo.count
        sha1 = Array(Insecure.SHA1.hash(data: photo))
    }

    /// What an entry holds of it.
    init?(kept: ArraySlice<UInt8>) {
        guard kept.count == 24 else { return nil }
        byteCount = kept.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        sha1 = Array(kept.dropFirst(4))
    }

    private static let jpegStart: [UInt8] = [0xFF, 0xD8, 0xFF]
}

// MARK: On disk

extension MirroredEntry {
    /// An entry from disk.
    ///
    /// - Returns: `nil` unless it could have been made here, of these attributes.
    init?(stored bytes: [UInt8], _ attributes: MirroredAttributes) {
        guard bytes.count <= MirrorLimits.entryBytesMax else { return nil }
        var reader = Reader(bytes)
        guard let name = reader.octets(), String(validating: name, as: UTF8.self) != nil else { return nil }
        var last = -1
        while !reader.isAtEnd {
            guard let attribute = reader.attribute(keeping: { _ in true }), Int(attribute.place) > last, Int(attribute.place) < attributes.names.count,
                !attribute.values.isEmpty
            else { return nil }
            last = Int(attribute.place)
        }
        self.bytes = bytes
    }

    /// The same entry where other attributes are mirrored. What is mirrored in another form there is left out: it comes with the next refresh.
    func recoded(from old: MirroredAttributes, to new: MirroredAttributes) -> MirroredEntry {
        guard old != new else { return self }
        let kept = attributes.compactMap { attribute -> (UInt8, [[UInt8]])? in
            guard let place = new.place(of: old.names[Int(attribute.place)]), new.form(place).keepsLike(old.form(attribute.place)) else { return nil }
            return (place, attribute.values.map(Array.init))
        }
        return MirroredEntry(unchecked: Self.encode(name, kept.sorted { $0.0 < $1.0 }))
    }
}

extension MirroredAttributes.Form {
    /// Whether what one keeps of a value is what the other does.
    fileprivate func keepsLike(_ other: MirroredAttributes.Form) -> Bool {
        self == other || [self, other].allSatisfy { $0 == .whole || $0 == .secret }
    }
}

/// Reads what ``MirroredEntry`` writes. Never beyond its end: an entry may come from a damaged file.
private struct Reader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func number() -> Int? {
        var number = 0
        for shift in stride(from: 0, to: 35, by: 7) {
            guard position < bytes.count else { return nil }
            let digit = bytes[position]
            position += 1
            number |= Int(digit & 127) << shift
            if digit < 128 { return number }
        }
        return nil
    }

    mutating func octets() -> ArraySlice<UInt8>? {
        guard let count = number(), count <= bytes.count - position else { return nil }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// The next attribute; only of those that are kept the values are gathered.
    mutating func attribute(keeping isKept: (UInt8) -> Bool) -> (place: UInt8, values: [ArraySlice<UInt8>])? {
        guard position < bytes.count else { return nil }
        let place = bytes[position]
        position += 1
        guard let count = number() else { return nil }
        var values: [ArraySlice<UInt8>] = []
        for _ in 0..<count {
            guard let value = octets() else { return nil }
            if isKept(place) { values.append(value) }
        }
        return (place, values)
    }
}
