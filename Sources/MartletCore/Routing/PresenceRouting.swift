import MartletXML
package import MartletXMPP

/// The life of presence (RFC 6121 §4). The account's home decides who hears of it; contacts are told after its lock was
/// released, each in his own home, as one multicast.
extension Router {
    func presence(_ sent: Stanza, _ type: PresenceType, from session: ClientSession, _ completion: Completion) -> Progress {
        guard let host = session.context.hosts.host(of: session.account) else { return .done }
        var stanza = sent
        for stage in host.annotating { stage.annotate(&stanza, of: session.context.hosts) }
        if type == .available, !host.presenting.isEmpty {
            session.home.shard.withLock {
                guard !session.home.documents.isEmpty else { return }
                for stage in host.presenting { stage.present(&stanza, session.home) }
            }
        }
        switch (type, stanza.to) {
        case (.available, nil): return announce(stanza, from: session)
        case (.unavailable, nil):
            withdraw(session.ref, session.home, stanza, session.context)
            return .done
        case (.available, let to?), (.unavailable, let to?): return direct(stanza, type, to, from: session)
        case (.subscribe, _): return subscription(.subscribe, stanza, from: session, completion)
        case (.subscribed, _): return subscription(.subscribed, stanza, from: session, completion)
        case (.unsubscribe, _): return subscription(.unsubscribe, stanza, from: session, completion)
        case (.unsubscribed, _): return subscription(.unsubscribed, stanza, from: session, completion)
        case (.probe, let to?):
            probe(to.bare, for: stanza.from, ref: session.ref, session.context)
            return .done
        case (.probe, nil): return .done
        case (.error, let to?):
            if case .full = to { deliverPresence(stanza, to: to, origin: session.ref, session.context) }
            return .done
        case (.error, nil): return .done
        }
    }

    // MARK: Available

    /// A broadcast presence: the first one makes the session available (RFC 6121 §4.2, §4.4).
    private func announce(_ stanza: Stanza, from session: ClientSession) -> Progress {
        let context = session.context
        guard let priority = Self.priority(of: stanza) else {
            return session.refuse(stanza, .badRequest("a priority is a number from -128 to 127"))
        }
        let home = session.home
        home.shard.withLock {
            guard let index = home.index(of: session.ref) else { return }
            let wasAvailable = home.sessions[index].isAvailable
            let tookMessages = home.sessions[index].takesMessages
            let isFirst = !home.hasAvailableSession
            home.sessions[index].presence = stanza
            home.sessions[index].priority = priority
            home.sessions[index].announcements &+= 1
            home.sessions[index].presentSince = context.wallMilliseconds
            let entry = home.sessions[index]
            tellOwnSessions(stanza, home, context)
            if !wasAvailable { context.hosts.host(of: home.address)?.watching?.presenceChanged(stanza, of: home, context) }
            broadcast(stanza, of: entry, home, context)
            if !wasAvailable {
                introduce(entry, home, context)
                probeContacts(of: entry, home, context)
                if isFirst { repeatRequests(of: home, context) }
            }
            if !tookMessages, entry.takesMessages {
                greet([entry.ref], of: home, context)
                startReplay(to: entry, home, context)
            }
            noteInterests(of: index, home, context)
            notePresenceChange(of: home, context)
        }
        return .done
    }

    /// Under the lock.
    func noteInterests(of index: Int, _ home: AccountHome, _ context: LoopContext) {
        guard let host = context.hosts.host(of: home.address), home.isResident else { return }
        for stage in host.interested { perform(stage.announced(by: index, at: home, context), of: stage, home, context) }
    }

    /// Longest text of a priority, in bytes: four characters and what white space a client may put around them.
    private static let priorityBytesMax = 64

    /// RFC 6121 §4.7.2.3; a missing priority is zero. `nil` if it is no priority.
    package static func priority(of stanza: Stanza) -> Int8? {
        guard let element = stanza.element.root.firstChild("priority", .client) else { return 0 }
        let text = element.text
        guard text.utf8.count <= priorityBytesMax else { return nil }
        let number = text.filter { !$0.isWhitespace }
        return number.isEmpty ? 0 : Int8(number)
    }

