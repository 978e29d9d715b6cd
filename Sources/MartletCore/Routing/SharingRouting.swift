package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

/// Groups have changed, or who is in them: whoever is online learns of it as if it had happened by subscriptions, by roster pushes (RFC 6121 §2.1.6)
/// and by the presence of those whom he sees from now on, and sees no longer.
///
/// Two steps, each in turns with everything else between them: first all accounts that are in use decide by what holds now, then each is told. Only
/// what has changed is looked at. What a change of a group is, is found out once for all who see it.
extension Router {
    /// Accounts that a change may concern before further changes are waited for.
    package static let changesAtOnceMax = 500
    /// For how long.
    package static let changesGather = TimeAmount.milliseconds(200)
    /// Accounts that are gone through before the loop does something else.
    package static let sharingPerTurn = 250
    /// Contacts that accounts are told of before the loop does something else.
    package static let sharedContactsPerTurn = 250

    /// The source says something else of these accounts than before, for good.
    ///
    /// - Parameter accounts: all of whom that is so: if A sees B from now on, B is seen by A, and both are among them.
    package func sharingChanged(of accounts: some Sequence<BareJID>, _ context: LoopContext) {
        let pace = sharing.add(accounts, atOnceMax: Self.changesAtOnceMax)
        begin(pace, context)
    }

    /// An account has come or gone, which may concern groups. With no lock held.
    func standingChanged(of account: BareJID, isThere: Bool, _ context: LoopContext) {
        guard context.hosts.host(of: account)?.sharedRosters != nil else { return }
        begin(sharing.add(account, isThere: isThere), context)
    }

    private func begin(_ pace: SharingChanges.Pace, _ context: LoopContext) {
        switch pace {
        case .nothing: break
        case .now: context.mailbox.run { [self] context in takeSharing(context) }
        case .later: takeSharingLater(context)
        }
    }

    private func takeSharingLater(_ context: LoopContext) {
        _ = context.mailbox.loop.scheduleTask(in: Self.changesGather) { [self, mailbox = context.mailbox] in
            mailbox.run { [self] context in takeSharing(context) }
        }
    }

    private func takeSharing(_ context: LoopContext) {
        var (accounts, standings) = sharing.take()
        for (domain, standings) in Dictionary(grouping: standings, by: \.key.domain) {
            guard let source = context.hosts.host(of: domain)?.sharedRosters else { continue }
            accounts.formUnion(source.accountsChanged(Dictionary(uniqueKeysWithValues: standings.map { ($0.key, $0.value) })))
        }
        share(Array(accounts)[...], SharingTelling(), context)
    }

    // MARK: Deciding

    private func share(_ accounts: ArraySlice<BareJID>, _ telling: SharingTelling, _ context: LoopContext) {
        var telling = telling
        for account in accounts.prefix(Self.sharingPerTurn) {
            if let change = takeSharing(of: account, context) { telling.changes.append(change) }
        }
        let rest = accounts.dropFirst(Self.sharingPerTurn)
        if rest.isEmpty { return tell(telling, context) }
        context.mailbox.run { [self, telling] context in
            share(rest, telling, context)
            context.runEffects()
        }
    }

    /// - Returns: `nil` if nobody has to be told.
    private func takeSharing(of account: BareJID, _ context: LoopContext) -> SharingTelling.Change? {
        let host = context.hosts.host(of: account)
        let change: SharingTelling.Change? = withResidentHome(account) { home in
            let (old, new) = (home.roster.shared, host?.sharedRoster(of: account))
            if old == nil && new == nil || old?.isSame(as: new) == true { return nil }
            home.roster.share(new)
            if !home.sessions.isEmpty { return SharingTelling.Change(account: account, old: old, new: new) }
            home.roster.toldSharing()
            return nil
        } ?? nil
        if let new = change?.new { note(new, of: account) }
        return change
    }

    /// With no lock held.
    func note(_ shared: SharedRoster, of account: BareJID) {
        guard !shared.leftOut.isEmpty, sharing.isNew(leftOut: shared.leftOut.count, of: account) else { return }
        audit.record(.sharedGroupsLeftOut(account, groups: shared.leftOut.map(\.name)))
    }

    // MARK: Telling

