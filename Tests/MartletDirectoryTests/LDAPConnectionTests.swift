import MartletDirectory
import MartletLDAP
import MartletXMPP
import NIOCore
import Testing

@Suite("A connection to a directory that says every word wrong", .timeLimit(.minutes(1)))
struct LDAPConnectionTests {
    static let everything = SearchRequest("dc=example", .wholeSubtree, .present("objectClass"))
    static let success = LDAPResult(.success)

    /// Both ends of a connection.
    private func connected(
        _ change: (inout LDAPConnection.Settings) -> Void = { _ in }
    ) async throws -> (client: LDAPConnection, server: PlayedConnection, directory: PlayedDirectory) {
        let directory = try await PlayedDirectory()
        let client = try await TestDirectory.dial(change).open(directory.address)
        return (client, try await directory.caller(), directory)
    }

    private static func modified(_ id: Int32) -> LDAPMessage { LDAPMessage(id, .modifyResponse(success)) }
    private static func done(_ id: Int32, controls: [LDAPControl] = []) -> LDAPMessage { LDAPMessage(id, .searchResultDone(success), controls: controls) }
    private static func entry(_ id: Int32, _ name: String, _ attributes: [LDAPAttribute] = []) -> LDAPMessage {
        LDAPMessage(id, .searchResultEntry(LDAPEntry(name, attributes)))
    }

    // MARK: Answers

    @Test("answers find who asked, in whatever order they come")
    func order() async throws {
        let (client, server, _) = try await connected()
        let name = Task { try await client.whoAmI() }
        let first = try await server.hear()
        let same = Task { try await client.compare(CompareRequest("uid=alice", "sn", Array("Adams".utf8))) }
        let second = try await server.hear()
        try await server.say(
            LDAPMessage(second.id, .compareResponse(LDAPResult(.compareTrue))),
            LDAPMessage(first.id, .extendedResponse(ExtendedResponse(Self.success, value: Array("dn:uid=alice".utf8)))))
        #expect(try await name.value == "dn:uid=alice")
        #expect(try await same.value)
    }

    @Test("a message that comes octet by octet is one message")
    func octets() async throws {
        let (client, server, _) = try await connected()
        let modified = Task { try await client.modify(ModifyRequest("uid=alice", [])) }
        let id = try await server.hear().id
        var bytes = ByteBuffer()
        Self.modified(id).encode(into: &bytes)
        while let octet = bytes.readSlice(length: 1) { try await server.say(bytes: octet) }
        #expect(try await modified.value == [])
    }

    @Test("a refusal is thrown as the server has said it")
    func refusal() async throws {
        let (client, server, _) = try await connected()
        let why = LDAPResult(.insufficientAccessRights, "no write access")
        let deleted = Task { try await client.delete("uid=alice") }
        try await server.say(LDAPMessage(try await server.hear().id, .delResponse(why)))
        await #expect(throws: DirectoryFailure.refused(why)) { try await deleted.value }
    }

    @Test("controls go out with what is asked, and those of the answer come back")
    func controls() async throws {
        let (client, server, _) = try await connected()
        let (asked, said) = (LDAPControl("1.2.3", isCritical: true, value: [1]), LDAPControl("1.2.4", value: [2]))
        let back = Task { try await client.add(LDAPEntry("uid=alice"), controls: [asked]) }
        let request = try await server.hear()
        #expect(request.controls == [asked])
        try await server.say(LDAPMessage(request.id, .addResponse(Self.success), controls: [said]))
        #expect(try await back.value == [said])
    }

    @Test("what answers nothing is counted; references are, too, and not followed")
    func strays() async throws {
        let (client, server, _) = try await connected()
        let entries = Task { try await client.entries(of: Self.everything, max: 10) }
        let id = try await server.hear().id
        try await server.say(
            Self.modified(77), LDAPMessage(id, .searchResultReference(["ldap://other/"])), Self.entry(id, "uid=alice"), Self.done(id))
        #expect(try await entries.value == [LDAPEntry("uid=alice")])
        #expect(try await client.counts == LDAPConnection.Counts(ignored: 1, referrals: 1))
    }

    // MARK: Who does not answer

