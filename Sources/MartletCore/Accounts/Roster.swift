package import MartletXMPP
import NIOCore

/// An account's contacts (RFC 6121 §2), and those who only asked to subscribe to it.
///
/// A value: every change returns what is to be written and pushed. ``version`` counts the changes that clients see; what they
/// do not see, such as a request that waits for an answer, leaves it as it is (§2.6.3).
///
/// Groups may put contacts into it as well (``SharedRoster``). Clients see one roster: of a contact that is in both, the groups of both, the
/// user's own name for it, and the subscriptions of both. What is written is the user's own part alone.
package struct Roster: Sendable {
    /// Longest name of an item and longest name of a group, in bytes of UTF-8 (RFC 6121 §2.3.3).
    package static let nameBytesMax = 1_023

    package private(set) var version: UInt64
    private var items: [BareJID: RosterItem]
    /// By version. What falls out of ``StoredAccount/rosterRemovalsMax`` can no longer be told: see ``get(since:)``.
    private var removals: [RosterRemoval]
    /// Items that clients see; the others are requests of strangers.
    private var shownCount: Int
    /// The account's number begins the names of versions: no version of a deleted account fits its successor.
    private let versionPrefix: String
    /// What groups put into it; `nil` for most accounts.
    package private(set) var shared: SharedRoster?
    /// Whether clients have not been told all of ``shared`` yet: until then no version that they have is good for another time.
    private var isTellingShared = false

    package init() { self.init(StoredAccount(id: AccountID(raw: 0))) }

    package init(_ stored: StoredAccount, shared: SharedRoster? = nil) {
        self.shared = shared
        version = stored.rosterVersion
        items = Dictionary(stored.roster.map { ($0.contact, $0) }, uniquingKeysWith: { first, _ in first })
        removals = stored.rosterRemovals
        shownCount = items.values.reduce(0) { $0 + ($1.subscription.isInRoster ? 1 : 0) }
        versionPrefix = "\(stored.id.raw)-"
    }
}

/// One change of a roster: what is written, and, where clients see it, what is pushed (RFC 6121 §2.1.6).
package enum RosterChange: Hashable, Sendable {
    case item(RosterItem)
    case removal(RosterRemoval)

    package var version: UInt64 {
        switch self {
        case .item(let item): item.version
        case .removal(let removal): removal.version
        }
    }

    package func write(_ account: AccountID) -> Write {
        switch self {
        case .item(let item): .rosterItem(account, item)
        case .removal(let removal): .rosterRemoval(account, contact: removal.contact, version: removal.version)
        }
    }
}

/// A subscription stanza's effect on a roster.
package struct RosterStep: Hashable, Sendable {
    /// Says among other things whether ``change`` is pushed.
    package var step: SubscriptionStep
    /// What is written; `nil` if nothing changed.
    package var change: RosterChange?
}

/// What removing an item leads to (RFC 6121 §2.5.2).
package struct RosterItemRemoval: Hashable, Sendable {
    /// Written and pushed.
    package var change: RosterChange
    /// Sent to the contact, in this order.
    package var stanzas: [SubscriptionStanza]
    /// `unavailable` goes to the contact before the stanzas.
    package var stopsSendingPresence: Bool
}

/// The answer to a roster get (RFC 6121 §2.6.3).
package enum RosterAnswer: Hashable, Sendable {
    /// An empty result, and nothing more.
    case unchanged
    /// An empty result, then a push for each change, in this order.
    case changes([RosterChange])
    case full([RosterItem])
}

// MARK: What is in it

extension Roster {
    /// The item of a contact, shown or not.
    package subscript(contact: BareJID) -> RosterItem? {
        guard let shared else { return items[contact] }
        return Self.united(items[contact], contact, shared)
    }

    /// The user's own item of a contact, shown or not, whatever groups have of it.
    package func own(_ contact: BareJID) -> RosterItem? { items[contact] }

    /// `none` for a stranger (RFC 6121 §A.1).
    package func state(of contact: BareJID) -> SubscriptionState {
        let own = items[contact]?.subscription ?? .none
        guard let shared else { return own }
        return own.united(with: shared.state(of: contact))
    }

