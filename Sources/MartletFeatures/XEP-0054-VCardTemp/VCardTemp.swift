package import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore

/// An account's card, for everybody to read. A directory may say a part of it (``Profile``).
///
/// Others get `service-unavailable` where there is no card and where there is no account (§3.3); the owner gets
/// `item-not-found` where there is no card (§3.1).
package struct VCardTemp: IQResponder {
    package static let specification = Specification.xep(54, "vcard-temp", version: "1.3.0")
    package let disco = DiscoFeatures.everywhere(.vCard)
    static let key = DocumentKey.vCard
    /// Where avatars are besides; `nil` where they are in cards only.
    private let eventing: PersonalEventing?
    /// Where it is known what a directory says of people; `nil` where none does.
    private let profiles: (any ProfileSource)?

    package init(eventing: PersonalEventing? = nil, profiles: (any ProfileSource)? = nil) {
        self.eventing = eventing
        self.profiles = profiles
    }

    package var routes: [IQRoute] {
        [
            setting,
            .concurrent(.get, "vCard", .vCard, at: .account) { request, router async throws(StanzaError) in
                try await Self.get(request, router.store)
            },
        ]
    }

    private var setting: IQRoute {
        let plain: @Sendable (IQRequest, AccountHome, LoopContext) throws(StanzaError) -> HomeDecision = { request, home, context throws(StanzaError) in
            try set(request, home, context)
        }
        guard let profiles else { return .home(.set, "vCard", .vCard, plain) }
        return .chosen(.set, "vCard", .vCard) { request in
            guard let profile = profiles.profile(of: request.owner) else { return .home(plain) }
            // The directory may have to be changed before the card is.
            return .suspending { request, router async throws(StanzaError) in try await set(request, profile, profiles, router) }
        }
    }

    private func set(_ request: IQRequest, _ profile: Profile, _ profiles: any ProfileSource, _ router: Router) async throws(StanzaError) -> IQReply {
        guard let id = request.account else { throw .serviceUnavailable }
        guard let mailbox = request.mailbox, let limits = request.host?.limits else { throw StanzaError(.internalServerError, .wait) }
        let keeping = ProfileKeeping(source: profiles, eventing: eventing, router: router, mailbox: mailbox)
        try await keeping.set(request.child, of: request.owner, id, profile, bytesMax: limits.vCardBytesMax)
        return .empty
    }

    private func set(_ request: IQRequest, _ home: AccountHome, _ context: LoopContext) throws(StanzaError) -> HomeDecision {
        let limit = context.hosts.host(of: home.address)?.limits.vCardBytesMax ?? 0
        var writer = XMLWriter(contentNamespace: .none)
        writer.append(request.child)
        // As it is kept: it came shorter where prefixes stood for namespaces.
        guard writer.buffer.readableBytes <= limit else { throw .policyViolation("a card may have \(limit) bytes") }
        let (account, address) = (home.id, home.address)
        // If a directory has said a part of it before, that is the account's own now.
        var decision = HomeDecision(.empty, writes: [.document(account, Self.key, writer.buffer), .document(account, .profile, nil)])
        if let eventing {
            decision.writes.append(home.owe(.temp))
            decision.committed = { router, context in
                let nodes = OwnNodes(eventing: eventing, account: address, id: account, router: router, mailbox: context.mailbox)
                eventing.conversions.note(.temp, of: account, nodes, bytesMax: limit)
            }
        }
        return decision
    }

    private static func get(_ request: IQRequest, _ store: any Store) async throws(StanzaError) -> IQReply {
        // Where there is no account, the store is asked all the same: how long the answer takes must not tell (rule 23).
        do throws(StoreError) {
            if let card = try await store.document(request.account ?? .nobody, key) { return IQReply { $0.raw(card) } }
        } catch { throw StanzaError(.internalServerError, .wait) }
        throw request.isByOwner ? .itemNotFound() : .serviceUnavailable
    }
}

extension VCardTemp: ProfileStage {
    package func put(_ profiles: [(account: BareJID, profile: Profile?)], _ router: Router, on mailbox: LoopMailbox) async throws(StoreError) {
        guard let source = self.profiles else { return }
        try await ProfileKeeping(source: source, eventing: eventing, router: router, mailbox: mailbox).put(profiles)
    }
}
