package import MartletXMPP
import Synchronization

/// The presence of accounts for those who are not there by XMPP, as much of it as each may see (`directory.md` §4.3).
///
/// For the control plane: answers come from memory where the account is there, and are read otherwise. Whoever may not see an account, and
/// whoever asks after one that does not exist, gets the same: nothing.
package struct PresenceView: Sendable {
    /// Accounts that are looked at in one turn of the loop.
    static let batchMax = 100
    /// Most accounts that are looked at to find those whose presence is of some kind; past it nothing is answered.
    package static let candidatesMax = 2_000

    /// So many would have to be looked at that it is not done.
    package enum Failure: Error, Hashable { case tooMany, unavailable }

    package let router: Router
    package let mailbox: LoopMailbox

    /// - Parameter mailbox: of the loop that looks.
    package init(_ router: Router, on mailbox: LoopMailbox) {
        self.router = router
        self.mailbox = mailbox
    }

    /// What `viewer` may see of each of `targets`, in their order; `nil` for nothing.
    package func presence(of targets: [BareJID], for viewer: BareJID?) async -> [PresenceSummary?] {
        await presence(of: targets, for: PresenceViewer(viewer))
    }

    package func presence(of targets: [BareJID], for viewer: PresenceViewer) async -> [PresenceSummary?] {
        if viewer == .anonymous { return targets.map { _ in nil } }
        let contacts = await contacts(of: viewer)
        var answers: [PresenceSummary?] = []
        answers.reserveCapacity(targets.count)
        while answers.count < targets.count {
            answers += await look(at: targets[answers.count...].prefix(Self.batchMax), for: viewer, contacts)
        }
        return answers
    }

    /// Whose presence an account of this server sees by XMPP; `nil` for whoever has no account here: only those whom he sees know of that.
    private func contacts(of viewer: PresenceViewer) async -> Set<BareJID>? {
        guard case .account(let account) = viewer else { return [] }
        return await withCheckedContinuation { continuation in
            mailbox.run { context in
                guard context.hosts.host(of: account) != nil else { return continuation.resume(returning: nil) }
                router.withHome(of: account, context) { home, context in
                    let contacts = home.isResident ? Set(home.roster.subscriptions) : []
                    router.shardIdle(home)
                    context.after { _ in continuation.resume(returning: contacts) }
                }
                context.runEffects()
            }
        }
    }

    private func look(at targets: ArraySlice<BareJID>, for viewer: PresenceViewer, _ contacts: Set<BareJID>?) async -> [PresenceSummary?] {
        await withCheckedContinuation { continuation in
            let answers = Answers(count: targets.count, continuation)
            mailbox.run { context in
                for (place, target) in targets.enumerated() { look(at: target, for: viewer, contacts, context) { answers.put($0, at: place) } }
                context.runEffects()
            }
        }
    }

    private func look(
        at target: BareJID, for viewer: PresenceViewer, _ contacts: Set<BareJID>?, _ context: LoopContext,
        _ answer: @escaping @Sendable (PresenceSummary?) -> Void
    ) {
        guard !target.isDomain, let rights = context.hosts.host(of: target)?.presenceRights else { return answer(nil) }
        let granted = rights.granted(by: rights.rules(for: viewer), of: target)
        // Most people of a directory are strangers: they are not read from the disk.
        guard granted > .none || viewer == .account(target) || contacts?.contains(target) ?? true else { return answer(nil) }
        router.withHome(of: target, context) { [defaultWish = rights.defaultWish] home, context in
            let summary = home.presence(for: viewer, granted: granted, defaultWish: defaultWish)
            router.shardIdle(home)
            context.after { _ in answer(summary) }
        }
    }

    /// All whose presence `viewer` may see, with what he may see of it, to find those of some kind among them.
    ///
    /// - Parameter online: whether only those are wanted who are there.
    package func visible(to viewer: PresenceViewer, online: Bool) async throws(Failure) -> [(address: BareJID, presence: PresenceSummary)] {
        let candidates = try await candidates(for: viewer, online: online)
        guard candidates.count <= Self.candidatesMax else { throw .tooMany }
        let presences = await presence(of: candidates, for: viewer)
        return zip(candidates, presences).compactMap { address, presence in
            guard let presence, presence.isOnline || !online else { return nil }
            return (address, presence)
        }
    }

    private func candidates(for viewer: PresenceViewer, online: Bool) async throws(Failure) -> [BareJID] {
        if viewer == .anonymous { return [] }
        var all = await contacts(of: viewer) ?? []
        if case .account(let account) = viewer { all.insert(account) }
        for domain in await grantingDomains(to: viewer) {
            if online { all.formUnion(accountsPresent(at: domain)) } else { try await addAccounts(of: domain, to: &all) }
        }
        return all.sorted { $0.description < $1.description }
    }

    /// The domains in which a rule grants the viewer something.
    private func grantingDomains(to viewer: PresenceViewer) async -> [BareJID] {
        await withCheckedContinuation { continuation in
            mailbox.run { context in
                let granting = context.hosts.hosts.filter { $0.presenceRights.rules(for: viewer).contains { $0.level > .none } }
                continuation.resume(returning: granting.map(\.domain))
            }
        }
    }

    private func accountsPresent(at domain: BareJID) -> Set<BareJID> {
        var present: Set<BareJID> = []
        router.placement.forEachShard { shard in
            shard.withLock {
                for home in shard.occupied() where home.hasAvailableSession && domain.isInDomain(of: home.address) { present.insert(home.address) }
            }
        }
        return present
    }

    private func addAccounts(of domain: BareJID, to all: inout Set<BareJID>) async throws(Failure) {
        do throws(StoreError) {
            let accounts = try await router.store.accounts(domain: domain.domainpart, after: nil, limit: Self.candidatesMax + 1)
            all.formUnion(accounts.map(\.address))
        } catch {
            throw .unavailable
        }
    }
}

/// Collects answers that come from whatever loops the accounts were read by.
///
/// A `Mutex`, because answers to accounts that another loop reads come on that loop.
private final class Answers: Sendable {
    private struct State {
        var answers: [PresenceSummary?]
        var missing: Int
    }
    private let state: Mutex<State>
    private let continuation: CheckedContinuation<[PresenceSummary?], Never>

    init(count: Int, _ continuation: CheckedContinuation<[PresenceSummary?], Never>) {
        state = Mutex(State(answers: Array(repeating: nil, count: count), missing: count))
        self.continuation = continuation
    }

    func put(_ answer: PresenceSummary?, at place: Int) {
        let all: [PresenceSummary?]? = state.withLock { state in
            state.answers[place] = answer
            state.missing -= 1
            return state.missing == 0 ? state.answers : nil
        }
        if let all { continuation.resume(returning: all) }
    }
}
