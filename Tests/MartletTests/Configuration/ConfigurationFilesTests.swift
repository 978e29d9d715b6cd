import Testing

import martlet

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif
#if canImport(Glibc)
import Glibc
#endif

@Suite("files that cannot be read have a reason")
struct ConfigurationFilesTests {
    /// Runs `body` in a folder of its own, which is removed afterwards.
    private func inFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "martlet-\(UInt64.random(in: 0...UInt64.max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path())
    }

    private func message(_ path: String) -> String? {
        do throws(ConfigurationFailure) {
            _ = try ConfigurationLoader().load(file: path)
            return nil
        } catch {
            return error.problems.first?.message
        }
    }

    @Test("missing, a folder, a loop of links, a pipe, behind a file")
    func faults() throws {
        try inFolder { folder in
            #expect(message("\(folder)/missing.yaml") == "cannot be read: there is no such file")
            #expect(message(folder) == "cannot be read: it is a folder")
            #expect(symlink("\(folder)/b", "\(folder)/a") == 0 && symlink("\(folder)/a", "\(folder)/b") == 0)
            #expect(message("\(folder)/a") == "cannot be read: its symbolic links lead in a circle")
            #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
            #expect(message("\(folder)/pipe") == "cannot be read: it is not a regular file")
            try Data("x".utf8).write(to: URL(filePath: "\(folder)/file"))
            #expect(message("\(folder)/file/inner") == "cannot be read: there is no such file")
        }
    }

    @Test("one that nobody may read", .enabled(if: geteuid() != 0))
    func permission() throws {
        try inFolder { folder in
            try Data(minimal.utf8).write(to: URL(filePath: "\(folder)/closed"))
            #expect(chmod("\(folder)/closed", 0) == 0)
            #expect(message("\(folder)/closed") == "cannot be read: permission denied")
            #expect(ConfigurationFiles.disk.fault("\(folder)/closed") == .notPermitted)
        }
    }

    @Test("one of 1 MiB is read, a larger one is not")
    func size() throws {
        try inFolder { folder in
            let path = "\(folder)/large.yaml"
            let text = Data((minimal + String(repeating: "#", count: ConfigurationLoader.fileBytesMax - minimal.utf8.count)).utf8)
            try text.write(to: URL(filePath: path))
            #expect(message(path) == nil)
            try (text + Data("#".utf8)).write(to: URL(filePath: path))
            #expect(message(path) == "cannot be read: it is larger than 1MiB")
        }
    }

    @Test("a link to a good file is followed")
    func link() throws {
        try inFolder { folder in
            try Data(minimal.utf8).write(to: URL(filePath: "\(folder)/file"))
            #expect(symlink("file", "\(folder)/link") == 0)
            #expect(message("\(folder)/link") == nil)
        }
    }
}
