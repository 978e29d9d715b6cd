import MartletCore
import MartletDirectory
import Testing

@Suite("The UUID of an entry as text")
struct EntryUUIDTextTests {
    @Test("is read with hyphens wherever servers put them (RFC 4530 §2.1)")
    func hyphens() throws {
        let uuid = try #require(EntryUUID(text: "597ae2f6-16a6-1027-98f4-d28b5365dc14"))
        #expect(uuid == EntryUUID(text: "597AE2F6-16A61027-98F4D28B-5365DC14"))
        #expect(uuid.description == "597ae2f6-16a6-1027-98f4-d28b5365dc14")
        #expect(EntryUUID(uuid.octets) == uuid)
    }

    @Test("has 32 digits", arguments: ["", "597ae2f6-16a6-1027-98f4-d28b5365dc1", "597ae2f6-16a6-1027-98f4-d28b5365dc14a", "597ae2f6-16a6-1027-98f4-d28b5365dcxy"])
    func refused(text: String) { #expect(EntryUUID(text: text) == nil) }
}
