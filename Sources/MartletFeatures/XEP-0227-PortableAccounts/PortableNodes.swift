import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// An account's nodes (XEP-0163) as they come in, part by part (§4.9).
struct PortableNodes {
    private let account: BareJID
    private let owner: NodeOwner
    private let surroundings: PortableImport.Surroundings
    private let settings: PubSubSettings
    private var nodes: [OctetName: PubSubNode]
    private var byteCount: Int
    /// The last number or place given in this commit.
    private var lastName: UInt64?
    private(set) var writes: [Write] = []

    init(of account: BareJID, _ id: AccountID, _ stored: [StoredNode], _ surroundings: PortableImport.Surroundings) {
        self.account = account
        self.surroundings = surroundings
        owner = .account(id)
        let settings = surroundings.eventing.nodes(of: id)
        self.settings = settings
        nodes = Dictionary(stored.map { (OctetName($0.name), PubSubNode($0, settings)) }, uniquingKeysWith: { first, _ in first })
        byteCount = stored.reduce(0) { $0 + $1.itemBytes }
    }

    /// Beyond every name that this process has given: numbers of nodes are one for all accounts.
    private mutating func nextName() -> UInt64 {
        let name = surroundings.ids.next(after: lastName ?? surroundings.ids.used, wallMilliseconds: surroundings.now)
        lastName = name
        return name
    }

    private func isName(_ name: String) -> Bool { !name.isEmpty && name.utf8.count <= settings.nodeNameBytesMax }

    // MARK: What owners decide

    mutating func takeOwnership(_ element: ElementView, _ report: inout PortableReport) {
        guard let name = element.attribute("node"), isName(name) else { return report.skip("nodes without a name, or with one that is too long") }
        if element.isNamed("configure", .pubsubOwner) {
            var configuration = NodeConfiguration(defaultsOf: settings)
            if let form = element.firstChild("x", .dataForms) { configuration.take(portable: form, settings, &report) }
            if configure(name, configuration, &report) { report.take("nodes") }
        } else if element.isNamed("affiliations", .pubsubOwner) {
            for line in element.children where line.isNamed("affiliation", .pubsubOwner) { takeAffiliation(line, name, &report) }
        } else if element.isNamed("subscriptions", .pubsubOwner) {
            for line in element.children where line.isNamed("subscription", .pubsubOwner) { takeSubscription(line, name, &report) }
        } else {
            report.skip("what is no part of a node")
        }
    }

    /// - Returns: whether there is such a node now.
    private mutating func configure(_ name: String, _ configuration: NodeConfiguration, _ report: inout PortableReport) -> Bool {
        guard var node = nodes[OctetName(name)] else { return create(name, configuration, &report) != nil }
        node.configuration = configuration
        nodes[OctetName(name)] = node
        writes.append(.node(.setRecord(node.id, node.record(settings))))
        return true
    }

    private mutating func create(_ name: String, _ configuration: NodeConfiguration, _ report: inout PortableReport) -> PubSubNode? {
        guard nodes.count < settings.nodesMax else {
            report.skip("nodes past the limit of \(settings.nodesMax)")
            return nil
        }
        let node = PubSubNode(NodeID(raw: nextName()), name, created: surroundings.now, by: account, configuration)
        nodes[OctetName(name)] = node
        writes.append(.node(.create(owner, node.stored(settings))))
        return node
    }

    /// A node of which nothing was said is for its owner alone, and keeps what there is.
    private mutating func node(_ name: String, _ report: inout PortableReport) -> PubSubNode? {
        if let known = nodes[OctetName(name)] { return known }
        var configuration = NodeConfiguration(defaultsOf: settings)
        configuration.accessModel = .whitelist
        configuration.itemsMax = nil
        return create(name, configuration, &report)
    }

    private mutating func takeAffiliation(_ line: ElementView, _ name: String, _ report: inout PortableReport) {
        guard let address = line.attribute("jid").flatMap({ try? JID($0) })?.bare,
            let affiliation = line.attribute("affiliation").flatMap(NodeAffiliation.init(named:)), affiliation != .none, address != account
        else { return report.skip("affiliations of nobody") }
        guard var node = node(name, &report) else { return }
        guard node.affiliations[address] != nil || node.affiliations.count < settings.affiliationsMax else {
            return report.skip("affiliations past the limit of \(settings.affiliationsMax)")
        }
        node.affiliations[address] = affiliation
        nodes[OctetName(name)] = node
        writes.append(.node(.setAffiliation(node.id, StoredNodeAffiliation(address: address, affiliation: affiliation.rawValue))))
        report.take("affiliations")
    }

