import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// Two servers that talk to each other, and nothing between them that could lose or reorder anything but by a test's will.
private final class TwoServers {
    var capulet: TestServer
    var montague: TestServer
    private let wires = (capulet: TestWire(), montague: TestWire())
    private var peers: (capulet: TestPeer, montague: TestPeer)

    init() {
        capulet = TestServer(domains: ["capulet.example"], remote: wires.capulet, seed: 1)
        montague = TestServer(domains: ["montague.example"], remote: wires.montague, seed: 2)
        peers = (
            TestPeer(capulet, ["montague.example": "capulet.example"]), TestPeer(montague, ["capulet.example": "montague.example"])
        )
    }

    /// Carries everything to where it is meant for, until nothing is said any more.
    func talk() {
        while true {
            let (toMontague, toCapulet) = (wires.capulet.take(), wires.montague.take())
            if toMontague.isEmpty && toCapulet.isEmpty { return }
            for stanza in toMontague { peers.montague.send(stanza) }
            for stanza in toCapulet { peers.capulet.send(stanza) }
        }
    }

    /// Has Montague say something to Capulet.
    func say(_ stanza: String) { peers.capulet.send(stanza) }

    /// Loses what is on its way.
    func lose() { _ = (wires.capulet.take(), wires.montague.take()) }
}

@Suite("Subscriptions between two servers (RFC 6121 §3)")
struct FederatedSubscriptionTests {
    private let world = TwoServers()
    private let juliet: TestClient
    private let romeo: TestClient

    init() {
        juliet = world.capulet.online("juliet/balcony")
        romeo = world.montague.online("romeo@montague.example/orchard")
    }

    private func item(_ client: TestClient) -> String? {
        client.forget()
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        let item = client.receivedBesidesPresence().last?.child("query")?.firstChild("item", "jabber:iq:roster")
        return item.map { "\($0.attribute("subscription") ?? "")\($0.attribute("ask").map { " \($0)" } ?? "")" }
    }

    private func befriend() {
        romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        world.talk()
        juliet.send("<presence type='subscribed' to='romeo@montague.example'/>")
        juliet.send("<presence type='subscribe' to='romeo@montague.example'/>")
        world.talk()
        romeo.send("<presence type='subscribed' to='juliet@capulet.example'/>")
        world.talk()
    }

    @Test("a request is shown, answered, and presence follows the approval, both ways")
    func both() {
        romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        world.talk()
        #expect(juliet.received().map { $0.element.attribute("type") } == ["subscribe"])
        juliet.send("<presence type='subscribed' to='romeo@montague.example'/>")
        world.talk()
        let presence = romeo.received().filter { $0.element.localName == "presence" }
        #expect(presence.map { $0.element.attribute("type") } == ["subscribed", nil])
        #expect(presence.last?.element.attribute("from") == "juliet@capulet.example/balcony")
        #expect(item(romeo) == "to")
        #expect(item(juliet) == "from")
    }

    @Test("who comes online hears of a contact at another server, who hears of him; and who goes")
    func presence() {
        befriend()
        let orchard = world.montague.client("romeo@montague.example/hall")
        juliet.forget()
        orchard.send("<presence><show>away</show></presence>")
        world.talk()
        #expect(juliet.received() == ["<presence from='romeo@montague.example/hall' to='juliet@capulet.example'><show>away</show></presence>"])
        #expect(orchard.received().contains("<presence from='juliet@capulet.example/balcony' to='romeo@montague.example/hall'/>"))
        orchard.disconnect()
        world.talk()
        #expect(juliet.received() == ["<presence from='romeo@montague.example/hall' to='juliet@capulet.example' type='unavailable'/>"])
    }

    @Test("a probe for somebody who is not online is answered with unavailable (§4.3.2): what was missed comes right")
    func probeOfAbsent() {
        befriend()
        juliet.disconnect()
        world.lose()
        romeo.forget()
        let hall = world.montague.client("romeo@montague.example/hall")
        hall.send("<presence/>")
        world.talk()
        #expect(hall.received().contains("<presence from='juliet@capulet.example' to='romeo@montague.example/hall' type='unavailable'/>"))
    }

    @Test("a request and a probe behind it do not tell an account from none (rule 23)", arguments: ["juliet", "nobody"])
    func existence(name: String) {
        romeo.send("<presence type='subscribe' to='\(name)@capulet.example'/>")
        world.talk()
        #expect(item(romeo) == "none subscribe")
        world.say("<presence type='probe' from='romeo@montague.example/orchard' to='\(name)@capulet.example'/>")
        world.talk()
        #expect(item(romeo) == "none")
    }