    private func tell(_ telling: SharingTelling, _ context: LoopContext) {
        var (telling, room) = (telling, Self.sharedContactsPerTurn)
        while room > 0, let (change, contacts, isLast) = telling.next(upTo: room) {
            tell(change, of: contacts, isLast: isLast, context)
            // An account counts, whether there is anything to tell it of or not.
            room -= max(contacts.count, 1)
        }
        context.runEffects()
        if telling.isDone { return endTelling(context) }
        context.mailbox.run { [self, telling] context in tell(telling, context) }
    }

    private func endTelling(_ context: LoopContext) {
        switch sharing.end() {
        case .nothing: break
        case .now, .later: takeSharingLater(context)
        }
    }

    /// - Parameter isLast: whether there is nothing more to tell the account of.
    private func tell(_ change: SharingTelling.Change, of contacts: ArraySlice<BareJID>, isLast: Bool, _ context: LoopContext) {
        var (gained, lost): ([BareJID], [BareJID]) = ([], [])
        withResidentHome(change.account) { home in
            var shown: [BareJID] = []
            for contact in contacts {
                let (before, now) = (home.roster.shownItem(of: contact, with: change.old), home.roster.shownItem(of: contact, with: change.new))
                if before != now { shown.append(contact) }
                switch (before?.subscription.to ?? false, now?.subscription.to ?? false) {
                case (false, true): gained.append(contact)
                case (true, false): lost.append(contact)
                case (true, true), (false, false): break
                }
            }
            let told = home.toldRosterVersion
            for contact in shown.dropLast() { pushRosterChange(home.roster.sharedChange(of: contact, told: told), home, context) }
            if isLast { home.roster.toldSharing() }
            if let last = shown.last { pushRosterChange(home.roster.sharedChange(of: last, told: told), home, context) }
        }
        for contact in gained { beginSeeing(contact, by: change.account, context) }
        for contact in lost { endSeeing(contact, by: change.account, context) }
    }

    /// As when the account comes online (RFC 6121 §4.3), and hears what the contact has published. With no lock held.
    func beginSeeing(_ contact: BareJID, by account: BareJID, _ context: LoopContext) {
        let sessions = withResidentHome(account) { home in home.blocks(.bare(contact)) ? [] : home.sessions.filter(\.isAvailable) } ?? []
        for session in sessions { probe(contact, for: .full(session.address), ref: session.ref, context) }
        if !sessions.isEmpty { admit(account, at: contact, context) }
    }

    /// With no lock held. Whom the contact has blocked saw it go when that happened.
    private func endSeeing(_ contact: BareJID, by account: BareJID, _ context: LoopContext) {
        let isSeen = withResidentHome(contact) { !$0.blocks(.bare(account)) } ?? false
        if isSeen { hidePresence(of: contact, from: [.bare(account)], context) }
        dismiss(account, from: contact, context)
    }
}

/// Changes of groups that wait, so that one thing is told at a time.
final class SharingChanges: Sendable {
    /// When whoever has something to tell begins with it. Nothing is to be done where something is told already, or there is nothing to tell.
    enum Pace: Hashable, Sendable { case nothing, now, later }

    private struct State {
        var accounts: Set<BareJID> = []
        var standings: [BareJID: Bool] = [:]
        var isUnderWay = false
        /// How many groups were left out of whose roster, as far as that was noted.
        var leftOut: [BareJID: Int] = [:]
    }
    // A leaf: nothing is called from within.
    private let state = NIOLockedValueBox(State())

    /// Accounts of which it is remembered that it was noted; then it is forgotten of all.
    static let notedMax = 10_000

    /// What is added while something is told is taken after that.
    func add(_ accounts: some Sequence<BareJID>, atOnceMax: Int) -> Pace {
        state.withLockedValue { state in
            state.accounts.formUnion(accounts)
            guard !state.isUnderWay, !state.accounts.isEmpty else { return .nothing }
            state.isUnderWay = true
            return state.accounts.count > atOnceMax ? .later : .now
        }
    }

    func add(_ account: BareJID, isThere: Bool) -> Pace {
        state.withLockedValue { state in
            state.standings[account] = isThere
            guard !state.isUnderWay else { return .nothing }
            state.isUnderWay = true
            return .now
        }
    }

