import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import NIOCore
import Testing

@Suite("What stands between a directory's client and the directory")
struct OverlayMachineTests {
    private static let alice = try! BareJID(parsing: "alice@example.org")
    private static let bob = try! BareJID(parsing: "bob@example.org")
    private static let people = "ou=people,dc=example,dc=org"

    private static func presence(_ show: PresenceSummary.Show, _ status: String? = nil) -> PresenceSummary {
        var summary = PresenceSummary()
        summary.show = show
        summary.statuses = status.map { [PresenceSummary.Status($0)] } ?? []
        return summary
    }

    private static let names = FrontEndNames(
        viewer: { identity in
            switch identity {
            case .anonymous: .anonymous
            case .name(let name): name.hasPrefix("uid=alice,") ? .account(alice) : .service(name)
            case .user(let name): .service(name)
            }
        }, address: { $0.hasPrefix("uid=bob,") ? bob : nil })

    /// A machine, and what a test says to it in messages.
    private struct Wire {
        var machine: OverlayMachine

        init(hasTLS: Bool = false, isProtected: Bool = true, offersTLS: Bool = true, _ change: (inout FrontEndSettings) -> Void = { _ in }) {
            var settings = FrontEndSettings()
            change(&settings)
            machine = OverlayMachine(settings, OverlayMachineTests.names, offersTLS: offersTLS, hasTLS: hasTLS, isProtected: isProtected)
        }

        mutating func client(_ message: LDAPMessage, isLast: Bool = true) -> [Said] { Said.all(machine.fromClient(Self.bytes(message), isLast: isLast)) }
        mutating func client(_ id: Int32, _ operation: LDAPOperation) -> [Said] { client(LDAPMessage(id, operation)) }
        mutating func upstream(_ id: Int32, _ operation: LDAPOperation) -> [Said] { Said.all(machine.fromUpstream(Self.bytes(LDAPMessage(id, operation)))) }
        mutating func connected() -> [Said] { Said.all(machine.connected()) }
        mutating func lost() -> [Said] { Said.all(machine.upstreamLost()) }
        mutating func secured() -> [Said] { Said.all(machine.secured()) }

        mutating func answered(_ answer: FrontEndAnswer, _ question: Int = 1) -> [Said] { Said.all(machine.answered(answer, for: question)) }

        /// Connected, and bound as Alice.
        static func bound(_ change: (inout FrontEndSettings) -> Void = { _ in }) -> Wire {
            var wire = Wire(change)
            _ = wire.client(1, OverlayMachineTests.bind)
            _ = wire.connected()
            _ = wire.upstream(1, .bindResponse(BindResponse(LDAPResult(.success))))
            _ = wire.upstream(OverlayMachine.reservedID, OverlayMachineTests.isAlice)
            return wire
        }

        static func bytes(_ message: LDAPMessage) -> ByteBuffer {
            var bytes = ByteBuffer()
            message.encode(into: &bytes)
            return bytes
        }
    }

    private enum Said: Equatable {
        case client(LDAPMessage)
        case upstream(LDAPMessage)
        case other(FrontEndEffect)

        /// Without what is told to nobody but the log.
        static func all(_ effects: [FrontEndEffect]) -> [Said] {
            effects.compactMap { effect in
                switch effect {
                case .toClient(let bytes): (try? LDAPMessage(decoding: bytes)).map(Said.client) ?? .other(effect)
                case .toUpstream(let bytes): (try? LDAPMessage(decoding: bytes)).map(Said.upstream) ?? .other(effect)
                case .heard: nil
                default: .other(effect)
                }
            }
        }

        static func outcomes(_ effects: [FrontEndEffect]) -> [FrontEndBind] {
            effects.compactMap { if case .heard(let outcome) = $0 { outcome } else { nil } }
        }
    }

    private static let bind = LDAPOperation.bindRequest(BindRequest("uid=alice,\(people)", .simple(Array("alicepw".utf8))))
    private static let isAlice = LDAPOperation.extendedResponse(
        ExtendedResponse(LDAPResult(.success), value: AuthorizationIdentity.name("uid=alice,\(people)").encoded))
    private static let bound = LDAPOperation.bindResponse(BindResponse(LDAPResult(.success)))
    private static let done = LDAPOperation.searchResultDone(LDAPResult(.success))

