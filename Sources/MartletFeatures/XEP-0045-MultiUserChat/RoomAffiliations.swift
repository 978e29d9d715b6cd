package import MartletCore
package import MartletXMPP

/// Who has a lasting relation to a room (§5.2): accounts, but also single sessions and whole domains that are banned (§9.1).
///
/// Every affiliation has a list in the order of addresses, so that a page of a long one takes no longer than a short one. Made from what is
/// on disk, which is in that order already, on the thread that reads it.
package struct RoomAffiliations: Sendable {
    package struct Entry: Hashable, Sendable {
        package var affiliation: RoomAffiliation
        /// Reserved (§7.10).
        package var nickname: String?
        package var reason: String?
        /// The version of the list in which this was changed (XEP-0463).
        package var version: UInt64
        package var details = RoomMemberDetails()
    }

    private var entries: [JID: Entry] = [:]
    private var lists: [RoomAffiliation: SortedAddresses] = [:]
    /// Reserved nicknames, folded, and whose they are.
    private var nicknames: [String: BareJID] = [:]
    /// Words of a reserved nickname, at most, ever.
    private(set) var nicknameWordsMax = 0
    package private(set) var version: UInt64 = 0
    /// Those who wear hats (XEP-0317).
    private(set) var wearers: Set<JID> = []
    /// Those who have said what they want to be told of.
    private(set) var choosers: Set<JID> = []
    /// What has changed up to this version is not all known any more (XEP-0463).
    package private(set) var forgottenVersion: UInt64 = 0
    /// Whether somebody is banned by domain or resource: otherwise only the account is looked up.
    private var hasOtherThanAccounts = false

    package init() {}

    /// - Parameter stored: in the order of addresses.
    package init(_ stored: [StoredAffiliation], forgottenVersion: UInt64 = 0) {
        self.forgottenVersion = forgottenVersion
        entries.reserveCapacity(stored.count)
        var sorted: [RoomAffiliation: [JID]] = [:]
        for one in stored {
            let affiliation = RoomAffiliation(rawValue: one.affiliation) ?? .none
            let entry = Entry(affiliation: affiliation, nickname: one.nickname, reason: one.reason, version: one.version,
                details: RoomMemberDetails(one.details))
            entries[one.address] = entry
            sorted[affiliation, default: []].append(one.address)
            note(one.address, entry)
        }
        lists = sorted.mapValues { SortedAddresses(sorted: $0) }
    }

    private mutating func note(_ address: JID, _ entry: Entry) {
        version = max(version, entry.version)
        if let nickname = entry.nickname { reserve(RoomNickname.folded(nickname), for: address.bare) }
        if address.isOtherThanAccount { hasOtherThanAccounts = true }
        noteDetails(address, entry.details)
    }

    private mutating func reserve(_ nickname: String, for account: BareJID) {
        nicknames[nickname] = account
        nicknameWordsMax = max(nicknameWordsMax, 1 + nickname.utf8.count { $0 == UInt8(ascii: " ") })
    }

    private mutating func noteDetails(_ address: JID, _ details: RoomMemberDetails) {
        if details.hats.isEmpty { wearers.remove(address) } else { wearers.insert(address) }
        if details.notices == nil { choosers.remove(address) } else { choosers.insert(address) }
    }

    /// Of those who have an affiliation.
    package var count: Int { entries.count - formerCount }
    /// Of those of whom something else is known: that they had one once (XEP-0463), hats, wishes.
    package var formerCount: Int { count(of: .none) }
    package func count(of affiliation: RoomAffiliation) -> Int { lists[affiliation]?.count ?? 0 }
    package subscript(address: JID) -> Entry? { entries[address] }

    /// The affiliation of who sends from `address`: the account's own, or else that of the session or of the domain.
    package func affiliation(of address: JID) -> RoomAffiliation {
        let own = entries[.bare(address.bare)]?.affiliation ?? .none
        guard hasOtherThanAccounts, own == .none else { return own }
        return address.widerAddresses.lazy.compactMap { entries[$0]?.affiliation }.first { $0 != .none } ?? .none
    }

    package func reservedNickname(of account: BareJID) -> String? { entries[.bare(account)]?.nickname }
    package func owner(ofNickname nickname: String) -> BareJID? { nicknames.isEmpty ? nil : nicknames[RoomNickname.folded(nickname)] }
    func owner(ofFoldedNickname nickname: String) -> BareJID? { nicknames[nickname] }

    /// In no order.
    func forEach(_ body: (JID, Entry) -> Void) { for (address, entry) in entries { body(address, entry) } }

    /// Changes or adds an entry, under a new version.
    ///
    /// - Returns: what is to be stored.
    package mutating func set(_ address: JID, _ change: (inout Entry) -> Void) -> StoredAffiliation {
        let old = entries[address]
        var entry = old ?? Entry(affiliation: .none, version: 0)
        change(&entry)
        version += 1
        entry.version = version
        if let old {
            if old.affiliation != entry.affiliation { lists[old.affiliation]?.remove(address) }
            if let nickname = old.nickname, nickname != entry.nickname { nicknames[RoomNickname.folded(nickname)] = nil }
        }
        if old?.affiliation != entry.affiliation { lists[entry.affiliation, default: SortedAddresses(sorted: [])].insert(address) }
        entries[address] = entry
        note(address, entry)
        return entry.stored(address)
    }

    /// Changes what is known of an address besides. Its affiliation is what it was, and so is the version.
    ///
    /// - Returns: what is to be stored; `nil` if nothing is left of it.
    mutating func setDetails(_ address: JID, _ change: (inout RoomMemberDetails) -> Void) -> StoredAffiliation? {
        let old = entries[address]
        var entry = old ?? Entry(affiliation: .none, version: 0)
        change(&entry.details)
        noteDetails(address, entry.details)
        // One that had an affiliation once stays, for those who knew of it (XEP-0463).
        if entry.details.isEmpty, entry.version == 0, entry.affiliation == .none {
            entries[address] = nil
            lists[.none]?.remove(address)
            return nil
        }
        if old == nil { lists[.none, default: SortedAddresses(sorted: [])].insert(address) }
        entries[address] = entry
        return entry.stored(address)
    }

    /// Forgets who had an affiliation once, but for the latest `count` and those who wear hats.
    ///
    /// - Returns: who is forgotten.
    mutating func forgetFormer(keeping count: Int) -> [JID] {
        let former = all(.none).compactMap { address in entries[address].map { (address: address, entry: $0) } }
        let gone = former.filter { $0.entry.details.hats.isEmpty }.sorted { $0.entry.version < $1.entry.version }.dropLast(count)
        for (address, entry) in gone {
            forgottenVersion = max(forgottenVersion, entry.version)
            noteDetails(address, RoomMemberDetails())
            entries[address] = nil
            lists[.none]?.remove(address)
        }
        return gone.map(\.address)
    }

    func wearers(of hat: String) -> [BareJID] { wearers.filter { entries[$0]?.details.hats.contains(hat) ?? false }.map(\.bare) }

    /// Hats that are worn, each as often as somebody wears it.
    var wornCount: Int { wearers.reduce(0) { $0 + (entries[$1]?.details.hats.count ?? 0) } }

    /// A page of a list in the order of addresses.
    package func page(of affiliation: RoomAffiliation, _ page: ResultSetRequest.Page, limit: Int) -> RoomAffiliationPage {
        lists[affiliation]?.page(page, limit: limit) ?? RoomAffiliationPage(addresses: [], first: 0, count: 0)
    }

    /// All addresses with an affiliation.
    package func all(_ affiliation: RoomAffiliation) -> [JID] { lists[affiliation]?.addresses ?? [] }

    /// Whether what has changed since a version is known (XEP-0463).
    func knowsChanges(since old: UInt64) -> Bool { (forgottenVersion...version).contains(old) }

    /// What was changed after a version, in no order; `nil` if that is not known, unless it is asked for everything (0).
    package func changes(since old: UInt64) -> [(address: JID, entry: Entry)]? {
        guard old == 0 || knowsChanges(since: old) else { return nil }
        return entries.lazy.filter { $0.value.version > old }.map { ($0.key, $0.value) }
    }
}

