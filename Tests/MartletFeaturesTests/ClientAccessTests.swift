import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0494 Client Access Management")
struct ClientAccessTests {
    private let server = TestServer()
    private let phone = DeviceID(userAgent: "d4565fa7-4d72-4749-b3d3-740edbf87770")
    private let laptop = DeviceID(userAgent: "00a8d6a5-9cbc-4a58-8b7c-5a0bb35ffb8c")

    private func sighting(_ id: DeviceID, _ name: String, by proofs: DeviceProofs = []) -> DeviceSighting {
        DeviceSighting(id, software: "Client", name: name, by: proofs, at: server.context.time.wallMilliseconds)
    }

    /// A session of a device that has logged in by a token, or by the password.
    private func client(_ name: String, _ id: DeviceID, by proofs: DeviceProofs = [], on context: LoopContext? = nil) -> TestClient {
        server.client(name, device: sighting(id, String(name.drop { $0 != "/" }.dropFirst()), by: proofs), on: context)
    }

    private func giveToken(to id: DeviceID, until expires: Int64 = .max) {
        server.edit("juliet") { account in
            let token = StoredToken(mechanism: .none, seed: [UInt8](repeating: 1, count: StoredToken.seedBytes), issued: 0, expires: expires)
            return .device(.give(account, id, token))
        }
    }

    private func devices() -> [StoredDevice] { server.store.contents[server.address("juliet")]?.devices.devices ?? [] }

    private func revoke(_ id: DeviceID, _ address: String = "juliet") -> Result<DeviceRevocation, DeviceRefusal>? {
        let (router, address) = (server.router, server.address(address))
        return server.wait {
            do throws(DeviceRefusal) { return .success(try await router.revoke(id, of: address, by: "operator")) } catch { return .failure(error) }
        }
    }

    private func ask(_ payload: String, _ type: String, by client: TestClient) -> String {
        client.forget()
        client.send("<iq type='\(type)' id='1'>\(payload)</iq>")
        return client.received().map(\.description).joined()
    }

    private func list(by client: TestClient) -> String { ask("<list xmlns='urn:xmpp:cam:0'/>", "get", by: client) }

    private func shown(_ id: DeviceID, by client: TestClient) -> String? {
        list(by: client).components(after: "<client ").first { $0.contains(id.text) }
    }

