package import MartletCore
import MartletXML
package import MartletXMPP

/// Every account publishes to whoever sees its presence, and to whomever it lets (XEP-0163): its nodes are at its own address.
///
/// What nodes decide is in `XEP-0060-PubSub`; whom an account tells without having been asked to is in `PubSubTelling`.
package struct PersonalEventing: IQResponder {
    package static let specification = Specification.xep(163, "Personal Eventing Protocol", version: "1.2.2")
    private let settings: PersonalEventingSettings
    /// What is published that is kept elsewhere too.
    let conversions = CardConversions()
    /// Where it is known what a directory says of people; `nil` where none does.
    let profiles: (any ProfileSource)?

    package init(_ settings: PersonalEventingSettings = PersonalEventingSettings(), profiles: (any ProfileSource)? = nil) {
        self.settings = settings
        self.profiles = profiles
    }

    /// Items that a node keeps at most.
    var itemsMax: Int { settings.itemsMax }

    package var disco: DiscoFeatures {
        var disco = DiscoFeatures(account: PubSubNodes.namespaces)
        disco.accountIdentities = [.init("pubsub", "pep")]
        // Cards are at a node (XEP-0292 §7).
        disco.accountNames = PubSubNodes.features(settings.nodes(of: .nobody)) + [Namespace.vCard4.name]
        return disco
    }

    package var routes: [IQRoute] {
        PubSubRequest.iqRoutes(at: .account) { request, held, context in take(request, held, context) }
    }

    /// A request about the nodes of an account, by whomever.
    private func take(_ request: PubSubRequest, _ held: HeldRequest, _ context: LoopContext) {
        if held.request.isByOwner, OlderBookmarks.answer(request, held, self, context) { return }
        guard let profiles, let place = ProfiledNodes.Place(request), let profile = profiles.profile(of: held.request.owner) else {
            return carry(request, held, context)
        }
        let profiled = ProfiledNodes(place: place, source: profiles, card: ProfiledCard(profile), profile: profile, nodes: ownNodes(of: held, context))
        do throws(StanzaError) {
            switch try profiled.review(request) {
            case .carry(let request): carry(request, held, context)
            case .ask(let question):
                guard held.request.isByOwner else { throw .forbidden("the directory is changed by whom it is about") }
                carry(request, held, context, after: question)
            }
        } catch {
            carry(request, held, context, refusing: error)
        }
    }

    /// A request that waits for the directory; what the same client has sent later does not.
    private func carry(
        _ request: PubSubRequest, _ held: HeldRequest, _ context: LoopContext, after question: @escaping ProfiledNodes.Question
    ) {
        let mailbox = context.mailbox
        // A task, since others are asked in turn; whoever has made the request waits for its answer.
        Task(executorPreference: held.router.executor) {
            let outcome: Result<PubSubRequest, StanzaError>
            do throws(StanzaError) { outcome = .success(try await question()) } catch { outcome = .failure(error) }
            mailbox.run { context in
                switch outcome {
                case .success(let request): carry(request, held, context)
                case .failure(let error): carry(request, held, context, refusing: error)
                }
                context.runEffects()
            }
        }
    }

    /// - Parameter refusal: what those learn who may know of the account.
    private func carry(_ request: PubSubRequest, _ held: HeldRequest, _ context: LoopContext, refusing refusal: StanzaError? = nil) {
        let actor = held.request.actor
        carryOut(held, context, owing: Self.cardChange(of: request, held)) { nodes, audience, moment, effects throws(PubSubError) in
            try Self.hidden(audience, actor) { () throws(PubSubError) in
                if !request.isAboutOneNode, !audience.seesPresence(actor.bare) { throw PubSubError(.serviceUnavailable) }
                if let refusal { throw PubSubError(refusal) }
                try nodes.take(request, by: actor, audience, moment, &effects)
            }
        } then: { home, context in
            if let change = conversion(of: request, held, home) { note(change, ownNodes(of: held, context), context) }
        }
    }

    /// What is to be put elsewhere once a request is done. Under the lock.
    private func conversion(of request: PubSubRequest, _ held: HeldRequest, _ home: PubSubHome) -> CardConversions.Change? {
        guard request.node == Namespace.bookmarks.name, request.mayChangeItems else { return Self.cardChange(of: request, held) }
        return home.shard.residentAccount(home.address).map(OlderBookmarks.isWanted) == true ? .bookmarks : nil
    }

    /// What the owner publishes that is in his card as well.
    private static func cardChange(of request: PubSubRequest, _ held: HeldRequest) -> CardConversions.Change? {
        guard case .publish(let publication) = request, held.request.isByOwner else { return nil }
        return switch publication.node {
        case Namespace.avatarMetadata.name: .avatar
        case VCard4.node: .card
        default: nil
        }
    }

    func note(_ change: CardConversions.Change, _ nodes: OwnNodes, _ context: LoopContext) {
        guard let limits = context.hosts.host(of: nodes.account)?.limits else { return }
        conversions.note(change, of: nodes.id, nodes, bytesMax: limits.vCardBytesMax)
    }

    func ownNodes(of held: HeldRequest, _ context: LoopContext) -> OwnNodes {
        OwnNodes(eventing: self, account: held.request.owner, id: held.request.account ?? .nobody, router: held.router, mailbox: context.mailbox)
    }

    /// Asks the nodes of the account that a request is addressed to.
    ///
    /// - Parameters:
    ///   - change: what is to be put elsewhere if they do not refuse.
    ///   - then: runs if they do not refuse, under the lock of their shard.
    func carryOut(
        _ held: HeldRequest, _ context: LoopContext, owing change: CardConversions.Change? = nil,
        _ decide: @escaping @Sendable (inout PubSubNodes, AccountAudience, NodeMoment, inout NodeEffects) throws(PubSubError) -> Void,
        then: @escaping PubSubKeeping.Then = { _, _ in }
    ) {
        let keeping = PubSubKeeping(router: held.router)
        enter(held.request.owner, bytes: held.request.stanza.element.byteCount, keeping, context) { _, home, context in
            guard let home else { return held.refuse(Self.refusal(held, isThere: held.request.account != nil), context) }
            keeping.carryOut(held, home, context, { home, context, effects throws(PubSubError) in
                // When it is asked again, the account may have left memory.
                guard let account = home.shard.residentAccount(home.address) else { throw PubSubError(StanzaError(.internalServerError, .wait)) }
                try decide(&home.nodes, AccountAudience(account, context), keeping.moment(context), &effects)
                if let change, effects.needsMarks == nil { effects.beside.append(account.owe(change)) }
            }, then: then)
        }
    }

    /// What others hear does not say whether there is such an account (`reliability.md` rule 23).
    private static func refusal(_ held: HeldRequest, isThere: Bool) -> StanzaError {
        isThere ? StanzaError(.internalServerError, .wait) : .serviceUnavailable
    }

    /// Does `work` with an account and its nodes, both in memory; with neither if there is no such account, or it cannot be read.
    ///
    /// Where there is no account, nobody's nodes are read all the same: how long an answer takes must not tell (`reliability.md` rule 23).
    func enter(
        _ address: BareJID, bytes: Int, _ keeping: PubSubKeeping, _ context: LoopContext,
        _ work: @escaping @Sendable (AccountHome?, PubSubHome?, LoopContext) -> Void
    ) {
        keeping.router.withHome(of: address, bytes: bytes, context) { account, context in
            guard account.isResident || account.isAbsent else { return work(nil, nil, context) }
            let id = account.isResident ? account.id : .nobody
            keeping.enter(address, .account(id), settings.nodes(of: id), bytes: bytes, context) { home, context in
                guard let home, id != .nobody else { return work(nil, nil, context) }
                if let account = home.shard.residentAccount(address), account.id == id { return work(account, home, context) }
                context.after { context in enter(address, bytes: bytes, keeping, context, work) }
            }
        }
    }
}

