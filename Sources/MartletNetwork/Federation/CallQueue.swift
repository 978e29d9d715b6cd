package import MartletXMPP
import NIOConcurrencyHelpers

/// How many other servers are called at a time, whoever calls them (`reliability.md` rule 32). Shared by all loops.
///
/// Calls on behalf of one address leave room for those of others, however many there are: it has at most a quarter of the places and half of
/// the waiting room, and whoever has the fewest places is next.
package final class CallQueue: Sendable {
    private struct Waiting {
        let party: BareJID?
        let enter: @Sendable () -> Void
    }
    private struct State {
        var running = 0
        /// Of those with an address on whose behalf they are.
        var places: [BareJID: Int] = [:]
        var waiting: [Waiting] = []
    }
    private let state = NIOLockedValueBox(State())
    private let runningMax: Int
    private let waitingMax: Int
    private let partyMax: Int
    private let partyWaitingMax: Int

    package init(runningMax: Int, waitingMax: Int) {
        self.runningMax = runningMax
        self.waitingMax = waitingMax
        partyMax = max(1, runningMax / 4)
        partyWaitingMax = max(1, waitingMax / 2)
    }

    /// - Parameters:
    ///   - party: on whose behalf; `nil` for what nobody has a share of.
    ///   - enter: done when there is a place, which whoever asked gives back by ``leave(for:)``.
    /// - Returns: whether there may be one some time.
    package func enter(for party: BareJID? = nil, _ enter: @escaping @Sendable () -> Void) -> Bool {
        let isAtOnce: Bool? = state.withLockedValue { state in
            if state.running < runningMax, hasShare(party, state) {
                Self.takePlace(party, in: &state)
                return true
            }
            guard state.waiting.count < waitingMax else { return nil }
            if let party, state.waiting.count(where: { $0.party == party }) >= partyWaitingMax { return nil }
            state.waiting.append(Waiting(party: party, enter: enter))
            return false
        }
        if isAtOnce == true { enter() }
        return isAtOnce != nil
    }

    package func leave(for party: BareJID? = nil) {
        let next: Waiting? = state.withLockedValue { state in
            state.running -= 1
            if let party { state.places[party] = state.places[party].flatMap { $0 > 1 ? $0 - 1 : nil } }
            let able = state.waiting.indices.filter { hasShare(state.waiting[$0].party, state) }
            guard let first = able.min(by: { Self.places(state.waiting[$0].party, state) < Self.places(state.waiting[$1].party, state) }) else { return nil }
            let next = state.waiting.remove(at: first)
            Self.takePlace(next.party, in: &state)
            return next
        }
        next?.enter()
    }

    private func hasShare(_ party: BareJID?, _ state: State) -> Bool { Self.places(party, state) < partyMax }

    private static func places(_ party: BareJID?, _ state: State) -> Int { party.flatMap { state.places[$0] } ?? 0 }

    private static func takePlace(_ party: BareJID?, in state: inout State) {
        state.running += 1
        if let party { state.places[party, default: 0] += 1 }
    }
}
