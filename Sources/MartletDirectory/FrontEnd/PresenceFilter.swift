import MartletCore
import MartletLDAP
import MartletXMPP

/// A filter that asks for presence, of which the directory behind knows nothing: each such part of it becomes the list of accounts of which it is true, for
/// this requester. Everything else, negations included, stays as it is, so that the directory decides as before (`directory.md` §4.2).
struct PresenceFilter: Hashable, Sendable {
    /// Most accounts of which one part may be true.
    static let accountsMax = 500
    /// Most parts that ask for presence: each is held against everybody whose presence the requester may see.
    static let partsMax = 8

    enum Failure: Error, Hashable { case tooMany }

    let filter: LDAPFilter
    let partCount: Int
    /// Whether only those matter who are there.
    let isAboutThoseOnline: Bool

    /// - Returns: `nil` if it does not ask for presence.
    init?(_ filter: LDAPFilter) {
        let leaves = Self.leaves(of: filter)
        guard !leaves.isEmpty else { return nil }
        self.filter = filter
        partCount = leaves.count
        isAboutThoseOnline = leaves.allSatisfy(Self.isAboutThoseOnline)
    }

    /// - Parameter visible: all whose presence the requester may see, as far as they matter.
    func rewritten(_ visible: [(address: BareJID, presence: PresenceSummary)], _ settings: FrontEndSettings) throws(Failure) -> LDAPFilter {
        let people = visible.map { ($0.address, LDAPEntry("", PresenceAttributes.attributes(of: $0.presence))) }
        let rewritten = try Self.rewritten(filter, people, settings)
        guard Self.count(of: rewritten) <= LDAPLimits.filterNodesMax else { throw .tooMany }
        return rewritten
    }

    private static func rewritten(
        _ filter: LDAPFilter, _ people: [(BareJID, LDAPEntry)], _ settings: FrontEndSettings
    ) throws(Failure) -> LDAPFilter {
        switch filter {
        case .and(let filters): return .and(try rewritten(filters, people, settings))
        case .or(let filters): return .or(try rewritten(filters, people, settings))
        case .not(let filter): return .not(try rewritten(filter, people, settings))
        case .equality, .substrings, .greaterOrEqual, .lessOrEqual, .present, .approximate, .extensible:
            guard isPresence(filter) else { return filter }
            let prepared = PreparedLDAPFilter(filter)
            let found = people.filter { prepared.truth(of: $0.1) == .holds }
            guard found.count <= accountsMax else { throw .tooMany }
            let keys = found.flatMap { settings.keys(of: $0.0) }
            return keys.isEmpty ? settings.nothing.filter : keys.count == 1 ? keys[0] : .or(keys)
        }
    }

    private static func rewritten(
        _ filters: [LDAPFilter], _ people: [(BareJID, LDAPEntry)], _ settings: FrontEndSettings
    ) throws(Failure) -> [LDAPFilter] {
        var result: [LDAPFilter] = []
        for filter in filters { result.append(try rewritten(filter, people, settings)) }
        return result
    }

    private static func leaves(of filter: LDAPFilter) -> [LDAPFilter] {
        switch filter {
        case .and(let filters), .or(let filters): filters.flatMap(leaves)
        case .not(let filter): leaves(of: filter)
        case .equality, .substrings, .greaterOrEqual, .lessOrEqual, .present, .approximate, .extensible: isPresence(filter) ? [filter] : []
        }
    }

    static func count(of filter: LDAPFilter) -> Int {
        switch filter {
        case .and(let filters), .or(let filters): filters.reduce(1) { $0 + count(of: $1) }
        case .not(let filter): 1 + count(of: filter)
        case .equality, .substrings, .greaterOrEqual, .lessOrEqual, .present, .approximate, .extensible: 1
        }
    }

    private static func isPresence(_ leaf: LDAPFilter) -> Bool { leaf.attribute.map(PresenceAttributes.isPresence) ?? false }

    /// Nobody who is not there is found by it: it is about something that only those have who are there, or asks for another state than theirs.
    private static func isAboutThoseOnline(_ leaf: LDAPFilter) -> Bool {
        guard let type = leaf.attribute.flatMap({ AttributeDescription($0) })?.type else { return false }
        if PresenceAttributes.typesOfThoseOnline.contains(type) { return true }
        guard ["xmpppresence", "xmppshow"].contains(type) else { return false }
        return leaf.truth(of: LDAPEntry("", PresenceAttributes.attributes(of: PresenceSummary()))) != .holds
    }
}

extension LDAPFilter {
    /// What a part that joins no others is about.
    var attribute: String? {
        switch self {
        case .and, .or, .not: nil
        case .equality(let attribute, _), .substrings(let attribute, _), .greaterOrEqual(let attribute, _), .lessOrEqual(let attribute, _),
            .present(let attribute), .approximate(let attribute, _):
            attribute
        case .extensible(let extensible): extensible.attribute
        }
    }
}
