package import MartletLDAP

/// When an entry was changed last, as its server says it.
package struct EntryChange: Hashable, Sendable {
    /// `entryCSN`, by which OpenLDAP's servers order all changes of an entry, whichever of them has made them.
    package var number: String?
    /// Milliseconds since 1970.
    package var time: Int64?

    package init(number: String? = nil, time: Int64? = nil) {
        self.number = number
        self.time = time ?? number.flatMap(Self.time)
    }

    package init(_ entry: LDAPEntry) {
        self.init(number: entry.strings("entryCSN").first, time: nil)
        time = time ?? entry.strings("modifyTimestamp").first.flatMap { GeneralizedTime.milliseconds(of: $0) }
    }

    package static let attributeNames = ["entryCSN", "modifyTimestamp"]

    /// `20261130184700.123456Z#000000#000#000000` begins with the moment.
    private static func time(_ number: String) -> Int64? { GeneralizedTime.milliseconds(of: String(number.prefix { $0 != "#" })) }

    /// Whether it is known to be no later than another one.
    package func isStale(after other: EntryChange) -> Bool {
        guard let number, let known = other.number else { return false }
        return !known.utf8.lexicographicallyPrecedes(number.utf8)
    }
}