    private static func search(_ filter: LDAPFilter, _ attributes: [String] = [], typesOnly: Bool = false) -> LDAPOperation {
        .searchRequest(SearchRequest(people, .wholeSubtree, filter, attributes: attributes, typesOnly: typesOnly))
    }

    private static func entry(_ name: String, _ attributes: [LDAPAttribute]) -> LDAPOperation { .searchResultEntry(LDAPEntry("uid=\(name),\(people)", attributes)) }

    private static let bobsEntry = entry("bob", [LDAPAttribute("cn", "Bob Brown"), LDAPAttribute("xmppAddress", "bob@example.org")])

    private func message(_ id: Int32, _ operation: LDAPOperation) -> LDAPMessage { LDAPMessage(id, operation) }

    // MARK: Connecting

    @Test("the directory is called when there is something to say, once, and hears everything in order")
    func connecting() {
        var wire = Wire()
        let first = Self.search(.present("cn"), ["cn"])
        #expect(wire.client(1, first) == [.other(.connect)])
        #expect(wire.client(2, first) == [])
        #expect(wire.connected() == [.upstream(message(1, first)), .upstream(message(2, first))])
        #expect(wire.client(3, first) == [.upstream(message(3, first))])
        #expect(wire.machine.heldBytes == 0)
    }

    @Test("a directory that cannot be reached is unavailable, and is called again for the next question")
    func unreachable() {
        var wire = Wire()
        let search = Self.search(.present("cn"))
        _ = wire.client(1, search)
        let unavailable = LDAPResult(.unavailable, "the directory cannot be reached")
        #expect(wire.lost() == [.client(message(1, .searchResultDone(unavailable)))])
        #expect(wire.client(2, Self.bind) == [.other(.bound(false)), .other(.connect)])
        #expect(wire.lost() == [.client(message(2, .bindResponse(BindResponse(unavailable))))])
        #expect(wire.machine.isIdle)
    }

    @Test("a directory that goes away ends what waits for it, and the connection, since who had bound there is nobody now")
    func goingAway() {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn"), ["cn"]))
        let said = wire.lost()
        #expect(said.first == .client(message(2, .searchResultDone(LDAPResult(.unavailable, "the directory cannot be reached")))))
        #expect(said.last == .other(.close))
        #expect(said.count == 3)
        #expect(wire.client(3, Self.search(.present("cn"))) == [])
    }

    // MARK: Binding

    @Test("who has bound is asked before the client hears that it has (RFC 4532); what it says meanwhile waits")
    func binding() {
        var wire = Wire()
        #expect(wire.client(1, Self.bind) == [.other(.bound(false)), .other(.connect)])
        #expect(wire.connected() == [.upstream(message(1, Self.bind))])
        // From here on it is looked at how long that takes.
        #expect(wire.machine.isIdentifying)
        let search = Self.search(.present("cn"), ["cn"])
        #expect(wire.client(2, search) == [])
        #expect(wire.upstream(1, Self.bound) == [.upstream(message(OverlayMachine.reservedID, .extendedRequest(.whoAmI)))])
        #expect(wire.machine.isIdentifying)
        let said = wire.upstream(OverlayMachine.reservedID, Self.isAlice)
        #expect(said == [.other(.bound(true)), .client(message(1, Self.bound)), .upstream(message(2, search))])
        #expect(!wire.machine.isIdentifying)
    }

    @Test("a bind that fails, or goes on, is told at once")
    func failedBind() {
        for code in [LDAPResultCode.invalidCredentials, .saslBindInProgress] {
            var wire = Wire()
            _ = wire.client(1, Self.bind)
            _ = wire.connected()
            let response = LDAPOperation.bindResponse(BindResponse(LDAPResult(code)))
            #expect(wire.upstream(1, response) == [.client(message(1, response))])
            #expect(wire.machine.isIdle)
        }
    }

