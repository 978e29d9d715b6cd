import MartletCore
import MartletTesting
import MartletXMPP
import NIOCore
import Testing

@Suite("Accounts that a directory says there are")
struct AccountProvisioningTests {
    private let server = TestServer()

    private static func entry(_ number: UInt8) -> EntryUUID { EntryUUID(Array(repeating: number, count: 16))! }

    private func person(_ number: UInt8, _ name: String) -> DirectoryPerson { DirectoryPerson(Self.entry(number), server.address(name)) }

    private func provisioning(adopts: Bool = true) throws -> AccountProvisioning {
        let provisioning = AccountProvisioning(server.router, on: server.context.mailbox, time: server.time, adoptsLocalAccounts: adopts)
        #expect(server.wait { (try? await provisioning.begin()) != nil } == true)
        return provisioning
    }

    /// - Returns: why somebody cannot have an account.
    @discardableResult
    private func admit(_ people: [DirectoryPerson], _ provisioning: AccountProvisioning) throws -> [String] {
        try #require(server.wait { (try? await provisioning.admit(people))?.map(\.reason) } ?? nil)
    }

    private func dismiss(_ number: UInt8, _ provisioning: AccountProvisioning) throws {
        try #require(server.wait { (try? await provisioning.dismiss(Self.entry(number))) != nil } == true)
    }

    private func account(_ address: BareJID) -> StoreContents.Account? { server.store.contents[address] }

    @Test("there is an account for everybody, once")
    func coming() throws {
        let provisioning = try provisioning()
        try admit([person(1, "juliet"), person(2, "nurse")], provisioning)
        try admit([person(1, "juliet")], provisioning)
        #expect(account(server.address("juliet"))?.link == DirectoryLink(Self.entry(1)))
        #expect(account(server.address("nurse"))?.link == DirectoryLink(Self.entry(2)))
        #expect(!server.client("juliet/balcony").isClosed)
    }

