/// What the names in braces stand for: addresses that are fresh in every run, and what was captured.
///
/// - `{romeo}` is the bare JID of the account, `{romeo/orchard}` the full JID that the client was given,
///   `{romeo.localpart}` and `{romeo.password}` its parts, `{romeo.plain}` and `{romeo.scram}` the first messages of SASL
///   PLAIN and SCRAM in base64.
/// - `{council}` is the address of a room, `{rooms}` the one of the service that the rooms are at.
/// - `{domain}` is the server's domain, `{DOMAIN}` the same in capitals, `{self}` the full JID of whoever receives or sends.
/// - `{{` is a brace.
package struct ConversationNames: Hashable, Sendable {
    /// Words that mean something in patterns and so name nobody.
    package static let reserved: Set<String> = [
        "absent", "any", "capture", "domain", "number", "optional", "rooms", "self", "timestamp",
    ]

    package var values: [String: String]

    package init(_ values: [String: String] = [:]) {
        self.values = values
    }

    /// The text with every name replaced.
    package func filled(_ text: String) throws(ConversationPatternError) -> String {
        var result = ""
        for piece in try BracedText(text).pieces {
            switch piece {
            case .literal(let literal): result += literal
            case .braced(let name):
                guard let value = values[name] else { throw .unknownName(name) }
                result += value
            }
        }
        return result
    }
}

/// What is wrong in the text of a block.
package enum ConversationPatternError: Error, Hashable, CustomStringConvertible {
    case unknownName(String)
    case unclosedBrace(String)
    case badXML(String)

    package var description: String {
        switch self {
        case .unknownName(let name): "{\(name)} stands for nothing here"
        case .unclosedBrace(let text): "a brace is not closed in '\(text)'"
        case .badXML(let reason): "the block is not well-formed: \(reason)"
        }
    }
}

/// Text, taken apart at its braces.
struct BracedText {
    enum Piece: Hashable {
        case literal(String)
        case braced(String)
    }

    private(set) var pieces: [Piece] = []

    init(_ text: String) throws(ConversationPatternError) {
        var rest = text[...]
        var literal = ""
        while let brace = rest.firstIndex(of: "{") {
            literal += rest[..<brace]
            rest = rest[rest.index(after: brace)...]
            if rest.first == "{" {
                literal += "{"
                rest.removeFirst()
                continue
            }
            guard let end = rest.firstIndex(of: "}") else { throw .unclosedBrace(text) }
            if !literal.isEmpty { pieces.append(.literal(literal)) }
            literal = ""
            pieces.append(.braced(String(rest[..<end])))
            rest = rest[rest.index(after: end)...]
        }
        literal += rest
        if !literal.isEmpty { pieces.append(.literal(literal)) }
    }
}
