import MartletLDAP

/// Lays what a directory says over what the file says.
///
/// An entry is a part of the configuration: the base the whole, `cn=limits` below it the section `limits`, `cn=example.org,cn=domains` the item of `domains` with
/// that name, `cn=Theatre,cn=shared-groups,cn=example.org,cn=domains` one of that domain's groups, and so on. Its `martletSetting` are `name=value`, the name being
/// the path of a key from there: `limits.offline-messages=500` in the base, `offline-messages=500` in `cn=limits`. A list is written with commas, as in a variable;
/// what is said of it in several values is put together.
struct ConfigurationLayering {
    /// Lists whose items are told apart by a name, with the key that it is. An entry of that name changes the item that there is, or adds one; switched off
    /// (`martletEnabled`), it takes it away. Of other lists the order or the whole counts: if the directory has any items, they are all that there are, in the order
    /// of the numbers before their names (`cn={10}operators`), those without one last.
    static let names = [
        "domains": "name", "login-groups": "name", "oauth": "issuer", "directories": "domain", "components": "name", "peers": "domain",
        "domains.shared-groups": "name",
    ]
    /// Below which single machines have what is said of them alone.
    private static let nodes = "nodes"

    private(set) var problems: [ConfigurationProblem] = []

    mutating func lay(_ tree: ConfigurationTree, over source: inout ConfigurationSource) {
        let (root, unnamed) = ConfigurationBranch.root(of: tree)
        for entry in unnamed { report(.directory(entry.name), "", "an entry of the configuration is named by cn alone") }
        guard root.isEnabled else { return }
        lay(root, ConfigurationSchema.keys, at: "", over: &source)
        guard let node = tree.node, let own = root[Self.nodes]?[node], own.isEnabled else { return }
        lay(own, ConfigurationSchema.keys, at: "", over: &source)
    }

    private mutating func report(_ origin: ConfigurationOrigin, _ path: String, _ message: String, hint: String? = nil) {
        guard problems.count < ConfigurationReading.problemsMax else { return }
        problems.append(ConfigurationProblem(at: origin, path: path, message, hint: hint))
    }

    // MARK: Entries

    /// - Parameter identity: the key that the entry's own name is.
    private mutating func lay(
        _ branch: ConfigurationBranch, _ keys: [ConfigurationKey], at path: String, over source: inout ConfigurationSource, named identity: String? = nil
    ) {
        for setting in settings(of: branch) {
            if setting.name == identity {
                report(setting.origin, joined(path, setting.name), "is the name of the entry already")
            } else {
                set(setting, setting.steps[...], keys, at: path, in: &source)
            }
        }
        for child in branch.children { layBelow(child, keys, at: path, over: &source) }
    }

    private mutating func layBelow(
        _ child: ConfigurationBranch, _ keys: [ConfigurationKey], at path: String, over source: inout ConfigurationSource
    ) {
        let name = child.name.lowercased()
        guard child.isEnabled, !(path.isEmpty && name == Self.nodes) else { return }
        let keyPath = joined(path, name)
        if let refusal = MachineKeys.refusal(of: keyPath) { return report(child.origin, keyPath, refusal) }
        guard let key = keys.first(where: { $0.name == name }) else {
            let nearest = NearestName.nearest(to: name, among: keys.map(\.name))
            return report(child.origin, ConfigurationSource.shortened(keyPath), "there is no such key", hint: nearest.map { "did you mean \($0)?" })
        }
        switch key.form {
        case .value, .list: report(child.origin, keyPath, "is a single value", hint: "write martletSetting: \(name)=… in the entry above")
        case .section(let inner):
            var section = source.value(of: name) ?? ConfigurationSource(content: .nothing, origin: child.origin)
            lay(child, inner, at: keyPath, over: &section)
            source.put(section, for: name, child.origin)
        case .entries(let inner, _):
            for setting in settings(of: child) { report(setting.origin, joined(keyPath, setting.name), "is said in the entries below, each of which is an item of the list") }
            if let identity = Self.names[keyPath] {
                layNamed(child, name, inner, at: keyPath, by: identity, over: &source)
            } else {
                layOrdered(child, name, inner, at: keyPath, over: &source)
            }
        }
    }

