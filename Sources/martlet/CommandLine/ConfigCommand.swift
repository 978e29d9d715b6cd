import ArgumentParser
import MartletNetwork

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check, show and reload the configuration.",
        subcommands: [Check.self, Show.self, Example.self, Reload.self, Status.self, Export.self, Import.self])

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say what is wrong with the configuration and with the certificates and trust anchors it names.")
        @OptionGroup var options: ConfigurationOption

        func run() async throws {
            let loaded = try options.load(serves: true)
            for warning in loaded.warnings { Terminal.say(warning.description) }
            try checkCertificates(loaded)
            try FederationAssembly(configuration: loaded.configuration).check()
            let certificates = ClientCertificateAssembly(configuration: loaded.configuration)
            _ = try certificates.settings()
            try checkLists(certificates)
            try KerberosAssembly(configuration: loaded.configuration).checkLibrary()
            Terminal.say("\(options.file): good")
        }

        /// Those that the server makes for itself are made when it starts.
        private func checkCertificates(_ loaded: LoadedConfiguration) throws(CommandFailure) {
            let certificates = DomainCertificates(configuration: loaded.configuration)
            for (index, domain) in loaded.configuration.domains.enumerated() where domain.certificate != nil && domain.key != nil {
                let files = certificates.files(of: domain)
                do throws(CertificateError) {
                    for warning in try CertificateStore().load([files], now: SystemClock().wallSeconds) { Terminal.say("warning: \(warning)") }
                } catch {
                    throw Self.failure(error, files, at: "domains[\(index)]", loaded)
                }
                for key in [files.key, files.second?.key].compactMap(\.self) {
                    guard let mode = CertificateCheckup.modeForOthers(of: key) else { continue }
                    Terminal.say("warning: \(key): others than its owner may use the key (mode \(mode)): chmod 600 \(key), and give it to the server's user")
                }
            }
        }

        /// With the line that names the file.
        private static func failure(_ error: CertificateError, _ files: CertificateFiles, at path: String, _ loaded: LoadedConfiguration) -> CommandFailure {
            let keys = [(files.chain, "certificate"), (files.key, "key"), (files.second?.chain, "second-certificate"), (files.second?.key, "second-key")]
            let failure = CommandFailure(error)
            guard let key = keys.first(where: { $0.0 == error.file })?.1 else { return failure }
            return CommandFailure(failure.status, loaded.problem(at: "\(path).\(key)", failure.message, hint: failure.hint).description)
        }

        /// One that is out of date says nothing any more, not even whether a certificate is good.
        private func checkLists(_ certificates: ClientCertificateAssembly) throws(CommandFailure) {
            let (files, mode) = (try certificates.revocationFiles(), certificates.revocation.mode)
            guard mode != .off else { return }
            for file in files.outdated(at: SystemClock().wallSeconds) {
                let outcome = mode == .require ? "whoever has a certificate of its authority is kept out, unless another place says that it is good" : "it does not count"
                Terminal.say("warning: \(file) holds a list of revoked certificates that is not valid now: \(outcome)")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print every value with its origin: a default, a line of the file, an entry of the directory, or a variable.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "Leave out the defaults.") var set = false
        @Flag(inversion: .prefixedNo, help: "Say where each value comes from.") var origin = true

        func run() async throws {
            for setting in try options.load().settings where !set || setting.origin != .standard {
                Terminal.say(origin ? setting.description : setting.text)
            }
        }
    }

    struct Example: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print a file with every key, its meaning and its default.")
        @Option(help: "The domain to put into it.") var domain = "example.org"

        func run() async throws {
            var configuration = ServerConfiguration()
            configuration.domains = [.init(name: domain)]
            Terminal.say(ConfigurationDocuments.exampleFile(for: configuration))
        }
    }

    struct Reload: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the running server read configuration and certificates anew.",
            discussion: "A file with a mistake changes nothing. Open sessions stay.")
        @OptionGroup var options: ConfigurationOption

        func run() async throws {
            guard case .reloaded(let report) = try ServerReach.ask(.reload, options) else { throw ServerReach.unexpected }
            for change in report.applied { Terminal.say("applied: \(change)") }
            for change in report.needingRestart { Terminal.say("waits for a restart: \(change)") }
            for warning in report.warnings { Terminal.say("warning: \(warning)") }
            Terminal.say(report.applied.isEmpty && report.needingRestart.isEmpty ? "reloaded; nothing had changed but, perhaps, certificates" : "reloaded")
        }
    }
}

/// How commands that need a running server find it.
enum ServerReach {
    /// Asks the running server, whose socket is where the configuration says. A file with a mistake does not say, and is the first thing to mend.
    static func ask(_ order: ControlOrder, _ options: ConfigurationOption) throws(CommandFailure) -> ControlResponse {
        try ControlClient(path: try options.load().configuration.controlSocketPath).askRunning(order)
    }

    static var unexpected: CommandFailure { CommandFailure(.unavailable, "the server answered something else", hint: "is it of the same version?") }
}