    /// A session that has just become available hears of the account's others, and of requests that wait for an answer
    /// (RFC 6121 §4.2.2, §3.1.3).
    private func introduce(_ entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        for other in home.sessions where other.ref !== entry.ref {
            if let presence = other.presence { context.post(presence.encoded(to: .full(entry.address)), to: entry.ref) }
        }
        for request in home.roster.requests {
            let stanza = request.request ?? ServerPresence.make(.subscribe, from: .bare(request.contact), to: .bare(home.address)).encoded()
            context.post(stanza, to: entry.ref)
        }
    }

    /// Probes go to everybody whose presence the account may see (RFC 6121 §4.3).
    private func probeContacts(of entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        let contacts = home.roster.subscriptions
        guard !contacts.isEmpty else { return }
        let (account, blockList) = (home.address, home.blockList)
        context.after { [self] context in probe(contacts[...], for: entry, of: account, blockList, context) }
    }

    private func probe(_ contacts: ArraySlice<BareJID>, for entry: SessionEntry, of account: BareJID, _ blockList: BlockList, _ context: LoopContext) {
        for contact in contacts.prefix(Self.fanOutPerTurn) where !blockList.blocks(.bare(contact)) {
            probe(contact, for: .full(entry.address), ref: entry.ref, context)
        }
        let rest = contacts.dropFirst(Self.fanOutPerTurn)
        guard !rest.isEmpty else { return }
        context.mailbox.run { [self] context in
            let isAvailable = withResidentHome(account) { home in home.index(of: entry.ref).map { home.sessions[$0].isAvailable } ?? false } ?? false
            guard isAvailable else { return }
            probe(rest, for: entry, of: account, blockList, context)
            context.runEffects()
        }
    }

    /// Asks again where no answer has come: a request that a crash took from the contact's side is there again, and an approval
    /// that one took from this side comes again (RFC 6121 §3.1.2, P8).
    private func repeatRequests(of home: AccountHome, _ context: LoopContext) {
        let contacts = Array(home.roster.unanswered)
        guard !contacts.isEmpty else { return }
        let (account, blockList) = (home.address, home.blockList)
        context.after { [self] context in
            for contact in contacts where !blockList.blocks(.bare(contact)) {
                let request = ServerPresence.make(.subscribe, from: .bare(account), to: .bare(contact))
                deliverSubscription(.subscribe, request, to: contact, context)
            }
        }
    }

    /// The account's own available sessions, the one that sent it among them, are subscribed to the account's presence.
    private func tellOwnSessions(_ stanza: Stanza, _ home: AccountHome, except left: SessionRef? = nil, _ context: LoopContext) {
        for entry in home.sessions where entry.isAvailable && entry.ref !== left {
            context.post(stanza.encoded(to: .full(entry.address)), to: entry.ref)
        }
    }

    private func broadcast(_ stanza: Stanza, of entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        let contacts = home.roster.subscribers
        guard !contacts.isEmpty else { return }
        let receivers = home.blockList.isEmpty ? contacts : contacts.filter { !home.blockList.blocks(.bare($0)) }
        show(stanza, toWatchersOf: receivers, context)
        let (session, announcements) = (entry.address, entry.announcements)
        context.after { [self] context in multicast(stanza, to: receivers[...], number: announcements, of: session, context) }
    }

    /// Contacts that hear of a presence, or are asked for theirs, before the loop does something else: an account may be in a group of thousands.
    package static let fanOutPerTurn = 500

    /// One presence to many contacts. The only way in which presence fans out.
    ///
    /// - Parameter number: which of the session's it is. Who has not heard of it when there is a newer one hears only that.
    private func multicast(_ stanza: Stanza, to contacts: ArraySlice<BareJID>, number: UInt32, of session: FullJID, _ context: LoopContext) {
        for contact in contacts.prefix(Self.fanOutPerTurn) { deliverPresence(stanza, to: .bare(contact), origin: nil, context) }
        let rest = contacts.dropFirst(Self.fanOutPerTurn)
        guard !rest.isEmpty else { return }
        context.mailbox.run { [self] context in
            let newest = withResidentHome(session.bare) { home in home.index(of: session).map { home.sessions[$0].announcements } } ?? nil
            // A session that is gone has said so, and nothing after that.
            let isNewest = if let newest { newest == number } else if case .presence(.unavailable) = stanza.kind { true } else { false }
            guard isNewest else { return }
            multicast(stanza, to: rest, number: number, of: session, context)
            context.runEffects()
        }
    }

