package import Logging
package import MartletCore
package import MartletLDAP
package import NIOCore

/// Follows all entries at and below one, for whoever looks at them as a whole. They are kept in memory, and read anew with each start.
///
/// An actor: nobody waits for it.
package actor FollowedSubtree {
    package struct Question: Sendable {
        package var base: String
        package var filter: LDAPFilter
        package var attributes: [String]
        /// How changes are found out; `nil`: by the best way that the server has.
        package var detection: ChangeDetection?

        package init(base: String, filter: LDAPFilter, attributes: [String], detection: ChangeDetection? = nil) {
            self.base = base
            self.filter = filter
            self.attributes = attributes
            self.detection = detection
        }
    }

    /// Entries that are followed at most, and octets of their names and values.
    package static let (entriesMax, bytesMax) = (20_000, 16 << 20)

    package enum Notice: Hashable, Sendable {
        /// All that there are, as far as can be known: something has changed, or the server is another.
        case entries([LDAPEntry], server: String)
        /// They are not followed at the moment, and why; whatever was said before still stands.
        case lost(String)
    }

    private let client: DirectoryClient
    private let question: Question
    private let time: any TimeSource
    private let timers: any EventLoop
    private let log: Logger
    private let tell: @Sendable (Notice) async -> Void

    private var run: Task<Void, Never>?
    private var isClosed = false
    private var consumer: FeedConsumer?
    private var entries = SubtreeEntries()
    private var server = ""
    /// Whether something has changed that nobody was told of.
    private var isTold = false
    private var failures = 0
    private var fault: String?
    private var pause: Scheduled<Void>?
    private var connection: LDAPFeedConnection?

    /// - Parameters:
    ///   - timers: whose timers are used.
    ///   - tell: told one thing after the other; the directory is read no faster.
    package init(
        _ client: DirectoryClient, _ question: Question, time: any TimeSource, timers: any EventLoop, log: Logger,
        tell: @escaping @Sendable (Notice) async -> Void
    ) {
        self.client = client
        self.question = question
        self.time = time
        self.timers = timers
        self.log = log
        self.tell = tell
    }

    package func begin() {
        // For as long as the server runs; nobody waits for its end but stop().
        if run == nil { run = Task { await self.follow() } }
    }

    package func stop() async {
        isClosed = true
        pause?.cancel()
        await connection?.close()
        await client.close()
        await run?.value
    }

    private func follow() async {
        while !isClosed {
            let why = await followOnce()
            guard !isClosed else { return }
            if fault != why {
                log.warning("entries of the directory cannot be followed now", metadata: ["base": "\(question.base)", "reason": "\(why)"])
                fault = why
                await tell(.lost(why))
            }
            failures += 1
            await rest()
        }
    }

    /// - Returns: why it has ended.
    private func followOnce() async -> String {
        do throws(DirectoryFailure) {
            let service = try await client.service()
            let detection = question.detection ?? ChangeDetection(supportedControls: service.root.controls)
            let feed = FeedQuestion(
                base: question.base, filter: question.filter, attributes: question.attributes, identifier: FeedQuestion.identifier(of: service.root),
                detection: detection)
            server = "\(service.connection.address)"
            let connection = LDAPFeedConnection(service.connection, feed, timers: timers)
            self.connection = connection
            defer { self.connection = nil }
            var consumer = consumer.flatMap { $0.follows(by: detection) ? $0 : nil } ?? FeedConsumer(detection)
            isTold = false
            let end = await FeedFollower(time: time).follow(connection, with: &consumer) { effects, isLive in await self.take(effects, isLive: isLive) }
            self.consumer = consumer
            if entries.isTooLarge {
                (entries, self.consumer) = (SubtreeEntries(), nil)
                return "there are more than \(Self.entriesMax) entries, or \(Self.bytesMax) bytes of them"
            }
            switch end {
            case .connectionLost: return await connection.failure.map { "\($0)" } ?? "the connection was lost"
            case .fault(let fault): return "\(fault)"
            case .stopped: return "the connection was closed"
            }
        } catch {
            return "\(error)"
        }
    }

    /// - Returns: whether to go on with the connection.
    private func take(_ effects: [FeedEffect], isLive: Bool) async -> Bool {
        for effect in effects where entries.apply(effect) { isTold = false }
        guard !isClosed, !entries.isTooLarge else { return false }
        guard isLive else { return true }
        (fault, failures) = (nil, 0)
        if !isTold {
            isTold = true
            await tell(.entries(entries.all, server: server))
        }
        return !isClosed
    }

    /// Longer after each failure, up to half a minute.
    private func rest() async {
        guard !isClosed else { return }
        let pause = timers.scheduleTask(in: .milliseconds(min(500 << Int64(min(failures, 6)), 30_000))) {}
        self.pause = pause
        try? await pause.futureResult.get()
    }
}

/// Entries that are followed. Pure.
package struct SubtreeEntries: Sendable {
    private var entries: [EntryUUID: LDAPEntry] = [:]
    private var byteCount = 0

    package init() {}

    package var all: [LDAPEntry] { Array(entries.values) }
    package var isTooLarge: Bool { entries.count > FollowedSubtree.entriesMax || byteCount > FollowedSubtree.bytesMax }

    /// - Returns: whether anything has changed.
    package mutating func apply(_ effect: FeedEffect) -> Bool {
        switch effect {
        case .change(.entry(let uuid, let entry)): return set(uuid, entry)
        case .change(.gone(let uuid)): return set(uuid, nil)
        case .change(.goneNamed(let name)): return uuid(named: name).map { set($0, nil) } ?? false
        case .refreshed(let end): return entries.keys.filter(end.removes).reduce(false) { set($1, nil) || $0 }
        case .keepCookie, .search, .failed: return false
        }
    }

    private mutating func set(_ uuid: EntryUUID, _ entry: LDAPEntry?) -> Bool {
        let before = entries[uuid]
        guard before != entry else { return false }
        entries[uuid] = entry
        byteCount += (entry?.byteCount ?? 0) - (before?.byteCount ?? 0)
        return true
    }

    private func uuid(named name: String) -> EntryUUID? {
        guard let wanted = try? DistinguishedName(name) else { return nil }
        return entries.first { (try? DistinguishedName($0.value.name)) == wanted }?.key
    }
}

extension LDAPEntry {
    fileprivate var byteCount: Int {
        attributes.reduce(name.utf8.count) { sum, attribute in attribute.values.reduce(sum + attribute.description.utf8.count) { $0 + $1.count } }
    }
}
