/// What is learned while a source becomes a configuration.
struct ConfigurationReading {
    /// Most problems that are looked for in one configuration. Nobody reads more, and a file can hold very many.
    static let problemsMax = 100

    let text: ConfigurationText?
    let context: ValueContext
    private(set) var problems: [ConfigurationProblem] = []
    /// Where each value that is not a default came from, by path.
    private(set) var origins: [String: ConfigurationOrigin] = [:]

    init(text: ConfigurationText?, context: ValueContext) {
        self.text = text
        self.context = context
    }

    var hasRoom: Bool { problems.count < Self.problemsMax }

    mutating func report(at origin: ConfigurationOrigin, path: String, _ message: String, hint: String? = nil) {
        guard hasRoom else { return }
        let line = text?.sourceLine(of: origin)
        problems.append(ConfigurationProblem(at: origin, path: path, message, hint: hint, sourceLine: line))
    }

    /// What was found before.
    mutating func report(_ found: [ConfigurationProblem]) { problems += found.prefix(Self.problemsMax - problems.count) }

    mutating func note(_ origin: ConfigurationOrigin, at path: String) {
        guard origin != .standard else { return }
        origins[path] = origin
    }
}

/// The keys that one mapping of the file may hold, and where their values go in `Section`.
struct ConfigurationMapping<Section: ConfigurationSection>: Sendable {
    let fields: [ConfigurationField<Section>]

    init(_ fields: [ConfigurationField<Section>]) { self.fields = fields }

    var keys: [ConfigurationKey] { fields.map(\.key) }

    /// Reads all it can, and reports all that is wrong.
    func read(
        _ source: ConfigurationSource, at path: String, into section: inout Section, _ reading: inout ConfigurationReading
    ) {
        let entries: [ConfigurationSource.Entry]
        switch source.content {
        case .mapping(let found): entries = found
        case .nothing: entries = []
        case .scalar, .list:
            reading.report(at: source.origin, path: path, "expected a mapping with keys, found \(source.found)", hint: keysHint)
            return
        }
        for entry in entries where reading.hasRoom { read(entry, at: path, into: &section, &reading) }
        for field in fields where field.key.isRequired && !entries.contains(where: { $0.key == field.key.name }) {
            reading.report(at: source.origin, path: path, "the key \(field.key.name) is missing", hint: field.key.summary)
        }
    }

    private func read(
        _ entry: ConfigurationSource.Entry, at path: String, into section: inout Section,
        _ reading: inout ConfigurationReading
    ) {
        let name = ConfigurationSource.shortened(entry.key)
        let entryPath = path.isEmpty ? name : "\(path).\(name)"
        guard let field = fields.first(where: { $0.key.name == entry.key }) else {
            reading.report(at: entry.keyOrigin, path: entryPath, "there is no such key", hint: hint(for: entry.key))
            return
        }
        field.read(entry.value, entryPath, &section, &reading)
    }

    private func hint(for unknown: String) -> String {
        let nearest = NearestName.nearest(to: unknown, among: fields.map(\.key.name))
        return nearest.map { "did you mean \($0)?" } ?? keysHint
    }

    private var keysHint: String { "the keys here are \(fields.map(\.key.name).joined(separator: ", "))" }

    /// Puts back what `running` has where only a restart changes it.
    func keepWhatNeedsRestart(of running: Section, in section: inout Section) {
        for field in fields { field.keep(running, &section) }
    }

    func show(_ section: Section) -> [ShownField] {
        fields.map { ShownField(name: $0.key.name, value: $0.show(section)) }
    }
}

/// One key of a mapping: how its value is read into `Section` and shown.
struct ConfigurationField<Section: ConfigurationSection>: Sendable {
    /// Where in the section the key's value goes.
    typealias Property<Value> = any WritableKeyPath<Section, Value> & Sendable
    typealias Read = @Sendable (ConfigurationSource, String, inout Section, inout ConfigurationReading) -> Void

    let key: ConfigurationKey
    let read: Read
    let show: @Sendable (Section) -> ShownValue
    /// Puts back the running value if only a restart changes it.
    let keep: @Sendable (Section, inout Section) -> Void
}

extension ConfigurationField {
    /// Most values or entries in one list. A file of the largest size could hold more; no server needs them.
    static var listCountMax: Int { 10_000 }

    /// A single value.
    static func value<Value>(
        _ name: String, _ property: Property<Value>, _ type: ValueType<Value>,
        _ change: ConfigurationChange, isRequired: Bool = false, example: String? = nil, _ summary: String
    ) -> Self {
        let show: @Sendable (Section) -> ShownValue = { type.write($0[keyPath: property]).map(ShownValue.scalar) ?? .unset }
        let key = ConfigurationKey(
            name: name, summary: summary, form: .value(type: type.expected, change: change), isRequired: isRequired,
            standard: isRequired ? .unset : show(Section()), example: example)
        return ConfigurationField(key: key) { source, path, section, reading in
            guard let value = type.read(source, path, &reading) else { return }
            section[keyPath: property] = value
        } show: {
            show($0)
        } keep: { running, section in
            if change == .restart { section[keyPath: property] = running[keyPath: property] }
        }
    }

