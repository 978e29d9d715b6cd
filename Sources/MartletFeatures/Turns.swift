import Synchronization

/// Who changes something of an owner's that has to be read, waited for, and written as a whole: one at a time, in the order in which they came.
///
/// A reload of the configuration makes new turns: who has one of the old ones may meet one of the new ones, once.
final class Turns<Owner: Hashable & Sendable>: Sendable {
    /// Who may wait for a turn at one owner; as many as an account can have sessions.
    static var waitingMax: Int { 64 }

    // Entered from whatever loop a request came on; held for a look into a dictionary.
    private let waiting = Mutex<[Owner: [CheckedContinuation<Bool, Never>]]>([:])

    /// - Returns: whether it is one's turn, which ends with ``leave(_:)``; `false` at once if too many wait.
    func enter(_ owner: Owner) async -> Bool {
        // A continuation, because the turn ends in another task.
        await withCheckedContinuation { continuation in
            let answer: Bool? = waiting.withLock { waiting in
                guard let others = waiting[owner] else {
                    waiting[owner] = []
                    return true
                }
                guard others.count < Self.waitingMax else { return false }
                waiting[owner, default: []].append(continuation)
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
    }

    func leave(_ owner: Owner) {
        let next = waiting.withLock { waiting -> CheckedContinuation<Bool, Never>? in
            guard waiting[owner]?.isEmpty == false else {
                waiting[owner] = nil
                return nil
            }
            return waiting[owner]?.removeFirst()
        }
        next?.resume(returning: true)
    }
}
