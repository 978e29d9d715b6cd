import MartletLDAP
import NIOCore
import Testing

@Suite("Cutting octets into messages (RFC 4511 §5.1)")
struct LDAPFramingTests {
    private func messages(_ framing: inout LDAPFraming, _ bytes: some Collection<UInt8>) throws -> [[UInt8]] {
        framing.take(ByteBuffer(bytes: bytes))
        var messages: [[UInt8]] = []
        while let message = try framing.next() { messages.append(Array(message.readableBytesView)) }
        return messages
    }

    private func fault(_ framing: inout LDAPFraming, _ bytes: [UInt8]) -> LDAPFault? {
        framing.take(ByteBuffer(bytes: bytes))
        do throws(LDAPFault) {
            while try framing.next() != nil {}
            return nil
        } catch {
            return error
        }
    }

    private func fault(_ bytes: [UInt8]) -> LDAPFault? {
        var framing = LDAPFraming()
        return fault(&framing, bytes)
    }

    @Test("does not depend on the pieces in which they come", arguments: [1, 2, 3, 7, 64, 1000, 1 << 20])
    func pieces(_ count: Int) throws {
        let all = try Wire.captured().map(\.bytes)
        let stream = Array(all.joined())
        var framing = LDAPFraming()
        var seen: [[UInt8]] = []
        for start in stride(from: 0, to: stream.count, by: count) {
            seen += try messages(&framing, stream[start..<min(start + count, stream.count)])
        }
        #expect(seen == all && framing.pendingBytes == 0)
    }

    @Test("messages that were given out stay what they were when more comes")
    func slices() throws {
        var framing = LDAPFraming()
        let (first, second) = (Wire.bytes(LDAPMessage(1, .delRequest("a"))), Wire.bytes(LDAPMessage(2, .delRequest("b"))))
        framing.take(ByteBuffer(bytes: first + second.prefix(4)))
        let message = try framing.next()
        let none = try framing.next()
        #expect(none == nil && framing.pendingBytes == 4)
        framing.take(ByteBuffer(bytes: second.dropFirst(4)))
        let next = try framing.next()
        #expect(next == ByteBuffer(bytes: second) && message == ByteBuffer(bytes: first))
    }

    @Test("a length may take up to four octets, more than it needs")
    func lengths() throws {
        for length: [UInt8] in [[2], [0x81, 2], [0x82, 0, 2], [0x83, 0, 0, 2], [0x84, 0, 0, 0, 2]] {
            var framing = LDAPFraming()
            let found = try messages(&framing, [0x30] + length + [5, 0])
            #expect(found == [[0x30] + length + [5, 0]])
        }
    }

    @Test("an indefinite length, one of five octets, and another element than a SEQUENCE are refused")
    func malformed() {
        #expect(fault([0x30, 0x80, 0, 0]) == .indefiniteLength)
        #expect(fault([0x30, 0x85, 0, 0, 0, 0, 2, 5, 0]) == .lengthOctets(5))
        #expect(fault([0x30, 0xFF]) == .lengthOctets(127))
        #expect(fault([0x31, 0]) == .notAMessage(tag: 0x31))
        #expect(fault(Array("GET / HTTP/1.1\r\n\r\n".utf8)) == .notAMessage(tag: 0x47))
    }

    @Test("of as many octets as are allowed a message is taken, of one more it is refused before any of its content has come")
    func limit() throws {
        var framing = LDAPFraming(messageBytesMax: 300)
        let longest = [UInt8](arrayLiteral: 0x30, 0x82, 0x01, 0x28) + Array(repeating: 0, count: 296)
        let found = try messages(&framing, longest)
        #expect(found == [longest])
        let tooLong = fault(&framing, [0x30, 0x82, 0x01, 0x29])
        #expect(tooLong == .messageTooLong(bytes: 301, max: 300))
        #expect(framing.pendingBytes == 4)
        let longestPossible = LDAPFault.messageTooLong(bytes: 0xFFFF_FFFF + 6, max: LDAPLimits.unauthenticatedMessageBytesMax)
        #expect(fault([0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]) == longestPossible)
    }

    @Test("the limit may change between two messages")
    func changedLimit() throws {
        var framing = LDAPFraming(messageBytesMax: 10)
        let message = [0x30, 9] + [UInt8](repeating: 0, count: 9)
        let first = fault(&framing, message)
        framing.messageBytesMax = 11
        let taken = try framing.next()
        framing.messageBytesMax = 10
        let last = fault(&framing, message)
        #expect(first == .messageTooLong(bytes: 11, max: 10) && last == first && taken == ByteBuffer(bytes: message))
    }

    @Test("after a fault the answer stays the same")
    func persistence() {
        var framing = LDAPFraming()
        let first = fault(&framing, [0x30, 0x80])
        let second = fault(&framing, [0x30, 0])
        #expect(first == .indefiniteLength && second == first)
    }

    @Test("a stream that never stops between two messages goes on")
    func neverWhole() throws {
        var framing = LDAPFraming()
        let message = Wire.bytes(LDAPMessage(1, .delRequest("uid=a,dc=example")))
        let shifted = Array(message.dropFirst(5) + message.prefix(5))
        framing.take(ByteBuffer(bytes: message.prefix(5)))
        for _ in 0..<10_000 {
            let found = try messages(&framing, shifted)
            #expect(found == [message] && framing.pendingBytes == 5)
        }
    }
}
