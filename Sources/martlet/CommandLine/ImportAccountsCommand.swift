import ArgumentParser
import Foundation
import MartletCore
import MartletFeatures
import MartletXMPP

struct ImportAccountsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Add many accounts from a file.",
        discussion: """
            The file is a document of XEP-0227, as 'martlet account export' and other servers write it, or lines. A document is read twice: it is \
            checked as a whole before anything is taken from it. Then accounts come in one by one, each with everything it has; what cannot be \
            taken is told.

            Each line has an address, a tab, and a password or SCRAM keys (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, tabs between \
            several). The whole file is checked first; a mistake in it adds nothing. Then accounts are added \(ControlProtocol.accountsMax) \
            at a time, each such group together or not at all.
            """)
    @OptionGroup var options: ConfigurationOption
    @Option(help: ArgumentHelp("Rounds of hashing for passwords, instead of authentication.scram-iterations: fewer are faster.", valueName: "count"))
    var iterations: Int?
    @Flag(help: "Pass over accounts that exist already; without it they are mistakes.") var skipExisting = false
    @Flag(help: "Of a document: first delete accounts that exist already, with everything they have.") var replace = false
    @Flag(help: "Of a document: pass over accounts of domains that this server does not host; without it they are mistakes.") var skipForeign = false
    @Flag(help: "Of a document: only say what would be taken and what would not.") var dryRun = false
    @Argument(help: "The file; - is standard input.", completion: .file()) var file: String

    func validate() throws {
        if replace, skipExisting { throw ValidationError("--replace and --skip-existing contradict each other") }
    }

    func run() async throws {
        let loaded = try options.load()
        let configuration = loaded.configuration
        var maker = KeyMaker(configuration)
        if let iterations {
            guard ScramKeys.iterationRange.contains(iterations) else {
                throw ValidationError("--iterations is from \(ScramKeys.iterationRange.lowerBound) to \(ScramKeys.iterationRange.upperBound)")
            }
            maker.policy.iterations = iterations
        }
        if file != "-", let beginning = try? FileHandle(forReadingFrom: URL(fileURLWithPath: file)).read(upToCount: 4_096), ImportDocument.isDocument(beginning) {
            return try await take(ImportDocument(path: file), loaded, maker)
        }
        guard !replace, !skipForeign, !dryRun else { throw ValidationError("--replace, --skip-foreign and --dry-run are for documents of XEP-0227") }
        let bytes = try file == "-" ? Array(FileHandle.standardInput.readDataToEndOfFile()) : PrivateFiles.read(file, bytesMax: ImportFile.bytesMax)
        guard !ImportDocument.isDocument(bytes) else { throw CommandFailure(.usage, "a document of XEP-0227 is read twice", hint: "name a file") }
        let keys = maker
        try await AccountCommand.atDesk(loaded) { desk in
            let lines = try await read(bytes, configuration, desk)
            try await add(lines, keys, desk)
            if Terminal.showsProgress { Terminal.progress("") }
            Terminal.say("added \(lines.count.counted("account"))")
        }
    }

    private func take(_ document: ImportDocument, _ loaded: LoadedConfiguration, _ maker: KeyMaker) async throws {
        try await AccountCommand.atDesk(loaded) { desk in
            let work = DocumentImport(
                document: document, desk: desk, maker: maker, policy: replace ? .replaced : skipExisting ? .skipped : .refused, skipsForeign: skipForeign,
                configuration: loaded.configuration)
            let (count, report) = try await work.run(try await work.survey(), isDry: dryRun)
            Terminal.say("\(dryRun ? "would add" : "added") \(count.counted("account"))")
            for (kind, count) in report.taken.sorted(by: { $0.key < $1.key }) { Terminal.say("  \(count)  \(kind)") }
            if report.skipped.isEmpty { return }
            Terminal.say("left out:")
            for (reason, count) in report.skipped.sorted(by: { $0.key < $1.key }) { Terminal.say("  \(count)  \(reason)") }
        }
    }

    private func read(_ bytes: [UInt8], _ configuration: ServerConfiguration, _ desk: AccountDesk) async throws -> [ImportLine] {
        var existing: Set<String> = []
        try await desk.forEachPage { page in existing.formUnion(page.map(\.address)) }
        let content = ImportFile(
            bytes, domains: Set(configuration.domains.map(\.name)), existing: existing, skipsExisting: skipExisting)
        guard content.problems.isEmpty else {
            let rest = content.problems.count == ImportFile.problemsMax ? "\n  and perhaps more" : ""
            throw CommandFailure(
                .data, "\(file): nothing was added:\n" + content.problems.map { "  \($0)" }.joined(separator: "\n") + rest)
        }
        return content.lines
    }

    private func add(_ lines: [ImportLine], _ maker: KeyMaker, _ desk: AccountDesk) async throws {
        for start in stride(from: 0, to: lines.count, by: ControlProtocol.accountsMax) {
            let group = Array(lines[start..<min(start + ControlProtocol.accountsMax, lines.count)])
            do {
                _ = try await desk.ask(.create(try await ParallelKeys.make(group, maker)))
            } catch let failure as CommandFailure {
                let range = group.first.flatMap { first in group.last.map { "lines \(first.number) to \($0.number)" } } ?? ""
                throw CommandFailure(
                    failure.status, "\(file), \(range): \(failure.message)", hint: "\(start) accounts before them were added; --skip-existing goes on from there")
            }
            if Terminal.showsProgress { Terminal.progress("\(start + group.count) of \(lines.count)") }
        }
    }
}

/// Makes the keys of many accounts on all cores.
enum ParallelKeys {
    static func make(_ lines: [ImportLine], _ maker: KeyMaker) async throws -> [NewAccount] {
        let share = max((lines.count + System.coreCount - 1) / System.coreCount, 1)
        return try await withThrowingTaskGroup(of: (Int, [NewAccount]).self) { group in
            // One task per core: a command has nothing else for these threads to do.
            for start in stride(from: 0, to: lines.count, by: share) {
                let part = Array(lines[start..<min(start + share, lines.count)])
                group.addTask { (start, try part.map { try account($0, maker) }) }
            }
            var parts: [(Int, [NewAccount])] = []
            for try await part in group { parts.append(part) }
            return parts.sorted { $0.0 < $1.0 }.flatMap(\.1)
        }
    }

    private static func account(_ line: ImportLine, _ maker: KeyMaker) throws(CommandFailure) -> NewAccount {
        switch line.secret {
        case .keys(let keys): return NewAccount(address: line.address.description, keys: keys.map(\.text))
        case .password(let password): return NewAccount(address: line.address.description, keys: try maker.keys(of: password))
        }
    }
}
