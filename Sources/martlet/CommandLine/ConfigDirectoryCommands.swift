import ArgumentParser
import MartletDirectory
import MartletLDAP

extension ConfigCommand {
    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what configuration is in force, and whether the directory that says parts of it is followed.",
            discussion: "Asks the running server. Ends with 1 if the directory cannot be asked, or says something that is not in force.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            guard case .configuration(let report) = try ServerReach.ask(.configuration, options) else { throw ServerReach.unexpected }
            Terminal.say(report, asJSON: json, else: report.text)
            if !report.isWell { throw ExitCode(1) }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the part of the configuration that is in the directory, as LDIF.",
            discussion: """
                Asks the directory that configuration-directory names. The same entries are always printed the same. With --from-file it prints what the file says, \
                as the entries that would say it, without secrets and what belongs to this machine: to begin a tree, by 'martlet config import'.
                """)
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "What the file says, instead of the directory.") var fromFile = false

        func run() async throws {
            let desk = try DirectoryDesk(options)
            let tree = fromFile ? try desk.treeOfFile() : try await desk.read()
            if let absence = tree.absence { throw CommandFailure(.data, absence) }
            print(tree.ldif, terminator: "")
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the configuration in the directory be as a file of LDIF says.",
            discussion: """
                Entries that are not in the file are deleted. Nothing is written that this server would not put into force, or if somebody else has changed the \
                configuration meanwhile. A dump of the whole directory is taken as well, of which only the tree counts.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The file.", completion: .file()) var file: String
        @Flag(help: "Print the changes, as LDIF, and make none.") var dryRun = false

        func run() async throws {
            let desk = try DirectoryDesk(options)
            let path = FilePath.resolve(file, against: Terminal.folder)
            let records = try await desk.bring(try desk.tree(ofLDIF: try PrivateFiles.read(path, bytesMax: KeptTrees.bytesMax), file), writes: !dryRun)
            guard let records else { return Terminal.say("nothing is to be changed") }
            if dryRun { print(LDIFWriter.text(records), terminator: "") } else { Terminal.say("made \(records.count.counted("change"))") }
        }
    }

    /// Asks and changes the directory for a command.
    private struct DirectoryDesk {
        let options: ConfigurationOption
        let assembly: ConfigurationDirectoryAssembly

        init(_ options: ConfigurationOption) throws(CommandFailure) {
            guard let assembly = ConfigurationDirectoryAssembly(try options.bootstrap()) else {
                throw CommandFailure(.configuration, "no directory says parts of the configuration", hint: "set servers and base in configuration-directory")
            }
            self.options = options
            self.assembly = assembly
        }

        func read() async throws(CommandFailure) -> ConfigurationTree {
            try await with { client throws(CommandFailure) in try await read(client) }
        }

        func tree(ofLDIF bytes: [UInt8], _ file: String) throws(CommandFailure) -> ConfigurationTree {
            try ConfigurationTree(ldif: bytes, of: file, base: assembly.base, node: assembly.section.node)
        }

        func treeOfFile() throws(CommandFailure) -> ConfigurationTree {
            ConfigurationTreeWriting.tree(of: try options.load(tree: nil).configuration, base: assembly.base)
        }

        /// - Returns: what has been changed, or would be; `nil` if it is so already.
        func bring(_ wanted: ConfigurationTree, writes: Bool) async throws(CommandFailure) -> [LDIFRecord]? {
            try await with { client throws(CommandFailure) in
                let current = try await read(client)
                guard let changes = try ConfigurationImport(from: current, to: wanted) else { return nil }
                try check(wanted, inPlaceOf: current)
                let writing = ConfigurationWriting(service: try await service(client))
                let records = writing.records(changes)
                if writes { try await writing.write(records) }
                return records
            }
        }

        private func check(_ wanted: ConfigurationTree, inPlaceOf current: ConfigurationTree) throws(CommandFailure) {
            let next = try options.load(tree: wanted)
            let before = try? options.load(tree: current)
            if let refusal = LockOut.refusal(of: next, inPlaceOf: before?.configuration) { throw CommandFailure(.configuration, refusal.description) }
        }

        private func with<Value>(_ body: (DirectoryClient) async throws(CommandFailure) -> Value) async throws(CommandFailure) -> Value {
            let client = try assembly.briefClient()
            do throws(CommandFailure) {
                let value = try await body(client)
                await client.close()
                return value
            } catch {
                await client.close()
                throw error
            }
        }

        private func read(_ client: DirectoryClient) async throws(CommandFailure) -> ConfigurationTree {
            do throws(DirectoryFailure) { return try await assembly.read(client) } catch { throw Self.unreachable(error) }
        }

        private func service(_ client: DirectoryClient) async throws(CommandFailure) -> DirectoryClient.Service {
            do throws(DirectoryFailure) { return try await client.service() } catch { throw Self.unreachable(error) }
        }

        private static func unreachable(_ failure: DirectoryFailure) -> CommandFailure {
            CommandFailure(.unavailable, "the directory with the configuration cannot be asked: \(failure)")
        }
    }
}
