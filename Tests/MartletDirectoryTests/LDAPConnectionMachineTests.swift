import MartletDirectory
import MartletLDAP
import MartletTesting
import NIOCore
import Testing

@Suite("The client's side of an LDAP connection")
struct LDAPConnectionMachineTests {
    private typealias Machine = LDAPConnectionMachine

    static let search = LDAPOperation.searchRequest(SearchRequest("dc=example", .wholeSubtree, .present("objectClass")))
    static let bind = LDAPOperation.bindRequest(BindRequest("cn=martlet", .simple(Array("pw".utf8))))
    static let startTLS = LDAPOperation.extendedRequest(ExtendedRequest("1.3.6.1.4.1.1466.20037"))
    static let whoAmI = LDAPOperation.extendedRequest(ExtendedRequest("1.3.6.1.4.1.4203.1.11.3"))
    static let success = LDAPResult(.success)
    static let entry = LDAPOperation.searchResultEntry(LDAPEntry("uid=alice"))
    static let done = LDAPOperation.searchResultDone(success)
    static let bound = LDAPOperation.bindResponse(BindResponse(success))
    static let extended = LDAPOperation.extendedResponse(ExtendedResponse(success))

    private func message(_ id: Int32, _ operation: LDAPOperation) -> LDAPMessage { LDAPMessage(id, operation) }

    // MARK: Identifiers

    @Test("identifiers count up from 1, and each message has its own (RFC 4511 §4.1.1.1)")
    func identifiers() throws {
        var machine = Machine()
        let ids = try (0..<3).map { _ in try machine.begin(Self.search).id }
        #expect(ids == [1, 2, 3])
    }

    @Test("behind the largest identifier comes 1")
    func wraps() throws {
        var machine = Machine()
        machine.lastID = .max - 1
        let ids = try (0..<3).map { _ in try machine.begin(Self.search).id }
        #expect(ids == [.max, 1, 2])
    }

    @Test("the identifier of an operation under way is passed over when they come round")
    func passedOver() throws {
        var machine = Machine()
        for _ in 0..<2 { _ = try machine.begin(Self.search) }
        machine.lastID = .max
        let abandoned = machine.giveUp(2, .closed)
        #expect(abandoned == [.fail(2, .closed), .send(message(2, .abandonRequest(2)))])
        machine.lastID = .max
        let ids = try (0..<2).map { _ in try machine.begin(Self.search).id }
        #expect(ids == [2, 3])
    }

    @Test("as many operations as may be are taken, and no more")
    func operationsMax() throws {
        var machine = Machine()
        for _ in 0..<Machine.operationsMax { _ = try machine.begin(Self.search) }
        #expect(throws: DirectoryFailure.tooMany) { try machine.begin(Self.search) }
        _ = machine.receive(message(1, Self.done))
        #expect(throws: Never.self) { try machine.begin(Self.search) }
    }

    // MARK: Answers

    @Test("a search's parts go to it in order, up to the last (RFC 4511 §4.5.2)")
    func searchAnswer() throws {
        var machine = Machine()
        let id = try machine.begin(Self.search).id
        #expect(machine.receive(message(id, Self.entry)) == [.part(id, message(id, Self.entry))])
        #expect(machine.receive(message(id, Self.done)) == [.answer(id, message(id, Self.done))])
        #expect(machine.operationCount == 0)
    }

    @Test("operations are answered in any order (RFC 4511 §3.1)")
    func anyOrder() throws {
        var machine = Machine()
        let (first, second) = (try machine.begin(Self.search).id, try machine.begin(.delRequest("uid=alice")).id)
        let deleted = message(second, .delResponse(Self.success))
        #expect(machine.receive(deleted) == [.answer(second, deleted)])
        #expect(machine.receive(message(first, Self.done)) == [.answer(first, message(first, Self.done))])
    }

