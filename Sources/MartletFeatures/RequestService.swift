package import MartletCore
import MartletXML
package import MartletXMPP

/// A service that answers requests at its domain, and has nothing else there: no other addresses, no nodes, nothing that accounts are given.
package protocol RequestService: DomainService, IQResponder {
    /// What it is (XEP-0030 §3.1).
    var identity: DiscoIdentity { get }
}

extension RequestService {
    package func receive(_ arrival: Arrival, _ router: Router, _ context: LoopContext) -> Progress {
        if case .presence = arrival.stanza.kind { return .done }
        context.after { context in router.refuse(arrival, .serviceUnavailable, context) }
        return .done
    }

    /// What the service keeps of an account goes with its row.
    package func withdraw(
        from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext, _ done: @escaping @Sendable (Bool, LoopContext) -> Void
    ) { done(true, context) }

    package func stop(_ router: Router, _ context: LoopContext) {}

    /// What it says of itself (XEP-0030).
    var discovery: [IQRoute] {
        [
            .immediate(.get, "query", .discoInfo, at: .host) { request, host throws(StanzaError) in
                if request.child.hasAttribute("node") { throw .itemNotFound() }
                var info = DiscoInfo(ofHost: host)
                info.identities = [identity]
                return info.reply(node: nil)
            },
            .immediate(.get, "query", .discoItems, at: .host) { request, _ throws(StanzaError) in
                if request.child.hasAttribute("node") { throw .itemNotFound() }
                return IQReply { $0.element("query", .discoItems) }
            },
        ]
    }
}
