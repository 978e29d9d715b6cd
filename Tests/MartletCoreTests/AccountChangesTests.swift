import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("Operators change accounts that are in use")
struct AccountChangesTests {
    private let server = TestServer()

    /// What came of a change.
    private final class Outcome: Sendable {
        private let value = Mutex<Router.AccountOutcome?>(nil)
        func set(_ outcome: Router.AccountOutcome) { value.withLock { $0 = outcome } }
        /// `nil` while it is not decided, and if it failed.
        var isThere: Bool? { value.withLock { try? $0?.get() } }
    }

    private func delete(_ name: String) -> Bool? {
        let outcome = Outcome()
        server.router.deleteAccount(server.address(name), server.context) { outcome.set($0) }
        server.context.flush()
        server.run()
        return outcome.isThere
    }

    private func change(_ name: String, _ change: (BareJID) -> AccountChange, ending error: StreamError?) -> Bool? {
        let outcome = Outcome()
        let address = server.address(name)
        server.router.changeAccount(address, change(address), ending: error, server.context) { outcome.set($0) }
        server.context.flush()
        server.run()
        return outcome.isThere
    }

    private func roster(of client: TestClient) -> String {
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        return client.received().map(\.description).joined()
    }

    @Test("deleting an account ends its sessions")
    func sessions() {
        let juliet = server.online("juliet/balcony")
        #expect(delete("juliet") == true)
        #expect(juliet.isClosed)
        #expect(juliet.closing?.condition == .notAuthorized)
        #expect(server.router.sessions(of: server.address("juliet")).isEmpty)
    }

    @Test("a stream that was let in before the password changed, or the account was disabled or deleted, gets no session (P13)", arguments: [true, false])
    func lateBinding(isInMemory: Bool) throws {
        server.createAccount("juliet", credentials: [])
        let before = server.router.credentials.now
        #expect(!server.client("juliet/early", authenticatedAt: before).isClosed)
        let changes: [() -> Bool?] = [
            { change("juliet", { .setCredentials($0, []) }, ending: StreamError(.reset)) },
            { change("juliet", { .setEnabled($0, false) }, ending: StreamError(.notAuthorized)) },
            { delete("juliet") },
        ]
        for made in changes {
            let moment = server.router.credentials.now
            #expect(made() == true)
            _ = change("juliet", { .setEnabled($0, true) }, ending: nil)
            if !isInMemory { server.router.forget(server.address("juliet")) }
            let late = server.client("juliet/late", authenticatedAt: moment)
            #expect(late.isClosed && late.closing?.condition == .notAuthorized)
            #expect(server.router.sessions(of: server.address("juliet")).isEmpty)
        }
        server.createAccount("juliet", credentials: [])
        #expect(server.client("juliet/late", authenticatedAt: before).closing?.condition == .notAuthorized)
        #expect(!server.client("juliet/fresh", authenticatedAt: server.router.credentials.now).isClosed)
        #expect(!server.client("romeo/orchard", authenticatedAt: before).isClosed)
    }

    @Test("a stream of an account that is disabled ends instead of binding (P13)")
    func disabled() {
        server.createAccount("juliet", credentials: [])
        #expect(change("juliet", { .setEnabled($0, false) }, ending: nil) == true)
        let late = server.client("juliet/late", authenticatedAt: server.router.credentials.now)
        #expect(late.isClosed && late.closing?.condition == .notAuthorized)
    }

    @Test("contacts see the account leave, then lose their subscriptions both ways (RFC 6121 §2.5.2)")
    func subscriptions() {
        server.befriend("juliet", "romeo")
        _ = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        romeo.forget()
        #expect(delete("juliet") == true)
        let presences = romeo.received().filter { $0.element.localName == "presence" }
        #expect(presences.compactMap { $0.element.attribute("type") } == ["unavailable", "unsubscribe", "unsubscribed"])
        #expect(roster(of: romeo).contains("subscription='none'"))
    }

    @Test("a request that waits for the contact's answer is taken back")
    func openRequest() {
        let juliet = server.online("juliet/balcony")
        server.createAccount("romeo")
        juliet.send("<presence type='subscribe' to='romeo@capulet.example'/>")
        #expect(delete("juliet") == true)
        let romeo = server.client("romeo/orchard")
        romeo.send("<presence/>")
        #expect(!romeo.received().contains { $0.element.attribute("type") == "subscribe" })
    }

    @Test("an address that is created anew inherits nothing")
    func recreated() {
        server.befriend("juliet", "romeo")
        server.createAccount("nurse")
        let nurse = server.online("nurse/hall")
        nurse.send("<message to='juliet@capulet.example' type='chat'><body>Madam!</body></message>")
        #expect(delete("juliet") == true)
        server.createAccount("juliet")
        let juliet = server.client("juliet/balcony")
        #expect(!roster(of: juliet).contains("romeo"))
        juliet.send("<presence/>")
        #expect(juliet.receivedBesidesPresence().isEmpty)
        let romeo = server.online("romeo/orchard")
        #expect(juliet.received().allSatisfy { $0.element.attribute("from")?.hasPrefix("romeo") != true })
        romeo.disconnect()
    }

    @Test("deleting or changing what is not there says so")
    func unknown() {
        #expect(delete("nobody") == false)
        #expect(change("nobody", { .setEnabled($0, false) }, ending: nil) == false)
    }

    @Test("a disabled account loses its sessions and gets no new ones, until it is enabled (P13)")
    func disabling() {
        let juliet = server.online("juliet/balcony")
        #expect(change("juliet", { .setEnabled($0, false) }, ending: StreamError(.notAuthorized)) == true)
        #expect(juliet.closing?.condition == .notAuthorized)
        let again = server.client("juliet/balcony")
        #expect(again.session == nil)
        #expect(again.closing?.condition == .notAuthorized)
        #expect(change("juliet", { .setEnabled($0, true) }, ending: nil) == true)
        #expect(server.client("juliet/balcony").session != nil)
    }

    @Test("an account that was asked for before it was created is found afterwards")
    func created() {
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' type='chat'><body>Art thou there?</body></message>")
        let address = server.address("juliet")
        server.store.submit([.account(.create(address, credentials: [], isAdmin: false))])
        server.router.accountCreated(address, server.context)
        server.run()
        #expect(server.client("juliet/balcony").session != nil)
    }
}
