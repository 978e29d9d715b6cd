import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

extension TestClient {
    /// What came about the stream and not in it: `r`, `a 3`, `enabled`, `resumed 3`, `failed item-not-found`.
    fileprivate func splitReceived() -> (stanzas: [TestStanza], said: [String]) {
        var stanzas: [TestStanza] = []
        var said: [String] = []
        for element in received() {
            guard element.element.root.isIn(.streamManagement) else {
                stanzas.append(element)
                continue
            }
            let condition = element.element.children.first { _ in true }?.localName
            said.append([element.element.localName, element.element.attribute("h"), condition].compactMap(\.self).joined(separator: " "))
        }
        return (stanzas, said)
    }

    fileprivate func messages() -> [String] { splitReceived().stanzas.filter { $0.element.localName == "message" }.map { $0.id ?? "" } }
}

@Suite("XEP-0198 Stream Management: acknowledgements mean that it is on disk (P1, P7)")
struct AcknowledgementTests {
    private func message(_ id: String, to: String = "juliet@capulet.example") -> String {
        "<message to='\(to)' type='chat' id='\(id)'><body>b</body></message>"
    }

    @Test("stanzas are counted from enable on, in both directions (§4)")
    func counts() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        for client in [juliet, romeo] { client.manage(.enable(resumes: false, secondsMax: nil)) }
        #expect(juliet.splitReceived().said == ["enabled"])
        romeo.forget()
        for id in ["m1", "m2"] { romeo.send(message(id)) }
        romeo.manage(.request)
        #expect(romeo.splitReceived().said == ["a 2"])
        #expect(juliet.splitReceived().said == ["r"])
        juliet.manage(.acknowledge(1))
        // It was asked after the first message, and is asked again for the second.
        #expect(juliet.splitReceived().said == ["r"])
        juliet.manage(.acknowledge(2))
        #expect(juliet.splitReceived().said == [])
        withExtendedLifetime(server) {}
    }

    @Test("an acknowledgement waits for the disk, and for nothing else")
    func disk() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        let romeo = server.online("romeo/orchard")
        server.store.commit()
        romeo.manage(.enable(resumes: false, secondsMax: nil))
        romeo.forget()
        romeo.send(message("m1"))
        romeo.send("<presence><status>x</status></presence>")
        romeo.manage(.request)
        // Its own presence asks for an acknowledgement.
        #expect(romeo.splitReceived().said == ["r"])
        server.store.commit()
        server.run()
        #expect(romeo.splitReceived().said == ["a 2"])
        romeo.manage(.request)
        #expect(romeo.splitReceived().said == ["a 2"])
        withExtendedLifetime(server) {}
    }

    @Test("what the disk refuses comes back as an error, and is handled by that")
    func diskRefuses() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        let romeo = server.online("romeo/orchard")
        server.store.commit()
        romeo.manage(.enable(resumes: false, secondsMax: nil))
        romeo.forget()
        server.store.failSubmits(with: .full, next: 1)
        romeo.send(message("m1"))
        romeo.manage(.request)
        server.store.commit()
        server.run()
        let (stanzas, said) = romeo.splitReceived()
        #expect(stanzas.map(\.error) == ["wait/resource-constraint"])
        #expect(said.contains("a 1"))
        withExtendedLifetime(server) {}
    }

    @Test(
        "what the disk refuses comes back before it counts as handled (P19)",
        arguments: ["asked before the disk answers", "asked before its answer is known", "held by another loop"])
    func refusedFirst(how: String) {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo", "benvolio"] { server.createAccount(name) }
        let romeo = server.online("romeo/orchard")
        let benvolio = server.online("benvolio/garden", on: server.addLoop())
        server.store.commit()
        server.run()
        romeo.manage(.enable(resumes: true, secondsMax: nil))
        if how == "held by another loop" {
            // Juliet's account is read for Benvolio, on his loop, and not before this is settled.
            server.store.submit([.idCeiling(1)])
            benvolio.send(message("m0"))
        }
        romeo.forget()
        romeo.send(message("m1"))
        if how == "held by another loop" {
            server.store.commit()
            server.run()
        }
        if how != "asked before its answer is known" { romeo.manage(.request) }
        server.store.failSubmits(with: .full)
        server.store.commit()
        if how == "asked before its answer is known" { romeo.manage(.request) }
        server.run()
        romeo.manage(.request)
        let came = romeo.received().map { [$0.element.localName, $0.element.attribute("h")].compactMap(\.self).joined(separator: " ") }
        #expect(came.filter { $0 == "message" || $0 == "a 1" }.first == "message", "\(came)")
        #expect(came.contains("a 1"))
        withExtendedLifetime(server) {}
    }

    @Test("whoever acknowledges what was never sent has lost count: the stream ends (§6)", arguments: [1, 2])
    func tooHigh(handled: UInt32) {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        server.online("romeo/orchard").send(message("m1"))
        juliet.manage(.acknowledge(handled))
        #expect(juliet.closing == (handled == 1 ? nil : .handledCountTooHigh(handled: 2, sent: 1)))
        withExtendedLifetime(server) {}
    }

    @Test("what the connection says itself, such as a ping, and what it answers itself, is counted too")
    func connection() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let ping = StanzaBuilder.iq(.get, from: nil, to: nil, id: "p") { $0.element("ping", "urn:xmpp:ping") }
        juliet.session?.say(ping)
        juliet.session?.noteAnswered(StanzaBuilder.iq(.result, from: nil, to: nil, id: "s"))
        juliet.manage(.request)
        #expect(juliet.splitReceived().said.contains("a 1"))
        juliet.manage(.acknowledge(2))
        #expect(juliet.closing == nil)
        withExtendedLifetime(server) {}
    }

    @Test("a second enable, and anything before the first, is unexpected (§3)")
    func unexpected() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.manage(.request)
        juliet.manage(.acknowledge(0))
        juliet.manage(.enable(resumes: false, secondsMax: nil))
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        juliet.manage(.resume(previous: "x", handled: 0))
        let unexpected = "failed unexpected-request"
        #expect(juliet.splitReceived().said == [unexpected, unexpected, "enabled", unexpected, unexpected])
        withExtendedLifetime(server) {}
    }

    @Test("stored messages are delivered when they are acknowledged, not when the client says something (P2)", arguments: [false, true])
    func stored(acknowledges: Bool) {
        let server = TestServer()
        server.createAccount("juliet")
        server.online("romeo/orchard").send(message("m1"))
        let juliet = server.client("juliet/balcony")
        juliet.manage(.enable(resumes: false, secondsMax: nil))
        juliet.send("<presence/>")
        juliet.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(juliet.messages() == ["m1"])
        // The client's own presence, the message, the answer.
        if acknowledges { juliet.manage(.acknowledge(2)) }
        juliet.disconnect()
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        #expect(again.messages() == (acknowledges ? [] : ["m1"]))
        withExtendedLifetime(server) {}
    }

    @Test("a client that does not acknowledge is bounded by number and by bytes, and what it has not got is kept", arguments: [3, 4])
    func bounds(count: Int) {
        for byBytes in [false, true] {
            var settings = RouterSettings()
            if byBytes { settings.unacknowledgedBytesMax = 3 * 300 } else { settings.unacknowledgedStanzasMax = 3 }
            let server = TestServer(settings: settings)
            let juliet = server.online("juliet/balcony")
            juliet.manage(.enable(resumes: true, secondsMax: nil))
            let romeo = server.online("romeo/orchard")
            let body = String(repeating: "b", count: 50)
            for id in 1...count {
                romeo.send("<message to='juliet@capulet.example' type='chat' id='m\(id)'><body>\(body)</body></message>")
            }
            #expect(juliet.closing?.condition == (count > 3 ? .resourceConstraint : nil))
            // Makes room for the presence of the other session.
            if count == 3 { juliet.manage(.acknowledge(3)) }
            let again = server.client("juliet/chamber")
            again.send("<presence/>")
            #expect(again.messages() == (count > 3 ? (1...count).map { "m\($0)" } : []))
            withExtendedLifetime(server) {}
        }
    }
}

