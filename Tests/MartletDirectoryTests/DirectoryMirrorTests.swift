import MartletCore
import MartletDirectory
import MartletLDAP
import Testing

/// Without regard to case and to spaces around separators: enough for the names of these tests.
let plainNames: NamePreparation = { name in
    name.contains("=") ? name.lowercased().split(separator: ",").map { $0.drop { $0 == " " } }.joined(separator: ",").utf8.map { $0 } : nil
}

@Suite("The mirror of a directory")
struct DirectoryMirrorTests {
    private let alice = EntryUUID.number(1)
    private let bob = EntryUUID.number(2)
    private let attributes = MirroredAttributes(["cn": .whole, "mail": .whole, "userPassword": .secret, "jpegPhoto": .photo, "userCertificate": .digest])

    private func mirror() -> DirectoryMirror { DirectoryMirror(attributes, prepare: plainNames) }
    private func entry(_ name: String, _ values: [LDAPAttribute] = []) -> LDAPEntry { LDAPEntry("uid=\(name),dc=example", values) }
    private func reader(_ entry: LDAPEntry) throws -> EntryReader { EntryReader(try #require(MirroredEntry(entry, attributes)), attributes) }

    @Test("an entry is mirrored with the attributes that are wanted, whatever their case")
    func wanted() throws {
        let reader = try reader(entry("alice", [LDAPAttribute("CN", "Alice"), LDAPAttribute("sn", "Adams"), LDAPAttribute("mail", strings: ["a@x", "b@x"])]))
        #expect(reader.entry.name == "uid=alice,dc=example")
        #expect(reader.text("cn") == "Alice" && reader.texts("mail") == ["a@x", "b@x"])
        #expect(reader.texts("sn").isEmpty && reader.values("userpassword").isEmpty)
    }

    @Test("how values are transferred makes no other attribute, a language does (RFC 4522, RFC 3866)")
    func options() throws {
        let reader = try reader(
            entry("alice", [LDAPAttribute("cn;lang-de", "Alizia"), LDAPAttribute("mail;range=0-1", "a@x"), LDAPAttribute("userCertificate;binary", "DER")]))
        #expect(reader.text("cn") == nil && reader.text("mail") == "a@x")
        #expect(reader.values("usercertificate").map(\.count) == [32])
    }

    @Test("a picture is remembered by its length and digest, if it is JPEG and not too long")
    func photo() throws {
        let longest: [UInt8] = [0xFF, 0xD8, 0xFF] + Array(repeating: 0, count: MirrorLimits.photoBytesMax - 3)
        let kept = try reader(entry("alice", [LDAPAttribute("jpegPhoto", [longest])]))
        #expect(kept.photo("jpegphoto") == PhotoDigest(longest) && kept.photo("jpegphoto")?.byteCount == MirrorLimits.photoBytesMax)
        #expect(kept.photo("jpegphoto")?.sha1.count == 20)
        for refused in [longest + [0], [0x89, 0x50, 0x4E, 0x47], []] {
            #expect(try reader(entry("alice", [LDAPAttribute("jpegPhoto", [refused])])).photo("jpegphoto") == nil)
        }
    }

    @Test("values of any length are read as they were written", arguments: [0, 1, 127, 128, 16_383, 16_384, 100_000])
    func lengths(count: Int) throws {
        let value = [UInt8](repeating: 7, count: count)
        let mirrored = try reader(entry("alice", [LDAPAttribute("cn", [value, value]), LDAPAttribute("mail", "a@x")]))
        #expect(mirrored.values("cn").map(Array.init) == [value, value])
        #expect(mirrored.text("mail") == "a@x")
    }

    @Test("an entry that is too long is not there")
    func tooLong() {
        var mirror = mirror()
        let half = [UInt8](repeating: 7, count: MirrorLimits.entryBytesMax / 2)
        let fits = mirror.apply(.entry(alice, entry("alice", [LDAPAttribute("cn", [half])])))
        let over = mirror.apply(.entry(alice, entry("alice", [LDAPAttribute("cn", [half, half])])))
        #expect(fits?.after != nil && over?.after == nil && mirror[alice] == nil && mirror.tooLong == [alice])
        _ = mirror.apply(.entry(alice, entry("alice")))
        #expect(mirror[alice] != nil && mirror.tooLong.isEmpty)
    }

    @Test("what is as it was has not changed")
    func unchanged() {
        var mirror = mirror()
        let first = mirror.apply(.entry(alice, entry("alice", [LDAPAttribute("cn", "A"), LDAPAttribute("mail", "a@x")])))
        let second = mirror.apply(.entry(alice, entry("alice", [LDAPAttribute("mail", "a@x"), LDAPAttribute("sn", "B"), LDAPAttribute("cn", "A")])))
        #expect(first != nil && second == nil)
    }

    @Test("an entry is found by its name however that is spelled, also after it was renamed")
    func names() {
        var mirror = mirror()
        _ = mirror.apply(.entry(alice, entry("alice")))
        #expect(mirror.uuid(named: "UID=Alice, DC=example") == alice)
        _ = mirror.apply(.entry(alice, entry("alicia")))
        #expect(mirror.uuid(named: "uid=alice,dc=example") == nil && mirror.uuid(named: "uid=alicia,dc=example") == alice)
        #expect(mirror.uuid(named: "no name") == nil)
    }

    @Test("two entries may have one name for a moment: of a renamed one and of a new one it is told in any order")
    func sameName() {
        var mirror = mirror()
        _ = mirror.apply(.entry(alice, entry("alice")))
        _ = mirror.apply(.entry(bob, entry("alice")))
        _ = mirror.apply(.entry(alice, entry("alicia")))
        #expect(mirror.uuid(named: "uid=alice,dc=example") == bob && mirror.uuid(named: "uid=alicia,dc=example") == alice)
        _ = mirror.apply(.goneNamed("uid=alice,dc=example"))
        #expect(mirror[bob] == nil && mirror[alice] != nil)
    }

    @Test("a refresh removes what it named, and what it did not mention")
    func removed() {
        var mirror = mirror()
        for number in 1...4 { _ = mirror.apply(.entry(.number(number), entry("person-\(number)"))) }
        #expect(Set(mirror.removed(by: RefreshEnd(gone: [.number(1), .number(9)]))) == [.number(1)])
        #expect(Set(mirror.removed(by: RefreshEnd(gone: [.number(2)], there: [.number(1), .number(2)]))) == [.number(2), .number(3), .number(4)])
        #expect(mirror.removed(by: RefreshEnd()).isEmpty)
    }

    /// The same histories as those of `SyncConsumerTests`, through the mirror.
    @Test("after any interleaving of changes and cuts the mirror is what the directory is, and its index knows every name", arguments: 0..<20)
    func histories(seed: Int) {
        var random = SeededNumbers(seed: UInt64(seed))
        var directory = ScriptedDirectory()
        directory.logLength = seed % 4 * 5
        directory.refusesOldCookies = seed % 2 == 0
        var (consumer, mirror) = (SyncConsumer(), mirror())
        for round in 0...80 {
            for _ in 0..<Int.random(in: 0..<5, using: &random) { change(&directory, &random) }
            var rest = round < 80 && Bool.random(using: &random) ? Int.random(in: 0..<10, using: &random) : Int.max
            var effects = consumer.connected()
            while case .search(.contentSync(let cookie))? = effects.last {
                effects = []
                for message in directory.refresh(from: cookie) where rest > 0 {
                    rest -= 1
                    effects = consumer.receive(message)
                    apply(effects, &mirror)
                }
            }
            consumer.disconnected()
        }
        #expect(mirror.entries.keys.sorted() == directory.entries.keys.sorted())
        for (uuid, entry) in directory.entries {
            #expect(mirror[uuid]?.entry(attributes) == entry)
            #expect(mirror.uuid(named: entry.name.uppercased()).flatMap { mirror[$0]?.name } == entry.name)
        }
    }

    private func change(_ directory: inout ScriptedDirectory, _ random: inout SeededNumbers) {
        let number = Int.random(in: 0..<12, using: &random)
        if Int.random(in: 0..<3, using: &random) == 0 {
            _ = directory.delete(.number(number))
        } else {
            let version = Int.random(in: 0..<100, using: &random)
            _ = directory.write(.number(number), entry("person-\(number)-\(version % 3)", [LDAPAttribute("cn", "version \(version)")]))
        }
    }

    private func apply(_ effects: [FeedEffect], _ mirror: inout DirectoryMirror) {
        for effect in effects {
            switch effect {
            case .change(let change): _ = mirror.apply(change)
            case .refreshed(let end): for uuid in mirror.removed(by: end) { _ = mirror.remove(uuid) }
            case .keepCookie, .search, .failed: break
            }
        }
    }
}

@Suite("Moments as a directory writes them (RFC 4517 §3.3.13)")
struct DirectoryTimeTests {
    private func moment(_ text: String) throws -> Int64? {
        let attributes = MirroredAttributes(["pwdEndTime": .whole])
        let entry = try #require(MirroredEntry(LDAPEntry("uid=a", [LDAPAttribute("pwdEndTime", text)]), attributes))
        return EntryReader(entry, attributes).moment("pwdendtime")
    }

    @Test(
        "are read to the second",
        arguments: [
            ("19700101000000Z", 0), ("20000229120000Z", 951_825_600_000), ("20261130161803Z", 1_796_055_483_000), ("20261130161803.25Z", 1_796_055_483_000),
            ("2026113016Z", 1_796_054_400_000), ("202611301618Z", 1_796_055_480_000), ("20261130171803+0100", 1_796_055_483_000),
            ("20261130111803-05", 1_796_055_483_000),
        ] as [(String, Int64)])
    func read(text: String, expected: Int64) throws { #expect(try moment(text) == expected) }

    @Test("are refused otherwise", arguments: ["", "2026", "20261330161803Z", "20261130161803", "20261130161803.Z", "2026113016180Z", "20261130251803Z", "now"])
    func refused(text: String) throws { #expect(try moment(text) == nil) }
}
