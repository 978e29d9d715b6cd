/// The commented example file and the reference page, made from the schema.
package enum ConfigurationDocuments {
    /// A complete file that means `configuration`: every key with its meaning, commented out where it has its default.
    ///
    /// A comment begins with `# ` and a key that is commented out with `#` alone, so that taking away the sign is enough.
    package static func exampleFile(for configuration: ServerConfiguration = example) -> String {
        var page = ExampleFile(domain: configuration.domains.first?.name ?? "example.org")
        page.comment(
            """
            Configuration of Martlet. Every key is here with its meaning. One that begins with # has the value that \
            is shown, or none, until you take the # away and change it. Times and sizes have units (30s, 5m, 256KiB); \
            yes and no are written true and false. "martlet config check" finds mistakes; "martlet config reload" applies \
            changes, except those marked (restart). An environment variable overrides the key in its name: MARTLET_LOG_LEVEL, \
            MARTLET_LISTENERS_0_PORT.
            """, indent: 0)
        page.write(ConfigurationSchema.keys, ConfigurationSchema.root.show(configuration), indent: 0)
        return page.text
    }

    /// The defaults with the one thing that has none: a domain.
    package static var example: ServerConfiguration {
        var configuration = ServerConfiguration()
        configuration.domains = [.init(name: "example.org")]
        return configuration
    }

    /// The reference page `docs/configuration.md`.
    package static func referencePage() -> String {
        var page = ReferencePage()
        page.write(introduction)
        for key in ConfigurationSchema.keys { page.write(key) }
        return page.text
    }

    private static let introduction = """
        # Configuration

        <!-- Generated from the schema in Sources/martlet/Configuration. `WRITE_DOCS=1 swift test --filter Configuration` writes it. -->

        Martlet reads one YAML file, given by `martlet serve --config FILE`. The shortest one that works names a domain:

        ```yaml
        domains:
          - name: example.org
            certificate: /etc/martlet/example.org.pem
            key: /etc/martlet/example.org.key
        ```

        - `martlet config example` prints a file with every key, its meaning and its default.
        - `martlet config check` says what is wrong with a file: place, what was found, what is expected. Unknown keys
          and values of the wrong type are errors, and all of them are reported. Nothing is guessed.
        - `martlet config show` prints every value with its origin: the default, a line of the file, an entry of a directory or a variable.
        - `martlet config reload`, or the signal SIGHUP, reads the file and the certificates again. A file with a
          mistake changes nothing. The column "Change" tells which values a reload applies and which wait for a restart.

        **Values.** A time has a unit: `500ms`, `30s`, `5m`, `2h`, `1d`. So has a size: `10000B`, `64KiB`, `1MiB`,
        `1GiB`. Yes and no are `true` and `false`. Relative paths start at the folder of the file, where nothing else is
        said. Anchors and aliases are not supported. The file may be at most 1 MiB long.

        **Environment.** A variable overrides one key. Its name is `MARTLET_` and the path of the key in capitals, with
        `_` for dots and dashes: `limits.stanza-bytes` is `MARTLET_LIMITS_STANZA_BYTES`. Entries of lists are counted
        from zero: `MARTLET_LISTENERS_0_PORT` is the port of the first listener, of the file or, if the file has none,
        of the defaults; the number after the last adds an entry. A list of values is written with commas:
        `MARTLET_ACCESS_ADMINS=a@example.org,b@example.org`; a comma that belongs to a value has a backslash before it, and so has a
        backslash before one of the two; an empty variable is an empty list. A variable beginning
        with `MARTLET_` that names no key is an error, except `MARTLET_CONFIG` and what Docker and Kubernetes set for a
        service called martlet.
        """
}

/// Builds the example file.
private struct ExampleFile {
    /// Width to which comments are filled, in characters.
    private static let width = 100

    /// Stands for example.org in what is shown where there is no default.
    private let domain: String
    private(set) var text = ""

    init(domain: String) { self.domain = domain }

    mutating func write(_ keys: [ConfigurationKey], _ fields: [ShownField], indent: Int) {
        for (key, field) in zip(keys, fields) {
            if indent == 0 { text += "\n" }
            comment(summary(of: key), indent: indent)
            write(key, field.value, indent: indent)
        }
    }

    private mutating func write(_ key: ConfigurationKey, _ value: ShownValue, indent: Int) {
        switch (key.form, value) {
        case (.section(let keys), .section(let fields)):
            line("\(key.name):", indent: indent)
            write(keys, fields, indent: indent + 2)
        case (.entries(let keys, _), .entries(let entries)) where entries.isEmpty: writeTemplate(key, keys, indent: indent)
        case (.entries(let keys, _), .entries(let entries)):
            line("\(key.name):", indent: indent)
            for (index, entry) in entries.enumerated() { write(entry, keys, isFirst: index == 0, indent: indent + 2) }
        default:
            line("\(mark(key, value))\(key.name): \(shown(key, value))", indent: indent)
        }
    }

    /// An entry where there is none, commented out.
    private mutating func writeTemplate(_ key: ConfigurationKey, _ keys: [ConfigurationKey], indent: Int) {
        line("#\(key.name):", indent: indent)
        for (index, inner) in keys.enumerated() {
            comment(summary(of: inner), indent: indent + 2)
            guard !writeParts(of: inner, indent: indent + 4) else { continue }
            let text = "\(inner.name): \(shown(inner, inner.standard))"
            line(index == 0 ? "#- \(text)" : "  #\(text)", indent: indent + 2)
        }
    }

    /// - Returns: whether the key has parts.
    private mutating func writeParts(of key: ConfigurationKey, indent: Int) -> Bool {
        switch key.form {
        case .section(let keys): writeTemplate(key, of: keys, indent: indent)
        case .entries(let keys, _): writeTemplate(key, keys, indent: indent)
        case .value, .list: return false
        }
        return true
    }