    /// The items that clients see, by when they last changed.
    package var shownItems: [RosterItem] {
        guard let shared else { return items.values.filter(\.subscription.isInRoster).sorted { $0.version < $1.version } }
        let own = items.values.compactMap { Self.united($0, $0.contact, shared) }.filter(\.subscription.isInRoster)
        let others = shared.contacts.lazy.filter { items[$0] == nil }.compactMap { Self.united(nil, $0, shared) }
        return (own + others).sorted { $0.version == $1.version ? $0.contact.precedes($1.contact) : $0.version < $1.version }
    }

    /// Who gets the account's presence: subscription `from` or `both` (RFC 6121 §4.2.2).
    package var subscribers: [BareJID] {
        guard let shared else { return Array(ownSubscribers) }
        return ownSubscribers + shared.watchers.filter { items[$0]?.subscription.from != true }
    }

    /// Whose presence the account gets: subscription `to` or `both` (RFC 6121 §4.3.1).
    package var subscriptions: [BareJID] {
        guard let shared else { return Array(ownSubscriptions) }
        return ownSubscriptions + shared.contacts.filter { items[$0]?.subscription.to != true }
    }

    /// The same without those whom groups give, all of whom are of this server.
    package var ownSubscribers: some Collection<BareJID> { items.values.lazy.filter(\.subscription.from).map(\.contact) }
    package var ownSubscriptions: some Collection<BareJID> { items.values.lazy.filter(\.subscription.to).map(\.contact) }

    /// Who has not answered the user's request yet.
    package var unanswered: some Sequence<BareJID> {
        items.values.lazy.filter { [shared] in $0.subscription.pendingOut && shared?.state(of: $0.contact).to != true }.map(\.contact)
    }

    /// Who waits for the user's answer; shown to every session that becomes available (RFC 6121 §3.1.3).
    package var requests: some Sequence<RosterItem> {
        items.values.lazy.filter { [shared] in $0.subscription.pendingIn && shared?.state(of: $0.contact).from != true }
    }
}

// MARK: What groups put into it

extension Roster {
    /// Of the user's own item and what groups have of a contact; `nil` if there is neither.
    private static func united(_ own: RosterItem?, _ contact: BareJID, _ shared: SharedRoster) -> RosterItem? {
        let state = shared.state(of: contact)
        guard state.to || own != nil else { return nil }
        var item = own ?? RosterItem(contact: contact)
        item.subscription = item.subscription.united(with: state)
        guard state.to else { return item }
        item.name = item.name ?? shared.name(of: contact)
        item.groups += shared.groups(of: contact).filter { !item.groups.contains($0) }
        return item
    }

    /// What clients see of a contact if groups put `shared` into the roster.
    func shownItem(of contact: BareJID, with shared: SharedRoster?) -> RosterItem? {
        let item = shared.map { Self.united(items[contact], contact, $0) } ?? items[contact]
        return item.flatMap { $0.subscription.isInRoster ? $0 : nil }
    }

    /// What clients see of a change: a contact that groups have as well is there afterwards, whatever the user has done to its own item.
    package func shown(_ change: RosterChange) -> RosterChange {
        guard let shared else { return change }
        switch change {
        case .item(let item): return Self.united(item, item.contact, shared).map(RosterChange.item) ?? change
        case .removal(let removal):
            guard shared.state(of: removal.contact).to else { return change }
            return Self.united(items[removal.contact], removal.contact, shared).map(RosterChange.item) ?? change
        }
    }

    /// Groups put something else into it from now on. Until ``toldSharing()`` no version that is told is good for another time.
    mutating func share(_ new: SharedRoster?) {
        shared = new
        isTellingShared = true
    }

    /// Clients know of everything that groups put into it.
    mutating func toldSharing() { isTellingShared = false }

    /// Takes over what groups had put into the same roster before it was read anew.
    mutating func keepSharing(of former: Roster) {
        shared = former.shared
        isTellingShared = former.isTellingShared
    }

    /// What is pushed of a contact that groups have put into the roster, have changed, or have taken out.
    ///
    /// - Parameter version: up to which clients have been told what the user has changed.
    func sharedChange(of contact: BareJID, told version: UInt64) -> RosterChange {
        guard var item = self[contact], item.subscription.isInRoster else { return .removal(RosterRemoval(contact: contact, version: version)) }
        item.version = version
        return .item(item)
    }

    /// Tells what groups put into it from anything else that they might; empty if they do not, and the same as no other while clients are being told.
    var sharingName: String { isTellingShared ? "-" : shared?.digest ?? "" }

    /// The user's own part alone.
    var withoutSharing: Roster {
        var own = self
        own.shared = nil
        return own
    }
}