    private mutating func layNamed(
        _ container: ConfigurationBranch, _ name: String, _ keys: [ConfigurationKey], at path: String, by identity: String, over source: inout ConfigurationSource
    ) {
        guard !container.children.isEmpty, var items = source.items(of: name) else { return }
        let places = Dictionary(items.enumerated().compactMap { index, item in item.value(of: identity)?.text.map { ($0.lowercased(), index) } }) { first, _ in first }
        var gone: Set<Int> = []
        for child in container.children {
            switch (places[child.name.lowercased()], child.isEnabled) {
            case (let place?, true): lay(child, keys, at: path, over: &items[place], named: identity)
            case (let place?, false): gone.insert(place)
            case (nil, true):
                var item = ConfigurationSource(content: .nothing, origin: child.origin)
                item.put(ConfigurationSource(content: .scalar(child.name), origin: child.origin), for: identity, child.origin)
                lay(child, keys, at: path, over: &item, named: identity)
                items.append(item)
            case (nil, false): break
            }
        }
        let origin = source.value(of: name)?.origin ?? container.origin
        let rest = items.enumerated().filter { !gone.contains($0.offset) }.map(\.element)
        source.put(ConfigurationSource(content: .list(rest), origin: origin), for: name, container.origin)
    }

    private mutating func layOrdered(
        _ container: ConfigurationBranch, _ name: String, _ keys: [ConfigurationKey], at path: String, over source: inout ConfigurationSource
    ) {
        var items: [ConfigurationSource] = []
        for child in container.children where child.isEnabled {
            var item = ConfigurationSource(content: .nothing, origin: child.origin)
            lay(child, keys, at: path, over: &item)
            if keys.contains(where: { $0.name == "name" }), item.value(of: "name") == nil {
                item.put(ConfigurationSource(content: .scalar(child.name), origin: child.origin), for: "name", child.origin)
            }
            items.append(item)
        }
        guard !items.isEmpty else { return }
        source.put(ConfigurationSource(content: .list(items), origin: container.origin), for: name, container.origin)
    }

    private func joined(_ path: String, _ name: some StringProtocol) -> String { path.isEmpty ? String(name) : "\(path).\(name)" }

    // MARK: Settings

    /// One name with all that an entry says of it.
    private struct Setting {
        let name: String
        let values: [String]
        let origin: ConfigurationOrigin

        var steps: [String] { name.split(separator: ".", omittingEmptySubsequences: false).map(String.init) }
    }

    /// By name; a directory keeps values in no order.
    private mutating func settings(of branch: ConfigurationBranch) -> [Setting] {
        var values: [String: [String]] = [:]
        for octets in branch.entry?.values("martletSetting") ?? [] {
            guard let text = String(validating: octets, as: UTF8.self), let equals = text.firstIndex(of: "="), equals != text.startIndex else {
                report(branch.origin, "", "\"\(ConfigurationSource.shortened(String(decoding: octets, as: UTF8.self)))\" is no setting", hint: "write name=value")
                continue
            }
            values[String(text[..<equals]), default: []].append(String(text[text.index(after: equals)...]))
        }
        return values.sorted { $0.key < $1.key }.map { Setting(name: $0.key, values: $0.value.sorted(), origin: branch.origin) }
    }

