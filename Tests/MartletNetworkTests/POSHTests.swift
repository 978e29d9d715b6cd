import Crypto
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing
import X509

@Suite("What web servers say about certificates (POSH, RFC 7711)")
struct POSHTests {
    static let hash = [UInt8](repeating: 7, count: 32)
    static let other = [UInt8](repeating: 8, count: 32)

    /// A document as RFC 7711 §3.1 has it.
    static func document(_ hashes: [[UInt8]], expires: Int = 86_400) -> String {
        let fingerprints = hashes.map { #"{"sha-512": "AAAA", "sha-256": "\#(Base64.encode($0))"}"# }
        return #"{"fingerprints": [\#(fingerprints.joined(separator: ","))], "expires": \#(expires)}"#
    }

    static func reference(to url: String, expires: Int = 86_400) -> String { #"{"url": "\#(url)", "expires": \#(expires)}"# }

    static func read(_ text: String) -> POSHDocument? { POSHDocument(Array(text.utf8)) }

    // MARK: Documents

    @Test("fingerprints of certificates, or another place")
    func documents() throws {
        let fingerprints = try #require(Self.read(Self.document([Self.hash, Self.other], expires: 1)))
        #expect(fingerprints.content == .fingerprints([Self.hash, Self.other]) && fingerprints.expires == 1)
        let url = try #require(HTTPURL("https://hosting.example/posh.json"))
        #expect(Self.read(Self.reference(to: "https://hosting.example/posh.json"))?.content == .reference(url))
        // Who says both has said which.
        let both = #"{"url": "https://hosting.example/", "fingerprints": [], "expires": 5}"#
        #expect(Self.read(both)?.content == .fingerprints([]))
    }

    @Test("only hashes that can be ones of SHA-256 count", arguments: [
        "", #"{"sha-512": "AAAA"}"#, #"{"sha-256": "AAAA"}"#, #"{"sha-256": "?"}"#, #"{"sha-1": 5}"#, "{}",
    ])
    func otherHashes(fingerprint: String) {
        #expect(Self.read(#"{"fingerprints": [\#(fingerprint)], "expires": 60}"#)?.content == .fingerprints([]))
    }

    @Test("what is no document says nothing", arguments: [
        "", "[]", "{", "{}", #"{"fingerprints": []}"#, #"{"fingerprints": [], "expires": 0}"#, #"{"fingerprints": [], "expires": -1}"#,
        #"{"fingerprints": [], "expires": "60"}"#, #"{"fingerprints": {}, "expires": 60}"#, #"{"fingerprints": [5], "expires": 60}"#, #"{"expires": 60}"#,
        #"{"url": "http://hosting.example/", "expires": 60}"#, #"{"url": "https:", "expires": 60}"#, #"{"url": 5, "expires": 60}"#,
        #"{"fingerprints": [], "expires": 99999999999999999999}"#, "\u{FEFF}",
    ])
    func noDocuments(text: String) { #expect(Self.read(text) == nil) }

    @Test("so long, and with so many fingerprints, and no more")
    func bounds() {
        let text = Self.document([Self.hash])
        let longest = text + String(repeating: " ", count: POSHDocument.bytesMax - text.utf8.count)
        #expect(Self.read(longest) != nil)
        #expect(Self.read(longest + " ") == nil)
        for count in [POSHDocument.fingerprintsMax, POSHDocument.fingerprintsMax + 1] {
            let hashes = (1...count).map { Array(repeating: UInt8($0), count: 32) }
            guard case .fingerprints(let read)? = Self.read(Self.document(hashes))?.content else {
                Issue.record("\(count)")
                return
            }
            #expect(read.count == POSHDocument.fingerprintsMax && read.contains(hashes[0]))
        }
    }

    // MARK: Memory

    static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    @Test("a domain is believed for as long as it says, within bounds, and its silence for five minutes", arguments: [
        (nil, TimeAmount.minutes(5)), (1, .minutes(1)), (60, .minutes(1)), (61, .seconds(61)), (604_800, .hours(168)), (604_801, .hours(168)), (.max, .hours(168)),
    ])
    func lifetimes(expires: Int?, lifetime: TimeAmount) {
        var memory = POSHMemory()
        memory.remember([Self.hash], of: "verona.example", expires: expires, Self.start)
        #expect(memory.fingerprints(of: "verona.example", Self.start + lifetime - .nanoseconds(1)) == [Self.hash])
        #expect(memory.fingerprints(of: "verona.example", Self.start + lifetime) == nil)
        #expect(memory.fingerprints(of: "mantua.example", Self.start) == nil)
    }

    @Test("so many domains are remembered; those go first that are out of date, or would be soonest")
    func domains() {
        var memory = POSHMemory()
        for number in 1...POSHMemory.domainsMax { memory.remember([], of: "\(number).example", expires: 60 + number, Self.start) }
        #expect(memory.count == POSHMemory.domainsMax && memory.fingerprints(of: "1.example", Self.start) != nil)
        memory.remember([], of: "one.example", expires: 5_000, Self.start)
        #expect(memory.count == POSHMemory.domainsMax)
        #expect(memory.fingerprints(of: "1.example", Self.start) == nil && memory.fingerprints(of: "2.example", Self.start) != nil)
        // Known ones take nobody's place.
        memory.remember([Self.hash], of: "2.example", expires: 62, Self.start)
        #expect(memory.count == POSHMemory.domainsMax && memory.fingerprints(of: "3.example", Self.start) != nil)
        memory.remember([], of: "another.example", expires: 5_000, Self.start + .seconds(70))
        #expect(memory.count == POSHMemory.domainsMax - 8)
    }

    // MARK: Asking

    /// Web servers as a table, and a clock.
    final class Web: Sendable {
        private let pages: [String: String]
        let asked = NIOLockedValueBox<[HTTPRequest]>([])
        let now = NIOLockedValueBox(POSHTests.start)
        /// What every request takes.
        let delay = NIOLockedValueBox(TimeAmount.zero)

        init(_ pages: [String: String]) { self.pages = pages }

        var posh: POSH { POSH(fetch, now: { self.now.withLockedValue { $0 } }) }

        private func fetch(_ request: HTTPRequest) async throws(HTTPFetchError) -> HTTPAnswer {
            asked.withLockedValue { $0.append(request) }
            now.withLockedValue { now in now = now + delay.withLockedValue { $0 } }
            guard let page = pages[request.url.description] else { throw .status(404) }
            return HTTPAnswer(url: request.url, type: "application/json", bytes: Array(page.utf8))
        }

        var urls: [String] { asked.withLockedValue { $0.map(\.url.description) } }
    }

    static let place = "https://verona.example/.well-known/posh/xmpp-server.json"
    static let elsewhere = "https://hosting.example/posh.json"
    static let certificate = Array("a certificate".utf8)
    static let listed = document([other, Array(SHA256.hash(data: certificate))])

    static func allows(_ posh: POSH, _ certificate: [UInt8] = certificate, of domain: String = "verona.example") async throws -> Bool {
        await posh.allows(certificate, of: try BareJID(parsing: domain))
    }

    @Test("the domain's own web server is asked once, for a short document, and believed")
    func own() async throws {
        let web = Web([Self.place: Self.listed])
        let posh = web.posh
        #expect(try await Self.allows(posh))
        #expect(try await !Self.allows(posh, Self.certificate + [0]))
        #expect(try await Self.allows(posh, of: "VERONA.example"))
        let request = try #require(web.asked.withLockedValue { $0.count == 1 ? $0[0] : nil })
        #expect(request.url.description == Self.place && request.bytesMax == POSHDocument.bytesMax && request.deadline == POSH.deadline)
        #expect(request.redirectsMax == POSH.redirectsMax && request.method == .get)
        // It is asked again when what it said is out of date.
        web.now.withLockedValue { $0 = Self.start + .hours(24) }
        #expect(try await Self.allows(posh))
        #expect(web.urls.count == 2)
    }

    @Test("it may refer to another place, once, for as long as both say")
    func references() async throws {
        let web = Web([Self.place: Self.reference(to: Self.elsewhere, expires: 120), Self.elsewhere: Self.listed])
        let posh = web.posh
        #expect(try await Self.allows(posh))
        #expect(web.urls == [Self.place, Self.elsewhere])
        web.now.withLockedValue { $0 = Self.start + .seconds(120) }
        #expect(try await Self.allows(posh))
        #expect(web.urls.count == 4)

        let further = "https://further.example/posh.json"
        let chain = Web([Self.place: Self.reference(to: Self.elsewhere), Self.elsewhere: Self.reference(to: further), further: Self.listed])
        #expect(try await !Self.allows(chain.posh))
        #expect(chain.urls == [Self.place, Self.elsewhere])
    }

    @Test("silence is remembered; nobody waits longer than three seconds for all of it")
    func silence() async throws {
        let web = Web([:])
        let posh = web.posh
        for _ in 1...2 { #expect(try await !Self.allows(posh)) }
        #expect(web.urls.count == 1)
        web.now.withLockedValue { $0 = Self.start + POSHMemory.silenceLifetime }
        #expect(try await !Self.allows(posh))
        #expect(web.urls.count == 2)

        for (delay, isInTime) in [(POSH.deadline - .milliseconds(1), true), (POSH.deadline, false)] {
            let slow = Web([Self.place: Self.reference(to: Self.elsewhere), Self.elsewhere: Self.listed])
            slow.delay.withLockedValue { $0 = delay }
            #expect(try await Self.allows(slow.posh) == isInTime)
            #expect(slow.asked.withLockedValue { $0.last?.deadline } == (isInTime ? .milliseconds(1) : POSH.deadline))
        }
    }

    @Test("whoever asks at the same time waits for the same answer")
    func joined() async throws {
        let web = Web([Self.place: Self.listed])
        let posh = web.posh
        let found = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 1...20 { group.addTask { try await Self.allows(posh) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(found == Array(repeating: true, count: 20) && web.urls.count == 1)
    }

    @Test("A-labels name the web server; an address has none", arguments: [
        ("Bücher.example", ["https://xn--bcher-kva.example/.well-known/posh/xmpp-server.json"]), ("192.0.2.1", []), ("[2001:db8::1]", []),
    ])
    func names(domain: String, urls: [String]) async throws {
        let web = Web([:])
        #expect(try await !Self.allows(web.posh, of: domain))
        #expect(web.urls == urls)
    }
}
