import MartletCore
import MartletXML
import MartletXMPP

/// What service discovery says of accounts and of what they publish (§5, XEP-0060 §5). Those who see an account's presence learn of the account;
/// of its nodes everybody learns who may subscribe to them. To all others it looks like an account that does not exist (XEP-0030 §8).
extension PersonalEventing {
    var discovery: [IQRoute] {
        [
            .held(.get, "query", .discoInfo, at: .account) { held, context in info(held, context) },
            .held(.get, "query", .discoItems, at: .account) { held, context in items(held, context) },
        ]
    }

    private func info(_ held: HeldRequest, _ context: LoopContext) {
        let actor = held.request.actor
        guard let node = held.request.child.attribute("node"), !node.isEmpty else { return accountInfo(held, context) }
        carryOut(held, context) { nodes, audience, _, effects throws(PubSubError) in
            effects.answer = .reply(
                try Self.hidden(audience, actor) { () throws(PubSubError) in try nodes.answer(toInfoOf: node, for: actor, audience) })
        }
    }

    /// Asked by every client at log-in: it needs no nodes.
    private func accountInfo(_ held: HeldRequest, _ context: LoopContext) {
        let request = held.request
        held.router.withHome(of: request.owner, bytes: request.stanza.element.byteCount, context) { account, context in
            guard account.isResident, account.maySeePresence(request.actor), let host = request.host else { return held.refuse(.serviceUnavailable, context) }
            held.answer(DiscoInfo(ofAccountsAt: host).reply(node: nil), after: .none, context)
        }
    }

    private func items(_ held: HeldRequest, _ context: LoopContext) {
        let (query, actor) = (held.request.child, held.request.actor)
        let node = query.attribute("node") ?? ""
        carryOut(held, context) { nodes, audience, _, effects throws(PubSubError) in
            if !node.isEmpty {
                return try Self.hidden(audience, actor) { () throws(PubSubError) in try nodes.items(of: node, for: actor, audience, query, &effects) }
            }
            guard audience.seesPresence(actor.bare) else { throw PubSubError(.serviceUnavailable) }
            effects.answer = .reply(try nodes.items(for: actor, audience, query))
        }
    }

    /// Strangers do not learn that there is an account, or a node of it, from how it refuses (`reliability.md` rule 23), whatever XEP-0060 has for it. That
    /// a node is elsewhere only those hear who might have known of it.
    static func hidden<Value>(
        _ audience: AccountAudience, _ actor: JID, _ answer: () throws(PubSubError) -> Value
    ) throws(PubSubError) -> Value {
        do throws(PubSubError) { return try answer() } catch {
            throw error.stanza.condition == .gone || audience.seesPresence(actor.bare) ? error : PubSubError(.serviceUnavailable)
        }
    }
}
