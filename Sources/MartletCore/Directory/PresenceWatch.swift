package import MartletXMPP
import Synchronization

/// What has become of an account's presence.
package struct PresenceChange: Hashable, Sendable {
    package var address: BareJID
    /// `nil` if the viewer may see nothing of it, or no more.
    package var presence: PresenceSummary?

    package init(_ address: BareJID, _ presence: PresenceSummary?) {
        self.address = address
        self.presence = presence
    }
}

/// The presence of some accounts as it goes on: at first of all of them, then of those whose has changed. It ends when it is not held any more.
///
/// What the viewer may see is decided anew each time. Changes that come while somebody is busy with earlier ones are told together, each
/// account once.
package final class PresenceWatch: AsyncSequence, Sendable {
    package typealias Element = [PresenceChange]
    package typealias Failure = Never

    /// Most accounts of one watch.
    package static let targetsMax = 200
    /// Most watches at a time.
    package static let countMax = 1_000
    /// How long a change may wait for others.
    package static let coalescing = Duration.milliseconds(200)

    private let view: PresenceView
    private let viewer: PresenceViewer
    private let targets: Set<BareJID>
    private let interval: Duration
    private let changed: ChangedPresences

    fileprivate init(_ view: PresenceView, of targets: Set<BareJID>, for viewer: PresenceViewer, every interval: Duration) {
        self.view = view
        self.viewer = viewer
        self.targets = targets
        self.interval = interval
        changed = ChangedPresences(targets)
        for target in targets {
            let shard = view.router.placement.shard(of: target)
            shard.withLock { shard.watchedPresences[target, default: []].append(changed) }
        }
    }

    deinit {
        changed.end()
        for target in targets {
            let shard = view.router.placement.shard(of: target)
            shard.withLock {
                shard.watchedPresences[target]?.removeAll { $0 === changed }
                if shard.watchedPresences[target]?.isEmpty ?? false { shard.watchedPresences[target] = nil }
            }
        }
        view.router.presenceWatchCount.subtract(1, ordering: .relaxed)
    }

    package func makeAsyncIterator() -> Iterator { Iterator(watch: self, signals: changed.signals.makeAsyncIterator()) }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let watch: PresenceWatch
        fileprivate var signals: AsyncStream<Void>.Iterator

        /// `nil` once the task is cancelled.
        package mutating func next() async -> [PresenceChange]? {
            while await signals.next() != nil {
                // Cancelled: the next signal says so.
                if watch.interval > .zero { try? await Task.sleep(for: watch.interval) }
                let changes = await watch.takeChanges()
                if !changes.isEmpty { return changes }
            }
            return nil
        }
    }

    private func takeChanges() async -> [PresenceChange] {
        let addresses = changed.take()
        let presences = await view.presence(of: addresses, for: viewer)
        return zip(addresses, presences).map { PresenceChange($0, $1) }
    }
}

/// Those of a watch whose presence has changed. What changes is told under the lock of a shard, hence the `Mutex`; whoever waits is woken afterwards.
final class ChangedPresences: Sendable {
    fileprivate let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation
    private let addresses: Mutex<Set<BareJID>>

    fileprivate init(_ targets: Set<BareJID>) {
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        addresses = Mutex(targets)
        signal.yield()
    }

    /// Memory only: allowed under a shard's lock.
    func note(_ address: BareJID) { _ = addresses.withLock { $0.insert(address) } }

    func wake() { signal.yield() }

    fileprivate func end() { signal.finish() }

    fileprivate func take() -> [BareJID] {
        let taken = addresses.withLock { addresses in
            defer { addresses = [] }
            return addresses
        }
        return taken.sorted { $0.description < $1.description }
    }
}

extension PresenceView {
    /// Follows the presence of `targets`, as much of it as `viewer` may see.
    ///
    /// - Parameter interval: how long a change may wait for others.
    /// - Returns: `nil` for more than ``PresenceWatch/targetsMax`` accounts, or if there are ``PresenceWatch/countMax`` watches.
    package func watch(_ targets: Set<BareJID>, for viewer: PresenceViewer, every interval: Duration = PresenceWatch.coalescing) -> PresenceWatch? {
        guard targets.count <= PresenceWatch.targetsMax else { return nil }
        guard router.presenceWatchCount.add(1, ordering: .relaxed).newValue <= PresenceWatch.countMax else {
            router.presenceWatchCount.subtract(1, ordering: .relaxed)
            return nil
        }
        return PresenceWatch(self, of: targets, for: viewer, every: interval)
    }
}

extension Router {
    /// Tells those who watch an account's presence that something about it has changed. Under the lock.
    @inline(__always)
    func notePresenceChange(of home: AccountHome, _ context: LoopContext) {
        if home.shard.watchedPresences.isEmpty { return }
        tellWatches(of: home, context)
    }

    private func tellWatches(of home: AccountHome, _ context: LoopContext) {
        for changed in home.shard.watchedPresences[home.address] ?? [] {
            changed.note(home.address)
            context.after { _ in changed.wake() }
        }
    }
}
