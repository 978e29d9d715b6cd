import Foundation
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import Testing

/// The presence of a few people, who see those whom they are said to see.
final class PlayedPresence: PresenceSource {
    private let presences = Mutex<[BareJID: PresenceSummary]>([:])
    private let contacts: [BareJID: Set<BareJID>]

    init(_ contacts: [BareJID: Set<BareJID>]) { self.contacts = contacts }

    func set(_ address: BareJID, _ show: PresenceSummary.Show, _ status: String? = nil) {
        var summary = PresenceSummary()
        summary.show = show
        summary.statuses = status.map { [PresenceSummary.Status($0)] } ?? []
        presences.withLock { $0[address] = summary }
    }

    func presence(of targets: [BareJID], for viewer: PresenceViewer) async -> [PresenceSummary?] {
        guard case .account(let account) = viewer else { return targets.map { _ in nil } }
        let presences = presences.withLock { $0 }
        return targets.map { $0 == account || contacts[account]?.contains($0) ?? false ? presences[$0] ?? PresenceSummary() : nil }
    }

    func visible(to viewer: PresenceViewer, online: Bool) async throws(PresenceView.Failure) -> [(address: BareJID, presence: PresenceSummary)] {
        guard case .account(let account) = viewer else { return [] }
        let all = [account] + (contacts[account] ?? [])
        let seen = await presence(of: all, for: viewer)
        return zip(all, seen).compactMap { address, presence in presence.map { (address, $0) } }.filter { $0.1.isOnline || !online }
    }
}

/// What a program of OpenLDAP's, or another one, says.
struct DirectoryTool {
    let status: Int32
    let output: String

    static func run(_ path: String, _ arguments: [String], environment: [String: String] = [:]) async throws -> DirectoryTool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let file = NSTemporaryDirectory() + "martlet-tool-\(UUID().uuidString.prefix(8))"
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: file) }
        let output = try #require(FileHandle(forWritingAtPath: file))
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        // Nobody waits on a thread that the server here may need.
        let status: Int32 = try await withCheckedThrowingContinuation { continuation in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        return DirectoryTool(status: status, output: try String(contentsOfFile: file, encoding: .utf8))
    }

    static func exists(_ path: String) -> Bool { FileManager.default.isExecutableFile(atPath: path) }

    /// Values of an attribute, in the order of the entries.
    func values(_ attribute: String) -> [String] {
        output.split(separator: "\n").filter { $0.hasPrefix(attribute + ": ") }.map { String($0.dropFirst(attribute.count + 2)) }
    }
}

/// Who has bound, and lets everybody wait who comes, or has failed.
private final class RecordedBinds: Sendable {
    private let outcomes = Mutex<[FrontEndBind]>([])
    private let wait: TimeAmount

    init(_ wait: TimeAmount = .zero) { self.wait = wait }

    var all: [FrontEndBind] { outcomes.withLock { $0 } }

    var watch: BindWatch {
        BindWatch(delay: { _ in self.wait }) { outcome, peer in
            self.outcomes.withLock { $0.append(outcome) }
            return .zero
        }
    }
}

/// A front end before OpenLDAP's server, on loopback. Alice and Bob see each other's presence, Carol nobody's.
private final class ServedDirectory {
    let slapd: Slapd
    let presence: PlayedPresence
    let frontEnd: LDAPFrontEnd
    let port: Int
    let securePort: Int
    let binds: RecordedBinds

    static let people = "ou=people,dc=example,dc=org"
    static let alice = try! BareJID(parsing: "alice@example.org")
    static let bob = try! BareJID(parsing: "bob@example.org")

