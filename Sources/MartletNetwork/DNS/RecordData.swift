/// Reads what records hold, as it is on the wire (RFC 1035 §3.3), without compression: resolvers have undone that.
package enum RecordData {
    /// Most records of an answer that are looked at; the rest is as if it were not there. A name of one host or one service has few.
    package static let recordsMax = 64

    /// - Throws: ``DNSError/malformed`` unless every record is what was asked for: half of a set may mean something else than all of it.
    package static func records(_ type: RecordType, _ data: [[UInt8]]) throws(DNSError) -> [DNSRecord] {
        var records: [DNSRecord] = []
        for bytes in data.prefix(recordsMax) {
            guard let record = record(type, bytes) else { throw .malformed }
            records.append(record)
        }
        return records
    }

    private static func record(_ type: RecordType, _ bytes: [UInt8]) -> DNSRecord? {
        switch type {
        case .a: bytes.count == 4 ? .address(NetworkAddress(ipv4: UInt32(integer(bytes[...])))) : nil
        case .aaaa:
            bytes.count == 16 ? .address(NetworkAddress(high: integer(bytes[..<8]), low: integer(bytes[8...]))) : nil
        case .srv: service(bytes).map { .service($0) }
        case .tlsa: tlsa(bytes).map { .tlsa($0) }
        }
    }

    /// RFC 2782.
    private static func service(_ bytes: [UInt8]) -> ServiceRecord? {
        guard bytes.count > 6 else { return nil }
        let fields = [0, 2, 4].map { UInt16(integer(bytes[$0..<($0 + 2)])) }
        let (priority, weight, port) = (fields[0], fields[1], fields[2])
        if bytes[6...] == [0] { return ServiceRecord(priority: priority, weight: weight, port: port, target: nil) }
        guard let target = name(bytes[6...]) else { return nil }
        return ServiceRecord(priority: priority, weight: weight, port: port, target: target)
    }

    /// RFC 6698 §2.1.
    private static func tlsa(_ bytes: [UInt8]) -> TLSARecord? {
        guard bytes.count > 3 else { return nil }
        return TLSARecord(usage: bytes[0], selector: bytes[1], matchingType: bytes[2], association: Array(bytes[3...]))
    }

    /// Labels, each behind its length, up to the empty one of the root. `nil` also for labels that ``DNSName`` does not have.
    private static func name(_ bytes: ArraySlice<UInt8>) -> DNSName? {
        var rest = bytes
        var labels: [String] = []
        while let length = rest.popFirst() {
            if length == 0 { return rest.isEmpty ? DNSName(labels.joined(separator: ".")) : nil }
            let label = rest.prefix(Int(length))
            // A dot inside a label would look like two labels.
            guard length <= DNSName.labelBytesMax, label.count == length, !label.contains(UInt8(ascii: ".")) else { return nil }
            labels.append(String(decoding: label, as: UTF8.self))
            rest = rest.dropFirst(Int(length))
        }
        return nil
    }

    private static func integer(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
}
