package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let delegation: Namespace = "urn:xmpp:delegation:2"
}

/// Components that answer requests in the server's place, as the operator says (§4, admin mode; the other mode, in which people ask for it, is not
/// here). Requests to a domain and to the bare addresses of its accounts are forwarded, whoever they are from and whether there is such an account:
/// what others learn by that is the component's to decide (§10).
///
/// Nobody waits for a component that is away, nor long for one that does not answer, nor does anybody's request keep those of others waiting: they
/// are answered with `service-unavailable`. How many wait is bounded by ``Component/Limits``.
package struct NamespaceDelegation: Feature {
    package static let specification = Specification.xep(355, "Namespace Delegation", version: "0.5", note: "admin mode, for components")
    private struct Answerer {
        let component: Component
        let delegation: Delegation
    }

    private let answerers: [String: Answerer]

    /// - Parameter grants: no namespace is in two of them.
    package init(_ grants: [ComponentGrant] = []) {
        var answerers: [String: Answerer] = [:]
        for grant in grants {
            for delegation in grant.delegations { answerers[delegation.namespace] = Answerer(component: grant.component, delegation: delegation) }
        }
        self.answerers = answerers
    }

    package var disco: DiscoFeatures { DiscoFeatures(host: isDelegating ? [.delegation] : []) }

    /// Whether all requests of a namespace are somebody else's to answer.
    package func takesAway(_ namespace: Namespace) -> Bool { answerers[namespace.name]?.delegation.attributes.isEmpty ?? false }

    // MARK: What may be delegated

    /// Instead of a namespace: information about the nodes of accounts, none of which are the server's then (§7.2.4).
    package static let remainingInfo = "urn:xmpp:delegation:2:bare:disco#info:*"
    /// The same of what accounts and their nodes consist of (§7.2.5).
    package static let remainingItems = "urn:xmpp:delegation:2:bare:disco#items:*"

    /// What the server keeps to itself (§10): what it decides by itself, and what makes it somebody's server.
    private static let kept: Set<String> = [
        Namespace.roster.name, Namespace.blocking.name, Namespace.discoInfo.name, Namespace.discoItems.name, Namespace.delegation.name,
        Namespace.privilege.name, "urn:ietf:params:xml:ns:xmpp-sasl", "urn:xmpp:sasl:2", "urn:ietf:params:xml:ns:xmpp-bind", "urn:xmpp:bind:0",
        "urn:ietf:params:xml:ns:xmpp-session", "jabber:iq:auth",
    ]

    /// Whether a namespace may be delegated.
    package static func mayDelegate(_ namespace: String) -> Bool {
        if namespace == remainingInfo || namespace == remainingItems { return true }
        return !namespace.isEmpty && !kept.contains(namespace) && !namespace.hasPrefix("\(Namespace.delegation.name):")
    }
}

// MARK: Requests (§4.3)

extension NamespaceDelegation: DelegatingStage {
    package var isDelegating: Bool { !answerers.isEmpty }

    package func handler(_ kind: IQRequest.Kind, _ child: ElementView, at scope: IQRoute.Scope, by asker: BareJID) -> IQRoute.Handler? {
        guard let answerer = answerer(kind, child, at: scope), answerer.component.name != asker else { return nil }
        let component = answerer.component
        return .held { held, context in Self.forward(held, to: component, context) }
    }

    private func answerer(_ kind: IQRequest.Kind, _ child: ElementView, at scope: IQRoute.Scope) -> Answerer? {
        if child.isIn(.discoInfo) || child.isIn(.discoItems) {
            guard kind == .get, scope != .host else { return nil }
            if child.isNamed("query", .discoItems) { return answerers[Self.remainingItems] }
            return child.attribute("node")?.isEmpty ?? true ? nil : answerers[Self.remainingInfo]
        }
        guard let answerer = answerers[child.namespaceName] else { return nil }
        let isMeant = answerer.delegation.attributes.allSatisfy { name in child.attributes.contains { $0.prefix.isEmpty && $0.localName == name } }
        return isMeant ? answerer : nil
    }

    private static func forward(_ held: HeldRequest, to component: Component, _ context: LoopContext) {
        let stanza = held.request.stanza
        guard let domain = held.request.host?.domain else { return held.refuse(.serviceUnavailable, context) }
        held.router.ask(component, .set, inNameOf: domain, for: .init(of: stanza, context), context) { writer in
            writer.open("delegation", .delegation)
            writer.forwarded(stanza)
            writer.close()
        } answered: { outcome, answer, context in
            guard outcome == .result, let answer else { return held.refuse(.serviceUnavailable, context) }
            conclude(held, answer, context)
        }
    }

