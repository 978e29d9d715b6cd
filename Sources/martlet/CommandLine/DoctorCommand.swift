import ArgumentParser
import MartletNetwork
import NIOConcurrencyHelpers

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Look at this server's domains as other servers and clients do.",
        discussion: """
            For each domain and the domain of its rooms: the certificate, the SRV records, and at each place that they name the address, the port, TLS, \
            and what is offered there to a stranger; then what clients are offered by HTTP: host-meta, WebSocket and BOSH, and where files are. Lines \
            with !! are wrong, and the one after them says what to do. Ends with 0 if all is well, 75 otherwise. A router may keep a machine from \
            reaching its own public address, which looks here as if the port were closed.
            """)
    @OptionGroup var options: ConfigurationOption
    @Flag(help: "One JSON object per line.") var json = false

    func run() async throws {
        let loaded = try options.load(serves: true)
        var isWell = true
        if try ControlClient(path: loaded.configuration.controlSocketPath).ask(.status) == nil {
            Terminal.complain("the server does not run: its ports will be closed ('martlet serve' starts it)")
            isWell = false
        }
        let diagnostics = try Diagnostics(loaded.configuration)
        let json = json
        // Lines come from the loop as well.
        let last = NIOLockedValueBox("")
        let isReached = await diagnostics.checkUp { domain, step in
            if json { return Terminal.say(Terminal.json(CheckupLine(domain: domain, step: step))) }
            let isNew = last.withLockedValue { last in
                defer { last = domain }
                return last != domain
            }
            Terminal.say((isNew ? "\(domain)\n" : "") + step.finding)
        }
        await diagnostics.close()
        if !isWell || !isReached { throw ExitCode(ExitStatus.temporary.rawValue) }
    }
}

/// What was found out about a domain of ours.
private struct CheckupLine: Encodable {
    var domain: String
    var step: DiagnosisStep
}
