import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore

/// The nodes of an owner without a server: requests go in as text, what comes out is kept, and so is what would be on disk.
struct NodesOnPaper {
    private(set) var nodes: PubSubNodes
    var audience = AudienceOnPaper()
    var now: Int64 = ManualTime.start
    private var ids = StanzaIDSource(floor: 0, secret: 1)
    private var random = SeededRandom(seed: 7)
    private let settings: PubSubSettings
    private(set) var disk = DiskOnPaper()
    private(set) var told: [Told] = []
    private(set) var approvals: [ApprovalRequest] = []
    private(set) var lastItems: [String] = []
    private(set) var writes: [NodeChange] = []
    /// How often the items of a node had to be known.
    private(set) var loads = 0

    /// A notice with who is told.
    struct Told {
        let notice: NodeNotice
        /// The message, without addresses.
        let message: TestStanza
        var to: [String] { notice.recipients.map(\.address.description).sorted() }
    }

    /// A service in the plays, where Hamlet and Horatio are local.
    static func service(_ change: (inout PubSubSettings) -> Void = { _ in }) -> NodesOnPaper {
        var settings = PubSubSettings.service
        change(&settings)
        return NodesOnPaper("pubsub.shakespeare.lit", settings)
    }

    /// Juliet's own nodes. Romeo and the nurse see her presence; the nurse is a servant.
    static func personal(_ change: (inout PubSubSettings) -> Void = { _ in }) -> NodesOnPaper {
        var settings = PubSubSettings.personal(AccountID(raw: 1))
        change(&settings)
        var paper = NodesOnPaper("juliet@capulet.lit", settings)
        paper.audience.seers = ["juliet@capulet.lit", "romeo@montague.lit", "nurse@capulet.lit"]
        paper.audience.groups = ["nurse@capulet.lit": ["Servants"]]
        return paper
    }

    private init(_ address: String, _ settings: PubSubSettings) {
        self.settings = settings
        nodes = PubSubNodes(RoomOnPaper.bare(address), settings)
    }

    /// As after a restart: what is on disk is all that is known.
    mutating func reload() {
        nodes = PubSubNodes(nodes.address, settings, usedNames: ids.used)
        nodes.install(disk.stored)
    }

    /// Another one, before anything was asked, that makes the same names.
    func independent() -> NodesOnPaper {
        var other = self
        (other.ids, other.random) = (StanzaIDSource(floor: 0, secret: 1), SeededRandom(seed: 7))
        return other
    }

    var moment: NodeMoment { NodeMoment(now: now, ids: ids, random: random) }

    // MARK: In

    /// `content` is what is in `<pubsub/>`.
    mutating func get(_ content: String, by actor: String) -> TestStanza { ask(.get, "pubsub", content, actor) }
    @discardableResult
    mutating func set(_ content: String, by actor: String) -> TestStanza { ask(.set, "pubsub", content, actor) }
    /// The same in the namespace of owners' requests.
    mutating func ownerGet(_ content: String, by actor: String) -> TestStanza { ask(.get, "pubsub#owner", content, actor) }
    @discardableResult
    mutating func ownerSet(_ content: String, by actor: String) -> TestStanza { ask(.set, "pubsub#owner", content, actor) }

    private mutating func ask(_ kind: IQType, _ namespace: String, _ content: String, _ actor: String) -> TestStanza {
        let answers = ask(kind, "<pubsub xmlns='http://jabber.org/protocol/\(namespace)'>\(content)</pubsub>", actor) { child throws(PubSubError) in
            try PubSubRequest(child, kind)
        }
        return answers[0]
    }

