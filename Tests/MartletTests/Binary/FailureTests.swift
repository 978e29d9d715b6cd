import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

@Suite("What goes wrong at a start has a clear message and its own exit status", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct FailureTests {
    private let household: Household

    init() throws { household = try Household() }

    private func serve(_ environment: [String: String] = [:]) throws -> CommandResult {
        try household.run("serve", "--config", household.file, environment: environment)
    }

    @Test("a corrupt configuration: place, mistake and the nearest key, 78")
    func configuration() throws {
        try household.configure(more: "limts:\n  stanza-bytes: 1")
        let result = try serve()
        #expect(result.status == 78)
        #expect(result.errors.contains("martlet.yaml:"))
        #expect(result.errors.contains("limits"))
    }

    @Test("a configuration that is not there, 78")
    func missingConfiguration() throws {
        let result = try serve()
        #expect(result.status == 78)
        #expect(result.errors.contains("there is no such file"))
    }

    @Test("a busy port: which one, and where it is asked for, 69")
    func busyPort() throws {
        try household.configure()
        let bound = try BoundPort(port: household.ports[1])
        let result = try serve()
        #expect(result.status == 69)
        #expect(result.errors.contains("port \(bound.port) on 127.0.0.1 is in use by another program"))
        #expect(result.errors.contains("listeners[1].port"))
    }

    @Test("a certificate that cannot be read: which one, 78")
    func unreadableCertificate() throws {
        try household.configure(certificate: "    certificate: \(household.folder)/none.pem\n    key: \(household.folder)/none.key")
        let result = try serve()
        #expect(result.status == 78)
        #expect(result.errors.contains("none.pem cannot be read: there is no such file"))
    }

    @Test("a certificate that is none, 65")
    func brokenCertificate() throws {
        let own = household.folder + "/own"
        try household.configure(certificate: "    certificate: \(own).pem\n    key: \(own).key")
        for end in [".pem", ".key"] { try "nonsense".write(toFile: own + end, atomically: true, encoding: .utf8) }
        let result = try serve()
        #expect(result.status == 65)
        #expect(result.errors.contains("own.pem holds no certificate in PEM form"))
    }

    @Test("a database that is none, 65")
    func brokenDatabase() throws {
        try household.configure()
        try FileManager.default.createDirectory(atPath: household.data, withIntermediateDirectories: true)
        try String(repeating: "this is not a database. ", count: 400).write(toFile: household.data + "/martlet.db", atomically: true, encoding: .utf8)
        let result = try serve()
        #expect(result.status == 65)
        #expect(result.errors.contains("restore a backup"))
    }

    @Test("a data folder that cannot be made, 73 or 77")
    func dataFolder() throws {
        try household.configure()
        try "a file".write(toFile: household.data, atomically: true, encoding: .utf8)
        let result = try serve()
        #expect([73, 74, 77].contains(result.status))
        #expect(result.errors.contains("is not a folder"))
    }

    @Test("a log file that cannot be opened, 73")
    func logFile() throws {
        try household.configure(more: "log:\n  destination: \(household.folder)/none/martlet.log")
        let result = try serve()
        #expect(result.status == 73)
        #expect(result.errors.contains("log.destination"))
    }

    @Test("root is refused, with words on what to do, 77", .enabled(if: geteuid() == 0, "only root can try"))
    func root() throws {
        try household.configure()
        let result = try serve(["MARTLET_SERVER_RUN_AS_ROOT": "false"])
        #expect(result.status == 77)
        #expect(result.errors.contains("does not run as root"))
        #expect(result.errors.contains("setpriv"))
    }

    @Test("a full disk, 74", .enabled(if: geteuid() == 0, "only root can mount a small disk"))
    func fullDisk() throws {
        try household.configure(more: "storage:\n  reserve: off")
        try FileManager.default.createDirectory(atPath: household.data, withIntermediateDirectories: true)
        guard shell("mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", household.data) == 0 else {
            // A container without the right to mount.
            return
        }
        defer { _ = shell("umount", household.data) }
        try Data(count: 60 * 1024).write(to: URL(fileURLWithPath: household.data + "/filler"))
        let result = try serve()
        #expect(result.status == 74, "\(result.errors)")
        #expect(result.errors.contains("no space left on the device"))
    }

    private func shell(_ words: String...) -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return -1 }
        process.waitUntilExit()
        return process.terminationStatus
    }
}
