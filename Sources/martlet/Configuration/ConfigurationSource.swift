import Yams

/// A configuration before it has types: what the file and the environment say, each part with its origin.
struct ConfigurationSource: Sendable {
    indirect enum Content: Sendable {
        /// A key with nothing behind it.
        case nothing
        case scalar(String)
        case list([ConfigurationSource])
        case mapping([Entry])
    }

    struct Entry: Sendable {
        let key: String
        let keyOrigin: ConfigurationOrigin
        var value: ConfigurationSource
    }

    var content: Content
    var origin: ConfigurationOrigin

    /// For "expected …, found …".
    var found: String {
        switch content {
        case .nothing: "nothing"
        case .scalar(let text): "\"\(Self.shortened(text))\""
        case .list: "a list"
        case .mapping: "a mapping"
        }
    }

    /// Longest value repeated in a message, in characters.
    private static let shownCharactersMax = 60

    static func shortened(_ text: String) -> String {
        let shown = text.prefix(shownCharactersMax)
        return ConfigurationProblem.printable(shown) + (shown.endIndex == text.endIndex ? "" : "…")
    }
}

/// The text of a configuration file, for parsing and for showing its lines.
struct ConfigurationText: Sendable {
    let name: String
    let text: String
    private let lines: [Substring]

    init(name: String, text: String) {
        self.name = name
        self.text = text
        lines = text.split(omittingEmptySubsequences: false, whereSeparator: Self.endsLine)
    }

    /// What the YAML parser counts as the end of a line (YAML 1.1 §5.4).
    private static func endsLine(_ character: Character) -> Bool {
        switch character {
        case "\n", "\r\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": true
        default: false
        }
    }

    /// A line and a column, counting from one.
    struct Place {
        let line: Int
        let column: Int

        init(line: Int, column: Int) {
            self.line = line
            self.column = column
        }

        init?(_ mark: Mark?) {
            guard let mark, mark.line > 0 else { return nil }
            self.init(line: mark.line, column: mark.column)
        }
    }

    /// Counting from one.
    func line(_ number: Int) -> String? {
        lines.indices.contains(number - 1) ? String(lines[number - 1]) : nil
    }

    func sourceLine(of origin: ConfigurationOrigin) -> String? {
        guard case .file(_, let number, _) = origin else { return nil }
        return line(number)
    }

    func problem(_ place: Place?, path: String = "", _ message: String, hint: String? = nil) -> ConfigurationProblem {
        let origin = origin(place)
        return ConfigurationProblem(at: origin, path: path, message, hint: hint, sourceLine: sourceLine(of: origin))
    }

    func origin(_ place: Place?) -> ConfigurationOrigin {
        guard let place else { return .wholeFile(name) }
        return .file(name, line: place.line, column: place.column)
    }
}

extension ConfigurationText {
    /// Deepest nesting that is looked at. The schema has four levels.
    private static let depthMax = 16

    /// Parses YAML into the source tree.
    ///
    /// Anchors and aliases are refused: a file that uses them can be small and mean millions of values.
    func parse() throws(ConfigurationFailure) -> ConfigurationSource {
        do {
            // Anchors are held weakly by the nodes; the parser keeps them alive.
            let parser = try Parser(yaml: text, resolver: .basic)
            let root = try parser.singleRoot()
            return try withExtendedLifetime(parser) {
                guard let root else { return ConfigurationSource(content: .nothing, origin: .wholeFile(name)) }
                return try source(root, depth: 0)
            }
        } catch let failure as ConfigurationFailure {
            throw failure
        } catch let error as YamlError {
            throw ConfigurationFailure([problem(error)])
        } catch {
            throw ConfigurationFailure([problem(nil, "the file is not YAML")])
        }
    }

    private func source(_ node: Node, depth: Int) throws(ConfigurationFailure) -> ConfigurationSource {
        if node.anchor != nil {
            let message = "anchors and aliases are not supported"
            throw ConfigurationFailure([problem(Place(node.mark), message, hint: "write the value in both places")])
        }
        guard depth < Self.depthMax else {
            throw ConfigurationFailure([problem(Place(node.mark), "nested deeper than \(Self.depthMax) levels")])
        }
        return ConfigurationSource(content: try content(node, depth: depth), origin: origin(Place(node.mark)))
    }

    private func content(_ node: Node, depth: Int) throws(ConfigurationFailure) -> ConfigurationSource.Content {
        switch node {
        case .scalar(let scalar):
            let isNothing = scalar.style == .plain && ["", "~", "null"].contains(scalar.string)
            return isNothing ? .nothing : .scalar(scalar.string)
        case .sequence(let sequence):
            var items: [ConfigurationSource] = []
            for item in sequence { items.append(try source(item, depth: depth + 1)) }
            return .list(items)
        case .mapping(let mapping):
            var entries: [ConfigurationSource.Entry] = []
            for (key, value) in mapping { entries.append(try entry(key, value, depth: depth)) }
            return .mapping(entries)
        case .alias(let alias):
            throw ConfigurationFailure([problem(Place(alias.mark), "anchors and aliases are not supported")])
        }
    }

    private func entry(_ key: Node, _ value: Node, depth: Int) throws(ConfigurationFailure) -> ConfigurationSource.Entry {
        guard case .scalar(let name) = key, key.anchor == nil else {
            throw ConfigurationFailure([problem(Place(key.mark), "a key must be a plain word")])
        }
        let value = try source(value, depth: depth + 1)
        return ConfigurationSource.Entry(key: name.string, keyOrigin: origin(Place(key.mark)), value: value)
    }

    private func problem(_ error: YamlError) -> ConfigurationProblem {
        switch error {
        case .scanner(let context, let what, let mark, _), .parser(let context, let what, let mark, _),
            .composer(let context, let what, let mark, _):
            let message = [context?.text, what].compactMap { $0 }.joined(separator: ", ")
            return problem(Place(mark), "not valid YAML: \(message)", hint: tabHint(at: mark))
        case .duplicatedKeysInMapping(let keys, let context):
            return duplicate(keys.first ?? "", first: Place(line: context.mark.line, column: context.mark.column))
        case .reader(let what, _, _, _):
            return problem(firstUnreadable, "not valid YAML: \(what)")
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            return problem(nil, "the file could not be parsed")
        }
    }

    private func tabHint(at mark: Mark) -> String? {
        line(mark.line)?.prefix { $0 == " " || $0 == "\t" }.contains("\t") == true ? "indent with spaces, not with tabs" : nil
    }

    /// The place of the first character that YAML does not allow.
    private var firstUnreadable: Place? {
        for (index, line) in lines.enumerated() {
            let scalars = line.unicodeScalars
            if let place = scalars.firstIndex(where: { $0 != "\t" && $0.properties.generalCategory == .control }) {
                return Place(line: index + 1, column: scalars.distance(from: scalars.startIndex, to: place) + 1)
            }
        }
        return nil
    }

    /// The parser names the first of the two places; people want to see the second.
    private func duplicate(_ key: String, first: Place) -> ConfigurationProblem {
        let message = "the key \(ConfigurationSource.shortened(key)) is there twice"
        let second = lines.indices.dropFirst(first.line).first { index in
            let rest = String.UnicodeScalarView(lines[index].unicodeScalars.dropFirst(first.column - 1))
            let before = lines[index].unicodeScalars.prefix(first.column - 1)
            return before.allSatisfy { $0 == " " } && String(rest).hasPrefix("\(key):")
        }
        guard let second else { return problem(first, message) }
        return problem(
            Place(line: second + 1, column: first.column), message, hint: "it is set already in line \(first.line)")
    }
}
