import MartletLDAP
import NIOCore
import Testing

@Suite("The outside of a message")
struct LDAPEnvelopeTests {
    private func envelope(_ bytes: [UInt8]) throws(LDAPFault) -> LDAPEnvelope { try LDAPEnvelope(ByteBuffer(bytes: bytes)) }

    private func fault(_ bytes: [UInt8]) -> LDAPFault? {
        do throws(LDAPFault) {
            _ = try envelope(bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test("tells identifier and operation as the message does")
    func agreement() throws {
        for captured in try Wire.captured() {
            let envelope = try envelope(captured.bytes)
            let message = try Wire.read(captured.bytes)
            #expect(envelope.id == message.id && envelope.kind == message.operation.kind, "\(captured.command)")
            #expect(envelope.kind.isRequest == captured.isFromClient || captured.command.hasPrefix("a client that answers itself"))
            #expect(try LDAPMessage(envelope) == message)
        }
    }

    @Test("another identifier changes nothing else", arguments: [1, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7FFF_FFFE, Int32.max])
    func renumbering(_ id: Int32) throws {
        for captured in try Wire.captured() {
            var expected = try Wire.read(captured.bytes)
            // Only what is unasked has the identifier 0, and nobody passes it on.
            if expected.id == 0 { continue }
            expected.id = id
            var buffer = ByteBuffer(string: "before")
            try envelope(captured.bytes).write(id: id, into: &buffer)
            #expect(Array(buffer.readableBytesView.dropFirst(6)) == Wire.bytes(expected))
        }
    }

    @Test("what is inside stays as it came, with lengths as Active Directory writes them and elements that nobody knows")
    func untouched() throws {
        let inside: [UInt8] = [0x65, 0x84, 0, 0, 0, 9, 0x0A, 1, 0, 4, 0, 4, 0, 0x9E, 0]
        var buffer = ByteBuffer()
        try envelope([0x30, 0x84, 0, 0, 0, 18, 2, 1, 7] + inside).write(id: 0x1234, into: &buffer)
        #expect(Array(buffer.readableBytesView) == [0x30, 19, 2, 2, 0x12, 0x34] + inside)
    }

    @Test("a length of two octets is written where it is needed")
    func long() throws {
        var buffer = ByteBuffer()
        let message = LDAPMessage(1, .delRequest(String(repeating: "a", count: 300)))
        try envelope(Wire.bytes(message)).write(id: 1, into: &buffer)
        #expect(Array(buffer.readableBytesView) == Wire.bytes(message))
    }

    @Test("identifiers are 1 to 2³¹ - 1, and 0 for what a server says unasked (RFC 4511 §4.1.1.1)")
    func identifiers() throws {
        #expect(try envelope([0x30, 8, 2, 4, 0x7F, 0xFF, 0xFF, 0xFF, 0x42, 0]).id == Int32.max)
        #expect(try envelope([0x30, 9, 2, 5, 0, 0, 0, 0, 1, 0x42, 0]).id == 1)
        #expect(fault([0x30, 9, 2, 5, 0, 0x80, 0, 0, 0, 0x42, 0]) == .outOfRange(0x8000_0000))
        #expect(fault([0x30, 5, 2, 1, 0xFF, 0x42, 0]) == .outOfRange(-1))
        #expect(fault([0x30, 4, 2, 0, 0x42, 0]) == .malformedInteger(bytes: 0))
        #expect(fault([0x30, 13, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x42, 0]) == .malformedInteger(bytes: 9))
        #expect(fault([0x30, 5, 2, 1, 0, 0x42, 0]) == .zeroMessageID)
        #expect(fault(Wire.element(0x30, [2, 1, 0], Wire.element(0x65, [0x0A, 1, 0, 4, 0, 4, 0]))) == .zeroMessageID)
        #expect(try envelope(Wire.element(0x30, [2, 1, 0], Wire.element(0x78, [0x0A, 1, 2, 4, 0, 4, 0]))).kind == .extendedResponse)
    }

    @Test("what is no message is refused")
    func malformed() {
        #expect(fault([]) == .missing(tag: 0x30))
        #expect(fault([0x04, 0]) == .notAMessage(tag: 4))
        #expect(fault([0x30, 0]) == .missing(tag: 2))
        #expect(fault([0x30, 3, 4, 1, 1]) == .unexpected(tag: 4, expected: 2))
        #expect(fault([0x30, 3, 2, 1, 1]) == .missing(tag: nil))
        #expect(fault([0x30, 5, 2, 1, 1, 0x7E, 0]) == .unknownOperation(tag: 0x7E))
        #expect(fault([0x30, 5, 2, 1, 1, 0x62, 0]) == .unknownOperation(tag: 0x62))
        #expect(fault([0x30, 5, 2, 1, 1, 0x42, 0, 0]) == .surplus(bytes: 1))
        #expect(fault([0x30, 6, 2, 1, 1, 0x42, 0]) == .truncated)
        #expect(fault([0x30, 5, 2, 1, 1, 0x42, 1]) == .truncated)
        #expect(fault([0x30, 5, 2, 1, 1, 0x65, 0x80]) == .indefiniteLength)
    }

    @Test("every operation has a tag of its own, and says whether a client asks it")
    func kinds() {
        #expect(LDAPOperation.Kind.allCases.count == 21 && LDAPOperation.Kind.allCases.filter(\.isRequest).count == 10)
        #expect(LDAPOperation.unbindRequest.kind == .unbindRequest && LDAPOperation.Kind.unbindRequest.rawValue == 0x42)
    }
}
