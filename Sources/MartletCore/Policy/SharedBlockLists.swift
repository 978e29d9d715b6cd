package import MartletXMPP
import NIOCore
import Synchronization

/// Names a list of addresses that somebody shares: a node of a service (XEP-0060), anywhere.
package struct SharedListName: Hashable, Sendable, CustomStringConvertible {
    package var service: BareJID
    package var node: String

    package init(service: BareJID, node: String) {
        self.service = service
        self.node = node
    }

    package var description: String { "\(service) \(node)" }
}

/// One entry of such a list: the SHA-256 of a bare address or of a domain, so that the list tells nobody who is on it.
package struct SharedListEntry: Hashable, Sendable {
    package static let byteCount = 32
    private let words: SIMD4<UInt64>

    /// Of an address, prepared, or of a domain.
    package init(of address: String) { self.init(digest: ScramHash.sha256.digest(Array(address.utf8))) }

    /// `nil` if these cannot be of a digest.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.init(digest: bytes)
    }

    /// From hexadecimal digits, as items are named. `nil` for anything else.
    package init?(hexadecimal text: String) {
        guard text.utf8.count == 2 * Self.byteCount else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in text.utf8 {
            guard let value = Self.value(of: digit) else { return nil }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        self.init(digest: bytes)
    }

    private init(digest: [UInt8]) {
        var words = SIMD4<UInt64>()
        for (index, byte) in digest.enumerated() { words[index / 8] |= UInt64(byte) << UInt64(8 * (index % 8)) }
        self.words = words
    }

    package var bytes: [UInt8] { (0..<Self.byteCount).map { UInt8(truncatingIfNeeded: words[$0 / 8] >> UInt64(8 * ($0 % 8))) } }

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// Who is on the block lists that the operator has chosen, all lists together. One for the whole server.
///
/// Whoever is at a domain of this server is never on any: a list of somebody else's does not part our own people.
package final class SharedBlockLists: Sendable {
    /// Entries of one list; a further one is not taken.
    package static let entriesMax = 100_000
    /// Lists that an operator may choose.
    package static let listsMax = 16

    private struct State {
        var lists: [SharedListName: Set<SharedListEntry>] = [:]
        /// The domains of this server.
        var own: Set<String> = []
    }
    // A leaf: asked under the locks of shards, and nothing is called from within. Most servers have no lists: those only look at the flag.
    private let state = Mutex(State())
    private let hasEntries = Atomic<Bool>(false)
    private let refusals = Atomic<Int>(0)

    package init() {}

    /// Messages, requests for subscriptions and entrances into rooms that were refused, for the metrics.
    package var refusalCount: Int { refusals.load(ordering: .relaxed) }
    package func countRefusal() { refusals.add(1, ordering: .relaxed) }
    package func count(of list: SharedListName) -> Int { state.withLock { $0.lists[list]?.count ?? 0 } }

    package var isEmpty: Bool { !hasEntries.load(ordering: .relaxed) }

    /// Whether an address, or its domain, is on one of the lists. Costs nothing where there are no lists, else two digests.
    package func contains(_ address: BareJID) -> Bool {
        if isEmpty { return false }
        let domain = address.domainpart
        let isOwn = state.withLock { $0.own.contains(domain) }
        if isOwn { return false }
        let entries = address.isDomain ? [SharedListEntry(of: domain)] : [SharedListEntry(of: address.description), SharedListEntry(of: domain)]
        return state.withLock { state in state.lists.values.contains { list in entries.contains { list.contains($0) } } }
    }

    /// - Parameter own: the domains of this server, those of services included.
    package func setOwn(_ own: Set<String>) { state.withLock { $0.own = own } }

    /// - Returns: what was in the list before; `nil` if there was none.
    @discardableResult
    package func set(_ entries: Set<SharedListEntry>, of list: SharedListName) -> Set<SharedListEntry>? {
        change { $0.updateValue(entries, forKey: list) }
    }

    /// - Returns: what that has changed.
    package func change(
        _ list: SharedListName, adding added: Set<SharedListEntry>, removing removed: Set<SharedListEntry>
    ) -> (added: Set<SharedListEntry>, removed: Set<SharedListEntry>) {
        change { lists in
            var entries = lists.removeValue(forKey: list) ?? []
            let removed = removed.filter { entries.remove($0) != nil }
            let added = added.filter { entries.count < Self.entriesMax && entries.insert($0).inserted }
            lists[list] = entries
            return (added, removed)
        }
    }

    package func remove(_ list: SharedListName) { change { $0[list] = nil } }

    private func change<Result>(_ change: (inout [SharedListName: Set<SharedListEntry>]) -> sending Result) -> sending Result {
        state.withLock { state in
            let result = change(&state.lists)
            hasEntries.store(state.lists.values.contains { !$0.isEmpty }, ordering: .relaxed)
            return result
        }
    }
}
