import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

/// A crash between the commits of two accounts leaves one of them with a state that the other does not share.
@Suite("Two accounts that disagree about a subscription agree again when both are online (P8)")
struct SubscriptionRepairTests {
    private let server = TestServer()

    private func set(_ account: String, _ contact: String, _ state: SubscriptionState) {
        for name in [account, contact] { _ = server.client("\(name)/making") }
        let item = RosterItem(contact: server.address(contact), subscription: state, version: 1)
        for client in ["\(account)/making", "\(contact)/making"] { server.client(client).disconnect() }
        server.edit(account) { .rosterItem($0, item) }
    }

    private func item(_ client: TestClient) -> String? {
        client.forget()
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        let item = client.receivedBesidesPresence().last?.child("query")?.firstChild("item", .roster)
        return item.map { "\($0.attribute("subscription") ?? "")\($0.attribute("ask").map { " \($0)" } ?? "")" }
    }

    @Test("a subscription that the contact does not know of ends: its probe is answered with unsubscribed (RFC 6121 §4.3.2)")
    func unknownSubscription() {
        set("romeo", "juliet", SubscriptionState(to: true, isInRoster: true))
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        #expect(item(romeo) == "none")
        juliet.forget()
        juliet.send("<presence><show>away</show></presence>")
        #expect(romeo.received() == [])
    }

    @Test("a request that the contact never got is made again, and can be answered (§3.1.2)")
    func lostRequest() {
        set("romeo", "juliet", SubscriptionState(pendingOut: true, isInRoster: true))
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        #expect(juliet.received().map { $0.element.attribute("type") } == ["subscribe"])
        juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
        #expect(item(romeo) == "to")
    }

    @Test("an approval that the user never got comes again")
    func lostApproval() {
        set("romeo", "juliet", SubscriptionState(pendingOut: true, isInRoster: true))
        set("juliet", "romeo", SubscriptionState(from: true, isInRoster: true))
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        #expect(item(romeo) == "to")
        #expect(juliet.received() == [])
    }

    @Test("a request that waits for its answer is neither shown again nor ended by a probe")
    func waitingRequest() {
        let juliet = server.online("juliet/balcony")
        var romeo = server.online("romeo/orchard")
        romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        #expect(juliet.received().map { $0.element.attribute("type") } == ["subscribe"])
        romeo.send("<presence type='probe' to='juliet@capulet.example'/>")
        romeo.disconnect()
        romeo = server.online("romeo/orchard")
        #expect(juliet.received() == [])
        #expect(item(romeo) == "none subscribe")
    }
}