    init(binds: RecordedBinds = RecordedBinds(), _ change: (inout FrontEndSettings) -> Void = { _ in }) async throws {
        self.binds = binds
        let slapd = try Slapd { $0.hasTLS = true }
        defer { withExtendedLifetime(slapd) {} }
        self.slapd = slapd
        for name in ["alice", "bob", "carol"] { try slapd.setPassword("\(name)pw", of: "uid=\(name),\(Self.people)") }
        presence = PlayedPresence([Self.alice: [Self.bob], Self.bob: [Self.alice]])
        presence.set(Self.alice, .dnd, "In a meeting until 11:30")
        presence.set(Self.bob, .available)
        var settings = FrontEndSettings()
        change(&settings)
        let names = FrontEndNames(viewer: { Self.viewer($0) }, address: { Self.address(ofEntryNamed: $0) })
        let tls = try Self.context(slapd)
        let dial = UpstreamDial([slapd.plain], startTLS: .off, tls: DirectoryTLS())
        frontEnd = LDAPFrontEnd(
            settings, .overlay(dial, names), presence, tls: { _ in tls }, binds: binds.watch, on: MultiThreadedEventLoopGroup.singleton, log: TestDirectory.log)
        let addresses = try await frontEnd.start([.init(.plain, host: "127.0.0.1", port: 0), .init(.secure, host: "127.0.0.1", port: 0)])
        (port, securePort) = (try #require(addresses[0].port), try #require(addresses[1].port))
    }

    private static func context(_ slapd: Slapd) throws -> NIOSSLContext {
        let chain = try NIOSSLCertificate.fromPEMFile(slapd.file("server.pem")).map { NIOSSLCertificateSource.certificate($0) }
        let key = try NIOSSLPrivateKey(file: slapd.file("server.key"), format: .pem)
        return try NIOSSLContext(configuration: .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key)))
    }

    private static func address(ofEntryNamed name: String) -> BareJID? {
        guard let attribute = (try? DistinguishedName(name))?.relativeName?.ordered.first, attribute.type == "uid" else { return nil }
        return try? BareJID(parsing: "\(String(decoding: attribute.value, as: UTF8.self))@example.org")
    }

    private static func viewer(_ identity: AuthorizationIdentity) -> PresenceViewer {
        guard case .name(let name) = identity else { return .anonymous }
        return address(ofEntryNamed: name).map(PresenceViewer.account) ?? .service(name)
    }

    func search(as name: String?, _ filter: String, _ attributes: String..., more: [String] = []) async throws -> DirectoryTool {
        let bind = name.map { ["-D", "uid=\($0),\(Self.people)", "-w", "\($0)pw"] } ?? []
        let arguments = ["-x", "-LLL", "-o", "ldif-wrap=no", "-H", "ldap://127.0.0.1:\(port)", "-b", "dc=example,dc=org"] + bind + more
        return try await DirectoryTool.run("/usr/bin/ldapsearch", arguments + [filter] + attributes)
    }
}

@Suite("Directory clients before OpenLDAP's server", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(3)))
struct LDAPFrontEndTests {
    @Test("whoever asks for a person gets his presence")
    func status() async throws {
        let served = try await ServedDirectory()
        let found = try await served.search(as: "bob", "(mail=alice@example.org)", "xmppStatus", "cn")
        #expect(found.status == 0, "\(found.output)")
        #expect(found.values("cn") == ["Alice Adams"])
        #expect(found.values("xmppStatus") == ["In a meeting until 11:30"])
        #expect(found.values("xmppAddress") == [])
        #expect(found.values("xmppShow") == [])
    }

    @Test("all attributes come with all of presence")
    func everything() async throws {
        let served = try await ServedDirectory()
        let found = try await served.search(as: "bob", "(uid=alice)")
        #expect(found.values("xmppShow") == ["dnd"])
        #expect(found.values("xmppPresence") == ["online"])
        #expect(found.values("xmppPresenceText") == ["In a meeting until 11:30"])
        #expect(found.values("objectClass").contains("xmppPresentity"))
        #expect(found.values("telephoneNumber") == ["+44 20 7946 0001"])
    }

