package import Logging
package import MartletCore
package import MartletLDAP
package import NIOCore

/// Whoever keeps what a feed says.
package protocol FeedKeeper: Sendable {
    /// - Parameter isLive: whether the feed is up to date with the directory after these.
    /// - Returns: whether something is kept back of it (``SafetyBrake``): then the next look is at the whole.
    func take(_ effects: [FeedEffect], isLive: Bool) async -> Bool
    func contactLost() async
}

/// Follows one search of a directory for as long as the server runs: again after each failure, and longer after each up to half a minute.
///
/// It has a connection of its own: a search is read as fast as it is looked at, and whatever else is asked on that connection waits meanwhile. So neither of two
/// searches waits for the other, and one that a server refuses does not end the other one.
package actor FeedService {
    package struct Settings: Sendable {
        /// What it is that is followed, for the log.
        package var name: String
        package var base: String
        package var filter: LDAPFilter
        package var attributes: [String]
        /// How changes are found out; `nil`: by the best way that the server has.
        package var detection: ChangeDetection?

        package init(_ name: String, base: String, filter: LDAPFilter, attributes: [String], detection: ChangeDetection? = nil) {
            self.name = name
            self.base = base
            self.filter = filter
            self.attributes = attributes
            self.detection = detection
        }
    }

    package nonisolated let settings: Settings
    private let client: DirectoryClient
    private let time: any TimeSource
    private let timers: any EventLoop
    private let log: Logger

    private enum State {
        case idle
        case following(Task<Void, Never>)
        case closed
    }
    private var state = State.idle
    private var consumer: FeedConsumer?
    private var connection: LDAPFeedConnection?
    private var pause: Scheduled<Void>?
    private var failures = 0
    private var keepsBack = false
    private var looksAgain = false
    /// Why it is not followed, if it is not.
    package private(set) var fault: String?

    /// - Parameters:
    ///   - client: nobody else's.
    ///   - timers: whose timers are used.
    package init(_ settings: Settings, _ client: DirectoryClient, time: any TimeSource, timers: any EventLoop, log: Logger) {
        self.settings = settings
        self.client = client
        self.time = time
        self.timers = timers
        self.log = log
    }

    // MARK: Life

    /// - Parameter cookie: up to where everything is known.
    package func begin(from cookie: [UInt8]?, for keeper: any FeedKeeper) {
        guard case .idle = state else { return }
        state = .following(Task { await self.follow(from: cookie, keeper) })
    }

    package func stop() async {
        let before = state
        state = .closed
        pause?.cancel()
        await connection?.close()
        await client.close()
        if case .following(let task) = before { await task.value }
    }

    /// Looks at the whole once more, at once.
    package func lookAgain() async {
        guard let connection else { return }
        looksAgain = true
        await connection.close()
    }

    private var isClosed: Bool { if case .closed = state { true } else { false } }

    private func follow(from cookie: [UInt8]?, _ keeper: any FeedKeeper) async {
        while !isClosed {
            let end = await followOnce(from: cookie, keeper)
            connection = nil
            await keeper.contactLost()
            guard !isClosed else { return }
            if keepsBack || looksAgain { consumer?.readAnew() }
            // It was closed by this side, or a better server is back.
            if looksAgain || end == .failure(.closed) {
                looksAgain = false
                continue
            }
            report(end)
            failures += 1
            await rest()
        }
    }

    private enum End: Equatable {
        case end(FeedFollower.End)
        case failure(DirectoryFailure)
    }

    private func followOnce(from cookie: [UInt8]?, _ keeper: any FeedKeeper) async -> End {
        do throws(DirectoryFailure) {
            let service = try await client.service()
            let tier = settings.detection ?? ChangeDetection(supportedControls: service.root.controls)
            let question = FeedQuestion(
                base: settings.base, filter: settings.filter, attributes: settings.attributes, identifier: FeedQuestion.identifier(of: service.root),
                detection: tier)
            let connection = LDAPFeedConnection(service.connection, question, timers: timers)
            self.connection = connection
            var consumer = consumer.flatMap { $0.follows(by: tier) ? $0 : nil } ?? FeedConsumer(tier, cookie: cookie)
            let end = await FeedFollower(time: time).follow(connection, with: &consumer) { effects, isLive in await self.take(effects, isLive, keeper) }
            self.consumer = consumer
            if end == .connectionLost, let failure = await connection.failure { return .failure(failure) }
            return .end(end)
        } catch {
            return .failure(error)
        }
    }

    /// - Returns: whether to go on with the connection.
    private func take(_ effects: [FeedEffect], _ isLive: Bool, _ keeper: any FeedKeeper) async -> Bool {
        keepsBack = await keeper.take(effects, isLive: isLive)
        if isLive, failures > 0 {
            log.notice("a part of the directory is followed again", metadata: ["part": "\(settings.name)", "base": "\(settings.base)"])
            (fault, failures) = (nil, 0)
        }
        return !isClosed
    }

    // MARK: Failures

    private func report(_ end: End) {
        // Why it is left alone says more than that it is.
        if end == .failure(.resting), fault != nil { return }
        let words =
            switch end {
            case .failure(let failure): "\(failure)"
            case .end(.fault(let fault)): "\(fault)"
            case .end(.connectionLost), .end(.stopped): "the connection was lost"
            }
        if fault != words {
            log.warning(
                "a part of the directory cannot be followed now", metadata: ["part": "\(settings.name)", "base": "\(settings.base)", "reason": "\(words)"])
        }
        fault = words
    }

    private func rest() async {
        let pause = timers.scheduleTask(in: .milliseconds(min(500 << Int64(min(failures, 6)), 30_000))) {}
        self.pause = pause
        try? await pause.futureResult.get()
    }
}