    /// A list of values, in which none is twice.
    static func list<Value: Hashable>(
        _ name: String, _ property: Property<[Value]>, of type: ValueType<Value>,
        _ change: ConfigurationChange, counts: ClosedRange<Int> = 0...listCountMax, example: String? = nil, _ summary: String
    ) -> Self {
        let show: @Sendable (Section) -> ShownValue = { .list($0[keyPath: property].compactMap(type.write)) }
        let key = ConfigurationKey(
            name: name, summary: summary, form: .list(of: type.expected, change: change), isRequired: false,
            standard: show(Section()), example: example)
        return ConfigurationField(key: key) { source, path, section, reading in
            guard let items = source.items(counts, path, "a list (each \(type.expected))", &reading) else { return }
            var values: [Value] = []
            var seen: Set<Value> = []
            for (index, item) in items.enumerated() where reading.hasRoom {
                guard let value = type.read(item, "\(path)[\(index)]", &reading) else { continue }
                if seen.insert(value).inserted {
                    values.append(value)
                } else {
                    reading.report(at: item.origin, path: "\(path)[\(index)]", "\(item.found) is in the list already")
                }
            }
            section[keyPath: property] = values
        } show: {
            show($0)
        } keep: { running, section in
            if change == .restart { section[keyPath: property] = running[keyPath: property] }
        }
    }

    /// A mapping with keys of its own.
    static func section<Inner: ConfigurationSection>(
        _ name: String, _ property: Property<Inner>, _ mapping: ConfigurationMapping<Inner>,
        _ summary: String
    ) -> Self {
        let show: @Sendable (Section) -> ShownValue = { .section(mapping.show($0[keyPath: property])) }
        let key = ConfigurationKey(
            name: name, summary: summary, form: .section(mapping.keys), isRequired: false, standard: show(Section()),
            example: nil)
        return ConfigurationField(key: key) { source, path, section, reading in
            mapping.read(source, at: path, into: &section[keyPath: property], &reading)
        } show: {
            show($0)
        } keep: { running, section in
            mapping.keepWhatNeedsRestart(of: running[keyPath: property], in: &section[keyPath: property])
        }
    }

    /// A list of mappings, told from each other by `identity`.
    static func entries<Inner: ConfigurationSection>(
        _ name: String, _ property: Property<[Inner]>, _ mapping: ConfigurationMapping<Inner>,
        _ change: ConfigurationChange, counts: ClosedRange<Int> = 1...listCountMax, isRequired: Bool = false,
        identity: @escaping @Sendable (Inner) -> String, _ summary: String
    ) -> Self {
        let show: @Sendable (Section) -> ShownValue = { section in
            .entries(section[keyPath: property].map { ShownEntry(identity: identity($0), fields: mapping.show($0)) })
        }
        let key = ConfigurationKey(
            name: name, summary: summary, form: .entries(mapping.keys, change: change), isRequired: isRequired,
            standard: show(Section()), example: nil)
        return ConfigurationField(key: key) { source, path, section, reading in
            guard let items = source.items(counts, path, "a list of mappings", &reading) else { return }
            section[keyPath: property] = items.enumerated().map { index, item in
                var inner = Inner()
                reading.note(item.origin, at: "\(path)[\(index)]")
                mapping.read(item, at: "\(path)[\(index)]", into: &inner, &reading)
                return inner
            }
        } show: {
            show($0)
        } keep: { running, section in
            guard change == .reload else { return section[keyPath: property] = running[keyPath: property] }
            for index in section[keyPath: property].indices {
                let name = identity(section[keyPath: property][index])
                guard let before = running[keyPath: property].first(where: { identity($0) == name }) else { continue }
                mapping.keepWhatNeedsRestart(of: before, in: &section[keyPath: property][index])
            }
        }
    }
}

extension ValueType {
    /// The value, or nil after reporting why there is none.
    fileprivate func read(_ source: ConfigurationSource, _ path: String, _ reading: inout ConfigurationReading) -> Value? {
        reading.note(source.origin, at: path)
        guard case .scalar(let text) = source.content else {
            reading.report(at: source.origin, path: path, "expected \(expected), found \(source.found)", hint: source.absenceHint)
            return nil
        }
        do {
            return try parse(text, reading.context)
        } catch {
            switch error {
            case .unexpected(let hint):
                reading.report(at: source.origin, path: path, "expected \(expected), found \(source.found)", hint: hint)
            case .impossible(let message, let hint):
                reading.report(at: source.origin, path: path, message, hint: hint)
            }
            return nil
        }
    }
}

extension ConfigurationSource {
    /// For a key that has nothing behind it.
    fileprivate var absenceHint: String? {
        if case .nothing = content { "leave the key out to get the default" } else { nil }
    }

    /// The items of a list of acceptable length, or nil after reporting why there are none.
    fileprivate func items(
        _ counts: ClosedRange<Int>, _ path: String, _ expected: String, _ reading: inout ConfigurationReading
    ) -> [ConfigurationSource]? {
        reading.note(origin, at: path)
        guard case .list(let items) = content else {
            let hint = absenceHint ?? "begin each item with a dash"
            reading.report(at: origin, path: path, "expected \(expected), found \(found)", hint: hint)
            return nil
        }
        guard counts.contains(items.count) else {
            let bound = items.isEmpty ? "at least \(counts.lowerBound)" : "from \(counts.lowerBound) to \(counts.upperBound)"
            reading.report(at: origin, path: path, "expected \(bound) in the list, found \(items.count)")
            return nil
        }
        return items
    }
}