/// What the operator allows an account's nodes.
package struct PersonalEventingSettings: Hashable, Sendable {
    package var nodesMax = 200
    package var itemsMax = 1_000
    package var bytesMax = 10 * 1024 * 1024
    package var payloadBytesMax = 256 * 1024
    package init() {}

    func nodes(of account: AccountID) -> PubSubSettings {
        var settings = PubSubSettings.personal(account)
        settings.nodesMax = nodesMax
        settings.itemsMax = itemsMax
        settings.bytesMax = bytesMax
        settings.payloadBytesMax = payloadBytesMax
        return settings
    }
}

extension PubSubRequest {
    /// Whether it is answered with a result only by a node that lets in who asks. What else there is, every account would answer.
    fileprivate var isAboutOneNode: Bool {
        switch self {
        case .subscriptions, .affiliations, .defaultOptions, .defaultConfiguration: false
        default: true
        }
    }

    /// Whether a node may have other items afterwards.
    fileprivate var mayChangeItems: Bool {
        switch self {
        case .publish, .retract, .configure, .delete, .purge: true
        default: false
        }
    }
}

// MARK: Who comes online

extension PersonalEventing: EventingStage {
    package func wish(_ wish: NodeWish, at home: AccountHome, _ router: Router, _ context: LoopContext) {
        let owners = wish.session == nil ? [] : home.roster.subscriptions.filter { contact in
            context.hosts.host(of: contact) != nil && !home.blocks(.bare(contact))
        }
        let (own, id) = (home.address, home.id)
        context.after { context in
            if wish.session != nil, wish.nodes.contains(OlderBookmarks.node) {
                note(.bookmarks, OwnNodes(eventing: self, account: own, id: id, router: router, mailbox: context.mailbox), context)
            }
            sendLastItems(of: own, wish, router, context)
            for owner in owners { sendLastItems(of: owner, wish, router, context) }
        }
    }

