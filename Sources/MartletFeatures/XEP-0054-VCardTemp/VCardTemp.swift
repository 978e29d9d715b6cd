package import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// An account's card, for everybody to read.
///
/// Others get `service-unavailable` where there is no card and where there is no account (§3.3); the owner gets
/// `item-not-found` where there is no card (§3.1).
package struct VCardTemp: IQResponder {
    package static let specification = Specification.xep(54, "vcard-temp", version: "1.3.0")
    package let disco = DiscoFeatures.everywhere(.vCard)
    static let key = DocumentKey.vCard
    /// Where avatars are besides; `nil` where they are in cards only.
    private let eventing: PersonalEventing?

    package init(eventing: PersonalEventing? = nil) { self.eventing = eventing }

    package var routes: [IQRoute] {
        [
            .home(.set, "vCard", .vCard) { request, home, context throws(StanzaError) in try set(request, home, context) },
            .concurrent(.get, "vCard", .vCard, at: .account) { request, router async throws(StanzaError) in
                try await Self.get(request, router.store)
            },
        ]
    }

    private func set(_ request: IQRequest, _ home: AccountHome, _ context: LoopContext) throws(StanzaError) -> HomeDecision {
        let limit = context.hosts.host(of: home.address)?.limits.vCardBytesMax ?? 0
        var writer = XMLWriter(contentNamespace: .none)
        writer.append(request.child)
        // As it is kept: it came shorter where prefixes stood for namespaces.
        guard writer.buffer.readableBytes <= limit else { throw .policyViolation("a card may have \(limit) bytes") }
        let (account, address) = (home.id, home.address)
        var decision = HomeDecision(.empty, writes: [.document(account, Self.key, writer.buffer)])
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