    @Test("who has bound is told to the log, and whose password was wrong")
    func outcomes() {
        func said(_ request: BindRequest, _ code: LDAPResultCode, _ identity: AuthorizationIdentity = .anonymous) -> [FrontEndBind] {
            var wire = Wire()
            _ = wire.client(1, .bindRequest(request))
            _ = wire.connected()
            let first = wire.machine.fromUpstream(Wire.bytes(LDAPMessage(1, .bindResponse(BindResponse(LDAPResult(code))))))
            let whoAmI = LDAPMessage(OverlayMachine.reservedID, .extendedResponse(ExtendedResponse(LDAPResult(.success), value: identity.encoded)))
            return Said.outcomes(first) + Said.outcomes(wire.machine.fromUpstream(Wire.bytes(whoAmI)))
        }
        let (simple, scram) = (BindRequest("uid=alice", .simple([1])), BindRequest("", .sasl(mechanism: "scram-sha-256", credentials: [1])))
        #expect(said(simple, .success, .name("uid=alice,\(Self.people)")) == [.bound(.account(Self.alice), mechanism: "simple")])
        #expect(said(scram, .success, .name("cn=mailhub")) == [.bound(.service("cn=mailhub"), mechanism: "SCRAM-SHA-256")])
        #expect(said(BindRequest("", .simple([])), .success) == [.bound(.anonymous, mechanism: "simple")])
        #expect(said(simple, .invalidCredentials) == [.refused(name: "uid=alice", mechanism: "simple", .invalidCredentials)])
        #expect(said(scram, .unavailable) == [.refused(name: "", mechanism: "SCRAM-SHA-256", .unavailable)])
        #expect(said(scram, .saslBindInProgress) == [])
    }

    @Test("the third wrong password is the last of a connection", arguments: [2, 3])
    func failures(_ count: Int32) {
        var wire = Wire()
        let response = LDAPOperation.bindResponse(BindResponse(LDAPResult(.invalidCredentials)))
        var said: [Said] = []
        for id in 1...count {
            _ = wire.client(id, Self.bind)
            _ = wire.connected()
            said = wire.upstream(id, response)
        }
        #expect(said == [.client(message(count, response))] + (count == 3 ? [.other(.close)] : []))
        #expect(wire.client(9, Self.bind).isEmpty == (count == 3))
    }

    @Test("an entry is his whose it is by what is known of the directory, whatever is in it")
    func knownEntry() {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn"), ["cn", "xmppShow"]))
        let said = wire.upstream(2, Self.entry("bob", [LDAPAttribute("cn", "Bob Brown")]))
        #expect(said == [.other(.lookUp(1, [Self.bob], .account(Self.alice)))])
    }