    package func loaded(_ home: AccountHome, _ router: Router, _ context: LoopContext) {
        let owed = home.owedConversions.entries.map(\.change)
        guard !owed.isEmpty else { return }
        let nodes = OwnNodes(eventing: self, account: home.address, id: home.id, router: router, mailbox: context.mailbox)
        for change in owed { note(change, nodes, context) }
    }

    package func admitted(_ contact: BareJID, at home: AccountHome, _ router: Router, _ context: LoopContext) {
        let owner = home.address
        let remote = home.remotePresences.sessions(of: contact).map { NodeWish($0.profile.interests, $0.address, nil) }
        context.after { context in
            let local = router.withResidentHome(contact) { home in
                home.sessions.filter(\.isAvailable).map { NodeWish($0.profile.interests, $0.address, $0.ref) }
            }
            for wish in (local ?? []) + remote where !wish.nodes.isEmpty { sendLastItems(of: owner, wish, router, context) }
        }
    }

    /// What he may not know of any more, he is not subscribed to any more.
    package func dismissed(_ contact: BareJID, at home: AccountHome, _ router: Router, _ context: LoopContext) {
        let (owner, keeping) = (home.address, PubSubKeeping(router: router))
        context.after { context in
            enter(owner, bytes: 0, keeping, context) { account, home, context in
                guard let account, let home else { return }
                var effects = NodeEffects()
                home.nodes.review(contact, AccountAudience(account, context), &effects)
                _ = keeping.perform(effects, home, context)
            }
        }
    }

    package func withdraw(
        from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext,
        _ done: @escaping @Sendable (Bool, LoopContext) -> Void
    ) {
        let keeping = PubSubKeeping(router: router)
        enter(grantor, bytes: 0, keeping, context) { _, home, context in
            guard let home else { return done(false, context) }
            keeping.withdraw(from: account, home, context)
            done(true, context)
        }
    }

    package func isDecision(_ message: borrowing Stanza) -> Bool {
        guard let form = message.element.root.firstChild("x", .dataForms) else { return false }
        return (try? DataForm(form))?.type == PubSubNodes.approvalType
    }

    package func decide(_ arrival: Arrival, _ router: Router, _ context: LoopContext) {
        let keeping = PubSubKeeping(router: router)
        enter(arrival.to.bare, bytes: arrival.stanza.element.byteCount, keeping, context) { account, home, context in
            var (error, ticket): (StanzaError?, CommitTicket) = (nil, .none)
            if let account, let home, let form = arrival.stanza.element.root.firstChild("x", .dataForms) {
                var effects = NodeEffects()
                do throws(PubSubError) {
                    _ = try home.nodes.takeApproval(form, by: arrival.from, AccountAudience(account, context), keeping.moment(context), &effects)
                } catch let refusal {
                    error = refusal.stanza
                }
                ticket = keeping.perform(effects, home, context)
            } else {
                error = StanzaError(.internalServerError, .wait)
            }
            if let error { router.refuse(arrival, error, context) }
            arrival.completion?.complete(ticket, in: context)
        }
    }

    /// XEP-0163 §4.3.4, XEP-0060 §6.1.7. With no lock held.
    private func sendLastItems(of owner: BareJID, _ wish: NodeWish, _ router: Router, _ context: LoopContext) {
        let keeping = PubSubKeeping(router: router)
        enter(owner, bytes: 0, keeping, context) { account, home, context in
            guard let account, let home, !account.blocks(.full(wish.address)) else { return }
            let deliveries = home.nodes.lastItems(for: wish.address, AccountAudience(account, context), keeping.moment(context)) { wish.nodes.contains($0) }
            PubSubTelling(router: router).send(deliveries, to: wish.session, home, context)
        }
    }
}
