import ArgumentParser
import Logging
import MartletCore
import MartletStorage

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Copy the database as it is at this moment, also while the server runs.",
        discussion: """
            Writes FILE and FILE.manifest; both are on disk when the command ends with 0. Uploaded files are not in it, but their sizes and SHA-256 are: \
            copy their folder afterwards. What has been uploaded meanwhile is removed when the copy is put to use; 'martlet verify' finds what is missing.
            """)
    @OptionGroup var options: ConfigurationOption
    @Argument(help: "A file that is not there yet.", completion: .file()) var file: String

    func run() async throws {
        let configuration = try options.load().configuration
        let folder = configuration.server.dataFolder
        let target = FilePath.resolve(file, against: Terminal.folder)
        do throws(StorageError) {
            let manifest = try SQLiteStore.backup(folder: folder, to: target, created: SystemClock().wallMilliseconds) { progress in
                guard Terminal.showsProgress, progress.total > 0 else { return }
                Terminal.progress("\(progress.done * 100 / progress.total) %")
            }
            if Terminal.showsProgress { Terminal.progress("") }
            Terminal.say("\(target): \(manifest.bytes) bytes, SHA-256 \(manifest.sha256)")
            let uploads = try SQLiteStore.uploads(database: target)
            if uploads.files > 0 {
                let place = configuration.uploads.store == .folder ? configuration.uploadFolder : "the bucket \(configuration.uploads.s3.bucket ?? "")"
                Terminal.say("not in it: \(uploads.files) uploaded files, \(uploads.bytes) bytes; copy \(place) as well")
            }
        } catch {
            throw CommandFailure(error)
        }
    }
}

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check a backup, or without a file the database itself.",
        discussion: """
            Ends with 0 if all is well and with 65 otherwise. Without a file it is also looked whether uploaded files are there, with the right sizes; \
            with --uploads they are read and compared with what was uploaded.
            """)
    @OptionGroup var options: ConfigurationOption
    @Flag(help: "Read all uploaded files.") var uploads = false
    @Argument(help: "The backup.", completion: .file()) var file: String?

    func validate() throws {
        if uploads, file != nil { throw ValidationError("uploaded files are not in a backup") }
    }

    func run() async throws {
        let report = try verify()
        guard report.problems.isEmpty else {
            throw CommandFailure(
                .data, "\(report.file) is damaged:\n" + report.problems.map { "  \($0)" }.joined(separator: "\n"), hint: "restore a backup")
        }
        Terminal.say("\(report.file): good (\(report.accounts) accounts, \(report.messages) messages, schema \(report.schema))")
        if file == nil { try await verifyUploads() }
    }

    private func verifyUploads() async throws(CommandFailure) {
        let configuration = try options.load().configuration
        let files = try configuration.fileStore(SystemClock(), Logger(label: "verification") { _ in SwiftLogNoOpLogHandler() })
        defer { files.close() }
        let found: UploadInventory
        do throws(StorageError) {
            found = try await SQLiteStore.verifyUploads(folder: configuration.server.dataFolder, files: files, reads: uploads)
        } catch {
            throw CommandFailure(error)
        }
        guard found.problems.isEmpty else {
            let problems = found.problems.map { "  \($0)" }.joined(separator: "\n")
            throw CommandFailure(.data, "\(files.place): uploaded files are damaged:\n\(problems)", hint: "restore a copy of them")
        }
        if found.files > 0 { Terminal.say("\(files.place): \(uploads ? "good" : "all there") (\(found.files) uploaded files, \(found.bytes) bytes)") }
    }

    private func verify() throws(CommandFailure) -> VerificationReport {
        let folder = try file == nil ? options.load().configuration.server.dataFolder : ""
        do throws(StorageError) {
            guard let file else { return try SQLiteStore.verify(folder: folder) }
            return try SQLiteStore.verify(backup: FilePath.resolve(file, against: Terminal.folder))
        } catch {
            throw CommandFailure(error)
        }
    }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Put a backup into the data folder of a server that does not run.",
        discussion: "The backup is checked first. What it replaces is kept beside it until the next restore.")
    @OptionGroup var options: ConfigurationOption
    @Flag(help: "Replace the database that is there.") var overwrite = false
    @Argument(help: "The backup.", completion: .file()) var file: String

    func run() async throws {
        let folder = try options.load().configuration.server.dataFolder
        let source = FilePath.resolve(file, against: Terminal.folder)
        do throws(StorageError) {
            try SQLiteStore.restore(from: source, to: folder, overwriting: overwrite)
        } catch {
            var failure = CommandFailure(error)
            switch error {
            case .exists: failure.hint = "--overwrite replaces it; it is kept as martlet.db.replaced"
            case .locked: failure.hint = "stop the server first"
            case .missing, .notADatabase, .foreign, .damaged, .newerSchema, .readOnly, .full, .interruptedRestore, .refused: break
            }
            throw failure
        }
        Terminal.say("restored \(source) into \(folder)")
    }
}
