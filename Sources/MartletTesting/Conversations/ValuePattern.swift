/// What an attribute or a text may be.
///
/// Outside braces text stands for itself. In braces stands a name (`ConversationNames`), or
/// - `{any}`: anything, but it has to be there;
/// - `{optional}`: anything, or no attribute at all;
/// - `{capture:x}`: anything; later `{x}` stands for it;
/// - `{number}`: digits; `{timestamp}`: a date and time in UTC (XEP-0082);
/// - `{romeo|domain|absent}`: one of several, each a name or, where there is no such name, the word itself; `absent`
///   is no attribute at all.
struct ValuePattern: Hashable, Sendable {
    private enum Piece: Hashable, Sendable {
        case literal(String)
        case name(String)
        case any
        case optional
        case number
        case timestamp
        case capture(String)
        case choice([String])
    }

    private let pieces: [Piece]

    init(_ text: String) throws(ConversationPatternError) {
        var pieces: [Piece] = []
        for piece in try BracedText(text).pieces {
            switch piece {
            case .literal(let literal): pieces.append(.literal(literal))
            case .braced(let content): pieces.append(Self.piece(content))
            }
        }
        self.pieces = pieces
    }

    private static func piece(_ content: String) -> Piece {
        switch content {
        case "any": return .any
        case "optional": return .optional
        case "number": return .number
        case "timestamp": return .timestamp
        default: break
        }
        if content.hasPrefix("capture:") { return .capture(String(content.dropFirst("capture:".count))) }
        if content.contains("|") { return .choice(content.split(separator: "|").map(String.init)) }
        return .name(content)
    }

    /// Whether the value is what the pattern says; `nil` is a value that is not there.
    func matches(_ value: String?, _ names: inout ConversationNames) throws(ConversationPatternError) -> Bool {
        guard let value else { return isContentWithAbsence }
        return try Self.matches(value[...], pieces[...], &names)
    }

    private var isContentWithAbsence: Bool {
        guard pieces.count == 1, let only = pieces.first else { return false }
        switch only {
        case .optional: return true
        case .choice(let choices): return choices.contains("absent")
        case .literal, .name, .any, .number, .timestamp, .capture: return false
        }
    }

    private static func matches(
        _ text: Substring, _ pieces: ArraySlice<Piece>, _ names: inout ConversationNames
    ) throws(ConversationPatternError) -> Bool {
        guard let piece = pieces.first else { return text.isEmpty }
        let rest = pieces.dropFirst()
        for candidate in try candidates(for: piece, in: text, names) {
            var tried = names
            if case .capture(let name) = piece { tried.values[name] = String(candidate) }
            if try matches(text[candidate.endIndex...], rest, &tried) {
                names = tried
                return true
            }
        }
        return false
    }

    /// The beginnings of the text that the piece can stand for, the longest first.
    private static func candidates(
        for piece: Piece, in text: Substring, _ names: ConversationNames
    ) throws(ConversationPatternError) -> [Substring] {
        switch piece {
        case .literal(let literal):
            return beginning(literal, of: text)
        case .name(let name):
            guard let value = names.values[name] else { throw .unknownName(name) }
            return beginning(value, of: text)
        case .choice(let choices):
            return choices.flatMap { beginning(names.values[$0] ?? $0, of: text) }.sorted { $0.count > $1.count }
        case .any, .optional, .capture:
            return text.indices.reversed().map { text[...$0] } + (text.isEmpty ? [text] : [])
        case .number:
            let digits = text.prefix { $0.isASCII && $0.isNumber }
            return digits.isEmpty ? [] : [digits]
        case .timestamp:
            let end = text.firstIndex(of: "Z").map { text[...$0] }
            return end.flatMap { isTimestamp($0) ? [$0] : nil } ?? []
        }
    }

    private static func beginning(_ literal: String, of text: Substring) -> [Substring] {
        text.hasPrefix(literal) ? [text.prefix(literal.count)] : []
    }

    /// `CCYY-MM-DDThh:mm:ss[.sss]Z`, as far as the shape goes.
    private static func isTimestamp(_ text: Substring) -> Bool {
        let shape = "dddd-dd-ddTdd:dd:dd"
        guard text.count > shape.count else { return false }
        let fits = zip(text, shape).allSatisfy { character, place in
            place == "d" ? character.isASCII && character.isNumber : character == place
        }
        let tail = text.dropFirst(shape.count)
        guard fits, tail != "Z" else { return fits }
        let fraction = tail.dropFirst().dropLast()
        return tail.first == "." && !fraction.isEmpty && fraction.allSatisfy { $0.isASCII && $0.isNumber }
    }
}
