/// A namespace that a component answers for (XEP-0355 §4.1), as the configuration has it: its name, then attributes, with spaces between.
package struct DelegatedNamespace: Hashable, Sendable, CustomStringConvertible {
    package let name: String
    /// What a request has to have to be meant.
    package let attributes: [String]

    /// Longest name of a namespace, in bytes.
    static let bytesMax = 1_023
    static let attributesMax = 16

    package init?(_ text: String) {
        var parts = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard Self.isNamespace(parts.removeFirst()), parts.count <= Self.attributesMax, Set(parts).count == parts.count else { return nil }
        guard parts.allSatisfy(Self.isAttribute) else { return nil }
        name = String(text.prefix { $0 != " " })
        attributes = parts.sorted()
    }

    package var description: String { ([name] + attributes).joined(separator: " ") }

    static func isNamespace(_ text: String) -> Bool {
        (1...bytesMax).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7e).contains($0) && !"<>\"&'".utf8.contains($0) }
    }

    /// Of the names that XML has, those that protocols use.
    private static func isAttribute(_ text: String) -> Bool {
        guard let first = text.first, first.isASCII, first.isLetter, text.utf8.count <= bytesMax else { return false }
        return text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    }
}

extension ValueType where Value == DelegatedNamespace {
    static var delegatedNamespace: Self {
        ValueType(expected: "a namespace, and attributes if only requests with these are meant") { text, _ throws(ValueFault) in
            guard let namespace = DelegatedNamespace(text) else { throw .unexpected() }
            return namespace
        } write: {
            $0.description
        }
    }
}

extension ValueType where Value == String {
    static var namespace: Self {
        ValueType(expected: "a namespace such as urn:xmpp:mam:2") { text, _ throws(ValueFault) in
            guard DelegatedNamespace.isNamespace(text) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }
}