@Suite("XEP-0198 §5: a session outlives its connection (P3)")
struct ResumptionTests {
    private let server = TestServer()

    private func send(_ ids: ClosedRange<Int>, _ romeo: TestClient, to: String = "juliet@capulet.example") {
        for id in ids { romeo.send("<message to='\(to)' type='chat' id='m\(id)'><body>b</body></message>") }
    }
    private func names(_ ids: ClosedRange<Int>) -> [String] { ids.map { "m\($0)" } }

    private func enable(_ client: TestClient, secondsMax: UInt32? = nil) -> String {
        client.forget()
        client.manage(.enable(resumes: true, secondsMax: secondsMax))
        let enabled = client.received().first { $0.element.localName == "enabled" }
        #expect(enabled?.element.attribute("resume") == "true")
        return enabled?.element.attribute("id") ?? ""
    }

    @Test("it keeps presence and its place; what comes meanwhile follows, in order, once; on the same loop and on another", arguments: [false, true])
    func resumed(onAnotherLoop: Bool) {
        server.befriend("juliet", "romeo")
        let second = server.addLoop()
        let juliet = server.online("juliet/balcony")
        let id = enable(juliet)
        let romeo = server.online("romeo/orchard")
        send(1...3, romeo)
        juliet.send("<message to='romeo@capulet.example' id='j1'><body>b</body></message>")
        juliet.breakConnection()
        romeo.forget()
        send(4...5, romeo)
        #expect(romeo.received() == [])
        // Romeo's presence and the first message were handled.
        let again = server.resume("juliet", previous: id, handled: 2, on: onAnotherLoop ? second : nil)
        let (stanzas, said) = again.splitReceived()
        #expect(said.first == "resumed 1")
        #expect(stanzas.map { $0.id ?? "" } == names(2...5))
        send(6...6, romeo)
        #expect(again.messages() == names(6...6))
        again.send("<message to='romeo@capulet.example' id='j2'><body>b</body></message>")
        #expect(romeo.messages() == ["j2"])
        again.manage(.request)
        #expect(again.splitReceived().said.contains("a 2"))
        again.manage(.acknowledge(7))
        again.disconnect()
        #expect(romeo.received().map { $0.element.attribute("type") } == ["unavailable"])
        let later = server.client("juliet/chamber")
        later.send("<presence/>")
        #expect(later.messages() == [])
    }

