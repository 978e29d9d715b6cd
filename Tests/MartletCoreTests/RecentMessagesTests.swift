import MartletCore
import MartletTesting
import MartletXMPP
import Testing

@Suite("What another server sends again after it was started anew")
struct RecentMessagesTests {
    private let server = TestServer(domains: ["capulet.example"], remote: TestWire())
    private let recent = RecentMessages()

    private func hear(_ id: String?, late: String? = nil, to: String = "juliet@capulet.example", by peer: TestPeer) {
        let delay = late.map { "<delay xmlns='urn:xmpp:delay' from='\($0)' stamp='2026-01-01T00:00:00Z'/>" } ?? ""
        let id = id.map { " id='\($0)'" } ?? ""
        peer.send("<message from='romeo@montague.example/orchard' to='\(to)' type='chat'\(id)><body>b</body>\(delay)</message>")
    }

    private func peer() -> TestPeer {
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        peer.remember(in: recent)
        return peer
    }

    @Test("a message that comes late is dropped if it was there before, on whatever stream")
    func repeated() {
        let juliet = server.online("juliet/balcony")
        hear("1", by: peer())
        hear("1", late: "montague.example", by: peer())
        #expect(juliet.received().count == 1)
    }

    @Test("it is not if it has another name, another recipient, no name, or is not said to be late by the sender's server", arguments: [
        ("2", "montague.example", "juliet@capulet.example"), ("1", "montague.example", "juliet@capulet.example/balcony"),
        (nil, "montague.example", "juliet@capulet.example"), ("1", nil, "juliet@capulet.example"),
        ("1", "verona.example", "juliet@capulet.example"),
    ] as [(String?, String?, String)])
    func different(_ id: String?, _ late: String?, _ to: String) {
        let juliet = server.online("juliet/balcony")
        let peer = peer()
        hear(id == nil ? nil : "1", by: peer)
        hear(id, late: late, to: to, by: peer)
        #expect(juliet.received().count == 2)
    }

    @Test("one that its sender's client has sent again is dropped by its origin-id (XEP-0359), whatever session it is from", arguments: [
        ("o1", "juliet@capulet.example", 1), ("o2", "juliet@capulet.example", 2), ("o1", "nurse@capulet.example", 2),
    ])
    func resent(_ origin: String, _ to: String, _ count: Int) {
        let (juliet, nurse) = (server.online("juliet/balcony"), server.online("nurse/kitchen"))
        let peer = peer()
        for (session, origin, to) in [("orchard", "o1", "juliet@capulet.example"), ("hall", origin, to)] {
            peer.send(
                "<message from='romeo@montague.example/\(session)' to='\(to)' type='chat' id='\(session)'><body>b</body>"
                    + "<origin-id xmlns='urn:xmpp:sid:0' id='\(origin)'/></message>")
        }
        #expect(juliet.received().count + nurse.received().count == count)
    }

    @Test("so many are remembered, and no more")
    func limit() {
        let juliet = server.online("juliet/balcony")
        let peer = peer()
        for number in 0...RecentMessages.messagesMax { hear("\(number)", by: peer) }
        _ = juliet.received()
        hear("1", late: "montague.example", by: peer)
        #expect(juliet.received().isEmpty)
        hear("0", late: "montague.example", by: peer)
        #expect(juliet.received().count == 1)
    }
}
