import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let horatio = "horatio@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"

@Suite("XEP-0060 §8.1 to §8.5: nodes come, are configured, and go")
struct NodeConfigurationTests {
    // MARK: Creation

    @Test("whoever creates a node owns it, and it is there after a restart (§8.1.2)")
    func creation() {
        var paper = NodesOnPaper.service()
        #expect(
            paper.set("<create node='princely_musings'/>", by: hamlet)
                == "<iq type='result' to='\(hamlet)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='princely_musings'/></pubsub></iq>")
        for _ in 0..<2 {
            #expect(paper.get("<affiliations/>", by: hamlet).answer?.firstChild?.attribute("affiliation") == "owner")
            #expect(paper.set("<create node='princely_musings'/>", by: hamlet).refusal == "cancel/conflict")
            paper.reload()
        }
    }

    @Test("an instant node has a name that nobody can guess (§8.1.1)")
    func instantNode() {
        var paper = NodesOnPaper.service()
        let names = (0..<2).map { _ in paper.set("<create/>", by: hamlet).answer?.attribute("node") ?? "" }
        #expect(names.allSatisfy { $0.utf8.count == 32 } && names[0] != names[1])
        #expect(paper.ownerGet("<configure node='\(names[0])'/>", by: hamlet).error == nil)
    }

    @Test("at a service accounts of this server create nodes, or administrators only; at an account only itself (§8.1.1)")
    func creators() {
        var paper = NodesOnPaper.service()
        #expect(paper.set("<create node='a'/>", by: "stranger@example.org/x").refusal == "auth/forbidden")
        #expect(paper.set("<create node='a'/>", by: horatio).error == nil)
        var closed = NodesOnPaper.service { $0.creators = .administrators }
        #expect(closed.set("<create node='a'/>", by: horatio).refusal == "auth/forbidden")
        closed.audience.isAdmin = true
        #expect(closed.set("<create node='a'/>", by: horatio).error == nil)
        var own = NodesOnPaper.personal()
        own.audience.locals = ["nurse@capulet.lit"]
        own.audience.isAdmin = true
        #expect(own.set("<create node='a'/>", by: "nurse@capulet.lit/x").refusal == "auth/forbidden")
        #expect(own.set("<create node='a'/>", by: "juliet@capulet.lit/balcony").error == nil)
    }

    @Test("a name has 1,023 bytes at most, and a service so many nodes")
    func limits() {
        var paper = NodesOnPaper.service { $0.nodesMax = 2 }
        #expect(paper.set("<create node='\(String(repeating: "n", count: 1_024))'/>", by: hamlet).refusal == "modify/not-acceptable")
        #expect(paper.set("<create node='\(String(repeating: "n", count: 1_023))'/>", by: hamlet).error == nil)
        #expect(paper.set("<create node='b'/>", by: hamlet).error == nil)
        #expect(paper.set("<create node='c'/>", by: hamlet).refusal == "wait/resource-constraint")
        paper.ownerSet("<delete node='b'/>", by: hamlet)
        #expect(paper.set("<create node='c'/>", by: hamlet).error == nil)
    }

    @Test("what a node has if nobody says otherwise (§8.3, XEP-0163 §5)")
    func defaults() {
        var service = NodesOnPaper.service()
        let usual = service.ownerGet("<default/>", by: francisco).form
        #expect(usual["pubsub#access_model"] == ["open"] && usual["pubsub#publish_model"] == ["publishers"] && usual["pubsub#max_items"] == ["20"])
        #expect(usual["pubsub#send_last_published_item"] == ["on_sub"] && usual["pubsub#roster_groups_allowed"] == nil)
        var own = NodesOnPaper.personal()
        let personal = own.ownerGet("<default/>", by: "juliet@capulet.lit/balcony").form
        #expect(personal["pubsub#access_model"] == ["presence"] && personal["pubsub#max_items"] == ["1"] && personal["pubsub#persist_items"] == ["1"])
        #expect(personal["pubsub#send_last_published_item"] == ["on_sub_and_presence"] && personal["pubsub#notification_type"] == ["headline"])
        #expect(personal["pubsub#notify_retract"] == ["1"] && personal["pubsub#deliver_notifications"] == ["1"])
    }

    // MARK: Configuration

    @Test("a configuration is as it was set, also after a restart (§8.1.3, §8.2)")
    func configuration() {
        var paper = NodesOnPaper.service()
        let fields: KeyValuePairs = [
            "title": "Princely Musings", "description": "Updates", "type": "urn:example", "deliver_notifications": "0", "deliver_payloads": "0",
            "notify_config": "1", "notify_delete": "0", "notify_retract": "0", "notify_sub": "1", "persist_items": "1", "max_items": "max",
            "item_expire": "604800", "subscribe": "0", "access_model": "whitelist", "publish_model": "open", "max_payload_size": "1028",
            "send_last_published_item": "never", "presence_based_delivery": "1", "notification_type": "normal", "itemreply": "publisher",
        ]
        paper.create("n", fields)
        for _ in 0..<2 {
            let form = paper.ownerGet("<configure node='n'/>", by: hamlet).form
            for (name, value) in fields { #expect(form["pubsub#\(name)"] == [value], "\(name)") }
            paper.reload()
        }
        #expect(paper.configure("n", ["title": "Other"]).error == nil)
        paper.reload()
        let form = paper.ownerGet("<configure node='n'/>", by: hamlet).form
        #expect(form["pubsub#title"] == ["Other"] && form["pubsub#access_model"] == ["whitelist"])
    }

    @Test("only owners see and change a configuration; administrators of a service are owners (§8.2.3.2)")
    func rights() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.affiliate("horatio@denmark.lit", "publisher", at: "n")
        #expect(paper.ownerGet("<configure node='n'/>", by: horatio).refusal == "auth/forbidden")
        #expect(paper.configure("n", by: horatio, ["access_model": "open"]).refusal == "auth/forbidden")
        #expect(paper.ownerSet("<purge node='n'/>", by: horatio).refusal == "auth/forbidden")
        #expect(paper.ownerSet("<delete node='n'/>", by: horatio).refusal == "auth/forbidden")
        #expect(paper.ownerGet("<configure node='x'/>", by: horatio).refusal == "cancel/item-not-found")
        paper.audience.isAdmin = true
        #expect(paper.configure("n", by: horatio, ["title": "x"]).error == nil)
    }

    @Test("a cancelled form changes nothing (§8.2.4)")
    func cancel() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["title": "x"])
        #expect(paper.ownerSet("<configure node='n'><x xmlns='jabber:x:data' type='cancel'/></configure>", by: hamlet).error == nil)
        #expect(paper.ownerGet("<configure node='n'/>", by: hamlet).form["pubsub#title"] == ["x"])
    }

    @Test("models that need a roster are for accounts (§8.1.2); what is left out is refused")
    func unsupported() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for model in ["presence", "roster", "nonsense"] {
            #expect(paper.configure("n", ["access_model": model]).refusal == "modify/not-acceptable unsupported-access-model", "\(model)")
        }
        for model in ["authorize", "open", "whitelist"] { #expect(paper.configure("n", ["access_model": model]).error == nil) }
        #expect(paper.configure("n", ["purge_offline": "1"]).refusal == "modify/not-acceptable")
        #expect(paper.configure("n", ["purge_offline": "0", "node_type": "leaf", "x-other": "1"]).error == nil)
        #expect(paper.configure("n", ["node_type": "collection"]).refusal == "cancel/feature-not-implemented unsupported collections")
        #expect(paper.configure("n", ["publish_model": "nobody"]).refusal == "modify/bad-request")
        #expect(paper.ownerSet("<configure node='n'/>", by: hamlet).refusal == "modify/bad-request")
        var own = NodesOnPaper.personal()
        for model in ["authorize", "open", "presence", "roster", "whitelist"] {
            #expect(own.set("<create/><configure>\(NodesOnPaper.form("node_config", ["access_model": model]))</configure>", by: "juliet@capulet.lit/x").error == nil)
        }
    }

    @Test("numbers are within their limits on both sides")
    func numbers() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for (name, good, bad) in [
            ("max_items", ["1", "10000", "max"], ["0", "10001", "-1"]), ("max_payload_size", ["1", "65536"], ["0", "65537"]),
            ("item_expire", ["1", "0", "316224000", "max"], ["316224001", "-1"]),
        ] {
            for value in good { #expect(paper.configure("n", [name: value]).error == nil, "\(name) \(value)") }
            for value in bad { #expect(paper.configure("n", [name: value]).refusal == "modify/not-acceptable", "\(name) \(value)") }
            #expect(paper.configure("n", [name: "many"]).refusal == "modify/bad-request")
        }
        #expect(paper.configure("n", ["title": String(repeating: "t", count: 1_024)]).error == nil)
        #expect(paper.configure("n", ["title": String(repeating: "t", count: 1_025)]).refusal == "modify/not-acceptable")
        #expect(paper.configure("n", ["description": String(repeating: "t", count: 8_192)]).error == nil)
        #expect(paper.configure("n", ["description": String(repeating: "t", count: 8_193)]).refusal == "modify/not-acceptable")
    }

    @Test("subscribers are told of a new configuration where it says so, with it where payloads are delivered (§8.2.5.3)")
    func notifications() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["deliver_payloads": "0"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        _ = paper.configure("n", ["title": "a"])
        #expect(paper.news().isEmpty)
        _ = paper.configure("n", ["notify_config": "1"])
        let told = paper.news()
        #expect(told.map(\.to) == [["francisco@denmark.lit"]])
        #expect(
            told.first?.message
                == "<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><configuration node='n'/></event></message>")
        _ = paper.configure("n", ["deliver_payloads": "1", "title": "b"])
        let full = paper.news().first?.message.child("event")?.firstChild?.firstChild("x", .dataForms)
        #expect(full?.attribute("type") == "result")
    }

    @Test("a stored configuration that cannot be read lets nobody in but those who are on its lists")
    func unreadable() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["access_model": "open"])
        var nodes = PubSubNodes(RoomOnPaper.bare("pubsub.shakespeare.lit"), .service)
        nodes.install(paper.disk.stored.map { stored in
            var stored = stored
            stored.record.content.clear()
            stored.record.content.writeString("<node xmlns='urn:x-martlet:node' version='2'/>")
            return stored
        })
        #expect(throws: PubSubError.self) { try nodes.info(of: "n", for: RoomOnPaper.jid(francisco), AudienceOnPaper()) }
        #expect(throws: Never.self) { try nodes.info(of: "n", for: RoomOnPaper.jid(hamlet), AudienceOnPaper()) }
    }

    // MARK: The end

    @Test("all who have subscribed or wait are told that a node is gone, and where to go (§8.4)")
    func deletion() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["access_model": "authorize"])
        paper.affiliate("bernardo@denmark.lit", "member", at: "n")
        paper.subscribe("bernardo@denmark.lit", to: "n")
        paper.subscribe("francisco@denmark.lit", to: "n")
        _ = paper.news()
        #expect(paper.ownerSet("<delete node='n'><redirect uri='xmpp:hamlet@denmark.lit?;node=blog'/></delete>", by: hamlet).error == nil)
        let told = paper.news()
        #expect(told.map(\.to) == [["bernardo@denmark.lit", "francisco@denmark.lit"]])
        #expect(
            told.first?.message == """
                <message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><delete node='n'>\
                <redirect uri='xmpp:hamlet@denmark.lit?;node=blog'/></delete></event></message>
                """)
        #expect(paper.ownerSet("<delete node='n'/>", by: hamlet).refusal == "modify/gone")
        #expect(paper.ownerSet("<delete node='x'/>", by: hamlet).refusal == "cancel/item-not-found")
        // Where it has gone is kept, and nothing else of it.
        #expect(paper.disk.stored.map(\.name) == ["n"] && paper.disk.stored.map(\.itemCount) == [0])
        paper.create("m", ["notify_delete": "0"])
        paper.subscribe("francisco@denmark.lit", to: "m")
        paper.ownerSet("<delete node='m'/>", by: hamlet)
        #expect(paper.news().isEmpty)
    }

    @Test("purging takes all items, and tells it in one (§8.5)")
    func purge() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.subscribe("francisco@denmark.lit", to: "n")
        for item in ["a", "b", "c"] { paper.publish(item, at: "n") }
        _ = paper.news()
        #expect(paper.ownerSet("<purge node='n'/>", by: hamlet).error == nil)
        #expect(paper.news().map(\.message) == ["<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><purge node='n'/></event></message>"])
        #expect(paper.items(of: "n").isEmpty && paper.nodes.byteCount == 0)
        paper.publish("d", at: "n")
        #expect(paper.items(of: "n") == ["d"])
        paper.create("m", ["persist_items": "0"])
        #expect(paper.ownerSet("<purge node='m'/>", by: hamlet).refusal == "cancel/feature-not-implemented unsupported persistent-items")
    }
}