    /// The owner's command, from its beginning or in a session.
    mutating func command(
        _ content: String = "", session: String? = nil, action: String = "execute", node: String = "http://jabber.org/protocol/pubsub#get-pending",
        by actor: String = "hamlet@denmark.lit/elsinore"
    ) -> TestStanza {
        let session = session.map { "sessionid='\($0)'" } ?? ""
        let xml = "<command xmlns='http://jabber.org/protocol/commands' node='\(node)' action='\(action)' \(session)>\(content)</command>"
        return ask(.set, xml, actor) { child throws(PubSubError) in
            do throws(StanzaError) { return .command(try CommandRequest(child)) } catch { throw PubSubError(error) }
        }[0]
    }

    /// A query of a node's archive.
    ///
    /// - Returns: what comes before the answer, and the answer.
    mutating func archive(
        _ node: String, _ content: String = "", attributes: String = "", kind: IQType = .set, by actor: String = "francisco@denmark.lit/barracks"
    ) -> [TestStanza] {
        ask(kind, "<query xmlns='urn:xmpp:mam:2' node='\(node)' \(attributes)>\(content)</query>", actor) { child throws(PubSubError) in
            try PubSubRequest.archive(child, kind)
        }
    }

    /// - Returns: what comes before the answer, and the answer.
    private mutating func ask(
        _ kind: IQType, _ content: String, _ actor: String, _ read: (ElementView) throws(PubSubError) -> PubSubRequest
    ) -> [TestStanza] {
        let xml = "<iq id='1'>\(content)</iq>"
        guard let iq = try? parseElement(ByteBuffer(string: xml), limits: .authenticated), let child = iq.root.firstChild else {
            preconditionFailure("no stanza: \(xml)")
        }
        let stanza = Stanza(iq, kind: .iq(kind), from: RoomOnPaper.jid(actor), to: nil)
        do throws(PubSubError) {
            let reply = try answer(try read(child), RoomOnPaper.jid(actor))
            return (reply.before + [reply.encoded(answering: stanza)]).map(Self.parse)
        } catch {
            return [Self.parse(error.encoded(answering: stanza))]
        }
    }

    private mutating func answer(_ request: PubSubRequest, _ actor: JID) throws(PubSubError) -> IQReply {
        while true {
            var effects = NodeEffects()
            try nodes.take(request, by: actor, audience, moment, &effects)
            guard let needed = effects.needsMarks else { return take(effects) }
            precondition(effects.writes.isEmpty && effects.notices.isEmpty, "nothing is decided before the items are known")
            loads += 1
            nodes.install(disk.marks(of: needed), of: needed)
        }
    }

    /// An owner sends a form back.
    mutating func answerApproval(_ fields: [String: String], type: String = "submit", by actor: String) -> String {
        let type = "type='\(type)'"
        let xml = "<x xmlns='jabber:x:data' \(type)>\(Self.field("FORM_TYPE", "http://jabber.org/protocol/pubsub#subscribe_authorization"))"
            + fields.sorted { $0.key < $1.key }.map { Self.field("pubsub#\($0.key)", $0.value) }.joined() + "</x>"
        guard let x = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no form") }
        var effects = NodeEffects()
        do throws(PubSubError) {
            let isTaken = try nodes.takeApproval(x.root, by: RoomOnPaper.jid(actor), audience, moment, &effects)
            _ = take(effects)
            return isTaken ? "taken" : "left"
        } catch {
            return error.stanza.condition.rawValue
        }
    }

    /// An account goes.
    mutating func withdraw(_ account: String) {
        var effects = NodeEffects()
        nodes.withdraw(from: RoomOnPaper.bare(account), &effects)
        _ = take(effects)
    }

    mutating func review(_ contact: String) {
        var effects = NodeEffects()
        nodes.review(RoomOnPaper.bare(contact), audience, &effects)
        _ = take(effects)
    }

    /// A form for `<configure/>`, `<publish-options/>` and `<options/>`.
    static func form(_ type: String, _ fields: KeyValuePairs<String, String>) -> String {
        "<x xmlns='jabber:x:data' type='submit'>" + field("FORM_TYPE", "http://jabber.org/protocol/pubsub#\(type)")
            + fields.map { field("pubsub#\($0.key)", $0.value) }.joined() + "</x>"
    }
    static func field(_ name: String, _ value: String) -> String { "<field var='\(name)'><value>\(value)</value></field>" }