    // MARK: Unavailable

    /// The session is no longer available, whatever the reason: it said so, or it ended (RFC 6121 §4.5).
    ///
    /// - Parameter stanza: what it said; `nil` makes the server say it.
    func withdraw(_ ref: SessionRef, _ home: AccountHome, _ stanza: Stanza?, _ context: LoopContext) {
        home.shard.withLock {
            guard let index = home.index(of: ref) else { return }
            withdraw(at: index, home, stanza, context)
        }
    }

    /// Under the lock.
    func withdraw(at index: Int, _ home: AccountHome, _ stanza: Stanza?, _ context: LoopContext) {
        guard home.sessions[index].isAvailable || !home.sessions[index].directed.isEmpty else { return }
        home.sessions[index].announcements &+= 1
        let entry = home.sessions[index]
        let unavailable = stanza ?? ServerPresence.unavailable(from: entry.address)
        if entry.isAvailable {
            // A session that the server ends hears only why it ended.
            tellOwnSessions(unavailable, home, except: stanza == nil ? entry.ref : nil, context)
            context.hosts.host(of: home.address)?.watching?.presenceChanged(unavailable, of: home, context)
            broadcast(unavailable, of: entry, home, context)
        }
        withdrawDirected(entry, unavailable, home, context)
        forgetRequests(to: entry.address, of: home, context)
        home.sessions[index].presence = nil
        home.sessions[index].presentSince = nil
        home.sessions[index].capabilities = nil
        home.sessions[index].profile = .none
        home.sessions[index].directed = []
        if !home.hasAvailableSession { noteLastActivity(unavailable, home, context) }
        notePresenceChange(of: home, context)
    }

    /// Whoever got directed presence and would not hear otherwise (RFC 6121 §4.6.3).
    private func withdrawDirected(_ entry: SessionEntry, _ unavailable: Stanza, _ home: AccountHome, _ context: LoopContext) {
        guard !entry.directed.isEmpty else { return }
        let others = entry.directed.filter { !entry.isAvailable || !home.roster.state(of: $0.bare).from }
        guard !others.isEmpty else { return }
        context.after { [self] context in
            for address in others { deliverPresence(unavailable, to: address, origin: nil, context) }
        }
    }

    private func noteLastActivity(_ unavailable: Stanza, _ home: AccountHome, _ context: LoopContext) {
        let status = unavailable.element.root.firstChild("status", .client)?.text
        let activity = LastActivity(time: context.time.wallMilliseconds, status: status)
        home.lastActivity = activity
        home.lastTicket = store.submit([.lastActivity(home.id, time: activity.time, status: activity.status)])
    }

    // MARK: Directed

    /// RFC 6121 §4.6.
    private func direct(_ stanza: Stanza, _ type: PresenceType, _ to: JID, from session: ClientSession) -> Progress {
        let context = session.context
        let home = session.home
        guard let host = context.hosts.host(of: home.address) else { return .done }
        let verdict: Verdict = home.shard.withLock {
            let route = Route(account: home.address, direction: .sent, origin: session.ref, peer: to)
            for stage in host.screening {
                let verdict = stage.screen(stanza, home, route)
                if verdict != .pass { return verdict }
            }
            guard let index = home.index(of: session.ref) else { return .drop }
            if type == .unavailable {
                home.sessions[index].directed.removeAll { $0 == to }
                return .pass
            }
            if home.sessions[index].directed.contains(to) { return .pass }
            // Of the addresses of one room a session has the last one that it took.
            if let service = context.hosts.service(of: to.bare)?.service, !service.actsAsServer { home.sessions[index].directed.removeAll { $0.bare == to.bare } }
            guard home.sessions[index].directed.count < host.limits.directedPresenceMax else {
                return .bounce(.policyViolation("too many addresses for directed presence"))
            }
            home.sessions[index].directed.append(to)
            return .pass
        }
        switch verdict {
        case .pass: deliverPresence(stanza, to: to, origin: session.ref, context)
        case .drop: break
        case .bounce(let error): return session.refuse(stanza, error)
        }
        return .done
    }

    // MARK: Arriving

