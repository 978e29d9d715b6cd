import Foundation
import MartletLDAP
import Testing

@Suite("What the fuzzer of a directory's texts starts from, and what it once found")
struct LDAPTextCrasherTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func files(in folder: String) throws -> [(name: String, bytes: [UInt8])] {
        let url = Self.root.appendingPathComponent("Fuzzing/LDAPText/\(folder)")
        guard FileManager.default.fileExists(atPath: url.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(at: url, includingPropertiesForKeys: nil)
            .map { ($0.lastPathComponent, Array(try Data(contentsOf: $0))) }
    }

    @Test("all kinds of texts are among what it starts from, and each means something")
    func corpus() throws {
        var kinds: Set<UInt8> = []
        for (name, bytes) in try files(in: "corpus") {
            let kind = try #require(bytes.first) % 6
            kinds.insert(kind)
            #expect(isRead(kind, Array(bytes.dropFirst())), "\(name)")
        }
        #expect(kinds == [0, 1, 2, 3, 4, 5])
    }

    @Test("stays found")
    func replay() throws {
        for (_, bytes) in try files(in: "crashers") where !bytes.isEmpty { _ = isRead(bytes[0] % 6, Array(bytes.dropFirst())) }
    }

    /// As the fuzz target takes it.
    private func isRead(_ kind: UInt8, _ bytes: [UInt8]) -> Bool {
        let text = String(decoding: bytes, as: UTF8.self)
        switch kind {
        case 0: return (try? LDAPFilter(text)).map { (try? LDAPFilter($0.description)) == $0 } ?? false
        case 1: return (try? LDAPFilterTemplate(text).filter(Substitutes(localpart: "*", domainpart: ")", resourcepart: "\\"))) != nil
        case 2: return (try? DistinguishedName(text)).map { (try? DistinguishedName($0.normalized)) == $0 } ?? false
        case 3: return (try? LDAPURL(text)).map { (try? LDAPURL($0.description)) == $0 } ?? false
        case 4: return (try? LDIFReader.records(text)).map { (try? LDIFReader.records(LDIFWriter.text($0))) == $0 } ?? false
        default:
            if GeneralizedTime.milliseconds(of: bytes) != nil || CertificateExactAssertion(certificate: bytes) != nil { return true }
            let parts = text.split(separator: "\n", maxSplits: 1).map(String.init)
            guard parts.count == 2, let filter = try? LDAPFilter(parts[0]), let record = try? LDIFReader.records(parts[1]).first, case .entry(let entry) = record.content
            else { return false }
            return filter.truth(of: entry) == .holds
        }
    }
}
