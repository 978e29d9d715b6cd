/// The environment variables that override the file.
///
/// A variable's name is `MARTLET_` and the path of a key, in capitals, with `_` for every dot, bracket and dash:
/// `limits.stanza-bytes` is `MARTLET_LIMITS_STANZA_BYTES`, `listeners[0].port` is `MARTLET_LISTENERS_0_PORT`.
struct ConfigurationEnvironment {
    static let prefix = "MARTLET_"

    fileprivate enum Step: Hashable {
        case key(String)
        case index(Int)
    }

    fileprivate struct Override {
        let variable: String
        let value: String
        let steps: [Step]
        let isList: Bool
    }

    /// Lays the variables over `source`, and returns what is wrong with them.
    static func apply(
        _ environment: [String: String], except others: Set<String>, to source: inout ConfigurationSource
    ) -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        var overrides: [Override] = []
        for (variable, value) in environment where variable.hasPrefix(prefix) && !others.contains(variable) {
            if let (steps, isList) = steps(variable.dropFirst(prefix.count), ConfigurationSchema.keys) {
                overrides.append(Override(variable: variable, value: value, steps: steps, isList: isList))
            } else if !isServiceLink(variable, value) {
                problems.append(unknown(variable))
            }
        }
        for override in overrides.sorted(by: precedes) {
            let problem = set(override, in: &source, override.steps[...], ConfigurationSchema.keys)
            problems.append(contentsOf: [problem].compactMap { $0 })
        }
        return problems.sorted { $0.origin.description < $1.origin.description }
    }

    /// Entries in the order of their numbers, so that several can be added.
    private static func precedes(_ one: Override, _ other: Override) -> Bool {
        for (step, otherStep) in zip(one.steps, other.steps) where step != otherStep {
            if case .index(let index) = step, case .index(let otherIndex) = otherStep { return index < otherIndex }
            break
        }
        return one.variable < other.variable
    }

    /// The way through the tree that a name stands for.
    private static func steps(_ name: Substring, _ keys: [ConfigurationKey]) -> (steps: [Step], isList: Bool)? {
        for key in keys where name.hasPrefix(key.environmentName) {
            let rest = name.dropFirst(key.environmentName.count)
            switch key.form {
            case .value where rest.isEmpty: return ([.key(key.name)], false)
            case .list where rest.isEmpty: return ([.key(key.name)], true)
            case .value, .list: continue
            case .section(let inner):
                guard rest.first == "_", let found = steps(rest.dropFirst(), inner) else { continue }
                return ([.key(key.name)] + found.steps, found.isList)
            case .entries(let inner, _):
                let digits = rest.dropFirst().prefix { $0 != "_" }
                guard rest.first == "_", let index = WholeNumber.parse(digits),
                    let found = steps(rest[digits.endIndex...].dropFirst(), inner)
                else { continue }
                return ([.key(key.name), .index(index)] + found.steps, found.isList)
            }
        }
        return nil
    }

    private static func set(
        _ override: Override, in source: inout ConfigurationSource, _ steps: ArraySlice<Step>, _ keys: [ConfigurationKey]
    ) -> ConfigurationProblem? {
        guard let step = steps.first else {
            source = override.source
            return nil
        }
        switch (step, source.content) {
        case (.key(let name), .nothing):
            source.content = .mapping([])
            return set(name, override, in: &source, [], steps, keys)
        case (.key(let name), .mapping(let entries)):
            return set(name, override, in: &source, entries, steps, keys)
        case (.index(let index), .list(let items)):
            return set(index, override, in: &source, items, steps, keys)
        case (.key, _), (.index, _):
            // The file has something else here, which the type check is going to report.
            return nil
        }
    }

    private static func set(
        _ name: String, _ override: Override, in source: inout ConfigurationSource, _ entries: [ConfigurationSource.Entry],
        _ steps: ArraySlice<Step>, _ keys: [ConfigurationKey]
    ) -> ConfigurationProblem? {
        guard let key = keys.first(where: { $0.name == name }) else { return nil }
        let origin = ConfigurationOrigin.environment(override.variable)
        var entries = entries
        let index = entries.firstIndex { $0.key == name } ?? entries.endIndex
        if index == entries.endIndex {
            entries.append(.init(key: name, keyOrigin: origin, value: key.missing(origin)))
        }
        let problem = set(override, in: &entries[index].value, steps.dropFirst(), key.inner)
        source.content = .mapping(entries)
        return problem
    }

    private static func set(
        _ index: Int, _ override: Override, in source: inout ConfigurationSource, _ items: [ConfigurationSource],
        _ steps: ArraySlice<Step>, _ keys: [ConfigurationKey]
    ) -> ConfigurationProblem? {
        let origin = ConfigurationOrigin.environment(override.variable)
        guard index <= items.count else {
            return ConfigurationProblem(
                at: origin, path: "", "there is no entry \(index)", hint: "the next one to add is \(items.count)")
        }
        var items = items
        if index == items.count { items.append(.init(content: .nothing, origin: origin)) }
        let problem = set(override, in: &items[index], steps.dropFirst(), keys)
        source.content = .list(items)
        return problem
    }

    private static func unknown(_ variable: String) -> ConfigurationProblem {
        let nearest = NearestName.nearest(to: variable, among: names(ConfigurationSchema.keys, prefix: prefix))
        return ConfigurationProblem(
            at: .environment(variable), path: "", "no key has this variable",
            hint: nearest.map { "did you mean \($0)?" } ?? "names are \(prefix) and the path of a key, as in \(prefix)LOG_LEVEL")
    }

    /// The variables of all keys, with those of the first entry where there are many.
    private static func names(_ keys: [ConfigurationKey], prefix: String) -> [String] {
        keys.flatMap { key in
            let name = prefix + key.environmentName
            return switch key.form {
            case .value, .list: [name]
            case .section(let inner): names(inner, prefix: name + "_")
            case .entries(let inner, _): names(inner, prefix: name + "_0_")
            }
        }
    }

    /// Kubernetes and Docker set variables for a service that is called martlet, of which we must not complain.
    private static func isServiceLink(_ variable: String, _ value: String) -> Bool {
        variable.hasSuffix("_SERVICE_HOST") || variable.contains("_SERVICE_PORT") || value.hasPrefix("tcp://")
            || value.hasPrefix("udp://") || ["_TCP_PROTO", "_TCP_PORT", "_TCP_ADDR"].contains(where: variable.hasSuffix)
    }
}