    @Test("a status is there without its language, for clients that know none; several have theirs as well (RFC 3866)", arguments: [
        (["en busy"], ["xmppStatus busy"]), ([" busy"], ["xmppStatus busy"]), ([], []),
        (["en busy", "de Termin"], ["xmppStatus busy", "xmppStatus;lang-en busy", "xmppStatus;lang-de Termin"]),
        (["de Termin", " busy"], ["xmppStatus busy", "xmppStatus;lang-de Termin"]),
    ] as [([String], [String])])
    func languages(_ statuses: [String], _ expected: [String]) {
        var presence = Self.presence(.dnd)
        presence.statuses = statuses.map { text in
            let parts = text.split(separator: " ", omittingEmptySubsequences: false)
            return PresenceSummary.Status(String(parts[1]), language: parts[0].isEmpty ? nil : String(parts[0]))
        }
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn"), ["xmppStatus"]))
        _ = wire.upstream(2, Self.bobsEntry)
        let said = wire.answered(.presences([Self.bob], [presence]))
        guard case .client(let message) = said.first, case .searchResultEntry(let entry) = message.operation else { return #expect(Bool(false)) }
        let seen = entry.attributes.filter { $0.description.hasPrefix("xmppStatus") }.flatMap { attribute in
            attribute.values.map { "\(attribute.description) \(String(decoding: $0, as: UTF8.self))" }
        }
        #expect(seen == expected)
    }

    @Test("accounts are looked for by what the directory has of them", arguments: [false, true])
    func keys(_ isLocalpart: Bool) {
        var wire = Wire.bound { $0.addresses = isLocalpart ? [.init("uid", isLocalpart: true)] : [.init("mail"), .init("xmppAddress")] }
        _ = wire.client(2, Self.search(.equality("xmppShow", Array("dnd".utf8)), ["cn"]))
        let said = wire.answered(.visible(.success([(Self.bob, Self.presence(.dnd))])))
        guard case .upstream(let message) = said.first, case .searchRequest(let request) = message.operation else { return #expect(Bool(false)) }
        let address = Array("bob@example.org".utf8)
        let key = isLocalpart ? LDAPFilter.equality("uid", Array("bob".utf8)) : .or([.equality("mail", address), .equality("xmppAddress", address)])
        #expect(request.filter == key)
    }

    @Test("a bind with a name and no password is refused (RFC 4513 §5.1.2), as are mechanisms that put a layer over the connection")
    func refusedBinds() {
        var wire = Wire()
        func code(_ said: [Said]) -> LDAPResultCode? {
            guard case .client(let message) = said.first, case .bindResponse(let response) = message.operation else { return nil }
            return response.result.code
        }
        let empty = wire.client(1, .bindRequest(BindRequest("uid=alice", .simple([]))))
        #expect(code(empty) == .unwillingToPerform)
        for (id, mechanism) in zip(Int32(2)..., ["GSSAPI", "GSS-SPNEGO", "DIGEST-MD5", "NTLM", "EXTERNAL", "SCRAM-SHA-256-PLUS", "gs2-krb5"]) {
            let said = wire.client(id, .bindRequest(BindRequest("", .sasl(mechanism: mechanism, credentials: nil))))
            #expect(code(said) == .authMethodNotSupported)
        }
    }

    @Test("passwords need TLS, except on this machine; SCRAM shows none")
    func clear() {
        var wire = Wire(isProtected: false)
        guard case .client(let refusal) = wire.client(1, Self.bind).first else { return #expect(Bool(false)) }
        #expect(refusal.operation == .bindResponse(BindResponse(LDAPResult(.confidentialityRequired, "passwords need TLS"))))
        #expect(wire.client(2, .bindRequest(BindRequest("", .sasl(mechanism: "SCRAM-SHA-256", credentials: [0])))).last == .other(.connect))
    }

    @Test("a name of another domain of Active Directory's is nobody's here", arguments: [
        ("EXAMPLE\\alice", "Example", "alice"), ("OTHER\\alice", "Example", nil), ("EXAMPLE\\alice", nil, nil), ("alice", nil, "alice"),
    ] as [(String, String?, String?)])
    func userDomains(_ name: String, _ userDomain: String?, _ expected: String?) {
        #expect(FrontEndNames.loginName(name, in: userDomain) == expected)
    }

    @Test("nobody uses the identifier that the directory is asked with")
    func reservedIdentifier() {
        var wire = Wire()
        #expect(wire.client(OverlayMachine.reservedID, Self.search(.present("cn"))).last == .other(.close))
    }

    @Test("an identifier that is in use ends the connection (RFC 4511 §4.1.1.1)")
    func identifierInUse() {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn")))
        #expect(wire.client(2, Self.search(.present("cn"))).last == .other(.close))
    }

    @Test("so many operations at a time", arguments: [3, 4])
    func operations(_ count: Int32) {
        var wire = Wire.bound { $0.operationsMax = 3 }
        var last: [Said] = []
        for id in 2..<(2 + count) { last = wire.client(id, Self.search(.present("cn"), ["cn"])) }
        let busy = LDAPOperation.searchResultDone(LDAPResult(.busy, "too many operations at a time"))
        #expect((last == [.client(message(1 + count, busy))]) == (count == 4))
    }

    // MARK: StartTLS

    private static let startTLS = LDAPOperation.extendedRequest(.startTLS)

    @Test("StartTLS ends here (RFC 4511 §4.14)")
    func startsTLS() {
        var wire = Wire(isProtected: false)
        let said = wire.client(1, Self.startTLS)
        #expect(said.last == .other(.beginTLS))
        #expect(said.count == 2)
        #expect(wire.secured() == [])
        #expect(wire.client(2, Self.bind).last == .other(.connect))
    }

    @Test("what stands behind StartTLS in the clear ends the connection")
    func injected() {
        var wire = Wire(isProtected: false)
        #expect(wire.client(LDAPMessage(1, Self.startTLS), isLast: false).last == .other(.close))
    }

    @Test("no TLS without a certificate, in TLS, or beside other operations")
    func noTLS() {
        var (without, within, beside) = (Wire(offersTLS: false), Wire(hasTLS: true), Wire.bound())
        _ = beside.client(2, Self.search(.present("cn")))
        for said in [without.client(1, Self.startTLS), within.client(1, Self.startTLS), beside.client(3, Self.startTLS)] {
            #expect(said.count == 1)
            #expect(!said.contains(.other(.beginTLS)))
        }
    }

    // MARK: Entries

    @Test("who asks for presence gets it with the entry; the address that is needed for it is asked for and taken away")
    func decorated() {
        var wire = Wire.bound()
        #expect(wire.client(2, Self.search(.present("cn"), ["cn", "xmppStatus"])) == [
            .upstream(message(2, Self.search(.present("cn"), ["cn", "xmppStatus", "xmppAddress"])))
        ])
        #expect(wire.upstream(2, Self.bobsEntry) == [.other(.lookUp(1, [Self.bob], .account(Self.alice)))])
        #expect(wire.upstream(2, Self.done) == [])
        let said = wire.answered(.presences([Self.bob], [Self.presence(.dnd, "In a meeting")]))
        let entry = Self.entry("bob", [LDAPAttribute("cn", "Bob Brown"), LDAPAttribute("xmppStatus", "In a meeting")])
        #expect(said == [.client(message(2, entry)), .client(message(2, Self.done))])
        #expect(wire.machine.waitingBytes == 0)
        #expect(wire.machine.isIdle)
    }

    @Test("without the right to see it there is nothing, not that somebody is offline, nor what somebody has written there")
    func withoutRight() {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn"), ["xmppShow", "cn"]))
        let entry = Self.entry("bob", [LDAPAttribute("xmppAddress", "bob@example.org"), LDAPAttribute("xmppShow", "chat"), LDAPAttribute("cn", "Bob")])
        _ = wire.upstream(2, entry)
        let said = wire.answered(.presences([Self.bob], [nil]))
        #expect(said == [.client(message(2, Self.entry("bob", [LDAPAttribute("cn", "Bob")])))])
    }

    @Test("nobody's presence is looked up for who has not bound")
    func anonymous() {
        var wire = Wire()
        _ = wire.client(1, Self.search(.present("cn")))
        _ = wire.connected()
        #expect(wire.upstream(1, Self.bobsEntry) == [.client(message(1, Self.bobsEntry))])
    }

    @Test("who asks for all attributes gets all of presence and its object class; who asks for none, or others, the entry as it came")
    func selections() {
        var wire = Wire.bound()
        let entry = Self.entry("bob", [LDAPAttribute("objectClass", "person"), LDAPAttribute("xmppAddress", "bob@example.org")])
        let whole = Self.entry(
            "bob",
            [
                LDAPAttribute("objectClass", strings: ["person", "xmppPresentity"]), LDAPAttribute("xmppAddress", "bob@example.org"),
                LDAPAttribute("xmppPresence", "online"), LDAPAttribute("xmppShow", "away"), LDAPAttribute("xmppPresenceText", "away"),
            ])
        for (number, attributes) in [[], ["*"], ["*", "+"]].enumerated() {
            let id = Int32(number + 2)
            _ = wire.client(id, Self.search(.present("cn"), attributes))
            _ = wire.upstream(id, entry)
            let said = wire.answered(.presences([Self.bob], [Self.presence(.away)]), number + 1)
            #expect(said == [.client(message(id, whole))])
        }
        for (number, attributes) in [["1.1"], ["+"], ["cn", "mail"]].enumerated() {
            let id = Int32(number + 10)
            #expect(wire.client(id, Self.search(.present("cn"), attributes)) == [.upstream(message(id, Self.search(.present("cn"), attributes)))])
            #expect(wire.upstream(id, entry) == [.client(message(id, entry))])
        }
    }

    @Test("who asks for types only gets those: the directory is asked for values, because the address is one")
    func typesOnly() {
        var wire = Wire.bound()
        #expect(wire.client(2, Self.search(.present("cn"), ["xmppShow"], typesOnly: true)) == [
            .upstream(message(2, Self.search(.present("cn"), ["xmppShow", "xmppAddress"])))
        ])
        _ = wire.upstream(2, Self.bobsEntry)
        let said = wire.answered(.presences([Self.bob], [Self.presence(.away)]))
        #expect(said == [.client(message(2, Self.entry("bob", [LDAPAttribute("cn", []), LDAPAttribute("xmppShow", [])])))])
    }

    @Test("entries come in order, whatever of them waits")
    func order() {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn"), ["xmppShow"]))
        let group = Self.entry("group", [LDAPAttribute("cn", "Group")])
        #expect(wire.upstream(2, Self.bobsEntry).count == 1)
        #expect(wire.upstream(2, group) == [])
        #expect(wire.upstream(2, Self.entry("alice", [LDAPAttribute("xmppAddress", "alice@example.org")])) == [])
        let first = wire.answered(.presences([Self.bob], [nil]), 1)
        #expect(first.count == 3)
        #expect(first[1] == .client(message(2, group)))
        #expect(first[2] == .other(.lookUp(2, [Self.alice], .account(Self.alice))))
    }

    @Test("references and what is said in between pass in order")
    func references() {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn"), ["xmppShow"]))
        let reference = LDAPOperation.searchResultReference(["ldap://other.example/"])
        #expect(wire.upstream(2, reference) == [.client(message(2, reference))])
    }

    @Test("a client that gives up hears no more, and its answers are for nobody")
    func abandoned() {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(.present("cn"), ["xmppShow"]))
        _ = wire.upstream(2, Self.bobsEntry)
        #expect(wire.client(3, .abandonRequest(2)) == [.upstream(message(3, .abandonRequest(2)))])
        #expect(wire.answered(.presences([Self.bob], [nil])) == [])
        #expect(wire.upstream(2, Self.done) == [])
        #expect(wire.machine.waitingBytes == 0)
    }

    // MARK: Filters

    private static func key(_ address: String) -> LDAPFilter { .equality("xmppAddress", Array(address.utf8)) }
    private static let nothing = LDAPFilter.not(.present("objectClass"))
    private static let isDND = LDAPFilter.equality("xmppShow", Array("dnd".utf8))

    @Test("what asks for presence becomes the accounts of which it is true, everything around it stays")
    func rewritten() {
        var wire = Wire.bound()
        let filter = LDAPFilter.and([.present("cn"), .not(.equality("XMPPPresence", Array("ONLINE".utf8)))])
        #expect(wire.client(2, Self.search(filter, ["cn"])) == [.other(.findVisible(1, .account(Self.alice), online: true))])
        let said = wire.answered(.visible(.success([(Self.alice, Self.presence(.away)), (Self.bob, Self.presence(.offline))])))
        #expect(said == [.upstream(message(2, Self.search(.and([.present("cn"), .not(Self.key("alice@example.org"))]), ["cn"])))])
    }

    @Test("whose presence nobody may see is not found by it: there is no telling what it is")
    func noOracle() {
        var wire = Wire()
        _ = wire.client(1, Self.search(Self.isDND, ["cn"]))
        #expect(wire.connected() == [.upstream(message(1, Self.search(Self.nothing, ["cn"])))])
    }

    @Test("those who are not there are looked up only where it matters", arguments: [
        (LDAPFilter.equality("xmppShow", Array("dnd".utf8)), true), (.equality("xmppShow", Array("offline".utf8)), false), (.present("xmppPresence"), false),
        (.present("xmppResource"), true), (.substrings("xmppStatus", .init(any: [Array("meet".utf8)])), false),
        (.and([.equality("xmppShow", Array("dnd".utf8)), .greaterOrEqual("xmppPriority", Array("5".utf8))]), true),
    ] as [(LDAPFilter, Bool)])
    func aboutThoseOnline(_ filter: LDAPFilter, _ online: Bool) {
        var wire = Wire.bound()
        #expect(wire.client(2, Self.search(filter)) == [.other(.findVisible(1, .account(Self.alice), online: online))])
    }

    @Test("500 accounts at most", arguments: [500, 501])
    func manyKeys(_ count: Int) throws {
        var wire = Wire.bound()
        _ = wire.client(2, Self.search(Self.isDND))
        let visible = try (0..<count).map { (address: try BareJID(parsing: "p\($0)@example.org"), presence: Self.presence(.dnd)) }
        let said = wire.answered(.visible(.success(visible)))
        guard case .client(let message) = said.first, case .searchResultDone(let result) = message.operation else { return #expect(count == 500) }
        #expect(count == 501 && result.code == .adminLimitExceeded)
    }

    @Test("eight parts of a filter may ask for presence", arguments: [8, 9])
    func manyParts(_ count: Int) {
        var wire = Wire.bound()
        let said = wire.client(2, Self.search(.or(Array(repeating: Self.isDND, count: count))))
        #expect((said == [.other(.findVisible(1, .account(Self.alice), online: true))]) == (count == 8))
        #expect(said.count == 1)
    }

    @Test("what cannot be looked up is an error, not an empty answer")
    func failures() {
        for (failure, code) in [(PresenceView.Failure.tooMany, LDAPResultCode.adminLimitExceeded), (.unavailable, .unavailable)] {
            var wire = Wire.bound()
            _ = wire.client(2, Self.search(Self.isDND))
            guard case .client(let message) = wire.answered(.visible(.failure(failure))).first, case .searchResultDone(let result) = message.operation
            else { return #expect(Bool(false)) }
            #expect(result.code == code)
        }
    }

    @Test("nothing can be written as (|) as well (RFC 4526)")
    func absoluteFalse() {
        var wire = Wire { $0.nothing = .absoluteFalse }
        _ = wire.client(1, Self.search(Self.isDND, ["cn"]))
        #expect(wire.connected() == [.upstream(message(1, Self.search(.or([]), ["cn"])))])
    }

    // MARK: Comparing and writing

    @Test("presence is compared here", arguments: [
        ("dnd", .compareTrue), ("DND", .compareTrue), ("away", .compareFalse),
    ] as [(String, LDAPResultCode)])
    func compared(_ value: String, _ code: LDAPResultCode) {
        var wire = Wire.bound()
        let request = CompareRequest("uid=bob,\(Self.people)", "xmppShow", Array(value.utf8))
        #expect(wire.client(2, .compareRequest(request)) == [.other(.lookUp(1, [Self.bob], .account(Self.alice)))])
        let said = wire.answered(.presences([Self.bob], [Self.presence(.dnd)]))
        #expect(said == [.client(message(2, .compareResponse(LDAPResult(code))))])
    }

    @Test("there is nothing to compare without the right to see it; other attributes are the directory's business")
    func notCompared() {
        var wire = Wire.bound()
        let request = LDAPOperation.compareRequest(CompareRequest("uid=bob,\(Self.people)", "xmppShow", Array("dnd".utf8)))
        _ = wire.client(2, request)
        #expect(wire.answered(.presences([Self.bob], [nil])) == [.client(message(2, .compareResponse(LDAPResult(.noSuchAttribute))))])
        let other = LDAPOperation.compareRequest(CompareRequest("uid=bob,\(Self.people)", "sn", Array("Brown".utf8)))
        #expect(wire.client(3, other) == [.upstream(message(3, other))])
    }

    @Test("presence is not written; everything else is")
    func written() {
        var wire = Wire.bound()
        let refusal = LDAPResult(.unwillingToPerform, "presence is not written")
        let change = LDAPOperation.modifyRequest(ModifyRequest("uid=bob", [.init(.replace, LDAPAttribute("xmppSHOW;lang-en", "chat"))]))
        #expect(wire.client(2, change) == [.client(message(2, .modifyResponse(refusal)))])
        let addition = LDAPOperation.addRequest(LDAPEntry("uid=eve", [LDAPAttribute("xmppStatus", "here")]))
        #expect(wire.client(3, addition) == [.client(message(3, .addResponse(refusal)))])
        let other = LDAPOperation.modifyRequest(ModifyRequest("uid=bob", [.init(.replace, LDAPAttribute("sn", "Black"))]))
        #expect(wire.client(4, other) == [.upstream(message(4, other))])
    }

    // MARK: What the server says of itself

    @Test("of the root DSE only those mechanisms are left that work here, and StartTLS is this server's")
    func rootDSE() {
        var wire = Wire()
        let request = LDAPOperation.searchRequest(SearchRequest("", .baseObject, .present("objectClass"), attributes: ["+"]))
        _ = wire.client(1, request)
        _ = wire.connected()
        let answer = LDAPOperation.searchResultEntry(
            LDAPEntry(
                "",
                [
                    LDAPAttribute("supportedSASLMechanisms", strings: ["GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL", "PLAIN"]),
                    LDAPAttribute("supportedExtension", strings: ["1.3.6.1.4.1.4203.1.11.3"]),
                ]))
        let adapted = LDAPOperation.searchResultEntry(
            LDAPEntry(
                "",
                [
                    LDAPAttribute("supportedSASLMechanisms", strings: ["SCRAM-SHA-256", "PLAIN"]),
                    LDAPAttribute("supportedExtension", strings: ["1.3.6.1.4.1.4203.1.11.3", "1.3.6.1.4.1.1466.20037"]),
                ]))
        #expect(wire.upstream(1, answer) == [.client(message(1, adapted))])
    }

    @Test("a subschema that lacks presence gets it, another one stays as it is")
    func subschema() {
        var wire = Wire()
        let request = LDAPOperation.searchRequest(SearchRequest("cn=Subschema", .baseObject, .present("objectClass"), attributes: ["attributeTypes"]))
        _ = wire.client(1, request)
        _ = wire.connected()
        let lacking = LDAPOperation.searchResultEntry(LDAPEntry("cn=Subschema", [LDAPAttribute("attributeTypes", "( 2.5.4.3 NAME 'cn' SUP name )")]))
        guard case .client(let answer) = wire.upstream(1, lacking).first, case .searchResultEntry(let entry) = answer.operation else {
            return #expect(Bool(false))
        }
        #expect(entry.attributes[0].values.contains { String(decoding: $0, as: UTF8.self).contains("'xmppShow'") })
        let knowing = LDAPOperation.searchResultEntry(LDAPEntry("cn=Subschema", [LDAPAttribute("attributeTypes", "( 1.2 NAME 'xmppShow' )")]))
        #expect(wire.upstream(1, knowing) == [.client(message(1, knowing))])
    }

    // MARK: Clients that cannot be told

    @Test("other attributes are filled where they are asked for by name and are empty")
    func decorations() {
        var wire = Wire.bound { $0.decorations = [.init("mozillaCustom1", .presenceText), .init("labeledURI", .xmppURI)] }
        _ = wire.client(2, Self.search(.present("cn"), ["cn", "mozillaCustom1", "labeledURI"]))
        _ = wire.upstream(2, Self.bobsEntry)
        let said = wire.answered(.presences([Self.bob], [Self.presence(.dnd, "In a meeting")]))
        let expected = [
            LDAPAttribute("cn", "Bob Brown"), LDAPAttribute("mozillaCustom1", "In a meeting"), LDAPAttribute("labeledURI", "xmpp:bob@example.org?message"),
        ]
        #expect(said == [.client(message(2, Self.entry("bob", expected)))])
        _ = wire.client(3, Self.search(.present("cn"), ["labeledURI"]))
        _ = wire.upstream(3, Self.entry("bob", [LDAPAttribute("labeledURI", "https://bob.example"), LDAPAttribute("xmppAddress", "bob@example.org")]))
        let own = wire.answered(.presences([Self.bob], [nil]), 2)
        #expect(own == [.client(message(3, Self.entry("bob", [LDAPAttribute("labeledURI", "https://bob.example")])))])
    }

    // MARK: Hostile input

    @Test("whatever comes, from either side, the machine lives and holds no more than it was given")
    func fuzz() throws {
        var numbers = SeededNumbers(seed: 8)
        let messages = [
            LDAPMessage(2, Self.bind), LDAPMessage(3, Self.search(Self.isDND, ["xmppShow"])), LDAPMessage(4, Self.startTLS), LDAPMessage(5, Self.bobsEntry),
            LDAPMessage(3, Self.bobsEntry), LDAPMessage(3, Self.done), LDAPMessage(2, Self.bound), LDAPMessage(OverlayMachine.reservedID, Self.isAlice),
            LDAPMessage(6, .abandonRequest(3)), LDAPMessage(7, .searchRequest(SearchRequest("", .baseObject, .present("objectClass")))),
        ]
        for _ in 0..<300 {
            var wire = Wire()
            for _ in 0..<30 {
                var bytes = Array(Wire.bytes(messages.randomElement(using: &numbers)!).readableBytesView)
                if Int.random(in: 0..<4, using: &numbers) == 0 { bytes[Int.random(in: 0..<bytes.count, using: &numbers)] = .random(in: 0...255, using: &numbers) }
                if Int.random(in: 0..<8, using: &numbers) == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &numbers)) }
                switch Int.random(in: 0..<6, using: &numbers) {
                case 0: _ = wire.machine.fromUpstream(ByteBuffer(bytes: bytes))
                case 1: _ = wire.machine.connected()
                case 2: _ = wire.machine.answered(.presences([Self.bob], [nil]), for: Int.random(in: 1..<4, using: &numbers))
                case 3: _ = wire.machine.answered(.visible(.success([])), for: Int.random(in: 1..<4, using: &numbers))
                default: _ = wire.machine.fromClient(ByteBuffer(bytes: bytes), isLast: true)
                }
                #expect(wire.machine.waitingBytes >= 0 && wire.machine.heldBytes >= 0)
            }
        }
    }
}
