/// A configuration that was found good, with what is needed to explain it.
package struct LoadedConfiguration: Sendable {
    package let configuration: ServerConfiguration
    /// Where each value that is not a default came from, by path.
    package let origins: [String: ConfigurationOrigin]
    /// What is allowed but doubtful.
    package let warnings: [ConfigurationProblem]
    let text: ConfigurationText?

    /// Where the value at `path` came from: its own origin or that of what it lies in.
    package func origin(of path: String) -> ConfigurationOrigin {
        var path = path[...]
        while !path.isEmpty {
            if let origin = origins[String(path)] { return origin }
            guard let end = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { break }
            path = path[..<end]
        }
        return .standard
    }

    /// A problem that shows only in use, such as a port that is taken, with the place of the value behind it.
    package func problem(at path: String, _ message: String, hint: String? = nil) -> ConfigurationProblem {
        problem(.error, at: path, message, hint: hint)
    }

    func problem(
        _ severity: ConfigurationProblem.Severity, at path: String, _ message: String, hint: String?
    ) -> ConfigurationProblem {
        let origin = origin(of: path)
        return ConfigurationProblem(
            severity, at: origin, path: path, message, hint: hint, sourceLine: text?.sourceLine(of: origin))
    }
}

/// Makes a configuration of a file, a directory and the environment.
///
/// Defaults come first, then the file, then what a directory says, then the environment; what results is checked as a whole, and either everything is
/// good or every problem is reported.
package struct ConfigurationLoader: Sendable {
    /// Largest configuration file, in bytes.
    package static let fileBytesMax = 1024 * 1024

    private let files: ConfigurationFiles
    private let addresses: AddressRules
    private let otherVariables: Set<String>

    /// - Parameter otherVariables: names of variables that begin with `MARTLET_` and are no part of the configuration.
    package init(
        files: ConfigurationFiles = .disk, addresses: AddressRules = .structural,
        otherVariables: Set<String> = ["MARTLET_CONFIG"]
    ) {
        self.files = files
        self.addresses = addresses
        self.otherVariables = otherVariables
    }

    /// - Parameters:
    ///   - file: path of the file; nil to use the defaults and the environment alone.
    ///   - readsOthers: whether the files that it names have to be good as well. Who serves nobody needs none of them.
    ///   - tree: what a directory says besides.
    package func load(
        file: String?, environment: [String: String] = [:], readsOthers: Bool = true, tree: ConfigurationTree? = nil
    ) throws(ConfigurationFailure) -> LoadedConfiguration {
        try load(text: try file.map { file throws(ConfigurationFailure) in try text(of: file) }, folder: file.map(FilePath.folder) ?? "", environment, tree, readsOthers)
    }

    /// What has to be known before a directory can be asked for the rest: how it is reached, and where this machine keeps its files. All else that the file says
    /// may be of no use yet.
    package func bootstrap(file: String, environment: [String: String] = [:]) throws(ConfigurationFailure) -> ServerConfiguration {
        let text = try text(of: file)
        let (configuration, reading) = try read(text, folder: FilePath.folder(of: file), environment, nil)
        let errors = reading.problems.filter { problem in ["server", "configuration-directory"].contains { problem.path.hasPrefix($0) } }
        guard errors.isEmpty else { throw ConfigurationFailure(Self.inOrder(errors)) }
        return configuration
    }

    private func text(of file: String) throws(ConfigurationFailure) -> ConfigurationText {
        switch files.read(file, Self.fileBytesMax) {
        case .success(let bytes): return try Self.text(bytes, name: file)
        case .failure(let fault):
            throw ConfigurationFailure([ConfigurationProblem(at: .wholeFile(file), path: "", "cannot be read: \(fault)")])
        }
    }

    private static func text(_ bytes: [UInt8], name: String) throws(ConfigurationFailure) -> ConfigurationText {
        let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]
        let content = bytes.starts(with: byteOrderMark) ? bytes.dropFirst(byteOrderMark.count) : bytes[...]
        if let text = String(validating: content, as: UTF8.self) { return ConfigurationText(name: name, text: text) }
        let line = content.split(separator: 0x0a, omittingEmptySubsequences: false).prefix {
            String(validating: $0, as: UTF8.self) != nil
        }.count
        let origin = ConfigurationOrigin.file(name, line: line + 1, column: 1)
        throw ConfigurationFailure([
            ConfigurationProblem(at: origin, path: "", "the line is not UTF-8", hint: "save the file as UTF-8")
        ])
    }

    private func load(
        text: ConfigurationText?, folder: String, _ environment: [String: String], _ tree: ConfigurationTree?, _ readsOthers: Bool
    ) throws(ConfigurationFailure) -> LoadedConfiguration {
        let (configuration, reading) = try read(text, folder: folder, environment, tree)
        let loaded = LoadedConfiguration(
            configuration: configuration, origins: reading.origins, warnings: [], text: text)
        var checks = ConfigurationChecks(loaded, faulty: Set(reading.problems.map(\.path)), files: readsOthers ? files : nil)
        checks.run()
        let problems = reading.problems + checks.problems
        let errors = problems.filter { $0.severity == .error }
        guard errors.isEmpty else { throw ConfigurationFailure(Self.inOrder(errors)) }
        return LoadedConfiguration(
            configuration: configuration, origins: reading.origins, warnings: Self.inOrder(problems), text: text)
    }

    /// All that can be read, with what is wrong with single values.
    private func read(
        _ text: ConfigurationText?, folder: String, _ environment: [String: String], _ tree: ConfigurationTree?
    ) throws(ConfigurationFailure) -> (ServerConfiguration, ConfigurationReading) {
        var source = try text?.parse() ?? ConfigurationSource(content: .nothing, origin: .standard)
        var reading = ConfigurationReading(text: text, context: ValueContext(folder: folder, addresses: addresses))
        var layering = ConfigurationLayering()
        if let tree { layering.lay(tree, over: &source) }
        let misnamed = ConfigurationEnvironment.apply(environment, except: otherVariables, to: &source)
        reading.report(misnamed + layering.problems)
        var configuration = ServerConfiguration()
        ConfigurationSchema.root.read(source, at: "", into: &configuration, &reading)
        return (configuration, reading)
    }

    /// By line, what has none first.
    private static func inOrder(_ problems: [ConfigurationProblem]) -> [ConfigurationProblem] {
        problems.enumerated().sorted { one, other in
            let place = (one.element.line ?? 0, one.element.column ?? 0, one.offset)
            return place < (other.element.line ?? 0, other.element.column ?? 0, other.offset)
        }.map(\.element)
    }
}