    @Test("a subscription that only one side knows of ends when its user comes online, whether the contact is there or not", arguments: [true, false])
    func unknown(_ isOnline: Bool) {
        befriend()
        juliet.send("<presence type='unsubscribed' to='romeo@montague.example'/>")
        world.lose()
        if !isOnline {
            juliet.disconnect()
            world.talk()
        }
        let hall = world.montague.online("romeo@montague.example/hall")
        world.talk()
        #expect(item(hall) == "from")
    }

    @Test("a server that has vanished takes its users' presence with it, once, and brings it back (P9)")
    func vanished() {
        befriend()
        juliet.forget()
        world.lose()
        world.capulet.router.peerVanished("montague.example", from: "capulet.example", world.capulet.context)
        world.capulet.router.peerVanished("montague.example", from: "capulet.example", world.capulet.context)
        world.capulet.context.flush()
        world.capulet.run()
        #expect(juliet.received() == ["<presence from='romeo@montague.example/orchard' to='juliet@capulet.example' type='unavailable'/>"])
        // Both have changed meanwhile, and neither has heard of the other.
        romeo.send("<presence><show>dnd</show></presence>")
        juliet.send("<presence><show>away</show></presence>")
        world.lose()
        romeo.forget()
        juliet.forget()
        world.capulet.router.peerReturned("montague.example", to: "capulet.example", world.capulet.context)
        world.capulet.context.flush()
        world.capulet.run()
        world.talk()
        #expect(juliet.received() == ["<presence from='romeo@montague.example/orchard' to='juliet@capulet.example'><show>dnd</show></presence>"])
        #expect(romeo.received() == ["<presence from='juliet@capulet.example/balcony' to='romeo@montague.example'><show>away</show></presence>"])
    }

    private func returned() {
        world.capulet.router.peerReturned("montague.example", to: "capulet.example", world.capulet.context)
        world.capulet.context.flush()
        world.capulet.run()
    }

    private static let orchardIsGone: TestStanza = "<presence from='romeo@montague.example/orchard' to='juliet@capulet.example' type='unavailable'/>"

    @Test("who has gone with a server that came back at once is gone with each session, whatever that server calls him")
    func gone() {
        befriend()
        romeo.disconnect()
        world.lose()
        juliet.forget()
        returned()
        world.talk()
        #expect(juliet.received().contains(Self.orchardIsGone))
    }

    @Test("a session that a server does not speak of any more after it came back is gone after a while, and the others stay")
    func doubted() {
        befriend()
        let hall = world.montague.online("romeo@montague.example/hall")
        world.talk()
        romeo.disconnect()
        world.lose()
        juliet.forget()
        returned()
        world.talk()
        world.capulet.advance(by: .nanoseconds(Router.doubtedFor.nanoseconds - 1))
        #expect(!juliet.received().contains(Self.orchardIsGone))
        world.capulet.advance(by: .nanoseconds(1))
        #expect(juliet.received() == [Self.orchardIsGone])
        withExtendedLifetime(hall) {}
    }

    @Test("of so many sessions of contacts an account knows that they went with their server, and of no more", arguments: [0, 1])
    func vanishedCrowd(_ excess: Int) {
        befriend()
        // The one in the orchard is there.
        for number in 1..<RemotePresences.countMax + excess { world.say("<presence from='romeo@montague.example/\(number)' to='juliet@capulet.example'/>") }
        juliet.forget()
        world.capulet.router.peerVanished("montague.example", from: "capulet.example", world.capulet.context)
        world.capulet.context.flush()
        world.capulet.run()
        #expect(juliet.received().count { $0.element.attribute("type") == "unavailable" } == RemotePresences.countMax)
    }

    @Test("others than those of the server that has vanished stay, and who left before is not taken leave of again")
    func vanishedOthers() {
        befriend()
        romeo.disconnect()
        world.talk()
        juliet.forget()
        world.capulet.router.peerVanished("montague.example", from: "capulet.example", world.capulet.context)
        world.capulet.router.peerVanished("verona.example", from: "capulet.example", world.capulet.context)
        world.capulet.context.flush()
        world.capulet.run()
        #expect(juliet.received() == [])
    }

    @Test("a request that was lost on its way is made again when who made it comes online")
    func lostRequest() {
        romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        world.lose()
        romeo.disconnect()
        let hall = world.montague.online("romeo@montague.example/hall")
        world.talk()
        #expect(juliet.received().map { $0.element.attribute("type") } == ["subscribe"])
        juliet.send("<presence type='subscribed' to='romeo@montague.example'/>")
        world.lose()
        hall.disconnect()
        let orchard = world.montague.online("romeo@montague.example/orchard")
        world.talk()
        #expect(item(orchard) == "to")
    }
}