    private mutating func takeSubscription(_ line: ElementView, _ name: String, _ report: inout PortableReport) {
        // Prosody writes the state into an attribute of another name.
        let state = line.attribute("subscription") ?? line.attribute("subscribed")
        guard let address = line.attribute("jid").flatMap({ try? JID($0) }), let state = state.flatMap(NodeSubscription.State.init(rawValue:)) else {
            return report.skip("subscriptions of nobody")
        }
        guard var node = node(name, &report) else { return }
        guard node.subscriptions[address] == nil, node.subscriptions.count < settings.subscriptionsMax else {
            return report.skip("subscriptions past the limit, or of one address")
        }
        let used = Set(node.subscriptions.all.map(\.id))
        let known = line.attribute("subid").flatMap { $0.isEmpty || $0.utf8.count > settings.textBytesMax || used.contains($0) ? nil : $0 }
        var subscription = NodeSubscription(id: known ?? token(), address: address, state: state)
        if let form = line.firstChild("options", .pubsubOwner)?.firstChild("x", .dataForms) ?? line.firstChild("options", .pubsub)?.firstChild("x", .dataForms) {
            guard var read = try? DataForm(form) else { return report.skip("subscriptions with options that are none") }
            read.kind = .submit
            do throws(PubSubError) { try subscription.options.take(read, at: surroundings.now) } catch { return report.skip("subscriptions with options that are none") }
        }
        node.subscriptions.set(subscription)
        nodes[OctetName(name)] = node
        writes.append(.node(.setSubscription(node.id, subscription.stored)))
        report.take("subscriptions")
    }

    private func token() -> String { NodeMoment(now: surroundings.now, ids: surroundings.ids, random: surroundings.random).token() }

    // MARK: Items

    mutating func takeItem(_ element: ElementView, of name: String, _ report: inout PortableReport) {
        guard isName(name) else { return report.skip("nodes without a name, or with one that is too long") }
        var children = element.children.makeIterator()
        let payload = children.next()
        guard element.isNamed("item", .pubsub), children.next() == nil, payload?.isIn(.pubsub) != true else { return report.skip("items that are none") }
        var writer = XMLWriter(contentNamespace: .pubsub)
        if let payload { writer.append(payload) }
        let publisher = element.attribute("publisher").flatMap { try? JID($0) }
        publish(element.attribute("id"), writer.buffer, by: publisher, at: name, &report)
    }

    private mutating func publish(_ item: String?, _ payload: ByteBuffer, by publisher: JID?, at name: String, _ report: inout PortableReport) {
        guard var node = node(name, &report) else { return }
        guard payload.readableBytes <= node.configuration.payloadBytesMax(within: settings), item?.utf8.count ?? 0 <= settings.itemNameBytesMax else {
            return report.skip("items longer than their node allows")
        }
        guard node.configuration.persistsItems, byteCount + payload.readableBytes <= settings.bytesMax else {
            return report.skip("items past the limit of \(settings.bytesMax) bytes")
        }
        let itemsMax = node.configuration.itemsMax(within: settings)
        guard itemsMax == 1 || node.itemCount < itemsMax else { return report.skip("items past what their node keeps") }
        let place = nextName()
        let made = NodeItem(
            name: item.flatMap { $0.isEmpty ? nil : $0 } ?? token(), place: place, time: surroundings.now, publisher: publisher ?? .bare(account), payload: payload)
        if itemsMax == 1 { writes.append(.node(.forget(node.id, upTo: place - 1))) }
        writes.append(.node(.publish(node.id, made)))
        (node.itemCount, byteCount) = (node.itemCount + 1, byteCount + payload.readableBytes)
        nodes[OctetName(name)] = node
        report.take("items")
    }

    /// A list of the older kind (XEP-0048) where there is none of the newer one (XEP-0402).
    mutating func takeBookmarks(_ list: ElementView, _ report: inout PortableReport) {
        let name = Namespace.bookmarks.name
        guard nodes[OctetName(name)].map({ $0.itemCount == 0 }) ?? true else { return report.skip("older lists of bookmarks beside the newer one") }
        if nodes[OctetName(name)] == nil {
            var configuration = NodeConfiguration(defaultsOf: settings)
            let fields = Bookmarks.configuration.map { DataForm.Field($0.key, nil, [$0.value]) }
            let form = DataForm(.submit, type: NodeConfiguration.formType, fields: fields)
            guard (try? configuration.take(form, settings)) != nil, create(name, configuration, &report) != nil else { return }
        }
        for item in Bookmarks.items(of: list) { publish(item.name, item.payload, by: nil, at: name, &report) }
    }
}

extension NodeConfiguration {
    /// Takes over what is known and allowed here; what is not is told (§4.9.1). Where it cannot be said who may read, only members may.
    fileprivate mutating func take(portable x: ElementView, _ settings: PubSubSettings, _ report: inout PortableReport) {
        guard let read = try? DataForm(x) else {
            accessModel = .whitelist
            return report.skip("configurations that are none")
        }
        let fields = read.fields.filter { $0.name != DataForm.typeName && !$0.values.allSatisfy(\.isEmpty) }
        if (try? take(DataForm(.submit, type: Self.formType, fields: fields), settings)) != nil { return }
        for field in fields where (try? take(DataForm(.submit, type: Self.formType, fields: [field]), settings)) == nil {
            report.skip("\(field.name ?? "a field") of a node's configuration")
            if field.name == "pubsub#access_model" { accessModel = .whitelist }
            if field.name == "pubsub#max_items" { itemsMax = nil }
        }
    }
}
