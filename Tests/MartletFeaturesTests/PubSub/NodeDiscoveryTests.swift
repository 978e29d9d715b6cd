import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"
private let juliet = "juliet@capulet.lit/balcony"

@Suite("XEP-0060 §5: what nodes say of themselves")
struct NodeDiscoveryTests {
    private func query(_ content: String = "") -> ElementView {
        TestStanza(stringLiteral: "<query xmlns='http://jabber.org/protocol/disco#items'>\(content)</query>").element.root
    }
    private func nodes(_ paper: NodesOnPaper, for actor: String, _ content: String = "") -> [String] {
        guard let reply = try? paper.nodes.items(for: RoomOnPaper.jid(actor), paper.audience, query(content)), let payload = reply.payload else { return ["none"] }
        return TestStanza(stringLiteral: String(buffer: payload)).element.children.compactMap { $0.attribute("node") }
    }

    @Test("features are those of what is handled, and of what kind of owner it is (§10)")
    func features() {
        let service = PubSubNodes.features(.service)
        let personal = PubSubNodes.features(.personal(AccountID(raw: 1)))
        func has(_ features: [String], _ name: String) -> Bool { features.contains("http://jabber.org/protocol/pubsub#\(name)") }
        for name in [
            "config-node", "config-node-max", "create-and-configure", "create-nodes", "delete-items", "delete-nodes", "instant-nodes", "item-ids",
            "leased-subscription", "manage-subscriptions", "member-affiliation", "meta-data", "modify-affiliations", "multi-items", "outcast-affiliation",
            "persistent-items", "publish", "publish-options", "publish-only-affiliation", "publisher-affiliation", "purge-nodes", "retract-items",
            "retrieve-affiliations", "retrieve-default", "retrieve-default-sub", "retrieve-items", "retrieve-subscriptions", "rsm", "subscribe",
            "subscription-options", "subscription-notifications", "get-pending",
        ] {
            #expect(has(service, name) && has(personal, name), "\(name)")
        }
        for name in ["auto-create", "auto-subscribe", "filtered-notifications", "last-published", "presence-subscribe", "pubsub-on-a-jid", "access-presence"] {
            #expect(!has(service, name) && has(personal, name), "\(name)")
        }
        #expect(has(service, "access-open") && service.contains("http://jabber.org/protocol/pubsub"))
        for name in ["multi-subscribe", "publish-node-full"] { #expect(!has(service, name) && !has(personal, name), "\(name)") }
        #expect(PubSubNodes.identity(.service).type == "service" && PubSubNodes.identity(.personal(AccountID(raw: 1))).type == "pep")
    }

    @Test("a node says what it is (§5.3, §5.4)")
    func info() throws {
        var paper = NodesOnPaper.service()
        paper.create("n", ["title": "Princely Musings", "description": "Updates", "type": "urn:example", "max_items": "max"])
        paper.affiliate("bard@shakespeare.lit", "publisher", at: "n")
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        paper.reload()
        let info = try paper.nodes.info(of: "n", for: RoomOnPaper.jid(francisco), paper.audience)
        #expect(info.identities == [.init("pubsub", "leaf", name: "Princely Musings")])
        #expect(info.features.contains("http://jabber.org/protocol/pubsub"))
        #expect(info.forms.map(\.type) == ["http://jabber.org/protocol/pubsub#meta-data"])
        let fields = Dictionary(info.forms.flatMap(\.fields).map { ($0.name, $0.values) }, uniquingKeysWith: { $1 })
        #expect(
            fields == [
                "pubsub#type": ["urn:example"], "pubsub#creator": ["hamlet@denmark.lit"], "pubsub#title": ["Princely Musings"],
                "pubsub#creation_date": [DateTime.text(milliseconds: paper.now)], "pubsub#description": ["Updates"], "pubsub#access_model": ["open"],
                "pubsub#publish_model": ["publishers"], "pubsub#max_items": ["10000"], "pubsub#owner": ["hamlet@denmark.lit"],
                "pubsub#publisher": ["bard@shakespeare.lit"], "pubsub#num_subscribers": ["1"],
            ])
    }

    @Test("nodes are listed for those who may subscribe, or ask to; to others they are not there (§5.2, XEP-0163 §6.2)")
    func hiddenNodes() {
        var paper = NodesOnPaper.personal()
        for model in ["authorize", "open", "presence", "roster", "whitelist"] {
            paper.publish("a", at: model, by: juliet, options: ["access_model": model, "roster_groups_allowed": "Servants"])
        }
        #expect(nodes(paper, for: juliet) == ["authorize", "open", "presence", "roster", "whitelist"])
        #expect(nodes(paper, for: "nurse@capulet.lit/x") == ["authorize", "open", "presence", "roster"])
        #expect(nodes(paper, for: "romeo@montague.lit/x") == ["authorize", "open", "presence"])
        #expect(nodes(paper, for: "benvolio@montague.lit/x") == ["authorize", "open"])
        func isShown(_ node: String, to actor: String) -> Bool { (try? paper.nodes.info(of: node, for: RoomOnPaper.jid(actor), paper.audience)) != nil }
        #expect(isShown("presence", to: "romeo@montague.lit/x") && !isShown("presence", to: "benvolio@montague.lit/x"))
        #expect(!isShown("whitelist", to: "nurse@capulet.lit/x") && !isShown("x", to: juliet))
        paper.affiliate("romeo@montague.lit", "outcast", at: "open", by: juliet)
        #expect(nodes(paper, for: "romeo@montague.lit/x") == ["authorize", "presence"] && !isShown("open", to: "romeo@montague.lit/x"))
    }

    @Test("long lists come by pages (XEP-0059)")
    func pages() {
        var paper = NodesOnPaper.service { $0.pageEntriesMax = 2 }
        for name in ["a", "b", "c"] { paper.create(name) }
        func page(_ content: String) -> [String] { nodes(paper, for: francisco, "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>") }
        #expect(nodes(paper, for: francisco) == ["a", "b"])
        #expect(page("<after>b</after>") == ["c"] && page("<after>x</after>").isEmpty && page("<before/>") == ["b", "c"])
        #expect(page("<before>b</before>") == ["a"] && page("<index>1</index><max>1</max>") == ["b"] && page("<index>9</index>").isEmpty)
        #expect(page("<max>0</max>").isEmpty)
    }

    @Test("the items of a node are listed for those who may read them (§5.5)")
    func items() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for item in ["b", "a"] { paper.publish(item, at: "n") }
        paper.reload()
        var effects = NodeEffects()
        func ask(_ node: String, _ actor: String) -> String {
            effects = NodeEffects()
            do throws(PubSubError) {
                try paper.nodes.items(of: node, for: RoomOnPaper.jid(actor), paper.audience, query(), &effects)
            } catch { return error.stanza.condition.rawValue }
            guard effects.needsMarks == nil, case .reply(let reply) = effects.answer, let payload = reply.payload else { return "marks" }
            return String(buffer: payload)
        }
        #expect(ask("n", francisco) == "marks")
        _ = paper.get("<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'/>", by: francisco)
        #expect(
            ask("n", francisco) == """
                <query xmlns='http://jabber.org/protocol/disco#items' node='n'><item jid='pubsub.shakespeare.lit' name='b'/>\
                <item jid='pubsub.shakespeare.lit' name='a'/></query>
                """)
        #expect(ask("x", francisco) == "item-not-found")
        _ = paper.configure("n", ["access_model": "authorize"])
        #expect(ask("n", francisco) == "not-authorized")
        _ = paper.configure("n", ["access_model": "whitelist"])
        #expect(ask("n", francisco) == "item-not-found")
    }
}
