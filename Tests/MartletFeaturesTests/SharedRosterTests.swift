import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("contacts that come from groups (RFC 6121 §2, §3, §4)")
struct SharedRosterTests {
    private let server = TestServer()
    private static let get = "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"

    private func set(_ item: String) -> String { "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\(item)</query></iq>" }

    /// Address, subscription, name and groups of each item.
    private func items(_ stanzas: [TestStanza]) -> [String] {
        stanzas.flatMap { stanza in
            (stanza.child("query").map { Array($0.children) } ?? []).map { item in
                let groups = item.children.map(\.text).joined(separator: ",")
                return [item.attribute("jid"), item.attribute("subscription"), item.attribute("name"), groups].compactMap { $0 ?? "-" }.joined(separator: " ")
            }
        }
    }

    private func roster(_ client: TestClient) -> [String] {
        client.forget()
        client.send(Self.get)
        return items(client.received().filter { $0.id == "g" })
    }

    /// From whom, and which.
    private func presence(_ client: TestClient) -> [String] {
        client.received().filter { $0.element.localName == "presence" }
            .map { "\($0.element.attribute("from") ?? "") \($0.element.attribute("type") ?? "available")" }
    }

    private func version(_ stanza: TestStanza?) -> String { stanza?.child("query")?.attribute("ver") ?? "" }

    // MARK: Who is there

    @Test("members of a group are in each other's rosters and see each other come and go")
    func members() {
        server.share([server.group("Theatre", "juliet", "romeo")])
        let juliet = server.online("juliet/balcony")
        #expect(roster(juliet) == ["romeo@capulet.example both - Theatre"])
        let romeo = server.client("romeo/orchard")
        romeo.send("<presence/>")
        #expect(presence(juliet) == ["romeo@capulet.example/orchard available"])
        #expect(presence(romeo) == ["romeo@capulet.example/orchard available", "juliet@capulet.example/balcony available"])
        romeo.send("<presence type='unavailable'/>")
        #expect(presence(juliet) == ["romeo@capulet.example/orchard unavailable"])
    }

    @Test("who is seen by others and does not see them hears nothing of them, and has none of them in the roster")
    func oneWay() {
        server.share([server.group("Helpers", "nurse", seenBy: ["juliet"])])
        let nurse = server.online("nurse/kitchen")
        let juliet = server.online("juliet/balcony")
        #expect(roster(juliet) == ["nurse@capulet.example to - Helpers"])
        #expect(presence(nurse) == [])
        #expect(roster(nurse) == [])
        nurse.send("<presence><show>away</show></presence>")
        #expect(presence(juliet) == ["nurse@capulet.example/kitchen available"])
        juliet.send("<presence><show>away</show></presence>")
        #expect(presence(nurse) == ["nurse@capulet.example/kitchen available"])
    }

    @Test("what only those may ask who see an account's presence, members may (XEP-0012, rule 23)")
    func lastActivity() {
        server.share([server.group("Theatre", "juliet", "romeo")])
        for name in ["juliet", "tybalt"] { server.createAccount(name) }
        let (romeo, tybalt) = (server.online("romeo/orchard"), server.online("tybalt/street"))
        let juliet = server.online("juliet/balcony")
        juliet.forget()
        let query = "<iq type='get' id='l' to='juliet@capulet.example'><query xmlns='jabber:iq:last'/></iq>"
        romeo.send(query)
        tybalt.send(query)
        #expect(romeo.received().last { $0.id == "l" }?.element.attribute("type") == "result")
        #expect(tybalt.received().last { $0.id == "l" }?.error == "cancel/service-unavailable")
    }

    @Test("whom an account has blocked it neither tells nor hears, in whatever group they are (XEP-0191)")
    func blocking() {
        server.createAccount("juliet")
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        let romeo = server.online("romeo/orchard")
        juliet.forget()
        server.share([server.group("Theatre", "juliet", "romeo")])
        #expect(presence(juliet) == [])
        #expect(presence(romeo) == [])
        juliet.send("<presence><show>away</show></presence>")
        #expect(presence(romeo) == [])
        server.share([])
        #expect(presence(romeo) == [])
    }

    // MARK: What changes

