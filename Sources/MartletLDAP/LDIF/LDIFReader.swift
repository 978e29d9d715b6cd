/// Reads LDIF record by record (RFC 2849): entries, and changes of all kinds, `increment` (RFC 4525) among them.
///
/// As other programs do, it takes values in UTF-8 that are not in base64, and values of any length.
public struct LDIFReader: Sendable {
    public struct Limits: Hashable, Sendable {
        /// Octets in all.
        public var octetsMax = 64 << 20
        /// Octets of a line with what continues it.
        public var lineOctetsMax = 4 << 20
        /// Octets of a record.
        public var recordOctetsMax = 16 << 20
        /// Lines of a record, continued ones as one.
        public var recordLinesMax = 200_000

        public init() {}
    }
    /// A line with what continues it.
    private struct Line {
        let octets: [UInt8]
        let number: Int

        func fault(_ fault: LDIFError.Fault) -> LDIFError { LDIFError(fault, line: number) }
    }
    private let octets: [UInt8]
    private let limits: Limits
    private var offset = 0
    /// Of the next line.
    private var number = 1
    private var isAtStart = true

    public init(_ octets: [UInt8], limits: Limits = Limits()) throws(LDIFError) {
        guard octets.count <= limits.octetsMax else { throw LDIFError(.tooLong(octetsMax: limits.octetsMax), line: 1) }
        self.octets = octets
        self.limits = limits
    }

    public init(_ text: String) throws(LDIFError) { try self.init(Array(text.utf8)) }