    @Test("what answers nothing that is under way is counted, and ignored")
    func unknown() throws {
        var machine = Machine()
        #expect(machine.receive(message(7, Self.done)) == [])
        #expect(machine.receive(message(7, Self.entry)) == [])
        #expect(machine.ignoredCount == 2)
        #expect(machine.closure == nil)
    }

    static let answers: [(LDAPOperation, LDAPOperation)] = [
        (search, done), (whoAmI, extended),
        (.modifyRequest(ModifyRequest("uid=alice", [])), .modifyResponse(success)), (.addRequest(LDAPEntry("uid=alice")), .addResponse(success)),
        (.delRequest("uid=alice"), .delResponse(success)),
        (.modifyDNRequest(ModifyDNRequest("uid=alice", newRDN: "uid=eve", deletesOldRDN: true)), .modifyDNResponse(success)),
        (.compareRequest(CompareRequest("uid=alice", "sn", [])), .compareResponse(LDAPResult(.compareTrue))),
    ]

    @Test("each operation is answered by its own kind; any other closes the connection", arguments: answers.indices)
    func kinds(_ index: Int) throws {
        for (other, pair) in Self.answers.enumerated() {
            var machine = Machine()
            let id = try machine.begin(Self.answers[index].0).id
            let effects = machine.receive(message(id, pair.1))
            if other == index {
                #expect(effects == [.answer(id, message(id, pair.1))])
            } else {
                #expect(effects == [.fail(id, .violation(.wrongAnswer(id))), .close])
            }
        }
    }

    @Test("an entry for what is no search closes the connection")
    func entryForModify() throws {
        var machine = Machine()
        let id = try machine.begin(.delRequest("uid=alice")).id
        #expect(machine.receive(message(id, Self.entry)) == [.fail(id, .violation(.wrongAnswer(id))), .close])
    }

    @Test("an intermediate response may be of any operation (RFC 4511 §4.13)")
    func intermediate() throws {
        var machine = Machine()
        let id = try machine.begin(Self.whoAmI).id
        let part = message(id, .intermediateResponse(IntermediateResponse(name: "1.2.3")))
        #expect(machine.receive(part) == [.part(id, part)])
    }

    @Test("a server that makes requests is left", arguments: [search, bind, .unbindRequest, .abandonRequest(1), whoAmI])
    func requests(_ operation: LDAPOperation) {
        var machine = Machine()
        #expect(machine.receive(message(1, operation)) == [.close])
        #expect(machine.closure == .violation(.request))
    }

    @Test("references are counted and go nowhere, referrals are answers (RFC 4511 §4.1.10, §4.5.3)")
    func referrals() throws {
        var machine = Machine()
        let id = try machine.begin(Self.search).id
        #expect(machine.receive(message(id, .searchResultReference(["ldap://other/"]))) == [])
        let away = message(id, .searchResultDone(LDAPResult(.referral, referrals: ["ldap://other/"])))
        #expect(machine.receive(away) == [.answer(id, away)])
        #expect(machine.referralCount == 2)
    }

    // MARK: Giving up

    @Test("what nobody waits for is abandoned, and what still comes of it is ignored (RFC 4511 §4.11)")
    func abandon() throws {
        var machine = Machine()
        let id = try machine.begin(Self.search).id
        #expect(machine.giveUp(id, .closed) == [.fail(id, .closed), .send(message(2, .abandonRequest(id)))])
        #expect(machine.receive(message(id, Self.entry)) == [] && machine.receive(message(id, Self.done)) == [])
        #expect(machine.ignoredCount == 2)
        #expect(machine.giveUp(id, .closed) == [])
    }

    @Test("a bind or StartTLS cannot be abandoned: the connection closes (RFC 4511 §4.11)", arguments: [bind, startTLS])
    func notAbandoned(_ request: LDAPOperation) throws {
        var machine = Machine()
        let id = try machine.begin(request).id
        #expect(machine.giveUp(id, .timedOut(.seconds(5))) == [.fail(id, .timedOut(.seconds(5))), .close])
    }

    // MARK: Binds