    @Test("more than fit one commit", arguments: [AccountProvisioning.batchMax, AccountProvisioning.batchMax + 1])
    func many(_ count: Int) throws {
        let people = (0..<count).map { number in
            DirectoryPerson(EntryUUID((0..<16).map { UInt8(truncatingIfNeeded: $0 < 2 ? number >> (8 * $0) : 7) })!, server.address("p\(number)"))
        }
        try admit(people, try provisioning())
        for person in people { #expect(account(person.address)?.link?.entry == person.entry) }
        // Whoever begins anew knows all of them.
        let again = try provisioning()
        #expect(server.wait { await again.entries.count } == count)
    }

    @Test("whose entry is gone is out at once, and whatever else let him in is gone as well")
    func going() throws {
        let provisioning = try provisioning()
        try admit([person(1, "juliet")], provisioning)
        let juliet = server.online("juliet/balcony")
        try dismiss(1, provisioning)
        #expect(juliet.closing?.condition == .notAuthorized)
        #expect(server.client("juliet/late").isClosed)
        #expect(account(server.address("juliet"))?.isEnabled == false)
        #expect(account(server.address("juliet"))?.link?.gone != nil)
    }

    @Test("whose entry comes back has all that he had")
    func back() throws {
        let provisioning = try provisioning()
        try admit([person(1, "juliet")], provisioning)
        let id = account(server.address("juliet"))?.id
        try dismiss(1, provisioning)
        try admit([person(1, "juliet")], provisioning)
        #expect(account(server.address("juliet"))?.id == id)
        #expect(account(server.address("juliet"))?.isEnabled == true)
        #expect(account(server.address("juliet"))?.link == DirectoryLink(Self.entry(1)))
        #expect(!server.client("juliet/balcony").isClosed)
    }

    @Test("an operator's word that somebody is out stands, whatever the directory says again")
    func disabled() throws {
        let provisioning = try provisioning()
        try admit([person(1, "juliet")], provisioning)
        let (router, mailbox, address) = (server.router, server.context.mailbox, server.address("juliet"))
        _ = server.wait { try? await router.setEnabled(address, false, by: "operator", on: mailbox) }
        try admit([person(1, "juliet")], provisioning)
        #expect(account(address)?.isEnabled == false)
    }

    @Test("another person at the address of somebody who has left inherits nothing (`directory.md` §1.1)")
    func successor() throws {
        let provisioning = try provisioning()
        try admit([person(1, "juliet"), person(2, "romeo")], provisioning)
        server.befriend("juliet", "romeo")
        let old = try #require(account(server.address("juliet"))?.id)
        try dismiss(1, provisioning)
        let romeo = server.online("romeo/orchard")
        try admit([person(3, "juliet")], provisioning)
        let new = try #require(account(server.address("juliet")))
        #expect(new.id != old)
        #expect(new.roster.isEmpty)
        #expect(new.link == DirectoryLink(Self.entry(3)))
        // Nobody takes her for the one that he knew.
        #expect(romeo.received().map(\.description).joined().contains("unsubscribed"))
        #expect(account(server.address("romeo"))?.roster[server.address("juliet")]?.subscription.to != true)
        #expect(account(server.address("romeo"))?.roster[server.address("juliet")]?.subscription.from != true)
        let kept = try #require(server.store.contents[old])
        #expect(kept.address == Router.quarantine(of: server.address("juliet"), old))
        #expect(!kept.roster.isEmpty && !kept.isEnabled && kept.link?.entry == Self.entry(1))
    }

    @Test("an entry with another address has another account; the one that it had waits")
    func renamed() throws {
        let provisioning = try provisioning()
        try admit([person(1, "juliet")], provisioning)
        let session = server.online("juliet/balcony")
        try admit([person(1, "capulet")], provisioning)
        #expect(session.isClosed)
        #expect(account(server.address("juliet"))?.isEnabled == false)
        #expect(account(server.address("capulet"))?.link == DirectoryLink(Self.entry(1)))
        #expect(account(server.address("capulet"))?.isEnabled == true)
        // And back again.
        try admit([person(1, "juliet")], provisioning)
        #expect(account(server.address("juliet"))?.isEnabled == true)
        #expect(account(server.address("capulet"))?.isEnabled == false)
    }

    @Test("of two entries with one address the second has no account")
    func duplicates() throws {
        let provisioning = try provisioning()
        #expect(try admit([person(1, "juliet")], provisioning).isEmpty)
        #expect(try admit([person(2, "juliet")], provisioning).count == 1)
        #expect(account(server.address("juliet"))?.link == DirectoryLink(Self.entry(1)))
    }

    @Test("an account that was there before is the entry's, or in its way", arguments: [true, false])
    func adopted(adopts: Bool) throws {
        server.createAccount("juliet")
        server.run()
        let refused = try admit([person(1, "juliet")], try provisioning(adopts: adopts))
        #expect(refused.isEmpty == adopts)
        #expect(account(server.address("juliet"))?.link == (adopts ? DirectoryLink(Self.entry(1)) : nil))
    }

    @Test("what a crash has cut off is finished at the next start")
    func crash() throws {
        try admit([person(1, "juliet")], try provisioning())
        server.store.submit([.account(.link(server.address("juliet"), DirectoryLink(Self.entry(1), gone: 5)))])
        server.store.commit()
        _ = try provisioning()
        #expect(account(server.address("juliet"))?.isEnabled == false)
    }

    @Test("who has been gone for long is deleted, in quarantine as well", arguments: [0, 1])
    func retention(_ later: Int64) throws {
        let provisioning = try provisioning()
        try admit([person(1, "juliet"), person(2, "nurse"), person(3, "romeo")], provisioning)
        try dismiss(1, provisioning)
        try dismiss(2, provisioning)
        try admit([person(4, "nurse")], provisioning)
        let gone = try #require(account(server.address("juliet"))?.link?.gone)
        let count = server.wait { try? await provisioning.deleteGone(before: gone + later) } ?? nil
        #expect(count == (later == 1 ? 2 : 0))
        #expect((account(server.address("juliet")) == nil) == (later == 1))
        #expect(account(server.address("nurse")) != nil && account(server.address("romeo")) != nil)
    }
}