    @Test("a client is shown with what it says of itself, when it was seen, and by what it comes in (§3.1)")
    func shown() throws {
        let juliet = client("juliet/laptop", laptop, by: .password)
        let other = client("juliet/phone", phone)
        giveToken(to: phone)
        server.advance(by: .seconds(60))
        other.disconnect()
        let first = try #require(shown(laptop, by: juliet))
        for part in ["connected='true'", "type='session'", "<first-seen>2020-09-13T12:26:40Z<", "<software>Client<", "<device>laptop<", "<password/>"] {
            #expect(first.contains(part), "\(part) in \(first)")
        }
        #expect(!first.contains("<fast/>"))
        let second = try #require(shown(phone, by: juliet))
        for part in ["connected='false'", "<last-seen>2020-09-13T12:26:40Z<", "<fast/>", "status='unrestricted'"] { #expect(second.contains(part), "\(part) in \(second)") }
        #expect(!second.contains("<password/>"))
    }

    @Test("a log-in and an end of a session that say nothing new are written once in an hour", arguments: [-1, 0])
    func granularity(seconds: Int) {
        let hour = Int(StoredDevice.seenGranularity / 1_000)
        client("juliet/phone", phone, by: .password).disconnect()
        let count = server.store.submitCount
        server.advance(by: .seconds(hour + seconds))
        client("juliet/phone", phone, by: .password).disconnect()
        #expect(server.store.submitCount - count == 1 + seconds)
        #expect(devices().first?.lastSeen == ManualTime.start + (seconds == 0 ? StoredDevice.seenGranularity : 0))
    }

    @Test("what others change of an account's devices is not taken for what it was (§3.2)")
    func changedByOthers() {
        let juliet = client("juliet/laptop", laptop)
        client("juliet/phone", phone, by: .password).disconnect()
        let (router, mailbox, address, survivor) = (server.router, server.context.mailbox, server.address("juliet"), juliet.address)
        _ = server.wait { try? await router.setCredentials(of: address, [], sparing: survivor, by: "test", on: mailbox) }
        #expect(devices().first { $0.id == phone }?.proofs == [])
        client("juliet/phone", phone, by: .password).disconnect()
        #expect(devices().first { $0.id == phone }?.proofs == .password)
        client("juliet/tablet", DeviceID(raw: 3)).disconnect()
        #expect(revoke(DeviceID(raw: 3)) == .success(.revoked))
        client("juliet/tablet", DeviceID(raw: 3)).disconnect()
        #expect(devices().contains { $0.id == DeviceID(raw: 3) })
    }

    @Test("what the disk has refused is written at the next log-in")
    func refused() {
        server.createAccount("juliet")
        server.store.failSubmits(with: .full, next: 1)
        client("juliet/phone", phone).disconnect()
        #expect(devices().isEmpty)
        client("juliet/phone", phone).disconnect()
        #expect(devices().map(\.id) == [phone])
    }

    @Test("who is not connected and can log in by nothing any more has no access, and is not shown")
    func withoutAccess() {
        let juliet = client("juliet/laptop", laptop, by: .password)
        client("juliet/phone", phone).disconnect()
        #expect(shown(phone, by: juliet) == nil)
        giveToken(to: phone, until: ManualTime.start + 1_000)
        #expect(shown(phone, by: juliet) != nil)
        server.advance(by: .seconds(1))
        #expect(shown(phone, by: juliet) == nil)
        #expect(devices().count == 2)
    }

    @Test("a session that can be resumed counts as connected (§3.1), and ends with the client's access like the others (§3.2)")
    func detached() throws {
        let juliet = client("juliet/laptop", laptop, by: .password)
        let other = client("juliet/phone", phone)
        other.forget()
        other.manage(.enable(resumes: true, secondsMax: nil))
        let previous = try #require(other.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        other.breakConnection()
        #expect(shown(phone, by: juliet)?.contains("connected='true'") == true)
        #expect(revoke(phone) == .success(.revoked))
        #expect(shown(phone, by: juliet) == nil)
        #expect(server.resume("juliet", previous: previous, handled: 0).session == nil)
    }

    @Test("revoking a client takes its tokens and its sessions away on every loop, and nobody else's (§3.2)")
    func revoked() {
        let loop = server.addLoop()
        let juliet = client("juliet/laptop", laptop, by: .password)
        let (near, far) = (client("juliet/phone", phone), client("juliet/phone2", phone, on: loop))
        let romeo = server.client("romeo/orchard", device: sighting(phone, "phone"))
        for id in [phone, laptop] { giveToken(to: id) }
        #expect(ask("<revoke xmlns='urn:xmpp:cam:0' id='\(phone.text)'/>", "set", by: juliet).contains("type='result'"))
        #expect(near.isClosed && far.isClosed && near.closing?.condition == .notAuthorized)
        #expect(!juliet.isClosed && !romeo.isClosed)
        #expect(devices().map(\.id) == [laptop] && devices().first?.tokens.count == 1)
    }

    @Test("of a client that knows the password tokens and sessions end, and whoever asks is told that this is not all (§3.2)")
    func passwordRemains() {
        let juliet = client("juliet/laptop", laptop, by: .password)
        let other = client("juliet/phone", phone, by: .password)
        giveToken(to: phone)
        let answer = ask("<revoke xmlns='urn:xmpp:cam:0' id='\(phone.text)'/>", "set", by: juliet)
        #expect(answer.contains("<service-unavailable") && answer.contains("<password-reset-required xmlns='urn:xmpp:cam:0'/>"))
        #expect(other.isClosed)
        #expect(devices().allSatisfy { $0.tokens.isEmpty } && devices().count == 2)
    }

    @Test("of a client that logs in with a certificate tokens and sessions end as well, and a new password would change nothing (§3.2)")
    func certificateRemains() {
        let juliet = client("juliet/laptop", laptop, by: .password)
        let other = client("juliet/phone", phone, by: .certificate)
        giveToken(to: phone)
        let answer = ask("<revoke xmlns='urn:xmpp:cam:0' id='\(phone.text)'/>", "set", by: juliet)
        #expect(answer.contains("<service-unavailable") && !answer.contains("password-reset-required"))
        #expect(other.isClosed && devices().allSatisfy { $0.tokens.isEmpty })
        #expect(shown(phone, by: juliet)?.contains("connected='false'") == true)
    }

    @Test("of a client that an authorization server lets in it is said so, also as its tokens and sessions end (§3.1, §3.2)")
    func grantRemains() {
        let juliet = client("juliet/laptop", laptop, by: .password)
        let other = client("juliet/phone", phone, by: .grant)
        giveToken(to: phone)
        let shown = shown(phone, by: juliet)
        #expect(shown?.contains("<grant/>") == true && shown?.contains("<password/>") == false)
        let answer = ask("<revoke xmlns='urn:xmpp:cam:0' id='\(phone.text)'/>", "set", by: juliet)
        #expect(answer.contains("<service-unavailable") && !answer.contains("password-reset-required"))
        #expect(other.isClosed && devices().allSatisfy { $0.tokens.isEmpty })
    }

    @Test("whoever was let in before the revocation and has no session yet gets none")
    func inBetween() {
        server.createAccount("juliet")
        let moment = server.router.credentials.now
        client("juliet/phone", phone).disconnect()
        #expect(revoke(phone) == .success(.revoked))
        #expect(server.client("juliet/phone", authenticatedAt: moment, device: sighting(phone, "phone")).session == nil)
        #expect(server.client("juliet/phone", authenticatedAt: server.router.credentials.now, device: sighting(phone, "phone")).session != nil)
    }

    @Test("a new password ends all tokens, and only who has set it has access from then on")
    func newPassword() {
        let juliet = client("juliet/laptop", laptop)
        client("juliet/phone", phone, by: .password).disconnect()
        for id in [phone, laptop] { giveToken(to: id) }
        let (router, mailbox, address, survivor) = (server.router, server.context.mailbox, server.address("juliet"), juliet.address)
        _ = server.wait { try? await router.setCredentials(of: address, [], sparing: survivor, by: "test", on: mailbox) }
        #expect(devices().allSatisfy { $0.tokens.isEmpty })
        #expect(shown(phone, by: juliet) == nil)
        #expect(shown(laptop, by: juliet)?.contains("<password/>") == true)
    }

    @Test("clients that say nothing of themselves are told apart by the resource that they ask for, and else are one")
    func unnamed() {
        let now = ManualTime.start
        #expect(DeviceSighting(resource: "balcony", at: now) == DeviceSighting(DeviceID(resource: "balcony"), name: "balcony", by: .password, at: now))
        #expect(DeviceSighting(resource: nil, at: now) == DeviceSighting(.unnamed, by: .password, at: now))
    }

    @Test("what an operator calls a device is shown instead of its own name")
    func label() {
        let juliet = client("juliet/laptop", laptop, by: .password)
        let (router, address, id) = (server.router, server.address("juliet"), laptop)
        _ = server.wait { try? await router.name(id, of: address, "spare", by: "operator") }
        #expect(shown(laptop, by: juliet)?.contains("<device>spare</device>") == true)
    }

    @Test("devices and accounts that are not there, and a store that does not answer, say so")
    func refusals() {
        _ = client("juliet/laptop", laptop, by: .password)
        #expect(revoke(phone) == .failure(.noDevice))
        #expect(revoke(phone, "nobody") == .failure(.noAccount(server.address("nobody"))))
        server.store.failReads(with: .unavailable("test"))
        #expect(revoke(laptop) == .failure(.store(.unavailable("test"))))
        server.store.failReads(with: nil)
    }

    @Test("a server that stops writes down on which device a session is, and one that is started knows it")
    func saved() throws {
        let address = try FullJID(parsing: "juliet@capulet.example/phone")
        var session = SavedSession(address: address, account: AccountID(raw: 1), resumptionID: "r", seconds: 60, time: 0, handled: 0, acknowledged: 0)
        for device in [nil, phone, DeviceID(raw: 0)] {
            session.device = device
            var buffer = ByteBuffer()
            session.write(to: &buffer)
            let read = SavedSession(from: &buffer)
            #expect(read?.device == device && read?.resumptionID == "r" && buffer.readableBytes == 0)
        }
    }

    @Test("a server that stops writes down by what a session was let in, and one that is started knows it")
    func savedProof() throws {
        let address = try FullJID(parsing: "juliet@capulet.example/phone")
        var session = SavedSession(address: address, account: AccountID(raw: 1), resumptionID: "r", seconds: 60, time: 0, handled: 0, acknowledged: 0)
        var (certified, granted) = (SessionProof(), SessionProof())
        certified.isCertified = true
        certified.ends = 7
        granted.hasGrant = true
        for proof in [SessionProof(), SessionProof(CertificateFingerprint(of: [1])), certified, granted] {
            session.proof = proof
            var buffer = ByteBuffer()
            session.write(to: &buffer)
            let read = SavedSession(from: &buffer)
            #expect(read?.proof == proof && buffer.readableBytes == 0)
        }
        var ending = SessionProof()
        for (second, end) in [(1, 1_000), (Int.max / 1_000, (Int64.max / 1_000) * 1_000), (Int.max, nil)] as [(Int, Int64?)] {
            ending.end(at: second)
            #expect(ending.ends == end)
        }
    }
}

extension String {
    fileprivate func components(after separator: String) -> [String] {
        var (parts, rest) = ([String](), Substring(self))
        while let range = rest.firstRange(of: separator) {
            rest = rest[range.upperBound...]
            let end = rest.firstRange(of: separator)?.lowerBound ?? rest.endIndex
            parts.append(String(rest[..<end]))
            rest = rest[end...]
        }
        return parts
    }
}
