import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0115 and XEP-0390 Entity Capabilities of clients")
struct EntityCapabilitiesTests {
    private let server = TestServer(features: { StandardFeatures.all($0).filter { !($0 is PersonalEventing) } + [Listener()] })

    /// Hears who wants what.
    private struct Listener: EventingStage {
        static let specification = Specification.xep(163, "Personal Eventing Protocol", version: "1.2.2")
        func wish(_ wish: NodeWish, at home: AccountHome, _ router: Router, _ context: LoopContext) {
            let news = StanzaBuilder.message(.normal, from: nil, to: .full(wish.address), id: wish.nodes.sorted().joined(separator: " ")) { _ in }
            if let session = wish.session { context.post(news, to: session) }
        }
        func loaded(_ home: AccountHome, _ router: Router, _ context: LoopContext) {}
        func admitted(_ contact: BareJID, at home: AccountHome, _ router: Router, _ context: LoopContext) {}
        func isDecision(_ message: borrowing Stanza) -> Bool { false }
        func decide(_ arrival: Arrival, _ router: Router, _ context: LoopContext) {}
        func dismissed(_ contact: BareJID, at home: AccountHome, _ router: Router, _ context: LoopContext) {}
        func withdraw(
            from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext, _ done: @escaping @Sendable (Bool, LoopContext) -> Void
        ) { done(true, context) }
    }

    private static let lute = "<identity category='client' type='pc' name='Lute'/><feature var='mood+notify'/><feature var='tune+notify'/><feature var='muc'/>"

