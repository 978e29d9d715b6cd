import MartletCore
import MartletTesting
import MartletXMPP
import NIOCore
import Testing

@Suite("The presence of accounts for those who are not there by XMPP")
struct PresenceViewTests {
    private let server = TestServer()

    private func view(_ server: TestServer) -> PresenceView { PresenceView(server.router, on: server.context.mailbox) }

    private func seen(_ target: String, by viewer: PresenceViewer, at server: TestServer) -> PresenceSummary? {
        let (view, target) = (view(server), server.address(target))
        return server.wait { await view.presence(of: [target], for: viewer) }?.first ?? nil
    }

    private func seen(_ target: String, by viewer: String?) -> PresenceSummary? {
        seen(target, by: PresenceViewer(viewer.map(server.address)), at: server)
    }

    // MARK: What is seen

    @Test("of several sessions the most available counts, then the one of highest priority", arguments: [
        (["dnd 5", "away 1"], "away 1"), (["away 1", "away 7"], "away 7"), (["chat 0", "available 9"], "chat 0"), (["xa 3", "dnd 9"], "xa 3"),
        (["available -1", "dnd 0"], "dnd 0"),
    ])
    func aggregation(_ sessions: [String], _ expected: String) {
        for (number, session) in sessions.enumerated() {
            let parts = session.split(separator: " ")
            let show = parts[0] == "available" ? "" : "<show>\(parts[0])</show>"
            server.client("juliet/\(number)").send("<presence>\(show)<priority>\(parts[1])</priority></presence>")
        }
        let summary = seen("juliet", by: "juliet")
        #expect(summary.map { "\($0.show.rawValue) \($0.priority ?? 99)" } == expected)
        #expect(summary?.resources.count == 2)
    }

    @Test("who takes no messages is offline, and has a device all the same")
    func negativePriority() {
        server.client("juliet/balcony").send("<presence><priority>-1</priority></presence>")
        let summary = seen("juliet", by: "juliet")
        #expect(summary?.show == .offline)
        #expect(summary?.resources.map(\.line) == ["balcony available -1"])
    }

    @Test("the line for people is the status, else a word")
    func text() {
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence><show>dnd</show></presence>")
        #expect(seen("juliet", by: "juliet")?.text == "do not disturb")
        juliet.send("<presence><show>dnd</show><status xml:lang='de'>Im Gespräch</status><status>In a meeting until 11:30</status></presence>")
        let summary = seen("juliet", by: "juliet")
        #expect(summary?.text == "In a meeting until 11:30")
        #expect(summary?.statuses == [.init("Im Gespräch", language: "de"), .init("In a meeting until 11:30")])
    }

