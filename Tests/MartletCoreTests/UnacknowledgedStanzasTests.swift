import MartletCore
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0198 §4: stanzas are kept until they are acknowledged")
struct UnacknowledgedStanzasTests {
    private func stanza(_ bytes: Int) -> EncodedStanza { EncodedStanza(ByteBuffer(repeating: 0x20, count: bytes)) }

    private func stanzas(_ count: Int) -> UnacknowledgedStanzas {
        var stanzas = UnacknowledgedStanzas()
        for index in 1...count { stanzas.append(stanza(index), at: 0, view: index % 2 == 0 ? UInt64(index) : 0, isStored: index % 2 == 0) }
        return stanzas
    }

    @Test("an acknowledgement covers all up to its count, and may be repeated", arguments: 0...4)
    func acknowledged(count: Int) throws {
        var stanzas = stanzas(4)
        let views = try stanzas.acknowledge(UInt32(count))
        #expect(views == [2, 4].filter { $0 <= count })
        let none = try stanzas.acknowledge(UInt32(count))
        #expect(none == [])
        #expect(stanzas.all.map(\.stanza.bytes.readableBytes) == Array((1...5).dropFirst(count).dropLast()))
        #expect(stanzas.sent == 4)
        #expect(stanzas.bytes == (1...4).dropFirst(count).reduce(0, +))
        #expect(stanzas.unstoredBytes == [1, 3].filter { $0 > count }.reduce(0, +))
        #expect(stanzas.unstoredCount == [1, 3].filter { $0 > count }.count)
    }

    @Test("nobody acknowledges what was never sent, or takes an acknowledgement back (§6)", arguments: [5, 1, 0, UInt32.max])
    func tooHigh(count: UInt32) throws {
        var stanzas = stanzas(4)
        _ = try stanzas.acknowledge(2)
        #expect(throws: StreamError.handledCountTooHigh(handled: count, sent: 4)) { _ = try stanzas.acknowledge(count) }
        #expect(stanzas.count == 2)
    }

    @Test("the count begins again after 2³² − 1 (§4)")
    func wraps() throws {
        var stanzas = UnacknowledgedStanzas(acknowledged: .max - 1)
        for _ in 0..<4 { stanzas.append(stanza(1), at: 0, view: 0, isStored: false) }
        #expect(stanzas.sent == 2)
        _ = try stanzas.acknowledge(0)
        #expect(stanzas.count == 2)
        _ = try stanzas.acknowledge(2)
        #expect(stanzas.isEmpty)
    }
}
