import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let horatio = "horatio@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"
private let juliet = "juliet@capulet.lit/balcony"

@Suite("XEP-0060 §7.1: items are published")
struct NodePublicationTests {
    @Test("subscribers are sent what is published, and the publisher its name (§7.1.2)")
    func publication() {
        var paper = NodesOnPaper.service()
        paper.create("princely_musings")
        paper.subscribe("francisco@denmark.lit", to: "princely_musings", by: francisco)
        let answer = paper.set(
            "<publish node='princely_musings'><item id='a'><entry xmlns='http://www.w3.org/2005/Atom'><title>Soliloquy</title></entry></item></publish>", by: hamlet)
        #expect(
            answer == """
                <iq type='result' to='\(hamlet)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='princely_musings'>\
                <item id='a'/></publish></pubsub></iq>
                """)
        let told = paper.news()
        #expect(told.map(\.to) == [["francisco@denmark.lit"]] && told.first?.notice.implicit == nil)
        #expect(
            told.first?.message == """
                <message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='princely_musings'><item id='a'>\
                <entry xmlns='http://www.w3.org/2005/Atom'><title>Soliloquy</title></entry></item></items></event></message>
                """)
        #expect(told.first?.notice.body == "Soliloquy")
    }

    @Test("without payloads, subscribers are told that there is something (§7.1.2.2)")
    func withoutPayloads() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["deliver_payloads": "0", "notification_type": "normal"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        paper.publish("a", at: "n")
        #expect(
            paper.news().map(\.message)
                == ["<message><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'><item id='a'/></items></event></message>"])
        #expect(paper.set("<publish node='n'><item id='b'/></publish>", by: hamlet).error == nil)
        #expect(paper.items(of: "n") == ["a", "b"])
    }

    @Test("where nothing is delivered, nobody is told")
    func withoutNotifications() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["deliver_notifications": "0"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        paper.publish("a", at: "n")
        paper.set("<retract node='n' notify='1'><item id='a'/></retract>", by: hamlet)
        #expect(paper.news().isEmpty)
    }

    @Test("an item without a name gets one, each another (§7.1.1)")
    func withoutNames() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        let payload = "<entry xmlns='urn:example'/>"
        let answer = paper.set("<publish node='n'><item>\(payload)</item><item id=''>\(payload)</item></publish>", by: hamlet)
        let names = answer.answer?.children.compactMap { $0.attribute("id") } ?? []
        #expect(names.count == 2 && Set(names).count == 2 && names.allSatisfy { $0.utf8.count == 32 })
        #expect(paper.items(of: "n") == names)
    }

    @Test("an item of a known name takes its place, and is the latest (§7.1.3, §12.1)")
    func overwriting() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for item in ["a", "b", "a"] { paper.publish(item, at: "n") }
        #expect(paper.items(of: "n") == ["b", "a"])
        paper.reload()
        paper.publish("b", at: "n")
        #expect(paper.items(of: "n") == ["a", "b"])
    }

    // MARK: Who may

    @Test("by affiliation and publish model (§4.1, §7.1.3.1)")
    func rights() {
        for (model, allowed) in [
            ("publishers", ["owner", "publisher", "publish-only"]), ("subscribers", ["owner", "publisher", "publish-only"]),
            ("open", ["owner", "publisher", "publish-only", "member", "none"]),
        ] {
            for affiliation in ["owner", "publisher", "publish-only", "member", "none", "outcast"] {
                var paper = NodesOnPaper.service()
                paper.create("n", ["publish_model": model])
                paper.affiliate("horatio@denmark.lit", affiliation, at: "n")
                #expect((paper.publish("a", at: "n", by: horatio).refusal == nil) == allowed.contains(affiliation), "\(model) \(affiliation)")
            }
        }
        var paper = NodesOnPaper.service()
        paper.create("n", ["publish_model": "subscribers"])
        paper.subscribe("horatio@denmark.lit", to: "n", by: horatio)
        #expect(paper.publish("a", at: "n", by: horatio).error == nil)
        #expect(paper.publish("a", at: "n", by: francisco).refusal == "auth/forbidden")
        #expect(paper.publish("a", at: "x").refusal == "cancel/item-not-found")
    }

    @Test("who waits for approval is no subscriber who may publish")
    func pendingPublisher() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["publish_model": "subscribers", "access_model": "authorize"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        #expect(paper.publish("a", at: "n", by: francisco).refusal == "auth/forbidden")
    }

    @Test("the publisher is named where it says so, by whom the server knows him to be (§7.1.2.3)")
    func publisher() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["itemreply": "publisher"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        let item = "<item id='a' publisher='somebody@else.lit'><entry xmlns='urn:example'/></item>"
        paper.set("<publish node='n'>\(item)</publish>", by: hamlet)
        let told = paper.news().first?.message.child("event")?.firstChild?.firstChild
        #expect(told?.attribute("publisher") == "hamlet@denmark.lit")
        #expect(paper.get("<items node='n'/>", by: francisco).answer?.firstChild?.attribute("publisher") == "hamlet@denmark.lit")
        _ = paper.configure("n", ["itemreply": "none"])
        paper.publish("b", at: "n")
        #expect(paper.news().first?.message.child("event")?.firstChild?.firstChild?.attribute("publisher") == nil)
    }

    // MARK: What may be published

    @Test("items and payloads are there where the node is for them (§4.3, §7.1.3.7)")
    func eventTypes() {
        let item = "<item/>"
        let full = "<item><entry xmlns='urn:example'/></item>"
        for (persists, delivers, content, refusal) in [
            ("1", "1", "", "modify/bad-request item-required"), ("1", "1", item, "modify/bad-request payload-required"), ("1", "1", full, nil),
            ("1", "0", "", "modify/bad-request item-required"), ("1", "0", item, nil), ("1", "0", full, nil),
            ("0", "1", "", "modify/bad-request item-required"), ("0", "1", item, "modify/bad-request payload-required"), ("0", "1", full, nil),
            ("0", "0", "", nil), ("0", "0", item, "modify/bad-request item-forbidden"), ("0", "0", full, "modify/bad-request item-forbidden"),
        ] as [(String, String, String, String?)] {
            var paper = NodesOnPaper.service()
            paper.create("n", ["persist_items": persists, "deliver_payloads": delivers])
            #expect(paper.set("<publish node='n'>\(content)</publish>", by: hamlet).refusal == refusal, "\(persists) \(delivers) \(content)")
        }
    }

    @Test("a node that keeps nothing tells its subscribers and writes nothing (§4.3)")
    func transient() {
        var paper = NodesOnPaper.service()
        paper.create("doorbell", ["persist_items": "0", "deliver_payloads": "0"])
        paper.subscribe("francisco@denmark.lit", to: "doorbell", by: francisco)
        paper.forget()
        paper.set("<publish node='doorbell'/>", by: hamlet)
        #expect(paper.writes.isEmpty)
        #expect(
            paper.news().map(\.message)
                == ["<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='doorbell'/></event></message>"])
        paper.create("mood", ["persist_items": "0"])
        paper.subscribe("francisco@denmark.lit", to: "mood", by: francisco)
        paper.forget()
        paper.publish("a", at: "mood")
        #expect(paper.writes.isEmpty && paper.nodes.byteCount == 0)
        #expect(paper.news().first?.message.child("event")?.firstChild?.firstChild?.attribute("id") == "a")
    }

    @Test("an item has one payload, in a namespace of its own (§7.1.3.6)")
    func badPayloads() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for content in ["<a xmlns='urn:a'/><b xmlns='urn:b'/>", "text<a xmlns='urn:a'/>", "<a/>"] {
            #expect(paper.set("<publish node='n'><item id='a'>\(content)</item></publish>", by: hamlet).refusal == "modify/bad-request invalid-payload", "\(content)")
        }
        #expect(paper.items(of: "n").isEmpty)
    }

    @Test("a payload means the same wherever it is shown, whatever it inherited where it came from")
    func canonicalPayloads() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for (name, payload) in [
            ("client", "<message xmlns='jabber:client' type='chat'><body>x</body></message>"), ("none", "<a xmlns=''><b/></a>"),
            ("prefixed", "<x:a xmlns:x='urn:a'><x:b/></x:a>"), ("nested", "<a xmlns='urn:a'><item xmlns='http://jabber.org/protocol/pubsub'/></a>"),
        ] {
            paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
            let sent = paper.set("<publish node='n'><item id='\(name)'>\(payload)</item></publish>", by: hamlet)
            #expect(sent.error == nil)
            let told = paper.news().first?.message.child("event")?.firstChild?.firstChild?.firstChild
            let read = paper.get("<items node='n'><item id='\(name)'/></items>", by: francisco).answer?.firstChild?.firstChild
            let sentRoot = TestStanza(stringLiteral: "<m>\(payload)</m>").element.root.firstChild
            let meanings = [told, read, sentRoot].map { $0.map { Self.meaning(of: $0) } }
            #expect(meanings[0] == meanings[2] && meanings[1] == meanings[2] && meanings[2] != nil, "\(name) \(meanings)")
        }
    }
    /// Names with their namespaces, and text.
    private static func meaning(of element: ElementView) -> [String] {
        let own = "{\(element.namespaceName)}\(element.localName)"
        return [own, element.text] + element.children.flatMap { meaning(of: $0) }
    }

    @Test("payloads have a limit of the operator's and one of the node's; both sides (§7.1.3.5)")
    func payloadBytes() {
        var paper = NodesOnPaper.service { $0.payloadBytesMax = 100 }
        paper.create("n")
        let frame = "<a xmlns='urn:a'></a>".utf8.count
        func item(_ bytes: Int) -> String {
            "<publish node='n'><item><a xmlns='urn:a'>\(String(repeating: "x", count: bytes - frame))</a></item></publish>"
        }
        #expect(paper.set(item(100), by: hamlet).error == nil)
        #expect(paper.set(item(101), by: hamlet).refusal == "modify/not-acceptable payload-too-big")
        _ = paper.configure("n", ["max_payload_size": "50"])
        #expect(paper.set(item(50), by: hamlet).error == nil)
        #expect(paper.set(item(51), by: hamlet).refusal == "modify/not-acceptable payload-too-big")
    }

    @Test("an owner's items have so many bytes in all; what is replaced does not count; both sides")
    func allBytes() {
        let payload = "<entry xmlns='urn:example'>a</entry>".utf8.count
        var paper = NodesOnPaper.service { $0.bytesMax = 2 * payload }
        paper.create("n")
        paper.create("m", ["max_items": "1"])
        #expect(paper.publish("a", at: "n").error == nil)
        #expect(paper.publish("b", at: "m").error == nil)
        #expect(paper.nodes.byteCount == 2 * payload)
        #expect(paper.publish("c", at: "n").refusal == "wait/resource-constraint")
        #expect(paper.publish("a", at: "n").error == nil)
        #expect(paper.publish("c", at: "m").error == nil)
        paper.reload()
        #expect(paper.nodes.byteCount == 2 * payload)
        #expect(paper.publish("c", at: "n").refusal == "wait/resource-constraint")
        paper.set("<retract node='n'><item id='a'/></retract>", by: hamlet)
        #expect(paper.publish("c", at: "n").error == nil)
    }

    @Test("where a node is full, what goes for an item does not count either")
    func bytesOfFullNode() {
        let payload = "<entry xmlns='urn:example'>a</entry>".utf8.count
        var paper = NodesOnPaper.service { $0.bytesMax = 2 * payload }
        paper.create("n", ["max_items": "2"])
        for item in ["a", "b", "c", "b"] { #expect(paper.publish(item, at: "n").error == nil, "\(item)") }
        paper.reload()
        for item in ["d", "d"] { #expect(paper.publish(item, at: "n").error == nil, "\(item)") }
        #expect(paper.items(of: "n") == ["b", "d"])
        #expect(paper.publish("longer", at: "n").refusal == "wait/resource-constraint")
    }

    @Test("names are what their octets are: one letter written in two ways is two names")
    func octets() {
        let (composed, decomposed) = ("\u{E9}", "e\u{301}")
        var paper = NodesOnPaper.service()
        paper.create(composed)
        #expect(paper.set("<create node='\(decomposed)'/>", by: hamlet).error == nil)
        #expect(paper.nodes.nodeCount == 2)
        for item in [composed, decomposed] { paper.publish(item, at: composed) }
        #expect(paper.items(of: composed).map { $0.unicodeScalars.count } == [1, 2])
        paper.reload()
        paper.set("<retract node='\(composed)'><item id='\(composed)'/></retract>", by: hamlet)
        #expect(paper.items(of: composed).map { $0.unicodeScalars.count } == [2])
        paper.ownerSet("<delete node='\(decomposed)'/>", by: hamlet)
        #expect(paper.items(of: composed).count == 1)
    }

    @Test("the name of an item has 1,023 bytes at most")
    func itemNames() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        #expect(paper.publish(String(repeating: "i", count: 1_024), at: "n").refusal == "modify/not-acceptable")
        #expect(paper.publish(String(repeating: "i", count: 1_023), at: "n").error == nil)
        #expect(paper.set("<retract node='n'><item id='\(String(repeating: "i", count: 60_000))'/></retract>", by: hamlet).refusal == "cancel/item-not-found")
    }

    // MARK: Full nodes

    @Test("where a node is full the oldest items go, and those who are told of retractions are told (§7.1.2.5)")
    func fullNode() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["max_items": "2"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        for item in ["a", "b", "c"] { paper.publish(item, at: "n") }
        #expect(paper.items(of: "n") == ["b", "c"])
        let told = paper.news()
        #expect(told.map(\.notice.kind) == [.items, .items, .items, .retraction])
        #expect(
            told.last?.message
                == "<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'><retract id='a'/></items></event></message>")
        paper.reload()
        _ = paper.configure("n", ["notify_retract": "0"])
        paper.publish("d", at: "n")
        #expect(paper.items(of: "n") == ["c", "d"])
        #expect(paper.news().map(\.notice.kind) == [.items])
    }

    @Test("a node of one item has the new one, and nobody has to know what it had")
    func singleton() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "tune", by: juliet)
        paper.reload()
        paper.forget()
        paper.publish("b", at: "tune", by: juliet)
        #expect(paper.loads == 0)
        #expect(paper.news().map(\.notice.kind) == [.items])
        #expect(paper.items(of: "tune", by: juliet) == ["b"])
        paper.reload()
        #expect(paper.items(of: "tune", by: juliet) == ["b"])
    }

    @Test("several items are published in one request, all or none, and no more than the node keeps (§12.9)")
    func batch() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["max_items": "2"])
        func batch(_ names: [String]) -> String {
            "<publish node='n'>" + names.map { "<item id='\($0)'><entry xmlns='urn:example'/></item>" }.joined() + "</publish>"
        }
        #expect(paper.set(batch(["a", "b"]), by: hamlet).error == nil)
        #expect(paper.set(batch(["c", "d", "e"]), by: hamlet).refusal == "cancel/not-allowed max-items-exceeded")
        #expect(paper.items(of: "n") == ["a", "b"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        _ = paper.news()
        #expect(paper.set(batch(["b", "c"]), by: hamlet).error == nil)
        #expect(paper.items(of: "n") == ["b", "c"])
        #expect(paper.news().map(\.notice.kind) == [.items, .retraction])
    }

    @Test("a smaller node keeps its latest items, and one that keeps nothing has none")
    func shrinking() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["max_items": "5"])
        for item in ["a", "b", "c", "d"] { paper.publish(item, at: "n") }
        paper.reload()
        #expect(paper.configure("n", ["max_items": "2"]).error == nil)
        #expect(paper.items(of: "n") == ["c", "d"])
        paper.reload()
        _ = paper.configure("n", ["persist_items": "0"])
        _ = paper.configure("n", ["persist_items": "1"])
        #expect(paper.items(of: "n").isEmpty)
        paper.reload()
        #expect(paper.items(of: "n").isEmpty && paper.nodes.byteCount == 0)
    }

    // MARK: Publish options and automatic creation

    @Test("the account's publication makes the node, with its options as configuration; nobody else's does (§7.1.4, XEP-0163 §3)")
    func autoCreation() {
        var paper = NodesOnPaper.personal()
        #expect(paper.publish("a", at: "tune", by: "nurse@capulet.lit/x").refusal == "cancel/item-not-found")
        #expect(paper.publish("a", at: "tune", by: juliet).error == nil)
        #expect(paper.ownerGet("<configure node='tune'/>", by: juliet).form["pubsub#access_model"] == ["presence"])
        let options: KeyValuePairs = ["persist_items": "true", "max_items": "max", "send_last_published_item": "never", "access_model": "whitelist"]
        #expect(paper.publish("a", at: "urn:xmpp:bookmarks:1", by: juliet, options: options).error == nil)
        let form = paper.ownerGet("<configure node='urn:xmpp:bookmarks:1'/>", by: juliet).form
        #expect(form["pubsub#access_model"] == ["whitelist"] && form["pubsub#max_items"] == ["max"] && form["pubsub#send_last_published_item"] == ["never"])
        paper.reload()
        #expect(paper.publish("b", at: "urn:xmpp:bookmarks:1", by: juliet, options: options).error == nil)
        #expect(paper.items(of: "urn:xmpp:bookmarks:1", by: juliet) == ["a", "b"])
        var service = NodesOnPaper.service()
        #expect(service.publish("a", at: "n", options: ["access_model": "open"]).refusal == "cancel/item-not-found")
    }

    @Test("what is refused makes no node")
    func noNode() {
        var paper = NodesOnPaper.personal()
        #expect(paper.set("<publish node='n'/>", by: juliet).refusal == "modify/bad-request item-required")
        #expect(paper.publish("a", at: String(repeating: "n", count: 1_024), by: juliet).refusal == "modify/not-acceptable")
        #expect(paper.publish("a", at: "n", by: juliet, options: ["max_items": "1001"]).refusal == "modify/not-acceptable")
        #expect(paper.publish("a", at: "n", by: juliet, options: ["colour": "blue"]).refusal == "cancel/conflict precondition-not-met")
        #expect(paper.nodes.nodeCount == 0 && paper.writes.isEmpty)
    }

    @Test("a precondition that is not met, or not known, refuses the publication and changes nothing (§7.1.5)")
    func preconditions() {
        var paper = NodesOnPaper.personal { $0.itemsMax = 100 }
        paper.publish("a", at: "n", by: juliet, options: ["access_model": "whitelist", "max_items": "max"])
        for (options, isMet) in [
            (["access_model": "whitelist"], true), (["max_items": "100"], true), (["max_items": "max"], true), (["purge_offline": "0"], true),
            (["access_model": "open"], false), (["max_items": "10"], false), (["persist_items": "0"], false), (["x-mine": "1"], false),
        ] as [(KeyValuePairs<String, String>, Bool)] {
            let refusal = paper.publish("b", at: "n", by: juliet, options: options).refusal
            #expect(refusal == (isMet ? nil : "cancel/conflict precondition-not-met"), "\(options)")
        }
        let form = paper.ownerGet("<configure node='n'/>", by: juliet).form
        #expect(form["pubsub#access_model"] == ["whitelist"] && form["pubsub#max_items"] == ["max"])
        let wrongType = "<publish-options>\(NodesOnPaper.form("node_config", [:]))</publish-options>"
        let item = "<publish node='n'><item><a xmlns='urn:a'/></item></publish>"
        #expect(paper.set(item + wrongType, by: juliet).refusal == "modify/bad-request")
        #expect(paper.set(item + "<publish-options/>", by: juliet).refusal == "modify/bad-request")
    }

    @Test("a publisher does not configure a node by his options (§7.1.5)")
    func optionsAreNoConfiguration() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["access_model": "whitelist"])
        paper.affiliate("horatio@denmark.lit", "publisher", at: "n")
        #expect(paper.publish("a", at: "n", by: horatio, options: ["access_model": "open"]).refusal == "cancel/conflict precondition-not-met")
        #expect(paper.get("<items node='n'/>", by: francisco).refusal == "cancel/not-allowed closed-node")
    }

    // MARK: Retraction

    @Test("items are deleted, all of the request or none, and who wants to is told (§7.2)")
    func retraction() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["notify_retract": "0"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        for item in ["a", "b", "c", "d"] { paper.publish(item, at: "n") }
        _ = paper.news()
        paper.reload()
        #expect(paper.set("<retract node='n'><item id='a'/></retract>", by: hamlet) == "<iq type='result' to='\(hamlet)' id='1'/>")
        #expect(paper.news().isEmpty)
        #expect(paper.set("<retract node='n'><item id='b'/><item id='a'/></retract>", by: hamlet).refusal == "cancel/item-not-found")
        #expect(paper.items(of: "n") == ["b", "c", "d"])
        for (notify, item) in [("true", "b"), ("1", "c")] {
            #expect(paper.set("<retract node='n' notify='\(notify)'><item id='\(item)'/></retract>", by: hamlet).error == nil)
            #expect(
                paper.news().map(\.message) == [
                    "<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'><retract id='\(item)'/></items></event></message>"
                ])
        }
        _ = paper.configure("n", ["notify_retract": "1"])
        #expect(paper.set("<retract node='n' notify='0'><item id='d'/></retract>", by: hamlet).error == nil)
        #expect(paper.news().map(\.notice.kind) == [.retraction])
        #expect(paper.items(of: "n").isEmpty && paper.nodes.byteCount == 0)
    }

    @Test("owners and publishers delete items, others not; without an item there is nothing to delete (§4.1, §7.2.3)")
    func retractionRights() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["publish_model": "open"])
        for (affiliation, isAllowed) in [("owner", true), ("publisher", true), ("publish-only", false), ("member", false), ("none", false), ("outcast", false)] {
            paper.publish("a", at: "n")
            paper.affiliate("horatio@denmark.lit", affiliation, at: "n")
            let refusal = paper.set("<retract node='n'><item id='a'/></retract>", by: horatio).refusal
            #expect(refusal == (isAllowed ? nil : "auth/forbidden"), "\(affiliation)")
            if affiliation == "owner" { paper.affiliate("horatio@denmark.lit", "none", at: "n", by: horatio) }
        }
        #expect(paper.set("<retract node='n'/>", by: hamlet).refusal == "modify/bad-request item-required")
        #expect(paper.set("<retract node='n'><item/></retract>", by: hamlet).refusal == "modify/bad-request item-required")
        #expect(paper.set("<retract node='x'><item id='a'/></retract>", by: hamlet).refusal == "cancel/item-not-found")
        paper.create("m", ["persist_items": "0"])
        #expect(paper.set("<retract node='m'><item id='a'/></retract>", by: hamlet).refusal == "cancel/feature-not-implemented unsupported persistent-items")
    }
}