    @Test("while the old connection seems to live, it ends with conflict (§5)")
    func conflict() {
        let juliet = server.online("juliet/balcony")
        let id = enable(juliet)
        let romeo = server.online("romeo/orchard")
        let again = server.resume("juliet", previous: id, handled: 0)
        #expect(juliet.closing?.condition == .conflict)
        #expect(again.splitReceived().said == ["resumed 0"])
        send(1...1, romeo)
        #expect(again.messages() == names(1...1))
        // And again, as often as the client likes.
        let third = server.resume("juliet", previous: id, handled: 1)
        #expect(third.splitReceived().said == ["resumed 0"])
        #expect(again.closing?.condition == .conflict)
    }

    @Test("an identifier is good for the account that it was given to, and for a time", arguments: ["other account", "unknown", "too late", "closed", "in time"])
    func refused(how: String) {
        let juliet = server.online("juliet/balcony")
        let id = enable(juliet, secondsMax: 60)
        if how == "closed" { juliet.disconnect() } else { juliet.breakConnection() }
        server.advance(by: .seconds(how == "too late" ? 61 : 59))
        if how == "other account" { server.createAccount("romeo") }
        let again = server.resume(how == "other account" ? "romeo" : "juliet", previous: how == "unknown" ? "x" : id, handled: 0)
        #expect(again.splitReceived().said == [how == "in time" ? "resumed 0" : "failed item-not-found"])
    }

