import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The real executable, run as an operator runs it.
///
/// `MARTLET_BINARY` names it; otherwise it lies beside the test bundle. Tests are skipped where it is not built.
enum MartletBinary {
    static let path: String? = {
        if let named = ProcessInfo.processInfo.environment["MARTLET_BINARY"] { return named }
        let arguments = CommandLine.arguments.prefix(1) + [Bundle.main.executablePath].compactMap { $0 }
        let beside = arguments.flatMap { argument in
            sequence(first: URL(fileURLWithPath: argument)) { $0.path == "/" ? nil : $0.deletingLastPathComponent() }.prefix(5)
                .map { $0.appendingPathComponent("martlet").path }
        }
        return beside.first { isFile($0) }
    }()

    static let isMissing: Comment = "the executable is not built: swift build --product martlet, or set MARTLET_BINARY"

    private static func isFile(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
            && FileManager.default.isExecutableFile(atPath: path)
    }

    /// What a test's own environment must not change.
    static var environment: [String: String] {
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("MARTLET_") && $0.key != "NOTIFY_SOCKET" }
        // The tests may be run by root, in a container.
        if geteuid() == 0 { environment["MARTLET_SERVER_RUN_AS_ROOT"] = "true" }
        return environment
    }

    static func process(_ arguments: [String], _ more: [String: String] = [:]) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(path))
        process.arguments = arguments
        process.environment = environment.merging(more) { _, new in new }
        return process
    }
}

/// What a command said, and how it ended.
struct CommandResult {
    var status: Int32
    var output: String
    var errors: String
}

/// A folder for one test, with a configuration on free ports; it goes when the test is over.
final class Household {
    let folder: String
    var data: String { folder + "/data" }
    var file: String { folder + "/martlet.yaml" }
    let ports: [Int]
    let metricsPort: Int

    init() throws {
        folder = NSTemporaryDirectory() + "martlet-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let free = try Self.freePorts(3)
        ports = Array(free.prefix(2))
        metricsPort = free[2]
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// A small configuration that listens on loopback.
    func configure(domain: String = "capulet.example", certificate: String = "", more: String = "") throws {
        let text = """
            server:
              data: \(data)
              stop-timeout: 2s
            domains:
              - name: \(domain)
            \(certificate)
            listeners:
              - kind: client
                port: \(ports[0])
                addresses: [127.0.0.1]
              - kind: client-tls
                port: \(ports[1])
                addresses: [127.0.0.1]
            authentication:
              scram-iterations: 4096
            metrics:
              port: \(metricsPort)
            \(more)
            """
        try text.write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// Runs a command to its end.
    func run(_ arguments: String..., input: String = "", environment: [String: String] = [:]) throws -> CommandResult {
        try run(arguments: arguments, input: input, environment: environment)
    }

    func run(arguments: [String], input: String = "", environment: [String: String] = [:]) throws -> CommandResult {
        let process = try MartletBinary.process(arguments, environment)
        let (stdin, stdout, stderr) = (Pipe(), folder + "/stdout-\(UUID().uuidString)", folder + "/stderr-\(UUID().uuidString)")
        for path in [stdout, stderr] { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        process.standardInput = stdin
        process.standardOutput = FileHandle(forWritingAtPath: stdout)
        process.standardError = FileHandle(forWritingAtPath: stderr)
        try process.run()
        try? stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try? stdin.fileHandleForWriting.close()
        process.waitUntilExit()
        return CommandResult(
            status: process.terminationStatus, output: try String(contentsOfFile: stdout, encoding: .utf8),
            errors: try String(contentsOfFile: stderr, encoding: .utf8))
    }

    /// Ports that nobody had a moment ago.
    private static func freePorts(_ count: Int) throws -> [Int] {
        let sockets = try (0..<count).map { _ in try BoundPort(port: 0) }
        return sockets.map(\.port)
    }
}

/// A TCP port on loopback that somebody else has.
final class BoundPort {
    private let descriptor: Int32
    let port: Int

    init(port: Int) throws {
        #if canImport(Glibc)
        let kind = Int32(SOCK_STREAM.rawValue)
        #else
        let kind = SOCK_STREAM
        #endif
        descriptor = socket(AF_INET, kind, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let new = descriptor
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(new, $0, length) == 0 && listen(new, 1) == 0 && getsockname(new, $0, &length) == 0
            }
        }
        try #require(isBound)
        self.port = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit { close(descriptor) }
}

/// A server that runs while a test goes on.
final class RunningMartlet {
    private let process: Process
    private let output: FileHandle
    private let errorFile: String
    /// What it said until it was ready.
    let announcement: String

    /// Returns when the server has said that it is ready.
    init(_ household: Household, environment: [String: String] = [:]) throws {
        process = try MartletBinary.process(["serve", "--config", household.file], environment)
        let pipe = Pipe()
        errorFile = household.folder + "/serve-\(UUID().uuidString).log"
        _ = FileManager.default.createFile(atPath: errorFile, contents: nil)
        process.standardOutput = pipe
        process.standardError = FileHandle(forWritingAtPath: errorFile)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        output = pipe.fileHandleForReading
        var text = ""
        while !text.contains("add an account") {
            let more = output.availableData
            guard !more.isEmpty else { break }
            text += String(decoding: more, as: UTF8.self)
        }
        announcement = text
        let said = log
        try #require(text.contains("is ready"), "the server did not start: \(said)")
    }

    var log: String { (try? String(contentsOfFile: errorFile, encoding: .utf8)) ?? "" }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// Ends it as systemd does, and waits.
    func stop() -> Int32 {
        if process.isRunning { process.terminate() }
        return end()
    }

    /// Waits for an end that was asked for.
    func end() -> Int32 {
        process.waitUntilExit()
        return process.terminationStatus
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }
}