    /// Presence on its way into an account (RFC 6121 §8.5.2.1.2, §8.5.3.1). An account that is not in memory has nobody
    /// online and hears nothing.
    ///
    /// - Parameters:
    ///   - to: whatever `stanza` says.
    ///   - isOfPeer: whether another server has sent it.
    func deliverPresence(_ stanza: Stanza, to: JID, origin: SessionRef?, isOfPeer: Bool = false, _ context: LoopContext) {
        switch Destination(to, context) {
        case .remote: deliverRemotePresence(stanza, to: to, origin: origin, context)
        case .host: break
        case .service(let host):
            var stanza = stanza
            stanza.to = to
            _ = deliver(Arrival(stanza, to: to, origin: origin), to: host, context)
        case .account(let host):
            if isOfPeer, let watching = host.watching, watching.hearsContacts { show(stanza, to: watching, of: to.bare, context) }
            let shard = placement.shard(of: to.bare)
            let isHeard = shard.withLock {
                guard let home = shard.home(to.bare), home.isInMemory, !home.sessions.isEmpty else { return false }
                receivePresence(stanza, to, host, home, origin, isOfPeer: isOfPeer, context)
                return true
            }
            if isOfPeer, !isHeard { noteAway(stanza, to.bare, host, context) }
        }
    }

    /// Nobody is there to hear of a contact; what the account has published is for him all the same.
    private func noteAway(_ stanza: Stanza, _ account: BareJID, _ host: Host, _ context: LoopContext) {
        guard host.eventing != nil, case .presence(let type) = stanza.kind else { return }
        let isComing = type == .available && host.interested.contains { $0.concerns(stanza) }
        if !isComing {
            _ = withResidentHome(account) { $0.remotePresences.note(type, from: stanza.from) }
            return
        }
        withHome(of: account, context) { [self] home, context in
            guard home.isResident, home.maySeePresence(stanza.from) else { return }
            if home.roster.state(of: stanza.from.bare).to { _ = home.remotePresences.note(.available, from: stanza.from) }
            noteInterests(stanza, host, home, context)
            shardIdle(home)
        }
    }

    /// Under the lock.
    private func noteInterests(_ stanza: Stanza, _ host: Host, _ home: AccountHome, _ context: LoopContext) {
        guard home.isResident, case .presence(.available) = stanza.kind, case .full(let address) = stanza.from else { return }
        for stage in host.interested { perform(stage.heard(stanza, of: address, at: home, context), of: stage, home, context) }
    }

    private func deliverRemotePresence(_ stanza: Stanza, to: JID, origin: SessionRef?, _ context: LoopContext) {
        var stanza = stanza
        stanza.to = to
        _ = deliverRemote(stanza, origin: origin, context)
    }

    private func receivePresence(
        _ stanza: Stanza, _ to: JID, _ host: Host, _ home: AccountHome, _ origin: SessionRef?, isOfPeer: Bool, _ context: LoopContext
    ) {
        let route = Route(account: home.address, direction: .received, origin: origin, peer: stanza.from)
        for stage in host.screening where stage.screen(stanza, home, route) != .pass { return }
        guard case .presence(let type) = stanza.kind,
            case .deliver(let recipients) = DeliveryRules.presence(type, to: to, sessions: home.sessions), !recipients.isEmpty
        else { return }
        // He hears of nobody who is not in his roster for want of room.
        if let shared = home.roster.shared, case .bare = to, shared.leavesOut(stanza.from.bare), !home.roster.state(of: stanza.from.bare).to { return }
        if isOfPeer, home.roster.state(of: stanza.from.bare).to {
            tell(home, thatGone: home.remotePresences.note(type, from: stanza.from), context)
            noteInterests(stanza, host, home, context)
        }
        post(stanza.encoded(to: to), to: recipients, of: home, context)
    }

    // MARK: Probes