    private mutating func set(
        _ setting: Setting, _ steps: ArraySlice<String>, _ keys: [ConfigurationKey], at path: String, in source: inout ConfigurationSource
    ) {
        guard let step = steps.first else { return }
        let keyPath = joined(path, step)
        if let refusal = MachineKeys.refusal(of: keyPath) { return report(setting.origin, keyPath, refusal) }
        let key = keys.first { $0.name == step }
        switch (key?.form, steps.count) {
        case (.section(let inner), 2...):
            var section = source.value(of: step) ?? ConfigurationSource(content: .nothing, origin: setting.origin)
            set(setting, steps.dropFirst(), inner, at: keyPath, in: &section)
            source.put(section, for: step, setting.origin)
        case (.section(let inner), _):
            report(setting.origin, keyPath, "is a section", hint: "name a key in it, such as \(step).\(inner.first?.name ?? "")")
        case (.entries, _):
            report(setting.origin, keyPath, "is a list of items, each of which is an entry", hint: "write an entry below cn=\(step)")
        case (.list, 1):
            let items = setting.values.flatMap { ConfigurationSource.items(writtenAs: $0, setting.origin) }
            source.put(ConfigurationSource(content: .list(items), origin: setting.origin), for: step, setting.origin)
        case (.value, 1) where setting.values.count > 1:
            report(setting.origin, keyPath, "is said \(setting.values.count) times", hint: "one value holds; take the others out")
        case (.value, _), (.list, _), (nil, _):
            // A name that no key has is reported with all others when the whole is read.
            let value = setting.values.first.map { $0.isEmpty ? .nothing : ConfigurationSource.Content.scalar($0) } ?? .nothing
            source.put(ConfigurationSource(content: value, origin: setting.origin), for: steps.joined(separator: "."), setting.origin)
        }
    }
}

extension ConfigurationSource {
    /// A list that is written with commas. One that belongs to an item has a backslash before it, and so has a backslash that stands before either.
    static func items(writtenAs text: String, _ origin: ConfigurationOrigin) -> [ConfigurationSource] {
        var items: [String.UnicodeScalarView] = [.init()]
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            switch (scalar, rest.first) {
            case ("\\", let next?) where next == "," || next == "\\": items[items.endIndex - 1].append(rest.removeFirst())
            case (",", _): items.append(.init())
            default: items[items.endIndex - 1].append(scalar)
            }
        }
        return items.filter { !$0.isEmpty }.map { ConfigurationSource(content: .scalar(trimmed(String($0))), origin: origin) }
    }

    /// The other way round.
    static func text(ofItems items: [String]) -> String {
        items.map { $0.replacing("\\", with: "\\\\").replacing(",", with: "\\,") }.joined(separator: ",")
    }

    private static func trimmed(_ text: String) -> String {
        let start = text.drop { $0 == " " }
        return String(start.prefix(upTo: start.lastIndex { $0 != " " }.map(start.index(after:)) ?? start.startIndex))
    }

    fileprivate var text: String? {
        guard case .scalar(let text) = content else { return nil }
        return text
    }

    /// `nil` if there is none, or this is no mapping.
    fileprivate func value(of key: String) -> ConfigurationSource? {
        guard case .mapping(let entries) = content else { return nil }
        return entries.first { $0.key == key }?.value
    }

    /// Of a list; none if there is none yet. `nil` if something else is there, which the type check is going to report.
    fileprivate func items(of key: String) -> [ConfigurationSource]? {
        guard let value = value(of: key) else { return [] }
        switch value.content {
        case .list(let items): return items
        case .nothing: return []
        case .scalar, .mapping: return nil
        }
    }

    /// What is no mapping stays as it is: the type check is going to report it.
    fileprivate mutating func put(_ value: ConfigurationSource, for key: String, _ origin: ConfigurationOrigin) {
        let entry = Entry(key: key, keyOrigin: origin, value: value)
        switch content {
        case .nothing: content = .mapping([entry])
        case .mapping(var entries):
            if let index = entries.firstIndex(where: { $0.key == key }) { entries[index] = entry } else { entries.append(entry) }
            content = .mapping(entries)
        case .scalar, .list: break
        }
    }
}