// MARK: Versions

extension Roster {
    /// The `ver` attribute of a full roster (RFC 6121 §2.1.1).
    package var versionName: String { versionName(of: version) }

    /// The `ver` attribute of a push of a change with that version.
    package func versionName(of version: UInt64) -> String { versionPrefix + String(version) + versionSuffix }

    /// Behind the number of the version is what groups put in: if that is another one next time, the client gets the whole.
    private var versionSuffix: String {
        if isTellingShared { return "-" }
        guard let shared else { return "" }
        return "-" + shared.digest
    }

    /// Answers a roster get (RFC 6121 §2.6.3).
    ///
    /// - Parameter name: the `ver` attribute. `nil`, the empty one, one that this roster never had, and one from before the
    ///   oldest removal that is remembered get the whole roster.
    package func get(since name: String?) -> RosterAnswer {
        guard let name, let known = version(named: name), known >= oldestVersion else { return .full(shownItems) }
        let changes = changes(since: known)
        return changes.isEmpty ? .unchanged : .changes(changes)
    }

    private func version(named name: String) -> UInt64? {
        // What is being told is told to those who have the whole.
        guard !isTellingShared, name.hasPrefix(versionPrefix) else { return nil }
        guard let known = UInt64(name.dropFirst(versionPrefix.count).prefix { $0 != "-" }), known <= version else { return nil }
        return versionName(of: known) == name ? known : nil
    }

    /// As `StoredAccount.oldestRosterVersion`: while nothing was forgotten, every version can be answered.
    private var oldestVersion: UInt64 {
        removals.count < StoredAccount.rosterRemovalsMax ? 0 : removals.first?.version ?? 0
    }

    private func changes(since known: UInt64) -> [RosterChange] {
        if known == version { return [] }
        var changes = items.values.filter { $0.subscription.isInRoster && $0.version > known }.map(RosterChange.item)
        var told: Set<BareJID> = []
        for removal in removals.reversed() where removal.version > known {
            let isGone = items[removal.contact]?.subscription.isInRoster != true
            if told.insert(removal.contact).inserted, isGone { changes.append(.removal(removal)) }
        }
        return changes.sorted { $0.version < $1.version }
    }
}

// MARK: Roster sets

extension Roster {
    /// Adds or updates an item as the client gave it (RFC 6121 §2.3, §2.4). The change is pushed.
    ///
    /// There are no parameters for `subscription`, `ask` and `approved`: what a client says of them is ignored. Of a contact that groups have as well,
    /// what differs from what they say is the user's own.
    ///
    /// - Returns: `nil` if nothing differs, and nothing did before.
    /// - Throws: `not-allowed` for the account's own address; `not-acceptable` for an empty group, and for a name, a group or
    ///   a number of groups past its limit; `bad-request` for a group named twice; `resource-constraint` if the roster is full.
    package mutating func set(
        _ contact: BareJID, name: String?, groups: [String], owner: BareJID, limits: HostLimits
    ) throws(StanzaError) -> RosterChange? {
        guard contact != owner else { throw .notAllowed }
        let given = shared?.groups(of: contact) ?? []
        let groups = given.isEmpty ? groups : groups.filter { !given.contains($0) }
        try Self.check(name: name, groups: groups, limits)
        let givenName = shared?.name(of: contact)
        let name = name.flatMap { $0.isEmpty || $0 == givenName ? nil : $0 }
        if !given.isEmpty, name == nil, groups.isEmpty, hasNothingOfItsOwn(contact) { return removeWhatIsLeft(of: contact) }
        var item = items[contact] ?? RosterItem(contact: contact.compacted())
        if !item.subscription.isInRoster { try checkRoom(limits) }
        item.name = name
        item.groups = groups
        item.subscription.isInRoster = true
        item.version = nextVersion()
        put(item)
        return .item(item)
    }

    /// Whether the user's own item of a contact, if there is one, says nothing but what it is called and where it is.
    private func hasNothingOfItsOwn(_ contact: BareJID) -> Bool {
        guard var state = items[contact]?.subscription else { return true }
        state.isInRoster = false
        return state == .none
    }

    /// The item is only what groups say of it from now on.
    private mutating func removeWhatIsLeft(of contact: BareJID) -> RosterChange? {
        guard let item = items[contact] else { return nil }
        return .removal(removeOwn(item))
    }

