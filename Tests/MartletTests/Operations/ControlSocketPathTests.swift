import Foundation
import NIOPosix
import Testing

import martlet

@Suite("The path of the control socket")
struct ControlSocketPathTests {
    /// A path of so many bytes in a new folder, and that folder.
    private static func path(bytes: Int) throws -> (path: String, folder: String) {
        let folder = "/tmp/martlet-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        return ("\(folder)/" + String(repeating: "s", count: bytes - folder.utf8.count - 1), folder)
    }

    @Test("one that a configuration may have is listened on, and what is longer is refused by the configuration as by the system", arguments: [0, 1])
    func length(_ excess: Int) async throws {
        let (path, folder) = try Self.path(bytes: 103 + excess)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(problems(minimal + "server: {control-socket: \(path)}\n").isEmpty == (excess == 0))
        let listener = ControlListener(path: path, on: MultiThreadedEventLoopGroup.singleton) { _, _ in preconditionFailure("nobody asks") }
        do throws(CommandFailure) {
            try await listener.start()
            #expect(excess == 0)
            #expect(FileManager.default.fileExists(atPath: path))
            await listener.stop()
        } catch {
            #expect(excess == 1, "\(error)")
        }
    }
}