package struct RoomAffiliationPage: Hashable, Sendable {
    package var addresses: [JID]
    /// The place of the first one in the whole list.
    package var first: Int
    package var count: Int
}

/// Addresses in the order of their bytes.
struct SortedAddresses: Sendable {
    private(set) var addresses: [JID]
    init(sorted addresses: [JID]) { self.addresses = addresses }
    var count: Int { addresses.count }

    mutating func insert(_ address: JID) {
        let place = place(of: address)
        if place < addresses.count, addresses[place] == address { return }
        addresses.insert(address, at: place)
    }

    mutating func remove(_ address: JID) {
        let place = place(of: address)
        if place < addresses.count, addresses[place] == address { addresses.remove(at: place) }
    }

    /// Where an address is, or would be.
    private func place(of address: JID) -> Int {
        var (low, high) = (0, addresses.count)
        while low < high {
            let middle = (low + high) / 2
            if addresses[middle].precedes(address) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func page(_ page: ResultSetRequest.Page, limit: Int) -> RoomAffiliationPage {
        let range: Range<Int>
        switch page {
        case .first: range = 0..<min(limit, count)
        case .last: range = max(0, count - limit)..<count
        case .index(let index): range = min(index, count)..<min(index.addingClamped(limit), count)
        case .after(let name): range = after(name, limit)
        case .before(let name): range = before(name, limit)
        }
        return RoomAffiliationPage(addresses: Array(addresses[range]), first: range.lowerBound, count: count)
    }

    private func after(_ name: String, _ limit: Int) -> Range<Int> {
        guard let address = try? JID(name) else { return count..<count }
        let place = place(of: address)
        let start = place < count && addresses[place] == address ? place + 1 : place
        return start..<min(start.addingClamped(limit), count)
    }

    private func before(_ name: String, _ limit: Int) -> Range<Int> {
        guard let address = try? JID(name) else { return 0..<0 }
        let end = place(of: address)
        return max(0, end - limit)..<end
    }
}

extension RoomAffiliations.Entry {
    fileprivate func stored(_ address: JID) -> StoredAffiliation {
        StoredAffiliation(
            address: address, affiliation: affiliation.rawValue, nickname: nickname, reason: reason, version: version, details: details.stored)
    }
}

extension Int {
    fileprivate func addingClamped(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}

extension JID {
    /// In the order of bytes.
    func precedes(_ other: JID) -> Bool {
        withUTF8 { mine in other.withUTF8 { mine.lexicographicallyPrecedes($0) } }
    }

    fileprivate var isOtherThanAccount: Bool {
        if case .full = self { return true }
        return bare.isDomain
    }

    /// What may be banned besides an account (§9.1): the session, the domain with the resource, the domain.
    fileprivate var widerAddresses: [JID] {
        let domain = bare.domain
        var addresses: [JID] = []
        if case .full(let full) = self {
            addresses.append(self)
            if let resource = try? domain.with(resourcepart: full.resourcepart) { addresses.append(.full(resource)) }
        }
        return addresses + [.bare(domain)]
    }
}
