package import MartletLDAP
import NIOCore

/// What a search brings, in the order in which the server says it (RFC 4511 §4.5.2).
package enum SearchItem: Hashable, Sendable {
    case entry(LDAPEntry, controls: [LDAPControl])
    case intermediate(IntermediateResponse, controls: [LDAPControl])
    /// The last one, whatever the result.
    case done(LDAPResult, controls: [LDAPControl])
}

/// What has come of a search and nobody has asked for yet. Pure.
struct SearchBuffer {
    /// How much may wait: beyond it nothing more is read from the server, and what it says waits there. A directory of 100,000 people is never in memory
    /// because somebody is slow to look at it.
    struct Limits: Hashable, Sendable {
        var entriesMax: Int
        var bytesMax: Int
    }

    private(set) var items: [SearchItem] = []
    /// As they came.
    private var byteCount = 0
    /// Nothing more comes: after the last item, or with a failure.
    private(set) var end: End?

    enum End: Hashable, Sendable {
        case done
        case failed(DirectoryFailure)
    }

    func isFull(_ limits: Limits) -> Bool { items.count >= limits.entriesMax || byteCount >= limits.bytesMax }

    mutating func add(_ item: SearchItem, byteCount: Int) {
        items.append(item)
        self.byteCount += byteCount
        if case .done = item { end = .done }
    }

    mutating func fail(_ why: DirectoryFailure) {
        if end == nil { end = .failed(why) }
    }

    /// All that waits.
    ///
    /// - Returns: `nil` if nothing is there yet; none after the last one.
    mutating func take() throws(DirectoryFailure) -> [SearchItem]? {
        guard items.isEmpty else {
            defer { (items, byteCount) = ([], 0) }
            return items
        }
        switch end {
        case .failed(let why): throw why
        case .done: return []
        case nil: return nil
        }
    }
}

/// A search that is under way: its entries as they come, no faster than they are asked for. Whoever lets go of it has given it up.
package final class LDAPSearch: AsyncSequence, Sendable {
    package typealias Element = SearchItem
    package typealias Failure = DirectoryFailure

    private let connection: LDAPConnection
    private let flow: SearchFlow

    init(_ connection: LDAPConnection, _ flow: SearchFlow) {
        self.connection = connection
        self.flow = flow
    }

    deinit { abandon() }

    /// All that has come since the last time, or what comes next: one hop between threads for many entries. None after the last item.
    package func next() async throws(DirectoryFailure) -> [SearchItem] { try await connection.next(of: flow) }

    /// Nothing more is wanted of it (RFC 4511 §4.11).
    package func abandon() { connection.abandon(flow) }

    package func makeAsyncIterator() -> Iterator { Iterator(search: self) }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let search: LDAPSearch
        private var batch: ArraySlice<SearchItem> = []
        private var isOver = false

        fileprivate init(search: LDAPSearch) { self.search = search }

        package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws(DirectoryFailure) -> SearchItem? {
            if batch.isEmpty, !isOver {
                batch = try await search.next()[...]
                isOver = batch.isEmpty
            }
            return batch.popFirst()
        }
    }
}