    /// Removes an item (RFC 6121 §2.5).
    ///
    /// - Throws: `item-not-found` if the user does not see such an item; a request by a stranger is denied, not removed. `not-allowed` if groups have it.
    package mutating func remove(_ contact: BareJID) throws(StanzaError) -> RosterItemRemoval {
        let given = shared?.state(of: contact)
        if given?.to == true { throw StanzaError(.notAllowed, text: "the contact is in a group that is shared with you") }
        guard let item = items[contact], item.subscription.isInRoster else { throw .itemNotFound() }
        let (stanzas, step) = item.subscription.removing()
        let removal = removeOwn(item)
        let stops = step.stopsSendingPresence && given?.from != true
        return RosterItemRemoval(change: .removal(removal), stanzas: stanzas, stopsSendingPresence: stops)
    }

    /// Takes over an item as it is in a copy of the roster (``RosterAdoption``).
    ///
    /// What there is between the two is only added to: what one of them has granted, asked or answered is not undone by whoever edits a copy.
    ///
    /// - Throws: what a roster set would be refused for; `resource-constraint` also for one request of a stranger too many.
    package mutating func adopt(
        _ contact: BareJID, name: String?, groups: [String], state: SubscriptionState, owner: BareJID, limits: HostLimits
    ) throws(StanzaError) -> RosterStep {
        guard contact != owner else { throw .notAllowed }
        try Self.check(name: name, groups: groups, limits)
        var item = items[contact] ?? RosterItem(contact: contact.compacted())
        let (former, before) = (items[contact], item.subscription)
        item.name = name.flatMap { $0.isEmpty ? nil : $0 }
        item.groups = groups
        item.subscription = before.joined(with: state)
        if !item.subscription.pendingIn { item.request = nil }
        guard item != former else { return .nothing }
        if item.subscription.isInRoster, !before.isInRoster { try checkRoom(limits) }
        if former == nil, !item.subscription.isInRoster, items.count - shownCount >= limits.pendingRequestsMax { throw .resourceConstraint("too many requests wait") }
        let isShown = item.subscription.isInRoster
        if isShown { item.version = nextVersion() }
        put(item)
        let startsSending = item.subscription.from && !before.from && shared?.state(of: contact).from != true
        let step = SubscriptionStep(
            state: item.subscription, passesOn: false, reply: nil, pushes: isShown, startsSendingPresence: startsSending, stopsSendingPresence: false)
        return RosterStep(step: step, change: .item(item))
    }

    private mutating func removeOwn(_ item: RosterItem) -> RosterRemoval {
        let removal = RosterRemoval(contact: item.contact, version: nextVersion())
        drop(item.contact)
        remember(removal)
        return removal
    }

    private static func check(name: String?, groups: [String], _ limits: HostLimits) throws(StanzaError) {
        if let name, name.utf8.count > nameBytesMax { throw .notAcceptable("the name is longer than \(nameBytesMax) bytes") }
        if groups.count > limits.rosterGroupsMax { throw .notAcceptable("more than \(limits.rosterGroupsMax) groups") }
        for group in groups {
            if group.isEmpty { throw .notAcceptable("a group has no name") }
            if group.utf8.count > nameBytesMax { throw .notAcceptable("a group's name is longer than \(nameBytesMax) bytes") }
        }
        // Strings are equal when they are canonically equivalent, as resourceparts are.
        if Set(groups).count < groups.count { throw .badRequest("a group is named twice") }
    }
}

// MARK: Subscriptions

extension Roster {
    /// The user sends a subscription stanza to a contact (RFC 6121 §A.2). To the own address it does nothing: everybody is
    /// subscribed to himself. Nor does it where groups say who sees whom: what they give is neither asked for nor taken back.
    ///
    /// - Throws: `resource-constraint` if it would add an item to a full roster.
    package mutating func send(
        _ stanza: SubscriptionStanza, to contact: BareJID, owner: BareJID, limits: HostLimits
    ) throws(StanzaError) -> RosterStep {
        guard contact != owner, !isGiven(contact, whatIsSaidBy: stanza) else { return .nothing }
        let state = items[contact]?.subscription ?? .none
        let step = state.sending(stanza)
        if step.state.isInRoster, !state.isInRoster { try checkRoom(limits) }
        return RosterStep(step: step, change: apply(step, to: contact, request: nil))
    }

