/// Holds back what looks like a mistake: a base or a filter that was changed, or rights that were taken from the server, and all accounts are gone at once.
///
/// Nothing of such a refresh is removed until an operator says so, or until another look at the whole directory, a while later, finds the same. What a directory
/// tells one by one, while it is followed, is meant.
package struct SafetyBrake: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        case released
        /// Since a moment, in milliseconds since 1970.
        case holding(since: Int64, accounts: Int)
    }

    /// Accounts that may always go at once.
    package static let accountsMin = 10
    /// Of all accounts, in percent, how many may unless an operator says otherwise.
    package static let percent = 20
    /// Between two looks.
    package static let secondLookMilliseconds: Int64 = 600_000

    package private(set) var state = State.released
    private let percent: Int

    /// - Parameter percent: of all accounts, how many may go at once if these are more than ``accountsMin``.
    package init(percent: Int = Self.percent) { self.percent = percent }

    package var isHolding: Bool { state != .released }

    /// How many are held.
    package var accounts: Int { if case .holding(_, let accounts) = state { accounts } else { 0 } }

    /// When to look again at the whole directory.
    package var secondLook: Int64? { if case .holding(let since, _) = state { since + Self.secondLookMilliseconds } else { nil } }

    /// Whether what a refresh has found is held back.
    ///
    /// - Parameters:
    ///   - vanishing: accounts that would go.
    ///   - count: all accounts.
    mutating func holds(_ vanishing: Int, of count: Int, now: Int64) -> Bool {
        guard vanishing > max(Self.accountsMin, count * percent / 100) else {
            state = .released
            return false
        }
        switch state {
        case .released: state = .holding(since: now, accounts: vanishing)
        case .holding(let since, _):
            if now >= since + Self.secondLookMilliseconds {
                state = .released
                return false
            }
            state = .holding(since: since, accounts: vanishing)
        }
        return true
    }

    mutating func release() { state = .released }
}
