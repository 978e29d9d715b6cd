import ArgumentParser
package import MartletCore

struct ComponentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "component", abstract: "See the external components (XEP-0114).", discussion: "Asks the running server.", subcommands: [List.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the components of the configuration: which are connected, since when and from where, what has passed, and what waits for them.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            guard case .components(let components) = try ServerReach.ask(.components, options) else { throw ServerReach.unexpected }
            for component in components { Terminal.say(component, asJSON: json, else: component.text) }
        }
    }
}

extension ComponentReport {
    /// As `martlet component list` prints it.
    package var text: String {
        let counts = "\(sent) sent, \(received) received"
        guard let address, let since else { return "\(name)  not connected  of \(domain)  \(counts)" }
        let waits = waitingStanzas == 0 ? "" : ", \(waitingStanzas) (\(waitingBytes) bytes) waiting"
        return "\(name)  connected  of \(domain)  \(address)  since \(Timestamp.text(since))  \(counts)\(waits)"
    }
}
