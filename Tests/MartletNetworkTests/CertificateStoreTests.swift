import MartletNetwork
import MartletXMPP
import Testing

@Suite struct CertificateStoreTests {
    static func load(_ chain: String, _ key: String, now: Int = Fixtures.now) throws -> (CertificateStore, [CertificateWarning]) {
        let store = CertificateStore()
        let files = CertificateFiles(domain: "verona.example", chain: Fixtures.certificate(chain), key: Fixtures.certificate(key))
        return (store, try store.load([files], now: now))
    }

    @Test("what is wrong with a certificate is said with the file", arguments: [
        ("absent.pem", "verona.example.key", "absent.pem cannot be read: No such file or directory"),
        (".", "verona.example.key", "cannot be read: Is a directory"),
        ("text.pem", "verona.example.key", "text.pem holds no certificate in PEM form"),
        ("truncated.pem", "verona.example.key", "truncated.pem holds no certificate in PEM form"),
        ("verona.example.key", "verona.example.key", "verona.example.key holds no certificate in PEM form"),
        ("verona.example.pem", "text.pem", "text.pem holds no private key in PEM form"),
        ("verona.example.pem", "mantua.example.key", "mantua.example.key is not the key of the first certificate"),
        ("verona.example.pem", "rsa.example.key", "rsa.example.key is not the key of the first certificate"),
    ])
    func faults(chain: String, key: String, message: String) {
        let error = #expect(throws: CertificateError.self) { try Self.load(chain, key) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test("a certificate is warned about for 30 days, or for a sixth of its life if that is shorter")
    func warningTime() {
        let day = 86_400
        #expect(MartletNetwork.CertificateStore.warningSeconds(notBefore: 0, notAfter: 365 * day) == 30 * day)
        #expect(MartletNetwork.CertificateStore.warningSeconds(notBefore: 0, notAfter: 180 * day) == 30 * day)
        #expect(MartletNetwork.CertificateStore.warningSeconds(notBefore: 0, notAfter: 90 * day) == 15 * day)
        #expect(MartletNetwork.CertificateStore.warningSeconds(notBefore: 0, notAfter: 6 * day) == day)
        #expect(MartletNetwork.CertificateStore.warningSeconds(notBefore: 5, notAfter: 0) == 0)
    }

    @Test("a certificate that is not valid is served, with a warning")
    func warnings() throws {
        #expect(try Self.load("verona.example.pem", "verona.example.key").1 == [])
        let file = Fixtures.certificate("verona.example.pem")
        #expect(try Self.load("verona.example.pem", "verona.example.key", now: 0).1 == [.notYetValid(file: file, domain: "verona.example")])
        let (store, warnings) = try Self.load("verona.example.pem", "verona.example.key", now: 9_000_000_000)
        #expect(warnings == [.expired(file: file, domain: "verona.example")])
        let served = try #require(store.certificate(of: "verona.example"))
        #expect(try Self.load("verona.example.pem", "verona.example.key", now: served.notAfter - 86_400 * 3).1.first?.description.contains("expires in 3 days") == true)
    }

    @Test("a failed load changes nothing (P15)")
    func atomic() throws {
        let (store, _) = try Self.load("verona.example.pem", "verona.example.key")
        let before = try #require(store.certificate(of: "verona.example"))
        let bad = [Fixtures.files("mantua.example"), CertificateFiles(domain: "verona.example", chain: Fixtures.certificate("text.pem"), key: Fixtures.certificate("text.pem"))]
        #expect(throws: CertificateError.self) { try store.load(bad, now: Fixtures.now) }
        #expect(store.certificate(of: "verona.example") === before)
        #expect(store.certificate(of: "mantua.example") == nil)
    }

    @Test("names are found in any case and with a final dot; others get the first certificate (RFC 6066 §3)", arguments: [
        ("verona.example", "verona.example"), ("VERONA.example", "verona.example"), ("mantua.example", "mantua.example"),
        ("other.example", "mantua.example"), ("not a name\u{7F}", "mantua.example"), ("", "mantua.example"),
    ])
    func serverNames(name: String, domain: String) throws {
        let store = try CertificateStore([Fixtures.files("mantua.example"), Fixtures.files("verona.example")], now: Fixtures.now)
        #expect(store.certificate(forServerName: name)?.domain == domain)
        #expect(store.certificate(forServerName: nil)?.domain == "mantua.example")
    }

    @Test("tls-server-end-point is the hash of the certificate (RFC 5929 §4.1)")
    func endPoint() throws {
        let (store, _) = try Self.load("rsa.example.pem", "rsa.example.key")
        let binding = try #require(store.certificate(of: "verona.example")?.bindings.first)
        #expect(binding.kind == .tlsServerEndPoint)
        #expect(binding.data.count == 32)
        #expect(ChannelBinding.tlsServerEndPoint([]) == nil)
        #expect(ChannelBinding.tlsServerEndPoint([0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]) == nil)
        #expect(ChannelBinding.tlsServerEndPoint([0x30, 0x02, 0x30, 0x05]) == nil)
    }
}
