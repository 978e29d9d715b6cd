package import MartletXMPP
package import NIOCore

/// What an account's sessions have been told of the presence of contacts at other servers: what they have to be told otherwise when such a
/// server has vanished. Pure.
package struct RemotePresences: Sendable {
    /// Most sessions of contacts of one account that it is remembered of that they are there: 1 000. When a server vanishes with further ones, the
    /// account's sessions go on seeing those until they hear of them again.
    package static let countMax = 1_000

    private var present: [FullJID: Capabilities?] = [:]
    /// Those of them of whom it is not known whether they are still there.
    private var doubted: Set<FullJID> = []

    var isEmpty: Bool { present.isEmpty }

    /// - Returns: who is gone besides the sender: that an account has nobody there is said once for all that it had (RFC 6121 §4.3.2).
    mutating func note(_ type: PresenceType, from sender: JID) -> [FullJID] {
        switch (type, sender) {
        case (.available, .full(let full)):
            doubted.remove(full)
            if present.count < Self.countMax, present[full] == nil { present[full] = .some(nil) }
        case (.unavailable, .full(let full)), (.error, .full(let full)):
            doubted.remove(full)
            present[full] = nil
        case (.unavailable, .bare(let bare)): return take { $0.bare == bare }
        case (.available, _), (.error, _), (.subscribe, _), (.subscribed, _), (.unsubscribe, _), (.unsubscribed, _), (.probe, _): break
        }
        return []
    }

    private mutating func take(where isMeant: (FullJID) -> Bool) -> [FullJID] {
        let gone = present.keys.filter(isMeant)
        for address in gone { present[address] = nil }
        doubted.subtract(gone)
        return gone
    }

    /// Their server may have lost them without a word.
    mutating func doubt(_ domain: String) { doubted.formUnion(present.keys.filter { $0.bare.domainpart == domain }) }

    /// Forgets those who have not been heard of since.
    mutating func takeDoubted(of domain: String) -> [FullJID] {
        let doubted = doubted
        return take { $0.bare.domainpart == domain && doubted.contains($0) }
    }

    /// What a session has said of itself; setting it does nothing for one that is not there.
    package subscript(capabilities address: FullJID) -> Capabilities? {
        get { present[address] ?? nil }
        set { if present[address] != nil { present[address] = .some(newValue) } }
    }

    /// Who has a digest and has not been heard of.
    package func unknown(with key: CapabilityKey) -> [FullJID] {
        present.lazy.filter { $0.value.map { $0.key == key && $0.profile == nil } ?? false }.map(\.key)
    }

    /// Somebody who has a digest and has not been asked what it stands for.
    package var unasked: (FullJID, CapabilityKey)? {
        for case (let address, let capabilities?) in present where capabilities.profile == nil && !capabilities.isAsked { return (address, capabilities.key) }
        return nil
    }

    /// Whose they are.
    var contacts: Set<BareJID> { Set(present.keys.map(\.bare)) }

    /// Those of one contact of whom something is known.
    package func sessions(of contact: BareJID) -> [(address: FullJID, profile: EntityProfile)] {
        present.compactMap { address, capabilities in
            address.bare == contact ? capabilities?.profile.map { (address, $0) } : nil
        }
    }

    /// Those who want to hear of a node.
    package func interested(in node: String) -> [FullJID] {
        present.lazy.filter { $0.value?.profile?.interests.contains(node) ?? false }.map(\.key)
    }

    /// Forgets all of some contacts.
    mutating func takeAll(where isMeant: (BareJID) -> Bool) -> [FullJID] {
        present.isEmpty ? [] : take { isMeant($0.bare) }
    }
}

/// Presence between servers that lose each other (RFC 6121 §4.3, P9). What was said while there was no way is lost: so a server that has
/// vanished takes its users' presence with it, and when it is back both sides tell each other anew.
extension Router {
    /// Shards that are gone through before the loop does something else.
    private static let shardsPerTurn = 64

