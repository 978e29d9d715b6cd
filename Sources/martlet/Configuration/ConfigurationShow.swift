/// One value of a configuration, its path and its origin: what `martlet config show` prints.
package struct ConfigurationSetting: Sendable, Hashable, CustomStringConvertible {
    package let path: String
    /// As it would stand in the file; nil when it is not set.
    package let value: String?
    package let origin: ConfigurationOrigin

    package var text: String { "\(path): \(value ?? "(not set)")" }
    package var description: String { "\(text)  # \(origin)" }
}

extension LoadedConfiguration {
    /// Every value, in the order of the schema.
    package var settings: [ConfigurationSetting] {
        ShownValue.section(ConfigurationSchema.root.show(configuration)).leaves(at: "") { index, _ in "[\(index)]" }.map {
            ConfigurationSetting(path: $0.path, value: $0.value, origin: origins[$0.path] ?? .standard)
        }
    }
}

extension ShownValue {
    struct Leaf: Hashable {
        let path: String
        let value: String?
    }

    /// The single values and lists, with their paths. `label` names an entry by its number and identity.
    func leaves(at path: String, _ label: (Int, String) -> String) -> [Leaf] {
        switch self {
        case .unset: [Leaf(path: path, value: nil)]
        case .scalar(let text): [Leaf(path: path, value: YAMLText.scalar(text))]
        case .list(let texts): [Leaf(path: path, value: YAMLText.list(texts))]
        case .section(let fields): Self.leaves(fields, at: path, label)
        case .entries(let entries):
            entries.enumerated().flatMap { index, entry in
                Self.leaves(entry.fields, at: path + label(index, entry.identity), label)
            }
        }
    }

    private static func leaves(_ fields: [ShownField], at path: String, _ label: (Int, String) -> String) -> [Leaf] {
        fields.flatMap { $0.value.leaves(at: path.isEmpty ? $0.name : "\(path).\($0.name)", label) }
    }
}

/// Values as YAML writes them.
enum YAMLText {
    /// Plain where every reader takes it for the same text, in quotes otherwise.
    static func scalar(_ text: String) -> String {
        isPlain(text) ? text : quoted(text)
    }

    static func list(_ texts: [String]) -> String {
        "[\(texts.map(scalar).joined(separator: ", "))]"
    }

    private static func isPlain(_ text: String) -> Bool {
        guard let first = text.utf8.first, first != 0x2d, first != 0x7e, text != "null" else { return false }
        let isWord = { (byte: UInt8) in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || "-_./+@~=".utf8.contains(byte)
        }
        return text.utf8.allSatisfy(isWord)
    }

    private static func quoted(_ text: String) -> String {
        "\"\(text.unicodeScalars.map(escaped).joined())\""
    }

    /// YAML 1.1 §5.6. What is not printable, or would end the line, is written as its number.
    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        switch scalar.value {
        case 0x22, 0x5c: "\\\(scalar)"
        case 0x2028, 0x2029, 0xfeff: numbered(scalar)
        case 0x20...0x7e, 0xa0...0xfffd, 0x10000...: String(scalar)
        default: numbered(scalar)
        }
    }

    private static func numbered(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16)
        return "\\U\(String(repeating: "0", count: 8 - digits.count))\(digits)"
    }
}