    private func digest(_ content: String) throws -> String {
        let element = try parseElement(ByteBuffer(string: "<query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query>"), limits: .authenticated)
        return EntityCapabilities.verificationString(of: try #require(DiscoInfo(element.root)))
    }

    private func announce(_ digest: String, _ client: TestClient) {
        client.send("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='\(digest)'/></presence>")
    }

    /// The `id` of the question that the server asks a client; `nil` if it asks nothing. What else has come is thrown away.
    private func question(to client: TestClient) -> String? {
        client.received().first { $0.element.localName == "iq" && $0.element.attribute("type") == "get" }?.id
    }

    private func answer(_ content: String, to id: String, _ client: TestClient) {
        client.send("<iq type='result' id='\(id)' to='\(client.address.bare)'><query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query></iq>")
    }

    private func wishes(_ client: TestClient) -> [String] { client.received().filter { $0.element.localName == "message" }.map { $0.id ?? "" } }

    @Test("a client is asked once what its digest stands for, and nobody with the same one after that")
    func once() throws {
        let orchard = server.online("romeo/orchard")
        let digest = try digest(Self.lute)
        announce(digest, orchard)
        let id = try #require(question(to: orchard))
        answer(Self.lute, to: id, orchard)
        #expect(wishes(orchard) == ["mood tune"])
        announce(digest, orchard)
        #expect(question(to: orchard) == nil)
        let balcony = server.online("juliet/balcony")
        announce(digest, balcony)
        #expect(wishes(balcony) == ["mood tune"])
    }

    @Test("the question is under the node that names the digest, and comes from the account (§6.2)")
    func node() throws {
        let orchard = server.online("romeo/orchard")
        announce("abc=", orchard)
        let asked = try #require(orchard.received().first { $0.element.localName == "iq" })
        #expect(asked.description.contains("<query xmlns='http://jabber.org/protocol/disco#info' node='http://lute.example#abc='/>"))
        #expect(asked.element.attribute("from") == "romeo@capulet.example")
    }

    @Test("an answer that the digest does not stand for counts for who has given it alone (§5.4)")
    func lies() throws {
        let orchard = server.online("romeo/orchard")
        announce("abc=", orchard)
        answer(Self.lute, to: try #require(question(to: orchard)), orchard)
        #expect(wishes(orchard) == ["mood tune"])
        let balcony = server.online("juliet/balcony")
        announce("abc=", balcony)
        #expect(question(to: balcony) != nil)
    }

    @Test("an answer with something twice is of no digest, even if that fits (§5.4, 3.3 and 3.4)")
    func twice() throws {
        let orchard = server.online("romeo/orchard")
        let content = Self.lute + "<feature var='muc'/>"
        announce(try digest(content), orchard)
        answer(content, to: try #require(question(to: orchard)), orchard)
        let balcony = server.online("juliet/balcony")
        announce(try digest(content), balcony)
        #expect(question(to: balcony) != nil)
    }

    @Test("sessions of one account with one digest are served by one answer; if that does not come, the next is asked")
    func others() throws {
        let (orchard, garden) = (server.online("romeo/orchard"), server.online("romeo/garden"))
        let digest = try digest(Self.lute)
        announce(digest, orchard)
        announce(digest, garden)
        #expect(question(to: garden) == nil)
        let id = try #require(question(to: orchard))
        orchard.send("<iq type='error' id='\(id)' to='romeo@capulet.example'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
        let next = try #require(question(to: garden))
        answer(Self.lute, to: next, garden)
        #expect(wishes(garden) == ["mood tune"])
    }

    @Test("a client that says something else later wants what is new of it, and one that goes and comes wants everything again")
    func changes() throws {
        let orchard = server.online("romeo/orchard")
        for (content, expected) in [(Self.lute, ["mood tune"]), (Self.lute + "<feature var='avatar+notify'/>", ["avatar"])] {
            announce(try digest(content), orchard)
            answer(content, to: try #require(question(to: orchard)), orchard)
            #expect(wishes(orchard) == expected)
        }
        orchard.send("<presence type='unavailable'/>")
        announce(try digest(Self.lute), orchard)
        #expect(wishes(orchard) == ["mood tune"])
    }

    @Test("who comes back under the same address before he has answered is asked himself, at once")
    func comesBack() throws {
        let orchard = server.online("romeo/orchard")
        let digest = try digest(Self.lute)
        announce(digest, orchard)
        _ = try #require(question(to: orchard))
        orchard.disconnect()
        let again = server.online("romeo/orchard")
        announce(digest, again)
        answer(Self.lute, to: try #require(question(to: again)), again)
        #expect(wishes(again) == ["mood tune"])
    }

    @Test("past so many questions at a time the next one waits for an answer, and is asked then")
    func burst() throws {
        let orchard = server.online("romeo/orchard")
        for number in 0...AwaitedAnswers.countMax { announce("digest\(number)", orchard) }
        let ids = orchard.received().filter { $0.element.attribute("type") == "get" }.compactMap(\.id)
        #expect(ids.count == AwaitedAnswers.countMax)
        answer(Self.lute, to: try #require(ids.first), orchard)
        answer(Self.lute, to: try #require(question(to: orchard)), orchard)
        #expect(wishes(orchard) == ["mood tune"])
    }

    @Test("what can be read in two ways is known of nobody else (XEP-0115 §7.2)", arguments: [
        "<feature var='a&lt;b+notify'/>",
        "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:ping</value></field></x>",
    ])
    func ambiguous(content: String) throws {
        let orchard = server.online("romeo/orchard")
        let digest = try digest(Self.lute + content)
        announce(digest, orchard)
        answer(Self.lute + content, to: try #require(question(to: orchard)), orchard)
        let balcony = server.online("juliet/balcony")
        announce(digest, balcony)
        #expect(question(to: balcony) != nil)
    }

    @Test("of what somebody wants to hear so many names of so many bytes are kept")
    func interests() {
        let many = EntityProfile(interests: Set((0...EntityProfile.interestsMax).map { "node\($0)" }))
        #expect(many.interests.count == EntityProfile.interestsMax)
        let names = [EntityProfile.nameBytesMax, EntityProfile.nameBytesMax + 1].map { String(repeating: "n", count: $0) }
        #expect(EntityProfile(interests: Set(names)).interests == [names[0]])
    }

    @Test("what is no digest is not asked about", arguments: [
        "<c xmlns='http://jabber.org/protocol/caps' node='http://lute.example' ver='1.0' ext='a'/>",
        "<c xmlns='http://jabber.org/protocol/caps' hash='md5' node='http://lute.example' ver='abc='/>",
        "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' ver='abc='/>",
        "<c xmlns='urn:xmpp:caps'><hash xmlns='urn:xmpp:hashes:2' algo='sha3-256'>abc=</hash></c>",
    ])
    func none(element: String) {
        let orchard = server.online("romeo/orchard")
        orchard.send("<presence>\(element)</presence>")
        #expect(question(to: orchard) == nil)
    }

    @Test("a node and a digest may have 1,024 bytes each", arguments: [(1_024, true), (1_025, false)])
    func sizes(bytes: Int, isAsked: Bool) {
        let orchard = server.online("romeo/orchard")
        announce(String(repeating: "a", count: bytes), orchard)
        #expect((question(to: orchard) != nil) == isAsked)
    }

    // MARK: XEP-0390

    @Test("the digests of XEP-0390 §4.4", arguments: [
        (
            """
            <query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' name='BombusMod' type='mobile'/>\
            <feature var='http://jabber.org/protocol/si'/><feature var='http://jabber.org/protocol/bytestreams'/>\
            <feature var='http://jabber.org/protocol/chatstates'/><feature var='http://jabber.org/protocol/disco#info'/>\
            <feature var='http://jabber.org/protocol/disco#items'/><feature var='urn:xmpp:ping'/><feature var='jabber:iq:time'/><feature var='jabber:iq:privacy'/>\
            <feature var='jabber:iq:version'/><feature var='http://jabber.org/protocol/rosterx'/><feature var='urn:xmpp:time'/><feature var='jabber:x:oob'/>\
            <feature var='http://jabber.org/protocol/ibb'/><feature var='http://jabber.org/protocol/si/profile/file-transfer'/><feature var='urn:xmpp:receipts'/>\
            <feature var='jabber:iq:roster'/><feature var='jabber:iq:last'/></query>
            """, "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8="),
        (
            """
            <query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' name='Tkabber' type='pc' xml:lang='en'/>\
            <identity category='client' name='Ткаббер' type='pc' xml:lang='ru'/><feature var='games:board'/><feature var='http://jabber.org/protocol/activity'/>\
            <feature var='http://jabber.org/protocol/activity+notify'/><feature var='http://jabber.org/protocol/bytestreams'/>\
            <feature var='http://jabber.org/protocol/chatstates'/><feature var='http://jabber.org/protocol/commands'/>\
            <feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/>\
            <feature var='http://jabber.org/protocol/evil'/><feature var='http://jabber.org/protocol/feature-neg'/>\
            <feature var='http://jabber.org/protocol/geoloc'/><feature var='http://jabber.org/protocol/geoloc+notify'/>\
            <feature var='http://jabber.org/protocol/ibb'/><feature var='http://jabber.org/protocol/iqibb'/><feature var='http://jabber.org/protocol/mood'/>\
            <feature var='http://jabber.org/protocol/mood+notify'/><feature var='http://jabber.org/protocol/rosterx'/>\
            <feature var='http://jabber.org/protocol/si'/><feature var='http://jabber.org/protocol/si/profile/file-transfer'/>\
            <feature var='http://jabber.org/protocol/tune'/><feature var='http://www.facebook.com/xmpp/messages'/>\
            <feature var='http://www.xmpp.org/extensions/xep-0084.html#ns-metadata+notify'/><feature var='jabber:iq:avatar'/><feature var='jabber:iq:browse'/>\
            <feature var='jabber:iq:dtcp'/><feature var='jabber:iq:filexfer'/><feature var='jabber:iq:ibb'/><feature var='jabber:iq:inband'/>\
            <feature var='jabber:iq:jidlink'/><feature var='jabber:iq:last'/><feature var='jabber:iq:oob'/><feature var='jabber:iq:privacy'/>\
            <feature var='jabber:iq:roster'/><feature var='jabber:iq:time'/><feature var='jabber:iq:version'/><feature var='jabber:x:data'/>\
            <feature var='jabber:x:event'/><feature var='jabber:x:oob'/><feature var='urn:xmpp:avatar:metadata+notify'/><feature var='urn:xmpp:ping'/>\
            <feature var='urn:xmpp:receipts'/><feature var='urn:xmpp:time'/><x xmlns='jabber:x:data' type='result'><field type='hidden' var='FORM_TYPE'>\
            <value>urn:xmpp:dataforms:softwareinfo</value></field><field var='software'><value>Tkabber</value></field><field var='software_version'>\
            <value>0.11.1-svn-20111216-mod (Tcl/Tk 8.6b2)</value></field><field var='os'><value>Windows</value></field><field var='os_version'><value>XP</value>\
            </field></x></query>
            """, "u79ZroNJbdSWhdSp311mddz44oHHPsEBntQ5b1jqBSY="),
    ])
    func newer(xml: String, digest: String) throws {
        let info = try #require(DiscoInfo(try parseElement(ByteBuffer(string: xml), limits: .authenticated).root))
        #expect(CapabilityKey(node: "urn:xmpp:caps#sha-256.\(digest)").stands(for: info))
        #expect(!CapabilityKey(node: "urn:xmpp:caps#sha-256.\(digest.reversed())").stands(for: info))
    }

    @Test("of both protocols the newer counts")
    func both() {
        let orchard = server.online("romeo/orchard")
        orchard.send("""
            <presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='abc='/>\
            <c xmlns='urn:xmpp:caps'><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>def=</hash></c></presence>
            """)
        let asked = orchard.received().first { $0.element.localName == "iq" }
        #expect(asked?.description.contains("node='urn:xmpp:caps#sha-256.def='") == true)
    }

    @Test("so many digests are remembered; the next takes some other's place")
    func cache() {
        let cache = CapabilityCache()
        for number in 0..<CapabilityCache.keysMax { cache.keep(.none, as: CapabilityKey(node: "\(number)")) }
        #expect(cache.count == CapabilityCache.keysMax)
        cache.keep(.none, as: CapabilityKey(node: "new"))
        #expect(cache.count == CapabilityCache.keysMax && cache[CapabilityKey(node: "new")] != nil)
    }
}