    /// Another server cannot be reached any more: its users, as far as they were here, are gone.
    package func peerVanished(_ domain: String, from local: String, _ context: LoopContext) {
        vanished(context, from: local) { $0.domainpart == domain }
    }

    /// The same of a component, which may have several domains.
    func vanished(_ context: LoopContext, from local: String, _ isMeant: @escaping @Sendable (BareJID) -> Bool) {
        forEachOccupiedHome(of: local, context) { [self] home, context in
            tell(home, thatGone: home.remotePresences.takeAll(where: isMeant), context)
        }
    }

    /// Under the lock.
    func tell(_ home: AccountHome, thatGone gone: [FullJID], _ context: LoopContext) {
        guard !gone.isEmpty else { return }
        let watching = context.hosts.host(of: home.address)?.watching
        for address in gone {
            let unavailable = ServerPresence.unavailable(from: address)
            if let watching, watching.hearsContacts { watching.heard(unavailable, context) }
            let absence = unavailable.encoded(to: .bare(home.address))
            for entry in home.sessions where entry.isAvailable { context.post(absence, to: entry.ref) }
        }
    }

    /// Time that a server has to tell how its users are after it can be reached again: 20 s. Of whom nothing is heard by then is gone.
    package static let doubtedFor = TimeAmount.seconds(20)

    /// Another server can be reached again: its users are asked how they are, and told how ours are, wherever one may see the other.
    package func peerReturned(_ domain: String, to local: String, _ context: LoopContext) {
        _ = context.mailbox.loop.scheduleTask(in: Self.doubtedFor) { [self, mailbox = context.mailbox] in
            mailbox.run { [self] context in
                forEachOccupiedHome(of: local, context) { [self] home, context in tell(home, thatGone: home.remotePresences.takeDoubted(of: domain), context) }
            }
        }
        forEachOccupiedHome(of: local, context) { [self] home, context in
            home.remotePresences.doubt(domain)
            guard home.hasAvailableSession, home.isInMemory else { return }
            let account = home.address
            let presences = home.sessions.compactMap(\.presence)
            let asked = home.roster.ownSubscriptions.filter { $0.domainpart == domain && !home.blocks(.bare($0)) }
            let told = home.roster.ownSubscribers.filter { $0.domainpart == domain && !home.blocks(.bare($0)) }
            guard !asked.isEmpty || !told.isEmpty else { return }
            context.after { [self] context in
                for contact in told {
                    for presence in presences { deliverPresence(presence, to: .bare(contact), origin: nil, context) }
                }
                for contact in asked {
                    let probe = ServerPresence.make(.probe, from: .bare(account), to: .bare(contact))
                    _ = deliverRemote(probe, origin: nil, context)
                }
            }
        }
    }

    /// Goes through all accounts of a domain that have sessions, some shards at a time. `visit` is called with the shard's lock held.
    ///
    /// - Parameter pace: asked before each turn.
    func forEachOccupiedHome(
        of domain: String, from first: Int = 0, _ context: LoopContext, pace: @escaping @Sendable () -> Pace = { .goOn },
        _ visit: @escaping @Sendable (AccountHome, LoopContext) -> Void
    ) {
        switch pace() {
        case .goOn: break
        case .stop: return
        case .wait:
            _ = context.mailbox.loop.scheduleTask(in: Self.paceWait) { [self, mailbox = context.mailbox] in
                mailbox.run { [self] context in forEachOccupiedHome(of: domain, from: first, context, pace: pace, visit) }
            }
            return
        }
        let end = min(first + Self.shardsPerTurn, Placement.shardCount)
        for index in first..<end {
            placement.shard(at: index).withLock {
                for home in placement.shard(at: index).occupied() where home.address.domainpart == domain { visit(home, context) }
            }
            context.runEffects()
        }
        guard end < Placement.shardCount else { return }
        context.mailbox.run { [self] context in forEachOccupiedHome(of: domain, from: end, context, pace: pace, visit) }
    }

    /// Whether somebody who hears of all accounts keeps up.
    enum Pace: Hashable, Sendable { case goOn, wait, stop }
    private static let paceWait = TimeAmount.milliseconds(100)
}
