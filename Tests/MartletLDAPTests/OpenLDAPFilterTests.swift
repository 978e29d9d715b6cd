import Foundation
import MartletLDAP
import Testing

@Suite("What OpenLDAP finds")
struct OpenLDAPFilterTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func fixture(_ name: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent("Fixtures/directory/\(name)"), encoding: .utf8)
    }

    @Test("Each filter finds the entries that slapd finds by it")
    func found() throws {
        let entries = try LDIFReader.records(Self.fixture("entries.ldif")).compactMap { record in
            if case .entry(let entry) = record.content { entry } else { nil }
        }
        #expect(entries.count == 28)
        var filters: [(text: String, names: Set<DistinguishedName>)] = []
        for line in try Self.fixture("filters.txt").split(separator: "\n") where !line.hasPrefix("#") {
            if line.hasPrefix("    ") {
                filters[filters.count - 1].names.insert(try DistinguishedName(String(line.dropFirst(4))))
            } else {
                filters.append((String(line), []))
            }
        }
        #expect(filters.count == 165)
        for (text, names) in filters {
            let filter = PreparedLDAPFilter(try LDAPFilter(text))
            let found = try entries.filter { filter.truth(of: $0) == .holds }.map { try DistinguishedName($0.name) }
            #expect(Set(found) == names, "\(text)")
        }
    }

    @Test("A dump is written and read again, and differs from itself in nothing")
    func dump() throws {
        let records = try LDIFReader.records(Self.fixture("entries.ldif"))
        #expect(try LDIFReader.records(LDIFWriter.text(records)) == records)
        let entries = records.compactMap { record in if case .entry(let entry) = record.content { entry } else { nil } }
        #expect(try LDIFDifference.changes(from: entries, to: entries).isEmpty)
        let names = try LDIFWriter.sorted(entries).map { try DistinguishedName($0.name) }
        for (place, name) in names.enumerated() where name.parent?.relativeNames.isEmpty == false && place > 0 {
            #expect(name.parent.map(names[..<place].contains) == true)
        }
    }
}
