import Foundation
import MartletLDAP
import NIOCore
import Testing

@Suite("What the fuzzer of LDAP starts from, and what it once found")
struct LDAPCrasherTests {
    private struct Reading: Equatable {
        var messages: [ByteBuffer] = []
        var fault: LDAPFault?

        init(_ bytes: [UInt8], piece: Int) {
            var framing = LDAPFraming()
            do throws(LDAPFault) {
                for start in stride(from: 0, to: bytes.count, by: piece) {
                    framing.take(ByteBuffer(bytes: bytes[start..<min(start + piece, bytes.count)]))
                    while let message = try framing.next() { messages.append(message) }
                }
            } catch {
                fault = error
            }
        }
    }

    private func files(in folder: String) throws -> [(name: String, bytes: [UInt8])] {
        let url = Wire.root.appendingPathComponent(folder)
        guard FileManager.default.fileExists(atPath: url.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(at: url, includingPropertiesForKeys: nil)
            .map { ($0.lastPathComponent, Array(try Data(contentsOf: $0))) }
    }

    @Test("stays found")
    func replay() throws {
        let corpus = try files(in: "Fuzzing/LDAP/corpus")
        #expect(corpus.count > 10)
        for (name, bytes) in try corpus + files(in: "Fuzzing/LDAP/crashers") where bytes.count > 1 {
            let stream = Array(bytes.dropFirst())
            let whole = Reading(stream, piece: stream.count)
            #expect(Reading(stream, piece: 1 + Int(bytes[0]) % 16) == whole, "\(name)")
            for octets in whole.messages {
                guard let envelope = try? LDAPEnvelope(octets), var message = try? LDAPMessage(envelope) else { continue }
                #expect(try Wire.read(Wire.bytes(message)) == message, "\(name)")
                var buffer = ByteBuffer()
                envelope.write(id: Int32.max, into: &buffer)
                message.id = Int32.max
                #expect(try LDAPMessage(decoding: buffer) == message, "\(name)")
            }
        }
    }

    @Test("every message that it starts from is one")
    func corpus() throws {
        for (name, bytes) in try files(in: "Fuzzing/LDAP/corpus") {
            let reading = Reading(Array(bytes.dropFirst()), piece: bytes.count)
            #expect(reading.fault == nil && !reading.messages.isEmpty, "\(name)")
            for octets in reading.messages { #expect(throws: Never.self, "\(name)") { try LDAPMessage(decoding: octets) } }
        }
    }
}
