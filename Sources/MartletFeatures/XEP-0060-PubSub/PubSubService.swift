package import MartletCore
import MartletXML
package import MartletXMPP

/// Nodes at a domain of their own, for whoever may create them (XEP-0060). What nodes decide is in `PubSubNodes`.
package struct PubSubService: DomainService {
    package static let specification = Specification.xep(
        60, "Publish-Subscribe", version: "1.29.0", note: "no collections (XEP-0248), no digests; one subscription for each address at a node")

    package struct Settings: Sendable {
        package var nodes = PubSubSettings.service
        /// Who administers the service: they own all of its nodes.
        package var operators: NamedAccounts = []
        package init() {}
    }
    private let settings: Settings

    package init(_ settings: Settings) { self.settings = settings }

    // MARK: Stanzas for the service

    /// Requests are the features'; what else is of interest is an owner's answer whether somebody may subscribe (§8.6).
    package func receive(_ arrival: Arrival, _ router: Router, _ context: LoopContext) -> Progress {
        guard arrival.to.bare.isDomain, case .message(let type) = arrival.stanza.kind, type != .error,
            let form = arrival.stanza.element.root.firstChild("x", .dataForms)
        else {
            if case .presence = arrival.stanza.kind { return .done }
            context.after { context in router.refuse(arrival, .serviceUnavailable, context) }
            return .done
        }
        enter(arrival.to.bare, bytes: arrival.stanza.element.byteCount, router, context) { home, context in
            guard let home else { return router.refuse(arrival, StanzaError(.internalServerError, .wait), context) }
            takeApproval(form, arrival, home, router, context)
        }
        return .done
    }

    private func takeApproval(_ form: ElementView, _ arrival: Arrival, _ home: PubSubHome, _ router: Router, _ context: LoopContext) {
        let keeping = PubSubKeeping(router: router)
        var effects = NodeEffects()
        do throws(PubSubError) {
            let isTaken = try home.nodes.takeApproval(form, by: arrival.from, audience(of: arrival.from, context), keeping.moment(context), &effects)
            if !isTaken { router.refuse(arrival, .serviceUnavailable, context) }
            _ = keeping.perform(effects, home, context)
        } catch {
            router.refuse(arrival, error.stanza, context)
        }
    }

    package func withdraw(
        from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext,
        _ done: @escaping @Sendable (Bool, LoopContext) -> Void
    ) {
        enter(grantor, bytes: 0, router, context) { home, context in
            guard let home else { return done(false, context) }
            PubSubKeeping(router: router).withdraw(from: account, home, context)
            done(true, context)
        }
    }

    package func stop(_ router: Router, _ context: LoopContext) {}

    // MARK: Nodes

    private func audience(of actor: JID, _ context: LoopContext) -> ServiceAudience {
        ServiceAudience(isAdmin: settings.operators.contains(actor.bare), hosts: context.hosts)
    }

    /// Asks the nodes something in the operator's name, and waits until it is on disk.
    ///
    /// - Parameter mailbox: of the loop on which it is asked.
    func carryOut(
        at address: BareJID, _ router: Router, _ mailbox: LoopMailbox,
        _ decide: @escaping @Sendable (inout PubSubNodes, ServiceAudience, NodeMoment, inout NodeEffects) throws(PubSubError) -> Void
    ) async throws(PubSubError) {
        let keeping = PubSubKeeping(router: router)
        let failure = PubSubError(StanzaError(.internalServerError, .wait))
        let result: Result<Void, PubSubError> = await withCheckedContinuation { continuation in
            mailbox.run { context in
                enter(address, bytes: 0, router, context) { home, context in
                    guard let home else { return continuation.resume(returning: .failure(failure)) }
                    keeping.carryOut(home, context) { home, context, effects throws(PubSubError) in
                        try decide(&home.nodes, ServiceAudience(isAdmin: true, hosts: context.hosts), keeping.moment(context), &effects)
                    } done: { result, context in
                        switch result {
                        case .failure(let error): continuation.resume(returning: .failure(error))
                        case .success((_, let ticket)):
                            context.afterCommit(ticket) { _, outcome in
                                continuation.resume(returning: (try? outcome.get()) == nil ? .failure(failure) : .success(()))
                            }
                        }
                    }
                }
                context.runEffects()
            }
        }
        try result.get()
    }

    private func enter(_ address: BareJID, bytes: Int, _ router: Router, _ context: LoopContext, _ work: @escaping PubSubHome.Work) {
        router.shard(of: address).withLock {
            PubSubKeeping(router: router).enter(address, .service(address.domainpart), settings.nodes, bytes: bytes, context, work)
        }
    }

    /// Asks the nodes of the service that a request is addressed to.
    func carryOut(
        _ held: HeldRequest, _ context: LoopContext,
        _ decide: @escaping @Sendable (inout PubSubNodes, ServiceAudience, NodeMoment, inout NodeEffects) throws(PubSubError) -> Void
    ) {
        let keeping = PubSubKeeping(router: held.router)
        let actor = held.request.actor
        enter(held.request.owner, bytes: held.request.stanza.element.byteCount, held.router, context) { home, context in
            guard let home else { return held.refuse(StanzaError(.internalServerError, .wait), context) }
            keeping.carryOut(held, home, context) { home, context, effects throws(PubSubError) in
                try decide(&home.nodes, audience(of: actor, context), keeping.moment(context), &effects)
            }
        }
    }

    /// What is announced (§10).
    var features: [String] { PubSubNodes.features(settings.nodes) }
    var identity: DiscoIdentity { PubSubNodes.identity(settings.nodes) }
}