    mutating func create(_ node: String, by actor: String = "hamlet@denmark.lit/elsinore", _ fields: KeyValuePairs<String, String> = [:]) {
        let answer = set("<create node='\(node)'/><configure>\(Self.form("node_config", fields))</configure>", by: actor)
        precondition(answer.error == nil, "no node: \(answer)")
    }

    @discardableResult
    mutating func publish(
        _ item: String?, at node: String, by actor: String = "hamlet@denmark.lit/elsinore", options: KeyValuePairs<String, String>? = nil
    ) -> TestStanza {
        let id = item.map { " id='\($0)'" } ?? ""
        let preconditions = options.map { "<publish-options>\(Self.form("publish-options", $0))</publish-options>" } ?? ""
        return set("<publish node='\(node)'><item\(id)><entry xmlns='urn:example'>\(item ?? "?")</entry></item></publish>\(preconditions)", by: actor)
    }

    mutating func configure(_ node: String, by actor: String = "hamlet@denmark.lit/elsinore", _ fields: KeyValuePairs<String, String>) -> TestStanza {
        ownerSet("<configure node='\(node)'>\(Self.form("node_config", fields))</configure>", by: actor)
    }

    @discardableResult
    mutating func subscribe(_ address: String, to node: String, by actor: String? = nil) -> TestStanza {
        set("<subscribe node='\(node)' jid='\(address)'/>", by: actor ?? address)
    }

    @discardableResult
    mutating func affiliate(_ address: String, _ affiliation: String, at node: String, by actor: String = "hamlet@denmark.lit/elsinore") -> TestStanza {
        ownerSet("<affiliations node='\(node)'><affiliation jid='\(address)' affiliation='\(affiliation)'/></affiliations>", by: actor)
    }

    // MARK: Out

    private mutating func take(_ effects: NodeEffects) -> IQReply {
        writes += effects.writes
        for write in effects.writes { disk.apply(write) }
        for notice in effects.notices {
            var writer = XMLWriter()
            writer.element("message", .client, ["type": notice.type == .normal ? nil : notice.type.name.description]) { $0.raw(notice.event) }
            told.append(Told(notice: notice, message: Self.parse(EncodedStanza(writer.buffer))))
        }
        approvals += effects.approvals
        lastItems += effects.lastItems.map { delivery in
            let item = disk.items[delivery.node]?.last
            return "\(delivery.recipient) \(item.flatMap { delivery.content($0) }.map { String(buffer: $0) } ?? "nothing")"
        }
        switch effects.answer {
        case .reply(let reply): return reply
        case .read(let reading): return reading.reply(disk.read(reading))
        }
    }

    /// What was told since the last call.
    mutating func news() -> [Told] {
        defer { told = [] }
        return told
    }

    mutating func forget() { (told, approvals, lastItems, writes, loads) = ([], [], [], [], 0) }

    /// The items of a node as their owner gets them.
    mutating func items(of node: String, by actor: String = "hamlet@denmark.lit/elsinore") -> [String] {
        names(in: get("<items node='\(node)'/>", by: actor))
    }

    func names(in answer: TestStanza) -> [String] {
        answer.child("pubsub")?.children.first { $0.localName == "items" }?.children.compactMap { $0.attribute("id") } ?? []
    }

    private static func parse(_ stanza: EncodedStanza) -> TestStanza {
        guard let element = try? parseElement(stanza.bytes, limits: .ownWriting) else { preconditionFailure("no stanza: \(String(buffer: stanza.bytes))") }
        return TestStanza(element)
    }
}

