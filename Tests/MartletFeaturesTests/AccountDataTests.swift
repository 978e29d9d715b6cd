import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0054 vcard-temp")
struct VCardTests {
    private let server = TestServer()
    private let set = "<iq type='set' id='s'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>"

    private func get(_ to: String? = nil) -> String {
        "<iq type='get' id='g'\(to.map { " to='\($0)'" } ?? "")><vCard xmlns='vcard-temp'/></iq>"
    }

    @Test("a card is kept as it was set, for everybody to read, also while its owner is offline (§3)")
    func readable() {
        let juliet = server.online("juliet/balcony")
        juliet.send(set)
        juliet.send(get())
        #expect(juliet.received() == [
            "<iq type='result' id='s' to='juliet@capulet.example/balcony'/>",
            "<iq type='result' id='g' to='juliet@capulet.example/balcony'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>",
        ])
        juliet.disconnect()
        server.router.forget(server.address("juliet"))
        let romeo = server.online("romeo/orchard")
        romeo.send(get("juliet@capulet.example"))
        #expect(romeo.received().first?.child("vCard")?.firstChild?.text == "Juliet")
    }

    @Test("no card and no account look the same to others; the owner learns that there is no card (§3.1, §3.3)")
    func missing() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        for name in ["juliet", "nobody"] { romeo.send(get("\(name)@capulet.example")) }
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable", "cancel/service-unavailable"])
        juliet.send(get())
        #expect(juliet.received().map(\.error) == ["cancel/item-not-found"])
    }

    @Test("nobody writes the card of another")
    func others() {
        server.befriend("juliet", "romeo")
        let romeo = server.online("romeo/orchard")
        romeo.send("<iq type='set' id='s' to='juliet@capulet.example'><vCard xmlns='vcard-temp'><FN>Mine</FN></vCard></iq>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
    }

    @Test("a card has a limit")
    func limit() {
        var limits = HostLimits()
        limits.vCardBytesMax = 100
        let server = TestServer(limits: limits)
        let juliet = server.online("juliet/balcony")
        for count in [100, 101] {
            let empty = "<vCard xmlns='vcard-temp'><FN></FN></vCard>"
            let name = String(repeating: "j", count: count - empty.utf8.count)
            juliet.send("<iq type='set' id='\(count)'><vCard xmlns='vcard-temp'><FN>\(name)</FN></vCard></iq>")
        }
        #expect(juliet.received().map(\.error) == [nil, "modify/policy-violation"])
    }
}

@Suite("XEP-0049 Private XML Storage")
struct PrivateStorageTests {
    private func request(_ type: String, _ elements: String) -> String {
        "<iq type='\(type)' id='p'><query xmlns='jabber:iq:private'>\(elements)</query></iq>"
    }

    private func stored(_ client: TestClient, _ element: String) -> String? {
        client.forget()
        client.send(request("get", element))
        return client.received().first?.child("query")?.firstChild?.text
    }

