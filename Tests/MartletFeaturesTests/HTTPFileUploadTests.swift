import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0363 HTTP File Upload")
struct HTTPFileUploadTests {
    private static func request(_ attributes: String = "filename='a.png' size='9' content-type='image/png'", _ content: String = "") -> String {
        "<iq type='get' id='u' to='upload.capulet.example'><request xmlns='urn:xmpp:http:upload:0' \(attributes)>\(content)</request></iq>"
    }

    /// Clients do not keep their servers.
    private final class Servers { var all: [TestServer] = [] }
    private let servers = Servers()

    private func server(_ change: (inout UploadSettings) -> Void = { _ in }) -> TestServer {
        var settings = UploadSettings()
        change(&settings)
        return kept(TestServer(uploads: settings))
    }

    private func kept(_ server: TestServer) -> TestServer {
        servers.all.append(server)
        return server
    }

    private func ask(_ client: TestClient, _ request: String = HTTPFileUploadTests.request()) throws -> TestStanza {
        client.send(request)
        return try #require(client.received().first)
    }

    private func slot(_ answer: TestStanza) throws -> (put: ElementView, get: ElementView) {
        let slot = try #require(answer.element.root.firstChild("slot", .httpUpload))
        return (try #require(slot.firstChild("put", .httpUpload)), try #require(slot.firstChild("get", .httpUpload)))
    }

    /// The condition of an error, and its own one.
    private func error(_ answer: TestStanza) -> [String] {
        guard let error = answer.element.root.firstChild("error", .client) else { return [] }
        return [error.attribute("type") ?? ""] + error.children.filter { $0.localName != "text" }.map(\.localName)
    }

    @Test("a slot has one address for both ways, with 128 random bits and the file's name, and a token for the way in (§4)")
    func slot() throws {
        let server = server()
        let juliet = server.online("juliet/balcony")
        let answer = try ask(juliet, Self.request("filename='très cool.jpg' size='23456' content-type='image/jpeg'"))
        let (put, get) = try slot(answer)
        let url = try #require(put.attribute("url"))
        #expect(get.attribute("url") == url)
        let parts = url.split(separator: "/").map(String.init)
        #expect(parts.prefix(3) == ["https:", "capulet.example:5443", "upload"] && UploadName.isValid(parts[3]))
        #expect(parts.last == "tr%C3%A8s%20cool.jpg" && parts.count == 5)
        let header = try #require(put.firstChild("header", .httpUpload))
        #expect(header.attribute("name") == "Authorization" && header.text.hasPrefix("Bearer ") && header.text.count == 39)
        let stored = try #require(server.store.contents.uploads[parts[3]])
        #expect(stored.bytes == 23_456 && stored.type == "image/jpeg" && stored.fileName == "très cool.jpg" && stored.purpose == .message)
        #expect(stored.state == .open(token: ScramHash.sha256.digest(Array(header.text.dropFirst(7).utf8)), ends: server.time.wallMilliseconds + 300_000))
        #expect(try slot(ask(juliet)).put.attribute("url") != url)
    }

    @Test("only accounts of the domain get slots (§6)", arguments: [("juliet/balcony", true), ("romeo@montague.example/orchard", false)])
    func strangers(name: String, isOurs: Bool) throws {
        let server = kept(TestServer(domains: ["capulet.example", "montague.example"]))
        let answer = try ask(server.online(name))
        #expect(error(answer) == (isOurs ? [] : ["auth", "forbidden"]))
    }

    @Test("a file that is too large is refused, with the largest that is not (§6)", arguments: ["1000", "1001", "99999999999999999999"])
    func tooLarge(size: String) throws {
        let answer = try ask(server { $0.fileBytesMax = 1_000 }.online("juliet/balcony"), Self.request("filename='a' size='\(size)'"))
        guard size != "1000" else { return #expect(error(answer) == []) }
        #expect(error(answer) == ["modify", "not-acceptable", "file-too-large"])
        let most = answer.element.root.firstChild("error", .client)?.firstChild("file-too-large", .httpUpload)?.firstChild("max-file-size", .httpUpload)
        #expect(most?.text == "1000")
    }

    @Test("what is no request is a bad request", arguments: [
        "size='1'", "filename='' size='1'", "filename='a'", "filename='a' size='0'", "filename='a' size='-1'", "filename='a' size='1.5'",
        "filename='a' size='x'", "filename='a' size='1' content-type='image'", "filename='\(String(repeating: "a", count: 1_025))' size='1'",
    ])
    func badRequests(attributes: String) throws {
        #expect(error(try ask(server().online("juliet/balcony"), Self.request(attributes))) == ["modify", "bad-request"])
    }

    @Test("a name has 1,024 bytes at most")
    func longestName() throws {
        let name = String(repeating: "a", count: 1_024)
        #expect(error(try ask(server().online("juliet/balcony"), Self.request("filename='\(name)' size='1'"))) == [])
    }

    @Test("a file is for what the client says, for messages if it says nothing (§5)", arguments: [
        ("", UploadPurpose.message), ("<message xmlns='urn:xmpp:http:upload:purpose:0'/>", .message),
        ("<profile xmlns='urn:xmpp:http:upload:purpose:0'/>", .profile), ("<permanent xmlns='urn:xmpp:http:upload:purpose:0'/>", .permanent),
        ("<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='2099-09-10T23:08:25Z'/>", .ephemeral), ("<other xmlns='urn:example'/>", .message),
    ])
    func purposes(content: String, purpose: UploadPurpose) throws {
        let server = server()
        let answer = try ask(server.online("juliet/balcony"), Self.request("filename='a' size='1'", content))
        let name = try #require(slot(answer).put.attribute("url")).split(separator: "/")[3]
        let stored = try #require(server.store.contents.uploads[String(name)])
        #expect(stored.purpose == purpose && stored.expireBefore == (purpose == .ephemeral ? DateTime.milliseconds(of: "2099-09-10T23:08:25Z") : nil))
    }

    @Test("a purpose that cannot be kept to is refused", arguments: [
        ("<ephemeral xmlns='urn:xmpp:http:upload:purpose:0'/>", ["modify", "bad-request"]),
        ("<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='soon'/>", ["modify", "bad-request"]),
        ("<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='1999-09-10T23:08:25Z'/>", ["modify", "not-acceptable"]),
        ("<eternal xmlns='urn:xmpp:http:upload:purpose:0'/>", ["cancel", "feature-not-implemented"]),
        ("<message xmlns='urn:xmpp:http:upload:purpose:0'/><profile xmlns='urn:xmpp:http:upload:purpose:0'/>", ["modify", "bad-request"]),
    ])
    func badPurposes(content: String, expected: [String]) throws {
        #expect(error(try ask(server().online("juliet/balcony"), Self.request("filename='a' size='1'", content))) == expected)
    }

    @Test("types that are not taken are not acceptable")
    func types() throws {
        let server = server { $0.types = [MediaTypePattern("image/*")].compactMap(\.self) }
        let juliet = server.online("juliet/balcony")
        #expect(error(try ask(juliet)) == [])
        #expect(error(try ask(juliet, Self.request("filename='a' size='1' content-type='text/html'"))) == ["modify", "not-acceptable"])
    }

    @Test("whose quota is used up waits, and is told until when, if that is known (§6)")
    func quotas() throws {
        let server = server { ($0.accountDayBytesMax, $0.accountBytesMax) = (20, 28) }
        let juliet = server.online("juliet/balcony")
        for _ in 0..<2 { #expect(error(try ask(juliet)) == []) }
        let began = server.time.wallMilliseconds
        let answer = try ask(juliet)
        #expect(error(answer) == ["wait", "resource-constraint", "retry"])
        let retry = answer.element.root.firstChild("error", .client)?.firstChild("retry", .httpUpload)
        #expect(retry?.attribute("stamp") == DateTime.text(milliseconds: began + 86_400_000))
        // Others have quotas of their own, and slots that have ended do not count.
        #expect(error(try ask(server.online("romeo/orchard"))) == [])
        server.advance(by: .seconds(300))
        #expect(error(try ask(juliet)) == [])
    }

    @Test("the slots of one account that wait for their files are 100 at most")
    func openSlots() throws {
        let server = server()
        #expect(server.uploads.settings.openSlotsMax == 100)
        let juliet = server.online("juliet/balcony")
        for _ in 0..<100 { #expect(error(try ask(juliet)) == []) }
        #expect(error(try ask(juliet)) == ["wait", "resource-constraint", "retry"])
        server.advance(by: .seconds(300))
        #expect(error(try ask(juliet)) == [])
    }

    @Test("a store that does not answer is no reason to wait for ever")
    func store() throws {
        let server = server()
        let juliet = server.online("juliet/balcony")
        server.store.failReads(with: .unavailable("gone"))
        #expect(error(try ask(juliet)) == ["wait", "internal-server-error"])
        server.store.failReads(with: nil)
        server.store.failSubmits(with: .full)
        #expect(error(try ask(juliet)) == ["wait", "internal-server-error"])
    }

    @Test("the service is a store of files, says how large they may be, and knows all purposes (§3, §5)")
    func discovery() throws {
        let juliet = server { $0.fileBytesMax = 5_242_880 }.online("juliet/balcony")
        let answer = try ask(juliet, "<iq type='get' id='d' to='upload.capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        let query = try #require(answer.element.root.firstChild("query", .discoInfo))
        let identity = try #require(query.firstChild("identity", .discoInfo))
        #expect(identity.attribute("category") == "store" && identity.attribute("type") == "file")
        let features = query.children.compactMap { $0.attribute("var") }
        #expect(features.contains("urn:xmpp:http:upload:0"))
        for purpose in ["message", "profile", "ephemeral", "permanent"] { #expect(features.contains("urn:xmpp:http:upload:purpose:0#\(purpose)")) }
        let form = try #require(query.firstChild("x", .dataForms))
        #expect(form.children.map { $0.firstChild("value", .dataForms)?.text } == ["urn:xmpp:http:upload:0", "5242880"])
    }

    @Test("messages to the service come back, presence is of no interest")
    func others() throws {
        let juliet = server().online("juliet/balcony")
        #expect(error(try ask(juliet, "<message to='upload.capulet.example' type='chat' id='m'><body>a</body></message>")) == ["cancel", "service-unavailable"])
        juliet.send("<presence to='upload.capulet.example'/>")
        #expect(juliet.received().isEmpty)
    }

    @Test("the slots of an account go with it")
    func deletedAccount() throws {
        let server = server()
        let name = try #require(slot(ask(server.online("juliet/balcony"))).put.attribute("url")).split(separator: "/")[3]
        #expect(server.store.contents.uploads[String(name)] != nil)
        server.store.submit([.account(.delete(server.address("juliet")))])
        #expect(server.store.contents.uploads[String(name)] == nil)
    }
}
