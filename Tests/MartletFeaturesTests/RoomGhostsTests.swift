import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// Occupants whose servers do not say that they are gone. On paper nobody has a session of this server.
@Suite("Ghosts in rooms (XEP-0410)")
struct RoomGhostsTests {
    private let hag = "hag66@shakespeare.lit/pda"
    private let crone = "crone1@shakespeare.lit/desktop"
    private static let minute: Int64 = 60_000

    /// Two in a room that was looked at once.
    private func occupied() -> RoomOnPaper {
        var paper = RoomOnPaper()
        paper.enter(crone, as: "firstwitch")
        paper.enter(hag, as: "thirdwitch")
        paper.lookForGhosts()
        paper.forget()
        return paper
    }

    /// The same, when it is time to ask.
    private func silent() -> RoomOnPaper {
        var paper = occupied()
        paper.now += 15 * Self.minute
        paper.lookForGhosts()
        return paper
    }

    private func questions(_ paper: inout RoomOnPaper, to session: String) -> [(id: String, isPing: Bool)] {
        paper.received(by: session).filter { $0.element.localName == "iq" }.map { ($0.element.attribute("id") ?? "", $0.child("ping") != nil) }
    }

    private func question(_ paper: inout RoomOnPaper, to session: String) -> String { questions(&paper, to: session).first?.id ?? "none" }

    private func error(_ condition: String, _ id: String) -> String {
        "<iq type='error' id='\(id)'><error type='cancel'><\(condition) xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    }

    private func isHere(_ paper: RoomOnPaper) -> Bool { paper.room.occupants.occupant(ofNickname: "thirdwitch") != nil }

    @Test("after a quarter of an hour of silence, and not a millisecond sooner, the room asks at the occupant's own address")
    func asked() {
        var paper = occupied()
        paper.now += 15 * Self.minute - 1
        paper.lookForGhosts()
        #expect(paper.received(by: hag).isEmpty)
        paper.now += 1
        paper.lookForGhosts()
        let asked = paper.received(by: hag)
        #expect(asked.map(\.from) == [RoomOnPaper.address.description])
        #expect(asked.first?.element.attribute("to") == hag && asked.first?.type == "get" && asked.first?.child("ping") != nil)
    }

    @Test("no two questions have the same name, and the name says nothing")
    func names() {
        var paper = silent()
        let (first, second) = (question(&paper, to: hag), question(&paper, to: crone))
        #expect(first != second && first.utf8.count == 32 && second.utf8.count == 32)
    }

    @Test("whoever answers is not asked again for a quarter of an hour", arguments: ["result", "feature-not-implemented", "not-allowed", "forbidden"])
    func alive(answer: String) {
        var paper = silent()
        let id = question(&paper, to: hag)
        paper.send(answer == "result" ? "<iq type='result' id='\(id)'/>" : error(answer, id), from: hag)
        paper.now += 15 * Self.minute - 1
        paper.lookForGhosts()
        #expect(questions(&paper, to: hag).isEmpty && isHere(paper))
        paper.now += 1
        paper.lookForGhosts()
        #expect(questions(&paper, to: hag).count == 1)
    }

    @Test(
        "who is not there leaves, as after a message that came back (status 333)",
        arguments: [
            "item-not-found", "gone", "recipient-unavailable", "remote-server-not-found", "remote-server-timeout", "jid-malformed", "redirect",
        ])
    func gone(condition: String) {
        var paper = silent()
        let id = question(&paper, to: hag)
        paper.forget()
        paper.send(error(condition, id), from: hag)
        #expect(!isHere(paper))
        let told = paper.received(by: crone)
        #expect(told.map(\.type) == ["unavailable"] && told.first?.statuses == [307, 333])
    }

    @Test("a client that knows no pings is asked what it is; a session that there is not has no answer to that either (RFC 6121 §8.5.3.2.3)")
    func ambiguous() {
        var paper = silent()
        paper.send(error("service-unavailable", question(&paper, to: hag)), from: hag)
        let second = questions(&paper, to: hag)
        #expect(second.map(\.isPing) == [false] && isHere(paper))
        var other = paper
        paper.send("<iq type='result' id='\(second[0].id)'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", from: hag)
        paper.now += Self.minute
        paper.lookForGhosts()
        #expect(isHere(paper) && questions(&paper, to: hag).isEmpty)
        other.send(error("service-unavailable", second[0].id), from: hag)
        #expect(!isHere(other))
    }

    @Test("who leaves two questions without an answer, a minute each, is gone")
    func unanswered() {
        var paper = silent()
        paper.now += Self.minute - 1
        paper.lookForGhosts()
        #expect(questions(&paper, to: hag).count == 1)
        paper.now += 1
        paper.lookForGhosts()
        #expect(questions(&paper, to: hag).map(\.isPing) == [true])
        paper.now += Self.minute - 1
        paper.lookForGhosts()
        #expect(isHere(paper))
        paper.now += 1
        paper.lookForGhosts()
        #expect(!isHere(paper) && questions(&paper, to: hag).isEmpty)
    }

    @Test("only who was asked answers, under the name of the question, once")
    func forged() {
        var paper = silent()
        let (id, others) = (question(&paper, to: hag), question(&paper, to: crone))
        paper.send(error("item-not-found", id), from: crone)
        paper.send(error("item-not-found", id), from: "hag66@shakespeare.lit/other")
        paper.send(error("item-not-found", others), from: hag)
        #expect(isHere(paper))
        paper.send("<iq type='result' id='\(id)'/>", from: hag)
        paper.send(error("item-not-found", id), from: hag)
        #expect(isHere(paper))
    }

    @Test("a room asks so many at once, those first who have been silent for longest, and the rest a minute later", arguments: [1, 2])
    func bounded(pingsMax: Int) {
        var paper = occupied()
        paper.limits.pingsMax = pingsMax
        paper.now += 15 * Self.minute
        paper.lookForGhosts()
        #expect([hag, crone].reduce(0) { $0 + questions(&paper, to: $1).count } == pingsMax)
        paper.now += 1_000
        paper.lookForGhosts()
        #expect([hag, crone].reduce(0) { $0 + questions(&paper, to: $1).count } == 2 - pingsMax)
    }

    @Test("nobody is asked where the operator does not want it")
    func off() {
        var paper = occupied()
        paper.limits.pingAfter = .zero
        paper.now += 86_400_000
        paper.lookForGhosts()
        #expect(paper.received(by: hag).isEmpty)
    }

    @Test("a clock that is put back makes nobody a ghost, and none for ever")
    func clock() {
        var paper = occupied()
        paper.now -= 86_400_000
        paper.lookForGhosts()
        paper.now += 15 * Self.minute
        paper.lookForGhosts()
        #expect(questions(&paper, to: hag).count == 1)
    }
}
