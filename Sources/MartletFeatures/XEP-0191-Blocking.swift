package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let blocking: Namespace = "urn:xmpp:blocking"
    package static let blockingErrors: Namespace = "urn:xmpp:blocking:errors"
}

/// Whom an account wants to have nothing to do with: neither hears of the other any more, and the one who is blocked cannot
/// tell it from an account that is never there (§3.3). Subscriptions stay as they are ("polite blocking", §4).
package struct Blocking: IQResponder, ScreeningStage {
    package static let specification = Specification.xep(191, "Blocking Command", version: "1.3")
    package var disco: DiscoFeatures { .everywhere(.blocking) }
    /// Takes what is said of those who are blocked (XEP-0377); `nil` where nobody hears that.
    private let reporting: SpamReporting?

    package init(reporting: SpamReporting? = nil) { self.reporting = reporting }

    package var routes: [IQRoute] {
        [
            .home(.get, "blocklist", .blocking) { request, home, _ throws(StanzaError) in Self.list(request, home) },
            .home(.set, "block", .blocking) { request, home, context throws(StanzaError) in try block(request, home, context) },
            .home(.set, "unblock", .blocking) { request, home, _ throws(StanzaError) in try Self.unblock(request, home) },
        ]
    }

    // MARK: Screening

    package func screen(_ stanza: borrowing Stanza, _ home: AccountHome, _ route: borrowing Route) -> Verdict {
        guard home.blocks(route.peer) else { return .pass }
        switch (route.direction, stanza.kind) {
        case (.received, .presence): return .drop
        case (.received, .message), (.received, .iq): return .bounce(.serviceUnavailable)
        // Whoever is blocked saw the account go when that happened.
        case (.sent, .presence(.unavailable)): return .drop
        case (.sent, _): return .bounce(Self.blocked)
        }
    }

    /// §3.3, with the type that the XEP's example has.
    private static let blocked = StanzaError(.notAcceptable, .cancel, application: QName("blocked", .blockingErrors))

    // MARK: The list

    private static func list(_ request: IQRequest, _ home: AccountHome) -> HomeDecision {
        if case .full(let session) = request.actor, let index = home.index(of: session) {
            home.sessions[index].flags.insert(.blockListInterested)
        }
        let addresses = home.blockList.addresses.map(\.description).sorted()
        return HomeDecision(IQReply { write("blocklist", addresses, to: &$0) })
    }

    private func block(_ request: IQRequest, _ home: AccountHome, _ context: LoopContext) throws(StanzaError) -> HomeDecision {
        let addresses = try Self.addresses(in: request.child)
        guard !addresses.isEmpty else { throw .badRequest("nobody to block") }
        let limit = context.hosts.host(of: home.address)?.limits.blockedMax ?? 0
        let new = Set(addresses).subtracting(home.blockList.addresses)
        guard home.blockList.count + new.count <= limit else { throw .resourceConstraint("at most \(limit) addresses may be blocked") }
        let watchers = Watchers(of: home)
        for address in new { _ = home.blockList.insert(address) }
        let hidden = watchers.hide(from: home)
        let account = home.address
        let reports = reporting == nil ? [] : SpamReport.inside(request.child)
        let blocking = new.map { Write.document(home.id, DocumentKey(blocking: $0), XMLWriter().buffer) }
        return HomeDecision(.empty, writes: blocking + writes(of: reports, by: home, context)) { router, context in
            for (address, report) in reports { router.audit.record(.reported(address, reason: report.reason, by: account)) }
            Self.push("block", addresses, to: account, router, context)
            router.hidePresence(of: account, from: hidden.subscribers, context)
            for (session, receivers) in hidden.directed { router.hidePresence(ofSession: session, from: receivers, context) }
        }
    }

    private func writes(of reports: [(reported: JID, report: SpamReport)], by home: AccountHome, _ context: LoopContext) -> [Write] {
        guard let reporting else { return [] }
        return reports.map { .report(.add($0.report.stored(about: $0.reported, by: home, at: context.wallMilliseconds), reporting.limits)) }
    }

    /// Without items everybody (§3.5).
    private static func unblock(_ request: IQRequest, _ home: AccountHome) throws(StanzaError) -> HomeDecision {
        let addresses = try addresses(in: request.child)
        let gone = addresses.isEmpty ? home.blockList.addresses : home.blockList.addresses.intersection(addresses)
        let blocked = home.roster.subscribers.filter { home.blocks(.bare($0)) }
        for address in gone { _ = home.blockList.remove(address) }
        let welcome = blocked.filter { !home.blocks(.bare($0)) }.map { JID.bare($0) }
        let account = home.address
        return HomeDecision(.empty, writes: gone.map { .document(home.id, DocumentKey(blocking: $0), nil) }) { router, context in
            push("unblock", addresses, to: account, router, context)
            router.showPresence(of: account, to: welcome, context)
        }
    }

    private static func addresses(in request: ElementView) throws(StanzaError) -> [JID] {
        var addresses: [JID] = []
        // A request has room for thousands of items, and the account's lock is held.
        var known: Set<JID> = []
        for item in request.children where item.isNamed("item", .blocking) {
            guard let text = item.attribute("jid") else { throw .badRequest("an item has an address") }
            guard let address = try? JID(text) else { throw .jidMalformed }
            if known.insert(address).inserted { addresses.append(address) }
        }
        return addresses
    }

    // MARK: Pushes

    /// To every session that asked for the list (§3.3), in the order in which the changes were committed.
    private static func push(_ change: StaticString, _ addresses: [JID], to account: BareJID, _ router: Router, _ context: LoopContext) {
        let texts = addresses.map(\.description)
        router.withResidentHome(account) { home in
            for entry in home.sessions where entry.flags.contains(.blockListInterested) {
                let push = StanzaBuilder.iq(.set, from: nil, to: .full(entry.address), id: context.random.token()) { write(change, texts, to: &$0) }
                context.post(push, to: entry.ref)
            }
        }
    }

    private static func write(_ name: StaticString, _ addresses: [String], to writer: inout XMLWriter) {
        writer.element(name, .blocking) { writer in
            for address in addresses { writer.element("item", .blocking, ["jid": address]) }
        }
    }
}

extension DocumentKey {
    init(blocking address: JID) { self.init(namespace: DocumentKey.blockList, key: address.description) }
}

/// Who sees that an account is there, before its block list changes: subscribers, and those who got directed presence.
private struct Watchers {
    private let subscribers: [BareJID]

    init(of home: AccountHome) {
        subscribers = home.roster.subscribers.filter { !home.blocks(.bare($0)) }
    }

    /// After the change: those who are to see the account go. Directed presence to them is over (RFC 6121 §4.6).
    func hide(from home: AccountHome) -> (subscribers: [JID], directed: [(FullJID, [JID])]) {
        let hidden = subscribers.filter { home.blocks(.bare($0)) }
        var directed: [(FullJID, [JID])] = []
        for index in home.sessions.indices {
            let receivers = home.sessions[index].directed.filter { home.blocks($0) }
            home.sessions[index].directed.removeAll { home.blocks($0) }
            let others = receivers.filter { !home.sessions[index].isAvailable || !hidden.contains($0.bare) }
            if !others.isEmpty { directed.append((home.sessions[index].address, others)) }
        }
        return (hidden.map { .bare($0) }, directed)
    }
}
