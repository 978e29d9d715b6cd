import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

#if os(Linux)
import Glibc

/// A process of its own writes and says what was acknowledged; it is killed while it does.
@Suite("The embedded store and kill -9", .serialized)
struct CrashTests {
    static let folderVariable = "MARTLET_STORAGE_CRASH_FOLDER"

    @Test("what was acknowledged is there after kill -9, whenever it comes (P1)")
    func killed() async throws {
        let folder = TemporaryFolder()
        var known: UInt64 = 0
        for round in 1...8 {
            known = max(known, try runUntilKilled(folder.path, acknowledgements: 40 * round))
            let store = try SQLiteStore.open(folder: folder.path, options: options { $0.indexThreshold = 64 })
            let account = try #require(try await store.load(juliet))
            let messages = try await store.messages(of: account.id, limit: 1_000_000)
            #expect(messages.map(\.view) == Array(account.deliveredUpTo + 1..<account.lastViewID + 1))
            #expect(account.lastViewID >= known && account.rosterVersion == account.lastViewID)
            store.close()
            #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
        }
        print("kill -9: 8 rounds, \(known) acknowledged submits, none lost")
    }

    /// - Returns: the last view that the process was told is on disk.
    private func runUntilKilled(_ folder: String, acknowledgements: Int) throws -> UInt64 {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { close(ends[0]) }
        let process = try spawnChild(folder, output: ends[1])
        close(ends[1])
        var (text, isKilled) = ([UInt8](), false)
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = read(ends[0], &buffer, buffer.count)
            guard count > 0 else { break }
            text += buffer[..<count]
            if !isKilled, text.count(where: { $0 == UInt8(ascii: "\n") }) >= acknowledgements {
                kill(process, SIGKILL)
                isKilled = true
            }
        }
        waitpid(process, nil, 0)
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("acknowledged ") }
        #expect(isKilled && lines.count >= acknowledgements / 2)
        return lines.compactMap { UInt64($0.dropFirst(13)) }.max() ?? 0
    }

    /// Runs the test below in a process of its own.
    private func spawnChild(_ folder: String, output: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in [1, 2] as [Int32] { posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0) }
        posix_spawn_file_actions_adddup2(&actions, output, 3)
        let arguments = ["/proc/self/exe", "--testing-library", "swift-testing", "--filter", "CrashTests/child"]
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        let libraries = getenv("LD_LIBRARY_PATH").map { String(cString: $0) } ?? ""
        let variables: [String] = ["\(Self.folderVariable)=\(folder)", "LD_LIBRARY_PATH=\(libraries)"]
        var environ: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { (argv + environ).forEach { free($0) } }
        var process: pid_t = 0
        try #require(posix_spawn(&process, "/proc/self/exe", &actions, nil, &argv, &environ) == 0)
        return process
    }

    @Test("(the process that is killed)", .enabled(if: getenv(CrashTests.folderVariable) != nil))
    func child() async throws {
        let folder = String(cString: try #require(getenv(Self.folderVariable)))
        let store = try SQLiteStore.open(folder: folder, options: options { $0.indexThreshold = 64 })
        if try await store.load(juliet) == nil { try await store.create(juliet) }
        let account = try #require(try await store.load(juliet))
        var view = account.lastViewID
        while true {
            for _ in 0..<20 {
                view += 1
                let acknowledged = view
                var writes = [entry("message", (account.id, view)), .rosterItem(account.id, RosterItem(contact: romeo, version: view))]
                if view % 50 == 0 { writes.append(.cursor(account.id, upTo: view - 40)) }
                store.submit(writes) { outcome in
                    guard case .success = outcome else { return }
                    let line = Array("acknowledged \(acknowledged)\n".utf8)
                    write(3, line, line.count)
                }
            }
            _ = try await store.idCeiling()
        }
    }
}
#endif
