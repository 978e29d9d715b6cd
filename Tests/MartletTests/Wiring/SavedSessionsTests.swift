import Foundation
import MartletCore
import MartletXMPP
import NIOCore
import Testing

import martlet

@Suite("The file of sessions that outlive a restart")
struct SavedSessionsTests {
    private func session(_ resource: String) throws -> SavedSession {
        SavedSession(
            address: try FullJID(parsing: "juliet@capulet.example/\(resource)"), account: AccountID(raw: 1), resumptionID: "token", seconds: 600,
            time: 1, handled: 2, acknowledged: 3)
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-sessions-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    @Test("what was written is taken once")
    func once() throws {
        try withFolder { folder in
            try SavedSessions.write([try session("balcony"), try session("chamber")], to: folder)
            let taken = try SavedSessions.take(from: folder)
            #expect(taken?.map(\.address.resourcepart) == ["balcony", "chamber"])
            #expect(try SavedSessions.take(from: folder)?.isEmpty == true)
        }
    }

    @Test("a file has a longest length, to write and to read, on both sides")
    func bytesMax() throws {
        try withFolder { folder in
            let sessions = [try session("balcony"), try session("chamber")]
            try SavedSessions.write(sessions, to: folder)
            let file = folder + "/sessions.saved"
            let bytes = try #require(try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
            #expect(throws: CommandFailure.self) { _ = try SavedSessions.take(from: folder, bytesMax: bytes - 1) }
            #expect(try SavedSessions.take(from: folder, bytesMax: bytes)?.count == 2)
            #expect(throws: CommandFailure.self) { try SavedSessions.write(sessions, to: folder, bytesMax: bytes - 1) }
            #expect(!FileManager.default.fileExists(atPath: file))
            try SavedSessions.write(sessions, to: folder, bytesMax: bytes)
            #expect(try SavedSessions.take(from: folder)?.count == 2)
            #expect(SavedSessions.bytesMax == 1 << 30)
        }
    }
}
