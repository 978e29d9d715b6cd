import Testing

import martlet

/// A loader whose only files are those given. `disk` names what else can be read.
func loader(_ text: String, readable: Set<String> = []) -> ConfigurationLoader {
    ConfigurationLoader(files: .containing(Array(text.utf8), readable: readable))
}

extension ConfigurationFiles {
    static func containing(_ bytes: [UInt8], readable: Set<String> = []) -> ConfigurationFiles {
        ConfigurationFiles(
            read: { _, bytesMax in bytes.count <= bytesMax ? .success(bytes) : .failure(.tooLarge(bytesMax: bytesMax)) },
            fault: { readable.contains($0) ? nil : .missing })
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
