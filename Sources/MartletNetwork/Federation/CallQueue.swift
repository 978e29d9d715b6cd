import NIOConcurrencyHelpers

/// How many other servers are called at a time, whoever calls them (`reliability.md` rule 32). Shared by all loops.
package final class CallQueue: Sendable {
    private struct State {
        var running = 0
        var waiting: [@Sendable () -> Void] = []
    }
    private let state = NIOLockedValueBox(State())
    private let runningMax: Int
    private let waitingMax: Int

    package init(runningMax: Int, waitingMax: Int) {
        self.runningMax = runningMax
        self.waitingMax = waitingMax
    }

    /// - Parameter enter: done when there is a place, which whoever asked gives back by ``leave()``.
    /// - Returns: whether there may be one some time.
    package func enter(_ enter: @escaping @Sendable () -> Void) -> Bool {
        let isAtOnce: Bool? = state.withLockedValue { state in
            if state.running < runningMax {
                state.running += 1
                return true
            }
            guard state.waiting.count < waitingMax else { return nil }
            state.waiting.append(enter)
            return false
        }
        if isAtOnce == true { enter() }
        return isAtOnce != nil
    }

    package func leave() {
        let next: (@Sendable () -> Void)? = state.withLockedValue { state in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.running -= 1
            return nil
        }
        next?()
    }
}
