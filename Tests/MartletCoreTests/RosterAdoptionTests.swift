import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("What somebody has changed in a copy of a roster is changed in the roster")
struct RosterAdoptionTests {
    private let server = TestServer()
    private let friends = SubscriptionState(to: true, from: true, isInRoster: true)

    private func item(_ contact: String, in account: String = "juliet") -> RosterItem? {
        server.store.contents[server.address(account)]?.roster[server.address(contact)]
    }

    private func adopt(_ adoptions: RosterAdoption..., in account: String = "juliet") throws -> [RosterAdoption.Outcome] {
        let (router, mailbox, address) = (server.router, server.context.mailbox, server.address(account))
        return try #require(server.wait { try? await router.adopt(adoptions, in: address, on: mailbox) } ?? nil)
    }

    private func adding(_ contact: String, _ name: String? = nil, _ groups: [String] = [], _ state: SubscriptionState) -> RosterAdoption {
        RosterAdoption(server.address(contact), expected: item(contact), .item(name: name, groups: groups, state: state))
    }

    private func removing(_ contact: String) -> RosterAdoption { RosterAdoption(server.address(contact), expected: item(contact), .removal) }

    @Test("a new item is pushed when it is on disk (RFC 6121 §2.1.6)")
    func adding() throws {
        let juliet = server.online("juliet/balcony")
        #expect(try adopt(adding("romeo", "Romeo", ["Friends"], SubscriptionState(isInRoster: true))) == [.adopted])
        let push = try #require(juliet.receivedBesidesPresence().first?.child("query")?.firstChild("item", "jabber:iq:roster"))
        #expect(push.attribute("jid") == "romeo@capulet.example" && push.attribute("name") == "Romeo" && push.attribute("subscription") == "none")
        #expect(item("romeo")?.groups == ["Friends"])
        // What is so already is told to nobody.
        #expect(try adopt(adding("romeo", "Romeo", ["Friends"], SubscriptionState(isInRoster: true))) == [.adopted])
        #expect(juliet.receivedBesidesPresence().isEmpty)
    }

    @Test("who is there is shown to whom an edit lets see it, and to nobody else")
    func presence() throws {
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        // Only one side says so: Romeo does not show himself.
        #expect(try adopt(adding("romeo", nil, [], friends)) == [.adopted])
        #expect(romeo.received().contains { $0.element.localName == "presence" && $0.element.attribute("from") == "juliet@capulet.example/balcony" })
        #expect(!juliet.received().contains { $0.element.attribute("from")?.hasPrefix("romeo@") == true && $0.element.attribute("type") == nil })
        #expect(item("romeo")?.subscription == friends)
        // When the other side says so as well they see each other.
        #expect(try adopt(RosterAdoption(juliet.address.bare, expected: nil, .item(name: nil, groups: [], state: friends)), in: "romeo") == [.adopted])
        #expect(juliet.received().contains { $0.element.attribute("from") == "romeo@capulet.example/orchard" && $0.element.attribute("type") == nil })
        #expect(item("romeo")?.subscription == friends && item("juliet", in: "romeo")?.subscription == friends)
    }

    @Test("an edit takes nothing away between the two")
    func union() throws {
        server.befriend("juliet", "romeo")
        #expect(try adopt(adding("romeo", "Romeo", [], SubscriptionState(from: true, isInRoster: true))) == [.adopted])
        #expect(item("romeo")?.subscription == friends && item("romeo")?.name == "Romeo")
    }

    @Test("states of both sides are put together (RFC 6121 §A.1)")
    func joined() {
        let asked = SubscriptionState(pendingOut: true, pendingIn: true, isInRoster: true)
        #expect(asked.joined(with: SubscriptionState(to: true)) == SubscriptionState(to: true, pendingIn: true, isInRoster: true))
        #expect(asked.joined(with: SubscriptionState(from: true)) == SubscriptionState(from: true, pendingOut: true, isInRoster: true))
        #expect(SubscriptionState(approved: true).joined(with: SubscriptionState(pendingIn: true)) == SubscriptionState(pendingIn: true))
        #expect(SubscriptionState.none.joined(with: .none) == .none)
    }

    @Test("what was decided by an item that is another one meanwhile does not happen")
    func overtaken() throws {
        server.befriend("juliet", "romeo")
        let late = removing("romeo")
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='romeo@capulet.example' name='R'/></query></iq>")
        #expect(try adopt(late) == [.overtaken])
        #expect(item("romeo")?.subscription == friends)
    }

    @Test("an item that is gone is removed as if the user had done it (RFC 6121 §2.5.2)")
    func removal() throws {
        server.befriend("juliet", "romeo")
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        juliet.forget()
        #expect(try adopt(removing("romeo")) == [.adopted])
        #expect(item("romeo") == nil && item("juliet", in: "romeo")?.subscription == SubscriptionState(isInRoster: true))
        let push = juliet.receivedBesidesPresence().first?.child("query")?.firstChild("item", "jabber:iq:roster")
        #expect(push?.attribute("subscription") == "remove")
        #expect(romeo.received().contains { $0.element.attribute("type") == "unavailable" })
    }

    @Test("a stranger's request that is gone is denied")
    func denial() throws {
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        #expect(item("romeo")?.subscription == SubscriptionState(pendingIn: true))
        romeo.forget()
        #expect(try adopt(removing("romeo")) == [.adopted])
        #expect(item("romeo") == nil && item("juliet", in: "romeo")?.subscription.pendingOut == false)
    }

    @Test("a copy has the bounds of a roster")
    func bounds() throws {
        var limits = HostLimits()
        (limits.rosterItemsMax, limits.rosterGroupsMax, limits.pendingRequestsMax) = (2, 2, 1)
        let server = TestServer(limits: limits)
        server.createAccount("juliet")
        let (router, mailbox, account) = (server.router, server.context.mailbox, server.address("juliet"))
        func isTaken(_ contact: String, _ name: String? = nil, _ groups: [String] = [], _ state: SubscriptionState = .init(isInRoster: true)) -> Bool {
            let wish = RosterAdoption(server.address(contact), expected: nil, .item(name: name, groups: groups, state: state))
            return server.wait { try? await router.adopt([wish], in: account, on: mailbox) } == [.adopted]
        }
        let longest = String(repeating: "n", count: Roster.nameBytesMax)
        #expect(!isTaken("juliet") && !isTaken("a", longest + "n") && !isTaken("a", nil, [longest + "n"]) && !isTaken("a", nil, ["x", "y", "z"]))
        #expect(isTaken("a", longest, ["x", longest]))
        #expect(isTaken("b") && !isTaken("c"))
        #expect(isTaken("d", nil, [], .init(pendingIn: true)) && !isTaken("e", nil, [], .init(pendingIn: true)))
    }

    @Test("of an account that is not there nothing is adopted")
    func nobody() {
        let (router, mailbox, nobody) = (server.router, server.context.mailbox, server.address("nobody"))
        let refusal = server.wait { () -> AccountRefusal? in
            do throws(AccountRefusal) { _ = try await router.adopt([], in: nobody, on: mailbox) } catch { return error }
            return nil
        }
        #expect(refusal == .noAccount(nobody))
    }
}