    @Test("people are found by their presence")
    func filters() async throws {
        let served = try await ServedDirectory()
        let available = try await served.search(as: "alice", "(&(objectClass=xmppUser)(xmppShow=available))", "cn", "xmppShow")
        #expect(available.values("cn") == ["Bob Brown"])
        #expect(available.values("xmppShow") == ["available"])
        let others = try await served.search(as: "alice", "(&(objectClass=xmppUser)(!(xmppPresence=online)))", "uid")
        #expect(others.values("uid") == ["carol"])
        let meeting = try await served.search(as: "bob", "(xmppStatus=*meeting*)", "uid")
        #expect(meeting.values("uid") == ["alice"])
    }

    @Test("a stranger sees nothing of presence, and finds nobody by it")
    func stranger() async throws {
        let served = try await ServedDirectory()
        let seen = try await served.search(as: "carol", "(uid=alice)")
        #expect(seen.values("cn") == ["Alice Adams"])
        for attribute in ["xmppShow", "xmppPresence", "xmppStatus", "xmppPresenceText"] { #expect(seen.values(attribute) == []) }
        let found = try await served.search(as: "carol", "(xmppShow=dnd)", "uid")
        #expect(found.status == 0)
        #expect(found.values("uid") == [])
        let absent = try await served.search(as: "carol", "(!(xmppShow=dnd))", "uid")
        #expect(absent.values("uid").contains("alice"))
        let anonymous = try await served.search(as: nil, "(xmppShow=dnd)", "uid")
        #expect(anonymous.values("uid") == [])
    }

    @Test("results come page by page (RFC 2696)")
    func paging() async throws {
        let served = try await ServedDirectory()
        let found = try await served.search(as: "alice", "(objectClass=xmppUser)", "uid", "xmppShow", more: ["-E", "pr=2/noprompt"])
        #expect(found.status == 0, "\(found.output)")
        #expect(found.values("uid") == ["alice", "bob", "carol"])
        #expect(found.values("xmppShow") == ["dnd", "available"])
    }

    @Test("SCRAM passes: the directory says who that was")
    func scram() async throws {
        let served = try await ServedDirectory()
        let password = try #require(PreparedPassword("bobpw"))
        let keys = try ScramKeys.derive(password: password, salt: Array(1...16), iterations: 4_096, hash: .sha256)
        try served.slapd.modify("dn: uid=bob,\(ServedDirectory.people)\nchangetype: modify\nadd: authPassword\nauthPassword: \(keys.text)\n")
        let arguments = [
            "-Q", "-LLL", "-Y", "SCRAM-SHA-256", "-U", "bob", "-w", "bobpw", "-H", "ldap://127.0.0.1:\(served.port)", "-b", "dc=example,dc=org", "(uid=alice)",
            "xmppStatus",
        ]
        let found = try await DirectoryTool.run("/usr/bin/ldapsearch", arguments)
        #expect(found.values("xmppStatus") == ["In a meeting until 11:30"], "\(found.output)")
    }

    @Test("StartTLS and ldaps end here", arguments: [false, true])
    func tls(_ isSecure: Bool) async throws {
        let served = try await ServedDirectory()
        let place = isSecure ? ["-H", "ldaps://127.0.0.1:\(served.securePort)"] : ["-ZZ", "-H", "ldap://127.0.0.1:\(served.port)"]
        let found = try await DirectoryTool.run(
            "/usr/bin/ldapsearch",
            ["-x", "-LLL"] + place + ["-D", "uid=bob,\(ServedDirectory.people)", "-w", "bobpw", "-b", "dc=example,dc=org", "(uid=alice)", "xmppShow"],
            environment: ["LDAPTLS_CACERT": served.slapd.file("ca.pem")])
        #expect(found.values("xmppShow") == ["dnd"], "\(found.output)")
    }

    @Test("presence is compared, and not written")
    func comparing() async throws {
        let served = try await ServedDirectory()
        let bind = ["-x", "-H", "ldap://127.0.0.1:\(served.port)", "-D", "uid=bob,\(ServedDirectory.people)", "-w", "bobpw"]
        let alice = "uid=alice,\(ServedDirectory.people)"
        // As the result's code: compareTrue, compareFalse.
        #expect(try await DirectoryTool.run("/usr/bin/ldapcompare", bind + [alice, "xmppShow:dnd"]).status == 6)
        #expect(try await DirectoryTool.run("/usr/bin/ldapcompare", bind + [alice, "xmppShow:away"]).status == 5)
        #expect(try await DirectoryTool.run("/usr/bin/ldapcompare", bind + [alice, "sn:Adams"]).status == 6)
        let file = served.slapd.file("change.ldif")
        try "dn: \(alice)\nchangetype: modify\nreplace: xmppShow\nxmppShow: chat\n".write(toFile: file, atomically: true, encoding: .utf8)
        #expect(try await DirectoryTool.run("/usr/bin/ldapmodify", bind + ["-f", file]).status == 53)
    }

    @Test("a wrong password is the directory's business; without the directory there is none: 49 and 52")
    func refusals() async throws {
        let served = try await ServedDirectory()
        let wrong = try await DirectoryTool.run(
            "/usr/bin/ldapsearch", ["-x", "-H", "ldap://127.0.0.1:\(served.port)", "-D", "uid=bob,\(ServedDirectory.people)", "-w", "wrong", "-b", ""])
        #expect(wrong.status == 49)
        served.slapd.stop()
        #expect(try await served.search(as: "bob", "(uid=alice)").status == 52)
        try served.slapd.start()
        #expect(try await served.search(as: "bob", "(uid=alice)", "xmppShow").values("xmppShow") == ["dnd"])
    }

    @Test("whoever has bound, or has not, is told to the log")
    func outcomes() async throws {
        let served = try await ServedDirectory()
        _ = try await served.search(as: "bob", "(uid=alice)")
        let name = "uid=bob,\(ServedDirectory.people)"
        _ = try await DirectoryTool.run("/usr/bin/ldapsearch", ["-x", "-H", "ldap://127.0.0.1:\(served.port)", "-D", name, "-w", "wrong", "-b", ""])
        _ = try await served.search(as: nil, "(uid=alice)")
        #expect(
            served.binds.all == [
                .bound(.account(ServedDirectory.bob), mechanism: "simple"), .refused(name: name, mechanism: "simple", .invalidCredentials),
                .bound(.anonymous, mechanism: "simple"),
            ])
    }

