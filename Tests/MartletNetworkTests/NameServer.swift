#if os(Linux)
import Glibc
import Testing

/// Debian's `unbound` on a port of loopback, which serves the zones in `Fixtures/dns` as they are.
final class NameServer {
    static let program = "/usr/sbin/unbound"
    static var isInstalled: Bool { access(program, X_OK) == 0 }
    static let isMissing: Comment = "unbound is not installed: scripts/install-packages test"
    static let zones = ["signed.example", "tampered.example", "plain.example"]

    static func fixture(_ name: String) -> String { "\(Fixtures.root)/Fixtures/dns/\(name)" }

    let port: UInt16
    private let folder: String
    private let process: pid_t

    /// Returns when it serves.
    init() throws {
        var template = Array("/tmp/martlet-dns-XXXXXX".utf8CString)
        folder = String(cString: try #require(mkdtemp(&template)))
        (port, process) = try Self.start(folder)
    }

    /// On a port that was free a moment before: another test's connection may take it first.
    private static func start(_ folder: String) throws -> (UInt16, pid_t) {
        var said = ""
        repeat {
            let port = try BoundSocket().port
            try configuration(folder, port).write(to: "\(folder)/unbound.conf")
            var ends: [Int32] = [0, 0]
            try #require(pipe(&ends) == 0 && fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0)
            let process = try spawn(["-d", "-p", "-c", "\(folder)/unbound.conf"], errors: ends[1])
            close(ends[1])
            defer { close(ends[0]) }
            said = read(ends[0], until: "start of service")
            if said.contains("start of service") { return (port, process) }
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        } while said.contains("Address already in use")
        throw NotServing(said: said)
    }

    private struct NotServing: Error { let said: String }

    deinit {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
        unlink("\(folder)/unbound.conf")
        rmdir(folder)
    }

    private static func configuration(_ folder: String, _ port: UInt16) -> String {
        let zones = zones.map { zone in
            """
            auth-zone:
              name: "\(zone)"
              zonefile: "\(fixture("\(zone).zone"))"
              for-downstream: yes
              for-upstream: no

            """
        }
        return """
            server:
              interface: 127.0.0.1
              port: \(port)
              do-daemonize: no
              use-syslog: no
              logfile: ""
              verbosity: 1
              chroot: ""
              username: ""
              pidfile: ""
              directory: "\(folder)"
              module-config: "iterator"
              num-threads: 1
            remote-control:
              control-enable: no
            \(zones.joined())
            """
    }

    private static func spawn(_ arguments: [String], errors: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, errors, 2)
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var process: pid_t = 0
        try #require(posix_spawn(&process, program, &actions, nil, &argv, nil) == 0)
        return process
    }

    private static func read(_ file: Int32, until text: String) -> String {
        var said = ""
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while !said.contains(text) {
            let count = Glibc.read(file, &buffer, buffer.count)
            guard count > 0 else { break }
            said += String(decoding: buffer[..<count], as: UTF8.self)
        }
        return said
    }
}

/// A UDP socket on a free port of loopback. What comes there is never answered.
final class BoundSocket {
    let port: UInt16
    private let file: Int32

    init() throws {
        file = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (file, size) = (file, length)
        let isBound = withUnsafeMutableBytes(of: &address) { bytes in
            let pointer = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            return bind(file, pointer, size) == 0 && getsockname(file, pointer, &length) == 0
        }
        try #require(isBound)
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(file) }
}

extension String {
    func write(to path: String) throws {
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        try #require(fputs(self, file) >= 0)
    }
}
#endif
