import MartletCore
import Testing

@Suite("The UUID of an entry")
struct EntryUUIDTests {
    @Test("has sixteen octets", arguments: [0, 15, 17])
    func length(_ count: Int) { #expect(EntryUUID(Array(repeating: UInt8(1), count: count)) == nil) }

    @Test("is the same for the same octets only")
    func equality() throws {
        let octets = Array(UInt8(0)..<16)
        let uuid = try #require(EntryUUID(octets))
        #expect(uuid.octets == octets)
        #expect(uuid.description == "00010203-0405-0607-0809-0a0b0c0d0e0f")
        for index in octets.indices {
            var other = octets
            other[index] ^= 0x80
            #expect(EntryUUID(other) != uuid)
        }
    }
}
