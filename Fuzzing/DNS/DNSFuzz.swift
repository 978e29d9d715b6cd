import MartletNetwork

/// A record's data is what it says, byte for byte but for the case of names, or it is malformed; a name read is a name written.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRecordData(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let first = bytes.popLast() else { return 0 }
    let type = RecordType.allCases[Int(first) % RecordType.allCases.count]
    if let records = try? RecordData.records(type, [bytes]) {
        precondition(records.map { written($0, type) } == [bytes.map { type == .srv ? lowercased($0) : $0 }], "it is another record")
    }
    if let name = DNSName(String(decoding: bytes, as: UTF8.self)) {
        precondition(DNSName(name.description) == name && name.description.utf8.count <= DNSName.bytesMax, "it is another name")
    }
    return 0
}

private func lowercased(_ byte: UInt8) -> UInt8 { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte }

private func written(_ record: DNSRecord, _ type: RecordType) -> [UInt8] {
    switch record {
    case .address(let address) where type == .a: return octets(address.low).suffix(4)
    case .address(let address): return octets(address.high) + octets(address.low)
    case .service(let service):
        let numbers: [UInt8] = [service.priority, service.weight, service.port].flatMap { Array(octets(UInt64($0)).suffix(2)) }
        let labels = service.target?.description.split(separator: ".") ?? []
        return numbers.map(lowercased) + labels.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    case .tlsa(let record): return [record.usage, record.selector, record.matchingType] + record.association
    }
}

private func octets(_ integer: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: integer >> (56 - 8 * $0)) } }
