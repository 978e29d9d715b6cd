import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// One node, without its items: which there are is known beside it (``PubSubNodes/marks``), so that a copy of the node is a small thing.
struct PubSubNode: Sendable {
    let id: NodeID
    let name: String
    /// Milliseconds since 1970.
    let created: Int64
    /// Who created it.
    let creator: BareJID?
    var configuration: NodeConfiguration
    /// Where it is now, as a URI, if it is here no more (§8.4.1); then only who may know of it counts of what else is here.
    var movedTo: String?
    var affiliations: [BareJID: NodeAffiliation] = [:]
    var subscriptions = NodeSubscriptions()
    var itemCount = 0
    var itemBytes = 0

    /// A new one.
    init(_ id: NodeID, _ name: String, created: Int64, by creator: BareJID?, _ configuration: NodeConfiguration) {
        self.id = id
        self.name = name
        self.created = created
        self.creator = creator
        self.configuration = configuration
    }

    /// As it is on disk.
    init(_ stored: StoredNode, _ settings: PubSubSettings) {
        id = stored.id
        name = stored.name
        created = stored.created
        let content = NodeContent(stored.record, settings)
        configuration = content.configuration
        creator = content.creator
        movedTo = content.movedTo
        for line in stored.affiliations { affiliations[line.address] = NodeAffiliation(rawValue: line.affiliation) ?? NodeAffiliation.none }
        for line in stored.subscriptions { subscriptions.set(NodeSubscription(line)) }
        itemCount = stored.itemCount
        itemBytes = stored.itemBytes
    }

    /// As it is created on disk.
    func stored(_ settings: PubSubSettings) -> StoredNode {
        let lines = affiliations.map { StoredNodeAffiliation(address: $0.key, affiliation: $0.value.rawValue) }
        return StoredNode(id: id, name: name, created: created, record: record(settings), affiliations: lines)
    }

    func record(_ settings: PubSubSettings) -> NodeRecord {
        NodeContent(configuration: configuration, creator: creator, movedTo: movedTo).record(settings)
    }

    func access(_ account: BareJID?) -> NodeAccess {
        NodeAccess(
            account: account, model: configuration.accessModel, rosterGroups: configuration.rosterGroups, affiliations: affiliations,
            subscriptions: subscriptions)
    }
}

/// A node's configuration as it is stored: the form that owners fill in, in XML.
struct NodeContent {
    var configuration: NodeConfiguration
    var creator: BareJID?
    var movedTo: String?

    private static let namespace: Namespace = "urn:x-martlet:node"
    /// Of the form in which it is stored.
    private static let version = "1"

    init(configuration: NodeConfiguration, creator: BareJID?, movedTo: String?) {
        self.configuration = configuration
        self.creator = creator
        self.movedTo = movedTo
    }

    /// What cannot be read is for members only: nothing fails open.
    init(_ record: NodeRecord, _ settings: PubSubSettings) {
        configuration = NodeConfiguration(defaultsOf: settings)
        configuration.accessModel = .whitelist
        guard let element = try? parseElement(record.content, limits: .ownWriting), element.attribute("version") == Self.version else { return }
        creator = element.attribute("creator").flatMap { try? BareJID(parsing: $0) }
        movedTo = element.attribute("moved")
        var read = NodeConfiguration(defaultsOf: settings)
        guard let x = element.firstChild("x", .dataForms), let form = try? DataForm(x), (try? read.take(form, Self.lenient(settings))) != nil else { return }
        configuration = read
    }

    /// What was allowed once stays.
    private static func lenient(_ settings: PubSubSettings) -> PubSubSettings {
        var lenient = settings
        (lenient.itemsMax, lenient.payloadBytesMax, lenient.itemExpirySecondsMax, lenient.rosterGroupsMax) = (.max, .max, .max, .max)
        (lenient.textBytesMax, lenient.descriptionBytesMax) = (.max, .max)
        return lenient
    }

    func record(_ settings: PubSubSettings) -> NodeRecord {
        var writer = XMLWriter()
        writer.element("node", Self.namespace, ["version": Self.version, "creator": creator?.description, "moved": movedTo]) { writer in
            configuration.form(.submit, settings).write(to: &writer)
        }
        return NodeRecord(itemExpiry: Int64(configuration.itemExpiry), content: writer.buffer)
    }
}
