/// Writes LDIF (RFC 2849): lines of 76 columns, and in base64 what has to be.
public enum LDIFWriter {
    /// Columns of a line.
    public static let columns = 76

    /// - Parameter hasVersion: whether it begins with the version, as a file does.
    public static func text(_ records: [LDIFRecord], hasVersion: Bool = true) -> String {
        var lines = LDIFLines()
        if hasVersion { lines.add("version", "1") }
        for (place, record) in records.enumerated() {
            if place > 0 || hasVersion { lines.addEmpty() }
            add(record, to: &lines)
        }
        return String(decoding: lines.octets, as: UTF8.self)
    }

    /// Entries as a tree can be built of them, each always written the same: parents before children, object classes first, and then attributes by
    /// name and values in order.
    public static func text(_ entries: [LDAPEntry]) -> String { text(sorted(entries).map { LDIFRecord(.entry($0)) }) }

    public static func sorted(_ entries: [LDAPEntry]) -> [LDAPEntry] {
        // What is no name comes last, by its octets.
        let named = entries.map { (name: try? DistinguishedName($0.name), entry: $0.sortedForLDIF) }
        return named.sorted { one, other in
            switch (one.name, other.name) {
            case (let name?, let another?): name.isOrdered(before: another)
            case (nil, nil): one.entry.name < other.entry.name
            case (.some, nil): true
            case (nil, .some): false
            }
        }.map(\.entry)
    }

    private static func add(_ record: LDIFRecord, to lines: inout LDIFLines) {
        lines.add("dn", record.name)
        for control in record.controls { lines.add(control) }
        switch record.content {
        case .entry(let entry): lines.add(entry.attributes)
        case .add(let entry):
            lines.add("changetype", "add")
            lines.add(entry.attributes)
        case .delete: lines.add("changetype", "delete")
        case .modify(let request):
            lines.add("changetype", "modify")
            for change in request.changes {
                lines.add(change.kind.ldifName, change.attribute.description)
                lines.add([change.attribute])
                lines.addHyphen()
            }
        case .modifyDN(let request):
            lines.add("changetype", "modrdn")
            lines.add("newrdn", request.newRDN)
            lines.add("deleteoldrdn", request.deletesOldRDN ? "1" : "0")
            if let newSuperior = request.newSuperior { lines.add("newsuperior", newSuperior) }
        }
    }
}

extension LDAPEntry {
    /// Object classes first, since a reader may need to know them; the rest by name, values by their octets.
    fileprivate var sortedForLDIF: LDAPEntry {
        func key(_ attribute: LDAPAttribute) -> String {
            let name = attribute.description.lowercased()
            return name == "objectclass" ? "" : name
        }
        let sorted = attributes.map { LDAPAttribute($0.description, $0.values.sorted { $0.lexicographicallyPrecedes($1) }) }
        return LDAPEntry(name, sorted.sorted { key($0) < key($1) })
    }
}

extension ModifyRequest.Kind {
    fileprivate var ldifName: String {
        switch self {
        case .add: "add"
        case .delete: "delete"
        case .replace: "replace"
        case .increment: "increment"
        }
    }
}

/// Lines as they are written.
struct LDIFLines {
    private(set) var octets: [UInt8] = []

    mutating func addEmpty() { octets.append(UInt8(ascii: "\n")) }

    mutating func addHyphen() { octets += "-\n".utf8 }

    mutating func add(_ name: String, _ value: String) { add(name, Array(value.utf8)) }

    mutating func add(_ attributes: [LDAPAttribute]) {
        for attribute in attributes { for value in attribute.values { add(attribute.description, value) } }
    }

    mutating func add(_ name: String, _ value: [UInt8]) { fold(Array(name.utf8) + Self.behindName(value)) }

    mutating func add(_ control: LDAPControl) {
        let head = Array("control: \(control.type) \(control.isCritical)".utf8)
        fold(control.value.map { head + Self.behindName($0) } ?? head)
    }

    private static func behindName(_ value: [UInt8]) -> [UInt8] {
        if value.isEmpty { return [UInt8(ascii: ":")] }
        return isSafe(value) ? Array(": ".utf8) + value : Array(":: ".utf8) + Base64.encoded(value)
    }

    /// SAFE-STRING (§2), and no space at the end, where nobody sees it.
    private static func isSafe(_ value: [UInt8]) -> Bool {
        guard let first = value.first, ![UInt8(ascii: " "), UInt8(ascii: ":"), UInt8(ascii: "<")].contains(first) else { return false }
        return value.last != UInt8(ascii: " ") && value.allSatisfy { 0x20..<0x7F ~= $0 }
    }

    /// What continues a line begins with a space.
    private mutating func fold(_ line: [UInt8]) {
        var rest = line[...]
        octets += rest.prefix(LDIFWriter.columns)
        rest = rest.dropFirst(LDIFWriter.columns)
        while !rest.isEmpty {
            octets += "\n ".utf8
            octets += rest.prefix(LDIFWriter.columns - 1)
            rest = rest.dropFirst(LDIFWriter.columns - 1)
        }
        addEmpty()
    }
}
