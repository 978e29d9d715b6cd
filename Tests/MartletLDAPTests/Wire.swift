import Foundation
import MartletLDAP
import NIOCore

/// Octets that real programs said, and octets made by hand.
enum Wire {
    /// A message of `Fixtures/ldap/openldap.txt`.
    struct Captured: Sendable {
        let command: String
        let isFromClient: Bool
        let bytes: [UInt8]
    }

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    static func captured() throws -> [Captured] {
        let text = try String(contentsOf: root.appendingPathComponent("Fixtures/ldap/openldap.txt"), encoding: .utf8)
        var command = ""
        var messages: [Captured] = []
        for line in text.split(separator: "\n") {
            if line.hasPrefix("#") { command = String(line.dropFirst(2)) } else {
                messages.append(Captured(command: command, isFromClient: line.hasPrefix(">"), bytes: hex(String(line.dropFirst(2)))))
            }
        }
        return messages
    }

    static func hex(_ text: String) -> [UInt8] {
        let digits = text.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    static func read(_ bytes: [UInt8]) throws(LDAPFault) -> LDAPMessage { try LDAPMessage(decoding: ByteBuffer(bytes: bytes)) }

    static func bytes(_ message: LDAPMessage) -> [UInt8] {
        var buffer = ByteBuffer()
        message.encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }

    /// What is wrong with the octets; `nil` if nothing is.
    static func fault(_ bytes: [UInt8]) -> LDAPFault? {
        do throws(LDAPFault) {
            _ = try read(bytes)
            return nil
        } catch {
            return error
        }
    }

    /// An element, with the shortest length.
    static func element(_ tag: UInt8, _ content: [UInt8]...) -> [UInt8] {
        let content = content.flatMap { $0 }
        switch content.count {
        case ..<0x80: return [tag, UInt8(content.count)] + content
        case ..<0x1_0000: return [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content
        default: return [tag, 0x83, UInt8(content.count >> 16), UInt8(content.count >> 8 & 0xFF), UInt8(content.count & 0xFF)] + content
        }
    }

    static func string(_ text: String, _ tag: UInt8 = 0x04) -> [UInt8] { element(tag, Array(text.utf8)) }

    /// A message with the identifier 1.
    static func message(_ operation: [UInt8], _ behind: [UInt8]...) -> [UInt8] { element(0x30, [2, 1, 1], operation, behind.flatMap { $0 }) }

    /// A search whose filter is this element.
    static func search(filter: [UInt8]) -> [UInt8] {
        message(element(0x63, string(""), [0x0A, 1, 0], [0x0A, 1, 0], [2, 1, 0], [2, 1, 0], [1, 1, 0], filter, element(0x30)))
    }
}

/// An element and what is in it.
struct Node {
    var tag: UInt8
    var content: [UInt8] = []
    /// Of a constructed one.
    var parts: [Node] = []

    /// - Parameter bytes: elements that are known to be well formed.
    static func all(_ bytes: [UInt8]) -> [Node] {
        var nodes: [Node] = []
        var rest = bytes[...]
        while let tag = rest.popFirst(), let first = rest.popFirst() {
            var count = Int(first)
            if first >= 0x80 {
                count = rest.prefix(Int(first & 0x7F)).reduce(0) { $0 << 8 | Int($1) }
                rest = rest.dropFirst(Int(first & 0x7F))
            }
            let content = Array(rest.prefix(count))
            rest = rest.dropFirst(count)
            nodes.append(tag & 0x20 == 0 ? Node(tag: tag, content: content) : Node(tag: tag, parts: all(content)))
        }
        return nodes
    }

    var bytes: [UInt8] { Wire.element(tag, inside(\.bytes)) }

    /// With every length in four octets, as Active Directory writes them.
    var bytesWithLongLengths: [UInt8] {
        let content = inside(\.bytesWithLongLengths)
        return [tag, 0x84] + (0..<4).map { UInt8(truncatingIfNeeded: content.count >> (24 - 8 * $0)) } + content
    }

    private func inside(_ part: (Node) -> [UInt8]) -> [UInt8] { tag & 0x20 == 0 ? content : parts.flatMap(part) }

    /// Every node from which one of its parts was taken away, and every one whose content was cut short, with lengths that fit.
    var damaged: [Node] {
        var damaged: [Node] = []
        if tag & 0x20 == 0, !content.isEmpty { damaged.append(Node(tag: tag, content: content.dropLast())) }
        for index in parts.indices {
            var without = self
            without.parts.remove(at: index)
            damaged.append(without)
            for part in parts[index].damaged {
                var other = self
                other.parts[index] = part
                damaged.append(other)
            }
        }
        return damaged
    }
}

/// Messages that look random and are the same in every run.
struct SeededMessages: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func message() -> LDAPMessage {
        let id = Int32.random(in: 1...Int32.max, using: &self) >> Int32.random(in: 0...30, using: &self)
        let controls = some(3) { LDAPControl($0.identifier(), isCritical: $0.flag(), value: $0.maybe { $0.value() }) }
        return LDAPMessage(max(1, id), operation(), controls: controls)
    }

    mutating func flag() -> Bool { Bool.random(using: &self) }

    mutating func value() -> [UInt8] { (0..<Int.random(in: 0...140, using: &self)).map { _ in UInt8.random(in: 0...255, using: &self) } }

    mutating func text() -> String {
        String((0..<Int.random(in: 0...40, using: &self)).map { _ in "abcXYZ=,;.-ßé漢😀 \0".randomElement(using: &self) ?? "a" })
    }

    mutating func identifier() -> String {
        (0..<Int.random(in: 1...9, using: &self)).map { _ in "\(UInt16.random(in: 0...999, using: &self))" }.joined(separator: ".")
    }

    private mutating func some<Value>(_ most: Int, atLeast least: Int = 0, _ make: (inout Self) -> Value) -> [Value] {
        (0..<Int.random(in: least...most, using: &self)).map { _ in make(&self) }
    }

    private mutating func maybe<Value>(_ make: (inout Self) -> Value) -> Value? { flag() ? make(&self) : nil }

    private mutating func number() -> Int32 { Int32.random(in: 0...Int32.max, using: &self) >> Int32.random(in: 0...30, using: &self) }

    private mutating func attribute(atLeast least: Int) -> LDAPAttribute { LDAPAttribute(text(), some(4, atLeast: least) { $0.value() }) }

    private mutating func entry(valuesAtLeast least: Int) -> LDAPEntry { LDAPEntry(text(), some(6) { $0.attribute(atLeast: least) }) }

    private mutating func result() -> LDAPResult {
        LDAPResult(LDAPResultCode(rawValue: number()), matchedDN: text(), text(), referrals: some(2) { $0.text() })
    }

    mutating func filter(depth: Int = 1) -> LDAPFilter {
        switch Int.random(in: depth < 6 ? 0...9 : 3...9, using: &self) {
        case 0: .and(some(4) { $0.filter(depth: depth + 1) })
        case 1: .or(some(4) { $0.filter(depth: depth + 1) })
        case 2: .not(filter(depth: depth + 1))
        case 3: .equality(text(), value())
        case 4: .substrings(text(), substrings())
        case 5: .greaterOrEqual(text(), value())
        case 6: .lessOrEqual(text(), value())
        case 7: .present(text())
        case 8: .approximate(text(), value())
        default: .extensible(extensible())
        }
    }

    private mutating func substrings() -> LDAPFilter.Substrings {
        let substrings = LDAPFilter.Substrings(initial: maybe { $0.value() }, any: some(3) { $0.value() }, final: maybe { $0.value() })
        return substrings == .init() ? .init(any: [value()]) : substrings
    }

    private mutating func extensible() -> LDAPFilter.Extensible {
        let rule = maybe { $0.text() }
        let attribute = rule == nil ? text() : maybe { $0.text() }
        return .init(matchingRule: rule, attribute: attribute, value: value(), hasDNAttributes: flag())
    }

    private mutating func search() -> SearchRequest {
        SearchRequest(
            text(), [.baseObject, .singleLevel, .wholeSubtree].randomElement(using: &self) ?? .baseObject, filter(),
            attributes: some(5) { $0.text() },
            dereferenceAliases: [.never, .inSearching, .findingBaseObject, .always].randomElement(using: &self) ?? .never, sizeLimit: number(),
            timeLimit: number(), typesOnly: flag())
    }

    private mutating func modify() -> ModifyRequest {
        ModifyRequest(
            text(),
            some(4) { seeded in
                .init([.add, .delete, .replace, .increment].randomElement(using: &seeded) ?? .add, seeded.attribute(atLeast: 0))
            })
    }

    private mutating func operation() -> LDAPOperation {
        switch LDAPOperation.Kind.allCases.randomElement(using: &self) ?? .unbindRequest {
        case .bindRequest:
            let authentication = flag() ? BindRequest.Authentication.simple(value()) : .sasl(mechanism: text(), credentials: maybe { $0.value() })
            return .bindRequest(BindRequest(text(), authentication, version: Int.random(in: 1...127, using: &self)))
        case .bindResponse: return .bindResponse(BindResponse(result(), serverSASLCredentials: maybe { $0.value() }))
        case .unbindRequest: return .unbindRequest
        case .searchRequest: return .searchRequest(search())
        case .searchResultEntry: return .searchResultEntry(entry(valuesAtLeast: 0))
        case .searchResultReference: return .searchResultReference(some(3, atLeast: 1) { $0.text() })
        case .searchResultDone: return .searchResultDone(result())
        case .modifyRequest: return .modifyRequest(modify())
        case .modifyResponse: return .modifyResponse(result())
        case .addRequest: return .addRequest(entry(valuesAtLeast: 1))
        case .addResponse: return .addResponse(result())
        case .delRequest: return .delRequest(text())
        case .delResponse: return .delResponse(result())
        case .modifyDNRequest:
            return .modifyDNRequest(ModifyDNRequest(text(), newRDN: text(), deletesOldRDN: flag(), newSuperior: maybe { $0.text() }))
        case .modifyDNResponse: return .modifyDNResponse(result())
        case .compareRequest: return .compareRequest(CompareRequest(text(), text(), value()))
        case .compareResponse: return .compareResponse(result())
        case .abandonRequest: return .abandonRequest(number())
        case .extendedRequest: return .extendedRequest(ExtendedRequest(identifier(), value: maybe { $0.value() }))
        case .extendedResponse: return .extendedResponse(ExtendedResponse(result(), name: maybe { $0.identifier() }, value: maybe { $0.value() }))
        case .intermediateResponse: return .intermediateResponse(IntermediateResponse(name: maybe { $0.identifier() }, value: maybe { $0.value() }))
        }
    }
}