    @Test("a status is one harmless line", arguments: [
        ("  two\nlines ", "two lines"), ("\u{1}bell\u{7}", "bell"), ("\u{202E}turned", "turned"), (" \n ", nil), ("", nil), ("é\u{85}", "é"),
    ])
    func line(_ text: String, _ expected: String?) { #expect(PresenceSummary.line(text) == expected) }

    @Test("a status has 1,024 bytes at most, and no half character")
    func longLine() {
        #expect(PresenceSummary.line(String(repeating: "a", count: 1_024))?.utf8.count == 1_024)
        #expect(PresenceSummary.line(String(repeating: "a", count: 1_025))?.utf8.count == 1_024)
        #expect(PresenceSummary.line("a" + String(repeating: "é", count: 600))?.utf8.count == 1_023)
    }

    @Test("eight languages at most", arguments: [8, 9])
    func languages(_ count: Int) {
        let statuses = (0..<count).map { "<status xml:lang='x-\($0)'>s</status>" }.joined()
        server.client("juliet/balcony").send("<presence>\(statuses)</presence>")
        #expect(seen("juliet", by: "juliet")?.statuses.count == 8)
    }

    @Test("since when, and since when idle (XEP-0319)")
    func times() {
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence><idle xmlns='urn:xmpp:idle:1' since='1970-01-01T00:00:02Z'/></presence>")
        let began = server.time.wallMilliseconds
        #expect(seen("juliet", by: "juliet")?.idleSince == 2_000)
        server.advance(by: .seconds(5))
        #expect(seen("juliet", by: "juliet")?.since == began)
        juliet.send("<presence type='unavailable'><status>home</status></presence>")
        let summary = seen("juliet", by: "juliet")
        #expect(summary?.since == began + 5_000)
        #expect(summary?.text == "home")
        #expect(summary?.show == .offline)
    }

    // MARK: Who sees it

    @Test("a contact sees what is said, not the devices")
    func contact() {
        server.befriend("romeo", "juliet")
        server.client("juliet/balcony").send("<presence><show>away</show><status>out</status></presence>")
        let summary = seen("juliet", by: "romeo")
        #expect(summary?.show == .away)
        #expect(summary?.text == "out")
        #expect(summary?.resources == [])
    }

    @Test("an account that is not in memory is read: its contact sees that it is offline")
    func offlineContact() {
        server.befriend("romeo", "juliet")
        #expect(seen("juliet", by: "romeo")?.show == .offline)
    }

    @Test("strangers, whoever has no name, and whoever asks after nobody see nothing")
    func strangers() {
        _ = server.online("juliet/balcony")
        server.createAccount("paris")
        #expect(seen("juliet", by: "paris") == nil)
        #expect(seen("juliet", by: nil) == nil)
        #expect(seen("nobody", by: "paris") == nil)
        #expect(seen("juliet@montague.example", by: "paris") == nil)
    }

    @Test("one side of a subscription is not enough", arguments: [true, false])
    func oneSide(_ hasTo: Bool) {
        server.createAccount("romeo")
        _ = server.online("juliet/balcony")
        let item = RosterItem(
            contact: server.address(hasTo ? "juliet" : "romeo"), subscription: SubscriptionState(to: hasTo, from: !hasTo, isInRoster: true),
            version: 1)
        server.edit(hasTo ? "romeo" : "juliet") { .rosterItem($0, item) }
        #expect(seen("juliet", by: "romeo") == nil)
    }

    @Test("whoever is blocked sees nothing, not that somebody is offline (XEP-0191)")
    func blocked() {
        server.befriend("romeo", "juliet")
        let juliet = server.online("juliet/balcony")
        #expect(seen("juliet", by: "romeo") != nil)
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        #expect(seen("juliet", by: "romeo") == nil)
    }

    private func wish(_ wish: PresenceWish?, of account: String, at server: TestServer) {
        server.edit(account) { .document($0, .directoryVisibility, wish?.document) }
    }

    @Test("the operator's rules add to that, as far as the account wishes", arguments: [
        (PresenceWish?.none, PresenceLevel.none), (PresenceWish.none, .none), (.contacts, .none), (.organisation, .basic),
    ] as [(PresenceWish?, PresenceLevel)])
    func rules(_ wish: PresenceWish?, _ level: PresenceLevel) {
        let server = TestServer(presenceRights: PresenceRights(rules: [PresenceRule(.any, .basic)]))
        for name in ["juliet", "paris"] { server.createAccount(name) }
        self.wish(wish, of: "juliet", at: server)
        server.client("juliet/balcony").send("<presence><show>dnd</show><status>busy</status></presence>")
        let summary = seen("juliet", by: .account(server.address("paris")), at: server)
        #expect(summary?.show == (level == .none ? nil : .dnd))
        #expect(summary?.statuses ?? [] == [])
        #expect(seen("juliet", by: .anonymous, at: server) == nil)
    }

    @Test("contacts are kept away as well by who wants to be shown to nobody, but not the account itself")
    func noWish() {
        server.befriend("romeo", "juliet")
        wish(PresenceWish.none, of: "juliet", at: server)
        #expect(seen("juliet", by: "romeo") == nil)
        #expect(seen("juliet", by: "juliet") != nil)
    }

    @Test("rules speak for groups and services, about groups")
    func groups() {
        let rules = [PresenceRule(.group("operators"), .devices), PresenceRule(.service("cn=mailhub"), see: .group("duty"), .basic)]
        let rights = PresenceRights(rules: rules, defaultWish: .organisation) { account, group in
            account.description.hasPrefix(group == "operators" ? "nurse@" : "juliet@")
        }
        let server = TestServer(presenceRights: rights)
        for name in ["nurse", "paris", "romeo"] { server.createAccount(name) }
        _ = server.online("juliet/balcony")
        #expect(seen("juliet", by: .account(server.address("nurse")), at: server)?.resources.count == 1)
        #expect(seen("juliet", by: .account(server.address("paris")), at: server) == nil)
        #expect(seen("juliet", by: .service("cn=mailhub"), at: server)?.show == .available)
        #expect(seen("romeo", by: .service("cn=mailhub"), at: server) == nil)
        #expect(seen("juliet", by: .service("cn=other"), at: server) == nil)
    }

    @Test("of several rules the first decides that is about both, also if it grants less")
    func order() {
        let rules = [PresenceRule(.group("guests"), .none), PresenceRule(.any, see: .group("board"), .basic), PresenceRule(.any, .full)]
        let rights = PresenceRights(rules: rules, defaultWish: .organisation) { account, group in
            account.description.hasPrefix(group == "guests" ? "paris@" : "juliet@")
        }
        let server = TestServer(presenceRights: rights)
        for name in ["nurse", "paris"] { server.createAccount(name) }
        for name in ["juliet/balcony", "romeo/orchard"] { server.client(name).send("<presence><status>here</status></presence>") }
        #expect(seen("juliet", by: .account(server.address("nurse")), at: server)?.statuses == [])
        #expect(seen("romeo", by: .account(server.address("nurse")), at: server)?.statuses.map(\.text) == ["here"])
        #expect(seen("romeo", by: .account(server.address("paris")), at: server) == nil)
        // Nothing is found either by whoever is granted nothing.
        #expect(visible(to: "paris", online: true, at: server) == [])
        #expect(visible(to: "nurse", online: true, at: server) == ["juliet@capulet.example", "romeo@capulet.example"])
    }

    @Test("a document that says nothing known hides the account")
    func damagedWish() { #expect(PresenceWish(ByteBuffer(string: "everybody!")) == .none) }

    @Test("more than one batch is answered in order", arguments: [1, 100, 101, 200])
    func batches(_ count: Int) {
        _ = server.online("juliet/balcony")
        let juliet = server.address("juliet")
        let targets = (0..<count).map { $0 == count - 1 ? juliet : server.address("p\($0)") }
        let view = view(server)
        let seen = server.wait { await view.presence(of: targets, for: juliet) }
        #expect(seen?.map { $0 != nil } == (0..<count).map { $0 == count - 1 })
    }

    // MARK: Who is of some kind

    private func visible(to viewer: String, online: Bool, at server: TestServer) -> [String] {
        let (view, viewer) = (view(server), PresenceViewer.account(server.address(viewer)))
        let found = server.wait { (try? await view.visible(to: viewer, online: online))?.map(\.address.description) }
        return (found ?? nil) ?? []
    }

    @Test("all who may be seen are found, and nobody else")
    func visible() {
        server.befriend("romeo", "juliet")
        server.befriend("romeo", "nurse")
        _ = server.online("juliet/balcony")
        _ = server.online("tybalt/street")
        #expect(visible(to: "romeo", online: true, at: server) == ["juliet@capulet.example"])
        #expect(visible(to: "romeo", online: false, at: server) == ["juliet@capulet.example", "nurse@capulet.example", "romeo@capulet.example"])
    }

    @Test("rules make accounts visible that are no contacts")
    func visibleByRule() {
        let server = TestServer(presenceRights: PresenceRights(rules: [PresenceRule(.any, .basic)], defaultWish: .organisation))
        for name in ["paris", "nurse"] { server.createAccount(name) }
        _ = server.online("juliet/balcony")
        #expect(visible(to: "paris", online: true, at: server) == ["juliet@capulet.example"])
        #expect(visible(to: "paris", online: false, at: server).count == 3)
    }

    // MARK: Watching

    private func changes(_ watch: PresenceWatch) -> [PresenceChange]? {
        let answer = server.wait { () -> [PresenceChange]? in
            var iterator = watch.makeAsyncIterator()
            return await iterator.next()
        }
        return answer ?? nil
    }

    @Test("a watch tells all at first, then what changes, each account once")
    func watching() throws {
        server.befriend("romeo", "juliet")
        let juliet = server.address("juliet")
        let watch = try #require(view(server).watch([juliet], for: .account(server.address("romeo")), every: .zero))
        let first = try #require(changes(watch))
        #expect(first.map(\.presence?.show) == [.offline])
        let client = server.online("juliet/balcony")
        client.send("<presence><show>away</show></presence>")
        let second = try #require(changes(watch))
        #expect(second.map(\.address) == [juliet])
        #expect(second.map(\.presence?.show) == [.away])
        client.send("<presence type='unsubscribed' to='romeo@capulet.example'/>")
        let third = try #require(changes(watch))
        #expect(third == [PresenceChange(juliet, nil)])
    }

    @Test("a watch has 200 accounts at most", arguments: [200, 201])
    func watchLimit(_ count: Int) {
        let targets = Set((0..<count).map { server.address("p\($0)") })
        #expect((view(server).watch(targets, for: .account(server.address("romeo"))) != nil) == (count == 200))
    }

    @Test("there are 1,000 watches at most; one that nobody holds is gone")
    func watches() {
        let view = view(server)
        let juliet = server.address("juliet")
        var held = (0..<PresenceWatch.countMax).map { _ in view.watch([juliet], for: .account(juliet)) }
        #expect(held.allSatisfy { $0 != nil })
        #expect(view.watch([juliet], for: .account(juliet)) == nil)
        held.removeLast()
        #expect(view.watch([juliet], for: .account(juliet)) != nil)
    }
}
