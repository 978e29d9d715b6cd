import Testing

import martlet

/// A loader whose only files are those given. `disk` names what else can be read.
func loader(_ text: String, readable: Set<String> = []) -> ConfigurationLoader {
    ConfigurationLoader(files: .containing(Array(text.utf8), readable: readable))
}

extension ConfigurationFiles {
    /// - Parameters:
    ///   - readable: has one line each.
    ///   - secrets: further files and what is in them.
    ///   - open: what whoever is on the machine may read.
    static func containing(_ bytes: [UInt8], readable: Set<String> = [], secrets: [String: String] = [:], open: Set<String> = []) -> ConfigurationFiles {
        ConfigurationFiles(
            read: { path, bytesMax in
                let contents = (secrets[path] ?? (readable.contains(path) ? "secret\n" : nil)).map { Array($0.utf8) } ?? bytes
                return contents.count <= bytesMax ? .success(contents) : .failure(.tooLarge(bytesMax: bytesMax))
            },
            fault: { readable.contains($0) || secrets[$0] != nil ? nil : .missing }, isOpenToAll: { open.contains($0) })
    }
}

/// The path under which the tests' file is loaded.
let file = "/etc/martlet/martlet.yaml"

func load(
    _ text: String, readable: Set<String> = [], environment: [String: String] = [:]
) throws(ConfigurationFailure) -> LoadedConfiguration {
    try loader(text, readable: readable).load(file: file, environment: environment)
}

/// What is wrong with a configuration; nothing if it is good.
func problems(
    _ text: String, readable: Set<String> = [], environment: [String: String] = [:]
) -> [ConfigurationProblem] {
    do throws(ConfigurationFailure) {
        _ = try load(text, readable: readable, environment: environment)
        return []
    } catch {
        return error.problems
    }
}

/// The shortest good file.
let minimal = "domains: [{name: example.org}]\n"