    func take() -> (accounts: Set<BareJID>, standings: [BareJID: Bool]) {
        state.withLockedValue { state in
            defer { (state.accounts, state.standings) = ([], [:]) }
            return (state.accounts, state.standings)
        }
    }

    /// - Returns: whether there is more to take.
    func end() -> Pace {
        state.withLockedValue { state in
            state.isUnderWay = !state.accounts.isEmpty || !state.standings.isEmpty
            return state.isUnderWay ? .later : .nothing
        }
    }

    /// Whether it has not been noted yet that so many groups are left out of an account's roster.
    func isNew(leftOut count: Int, of account: BareJID) -> Bool {
        state.withLockedValue { state in
            if state.leftOut[account] == count { return false }
            if state.leftOut.count >= Self.notedMax { state.leftOut = [:] }
            state.leftOut[account] = count
            return true
        }
    }
}

/// Whom a change of groups is told to, and of whom, some contacts at a time. Pure.
struct SharingTelling: Sendable {
    struct Change: Sendable {
        var account: BareJID
        var old: SharedRoster?
        var new: SharedRoster?
    }

    /// What is between two sets of members, or all of one, by which they are.
    private struct Pair: Hashable {
        var old: ObjectIdentifier?
        var new: ObjectIdentifier?
    }

    /// They hold the groups that ``differences`` has by their identity.
    var changes: [Change] = []
    private var position = 0
    /// Of the account at ``position``.
    private var contacts: ArraySlice<BareJID>?
    private var differences: [Pair: [BareJID]] = [:]

    var isDone: Bool { position == changes.count }

    /// - Returns: `nil` when everything was told. Each account comes at least once, the last time with `isLast`.
    mutating func next(upTo count: Int) -> (Change, ArraySlice<BareJID>, isLast: Bool)? {
        guard position < changes.count else { return nil }
        let change = changes[position]
        let all = contacts ?? contactsConcerned(by: change)
        let rest = all.dropFirst(count)
        contacts = rest.isEmpty ? nil : rest
        if rest.isEmpty { position += 1 }
        return (change, all.prefix(count), rest.isEmpty)
    }

    /// Contacts whose items may be others because of a change, each once, in the order of their addresses.
    private mutating func contactsConcerned(by change: Change) -> ArraySlice<BareJID> {
        var contacts: Set<BareJID> = []
        let seen = Self.pairs(change.old?.seen ?? [], change.new?.seen ?? [])
        for (old, new) in seen { contacts.formUnion(difference(old?.members, new?.members, isWhole: old?.name != new?.name)) }
        for (old, new) in Self.pairs(change.old?.memberships ?? [], change.new?.memberships ?? []) {
            let (before, after) = (old?.watchers ?? [], new?.watchers ?? [])
            for index in 0..<max(before.count, after.count) {
                let (one, other) = (index < before.count ? before[index] : nil, index < after.count ? after[index] : nil)
                contacts.formUnion(difference(one, other, isWhole: false))
            }
        }
        contacts.remove(change.account)
        return contacts.sorted { $0.precedes($1) }[...]
    }

    /// Groups that are not the same, with what they were.
    private static func pairs(_ old: [SharedGroup], _ new: [SharedGroup]) -> [(SharedGroup?, SharedGroup?)] {
        let before = Dictionary(old.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let after = Dictionary(new.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let changed: [(SharedGroup?, SharedGroup?)] = after.values.filter { before[$0.id] !== $0 }.map { (before[$0.id], $0) }
        return changed + before.values.filter { after[$0.id] == nil }.map { ($0, nil) }
    }

    /// - Parameter isWhole: everybody, because the group is called otherwise.
    private mutating func difference(_ old: SharedMembers?, _ new: SharedMembers?, isWhole: Bool) -> [BareJID] {
        if old === new, !isWhole { return [] }
        guard let old, let new else { return (old ?? new).map { Array($0.names.keys) } ?? [] }
        if isWhole { return Array(Set(old.names.keys).union(new.names.keys)) }
        let pair = Pair(old: ObjectIdentifier(old), new: ObjectIdentifier(new))
        if let known = differences[pair] { return known }
        let difference = new.difference(from: old)
        differences[pair] = difference
        return difference
    }
}
