package import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore
import Synchronization

/// Follows the block lists that the operator has chosen, in the name of one of the server's domains. One for the whole server, also after a reload.
///
/// What was known of a list is in force from the start (``SharedListStore``), before whoever shares it can be reached, and for as long as he cannot be.
package final class SharedListKeeper: Sendable {
    package let lists = SharedBlockLists()
    private let time: any TimeSource
    private let random: any RandomSource
    // Answers and events come on any loop; each takes a moment.
    private let state = Mutex(State())

    private struct State {
        /// In whose name the lists are asked for.
        var domain: BareJID?
        var feeds: [SharedListName: SharedListFeed] = [:]
        /// When all of a list was fetched, in milliseconds since 1970; of lists that are on disk.
        var fetched: [SharedListName: Int64] = [:]
    }

    /// How a list is doing, for the operator.
    package struct Report: Hashable, Sendable {
        package enum State: String, Hashable, Sendable { case waiting, asking, following }
        package let name: SharedListName
        package let state: State
        package let entries: Int
        /// When all of it was fetched, in milliseconds since 1970; `nil`: never.
        package let fetched: Int64?
        /// Why it is not followed.
        package let trouble: String?
    }

    package init(time: any TimeSource, random: any RandomSource = SystemRandom()) {
        self.time = time
        self.random = random
    }

    package var reports: [Report] {
        let (feeds, fetched) = state.withLock { ($0.feeds, $0.fetched) }
        return feeds.map { name, feed in
            Report(name: name, state: feed.report, entries: lists.count(of: name), fetched: fetched[name], trouble: feed.trouble)
        }.sorted { $0.name.description < $1.name.description }
    }

    // MARK: Which lists there are

    /// At the start, before anybody is heard: what was known of the lists is in force.
    package func load(_ names: [SharedListName], from store: any Store) async throws(StoreError) {
        for list in try await store.sharedLists() where names.contains(list.name) {
            lists.set(list.entries, of: list.name)
            state.withLock { $0.fetched[list.name] = list.fetched }
        }
    }

    /// These are to be followed, and no others: at the start, and after a reload.
    ///
    /// - Parameters:
    ///   - domain: in whose name.
    ///   - own: the domains of this server, those of services included.
    package func follow(_ names: [SharedListName], as domain: BareJID, own: Set<String>, _ router: Router, on mailbox: LoopMailbox) {
        lists.setOwn(own)
        let now = time.monotonic
        let (gone, before) = state.withLock { state in
            let gone = Set(state.feeds.keys).subtracting(names)
            for name in gone { (state.feeds[name], state.fetched[name]) = (nil, nil) }
            for name in names where state.feeds[name] == nil || state.domain != domain { state.feeds[name] = SharedListFeed(node: name.node, at: now) }
            defer { state.domain = domain }
            return (gone, state.domain)
        }
        for name in gone {
            lists.remove(name)
            write(.forget(name), name, router.store)
        }
        guard let before, !gone.isEmpty else { return }
        let random = random
        mailbox.run { context in
            // Whether that is heard is of no interest: what it tells is not listened to any more.
            for name in gone {
                let request = OwnRequest(id: random.token(), to: .bare(name.service), payload: SharedListFeed.unsubscription(name.node, of: before))
                router.ask(request, inNameOf: before, context) { _, _, _ in }
            }
            context.runEffects()
        }
    }

    /// Lists that nobody wants any more are forgotten. Once, at the start.
    package func forgetOthers(than names: [SharedListName], in store: any Store) async throws(StoreError) {
        let others = try await store.sharedLists().map(\.name).filter { !names.contains($0) }
        if !others.isEmpty { try await store.commit(others.map { .sharedList(.forget($0)) }) }
    }

    // MARK: Time

    /// Every few seconds.
    package func wake(_ router: Router, on mailbox: LoopMailbox) {
        let now = time.monotonic
        let due = state.withLock { state in
            var due: [(SharedListName, [SharedListFeed.Action])] = []
            for name in Array(state.feeds.keys) {
                if let actions = state.feeds[name]?.wake(at: now, random), !actions.isEmpty { due.append((name, actions)) }
            }
            return due
        }
        guard !due.isEmpty else { return }
        mailbox.run { [self] context in
            for (name, actions) in due { perform(actions, name, router, context) }
            context.runEffects()
        }
    }

    // MARK: What comes

    /// A message has come for a domain itself. With no lock held.
    ///
    /// - Returns: whether it was an event of a service that is followed.
    func heard(_ message: Stanza, _ router: Router, _ context: LoopContext) -> Bool {
        guard case .bare(let sender) = message.from, message.to == state.withLock({ $0.domain }).map(JID.bare), case .message(let type) = message.kind
        else { return false }
        return type != .error && told(message, by: sender, router, context)
    }

    private func take(_ answer: SharedListFeed.Answer, _ id: String, of name: SharedListName, _ router: Router, _ context: LoopContext) {
        let now = time.monotonic
        let actions = state.withLock { state in
            // It may have been asked before a reload, in the name of another domain.
            state.feeds[name]?.awaits(id) == true ? state.feeds[name]?.take(answer, at: now, random) : nil
        }
        perform(actions ?? [], name, router, context)
    }

    private func told(_ message: Stanza, by sender: BareJID, _ router: Router, _ context: LoopContext) -> Bool {
        guard let event = message.element.root.firstChild("event", .pubsubEvent) else { return false }
        let now = time.monotonic
        let changes = state.withLock { state in
            var changes: [(SharedListName, [SharedListFeed.Action])] = []
            for name in Array(state.feeds.keys) where name.service == sender {
                changes.append((name, state.feeds[name]?.take(event: event, at: now) ?? []))
            }
            return changes
        }
        for (name, actions) in changes { perform(actions, name, router, context) }
        return !changes.isEmpty
    }

    // MARK: What comes of it

    private func perform(_ actions: [SharedListFeed.Action], _ name: SharedListName, _ router: Router, _ context: LoopContext) {
        for action in actions {
            switch action {
            case .ask(let kind, let id, let payload): ask(kind, id, payload, name, router, context)
            case .replace(let entries): replace(entries, name, router)
            case .change(let added, let removed):
                let (added, removed) = lists.change(name, adding: added, removing: removed)
                if !added.isEmpty || !removed.isEmpty { write(.change(name, adding: added, removing: removed, fetched: nil), name, router.store) }
            }
        }
    }

    private func ask(_ kind: IQRequest.Kind, _ id: String, _ payload: ByteBuffer, _ name: SharedListName, _ router: Router, _ context: LoopContext) {
        guard let domain = state.withLock({ $0.domain }) else { return }
        // A subscription needs to know in whose name it is.
        let payload = kind == .set ? SharedListFeed.subscription(name.node, of: domain) : payload
        let request = OwnRequest(kind, id: id, to: .bare(name.service), payload: payload)
        router.ask(request, inNameOf: domain, within: SharedListFeed.answerWithin, context) { [self] outcome, answer, context in
            take(.init(outcome, answer), id, of: name, router, context)
        }
    }

    /// Only what is another is written.
    private func replace(_ entries: Set<SharedListEntry>, _ name: SharedListName, _ router: Router) {
        let now = time.wallMilliseconds
        let old = lists.set(entries, of: name)
        let isOnDisk = state.withLock { state in
            defer { state.fetched[name] = now }
            return state.fetched[name] != nil
        }
        if let old, isOnDisk {
            write(.change(name, adding: entries.subtracting(old), removing: old.subtracting(entries), fetched: now), name, router.store)
        } else {
            write(.replace(StoredSharedList(name: name, fetched: now, entries: entries)), name, router.store)
        }
    }

    /// What the disk refuses is written whole when the list is fetched the next time.
    private func write(_ change: SharedListChange, _ name: SharedListName, _ store: any Store) {
        store.submit([.sharedList(change)]) { [self] outcome in
            if case .failure = outcome { state.withLock { $0.fetched[name] = nil } }
        }
    }
}

extension SharedListFeed.Answer {
    fileprivate init(_ outcome: RequestOutcome, _ answer: Stanza?) {
        switch outcome {
        case .result: self = .result(answer?.element.root.firstChild)
        case .error(let error): self = .error(error)
        case .noAnswer: self = .missing
        }
    }
}

extension SharedListFeed {
    fileprivate var report: SharedListKeeper.Report.State {
        switch state {
        case .resting: .waiting
        case .subscribing, .fetching: .asking
        case .following: .following
        }
    }
}