struct AudienceOnPaper: NodeAudience {
    var seers: Set<String> = []
    var groups: [String: Set<String>] = [:]
    var locals: Set<String> = ["hamlet@denmark.lit", "horatio@denmark.lit"]
    var isAdmin = false
    func seesPresence(_ address: BareJID) -> Bool { seers.contains(address.description) }
    func isInGroups(_ address: BareJID, _ allowed: Set<String>) -> Bool { !(groups[address.description] ?? []).isDisjoint(with: allowed) }
    func isLocal(_ address: BareJID) -> Bool { locals.contains(address.description) }
}

/// What a store would have.
struct DiskOnPaper {
    private var nodes: [NodeID: StoredNode] = [:]
    /// In the order of their places.
    private(set) var items: [NodeID: [NodeItem]] = [:]

    var stored: [StoredNode] {
        nodes.values.map { node in
            var node = node
            let items = items[node.id] ?? []
            (node.itemCount, node.itemBytes) = (items.count, items.reduce(0) { $0 + $1.payload.readableBytes })
            return node
        }
    }

    var byteCount: Int { items.values.joined().reduce(0) { $0 + $1.payload.readableBytes } }

    func marks(of node: NodeID) -> [NodeItemMark] { (items[node] ?? []).map(\.mark) }

    func read(_ reading: any ItemsAnswer) -> [NodeItem] {
        let all = items[reading.node] ?? []
        switch reading.which {
        case .names(let names): return all.filter { item in names.contains { $0.hasOctets(of: item.name) } }
        case .page(let request):
            let found = all.filter { $0.place > request.after && $0.place < request.before && $0.time >= request.start ?? .min }
            return Array(request.isBackwards ? found.suffix(request.limit) : found.prefix(request.limit))
        }
    }

    mutating func apply(_ change: NodeChange) {
        switch change {
        case .create(_, let node): nodes[node.id] = node
        case .setRecord(let id, let record): nodes[id]?.record = record
        case .delete(let id): (nodes[id], items[id]) = (nil, nil)
        case .setAffiliation(let id, let line):
            nodes[id]?.affiliations.removeAll { $0.address == line.address }
            if line.affiliation != 0 { nodes[id]?.affiliations.append(line) }
        case .setSubscription(let id, let line):
            nodes[id]?.subscriptions.removeAll { $0.id == line.id }
            nodes[id]?.subscriptions.append(line)
        case .removeSubscription(let id, let name): nodes[id]?.subscriptions.removeAll { $0.id == name }
        case .publish(let id, let item):
            items[id]?.removeAll { $0.name.hasOctets(of: item.name) }
            items[id, default: []].append(item)
        case .retract(let id, let names): items[id]?.removeAll { item in names.contains { $0.hasOctets(of: item.name) } }
        case .forget(let id, let place): items[id]?.removeAll { $0.place <= place }
        case .expire(let time):
            for (id, node) in nodes where node.record.itemExpiry > 0 {
                items[id]?.removeAll { $0.time < time - node.record.itemExpiry * 1_000 }
            }
        }
    }
}

extension String {
    /// What a store compares.
    fileprivate func hasOctets(of other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}

extension TestStanza {
    /// Why something was refused, such as `auth/not-authorized not-in-roster-group`; `nil` if it was not.
    var refusal: String? {
        guard let error else { return nil }
        let application = element.firstChild("error", .client)?.children.first { $0.isIn(.pubsubErrors) }
        return ([error, application?.localName, application?.attribute("feature")] as [String?]).compactMap(\.self).joined(separator: " ")
    }

    /// The first element in `<pubsub/>`.
    var answer: ElementView? { child("pubsub")?.firstChild }
    /// The values of the form in it, by field.
    var form: [String: [String]] {
        guard let form = answer?.firstChild("x", .dataForms) else { return [:] }
        return Dictionary(
            form.children.filter { $0.localName == "field" }.map { field in
                (field.attribute("var") ?? "", field.children.filter { $0.localName == "value" }.map(\.text))
            }, uniquingKeysWith: { first, _ in first })
    }
}
