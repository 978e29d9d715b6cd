import MartletCore
import MartletXMPP
import NIOCore

/// Messages that another server will not get come back to who sent them.
extension PeerLink {
    /// Returns these, in order.
    ///
    /// - Parameter done: on the loop, with those of them that were kept, up to the first that could not be returned now: the log need not keep
    ///   them any more.
    func giveBack(_ items: [PeerQueue.Item], _ error: StanzaError, _ done: @escaping ([PeerQueue.Item]) -> Void) {
        let kept = items.filter(\.isKept)
        guard !kept.isEmpty else {
            for item in items { service.router.returnUndelivered(item.stanza, error, loop.context) }
            return done([])
        }
        let bound = NIOLoopBound((answers: Answers(kept.count), done: done), eventLoop: loop.loop)
        var place = 0
        for item in items {
            guard item.isKept else {
                service.router.returnUndelivered(item.stanza, error, loop.context)
                continue
            }
            service.router.returnKept(item.stanza, error, loop.context) { [self, place] isSettled in
                mailbox.run { _ in
                    let (answers, done) = bound.value
                    if answers.take(isSettled, at: place) { done(Array(kept.prefix(answers.settledCount))) }
                }
            }
            place += 1
        }
    }

    /// Returns one message from among others that are still to go.
    ///
    /// - Parameter settled: on the loop, if it was kept and the log need not keep it any more.
    func returnAlone(_ item: PeerQueue.Item, _ error: StanzaError, _ settled: @escaping () -> Void) {
        if item.isKept { goingBack.insert(item.view) }
        giveBack([item], error) { [self] items in
            goingBack.remove(item.view)
            if !items.isEmpty { settled() }
        }
    }

    /// Whether a kept message comes back by itself.
    func isBack(_ view: UInt64) -> Bool { refused.contains(view) || goingBack.contains(view) }

    /// Returns what has been kept since before a moment, in milliseconds since 1970; page by page.
    ///
    /// - Parameter view: of the last message that is dealt with.
    func returnKept(after view: UInt64, before moment: Int64, _ error: StanzaError, _ done: @escaping () -> Void) {
        isReturning = true
        let done = NIOLoopBound(done, eventLoop: loop.loop)
        loop.context.store.messages(of: owner, after: view, limit: Self.pageMax) { [self] result in
            mailbox.run { [self] _ in
                guard case .success(let messages) = result else { return returned(done.value) }
                let late = messages.prefix { $0.time <= moment }
                let items = late.filter { !isBack($0.view) }.map { PeerQueue.Item($0.stanza, view: $0.view, after: $0.view) }
                giveBack(items, error) { [self] settled in
                    settle(settled)
                    guard settled.count == items.count, late.count == Self.pageMax, let last = late.last else { return returned(done.value) }
                    returnKept(after: last.view, before: moment, error, done.value)
                }
            }
        }
    }

    private func returned(_ done: () -> Void) {
        isReturning = false
        done()
        drain()
        loop.context.flushSoon()
    }

    /// What has become of messages that were returned at once.
    private final class Answers {
        private var answers: [Bool]
        private var missing: Int
        init(_ count: Int) { (answers, missing) = (Array(repeating: false, count: count), count) }

        /// - Returns: whether that was the last.
        func take(_ isSettled: Bool, at place: Int) -> Bool {
            answers[place] = isSettled
            missing -= 1
            return missing == 0
        }

        /// Those before the first that could not be returned now.
        var settledCount: Int { answers.firstIndex(of: false) ?? answers.count }
    }
}