    @Test("a session is over with what has let it in: it cannot be resumed from then on, and its contacts see it go", arguments: [59, 60])
    func proofEnds(seconds: Int64) {
        server.befriend("juliet", "romeo")
        var proof = SessionProof()
        proof.ends = server.context.wallMilliseconds + 60_000
        let juliet = server.client("juliet/balcony", proof)
        juliet.send("<presence/>")
        let id = enable(juliet)
        let romeo = server.online("romeo/orchard")
        juliet.breakConnection()
        romeo.forget()
        server.advance(by: .seconds(seconds))
        let isOver = seconds >= 60
        #expect(romeo.received().contains { $0.element.attribute("type") == "unavailable" } == isOver)
        let again = server.resume("juliet", previous: id, handled: 0)
        #expect((again.session == nil) == isOver)
        guard !isOver else { return }
        // From here on it lives by what has resumed it.
        again.breakConnection()
        server.advance(by: .seconds(2))
        #expect(server.resume("juliet", previous: id, handled: 0).session != nil)
    }

    @Test("a session that nobody resumed ends: its contacts see it go, its messages are kept with their time, requests are answered")
    func expired() {
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        _ = enable(juliet)
        let romeo = server.online("romeo/orchard")
        juliet.breakConnection()
        send(1...2, romeo)
        romeo.send("<iq type='get' id='q' to='juliet@capulet.example/balcony'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(romeo.splitReceived().stanzas.filter { $0.element.localName != "presence" } == [])
        server.advance(by: .seconds(600))
        let seen = romeo.received()
        #expect(seen.contains { $0.element.attribute("type") == "unavailable" })
        #expect(seen.filter { $0.id == "q" }.map(\.error) == ["cancel/service-unavailable"])
        send(3...3, romeo)
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        let messages = again.received().filter { $0.element.localName == "message" }
        #expect(messages.map { $0.id ?? "" } == names(1...3))
        let stamps = messages.map { String($0.child("delay")?.attribute("stamp")?.prefix(19) ?? "") }
        #expect(stamps == ["2020-09-13T12:26:40", "2020-09-13T12:26:40", "2020-09-13T12:36:40"])
    }

    @Test("what was on its way when a session came to its end is not lost, whatever ended it", arguments: ["overflow", "password", "disabled", "closed"])
    func onItsWay(how: String) {
        var settings = RouterSettings()
        settings.unacknowledgedStanzasMax = how == "overflow" ? 3 : 100
        let server = TestServer(settings: settings)
        let second = server.addLoop()
        let juliet = server.online("juliet/balcony")
        let account = server.address("juliet")
        _ = enable(juliet)
        let romeo = server.online("romeo/orchard", on: second)
        juliet.breakConnection()
        // In one batch, behind the end if there is one.
        func flood(_ ids: ClosedRange<Int>) {
            for id in ids { romeo.sendOnly("<message to='juliet@capulet.example' type='chat' id='m\(id)'><body>b</body></message>") }
        }
        func change(_ change: AccountChange) {
            server.router.changeAccount(account, change, ending: StreamError(.notAuthorized), server.context) { _ in }
        }
        flood(1...4)
        switch how {
        case "password": change(.setCredentials(account, []))
        case "disabled": change(.setEnabled(account, false))
        case "closed": server.router.endSessions(of: account, StreamError(.policyViolation))
        default: break
        }
        flood(5...8)
        for context in [second, server.context] { context.flush() }
        server.run()
        if how == "disabled" { change(.setEnabled(account, true)) }
        server.context.flush()
        server.run()
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        #expect(again.messages() == names(1...8))
        #expect(romeo.receivedBesidesPresence() == [])
        withExtendedLifetime(server) {}
    }

    @Test("a client that comes back without resuming is not kept out by its own lost sessions")
    func limit() {
        var limits = HostLimits()
        limits.sessionsMax = 2
        let server = TestServer(limits: limits)
        let desk = server.online("juliet/desk")
        var phone = server.online("juliet/phone1")
        _ = enable(phone)
        send(1...1, server.online("romeo/orchard"), to: "juliet@capulet.example/phone1")
        phone.breakConnection()
        phone = server.client("juliet/phone2")
        #expect(phone.session != nil && !desk.isClosed)
        #expect(server.client("juliet/phone3").refusal?.condition == .resourceConstraint)
        withExtendedLifetime(server) {}
    }

    @Test("of its lost sessions the one goes that has been without a connection for longest, also over a restart", arguments: [false, true])
    func longestLost(overRestart: Bool) {
        var limits = HostLimits()
        limits.sessionsMax = 3
        let server = TestServer(limits: limits)
        let clients = ["first", "second", "third"].map { server.online("juliet/\($0)") }
        let ids = clients.map { enable($0) }
        for index in [1, 2, 0] {
            clients[index].breakConnection()
            server.advance(by: .seconds(10))
        }
        let next = overRestart ? server.restarted() : server
        #expect(next.client("juliet/fourth").session != nil)
        #expect(next.resume("juliet", previous: ids[1], handled: 0).session == nil)
        let third = next.resume("juliet", previous: ids[2], handled: 0)
        #expect(third.session != nil)
        // One that has a connection again counts anew.
        third.breakConnection()
        #expect(next.client("juliet/fifth").session != nil)
        #expect(next.resume("juliet", previous: ids[2], handled: 0).session != nil)
        withExtendedLifetime((server, next)) {}
    }

    @Test("what an account says to itself waits like anything else")
    func toOneself() {
        let juliet = server.online("juliet/balcony")
        _ = enable(juliet)
        let phone = server.online("juliet/phone")
        juliet.breakConnection()
        phone.send("<message to='juliet@capulet.example/balcony' type='chat' id='m1'><body>b</body></message>")
        phone.disconnect()
        server.advance(by: .seconds(600))
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        #expect(again.messages() == ["m1"])
    }

    @Test("what another session has copies of is not delivered twice")
    func carbons() {
        let juliet = server.online("juliet/balcony", priority: 1)
        let chamber = server.online("juliet/chamber")
        chamber.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        chamber.forget()
        _ = enable(juliet)
        let romeo = server.online("romeo/orchard")
        juliet.breakConnection()
        send(1...1, romeo)
        #expect(chamber.received().count == 1)
        server.advance(by: .seconds(600))
        #expect(chamber.received().filter { $0.element.localName == "message" } == [])
        #expect(romeo.receivedBesidesPresence() == [])
    }

    private static let noStore = "<no-store xmlns='urn:xmpp:hints'/>"

    @Test("what nobody keeps is not given again to a session that had it as well")
    func shared() {
        let juliet = server.online("juliet/balcony")
        let chamber = server.online("juliet/chamber")
        _ = enable(juliet)
        let romeo = server.online("romeo/orchard")
        juliet.breakConnection()
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>b</body>\(Self.noStore)</message>")
        #expect(chamber.messages() == ["m1"])
        server.advance(by: .seconds(600))
        #expect(chamber.messages() == [])
        #expect(romeo.receivedBesidesPresence() == [])
    }

    @Test("what nobody keeps and nobody else had goes to whoever is there, also where they have copies of other messages")
    func alone() {
        let juliet = server.online("juliet/balcony")
        let chamber = server.online("juliet/chamber")
        chamber.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        chamber.forget()
        _ = enable(juliet)
        let romeo = server.online("romeo/orchard")
        juliet.breakConnection()
        romeo.send(
            "<message to='juliet@capulet.example/balcony' type='chat' id='m1'><body>b</body><no-copy xmlns='urn:xmpp:hints'/>\(Self.noStore)</message>")
        #expect(chamber.messages() == [])
        server.advance(by: .seconds(600))
        #expect(chamber.messages() == ["m1"])
    }

    @Test("stanzas that are not finished are waited for, and counted")
    func unfinished() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        server.store.commit()
        let juliet = server.client("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = juliet.received().first?.element.attribute("id") ?? ""
        juliet.send("<message to='romeo@capulet.example' id='m1'><body>b</body></message>")
        juliet.breakConnection()
        let again = server.resume("juliet", previous: id, handled: 0, on: server.addLoop())
        #expect(again.received() == [])
        server.store.commit()
        server.run()
        #expect(again.splitReceived().said == ["resumed 1"])
        withExtendedLifetime(server) {}
    }

    @Test("and if they never are, the client sends them again")
    func neverFinished() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        server.store.commit()
        let juliet = server.client("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = juliet.received().first?.element.attribute("id") ?? ""
        juliet.send("<message to='romeo@capulet.example' id='m1'><body>b</body></message>")
        juliet.breakConnection()
        let again = server.resume("juliet", previous: id, handled: 0)
        server.advance(by: .seconds(10))
        #expect(again.splitReceived().said == ["resumed 0"])
        again.send("<presence/>")
        server.store.commit()
        server.run()
        again.manage(.request)
        #expect(again.splitReceived().said.contains("a 1"))
        withExtendedLifetime(server) {}
    }

    @Test("a replay of stored messages goes on with the resumed session", arguments: [false, true])
    func replay(onAnotherLoop: Bool) {
        var settings = RouterSettings()
        settings.replayPage = 3
        let server = TestServer(settings: settings, commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        let second = server.addLoop()
        let romeo = server.online("romeo/orchard")
        send(1...8, romeo)
        server.store.commit()
        let juliet = server.client("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = juliet.received().first?.element.attribute("id") ?? ""
        // No page is read before this is settled.
        server.store.submit([.idCeiling(1)])
        juliet.send("<presence/>")
        juliet.breakConnection()
        send(9...9, romeo)
        let again = server.resume("juliet", previous: id, handled: 0, on: onAnotherLoop ? second : nil)
        server.store.commit()
        server.run()
        #expect(again.messages() == names(1...9))
        again.manage(.acknowledge(10))
        server.store.commit()
        server.run()
        again.disconnect()
        server.store.commit()
        let later = server.client("juliet/chamber")
        later.send("<presence/>")
        server.store.commit()
        server.run()
        #expect(later.messages() == [])
        withExtendedLifetime(server) {}
    }

    @Test("whatever breaks when, nothing is lost, doubled or out of order: random walk on two loops", arguments: 1...30)
    func randomWalk(seed: UInt64) {
        let server = TestServer(seed: seed)
        let random = SeededRandom(seed: seed)
        func roll(_ sides: Int) -> Int { Int(random.bytes(1)[0]) % sides }
        let second = server.addLoop()
        let romeo = server.online("romeo/orchard", on: second)
        var juliet = server.online("juliet/balcony")
        let id = enable(juliet)
        var (sent, got, handled) = (0, [String](), UInt32(0))
        func read() {
            // A client that keeps count drops nothing: what it has read, it has handled.
            for stanza in juliet.splitReceived().stanzas {
                handled += 1
                if stanza.element.localName == "message" { got.append(stanza.id ?? "") }
            }
        }
        for _ in 0..<100 {
            switch roll(6) {
            case 0, 1, 2:
                sent += 1
                send(sent...sent, romeo)
            case 3:
                read()
                juliet.manage(.acknowledge(handled))
            case 4:
                read()
                juliet.breakConnection()
                if roll(2) == 0 {
                    sent += 1
                    send(sent...sent, romeo)
                }
                juliet = server.resume("juliet", previous: id, handled: handled, on: roll(2) == 0 ? second : nil)
            default:
                // The old connection still lives.
                read()
                juliet = server.resume("juliet", previous: id, handled: handled, on: roll(2) == 0 ? second : nil)
            }
        }
        read()
        #expect(got == (sent == 0 ? [] : names(1...sent)))
        #expect(server.unfinishedStanzas == 0)
        withExtendedLifetime(server) {}
    }
}
