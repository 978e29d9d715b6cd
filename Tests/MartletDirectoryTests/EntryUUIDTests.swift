import MartletDirectory
import Testing

@Suite("The UUID of an entry")
struct EntryUUIDTests {
    @Test("has sixteen octets", arguments: [0, 15, 17])
    func length(_ count: Int) { #expect(EntryUUID(Array(repeating: 1, count: count)) == nil) }

    @Test("is the same for the same octets only")
    func equality() throws {
        let octets = Array(UInt8(0)..<16)
        let other = Array(UInt8(1)..<17)
        #expect(try #require(EntryUUID(octets)) == EntryUUID(octets))
        #expect(try #require(EntryUUID(octets)) != EntryUUID(other))
    }
}