    /// A section of such an entry.
    private mutating func writeTemplate(_ key: ConfigurationKey, of keys: [ConfigurationKey], indent: Int) {
        line("#\(key.name):", indent: indent)
        for inner in keys {
            comment(summary(of: inner), indent: indent + 2)
            if !writeParts(of: inner, indent: indent + 2) { line("#\(inner.name): \(shown(inner, inner.standard))", indent: indent + 2) }
        }
    }

    /// The first entry shows and explains its keys; the others show those that they need.
    private mutating func write(_ entry: ShownEntry, _ keys: [ConfigurationKey], isFirst: Bool, indent: Int) {
        var dash = "- "
        for (key, field) in zip(keys, entry.fields) where isFirst || key.isRequired || field.value != key.standard {
            if isFirst { comment(summary(of: key), indent: dash == "- " ? indent : indent + 2) }
            if dash == "- " {
                line("- \(key.name): \(shown(key, field.value))", indent: indent)
                dash = "  "
            } else {
                write(key, field.value, indent: indent + 2)
            }
        }
    }

    private func mark(_ key: ConfigurationKey, _ value: ShownValue) -> String {
        key.isRequired || value != key.standard ? "" : "#"
    }

    private func shown(_ key: ConfigurationKey, _ value: ShownValue) -> String {
        switch value {
        case .scalar(let text): YAMLText.scalar(text)
        case .list(let texts): YAMLText.list(texts.isEmpty ? [example(key)] : texts)
        case .unset: YAMLText.scalar(example(key))
        case .section, .entries: ""
        }
    }

    private func example(_ key: ConfigurationKey) -> String {
        key.example?.replacing("example.org", with: domain) ?? ""
    }

    private func summary(of key: ConfigurationKey) -> String {
        switch key.form {
        case .value(let type, let change): summary(key, type: type, change)
        case .list(let type, let change): summary(key, type: "a list, each \(type)", change)
        case .section, .entries: key.summary
        }
    }

    private func summary(_ key: ConfigurationKey, type: String, _ change: ConfigurationChange) -> String {
        let standard = key.standard == .unset || key.standard == .list([]) ? " None by default." : ""
        let restart = change == .restart ? " (restart)" : ""
        return "\(key.summary) Value: \(type).\(key.isRequired ? "" : standard)\(restart)"
    }

    /// Fills a paragraph of comment lines.
    mutating func comment(_ paragraph: String, indent: Int) {
        var current = "#"
        for word in paragraph.split(separator: " ") {
            if indent + current.count + 1 + word.count > Self.width, current != "#" {
                line(current, indent: indent)
                current = "#"
            }
            current += " \(word)"
        }
        line(current, indent: indent)
    }

    private mutating func line(_ content: String, indent: Int) {
        text += String(repeating: " ", count: indent) + content + "\n"
    }
}

/// Builds the reference page.
private struct ReferencePage {
    private(set) var text = ""

    mutating func write(_ paragraph: String) { text += paragraph + "\n" }

    mutating func write(_ key: ConfigurationKey) {
        write("\n## \(key.name)\n\n\(key.summary)\n")
        switch key.form {
        case .section(let keys): writeTable(keys, variable: key.environmentName)
        case .entries(let keys, _):
            write("A list of mappings with these keys. \(standard(of: key))\n")
            writeTable(keys, variable: "\(key.environmentName)_0")
        case .value, .list: writeTable([key], variable: "")
        }
    }

    private mutating func writeTable(_ keys: [ConfigurationKey], variable: String) {
        write("| Key | Value | Default | Change | Meaning |\n|---|---|---|---|---|")
        writeRows(keys, prefix: "")
        let first = keys.first?.environmentName ?? ""
        write("\nVariables: `MARTLET_\(variable)_` and the key, as in `MARTLET_\(variable)_\(first)`.")
    }

    private mutating func writeRows(_ keys: [ConfigurationKey], prefix: String) {
        for key in keys {
            let name = prefix + key.name
            switch key.form {
            case .value(let type, let change): writeRow(name, type, key, change)
            case .list(let type, let change): writeRow(name, "list, each \(type)", key, change)
            case .section(let inner):
                write("| `\(name)` | mapping | | | \(escaped(key.summary)) |")
                writeRows(inner, prefix: "\(name).")
            case .entries(let inner, let change):
                writeRow(name, "list of mappings", key, change)
                writeRows(inner, prefix: "\(name)[].")
            }
        }
    }

    private mutating func writeRow(_ name: String, _ type: String, _ key: ConfigurationKey, _ change: ConfigurationChange) {
        let takesEffect = change == .reload ? "reload" : "restart"
        write("| `\(name)` | \(escaped(type)) | \(standard(key)) | \(takesEffect) | \(escaped(key.summary)) |")
    }

    private func standard(_ key: ConfigurationKey) -> String {
        switch key.standard {
        case .unset: key.isRequired ? "required" : "not set"
        case .scalar(let text): "`\(YAMLText.scalar(text))`"
        case .list(let texts): texts.isEmpty ? "none" : texts.map { "`\($0)`" }.joined(separator: ", ")
        case .entries: "none"
        case .section: ""
        }
    }

    private func standard(of key: ConfigurationKey) -> String {
        guard case .entries(let entries) = key.standard, !entries.isEmpty else { return key.isRequired ? "At least one is required." : "None by default." }
        return "Without the key there are \(entries.count): \(entries.map { "`\($0.identity)`" }.joined(separator: " and "))."
    }

    private func escaped(_ text: String) -> String { text.replacing("|", with: "\\|") }
}