    private static func conclude(_ held: HeldRequest, _ result: Stanza, _ context: LoopContext) {
        guard let answer = answer(in: result, to: held.request) else { return held.refuse(.serviceUnavailable, context) }
        let payload = answer.firstChild
        switch IQType(of: answer) {
        case .result: held.answer(IQReply { writer in payload.map { writer.append($0) } }, after: .none, context)
        case .error:
            // The text of the XEP has `service-unavailable` for this, by which nobody would learn that a node is not there; ejabberd passes errors on.
            guard let payload, payload.isNamed("error", .client), payload.children.contains(where: { $0.isIn(.stanzaErrors) }) else { fallthrough }
            let request = held.request.stanza
            let error = StanzaBuilder.iq(.error, from: request.to, to: request.from, id: request.id ?? "") { $0.append(payload) }
            held.refuse(with: error, context)
        case .get, .set, nil: held.refuse(.serviceUnavailable, context)
        }
    }

    /// The forwarded answer, if it is one to this request. One that does not say who it is from is from whom was asked, as in the XEP's examples.
    private static func answer(in result: Stanza, to request: IQRequest) -> ElementView? {
        let forwarded = result.element.firstChild("delegation", .delegation)?.firstChild("forwarded", .forwarding)
        guard let answer = forwarded?.firstChild("iq", .client), answer.attribute("id") == request.stanza.id,
            let to = answer.attribute("to"), (try? JID(to)) == request.actor, answer.firstChild == nil || answer.onlyChild != nil
        else { return nil }
        guard let from = answer.attribute("from") else { return answer }
        return (try? JID(from)) == request.stanza.to ?? .bare(request.owner) ? answer : nil
    }
}

// MARK: Who answers for what (§4.2)

extension NamespaceDelegation: ComponentStage {
    package func greet(_ session: ComponentSession, replacing former: ComponentPowers) {
        let powers = session.component.settings?.powers ?? ComponentPowers()
        var hasNew: BareJID?
        for domain in powers.domains.union(former.domains).sorted(by: { $0.domainpart < $1.domainpart }) {
            let delegations = powers.delegations(of: domain)
            guard delegations != former.delegations(of: domain), session.context.hosts.host(of: domain) != nil else { continue }
            session.send(Self.announcement(of: delegations, from: domain, to: session))
            if !delegations.isEmpty { hasNew = hasNew ?? domain }
        }
        if let hasNew { askWhatIsNested(session, powers.delegations, from: hasNew) }
    }

    package func take(_ stanza: Stanza, to: JID, of session: ComponentSession, _ completion: Completion) -> Progress? { nil }

    private static func announcement(of delegations: [Delegation], from domain: BareJID, to session: ComponentSession) -> EncodedStanza {
        StanzaBuilder.message(.normal, from: .bare(domain), to: .bare(session.component.name), id: session.context.random.token()) { writer in
            writer.element("delegation", .delegation) { writer in
                for delegation in delegations {
                    writer.element("delegated", .delegation, ["namespace": delegation.namespace]) { writer in
                        for name in delegation.attributes { writer.element("attribute", .delegation, ["name": name]) }
                    }
                }
            }
        }
    }
}

// MARK: Service discovery (§7.2)

extension NamespaceDelegation {
    /// Features of a component that are told as the server's; further ones are not. The same for its identities and its forms.
    static let nestedFeaturesMax = 256
    static let nestedIdentitiesMax = 16
    static let nestedFormsMax = 8

    package func nested(at scope: IQRoute.Scope) -> [NestedDisco] {
        answerers.values.sorted { $0.delegation.namespace < $1.delegation.namespace }.map { answerer in
            let namespace = answerer.delegation.namespace
            return answerer.component.nested(at: scope).first { $0.namespace == namespace } ?? NestedDisco(namespace)
        }
    }

    /// Asked when it connects, and kept while it is connected (§9).
    private func askWhatIsNested(_ session: ComponentSession, _ delegations: [Delegation], from domain: BareJID) {
        let component = session.component
        for delegation in delegations where delegation.namespace != Self.remainingInfo && delegation.namespace != Self.remainingItems {
            for (scope, separator) in [(IQRoute.Scope.host, "::"), (.account, ":bare:")] {
                let node = "\(Namespace.delegation.name)\(separator)\(delegation.namespace)"
                session.router.ask(component, .get, inNameOf: domain, session.context) { writer in
                    writer.element("query", .discoInfo, ["node": node])
                } answered: { outcome, answer, _ in
                    guard outcome == .result, let answer, let nested = Self.nested(delegation.namespace, in: answer, node: node) else { return }
                    component.note(nested, at: scope)
                }
            }
        }
    }

    private static func nested(_ namespace: String, in result: Stanza, node: String) -> NestedDisco? {
        guard let query = result.element.firstChild("query", .discoInfo), query.attribute("node") ?? node == node, let info = DiscoInfo(query) else { return nil }
        return NestedDisco(
            namespace, identities: Array(info.identities.prefix(nestedIdentitiesMax)), features: Array(info.features.prefix(nestedFeaturesMax)),
            forms: Array(info.forms.prefix(nestedFormsMax)))
    }
}

extension NestedDisco {
    /// Whether a feature of the server's is of the namespace, which somebody else answers for.
    func covers(_ feature: String) -> Bool { feature == namespace || feature.hasPrefix("\(namespace)#") }
}
