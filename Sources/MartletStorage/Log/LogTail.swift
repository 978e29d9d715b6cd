internal import MartletCore
internal import NIOConcurrencyHelpers

/// A line of the message log's index: where the message with that name in the owner's view lies.
struct Posting: Hashable, Sendable {
    var owner: AccountID
    /// The owner's name for the message.
    var view: UInt64
    /// The entry's place in the log.
    var log: Int64
    /// Bytes of the stanza.
    var size: Int
    /// As in ``LogEntry/View``.
    var awaitsDelivery: Bool
    var archived: ArchiveMark?

    init(_ view: LogEntry.View, log: Int64, size: Int) {
        owner = view.owner
        self.view = view.id
        self.log = log
        self.size = size
        awaitsDelivery = view.awaitsDelivery
        archived = view.archived
    }
}

/// How far a stream has come with an entry.
struct LoggedPosition: Hashable, Sendable {
    var position: StreamPosition
    /// The entry's place in the log.
    var log: Int64

    init(_ position: StreamPosition, log: Int64) {
        self.position = position
        self.log = log
    }
}

/// The part of the message log's index that is in memory only: the postings of entries beyond `meta.indexed_up_to`.
///
/// Written by the writer's thread after each commit, read by readers. A reader copies from here first and begins its
/// transaction afterwards: then what moves to the table in between is seen twice, never missed.
final class LogTail: Sendable {
    private struct State {
        /// By view.
        var postings: [AccountID: [Posting]] = [:]
        var count = 0
        /// By stream: the latest.
        var positions: [UInt64: LoggedPosition] = [:]
    }
    private let state = NIOLockedValueBox(State())

    var count: Int { state.withLockedValue { $0.count } }

    func append(_ postings: some Sequence<Posting>) {
        state.withLockedValue { state in
            for posting in postings where Self.insert(posting, into: &state.postings[posting.owner, default: []]) {
                state.count += 1
            }
        }
    }

    func append(_ positions: some Sequence<LoggedPosition>) {
        state.withLockedValue { state in
            for position in positions { state.positions[position.position.stream] = position }
        }
    }

    /// - Returns: stanzas that are handled.
    func handled(on stream: UInt64, of account: AccountID) -> UInt32? {
        state.withLockedValue { state in
            state.positions[stream].flatMap { $0.position.account == account ? $0.position.handled : nil }
        }
    }

    /// Those of entries up to `log`.
    func positions(upTo log: Int64) -> [StreamPosition] {
        state.withLockedValue { state in state.positions.values.filter { $0.log <= log }.map(\.position) }
    }

    /// Nearly always at the end. A view that is there already stays.
    private static func insert(_ posting: Posting, into postings: inout [Posting]) -> Bool {
        let place = postings.lastIndex { $0.view <= posting.view }.map { $0 + 1 } ?? 0
        if place > 0, postings[place - 1].view == posting.view { return false }
        postings.insert(posting, at: place)
        return true
    }

    func postings(of owner: AccountID, after view: UInt64) -> [Posting] {
        state.withLockedValue { state in
            guard let postings = state.postings[owner] else { return [] }
            let start = postings.lastIndex { $0.view <= view }.map { $0 + 1 } ?? 0
            return Array(postings[start...])
        }
    }

    func posting(of owner: AccountID, _ view: UInt64) -> Posting? {
        state.withLockedValue { state in
            guard let posting = state.postings[owner]?.last(where: { $0.view <= view }), posting.view == view else { return nil }
            return posting
        }
    }

    /// The archived ones that `isWanted`, by view.
    func archived(of owner: AccountID, where isWanted: (Posting, ArchiveMark) -> Bool) -> [Posting] {
        state.withLockedValue { state in
            (state.postings[owner] ?? []).filter { posting in
                guard let mark = posting.archived else { return false }
                return isWanted(posting, mark)
            }
        }
    }

    /// All postings, by owner and view: the order of the table.
    func sorted() -> [Posting] {
        let all = state.withLockedValue { $0.postings }
        return all.keys.sorted().flatMap { all[$0] ?? [] }
    }

    /// Forgets the postings of entries up to `log`: the table has them.
    func removeAll(upTo log: Int64) {
        state.withLockedValue { state in
            state.postings = state.postings.compactMapValues { postings in
                let rest = postings.filter { $0.log > log }
                return rest.isEmpty ? nil : rest
            }
            state.count = state.postings.values.reduce(0) { $0 + $1.count }
            state.positions = state.positions.filter { $0.value.log > log }
        }
    }
}