    /// All that there are.
    public static func records(_ text: String) throws(LDIFError) -> [LDIFRecord] {
        var reader = try LDIFReader(text)
        var records: [LDIFRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    /// - Returns: `nil` if there are no more.
    public mutating func next() throws(LDIFError) -> LDIFRecord? {
        var lines = try recordLines()
        if isAtStart, let first = lines.first {
            isAtStart = false
            let field = try Field(first)
            if field.name.lowercased() == "version" {
                guard field.value == Array("1".utf8) else { throw first.fault(.version) }
                lines.removeFirst()
                // The first record may follow at once, or behind an empty line.
                if lines.isEmpty { lines = try recordLines() }
            }
        }
        guard !lines.isEmpty else { return nil }
        var reading = RecordReading(lines)
        return try reading.record()
    }

    // MARK: Lines

    /// The lines up to the next empty one, without comments. Empty lines before them are passed over; none if the end is reached.
    private mutating func recordLines() throws(LDIFError) -> [Line] {
        var lines: [Line] = []
        var octetCount = 0
        while offset < octets.count {
            let line = try line()
            if line.octets.isEmpty {
                if lines.isEmpty { continue }
                break
            }
            if line.octets[0] == UInt8(ascii: "#") { continue }
            if line.octets[0] == UInt8(ascii: " ") { throw line.fault(.continuation) }
            octetCount += line.octets.count
            guard octetCount <= limits.recordOctetsMax else { throw line.fault(.tooLong(octetsMax: limits.recordOctetsMax)) }
            guard lines.count < limits.recordLinesMax else { throw line.fault(.tooMany(max: limits.recordLinesMax)) }
            lines.append(line)
        }
        return lines
    }

    /// One line and all that begin with a space behind it.
    private mutating func line() throws(LDIFError) -> Line {
        let start = number
        var whole = Array(physicalLine())
        guard !whole.isEmpty else { return Line(octets: [], number: start) }
        while offset < octets.count, octets[offset] == UInt8(ascii: " ") {
            whole += physicalLine().dropFirst()
            guard whole.count <= limits.lineOctetsMax else { break }
        }
        guard whole.count <= limits.lineOctetsMax else { throw LDIFError(.tooLong(octetsMax: limits.lineOctetsMax), line: start) }
        return Line(octets: whole, number: start)
    }

    /// Up to a line feed, with or without a carriage return before it.
    private mutating func physicalLine() -> ArraySlice<UInt8> {
        let end = octets[offset...].firstIndex(of: UInt8(ascii: "\n")) ?? octets.count
        defer {
            offset = min(end + 1, octets.count)
            number += 1
        }
        let line = octets[offset..<end]
        return line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }

    /// `name: value`, `name:: base64`.
    private struct Field {
        let name: String
        let value: [UInt8]
        let line: Line

        init(_ line: Line) throws(LDIFError) {
            self.line = line
            guard let colon = line.octets.firstIndex(of: UInt8(ascii: ":")) else { throw line.fault(.expected("a colon")) }
            name = String(decoding: line.octets[..<colon], as: UTF8.self)
            value = try Self.value(line, behind: colon)
        }

        /// Behind a colon: any spaces, and a value as it is; after a second colon one in base64; after `<` the address of one, which is refused.
        static func value(_ line: Line, behind colon: Int) throws(LDIFError) -> [UInt8] {
            var rest = line.octets[(colon + 1)...]
            let isEncoded = rest.first == UInt8(ascii: ":")
            if isEncoded { rest = rest.dropFirst() }
            if rest.first == UInt8(ascii: "<"), !isEncoded { throw line.fault(.address) }
            let value = Array(rest.drop { $0 == UInt8(ascii: " ") })
            if isEncoded {
                guard let decoded = Base64.decoded(value) else { throw line.fault(.base64) }
                return decoded
            }
            if value.contains(0) { throw line.fault(.unescaped(0)) }
            return value
        }

        func isNamed(_ keyword: String) -> Bool { name.lowercased() == keyword }

        func text() throws(LDIFError) -> String {
            guard let text = String(validating: value, as: UTF8.self) else { throw line.fault(.expected("UTF-8")) }
            return text
        }

        /// The name of an attribute and a value of it.
        func attribute() throws(LDIFError) -> (description: String, value: [UInt8]) {
            guard AttributeDescription(name) != nil else { throw line.fault(.attributeDescription) }
            return (name, value)
        }
    }

    /// A record, line by line.
    private struct RecordReading {
        private var rest: ArraySlice<Line>
        private let last: Line

        init(_ lines: [Line]) {
            rest = lines[...]
            last = lines[lines.count - 1]
        }

        mutating func record() throws(LDIFError) -> LDIFRecord {
            let name = try self.name("dn")
            var controls: [LDAPControl] = []
            while let field = try peek(), field.isNamed("control") {
                rest.removeFirst()
                controls.append(try Self.control(field))
            }
            guard let field = try peek(), field.isNamed("changetype") else {
                guard controls.isEmpty else { throw (rest.first ?? last).fault(.expected("changetype")) }
                return LDIFRecord(.entry(LDAPEntry(name, try attributes())))
            }
            rest.removeFirst()
            return LDIFRecord(try change(name, try field.text(), field.line), controls: controls)
        }

        private mutating func change(_ name: String, _ kind: String, _ line: Line) throws(LDIFError) -> LDIFRecord.Content {
            switch kind.lowercased() {
            case "add": return .add(LDAPEntry(name, try attributes()))
            case "delete":
                if let line = rest.first { throw line.fault(.expected("an empty line")) }
                return .delete(name)
            case "modify": return .modify(ModifyRequest(name, try changes()))
            case "modrdn", "moddn": return .modifyDN(try modifyDN(name))
            default: throw line.fault(.expected("add, delete, modify, modrdn or moddn"))
            }
        }

        private func peek() throws(LDIFError) -> Field? {
            guard let line = rest.first else { return nil }
            return try Field(line)
        }

        private mutating func field(_ keyword: String) throws(LDIFError) -> Field {
            guard let field = try peek(), field.isNamed(keyword) else { throw (rest.first ?? last).fault(.expected("\(keyword):")) }
            rest.removeFirst()
            return field
        }

        /// A name, which is looked at, and kept as it is written.
        private mutating func name(_ keyword: String) throws(LDIFError) -> String {
            let field = try field(keyword)
            let text = try field.text()
            do { _ = try DistinguishedName(text) } catch { throw field.line.fault(.name(error)) }
            return text
        }

        /// Values of one attribute are together, wherever they stood, in their order.
        private mutating func attributes() throws(LDIFError) -> [LDAPAttribute] {
            guard !rest.isEmpty else { throw last.fault(.expected("an attribute")) }
            var attributes: [LDAPAttribute] = []
            var places: [String: Int] = [:]
            while let line = rest.popFirst() {
                let (description, value) = try Field(line).attribute()
                if let place = places[description.lowercased()] {
                    attributes[place].values.append(value)
                } else {
                    places[description.lowercased()] = attributes.count
                    attributes.append(LDAPAttribute(description, [value]))
                }
            }
            return attributes
        }

        private mutating func changes() throws(LDIFError) -> [ModifyRequest.Change] {
            var changes: [ModifyRequest.Change] = []
            while let line = rest.popFirst() {
                let field = try Field(line)
                guard let kind = Self.kinds[field.name.lowercased()] else { throw line.fault(.expected("add, delete, replace or increment")) }
                let description = try field.text()
                guard AttributeDescription(description) != nil else { throw line.fault(.attributeDescription) }
                changes.append(ModifyRequest.Change(kind, LDAPAttribute(description, try values(of: description))))
            }
            return changes
        }

        private static let kinds: [String: ModifyRequest.Kind] = ["add": .add, "delete": .delete, "replace": .replace, "increment": .increment]

        /// Up to a hyphen, which may be left out at the end of the record.
        private mutating func values(of description: String) throws(LDIFError) -> [[UInt8]] {
            var values: [[UInt8]] = []
            while let line = rest.popFirst() {
                if line.octets == [UInt8(ascii: "-")] { break }
                let (name, value) = try Field(line).attribute()
                guard name.lowercased() == description.lowercased() else { throw line.fault(.expected("\(description): or -")) }
                values.append(value)
            }
            return values
        }

        private mutating func modifyDN(_ name: String) throws(LDIFError) -> ModifyDNRequest {
            let newRDN = try self.name("newrdn")
            let field = try field("deleteoldrdn")
            guard field.value == [UInt8(ascii: "0")] || field.value == [UInt8(ascii: "1")] else { throw field.line.fault(.expected("0 or 1")) }
            let newSuperior = rest.isEmpty ? nil : try self.name("newsuperior")
            if let line = rest.first { throw line.fault(.expected("an empty line")) }
            return ModifyDNRequest(name, newRDN: newRDN, deletesOldRDN: field.value == [UInt8(ascii: "1")], newSuperior: newSuperior)
        }

        /// `1.2.3 true: value`: criticality and value may be left out.
        private static func control(_ field: Field) throws(LDIFError) -> LDAPControl {
            let octets = field.value
            let colon = octets.firstIndex(of: UInt8(ascii: ":"))
            let head = String(decoding: octets[..<(colon ?? octets.count)], as: UTF8.self).split(separator: " ")
            guard let type = head.first, head.count <= 2, AttributeDescription.isType(type.utf8) else { throw field.line.fault(.expected("an OID")) }
            let isCritical = head.count == 2 && head[1].lowercased() == "true"
            guard isCritical || head.count == 1 || head[1].lowercased() == "false" else { throw field.line.fault(.expected("true or false")) }
            let value = try colon.map { colon throws(LDIFError) in try Field.value(Line(octets: octets, number: field.line.number), behind: colon) }
            return LDAPControl(String(type), isCritical: isCritical, value: value)
        }
    }
}
