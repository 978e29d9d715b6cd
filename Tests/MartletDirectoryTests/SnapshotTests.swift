import Crypto
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import Testing

@Suite("A snapshot of a mirror")
struct SnapshotTests {
    private static let attributes = MirroredAttributes(["cn": .whole, "userPassword": .secret, "jpegPhoto": .photo])
    private let fileNumber = [UInt8](repeating: 9, count: 16)

    private func snapshot(people: Int = 3, secrets: Bool = true) throws -> DirectorySnapshot {
        var snapshot = DirectorySnapshot(asked: [1, 2], cookie: [3], heard: 1_800_000_000_000, attributes: Self.attributes)
        for number in 0..<people {
            let secret = secrets ? [LDAPAttribute("userPassword", "{SSHA}secret-\(number)")] : []
            let entry = LDAPEntry("uid=\(number),dc=example", [LDAPAttribute("cn", "Person \(number)")] + secret)
            let mirrored = MirroredEntry(entry, Self.attributes)
            snapshot.entries[.number(number)] = mirrored
            snapshot.owners[try BareJID(parsing: "person-\(number)@capulet.example")] = .number(number)
        }
        return snapshot
    }

    private func written(_ snapshot: DirectorySnapshot, _ form: SnapshotForm) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try form.write(snapshot, fileNumber: fileNumber) { bytes += $0 }
        return bytes
    }

    private func read(_ bytes: [UInt8], _ form: SnapshotForm) throws(SnapshotError) -> DirectorySnapshot {
        var rest = bytes[...]
        return try form.read { count throws(SnapshotError) in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
    }

    @Test("brings back what it was made of, sealed with the secrets and open without them", arguments: [true, false])
    func roundTrip(sealed: Bool) throws {
        let form = SnapshotForm(key: sealed ? SymmetricKey(size: .bits256) : nil)
        let original = try snapshot(people: 4_000, secrets: sealed)
        let back = try read(written(original, form), form)
        #expect(back.asked == original.asked && back.cookie == original.cookie && back.heard == original.heard && back.owners == original.owners)
        #expect(back.attributes == (sealed ? Self.attributes : Self.attributes.withoutSecrets))
        #expect(back.entries.count == 4_000)
        let texts = back.entries.mapValues { EntryReader($0, back.attributes).text("cn") }
        #expect(texts == original.entries.mapValues { EntryReader($0, Self.attributes).text("cn") })
        if sealed { #expect(back.entries == original.entries) }
    }

    @Test("has no password in it unless it is sealed, and then no cookie: what has not changed would not be sent again")
    func withoutSecrets() throws {
        let form = SnapshotForm()
        let bytes = try written(snapshot(), form)
        #expect(!String(decoding: bytes, as: UTF8.self).contains("secret"))
        #expect(try read(bytes, form).cookie == nil)
        let sealed = try written(snapshot(), SnapshotForm(key: SymmetricKey(size: .bits256)))
        #expect(!String(decoding: sealed, as: UTF8.self).contains("secret") && !String(decoding: sealed, as: UTF8.self).contains("Person"))
    }

    @Test("is refused if a single octet of it is missing or another one", arguments: [true, false])
    func damaged(sealed: Bool) throws {
        let form = SnapshotForm(key: sealed ? SymmetricKey(data: [UInt8](repeating: 1, count: 32)) : nil)
        let bytes = try written(snapshot(), form)
        for place in bytes.indices {
            #expect(throws: SnapshotError.self) { try read(Array(bytes[..<place]), form) }
            // The number of an open snapshot belongs to nothing.
            if !sealed && (19..<35).contains(place) { continue }
            var changed = bytes
            changed[place] ^= 1
            #expect(throws: SnapshotError.self) { try read(changed, form) }
        }
    }

    @Test("is refused with another key, and where none or one was expected")
    func otherKey() throws {
        let (form, other) = (SnapshotForm(key: SymmetricKey(size: .bits256)), SnapshotForm(key: SymmetricKey(size: .bits256)))
        let bytes = try written(snapshot(), form)
        #expect(throws: SnapshotError.damaged) { try read(bytes, other) }
        #expect(throws: SnapshotError.damaged) { try read(bytes, SnapshotForm()) }
        #expect(throws: SnapshotError.damaged) { try read(written(snapshot(), SnapshotForm()), form) }
        #expect(throws: SnapshotError.foreign) { try read(Array("something else, and long enough".utf8), form) }
    }

    @Test("is a file that changes as a whole")
    func file() throws {
        let path = "/tmp/martlet-snapshot-\(SystemRandom().token())"
        let file = SnapshotFile(path, SnapshotForm())
        let none = try file.read()
        #expect(none == nil)
        try file.write(snapshot(), SystemRandom())
        try file.write(snapshot(people: 5), SystemRandom())
        #expect(try file.read()?.entries.count == 5)
        #expect(throws: SnapshotError.self) { try SnapshotFile("/tmp/no-such-folder/x", SnapshotForm()).write(snapshot(), SystemRandom()) }
        try SnapshotFile(path, SnapshotForm()).remove()
        let removed = try file.read()
        #expect(removed == nil)
    }
}
