import MartletNetwork
import MartletXMPP
import Testing

import martlet

@Suite("what the configuration says about other servers")
struct FederationAssemblyTests {
    static let pin = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    static func settings(_ peers: (domain: String, pins: [String])...) -> FederationSettings {
        var configuration = ConfigurationDocuments.example
        (configuration.federation.encryption, configuration.federation.authentication) = (.optional, .dialback)
        configuration.peers = peers.map { domain, pins in
            var peer = ServerConfiguration.Peer()
            peer.domain = domain
            peer.pins = pins.compactMap { PublicKeyPin($0) }
            return peer
        }
        return FederationAssembly(configuration: configuration).settings
    }

    @Test("pins need a certificate, whatever else is said, and hold for the domains below")
    func pinned() {
        let settings = Self.settings(("example.net", [Self.pin]))
        for domain in ["example.net", "chat.example.net"] {
            #expect(settings.proof(of: domain)?.pins == [Array(0...31)])
            #expect(settings.policy(of: domain).requiresEncryption && settings.policy(of: domain).authentication == .certificate)
        }
        for domain in ["example.org", "badexample.net", "net"] {
            #expect(settings.proof(of: domain)?.pins ?? [] == [])
            #expect(!settings.policy(of: domain).requiresEncryption && settings.policy(of: domain).authentication == .dialback)
        }
    }

    @Test("of two peers it is the nearer one that counts")
    func nearer() {
        let settings = Self.settings(("example.net", [Self.pin]), ("chat.example.net", []))
        #expect(settings.proof(of: "chat.example.net")?.pins ?? [] == [] && settings.policy(of: "chat.example.net").authentication == .dialback)
        #expect(settings.proof(of: "other.example.net")?.pins ?? [] == [Array(0...31)])
    }

    @Test("a pin is the base64 of 32 bytes, written in one way (RFC 4648 §3.5)")
    func pins() {
        #expect(PublicKeyPin(Self.pin)?.bytes == Array(0...31))
        #expect(PublicKeyPin(Self.pin)?.description == Self.pin)
        let others = [
            "", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", String(Self.pin.dropLast()),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", " " + Self.pin, Self.pin + "\n", "sha256/" + Self.pin,
        ]
        for other in others { #expect(PublicKeyPin(other) == nil, "\(other)") }
    }

    @Test("authorities of a server's own are read, or nothing goes on")
    func trust() throws {
        var configuration = ConfigurationDocuments.example
        var peer = ServerConfiguration.Peer()
        peer.domain = "example.net"
        peer.trustAnchors = Self.certificate
        configuration.peers = [peer]
        let settings = try FederationAssembly(configuration: configuration).settingsWithTrust()
        #expect(settings.proof(of: "chat.example.net")?.trust?.anchorCount == 1)
        configuration.peers[0].trustAnchors = "/nowhere.pem"
        let error = #expect(throws: CommandFailure.self) { try FederationAssembly(configuration: configuration).settingsWithTrust() }
        #expect(error?.message.contains("/nowhere.pem") == true && error?.hint?.contains("example.net") == true)
    }

    private static let certificate =
        #filePath.split(separator: "/").dropLast(4).reduce("") { $0 + "/" + $1 } + "/Fixtures/certificates/verona.example.pem"

    @Test("anchors that are not there are found where they are named, and it is said what to do", arguments: [
        "federation: {trust-anchors: /anchors.pem}\n", "federation: {dnssec-anchor: /anchors.pem}\n",
        "peers: [{domain: example.net}, {domain: example.com, trust-anchors: /anchors.pem}]\n",
    ])
    func missingAnchors(text: String) throws {
        #expect(problems(minimal + text, readable: ["/anchors.pem"]) == [])
        let problem = try #require(problems(minimal + text).first)
        #expect(["federation.trust-anchors", "federation.dnssec-anchor", "peers[1].trust-anchors"].contains(problem.path))
        #expect(problem.message == "/anchors.pem cannot be read: there is no such file" && problem.line == 2)
        #expect(problem.hint?.hasPrefix("correct the path, or take the line out") == true)
        // Nobody looks at them.
        #expect(problems(minimal + text.replacing("federation: {", with: "federation: {enabled: false, ") + (text.hasPrefix("peers") ? "federation: {enabled: false}\n" : "")) == [])
    }

    @Test("what is in files of anchors is looked at as well, and the key that names them is told", arguments: ["federation.trust-anchors", "federation.dnssec-anchor"])
    func unusableAnchors(key: String) throws {
        var configuration = ServerConfiguration()
        let file = Self.certificate.replacing("verona.example.pem", with: "text.pem")
        configuration.federation.trustAnchors = key == "federation.trust-anchors" ? file : Self.certificate
        configuration.federation.nameServers = [NameServer("192.0.2.53")].compactMap(\.self)
        if key == "federation.dnssec-anchor" { configuration.federation.dnssecAnchor = file }
        let error = #expect(throws: CommandFailure.self) { try FederationAssembly(configuration: configuration).check() }
        #expect(error?.message.contains(file) == true && error?.hint?.contains(key) == true, "\(String(describing: error))")
        configuration.federation.isEnabled = false
        try FederationAssembly(configuration: configuration).check()
    }

    @Test("sixteen servers at most have authorities of their own", arguments: [16, 17])
    func trustBounds(count: Int) {
        let peers = (1...count).map { "- {domain: \($0).example.net, trust-anchors: /anchors.pem}\n" }
        let found = problems(minimal + "peers:\n" + peers.joined(), readable: ["/anchors.pem"])
        #expect(found.map(\.path) == (count == 16 ? [] : ["peers[16].trust-anchors"]))
    }

    @Test("a server has sixteen pins at most", arguments: [16, 17])
    func bounds(count: Int) {
        let pins = (0..<count).map { "    - \"\(Self.pin.prefix(40))\(String(UnicodeScalar(65 + $0) ?? "A"))h8=\"\n" }
        let found = problems(minimal + "\npeers:\n- domain: example.net\n  pins:\n" + pins.joined())
        #expect(found.isEmpty == (count == 16), "\(found)")
    }
}