    @Test("who comes into a group is pushed into rosters, and each sees the other from then on (§2.1.6, §4.3)")
    func joining() {
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        juliet.forget()
        romeo.forget()
        server.share([server.group("Theatre", "juliet", "romeo")])
        let toJuliet = juliet.received()
        #expect(items(toJuliet) == ["romeo@capulet.example both - Theatre"])
        #expect(toJuliet.map { $0.element.localName } == ["iq", "presence"])
        #expect(toJuliet.last == "<presence from='romeo@capulet.example/orchard' to='juliet@capulet.example/balcony'/>")
        let toRomeo = romeo.received()
        #expect(items(toRomeo) == ["juliet@capulet.example both - Theatre"])
        #expect(toRomeo.last == "<presence from='juliet@capulet.example/balcony' to='romeo@capulet.example/orchard'/>")
    }

    @Test("who leaves a group leaves the rosters, and is seen to go")
    func leaving() {
        server.share([server.group("Theatre", "juliet", "romeo", "nurse")])
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        juliet.forget()
        romeo.forget()
        server.share([server.group("Theatre", "juliet", "nurse")])
        let toJuliet = juliet.received()
        #expect(items(toJuliet) == ["romeo@capulet.example remove - "])
        #expect(toJuliet.last == "<presence type='unavailable' from='romeo@capulet.example/orchard' to='juliet@capulet.example'/>")
        let toRomeo = romeo.received()
        #expect(Set(items(toRomeo)) == ["juliet@capulet.example remove - ", "nurse@capulet.example remove - "])
        #expect(toRomeo.last == "<presence type='unavailable' from='juliet@capulet.example/balcony' to='romeo@capulet.example'/>")
        romeo.send("<presence><show>away</show></presence>")
        #expect(juliet.received() == [])
    }

    @Test("those who have subscribed to each other besides go on seeing each other")
    func remaining() {
        server.befriend("juliet", "romeo")
        server.share([server.group("Theatre", "juliet", "romeo")])
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        juliet.forget()
        romeo.forget()
        server.share([])
        #expect(items(juliet.received()) == ["romeo@capulet.example both - "])
        #expect(presence(romeo) == [])
        romeo.send("<presence><show>away</show></presence>")
        #expect(presence(juliet) == ["romeo@capulet.example/orchard available"])
    }

    @Test("a group that has another name, or calls a member otherwise, is pushed, and nobody comes or goes")
    func renaming() {
        let members = Dictionary(uniqueKeysWithValues: ["juliet", "romeo"].map { (server.address($0), String?.none) })
        func group(_ name: String, _ romeo: String?) -> SharedGroup {
            var members = members
            members[server.address("romeo")] = .some(romeo)
            return SharedGroup(id: "1", name: name, members: SharedMembers(members), audience: .members)
        }
        server.share([group("Theatre", nil)])
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        juliet.forget()
        romeo.forget()
        server.share([group("Theatre", "Romeo")])
        #expect(juliet.received().map { items([$0]) } == [["romeo@capulet.example both Romeo Theatre"]])
        #expect(romeo.received() == [])
        server.share([group("Globe", "Romeo")])
        #expect(juliet.received().map { items([$0]) } == [["romeo@capulet.example both Romeo Globe"]])
        #expect(romeo.received().map { items([$0]) } == [["juliet@capulet.example both - Globe"]])
    }

    @Test("a session that has not asked for the roster is told of no items, and of presence all the same")
    func notInterested() {
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        _ = server.online("romeo/orchard")
        juliet.forget()
        server.share([server.group("Theatre", "juliet", "romeo")])
        #expect(juliet.received().map { $0.element.localName } == ["presence"])
    }

    @Test("nothing is done for accounts that are not there, and they have what is so when they come")
    func absent() {
        let juliet = server.online("juliet/balcony")
        server.createAccount("romeo")
        juliet.forget()
        server.share([server.group("Theatre", "juliet", "romeo")])
        #expect(presence(juliet) == [])
        let romeo = server.online("romeo/orchard")
        #expect(roster(romeo) == ["juliet@capulet.example both - Theatre"])
    }

    // MARK: Versions

    @Test("who has been told of everything has the version of it (§2.6)")
    func toldVersion() {
        let juliet = server.online("juliet/balcony")
        juliet.forget()
        server.share([server.group("Theatre", "juliet", "nurse", "romeo", "tybalt")])
        let pushes = juliet.receivedBesidesPresence()
        #expect(pushes.count == 3)
        juliet.send("<iq type='get' id='v'><query xmlns='jabber:iq:roster' ver='\(version(pushes.last))'/></iq>")
        #expect(juliet.received() == ["<iq type='result' id='v' to='juliet@capulet.example/balcony'/>"])
    }

    @Test("who has been told of a part has no version that is good, and gets the whole (§2.6)")
    func partOfAVersion() {
        let juliet = server.online("juliet/balcony")
        juliet.forget()
        server.share([server.group("Theatre", "juliet", "nurse", "romeo", "tybalt")])
        let pushes = juliet.receivedBesidesPresence()
        for push in pushes.dropLast() {
            juliet.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='\(version(push))'/></iq>")
            #expect(items(juliet.received()).count == 3)
        }
    }