    @Test("a bind has the connection for itself (RFC 4511 §4.2.1)")
    func exclusive() throws {
        var machine = Machine()
        let id = try machine.begin(Self.search).id
        #expect(throws: DirectoryFailure.occupied) { try machine.begin(Self.bind) }
        _ = machine.receive(message(id, Self.done))
        let bind = try machine.begin(Self.bind).id
        for other in [Self.search, Self.bind, Self.startTLS] { #expect(throws: DirectoryFailure.occupied) { try machine.begin(other) } }
        #expect(machine.receive(message(bind, Self.bound)) == [.answer(bind, message(bind, Self.bound))])
        #expect(throws: Never.self) { try machine.begin(Self.search) }
    }

    @Test("between the steps of a SASL exchange there is nothing but the next (RFC 4513 §5.2.1.2)")
    func negotiating() throws {
        var machine = Machine()
        let first = try machine.begin(Self.bind).id
        let challenge = message(first, .bindResponse(BindResponse(LDAPResult(.saslBindInProgress), serverSASLCredentials: [1])))
        #expect(machine.receive(challenge) == [.answer(first, challenge)])
        #expect(throws: DirectoryFailure.occupied) { try machine.begin(Self.search) }
        let second = try machine.begin(Self.bind).id
        _ = machine.receive(message(second, Self.bound))
        #expect(throws: Never.self) { try machine.begin(Self.search) }
    }

    @Test("during a bind a late answer is ignored, and one of another kind to the bind closes the connection")
    func duringBind() throws {
        var machine = Machine()
        let old = try machine.begin(Self.search).id
        _ = machine.giveUp(old, .closed)
        let bind = try machine.begin(Self.bind).id
        #expect(machine.receive(message(old, Self.done)) == [])
        #expect(machine.receive(message(bind, Self.done)) == [.fail(bind, .violation(.wrongAnswer(bind))), .close])
    }

    @Test("a bind that fails leaves a connection that can be used")
    func refusedBind() throws {
        var machine = Machine()
        let id = try machine.begin(Self.bind).id
        _ = machine.receive(message(id, .bindResponse(BindResponse(LDAPResult(.invalidCredentials)))))
        #expect(throws: Never.self) { try machine.begin(Self.bind) }
    }

    // MARK: StartTLS

    @Test("StartTLS waits for nothing to be under way, and nothing begins before the handshake is done (RFC 4511 §4.14.1)")
    func startTLSAlone() throws {
        var machine = Machine()
        let search = try machine.begin(Self.search).id
        #expect(throws: DirectoryFailure.occupied) { try machine.begin(Self.startTLS) }
        _ = machine.receive(message(search, Self.done))
        let id = try machine.begin(Self.startTLS).id
        #expect(throws: DirectoryFailure.occupied) { try machine.begin(Self.search) }
        #expect(machine.receive(message(id, Self.extended)) == [.beginTLS])
        #expect(throws: DirectoryFailure.occupied) { try machine.begin(Self.search) }
        #expect(machine.secured() == [.answer(id, message(id, Self.extended))])
        #expect(throws: Never.self) { try machine.begin(Self.search) }
        #expect(machine.secured() == [])
    }

    @Test("a server that refuses StartTLS has said so, in the clear")
    func refusedStartTLS() throws {
        var machine = Machine()
        let id = try machine.begin(Self.startTLS).id
        let refused = message(id, .extendedResponse(ExtendedResponse(LDAPResult(.protocolError))))
        #expect(machine.receive(refused) == [.answer(id, refused)])
    }

    @Test("whatever is in the clear behind the answer to StartTLS may be anybody's: the connection closes (RFC 4511 §4.14.2)")
    func injected() throws {
        var machine = Machine()
        let id = try machine.begin(Self.startTLS).id
        #expect(machine.receive(message(id, Self.extended), isLast: false) == [.fail(id, .violation(.behindStartTLS)), .close])
        var later = Machine()
        let other = try later.begin(Self.startTLS).id
        _ = later.receive(message(other, Self.extended))
        #expect(later.receive(message(9, Self.bound)) == [.fail(other, .violation(.behindStartTLS)), .close])
    }

    // MARK: The end

    @Test("a notice of disconnection ends everything, with its reason (RFC 4511 §4.4.1)")
    func notice() throws {
        var machine = Machine()
        let (a, b) = (try machine.begin(Self.search).id, try machine.begin(Self.search).id)
        let why = LDAPResult(.unavailable, "shutting down")
        let notice = message(0, .extendedResponse(ExtendedResponse(why, name: "1.3.6.1.4.1.1466.20036")))
        #expect(machine.receive(notice) == [.fail(a, .disconnected(why)), .fail(b, .disconnected(why)), .close])
        #expect(throws: DirectoryFailure.disconnected(why)) { try machine.begin(Self.search) }
        #expect(machine.receive(message(a, Self.done)) == [])
    }

    @Test("other unsolicited notifications are ignored, other messages without an identifier are not (RFC 4511 §4.4)")
    func unsolicited() {
        var machine = Machine()
        #expect(machine.receive(message(0, .extendedResponse(ExtendedResponse(Self.success, name: "1.2.3")))) == [])
        #expect(machine.ignoredCount == 1 && machine.closure == nil)
        #expect(machine.receive(message(0, Self.done)) == [.close])
        var other = Machine()
        #expect(other.receive(message(0, Self.entry)) == [.close])
        #expect(other.closure == .violation(.unnamed))
    }

    @Test("who says goodbye says it once, and what is under way fails (RFC 4511 §4.3)")
    func unbind() throws {
        var machine = Machine()
        let id = try machine.begin(Self.search).id
        #expect(machine.unbind() == [.send(message(2, .unbindRequest)), .fail(id, .closed), .close])
        #expect(machine.unbind() == [] && machine.close(.closed) == [])
    }

    @Test("nothing is said while a handshake is to be made, not even goodbye")
    func unbindWhileSecuring() throws {
        var machine = Machine()
        let id = try machine.begin(Self.startTLS).id
        #expect(machine.unbind() == [.fail(id, .closed), .close])
    }

    // MARK: Whatever happens

    @Test("whatever a server says, each operation ends once, and none is left when the connection ends", arguments: 0..<200 as Range<UInt64>)
    func anything(seed: UInt64) throws {
        var numbers = SeededNumbers(seed: seed)
        var machine = Machine()
        var (begun, ended): (Set<Int32>, [Int32]) = ([], [])
        func note(_ effects: [Machine.Effect]) {
            for effect in effects {
                switch effect {
                case .answer(let id, _), .fail(let id, _): ended.append(id)
                case .part(let id, _): #expect(begun.contains(id) && !ended.contains(id))
                case .send, .beginTLS, .close: break
                }
            }
        }
        for _ in 0..<200 {
            let id = Int32.random(in: 0...12, using: &numbers)
            switch Int.random(in: 0..<10, using: &numbers) {
            case 0..<4:
                let request = try #require(([Self.search, Self.search, Self.bind, Self.startTLS] + Self.answers.map(\.0)).randomElement(using: &numbers))
                if let message = try? machine.begin(request) { begun.insert(message.id) }
            case 4..<8:
                let answer = try #require(([Self.entry, Self.bound, Self.done] + Self.answers.map(\.1)).randomElement(using: &numbers))
                // Mostly about what is under way: otherwise the connection would not last.
                let likely = begun.subtracting(ended).sorted().randomElement(using: &numbers) ?? id
                note(machine.receive(message(Int.random(in: 0..<8, using: &numbers) == 0 ? id : likely, answer)))
            case 8: note(machine.giveUp(id, .closed))
            default: note(machine.secured())
            }
        }
        note(machine.close(.closed))
        #expect(Set(ended) == begun && ended.count == begun.count)
        #expect(machine.operationCount == 0)
    }
}