extension ConfigurationEnvironment.Override {
    /// A list is written with commas.
    fileprivate var source: ConfigurationSource {
        let origin = ConfigurationOrigin.environment(variable)
        guard isList else { return ConfigurationSource(content: value.isEmpty ? .nothing : .scalar(value), origin: origin) }
        return ConfigurationSource(content: .list(ConfigurationSource.items(writtenAs: value, origin)), origin: origin)
    }
}

extension ConfigurationKey {
    fileprivate var inner: [ConfigurationKey] {
        switch form {
        case .value, .list: []
        case .section(let keys), .entries(let keys, _): keys
        }
    }

    /// What an override finds where the file says nothing: of entries, the default ones.
    fileprivate func missing(_ origin: ConfigurationOrigin) -> ConfigurationSource {
        guard case .entries = form, let standard = standard.source else {
            return ConfigurationSource(content: .nothing, origin: origin)
        }
        return standard
    }
}

extension ShownValue {
    /// The source that reads back as this value; nil when it is not set.
    fileprivate var source: ConfigurationSource? {
        let content: ConfigurationSource.Content
        switch self {
        case .unset: return nil
        case .scalar(let text): content = .scalar(text)
        case .list(let texts): content = .list(texts.map { ConfigurationSource(content: .scalar($0), origin: .standard) })
        case .section(let fields): content = .mapping(Self.entries(fields))
        case .entries(let entries):
            content = .list(entries.map { ConfigurationSource(content: .mapping(Self.entries($0.fields)), origin: .standard) })
        }
        return ConfigurationSource(content: content, origin: .standard)
    }

    private static func entries(_ fields: [ShownField]) -> [ConfigurationSource.Entry] {
        fields.compactMap { field in
            field.value.source.map { ConfigurationSource.Entry(key: field.name, keyOrigin: .standard, value: $0) }
        }
    }
}