    @Test("whoever comes from where passwords were guessed is heard later")
    func waiting() async throws {
        let wait = TimeAmount.milliseconds(300)
        let served = try await ServedDirectory(binds: RecordedBinds(wait))
        let began = NIODeadline.now()
        #expect(try await served.search(as: "bob", "(uid=alice)", "xmppShow").values("xmppShow") == ["dnd"])
        #expect(NIODeadline.now() - began >= wait)
    }

    @Test("200 searches at a time are all answered")
    func parallel() async throws {
        let served = try await ServedDirectory()
        let search =
            "ldapsearch -x -LLL -H ldap://127.0.0.1:\(served.port) -D uid=bob,\(ServedDirectory.people) -w bobpw -b dc=example,dc=org '(uid=alice)' xmppShow"
        let found = try await DirectoryTool.run("/bin/sh", ["-c", "seq 200 | xargs -P 200 -I NUMBER \(search)"])
        #expect(found.values("xmppShow").count == 200)
    }

    @Test("what is too long, or no message, ends the connection, and no other")
    func hostile() async throws {
        let served = try await ServedDirectory()
        let password = String(repeating: "x", count: 70_000)
        let long = try await DirectoryTool.run(
            "/usr/bin/ldapsearch", ["-x", "-H", "ldap://127.0.0.1:\(served.port)", "-D", "uid=bob,\(ServedDirectory.people)", "-w", password, "-b", ""])
        #expect(long.status != 0)
        let nonsense = "exec 3<>/dev/tcp/127.0.0.1/\(served.port); printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3 | wc -c"
        #expect(try await DirectoryTool.run("/bin/bash", ["-c", nonsense]).status == 0)
        #expect(try await served.search(as: "bob", "(uid=alice)", "xmppShow").values("xmppShow") == ["dnd"])
    }

