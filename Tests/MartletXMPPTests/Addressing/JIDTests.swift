import MartletXMPP
import NIOCore
import Testing

@Suite("Addresses (RFC 7622)")
struct JIDTests {
    @Test("an address is split at the first slash, then at the first at sign (RFC 7622 §3.2)")
    func split() throws {
        let jid = try FullJID(parsing: "Juliet@Example.COM/Bal@con/y")
        #expect(jid.bare.localpart == "juliet")
        #expect(jid.bare.domainpart == "example.com")
        #expect(jid.resourcepart == "Bal@con/y")
        #expect(jid.description == "juliet@example.com/Bal@con/y")
        #expect(jid.bare.description == "juliet@example.com")
    }
}
