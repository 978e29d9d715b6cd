import ArgumentParser
package import MartletNetwork

struct FederationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "federation", abstract: "See, try and end the streams with other servers.",
        discussion: "These commands ask the running server; 'test' works without one as well.",
        subcommands: [List.self, Show.self, Test.self, Close.self])

    struct Target: ParsableArguments {
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The other server's domain; those below it are meant as well.", valueName: "peer")) var peer: String
    }

    private static func report(_ options: ConfigurationOption, about peer: String?) throws -> FederationReport {
        guard case .federation(let report) = try ServerReach.ask(.federation(.report(about: peer)), options) else { throw ServerReach.unexpected }
        return report
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the streams with other servers, and servers that could not be reached lately.",
            discussion: "A line for each stream and pair of domains; the stanzas of a stream with several pairs are counted together.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            let report = try FederationCommand.report(options, about: nil)
            if json { Terminal.say(Terminal.json(report)) } else if !report.isEmpty { Terminal.say(report.text(now: SystemClock().wallMilliseconds)) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say everything about one server and the domains below it.", discussion: "Ends with 67 if there is nothing to say.")
        @OptionGroup var target: Target
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            let report = try FederationCommand.report(target.options, about: target.peer)
            if json { return Terminal.say(Terminal.json(report)) }
            guard !report.isEmpty else {
                throw CommandFailure(
                    .noAccount, "there is no stream with \(target.peer), and nobody was looking for one lately",
                    hint: "'martlet federation test \(target.peer)' looks whether there could be one")
            }
            Terminal.say(report.details(now: SystemClock().wallMilliseconds))
        }
    }

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Look whether there can be streams with a server, step by step.",
            discussion: """
                Looks the server up, connects, and goes through TLS, certificates and authentication up to a ping (XEP-0199), on a stream of its own, and \
                prints each step with the time since the beginning in milliseconds. A running server does this itself. Where none runs, it is done from \
                here, and there is no ping: its answer would find nobody. The last line says what to do if something is wrong. Ends with 0 if all went \
                well, 69 otherwise.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The other server's domain.", valueName: "domain")) var domain: String
        @Option(help: ArgumentHelp("From which domain of this server; the first, unless given.", valueName: "our-domain")) var from: String?
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            let loaded = try options.load(serves: true)
            let json = json
            let tell: @Sendable (DiagnosisStep) -> Void = { Terminal.say($0, asJSON: json, else: $0.line) }
            let client = ControlClient(path: loaded.configuration.controlSocketPath)
            let response = try client.ask(.federation(.test(domain, from: from)), tell)
            let isWell: Bool
            if let response { isWell = try Self.verdict(response) } else { isWell = try await testHere(loaded.configuration, tell) }
            if !isWell { throw ExitCode(ExitStatus.unavailable.rawValue) }
        }

        private static func verdict(_ response: ControlResponse) throws(CommandFailure) -> Bool {
            guard case .diagnosed(let isWell) = response else { throw ServerReach.unexpected }
            return isWell
        }

        private func testHere(_ configuration: ServerConfiguration, _ tell: @escaping @Sendable (DiagnosisStep) -> Void) async throws -> Bool {
            Terminal.complain("the server does not run: asked from here")
            let diagnostics = try Diagnostics(configuration)
            let isWell = try await diagnostics.test(domain, from: from, tell)
            await diagnostics.close()
            return isWell
        }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End all streams with a server, and forget that it could not be reached.",
            discussion: "What still waits for the server goes by a new stream. 'federation.blocked' in the configuration keeps a server away.")
        @OptionGroup var target: Target

        func run() async throws {
            guard case .closed(let count) = try ServerReach.ask(.federation(.close(target.peer)), target.options) else { throw ServerReach.unexpected }
            Terminal.say("ended \(count.counted("stream"))")
        }
    }
}

// MARK: What is printed

extension FederationReport {
    /// As `martlet federation list` prints it: a line for each stream, then for each server that is being called, or was in vain.
    ///
    /// - Parameter now: milliseconds since 1970.
    package func text(now: Int64) -> String {
        (streams.map(\.text) + calls.map(\.text) + failures.map { $0.text(now: now) }).map { ConfigurationProblem.printable($0) }.joined(separator: "\n")
    }

    /// As `martlet federation show` prints it: a paragraph for each.
    package func details(now: Int64) -> String {
        let paragraphs = streams.map(\.details) + calls.map(\.details) + failures.map { $0.details(now: now) }
        return paragraphs.map { lines in
            lines.map { name, text in name.padding(to: 16) + ConfigurationProblem.printable(text) }.joined(separator: "\n")
        }.joined(separator: "\n\n")
    }

    fileprivate static func waiting(_ stanzas: Int, _ bytes: Int) -> String { stanzas == 0 ? "nothing" : "\(stanzas) (\(bytes) bytes)" }
}

extension FederationReport.Stream {
    private var name: String { peer.isEmpty ? "(unknown)" : peer }
    private var security: String { tls.map { "TLS \($0)" } ?? "no TLS" }
    private var authentication: String { method.map { "by \($0)" } ?? "not authenticated" }
    private var properties: [String] { [isBidirectional ? "both ways" : nil, isManaged ? "managed" : nil].compactMap { $0 } }

    fileprivate var text: String {
        let pair = direction == .outgoing ? "out from \(domain)" : domain.isEmpty ? "in" : "in to \(domain)"
        let words = [name, pair, address, security, authentication] + properties + ["since \(Timestamp.text(since))"]
        let waits = waitingStanzas == 0 ? "" : ", \(FederationReport.waiting(waitingStanzas, waitingBytes)) waiting"
        return words.joined(separator: "  ") + "  \(sent) sent, \(received) received\(waits)"
    }

    fileprivate var details: [(String, String)] {
        [
            ("peer", name), ("domain", domain), ("direction", direction == .outgoing ? "out" : "in"), ("address", address), ("security", security),
            ("authentication", authentication), ("both ways", isBidirectional ? "yes" : "no"), ("acknowledged", isManaged ? "yes" : "no"),
            ("since", Timestamp.text(since)), ("sent", "\(sent)"), ("received", "\(received)"),
            ("waiting", FederationReport.waiting(waitingStanzas, waitingBytes)),
        ].filter { !$0.1.isEmpty }
    }
}

extension FederationReport.Call {
    fileprivate var text: String { "\(peer)  being called from \(domain)  \(FederationReport.waiting(waitingStanzas, waitingBytes)) waiting" }

    fileprivate var details: [(String, String)] {
        [("peer", peer), ("domain", domain), ("state", "is being called"), ("waiting", FederationReport.waiting(waitingStanzas, waitingBytes))]
    }
}

extension FederationReport.Failure {
    private func rest(_ now: Int64) -> String {
        restMilliseconds > 0 ? "left alone until \(Timestamp.text(now + restMilliseconds))" : "called again when there is something for it"
    }
    private var times: String { failures == 1 ? "once" : "\(failures) times" }

    private var waiting: String { kept == 0 ? "" : kept == 1 ? "; a message waits" : "; \(kept) messages wait" }

    fileprivate func text(now: Int64) -> String { "\(peer)  not reached from \(domain) (\(times)), \(rest(now)): \(why)\(waiting)" }

    fileprivate func details(now: Int64) -> [(String, String)] {
        [("peer", peer), ("domain", domain), ("state", "not reached, \(times)"), ("rest", rest(now)), ("waiting", "\(kept)"), ("why", why)]
    }
}

extension DiagnosisStep {
    /// As `martlet federation test` prints it.
    package var line: String {
        let time = "\(milliseconds) ms"
        return String(repeating: " ", count: max(0, 8 - time.count)) + "\(time)  \(verdict.mark)  \(topic.name.padding(to: 16))\(ConfigurationProblem.printable(text))"
    }
}

extension DiagnosisStep {
    /// As `martlet doctor` prints it.
    package var finding: String { "  \(verdict.mark)  \(topic.name.padding(to: 16))\(ConfigurationProblem.printable(text))" }
}

extension DiagnosisStep.Verdict {
    /// Two columns.
    fileprivate var mark: String {
        switch self {
        case .good: "ok"
        case .bad: "!!"
        case .neutral: "  "
        }
    }
}

extension DiagnosisStep.Topic {
    fileprivate var name: String {
        switch self {
        case .policy: "policy"
        case .records: "SRV records"
        case .targets: "targets"
        case .address: "address"
        case .tlsa: "TLSA records"
        case .tls: "TLS"
        case .certificate: "certificate"
        case .offer: "offers"
        case .authentication: "authentication"
        case .ping: "ping"
        case .web: "HTTP"
        case .advice: "what to do"
        }
    }
}

extension String {
    fileprivate func padding(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