    @Test("so many clients at a time, in all and from one address", arguments: [1, 2], [true, false])
    func connections(_ count: Int, _ isInAll: Bool) async throws {
        let served = try await ServedDirectory { if isInAll { $0.connectionsMax = 1 } else { $0.connectionsPerAddressMax = 1 } }
        var held: [any Channel] = []
        for _ in 1..<count {
            held.append(try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(host: "127.0.0.1", port: served.port).get())
            while served.frontEnd.clientCount == 0 { await Task.yield() }
        }
        #expect((try await served.search(as: "bob", "(uid=alice)").status == 0) == (count == 1))
        for channel in held { try await channel.close() }
    }

    @Test("clients are told that the server stops, and nobody comes in any more")
    func stopping() async throws {
        let served = try await ServedDirectory()
        let connection = try await TestDirectory.dial().open(.plain(host: "127.0.0.1", port: served.port))
        await served.frontEnd.stop()
        while await connection.isOpen { await Task.yield() }
        #expect(try await served.search(as: "bob", "(uid=alice)").status != 0)
        while served.frontEnd.clientCount > 0 { await Task.yield() }
    }

    @Test("python3-ldap3 finds the attributes in the schema", .enabled(if: pythonPath != nil, "python3-ldap3 is not installed"))
    func python() async throws {
        let served = try await ServedDirectory()
        let script = """
            import ldap3
            server = ldap3.Server('127.0.0.1', port=\(served.port), get_info=ldap3.ALL)
            c = ldap3.Connection(server, 'uid=bob,\(ServedDirectory.people)', 'bobpw', auto_bind=True)
            c.search('dc=example,dc=org', '(uid=alice)', attributes=['xmppStatus'])
            print('schema:', 'xmppShow' in server.schema.attribute_types)
            print('status:', c.entries[0].xmppStatus)
            """
        let said = try await DirectoryTool.run(try #require(Self.pythonPath), ["-c", script])
        #expect(said.values("schema") == ["True"], "\(said.output)")
        #expect(said.values("status") == ["In a meeting until 11:30"])
    }

    private static let pythonPath = ["/usr/bin/python3"].first {
        FileManager.default.isExecutableFile(atPath: $0) && FileManager.default.fileExists(atPath: "/usr/lib/python3/dist-packages/ldap3")
    }

    @Test("Postfix finds who is there", .enabled(if: postmapPath != nil, "postmap, or its LDAP tables, are not installed"))
    func postfix() async throws {
        let served = try await ServedDirectory()
        let map = served.slapd.file("map.cf")
        let lines = [
            "server_host = ldap://127.0.0.1:\(served.port)", "version = 3", "bind = yes", "bind_dn = uid=bob,\(ServedDirectory.people)", "bind_pw = bobpw",
            "search_base = dc=example,dc=org", "query_filter = (&(mail=%s)(xmppPresence=online))", "result_attribute = mail", "",
        ]
        try lines.joined(separator: "\n").write(toFile: map, atomically: true, encoding: .utf8)
        let said = try await DirectoryTool.run(try #require(Self.postmapPath), ["-q", "alice@example.org", "ldap:\(map)"])
        #expect(said.output == "alice@example.org\n")
    }

    private static let postmapPath = ["/usr/sbin/postmap"].first {
        FileManager.default.isExecutableFile(atPath: $0) && FileManager.default.fileExists(atPath: "/usr/lib/postfix/postfix-ldap.so")
    }
}
