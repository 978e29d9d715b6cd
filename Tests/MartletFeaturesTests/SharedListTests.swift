import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Block lists that others share, by PubSub")
struct SharedListTests {
    private let wire = TestWire()
    private let server: TestServer
    private let peer: TestPeer
    private let name = SharedListName(service: RoomOnPaper.bare("xmppbl.example"), node: "muc_bans_sha256")
    private let own: Set<String> = ["capulet.example", "conference.capulet.example", "pubsub.capulet.example"]

    init() {
        server = TestServer(remote: wire)
        peer = TestPeer(server, ["xmppbl.example": "capulet.example", "spam.example": "capulet.example", "spam.example": "conference.capulet.example"])
    }

    private func digest(_ text: String) -> String {
        ScramHash.sha256.digest(Array(text.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func follow(_ names: [SharedListName]) {
        server.sharedLists.follow(names, as: server.domain, own: own, server.router, on: server.context.mailbox)
        wake()
    }

    private func wake() {
        server.sharedLists.wake(server.router, on: server.context.mailbox)
        server.run()
    }

    private var report: SharedListKeeper.Report? { server.sharedLists.reports.first }

    // MARK: At another server

    private func answer(_ request: FlatElement, _ content: String, type: String = "result", from: String = "xmppbl.example") {
        peer.send("<iq type='\(type)' id='\(request.attribute("id") ?? "")' from='\(from)' to='capulet.example'>\(content)</iq>")
    }

    private func pubsub(_ content: String) -> String { "<pubsub xmlns='http://jabber.org/protocol/pubsub'>\(content)</pubsub>" }
    private func items(_ names: [String], _ set: String = "") -> String {
        pubsub("<items node='muc_bans_sha256'>\(names.map { "<item id='\($0)'><report xmlns='x'/></item>" }.joined())</items>\(set)")
    }

    private func event(_ content: String, from: String = "xmppbl.example") {
        peer.send("<message from='\(from)' to='capulet.example' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\(content)</event></message>")
    }

    private func change(_ content: String) { event("<items node='muc_bans_sha256'>\(content)</items>") }

    /// The one request that is on the wire.
    private func request() throws -> FlatElement {
        let sent = wire.take()
        #expect(sent.count == 1)
        return try #require(sent.first)
    }

    private func fetched(_ entries: [String]) throws {
        follow([name])
        answer(try request(), pubsub("<subscription node='muc_bans_sha256' jid='capulet.example' subscription='subscribed'/>"))
        answer(try request(), items(entries.map(digest)))
    }

    @Test("the domain subscribes, fetches what is there, and hears of changes (XEP-0060 §6.1, §6.5, §7.1.2, §7.2.2)")
    func followed() throws {
        follow([name])
        let subscription = try request()
        #expect(subscription.attribute("from") == "capulet.example" && subscription.attribute("to") == "xmppbl.example")
        let subscribe = subscription.firstChild("pubsub", .pubsub)?.firstChild("subscribe", .pubsub)
        #expect(subscribe?.attribute("node") == "muc_bans_sha256" && subscribe?.attribute("jid") == "capulet.example")
        #expect(report?.state == .asking)
        answer(subscription, pubsub("<subscription node='muc_bans_sha256' jid='capulet.example' subscription='subscribed'/>"))
        let fetch = try request()
        #expect(fetch.firstChild("pubsub", .pubsub)?.firstChild("items", .pubsub)?.attribute("node") == "muc_bans_sha256")
        answer(fetch, items([digest("tybalt@spam.example"), "no digest", digest("evil.example").uppercased()]))
        #expect(report?.state == .following && report?.entries == 2 && report?.fetched == server.time.wallMilliseconds && wire.take().isEmpty)
        change("<item id='\(digest("paris@spam.example"))'/>")
        change("<retract id='\(digest("evil.example"))'/>")
        #expect(report?.entries == 2)
        let lists = server.sharedLists.lists
        #expect(lists.contains(RoomOnPaper.bare("paris@spam.example")) && !lists.contains(RoomOnPaper.bare("a@evil.example")))
        let stored = server.store.contents.sharedLists.all[name]
        #expect(stored?.entries == [SharedListEntry(of: "tybalt@spam.example"), SharedListEntry(of: "paris@spam.example")])
        event("<purge node='muc_bans_sha256'/>")
        #expect(report?.entries == 0 && server.store.contents.sharedLists.all[name]?.entries.isEmpty == true)
    }

    @Test("a list comes page by page, and what happens meanwhile counts as well (XEP-0059)")
    func pages() throws {
        follow([name])
        answer(try request(), "")
        let names = (0..<5).map { digest("a\($0)@spam.example") }
        func set(_ last: String) -> String { "<set xmlns='http://jabber.org/protocol/rsm'><last>\(last)</last><count>5</count></set>" }
        let first = try request()
        #expect(first.firstChild("pubsub", .pubsub)?.firstChild("set", .resultSets)?.firstChild("max", .resultSets)?.text == "500")
        answer(first, items(Array(names[0..<2]), set(names[1])))
        change("<retract id='\(names[0])'/>")
        change("<item id='\(digest("late@spam.example"))'/>")
        let second = try request()
        #expect(second.firstChild("pubsub", .pubsub)?.firstChild("set", .resultSets)?.firstChild("after", .resultSets)?.text == names[1])
        answer(second, items(Array(names[2..<4]), set(names[3])))
        answer(try request(), items(Array(names[4...]), set(names[4])))
        #expect(report?.state == .following && report?.entries == 5 && wire.take().isEmpty)
        #expect(!server.sharedLists.lists.contains(RoomOnPaper.bare("a0@spam.example")))
        #expect(server.sharedLists.lists.contains(RoomOnPaper.bare("late@spam.example")))
    }

    @Test("only the service that was asked is heard, by identifiers that nobody can guess")
    func strangers() throws {
        follow([name])
        let subscription = try request()
        answer(subscription, "", from: "spam.example")
        #expect(report?.state == .asking && wire.take().isEmpty)
        answer(subscription, "")
        answer(try request(), items([digest("tybalt@spam.example")]))
        event("<items node='muc_bans_sha256'><retract id='\(digest("tybalt@spam.example"))'/></items>", from: "spam.example")
        event("<items node='other'><retract id='\(digest("tybalt@spam.example"))'/></items>")
        #expect(report?.entries == 1)
        // Others are answered as before: nobody is at the domain's address.
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='capulet.example' id='m'><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
    }

    @Test("what goes wrong leaves what was known, is told to the operator, and is tried again later and later")
    func troubles() throws {
        try fetched(["tybalt@spam.example"])
        server.advance(by: .seconds(6 * 3600))
        wake()
        answer(try request(), "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", type: "error")
        #expect(report?.state == .waiting && report?.trouble == "item-not-found" && report?.entries == 1)
        server.advance(by: .seconds(59))
        wake()
        #expect(wire.take().isEmpty)
        server.advance(by: .seconds(1))
        wake()
        // No answer.
        _ = try request()
        server.advance(by: .seconds(60))
        wake()
        #expect(report?.trouble == "no answer")
        server.advance(by: .seconds(60))
        wake()
        #expect(wire.take().isEmpty)
        wire.refuse(StanzaError(.remoteServerNotFound))
        server.advance(by: .seconds(60))
        wake()
        #expect(report?.trouble == "remote-server-not-found" && report?.entries == 1)
        wire.refuse(nil)
        server.advance(by: .seconds(4 * 60))
        wake()
        answer(try request(), "")
        answer(try request(), pubsub("<x xmlns='y'/>"))
        #expect(report?.trouble == "the answer has no items" && report?.entries == 1)
        server.advance(by: .seconds(8 * 60))
        wake()
        answer(try request(), "")
        answer(try request(), items([]))
        #expect(report?.trouble == nil && report?.state == .following && report?.entries == 0)
    }

    @Test(
        "a node that is deleted, or lets the server in no more, is asked for anew; until then there is what was known (XEP-0060 §8.4.2, §8.8.4)",
        arguments: ["<delete node='muc_bans_sha256'/>", "<subscription node='muc_bans_sha256' jid='capulet.example' subscription='none'/>"])
    func ended(end: String) throws {
        try fetched(["tybalt@spam.example"])
        event("<subscription node='muc_bans_sha256' jid='capulet.example' subscription='subscribed'/>")
        event("<delete node='other'/>")
        #expect(report?.state == .following)
        event(end)
        #expect(report?.state == .waiting && report?.trouble != nil && report?.entries == 1)
        server.advance(by: .seconds(60))
        wake()
        answer(try request(), "")
        answer(try request(), items([digest("paris@spam.example")]))
        #expect(report?.state == .following && report?.trouble == nil)
        #expect(!server.sharedLists.lists.contains(RoomOnPaper.bare("tybalt@spam.example")))
    }

    @Test("a list that is too long leaves what was known")
    func tooLong() {
        let most = SharedBlockLists.entriesMax
        var feed = SharedListFeed(node: "n", at: .uptimeNanoseconds(1))
        let random = SeededRandom(seed: 1)
        func page(_ range: Range<Int>) -> SharedListFeed.Answer {
            let names = range.map { "<item id='\(String(repeating: "0", count: 64 - String($0).count))\($0)'/>" }.joined()
            let set = "<set xmlns='http://jabber.org/protocol/rsm'><last>\(range.upperBound)</last></set>"
            let limits = XMLLimits.ownWriting
            guard let element = try? parseElement(ByteBuffer(string: pubsub("<items node='n'>\(names)</items>\(set)")), limits: limits) else {
                preconditionFailure("no page")
            }
            return .result(element.root)
        }
        _ = feed.wake(at: .uptimeNanoseconds(1), random)
        _ = feed.take(.result(nil), at: .uptimeNanoseconds(1), random)
        for start in stride(from: 0, to: most, by: 1_000) { #expect(feed.take(page(start..<start + 1_000), at: .uptimeNanoseconds(1), random).count == 1) }
        #expect(feed.trouble == nil)
        #expect(feed.take(page(most..<most + 1), at: .uptimeNanoseconds(1), random).isEmpty)
        #expect(feed.trouble == "the list has more than 100000 entries")
    }

    // MARK: Start and reload

    @Test("what was known of a list is in force after a start, before anybody is asked")
    func restarted() throws {
        try fetched(["tybalt@spam.example"])
        let keeper = SharedListKeeper(time: server.time, random: server.random)
        let (store, name) = (server.store, name)
        _ = server.wait { try? await keeper.load([name], from: store) }
        #expect(keeper.lists.contains(RoomOnPaper.bare("tybalt@spam.example")))
        let other = SharedListKeeper(time: server.time, random: server.random)
        _ = server.wait {
            try? await other.load([], from: store)
            try? await other.forgetOthers(than: [], in: store)
        }
        #expect(other.lists.isEmpty && server.store.contents.sharedLists.all.isEmpty)
    }

    @Test("a list that is not wanted any more is given up and forgotten, and others go on")
    func givenUp() throws {
        try fetched(["tybalt@spam.example"])
        follow([name])
        #expect(wire.take().isEmpty && report?.state == .following)
        follow([])
        let unsubscription = try request()
        #expect(unsubscription.firstChild("pubsub", .pubsub)?.firstChild("unsubscribe", .pubsub)?.attribute("jid") == "capulet.example")
        #expect(server.sharedLists.reports.isEmpty && server.sharedLists.lists.isEmpty && server.store.contents.sharedLists.all.isEmpty)
        change("<item id='\(digest("tybalt@spam.example"))'/>")
        #expect(server.sharedLists.lists.isEmpty)
    }

    @Test("a list of which the disk refused a part is written whole when it is fetched again")
    func refusedByDisk() throws {
        try fetched(["tybalt@spam.example"])
        server.store.failSubmits(with: .full, next: 1)
        change("<item id='\(digest("paris@spam.example"))'/>")
        #expect(server.sharedLists.lists.count(of: name) == 2 && server.store.contents.sharedLists.all[name]?.entries.count == 1)
        server.advance(by: .seconds(6 * 3600))
        wake()
        answer(try request(), "")
        answer(try request(), items(["tybalt@spam.example", "paris@spam.example"].map(digest)))
        #expect(server.store.contents.sharedLists.all[name]?.entries.count == 2)
    }

    // MARK: At this server

    @Test("a list at a service of this server is followed as well")
    func ownService() {
        let abbot = server.online("abbot/cell")
        func ask(_ content: String) {
            abbot.send("<iq type='set' id='q' to='pubsub.capulet.example'>\(pubsub(content))</iq>")
            #expect(abbot.received().first?.error == nil)
        }
        ask("<create node='bans'/>")
        ask("<publish node='bans'><item id='\(digest("evil.example"))'><x xmlns='y'/></item></publish>")
        follow([SharedListName(service: RoomOnPaper.bare("pubsub.capulet.example"), node: "bans")])
        #expect(report?.state == .following && report?.entries == 1)
        ask("<publish node='bans'><item id='\(digest("worse.example"))'><x xmlns='y'/></item></publish>")
        #expect(report?.entries == 2)
        ask("<retract node='bans' notify='1'><item id='\(digest("evil.example"))'/></retract>")
        #expect(report?.entries == 1 && server.sharedLists.lists.contains(RoomOnPaper.bare("a@worse.example")))
    }

    // MARK: What comes of it

    private func say(_ content: String = "<body>buy</body>", from: String = "tybalt@spam.example/x", to: String = "juliet@capulet.example", type: String = "chat") {
        peer.send("<message from='\(from)' to='\(to)' type='\(type)' id='m'>\(content)</message>")
    }

    private func errors() -> [String] { wire.take().compactMap { TestStanza($0).error } }

    @Test("a stranger who is listed is answered as if there were no such account, and one who is not is heard")
    func messages() throws {
        let juliet = server.online("juliet/balcony")
        try fetched(["tybalt@spam.example", "evil.example"])
        say()
        say(to: "nobody@capulet.example")
        say(to: "juliet@capulet.example/balcony")
        #expect(errors() == Array(repeating: "cancel/service-unavailable", count: 3))
        peer.send("<presence from='tybalt@spam.example' to='juliet@capulet.example' type='subscribe'/>")
        #expect(juliet.received().isEmpty && wire.take().isEmpty)
        say(from: "romeo@spam.example/x")
        #expect(juliet.received().count == 1)
        #expect(server.sharedLists.lists.refusalCount == 3)
    }

    @Test("whoever is in the roster is no stranger, nor is a room that the account is in")
    func known() throws {
        server.befriend("juliet", "romeo")
        server.edit("juliet") { .rosterItem($0, RosterItem(contact: RoomOnPaper.bare("tybalt@spam.example"), subscription: SubscriptionState(isInRoster: true), version: 2)) }
        let juliet = server.online("juliet/balcony")
        try fetched(["spam.example"])
        say()
        #expect(juliet.received().map(\.id) == ["m"])
        juliet.send("<presence to='cave@spam.example/j'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        _ = wire.take()
        juliet.forget()
        say(from: "cave@spam.example/x", to: "juliet@capulet.example/balcony", type: "groupchat")
        #expect(juliet.received().map(\.id) == ["m"])
        say(from: "heath@spam.example/x", to: "juliet@capulet.example/balcony", type: "groupchat")
        #expect(juliet.received().isEmpty)
    }

    @Test("whoever has asked for a subscription before he was listed is a stranger all the same")
    func asked() throws {
        let juliet = server.online("juliet/balcony")
        peer.send("<presence from='tybalt@spam.example' to='juliet@capulet.example' type='subscribe'/>")
        #expect(juliet.received().count == 1)
        try fetched(["tybalt@spam.example"])
        say()
        #expect(juliet.received().isEmpty && errors() == ["cancel/service-unavailable"])
    }

    @Test("accounts of this server hear each other, whatever a list says")
    func ownPeople() throws {
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        try fetched(["capulet.example", "romeo@capulet.example"])
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m'><body>hello</body></message>")
        #expect(juliet.received().map(\.id) == ["m"])
    }

    @Test("whoever is listed enters no room, unless the room knows him (XEP-0045 §7.2.7)")
    func rooms() throws {
        let owner = server.online("hag66/pda")
        owner.send("<presence to='cave@conference.capulet.example/hag'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        owner.send("<iq type='set' id='c' to='cave@conference.capulet.example'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        owner.send("""
            <iq type='set' id='a' to='cave@conference.capulet.example'><query xmlns='http://jabber.org/protocol/muc#admin'>\
            <item affiliation='member' jid='known@spam.example'/></query></iq>
            """)
        try fetched(["spam.example"])
        func enter(_ name: String) -> [String] {
            _ = wire.take()
            peer.send("<presence from='\(name)@spam.example/x' to='cave@conference.capulet.example/\(name)'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            return wire.take().map { TestStanza($0).error ?? $0.localName }
        }
        #expect(enter("tybalt") == ["auth/forbidden"])
        #expect(enter("known").first == "presence")
        #expect(server.sharedLists.lists.refusalCount == 1)
    }
}