    @Test("who was away while groups changed gets the whole, and after a restart of the server nothing, if they have not")
    func versionsBetweenSessions() {
        server.share([server.group("Theatre", "juliet", "romeo")])
        let first = server.online("juliet/balcony")
        first.send(Self.get)
        let known = version(first.received().first)
        let next = server.restarted()
        let second = next.client("juliet/chamber")
        second.send("<iq type='get' id='v'><query xmlns='jabber:iq:roster' ver='\(known)'/></iq>")
        #expect(second.received() == ["<iq type='result' id='v' to='juliet@capulet.example/chamber'/>"])
        next.share([next.group("Theatre", "juliet", "nurse")])
        let third = next.client("juliet/garden")
        third.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='\(known)'/></iq>")
        #expect(items(third.received()) == ["nurse@capulet.example both - Theatre"])
    }

    @Test("what is told of groups is no version of what waits for the disk (P7)")
    func pendingChange() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        let juliet = server.online("juliet/balcony")
        juliet.forget()
        juliet.send(set("<item jid='paris@verona.example'/>"))
        server.share([server.group("Theatre", "juliet", "romeo")])
        let pushes = juliet.receivedBesidesPresence()
        #expect(items(pushes) == ["romeo@capulet.example both - Theatre"])
        server.store.commit()
        server.run()
        juliet.forget()
        juliet.send("<iq type='get' id='v'><query xmlns='jabber:iq:roster' ver='\(version(pushes.last))'/></iq>")
        #expect(items(juliet.received()) == ["paris@verona.example none - "])
    }

    // MARK: What users change

    @Test("a user calls such a contact as he likes, which stays when the contact leaves the group (§2.3)")
    func alias() {
        server.share([server.group("Theatre", "juliet", "romeo")])
        let juliet = server.online("juliet/balcony")
        juliet.send(set("<item jid='romeo@capulet.example' name='Love'><group>Theatre</group><group>Lovers</group></item>"))
        #expect(items(juliet.received()) == ["romeo@capulet.example both Love Lovers,Theatre"])
        let next = server.restarted()
        let again = next.online("juliet/chamber")
        #expect(roster(again) == ["romeo@capulet.example both Love Lovers,Theatre"])
        again.forget()
        next.share([])
        #expect(items(again.received()) == ["romeo@capulet.example none Love Lovers"])
    }

    @Test("a user who writes what the group says has written nothing")
    func nothingOfHisOwn() {
        server.share([server.group("Theatre", "juliet", "romeo")])
        let juliet = server.online("juliet/balcony")
        juliet.send(set("<item jid='romeo@capulet.example'><group>Theatre</group></item>"))
        #expect(juliet.received() == ["<iq type='result' id='s' to='juliet@capulet.example/balcony'/>"])
        juliet.send(set("<item jid='romeo@capulet.example' name='Love'/>"))
        juliet.forget()
        juliet.send(set("<item jid='romeo@capulet.example' name=''/>"))
        #expect(items(juliet.received()) == ["romeo@capulet.example both - Theatre"])
        server.share([])
        #expect(roster(juliet) == [])
    }

    @Test("such a contact cannot be removed, and the client is told why (§2.5.3)")
    func removal() {
        server.share([server.group("Theatre", "juliet", "romeo")])
        let juliet = server.online("juliet/balcony")
        juliet.send(set("<item jid='romeo@capulet.example' subscription='remove'/>"))
        let answer = juliet.received()
        #expect(answer.map(\.error) == ["cancel/not-allowed"])
        #expect(answer.first?.child("error")?.children.contains { $0.localName == "text" } == true)
        #expect(roster(juliet) == ["romeo@capulet.example both - Theatre"])
    }

    @Test("subscriptions that groups give are neither asked for nor ended, and nobody hears of it", arguments: ["subscribe", "subscribed", "unsubscribe", "unsubscribed"])
    func subscriptions(type: String) {
        server.share([server.group("Theatre", "juliet", "romeo")])
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        juliet.forget()
        romeo.forget()
        juliet.send("<presence type='\(type)' to='romeo@capulet.example'/>")
        #expect(juliet.received() == [])
        #expect(romeo.received() == [])
        #expect(roster(juliet) == ["romeo@capulet.example both - Theatre"])
        #expect(roster(romeo) == ["juliet@capulet.example both - Theatre"])
    }

    @Test("whoever waits for an answer and is put into a group does not wait any more")
    func answeredByGroup() {
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        romeo.forget()
        server.share([server.group("Theatre", "juliet", "romeo")])
        #expect(items(romeo.received()) == ["juliet@capulet.example both - Theatre"])
        let chamber = server.client("juliet/chamber")
        chamber.send("<presence/>")
        #expect(!presence(chamber).contains { $0.hasSuffix("subscribe") })
        #expect(roster(juliet) == ["romeo@capulet.example both - Theatre"])
    }

    // MARK: Many

    /// Members without accounts, who are contacts all the same.
    private func crowd(_ count: Int) -> [String] { (0..<count).map { "member\($0)" } }

    private func group(of names: [String], _ server: TestServer) -> SharedGroup {
        SharedGroup(id: "crowd", name: "Crowd", members: SharedMembers(names.map(server.address)), audience: .members)
    }

    @Test("a change for more accounts than are told at once waits for further ones")
    func gathered() {
        let juliet = server.online("juliet/balcony")
        juliet.forget()
        server.share([group(of: crowd(Router.changesAtOnceMax - 1) + ["juliet"], server)])
        #expect(juliet.receivedBesidesPresence().count == Router.changesAtOnceMax - 1)
        server.share([group(of: crowd(Router.changesAtOnceMax) + ["juliet"], server)])
        #expect(juliet.receivedBesidesPresence().isEmpty)
        server.share([group(of: crowd(Router.changesAtOnceMax + 1) + ["juliet"], server)])
        server.advance(by: .milliseconds(200))
        #expect(juliet.receivedBesidesPresence().count == 2)
    }

    @Test("a group is told of in turns, up to the last, whose version is good for the next time")
    func turns() {
        let juliet = server.online("juliet/balcony")
        juliet.forget()
        let count = 3 * Router.sharedContactsPerTurn + 1
        server.share([group(of: crowd(count) + ["juliet"], server)])
        server.advance(by: .milliseconds(200))
        let pushes = juliet.receivedBesidesPresence()
        #expect(pushes.count == count)
        #expect(Set(pushes.flatMap { items([$0]) }).count == count)
        juliet.send("<iq type='get' id='v'><query xmlns='jabber:iq:roster' ver='\(version(pushes.last))'/></iq>")
        #expect(juliet.received() == ["<iq type='result' id='v' to='juliet@capulet.example/balcony'/>"])
    }

    @Test("presence reaches a group of more than are told in one turn, and what is newer is heard last")
    func fanOut() {
        var limits = HostLimits()
        limits.sharedItemsMax = 2_000
        let server = TestServer(limits: limits)
        let names = crowd(Router.fanOutPerTurn * 3)
        server.share([group(of: names + ["juliet"], server)])
        let watchers = stride(from: 0, to: names.count, by: 250).map { server.online("\(names[$0])/place") }
        let juliet = server.online("juliet/balcony")
        for watcher in watchers { #expect(presence(watcher).last == "juliet@capulet.example/balcony available") }
        juliet.sendOnly("<presence><show>away</show></presence>")
        juliet.sendOnly("<presence type='unavailable'/>")
        juliet.send("<iq type='get' id='p' to='capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        for watcher in watchers { #expect(presence(watcher).last == "juliet@capulet.example/balcony unavailable") }
    }

    private final class Record: AuditSink {
        private let events = Mutex<[AuditEvent]>([])
        var all: [AuditEvent] { events.withLock { $0 } }
        func record(_ event: AuditEvent) { events.withLock { $0.append(event) } }
    }

    @Test("a group for which a roster has no room is left out whole, is not heard of either, and the log says so once")
    func leftOut() {
        var limits = HostLimits()
        limits.sharedItemsMax = 2
        let record = Record()
        let server = TestServer(limits: limits, audit: record)
        let small = server.group("A", "juliet", "nurse")
        server.share([small, server.group("B", "romeo", "tybalt", seenBy: ["juliet"])])
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        #expect(roster(juliet) == ["nurse@capulet.example both - A"])
        romeo.send("<presence><show>away</show></presence>")
        #expect(juliet.received() == [])
        juliet.disconnect()
        _ = server.online("juliet/chamber")
        #expect(record.all.filter { $0 == .sharedGroupsLeftOut(server.address("juliet"), groups: ["B"]) }.count == 1)
        server.share([small, server.group("B", "romeo", seenBy: ["juliet"])])
        let garden = server.online("juliet/garden")
        #expect(roster(garden) == ["nurse@capulet.example both - A", "romeo@capulet.example to - B"])
    }
}