/// A service has no roster: models that need one are not to be had there.
struct ServiceAudience: NodeAudience {
    let isAdmin: Bool
    let hosts: HostTable

    func seesPresence(_ address: BareJID) -> Bool { false }
    func isInGroups(_ address: BareJID, _ groups: Set<String>) -> Bool { false }
    func isLocal(_ address: BareJID) -> Bool { hosts.host(of: address) != nil }
}

/// The requests that a service is asked, and what it says of itself (§5).
package struct PubSubDirectory: IQResponder {
    package static let specification = PubSubService.specification
    private let service: PubSubService
    private let name: String

    package init(_ service: PubSubService, name: String) {
        self.service = service
        self.name = name
    }

    package var disco: DiscoFeatures {
        var disco = DiscoFeatures(host: [.discoInfo, .discoItems, .resultSets, .archive] + PubSubNodes.namespaces)
        disco.hostNames = service.features
        return disco
    }

    package var routes: [IQRoute] {
        PubSubRequest.iqRoutes(at: .host) { request, held, context in take(request, held, context) } + [
            .held(.get, "query", .discoInfo, at: .host) { held, context in info(held, context) },
            .held(.get, "query", .discoItems, at: .host) { held, context in items(held, context) },
        ]
    }

    private func take(_ request: PubSubRequest, _ held: HeldRequest, _ context: LoopContext) {
        let actor = held.request.actor
        service.carryOut(held, context) { nodes, audience, moment, effects throws(PubSubError) in
            try nodes.take(request, by: actor, audience, moment, &effects)
        }
    }

    private func info(_ held: HeldRequest, _ context: LoopContext) {
        let (request, actor) = (held.request, held.request.actor)
        guard let node = request.child.attribute("node"), !node.isEmpty else {
            guard let host = request.host else { return held.refuse(.serviceUnavailable, context) }
            var info = DiscoInfo(ofHost: host)
            var identity = service.identity
            identity.name = name
            info.identities = [identity]
            return held.answer(info.reply(node: nil), after: .none, context)
        }
        service.carryOut(held, context) { nodes, audience, _, effects throws(PubSubError) in
            effects.answer = .reply(try nodes.answer(toInfoOf: node, for: actor, audience))
        }
    }

    private func items(_ held: HeldRequest, _ context: LoopContext) {
        let (query, actor) = (held.request.child, held.request.actor)
        service.carryOut(held, context) { nodes, audience, _, effects throws(PubSubError) in
            if let node = query.attribute("node"), !node.isEmpty { return try nodes.items(of: node, for: actor, audience, query, &effects) }
            effects.answer = .reply(try nodes.items(for: actor, audience, query))
        }
    }
}
