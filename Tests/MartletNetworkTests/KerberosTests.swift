import Logging
import MartletNetwork
import MartletXMPP
import Testing

@Suite("Kerberos")
struct KerberosTests {
    // MARK: Keytabs

    static func counted(_ text: String) -> [UInt8] { [UInt8(text.utf8.count >> 8), UInt8(text.utf8.count & 0xFF)] + Array(text.utf8) }

    /// An entry as MIT's library writes it: principal, type of name, time, version, key.
    static func entry(_ components: [String], realm: String = "R") -> [UInt8] {
        let principal = [0, UInt8(components.count)] + counted(realm) + components.flatMap(counted)
        let body = principal + [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 18, 0, 2, 0xAA, 0xBB]
        return [0, 0, 0, UInt8(body.count)] + body
    }

    @Test("a keytab says what it has keys of, each once; what was deleted is passed over")
    func keytab() throws {
        let deleted: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFD, 1, 2, 3]
        let bytes = [5, 2] + Self.entry(["xmpp", "host"]) + deleted + Self.entry(["xmpp", "host"]) + Self.entry(["romeo"], realm: "S")
        #expect(try Keytab(parsing: bytes).principals == ["xmpp/host@R", "romeo@S"])
        #expect(try Keytab(parsing: [5, 2]).principals == [])
    }

    @Test("a keytab that ends too early is none, wherever that is")
    func cutShort() throws {
        let whole = [5, 2] + Self.entry(["xmpp", "host"])
        for count in 3..<whole.count { #expect(throws: Keytab.Fault.cutShort) { try Keytab(parsing: Array(whole.prefix(count))) } }
        // An entry whose parts are longer than it is.
        #expect(throws: Keytab.Fault.cutShort) { try Keytab(parsing: [5, 2, 0, 0, 0, 4, 0, 1, 0xFF, 0xFF]) }
        #expect(throws: Keytab.Fault.cutShort) { try Keytab(parsing: [5, 2, 0x80, 0, 0, 0]) }
    }

    @Test("what is no keytab of version 2 is told apart", arguments: [[], [5], [5, 1], Array("secret".utf8)] as [[UInt8]])
    func noKeytab(bytes: [UInt8]) {
        #expect(throws: Keytab.Fault.noKeytab) { try Keytab(parsing: bytes) }
    }

    // MARK: Settings

    static func settings(hostname: String? = "chat.verona.example") -> KerberosSettings {
        var settings = KerberosSettings(keytab: "/nowhere.keytab", replays: "/nowhere.replays", realms: ["verona.example": ["VERONA.EXAMPLE"]])
        settings.hostname = hostname
        return settings
    }

    @Test("our principals are the service's at the host or at a domain of ours, also with a domain of ours (RFC 5179)")
    func own() {
        let settings = Self.settings()
        for name in ["xmpp/chat.verona.example@R", "xmpp/CHAT.verona.example@S", "xmpp/chat.verona.example/verona.example@R", "xmpp/verona.example@R"] {
            #expect(settings.isOurs(name), "\(name)")
        }
        for name in [
            "http/chat.verona.example@R", "http/verona.example@R", "xmpp/mantua.example@R", "xmpp/other.verona.example@R", "xmpp/chat.verona.example/mantua.example@R", "xmpp@R", "xmpp/@R", "",
            "XMPP/chat.verona.example@R", "xmpp/chat.verona.example/verona.example/x@R", "krbtgt/R@R",
        ] { #expect(!settings.isOurs(name), "\(name)") }
        #expect(Self.settings(hostname: nil).isOurs("xmpp/anywhere@R") && !Self.settings(hostname: nil).isOurs("http/anywhere@R"))
    }

    @Test("a domain without realms is told nothing of Kerberos")
    func offer() {
        #expect(Self.settings().offer(at: "verona.example") == KerberosOffer(realms: ["VERONA.EXAMPLE"], hostname: "chat.verona.example"))
        #expect(Self.settings().offer(at: "mantua.example") == nil)
    }

    @Test("without a keytab, or without the library, there is no acceptor, and it is said why")
    func missing() {
        let fault = #expect(throws: KerberosFault.self) { try KerberosAcceptor(Self.settings(), log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) }
        #expect(fault?.description.isEmpty == false)
    }
}
