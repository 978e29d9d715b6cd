package import MartletXMPP
import NIOCore

/// An account's contacts (RFC 6121 §2), and those who only asked to subscribe to it.
///
/// A value: every change returns what is to be written and pushed. ``version`` counts the changes that clients see; what they
/// do not see, such as a request that waits for an answer, leaves it as it is (§2.6.3).
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

    package init() { self.init(StoredAccount(id: AccountID(raw: 0))) }

    package init(_ stored: StoredAccount) {
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
    package subscript(contact: BareJID) -> RosterItem? { items[contact] }

    /// `none` for a stranger (RFC 6121 §A.1).
    package func state(of contact: BareJID) -> SubscriptionState { items[contact]?.subscription ?? .none }

    /// The items that clients see, by when they last changed.
    package var shownItems: [RosterItem] {
        items.values.filter(\.subscription.isInRoster).sorted { $0.version < $1.version }
    }

    /// Who gets the account's presence: subscription `from` or `both` (RFC 6121 §4.2.2).
    package var subscribers: some Sequence<BareJID> { items.values.lazy.filter(\.subscription.from).map(\.contact) }

    /// Whose presence the account gets: subscription `to` or `both` (RFC 6121 §4.3.1).
    package var subscriptions: some Sequence<BareJID> { items.values.lazy.filter(\.subscription.to).map(\.contact) }

    /// Who has not answered the user's request yet.
    package var unanswered: some Sequence<BareJID> { items.values.lazy.filter(\.subscription.pendingOut).map(\.contact) }

    /// Who waits for the user's answer; shown to every session that becomes available (RFC 6121 §3.1.3).
    package var requests: some Sequence<RosterItem> { items.values.lazy.filter(\.subscription.pendingIn) }
}

// MARK: Versions

extension Roster {
    /// The `ver` attribute of a full roster (RFC 6121 §2.1.1).
    package var versionName: String { versionName(of: version) }

    /// The `ver` attribute of a push of a change with that version.
    package func versionName(of version: UInt64) -> String { versionPrefix + String(version) }

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
        guard name.hasPrefix(versionPrefix), let known = UInt64(name.dropFirst(versionPrefix.count)), known <= version else { return nil }
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
            if told.insert(removal.contact).inserted, !state(of: removal.contact).isInRoster { changes.append(.removal(removal)) }
        }
        return changes.sorted { $0.version < $1.version }
    }
}

// MARK: Roster sets

extension Roster {
    /// Adds or updates an item as the client gave it (RFC 6121 §2.3, §2.4). The change is pushed.
    ///
    /// There are no parameters for `subscription`, `ask` and `approved`: what a client says of them is ignored.
    ///
    /// - Throws: `not-allowed` for the account's own address; `not-acceptable` for an empty group, and for a name, a group or
    ///   a number of groups past its limit; `bad-request` for a group named twice; `resource-constraint` if the roster is full.
    package mutating func set(
        _ contact: BareJID, name: String?, groups: [String], owner: BareJID, limits: HostLimits
    ) throws(StanzaError) -> RosterChange {
        guard contact != owner else { throw .notAllowed }
        try Self.check(name: name, groups: groups, limits)
        var item = items[contact] ?? RosterItem(contact: contact.compacted())
        if !item.subscription.isInRoster { try checkRoom(limits) }
        item.name = name.flatMap { $0.isEmpty ? nil : $0 }
        item.groups = groups
        item.subscription.isInRoster = true
        item.version = nextVersion()
        put(item)
        return .item(item)
    }

    /// Removes an item (RFC 6121 §2.5).
    ///
    /// - Throws: `item-not-found` if the user does not see such an item; a request by a stranger is denied, not removed.
    package mutating func remove(_ contact: BareJID) throws(StanzaError) -> RosterItemRemoval {
        guard let item = items[contact], item.subscription.isInRoster else { throw .itemNotFound() }
        let (stanzas, step) = item.subscription.removing()
        let removal = RosterRemoval(contact: item.contact, version: nextVersion())
        drop(contact)
        remember(removal)
        return RosterItemRemoval(change: .removal(removal), stanzas: stanzas, stopsSendingPresence: step.stopsSendingPresence)
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
    /// subscribed to himself.
    ///
    /// - Throws: `resource-constraint` if it would add an item to a full roster.
    package mutating func send(
        _ stanza: SubscriptionStanza, to contact: BareJID, owner: BareJID, limits: HostLimits
    ) throws(StanzaError) -> RosterStep {
        guard contact != owner else { return .nothing }
        let state = state(of: contact)
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
        let step = state(of: contact).receiving(stanza)
        if isStranger, step.state.pendingIn, items.count - shownCount >= limits.pendingRequestsMax { return .nothing }
        let kept = request.flatMap { $0.bytes.readableBytes <= limits.subscriptionRequestBytesMax ? $0 : nil }
        return RosterStep(step: step, change: apply(step, to: contact, request: kept))
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
