import MartletCore
import MartletXMPP
import Testing

@Suite("Block lists")
struct BlockListTests {
    private func list(_ addresses: String...) throws -> BlockList { BlockList(try addresses.map { try JID($0) }) }

    @Test(
        "an address is blocked by its full, bare and domain forms (XEP-0191 §2)",
        arguments: [
            ("romeo@montague.test/orchard", "romeo@montague.test/orchard", true),
            ("romeo@montague.test/orchard", "romeo@montague.test/crypt", false),
            ("romeo@montague.test/orchard", "romeo@montague.test", false),
            ("romeo@montague.test", "romeo@montague.test/orchard", true),
            ("romeo@montague.test", "romeo@montague.test", true),
            ("montague.test", "romeo@montague.test/orchard", true),
            ("montague.test", "montague.test", true),
            ("montague.test", "sub.montague.test", false),
            ("montague.test/orchard", "romeo@montague.test/orchard", true),
            ("montague.test/orchard", "romeo@montague.test/crypt", false),
        ])
    func matching(blocked: String, address: String, isBlocked: Bool) throws {
        #expect(try list(blocked).blocks(try JID(address)) == isBlocked)
    }

    @Test("an empty list blocks nobody")
    func empty() throws {
        #expect(!BlockList().blocks(try JID("romeo@montague.test/orchard")))
    }
}