    /// Answers `prober` with the presence of every available session of `contact`, if he may see it (RFC 6121 §4.3.2).
    ///
    /// Who may not hears that he is not subscribed: so his side of a subscription that ended unnoticed
    /// comes right (P8). An account that is not in memory is not read for that; it answers when both are online.
    func probe(_ contact: BareJID, for prober: JID, ref: SessionRef?, _ context: LoopContext) {
        guard context.hosts.host(of: contact) != nil else {
            let stanza = ServerPresence.make(.probe, from: prober, to: .bare(contact))
            _ = deliverRemote(stanza, origin: ref, context)
            return
        }
        guard let ref else { return withHome(of: contact, context) { [self] home, context in answerPeer(probingFor: prober, home, context) } }
        let shard = placement.shard(of: contact)
        shard.withLock {
            guard let home = shard.home(contact), home.isInMemory, !home.blocks(prober) else { return }
            guard home.maySeePresence(prober) else { return denySubscription(of: prober.bare, home, context) }
            for entry in home.sessions {
                guard let presence = entry.presence else { continue }
                answerProbe(presence, to: prober, ref, context)
            }
        }
    }

    /// Another server may have missed that somebody has left, or that a subscription has ended: it hears of that as well, whether the account
    /// is in memory or not. Who asks after an account that does not exist hears what strangers hear. Under the lock.
    private func answerPeer(probingFor prober: JID, _ home: AccountHome, _ context: LoopContext) {
        switch home.stage {
        case .loading, .stale, .failed: return
        case .absent: return denySubscription(of: prober.bare, home, context)
        case .resident: break
        }
        defer { shardIdle(home) }
        guard !home.blocks(prober) else { return }
        guard home.maySeePresence(prober) else { return denySubscription(of: prober.bare, home, context) }
        let presences = home.sessions.compactMap(\.presence)
        if presences.isEmpty {
            let absence = ServerPresence.make(.unavailable, from: .bare(home.address), to: prober)
            return context.after { [self] context in deliverPresence(absence, to: prober, origin: nil, context) }
        }
        for presence in presences { answerProbe(presence, to: prober, nil, context) }
    }

    /// Not to one of our own whose request waits for an answer, which would end it. Other servers do not ask then; who does all the same
    /// hears what he hears where there is no account: a request and a probe would tell one from the other (`reliability.md` rule 23).
    private func denySubscription(of prober: BareJID, _ home: AccountHome, _ context: LoopContext) {
        guard !home.roster.state(of: prober).pendingIn || !context.hosts.isOurs(prober) else { return }
        let denial = ServerPresence.make(.unsubscribed, from: .bare(home.address), to: .bare(prober))
        context.after { [self] context in deliverSubscription(.unsubscribed, denial, to: prober, context) }
    }

    private func answerProbe(_ presence: Stanza, to prober: JID, _ ref: SessionRef?, _ context: LoopContext) {
        if let ref { return context.post(presence.encoded(to: prober), to: ref) }
        context.after { [self] context in deliverPresence(presence, to: prober, origin: nil, context) }
    }
}

extension AccountHome {
    /// Subscribed (`from` or `both`), or the account itself; and not blocked.
    package func maySeePresence(_ other: JID) -> Bool {
        if blocks(other) { return false }
        return other.bare == address || roster.state(of: other.bare).from
    }
}

/// Presence that the server says in an account's name.
enum ServerPresence {
    static func unavailable(from address: FullJID) -> Stanza { make(.unavailable, from: .full(address), to: nil) }

    static func make(_ type: PresenceType, from: JID, to: JID?) -> Stanza {
        Stanza(element(type), kind: .presence(type), from: from, to: to)
    }

    /// One element per type, parsed once; addresses are put in when a stanza is encoded.
    private static func element(_ type: PresenceType) -> FlatElement {
        switch type {
        case .available: available
        case .unavailable: unavailableElement
        case .subscribe: subscribe
        case .subscribed: subscribed
        case .unsubscribe: unsubscribe
        case .unsubscribed: unsubscribed
        case .probe: probe
        case .error: preconditionFailure("an error presence answers a stanza: StanzaBuilder.error")
        }
    }

    private static let available = parse(nil)
    private static let unavailableElement = parse("unavailable")
    private static let subscribe = parse("subscribe")
    private static let subscribed = parse("subscribed")
    private static let unsubscribe = parse("unsubscribe")
    private static let unsubscribed = parse("unsubscribed")
    private static let probe = parse("probe")

    private static func parse(_ type: String?) -> FlatElement {
        var writer = XMLWriter()
        writer.open("presence", .client)
        if let type { writer.attribute("type", type) }
        writer.close()
        guard let element = try? parseElement(writer.buffer, limits: .authenticated) else {
            preconditionFailure("the writer writes what the parser reads")
        }
        return element
    }
}
