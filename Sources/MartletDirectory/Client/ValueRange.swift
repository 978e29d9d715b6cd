package import MartletLDAP

/// A part of an attribute's values: `member;range=0-1499`. A server of Microsoft's gives those of a large group part by part
/// ([MS-ADTS] §3.1.1.3.1.3.3), the last of which ends with `*`.
package struct ValueRange: Hashable, Sendable {
    /// Without the option.
    package let attribute: String
    package let lower: Int
    /// `nil` in the last part.
    package let upper: Int?

    /// - Returns: `nil` if the description has no such option.
    package init?(_ description: String) {
        // Nearly all have no option, and there are many of them.
        guard description.utf8.contains(UInt8(ascii: ";")) else { return nil }
        let options = description.split(separator: ";", omittingEmptySubsequences: false)
        guard let index = options.dropFirst().firstIndex(where: { $0.lowercased().hasPrefix("range=") }) else { return nil }
        let bounds = options[index].dropFirst("range=".count).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard bounds.count == 2, let lower = Self.number(bounds[0]) else { return nil }
        if bounds[1] == "*" {
            upper = nil
        } else {
            guard let upper = Self.number(bounds[1]), upper >= lower else { return nil }
            self.upper = upper
        }
        self.lower = lower
        attribute = (options[..<index] + options[(index + 1)...]).joined(separator: ";")
    }

    /// Digits only, and not so many that adding to it could go wrong.
    private static func number(_ text: Substring) -> Int? {
        guard (1...9).contains(text.utf8.count), text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Int(text)
    }

    /// What is to be asked for next; `nil` behind the last part.
    package var next: String? { upper.map { "\(attribute);range=\($0 + 1)-*" } }
}

/// An entry whose attributes are put together from their parts, as those come. Pure.
package struct RangedEntry: Sendable {
    /// Values of one attribute that are taken: of the largest groups there are, many times as many.
    package static let valuesMax = 2_000_000

    /// As far as it is known.
    package private(set) var entry: LDAPEntry
    /// What is still to be asked for.
    private var next: [(attribute: String, wanted: String)] = []

    package init(_ entry: LDAPEntry) {
        let ranged = Set(entry.attributes.compactMap { ValueRange($0.description)?.attribute.lowercased() })
        // One without values beside its part says only that there are more than are here.
        let whole = entry.attributes.filter { ValueRange($0.description) == nil && !($0.values.isEmpty && ranged.contains($0.description.lowercased())) }
        self.entry = LDAPEntry(entry.name, whole)
        for attribute in entry.attributes { if let range = ValueRange(attribute.description) { add(range, attribute.values) } }
    }

    /// Whether an entry has to be put together at all.
    static func hasParts(_ entry: LDAPEntry) -> Bool { entry.attributes.contains { ValueRange($0.description) != nil } }

    /// The description to ask for next; `nil` when the entry is whole.
    package var wanted: String? { next.first?.wanted }

    /// The next part, in the entry as it was asked for with ``wanted``.
    package mutating func add(_ part: LDAPEntry) throws(DirectoryFailure) {
        guard !next.isEmpty else { return }
        let (name, wanted) = next.removeFirst()
        let found = part.attributes.lazy.compactMap { attribute in ValueRange(attribute.description).map { ($0, attribute.values) } }
            .first { $0.0.attribute.lowercased() == name.lowercased() }
        // Gone meanwhile: there are no more.
        guard let (range, values) = found else { return }
        // A part that does not go on where the last one ended, or is empty and not the last, would go on for ever.
        guard let asked = ValueRange(wanted), range.lower == asked.lower, range.upper == nil || !values.isEmpty else { throw .endless(attribute: name) }
        add(range, values)
        guard entry.attributes.first(where: { $0.description == name })?.values.count ?? 0 <= Self.valuesMax else { throw .endless(attribute: name) }
    }

    private mutating func add(_ range: ValueRange, _ values: [[UInt8]]) {
        if let index = entry.attributes.firstIndex(where: { $0.description.lowercased() == range.attribute.lowercased() }) {
            entry.attributes[index].values += values
        } else {
            entry.attributes.append(LDAPAttribute(range.attribute, values))
        }
        if let wanted = range.next { next.append((range.attribute, wanted)) }
    }
}