    @Test("an operation ends by our own timer, is abandoned, and others go on")
    func silent() async throws {
        let (client, server, _) = try await connected { $0.operationTimeout = .seconds(1) }
        await #expect(throws: DirectoryFailure.timedOut(.seconds(1))) { try await client.modify(ModifyRequest("uid=alice", [])) }
        let request = try await server.hear()
        #expect(try await server.hear().operation == .abandonRequest(request.id))
        let deleted = Task { try await client.delete("uid=alice") }
        let id = try await server.hear().id
        // Too late for the first.
        try await server.say(Self.modified(request.id), LDAPMessage(id, .delResponse(Self.success)))
        #expect(try await deleted.value == [])
        #expect(try await client.counts.ignored == 1)
    }

    @Test("half a message is no answer")
    func half() async throws {
        let (client, server, _) = try await connected { $0.operationTimeout = .milliseconds(100) }
        let modified = Task { try await client.modify(ModifyRequest("uid=alice", [])) }
        var bytes = ByteBuffer()
        Self.modified(try await server.hear().id).encode(into: &bytes)
        try await server.say(bytes: try #require(bytes.readSlice(length: bytes.readableBytes - 1)))
        await #expect(throws: DirectoryFailure.timedOut(.milliseconds(100))) { try await modified.value }
    }

    @Test("a bind that is not answered costs the connection, since it cannot be abandoned (RFC 4511 §4.11)")
    func silentBind() async throws {
        let (client, server, _) = try await connected { $0.operationTimeout = .milliseconds(100) }
        await #expect(throws: DirectoryFailure.timedOut(.milliseconds(100))) { try await client.bind(as: .external) }
        _ = try await server.hear()
        #expect(await server.next() == nil)
        #expect(await !client.isOpen)
    }

    @Test("a search that goes on in time is not cut off, however long it takes in all; one that stops is")
    func slowSearch() async throws {
        let (client, server, _) = try await connected { $0.operationTimeout = .seconds(3) }
        let search = try await client.search(Self.everything)
        let id = try await server.hear().id
        for number in 0..<13 {
            try await server.say(Self.entry(id, "uid=\(number)"), in: .milliseconds(300))
        }
        var names = 0
        await #expect(throws: DirectoryFailure.timedOut(.seconds(3))) { for try await _ in search { names += 1 } }
        #expect(names == 13)
    }

    @Test("who is silent for long is asked whether anybody is there, and left if not; a search that waits for changes goes on")
    func ping() async throws {
        let (client, server, _) = try await connected {
            $0.pingInterval = .milliseconds(100)
            $0.operationTimeout = .seconds(1)
        }
        let search = try await client.search(Self.everything, isPersistent: true)
        var (pings, searches) = (0, 0)
        // It may have been silent before the search.
        while pings < 5 || searches == 0 {
            let heard = try await server.hear()
            guard heard.operation == .extendedRequest(.whoAmI) else {
                searches += 1
                continue
            }
            pings += 1
            try await server.say(LDAPMessage(heard.id, .extendedResponse(ExtendedResponse(LDAPResult(.protocolError)))))
        }
        _ = try await server.hear()
        await #expect(throws: DirectoryFailure.timedOut(.seconds(1))) { try await search.next() }
    }

    // MARK: Who says what must not be said

    @Test("what is no LDAP ends the connection, and everything on it", arguments: [[0x16, 3, 1, 2, 0], [0x30, 0x80, 0, 0], [0x30, 3, 2, 1, 5]] as [[UInt8]])
    func garbage(bytes: [UInt8]) async throws {
        let (client, server, _) = try await connected()
        let modified = Task { try await client.modify(ModifyRequest("uid=alice", [])) }
        _ = try await server.hear()
        try await server.say(bytes: ByteBuffer(bytes: bytes))
        do {
            _ = try await modified.value
            Issue.record("it was answered")
        } catch {
            guard case .violation(.malformed) = error as? DirectoryFailure else { throw error }
        }
        #expect(await server.next() == nil)
    }

    @Test("before a bind a message has at most so many octets, and one more ends the connection", arguments: [0, 1])
    func longest(excess: Int) async throws {
        let (client, server, _) = try await connected { $0.messageBytesBeforeBind = 1_000 }
        let entries = Task { try await client.entries(of: Self.everything, max: 10) }
        let id = try await server.hear().id
        func message(_ octets: Int) -> LDAPMessage { Self.entry(id, "uid=alice", [LDAPAttribute("d", [Array(repeating: 0x61, count: octets)])]) }
        func length(_ message: LDAPMessage) -> Int {
            var bytes = ByteBuffer()
            message.encode(into: &bytes)
            return bytes.readableBytes
        }
        let octets = 500 + 1_000 - length(message(500)) + excess
        #expect(length(message(octets)) == 1_000 + excess)
        try await server.say(message(octets), Self.done(id))
        if excess == 0 {
            #expect(try await entries.value.count == 1)
        } else {
            await #expect(throws: DirectoryFailure.violation(.malformed(.messageTooLong(bytes: 1_001, max: 1_000)))) { try await entries.value }
        }
    }

    @Test("after a bind they may be longer")
    func longerAfterBind() async throws {
        let (client, server, _) = try await connected { $0.messageBytesBeforeBind = 100 }
        let bound = Task { try await client.bind(as: .anonymous) }
        try await server.say(LDAPMessage(try await server.hear().id, .bindResponse(BindResponse(Self.success))))
        #expect(try await bound.value.result.code == .success)
        let entries = Task { try await client.entries(of: Self.everything, max: 10) }
        let id = try await server.hear().id
        try await server.say(Self.entry(id, "uid=alice", [LDAPAttribute("d", [Array(repeating: 0x61, count: 2_000)])]), Self.done(id))
        #expect(try await entries.value.count == 1)
    }

    @Test("a server that says goodbye is believed, and says why (RFC 4511 §4.4.1)")
    func notice() async throws {
        let (client, server, _) = try await connected()
        let search = try await client.search(Self.everything, isPersistent: true)
        _ = try await server.hear()
        let why = LDAPResult(.unavailable, "going down")
        try await server.say(LDAPMessage(0, .extendedResponse(ExtendedResponse(why, name: LDAPExtension.noticeOfDisconnection))))
        await #expect(throws: DirectoryFailure.disconnected(why)) { try await search.next() }
        await #expect(throws: DirectoryFailure.disconnected(why)) { try await client.whoAmI() }
    }

    @Test("a connection that breaks off fails what is under way")
    func breaksOff() async throws {
        let (client, server, _) = try await connected()
        let name = Task { try await client.whoAmI() }
        _ = try await server.hear()
        try await server.close()
        await #expect(throws: DirectoryFailure.disconnected(nil)) { try await name.value }
        #expect(await !client.isOpen)
    }

    // MARK: Searches

    @Test("parts of a search come in order, and the last one says how it ended")
    func parts() async throws {
        let (client, server, _) = try await connected()
        let search = try await client.search(Self.everything)
        let id = try await server.hear().id
        let part = IntermediateResponse(name: "1.3.6.1.4.1.4203.1.9.1.4", value: [0x80, 0])
        let control = LDAPControl("1.2.3")
        try await server.say(Self.entry(id, "uid=alice"), LDAPMessage(id, .intermediateResponse(part)), Self.done(id, controls: [control]))
        var items: [SearchItem] = []
        for try await item in search { items.append(item) }
        #expect(items == [.entry(LDAPEntry("uid=alice"), controls: []), .intermediate(part, controls: []), .done(Self.success, controls: [control])])
    }

    @Test("no more is read than is asked for, and nothing is lost")
    func backPressure() async throws {
        let (client, server, _) = try await connected { $0.operationTimeout = .seconds(30) }
        let search = try await client.search(Self.everything)
        let id = try await server.hear().id
        let text = LDAPAttribute("d", [Array(repeating: 0x61, count: 2_000)])
        let total = 20_000
        let written = server.begin((0..<total).map { Self.entry(id, "uid=\($0)", [text]) } + [Self.done(id)])
        let isWritten = Flag()
        written.whenComplete { _ in isWritten.set() }
        let first = try await search.next()
        #expect((1...LDAPConnection.Settings().entriesInFlightMax).contains(first.count))
        // 40 MB do not fit into what the system keeps between two sockets.
        #expect(!isWritten.isSet)
        var count = first.count
        while true {
            let items = try await search.next()
            if items.isEmpty { break }
            #expect(items.count <= LDAPConnection.Settings().entriesInFlightMax)
            count += items.count
        }
        #expect(count == total + 1)
    }

    @Test("a search at which nobody looks is given up, so that others are answered")
    func neglected() async throws {
        let (client, server, _) = try await connected {
            $0.entriesInFlightMax = 10
            $0.consumerTimeout = .milliseconds(100)
        }
        let search = try await client.search(Self.everything)
        let id = try await server.hear().id
        _ = server.begin((0..<100).map { Self.entry(id, "uid=\($0)") })
        let name = Task { try await client.whoAmI() }
        let question = try await server.hear()
        try await server.say(LDAPMessage(question.id, .extendedResponse(ExtendedResponse(Self.success))))
        #expect(try await name.value == "")
        #expect(try await server.hear().operation == .abandonRequest(id))
        #expect(try await search.next().count == 10)
        await #expect(throws: DirectoryFailure.timedOut(.milliseconds(100))) { try await search.next() }
    }

    @Test("who lets go of a search has abandoned it (RFC 4511 §4.11)")
    func letGo() async throws {
        let (client, server, _) = try await connected()
        var search: LDAPSearch? = try await client.search(Self.everything)
        let id = try await server.hear().id
        try await server.say(Self.entry(id, "uid=alice"))
        #expect(try await search?.next().count == 1)
        search = nil
        #expect(try await server.hear().operation == .abandonRequest(id))
    }

    @Test("a small search is refused if it is not small")
    func notSmall() async throws {
        let (client, server, _) = try await connected()
        let entries = Task { try await client.entries(of: Self.everything, max: 2) }
        let id = try await server.hear().id
        try await server.say(Self.entry(id, "uid=1"), Self.entry(id, "uid=2"), Self.entry(id, "uid=3"), Self.done(id))
        await #expect(throws: DirectoryFailure.tooMany) { try await entries.value }
    }

    @Test("pages are asked for until there is no more (RFC 2696 §3), and parts of large groups until they are whole")
    func pages() async throws {
        let (client, server, _) = try await connected()
        let found = Task { try await Self.entries(client.pages(of: Self.everything, pageSize: 2)) }
        func page(_ request: LDAPMessage) throws -> PagedResultsControl { try #require(try request.controls.first(of: PagedResultsControl.self)) }
        func cookie(_ bytes: [UInt8]) -> LDAPControl { PagedResultsControl(size: 0, cookie: bytes).control(isCritical: false) }
        let first = try await server.hear()
        #expect(try page(first) == PagedResultsControl(size: 2, cookie: []))
        let part = [LDAPAttribute("member", []), LDAPAttribute("member;range=0-1", strings: ["a", "b"])]
        try await server.say(Self.entry(first.id, "cn=big", part), Self.entry(first.id, "uid=1"), Self.done(first.id, controls: [cookie([7])]))
        let more = try await server.hear()
        #expect(more.operation == .searchRequest(SearchRequest("cn=big", .baseObject, .present("objectClass"), attributes: ["member;range=2-*"])))
        try await server.say(Self.entry(more.id, "cn=big", [LDAPAttribute("member;range=2-*", strings: ["c"])]), Self.done(more.id))
        let second = try await server.hear()
        #expect(try page(second) == PagedResultsControl(size: 2, cookie: [7]))
        try await server.say(Self.entry(second.id, "uid=2"), Self.done(second.id, controls: [cookie([])]))
        #expect(try await found.value == [LDAPEntry("uid=1"), LDAPEntry("cn=big", [LDAPAttribute("member", strings: ["a", "b", "c"])]), LDAPEntry("uid=2")])
    }

    private static func entries(_ pages: PagedSearch) async throws -> [LDAPEntry] {
        var entries: [LDAPEntry] = []
        for try await entry in pages { entries.append(entry) }
        return entries
    }

    // MARK: What must not go in the clear

    @Test("without TLS only this machine itself is called")
    func unprotected() async throws {
        let dial = TestDirectory.dial()
        let away = DirectoryAddress.plain(host: "ldap.example.org", port: 389)
        #expect(dial.fault(of: away) == .unprotected(away))
        await #expect(throws: DirectoryFailure.unprotected(away)) { try await dial.open(away) }
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] { #expect(dial.fault(of: .plain(host: host, port: 389)) == nil) }
        for host in ["localhost.example.org", "128.0.0.1", "::2", "127.0.0.1.example.org"] {
            #expect(dial.fault(of: .plain(host: host, port: 389)) != nil, "\(host)")
        }
        #expect(dial.fault(of: .local(path: "/run/ldapi")) == nil && dial.fault(of: .secure(host: "ldap.example.org", port: 636)) == nil)
        #expect(TestDirectory.dial(startTLS: .required).fault(of: away) == nil)
    }

    @Test("a server without StartTLS is not talked to where it is required")
    func noStartTLS() async throws {
        let directory = try await PlayedDirectory()
        let client = Task { try await TestDirectory.dial(startTLS: .required).open(directory.address) }
        let server = try await directory.caller()
        let request = try await server.hear()
        #expect(request.operation == .extendedRequest(.startTLS))
        try await server.say(LDAPMessage(request.id, .extendedResponse(ExtendedResponse(LDAPResult(.protocolError, "not here")))))
        await #expect(throws: DirectoryFailure.insecure("StartTLS was refused: result 2, not here")) { _ = try await client.value }
        #expect(await server.next() == nil)
    }

    @Test("what somebody has put behind the answer to StartTLS is not taken for the server's (RFC 4511 §4.14.2)")
    func injection() async throws {
        let directory = try await PlayedDirectory()
        let client = Task { try await TestDirectory.dial(startTLS: .required).open(directory.address) }
        let server = try await directory.caller()
        let id = try await server.hear().id
        try await server.say(
            LDAPMessage(id, .extendedResponse(ExtendedResponse(Self.success))), LDAPMessage(id + 1, .bindResponse(BindResponse(Self.success))))
        await #expect(throws: DirectoryFailure.violation(.behindStartTLS)) { _ = try await client.value }
    }

    @Test("SASL PLAIN is not said in the clear, not even on loopback")
    func plainInClear() async throws {
        let (client, _, directory) = try await connected()
        let password = try #require(PreparedPassword("pencil"))
        await #expect(throws: DirectoryFailure.unprotected(directory.address)) { try await client.bind(as: .plain(username: "alice", password)) }
    }

    @Test("an empty password, or one without a name, is never sent (RFC 4513 §5.1.2)")
    func empty() async throws {
        let (client, _, _) = try await connected()
        let nameless = LDAPOperation.bindRequest(BindRequest("", .simple([1])))
        let empty = LDAPOperation.bindRequest(BindRequest("uid=alice", .simple([])))
        await #expect(throws: DirectoryFailure.emptyName) { try await client.answer(to: nameless) }
        await #expect(throws: DirectoryFailure.emptyPassword) { try await client.answer(to: empty) }
        await #expect(throws: DirectoryFailure.emptyPassword) { try await client.changePassword(PasswordModifyRequest(newPassword: [])) }
    }

    // MARK: SCRAM

    /// The server's part of a SCRAM exchange, up to the client's proof.
    private func challenge(_ server: PlayedConnection) async throws -> Int32 {
        let first = try await server.hear()
        guard case .bindRequest(let request) = first.operation, case .sasl("SCRAM-SHA-256", let credentials?) = request.authentication else {
            Issue.record("\(first)")
            return 0
        }
        let nonce = try #require(String(decoding: credentials, as: UTF8.self).split(separator: "r=").last)
        let challenge = Array("r=\(nonce)server,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".utf8)
        try await server.say(LDAPMessage(first.id, .bindResponse(BindResponse(LDAPResult(.saslBindInProgress), serverSASLCredentials: challenge))))
        return try await server.hear().id
    }

    @Test("a server that does not know the password's keys is not believed (RFC 5802 §3)")
    func falseServer() async throws {
        let (client, server, _) = try await connected()
        let password = try #require(PreparedPassword("pencil"))
        let bound = Task { try await client.bind(as: .scram(.sha256, username: "alice", password)) }
        let id = try await challenge(server)
        let signature = Array("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".utf8)
        try await server.say(LDAPMessage(id, .bindResponse(BindResponse(Self.success, serverSASLCredentials: signature))))
        await #expect(throws: DirectoryFailure.scram(.serverSignature)) { try await bound.value }
        #expect(await !client.isOpen)
    }

    @Test("nor is one that says success before it was asked for a proof of its own")
    func earlySuccess() async throws {
        let (client, server, _) = try await connected()
        let password = try #require(PreparedPassword("pencil"))
        let bound = Task { try await client.bind(as: .scram(.sha256, username: "alice", password)) }
        try await server.say(LDAPMessage(try await server.hear().id, .bindResponse(BindResponse(Self.success))))
        await #expect(throws: DirectoryFailure.exchange) { try await bound.value }
    }

    @Test("a wrong password is the server's to say")
    func wrongPassword() async throws {
        let (client, server, _) = try await connected()
        let password = try #require(PreparedPassword("pencil"))
        let bound = Task { try await client.bind(as: .scram(.sha256, username: "alice", password)) }
        let id = try await challenge(server)
        try await server.say(LDAPMessage(id, .bindResponse(BindResponse(LDAPResult(.invalidCredentials)))))
        #expect(try await bound.value.result.code == .invalidCredentials)
    }
}