    /// A contact's subscription stanza arrives (RFC 6121 §A.3).
    ///
    /// Requests of strangers past `pendingRequestsMax` do nothing: the user has enough to answer, and answering for him would
    /// tell that he exists.
    ///
    /// - Parameter request: a `subscribe` as it is to be shown later, payload included; kept if it is not too long.
    package mutating func receive(
        _ stanza: SubscriptionStanza, from contact: BareJID, request: EncodedStanza?, owner: BareJID, limits: HostLimits
    ) -> RosterStep {
        guard contact != owner else { return .nothing }
        let isStranger = items[contact] == nil
        let given = shared?.state(of: contact)
        if stanza == .subscribe, given?.from == true { return .granted }
        var step = (items[contact]?.subscription ?? .none).receiving(stanza)
        if let given { step.leave(given, after: stanza) }
        if isStranger, step.state.pendingIn, items.count - shownCount >= limits.pendingRequestsMax { return .nothing }
        let kept = request.flatMap { $0.bytes.readableBytes <= limits.subscriptionRequestBytesMax ? $0 : nil }
        return RosterStep(step: step, change: apply(step, to: contact, request: kept))
    }

    /// Whether groups say already what the user wants to say.
    private func isGiven(_ contact: BareJID, whatIsSaidBy stanza: SubscriptionStanza) -> Bool {
        guard let given = shared?.state(of: contact) else { return false }
        return switch stanza {
        case .subscribe, .unsubscribe: given.to
        case .subscribed, .unsubscribed: given.from
        }
    }

    private mutating func apply(_ step: SubscriptionStep, to contact: BareJID, request: EncodedStanza?) -> RosterChange? {
        var item = items[contact] ?? RosterItem(contact: contact.compacted())
        guard step.state != item.subscription else { return nil }
        guard step.state != .none else { return forget(item) }
        if step.pushes { item.version = nextVersion() }
        if !step.state.pendingIn {
            item.request = nil
        } else if !item.subscription.pendingIn {
            item.request = request
        }
        item.subscription = step.state
        put(item)
        return .item(item)
    }

    /// A stranger's request was answered or withdrawn: nothing that a client ever saw, so it is written with the version under
    /// which the contact was removed before, or 0.
    private mutating func forget(_ item: RosterItem) -> RosterChange {
        drop(item.contact)
        let earlier = removals.last { $0.contact == item.contact }
        return .removal(earlier ?? RosterRemoval(contact: item.contact, version: 0))
    }
}

extension RosterStep {
    fileprivate static let nothing = RosterStep(
        step: SubscriptionStep(
            state: .none, passesOn: false, reply: nil, pushes: false, startsSendingPresence: false, stopsSendingPresence: false),
        change: nil)

    /// A contact asks for what groups have given it: it seems not to know, so it is told, and gets the current presence (RFC 6121 §3.1.3).
    fileprivate static let granted = RosterStep(
        step: SubscriptionStep(
            state: .none, passesOn: false, reply: .subscribed, pushes: false, startsSendingPresence: true, stopsSendingPresence: false),
        change: nil)
}

extension SubscriptionStep {
    /// What groups give stays, whatever a contact says: nobody is shown that it were otherwise, and presence goes on.
    fileprivate mutating func leave(_ given: SharedState, after stanza: SubscriptionStanza) {
        switch stanza {
        case .subscribe: break
        case .unsubscribe: if given.from { (passesOn, stopsSendingPresence) = (false, false) }
        case .subscribed, .unsubscribed: if given.to { passesOn = false }
        }
    }
}

// MARK: The dictionary

extension Roster {
    private func checkRoom(_ limits: HostLimits) throws(StanzaError) {
        if shownCount >= limits.rosterItemsMax { throw .resourceConstraint("the roster has \(shownCount) items") }
    }

    private mutating func nextVersion() -> UInt64 {
        version &+= 1
        return version
    }

    private mutating func put(_ item: RosterItem) {
        let old = items.updateValue(item, forKey: item.contact)
        if old?.subscription.isInRoster == true { shownCount -= 1 }
        if item.subscription.isInRoster { shownCount += 1 }
    }

    private mutating func drop(_ contact: BareJID) {
        let old = items.removeValue(forKey: contact)
        if old?.subscription.isInRoster == true { shownCount -= 1 }
    }

    private mutating func remember(_ removal: RosterRemoval) {
        removals.append(removal)
        removals.removeFirst(max(0, removals.count - StoredAccount.rosterRemovalsMax))
    }
}