    @Test("data is kept by element and namespace, and comes back as it was set (§2)")
    func kept() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.send(request("set", "<storage xmlns='storage:rosternotes'><c jid='&lt;a&gt;'/>one</storage>"))
        juliet.send(request("set", "<storage xmlns='storage:other'>two</storage><prefs xmlns='storage:other'>three</prefs>"))
        juliet.forget()
        juliet.send(request("get", "<storage xmlns='storage:rosternotes'/>"))
        #expect(juliet.received() == [
            """
            <iq type='result' id='p' to='juliet@capulet.example/balcony'><query xmlns='jabber:iq:private'>\
            <storage xmlns='storage:rosternotes'><c jid='&lt;a&gt;'/>one</storage></query></iq>
            """
        ])
        #expect(stored(juliet, "<storage xmlns='storage:other'/>") == "two")
        #expect(stored(juliet, "<prefs xmlns='storage:other'/>") == "three")
        #expect(stored(juliet, "<prefs xmlns='storage:rosternotes'/>") == "")
        juliet.send(request("set", "<prefs xmlns='storage:other'/>"))
        #expect(stored(juliet, "<prefs xmlns='storage:other'/>") == "")
    }

    @Test("what was sent after a request waits for its answer (RFC 6120 §10.1)")
    func order() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.send(request("set", "<a xmlns='urn:a'>one</a>"))
        juliet.send("<iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(juliet.received().map(\.id) == ["p", "q"])
    }

    @Test(
        "a request without elements, with too many, or with names of the stream itself is refused",
        arguments: [
            ("", "modify/bad-request"), ("<a xmlns=''/>", "modify/not-acceptable"), ("<a/>", "modify/not-acceptable"),
            ("<message xmlns='jabber:client'/>", "modify/not-acceptable"),
            (String(repeating: "<a xmlns='urn:a'/>", count: 17), "modify/policy-violation"),
        ])
    func refused(elements: String, error: String) {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        for type in ["get", "set"] { juliet.send(request(type, elements)) }
        #expect(juliet.received().map(\.error) == [error, error])
    }

    @Test("an element and an account have limits; what is removed makes room")
    func limits() {
        var limits = HostLimits()
        limits.privateElementsMax = 2
        limits.privateBytesMax = 50
        let server = TestServer(limits: limits)
        let juliet = server.online("juliet/balcony")
        for name in ["a", "b", "c", "b"] { juliet.send(request("set", "<\(name) xmlns='urn:x'>1</\(name)>")) }
        #expect(juliet.received().map(\.error) == [nil, nil, "wait/resource-constraint", nil])
        juliet.send(request("set", "<a xmlns='urn:x'/>"))
        juliet.send(request("set", "<c xmlns='urn:x'>1</c>"))
        juliet.send(request("set", "<c xmlns='urn:x'>\(String(repeating: "1", count: 50))</c>"))
        #expect(juliet.received().map(\.error) == [nil, nil, "modify/policy-violation"])
    }

    @Test("the bytes of an account are counted over all its elements, and what is replaced or removed makes room")
    func bytesOfAll() {
        var limits = HostLimits()
        limits.privateBytesMax = 200
        let server = TestServer(limits: limits)
        let juliet = server.online("juliet/balcony")
        let half = String(repeating: "1", count: 80)
        for name in ["a", "b", "a", "c"] { juliet.send(request("set", "<\(name) xmlns='urn:x'>\(half)</\(name)>")) }
        #expect(juliet.received().map(\.error) == [nil, "wait/resource-constraint", nil, "wait/resource-constraint"])
        juliet.send(request("set", "<a xmlns='urn:x'/>"))
        juliet.send(request("set", "<c xmlns='urn:x'>\(half)</c>"))
        #expect(juliet.received().map(\.error) == [nil, nil])
    }

    @Test("sessions that set something at the same moment share the limits, and lose nothing of each other's")
    func atOnce() {
        var limits = HostLimits()
        limits.privateBytesMax = 250
        let server = TestServer(limits: limits)
        let sessions = ["a", "b", "c", "d"].map { server.online("juliet/\($0)") }
        for session in sessions { session.forget() }
        let text = String(repeating: "1", count: 80)
        for (session, name) in zip(sessions, ["a", "b", "c", "d"]) { session.sendOnly(request("set", "<\(name) xmlns='urn:x'>\(text)</\(name)>")) }
        server.context.flush()
        server.run()
        #expect(sessions.map { $0.received().map(\.error) } == [[nil], [nil], ["wait/resource-constraint"], ["wait/resource-constraint"]])
        let juliet = sessions[0]
        #expect(["a", "b", "c", "d"].map { stored(juliet, "<\($0) xmlns='urn:x'/>") } == [text, text, "", ""])
        juliet.send(request("set", "<c xmlns='urn:x'>\(text)</c>"))
        #expect(juliet.received().map(\.error) == ["wait/resource-constraint"])
    }

    @Test("a name that is too long is refused, and the longest ones that are taken leave the storage readable")
    func longNames() {
        var limits = HostLimits()
        limits.privateBytesMax = 1 << 20
        let server = TestServer(limits: limits)
        let juliet = server.online("juliet/balcony")
        // `{`, the namespace, `}` and a name of two letters; each `<` of the namespace is written with four bytes.
        let longest = String(repeating: "&lt;", count: PrivateStorage.keyBytesMax - 4)
        let letters = "abcdefghi"
        let names = letters.flatMap { first in letters.map { "\(first)\($0)" } }
        for start in stride(from: 0, to: names.count, by: PrivateStorage.elementsPerRequestMax) {
            let some = names[start...].prefix(PrivateStorage.elementsPerRequestMax)
            juliet.send(request("set", some.map { "<\($0) xmlns='\(longest)'>1</\($0)>" }.joined()))
        }
        #expect(juliet.received().allSatisfy { $0.error == nil })
        juliet.send(request("set", "<aa xmlns='\(longest)&lt;'>1</aa>"))
        juliet.send(request("set", "<aa xmlns='urn:a'>1</aa>"))
        #expect(juliet.received().map(\.error) == ["modify/policy-violation", nil])
    }

    @Test("it is nobody else's business, and not that of the account's successor")
    func others() {
        let server = TestServer()
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        juliet.send(request("set", "<a xmlns='urn:a'>one</a>"))
        let romeo = server.online("romeo/orchard")
        romeo.send("<iq type='get' id='p' to='juliet@capulet.example'><query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query></iq>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
        juliet.disconnect()
        server.store.submit([.account(.delete(server.address("juliet")))])
        server.createAccount("juliet")
        #expect(stored(server.online("juliet/balcony"), "<a xmlns='urn:a'/>") == "")
    }
}
