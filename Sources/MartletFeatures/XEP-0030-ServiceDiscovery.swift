package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let discoInfo: Namespace = "http://jabber.org/protocol/disco#info"
    package static let discoItems: Namespace = "http://jabber.org/protocol/disco#items"
}

/// What the domain and its accounts are and can do, collected from the features themselves.
///
/// An account tells it to those who see its presence; to all others it looks like an account that does not exist (§8).
package struct ServiceDiscovery: IQResponder {
    package static let specification = Specification.xep(30, "Service Discovery", version: "2.5.0")
    package let disco = DiscoFeatures.everywhere(.discoInfo, .discoItems)
    /// What belongs to the domain and has an address of its own, such as its rooms.
    private let items: [Item]
    /// What accounts have published; `nil` where they publish nothing.
    private let eventing: PersonalEventing?
    /// What is done at the domain's address.
    private let commands: ServerCommands?

    package struct Item: Hashable, Sendable {
        package var address: BareJID
        package var name: String?
        package init(_ address: BareJID, name: String? = nil) {
            self.address = address
            self.name = name
        }
    }

    package init(items: [Item] = [], eventing: PersonalEventing? = nil, commands: ServerCommands? = nil) {
        self.items = items
        self.eventing = eventing
        self.commands = commands
    }

    package var routes: [IQRoute] {
        [
            .immediate(.get, "query", .discoInfo, at: .host) { request, host throws(StanzaError) in try hostInfo(request, host) },
            .immediate(.get, "query", .discoItems, at: .host) { request, host throws(StanzaError) in try hostItems(request, host) },
        ] + (eventing?.discovery ?? [
            .home(.get, "query", .discoInfo, at: .account) { request, home, context throws(StanzaError) in
                try Self.accountInfo(request, home, context)
            },
            .home(.get, "query", .discoItems, at: .account) { request, home, _ throws(StanzaError) in
                try Self.checkSeesPresence(request, home)
                return HomeDecision(try Self.noItems(request))
            },
        ])
    }

    private func hostInfo(_ request: IQRequest, _ host: Host) throws(StanzaError) -> IQReply {
        let node = request.child.attribute("node")
        if let node, let reply = try commands?.info(node, for: request, host) { return reply }
        if let node, node != EntityCapabilities.node(of: host), node != EntityCapabilities2.node(of: host) { throw .itemNotFound() }
        return DiscoInfo(ofHost: host).reply(node: node)
    }

    private static func accountInfo(_ request: IQRequest, _ home: AccountHome, _ context: LoopContext) throws(StanzaError) -> HomeDecision {
        try checkSeesPresence(request, home)
        guard let host = context.hosts.host(of: home.address) else { throw .serviceUnavailable }
        if request.child.hasAttribute("node") { throw .itemNotFound() }
        return HomeDecision(DiscoInfo(ofAccountsAt: host).reply(node: nil))
    }

    private func hostItems(_ request: IQRequest, _ host: Host) throws(StanzaError) -> IQReply {
        if let node = request.child.attribute("node") {
            guard let reply = commands?.items(node, for: request, host) else { throw .itemNotFound() }
            return reply
        }
        return IQReply { writer in
            writer.element("query", .discoItems) { writer in
                for item in items { writer.element("item", .discoItems, ["jid": item.address.description, "name": item.name]) }
            }
        }
    }

    private static func noItems(_ request: IQRequest) throws(StanzaError) -> IQReply {
        if request.child.hasAttribute("node") { throw .itemNotFound() }
        return IQReply { $0.element("query", .discoItems) }
    }

    private static func checkSeesPresence(_ request: IQRequest, _ home: AccountHome) throws(StanzaError) {
        guard home.maySeePresence(request.actor) else { throw .serviceUnavailable }
    }
}

/// An answer to disco#info: who one is, what one can do, and further forms (XEP-0128).
package struct DiscoInfo: Hashable, Sendable {
    package typealias Identity = DiscoIdentity
    package var identities: [Identity]
    /// Without duplicates.
    package var features: [String]
    package var forms: [DiscoForm]

    package init(identities: [Identity], features: [String], forms: [DiscoForm] = []) {
        self.identities = identities
        self.features = features
        self.forms = forms
    }

    package init(ofHost host: Host) {
        let nested = host.delegating?.nested(at: .host) ?? []
        let disco = host.features.map(\.disco)
        self.init(
            identities: [Identity("server", "im")], features: Self.sorted(disco.flatMap(\.host), disco.flatMap(\.hostNames)),
            forms: Self.merged(Self.own(host.features, besides: nested).flatMap(\.hostForms)))
        nest(nested)
    }

    package init(ofAccountsAt host: Host) {
        let nested = host.delegating?.nested(at: .account) ?? []
        let disco = host.features.map(\.disco)
        self.init(
            identities: [Identity("account", "registered")] + Self.own(host.features, besides: nested).flatMap(\.accountIdentities),
            features: Self.sorted(disco.flatMap(\.account), disco.flatMap(\.accountNames)))
        nest(nested)
    }

    /// Of a feature that would answer in a namespace if somebody else did not, only the names of other namespaces are told (XEP-0355 §7.2).
    private static func own(_ features: [any Feature], besides nested: [NestedDisco]) -> [DiscoFeatures] {
        features.filter { feature in !nested.contains { Host.answers(feature, in: $0.namespace) } }.map(\.disco)
    }

    /// Puts what others do in the server's place where the server's own would be.
    private mutating func nest(_ nested: [NestedDisco]) {
        guard !nested.isEmpty else { return }
        features.removeAll { name in nested.contains { $0.covers(name) } }
        features = Self.sorted([], features + nested.flatMap(\.features))
        for identity in nested.flatMap(\.identities) where !identities.contains(identity) { identities.append(identity) }
        for form in nested.flatMap(\.forms) where !forms.contains(where: { $0.type == form.type }) { forms.append(form) }
    }

    /// What several features say in forms of one type is in one form: nobody would know which to read (XEP-0128 §2).
    private static func merged(_ forms: [DiscoForm]) -> [DiscoForm] {
        forms.reduce(into: []) { merged, form in
            if let index = merged.firstIndex(where: { $0.type == form.type }) { merged[index].fields += form.fields } else { merged.append(form) }
        }
    }

    private static func sorted(_ namespaces: [Namespace], _ names: [String]) -> [String] {
        Set(namespaces.map(\.name) + names).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    package func reply(node: String?) -> IQReply {
        IQReply { writer in
            writer.element("query", .discoInfo, ["node": node]) { writer in
                for identity in identities {
                    writer.open("identity", .discoInfo)
                    writer.attribute("category", identity.category)
                    writer.attribute("type", identity.type)
                    writer.attribute("name", identity.name)
                    writer.attribute("lang", .xml, identity.language)
                    writer.close()
                }
                for feature in features { writer.element("feature", .discoInfo, ["var": feature]) }
                for form in forms { DataForm(form).write(to: &writer) }
            }
        }
    }
}
