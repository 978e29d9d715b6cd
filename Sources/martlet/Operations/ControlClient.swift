import Foundation
package import MartletNetwork

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Asks a running server, from a command. Blocks: a command has nothing else to do.
package struct ControlClient: Sendable {
    private let path: String

    package init(path: String) { self.path = path }

    /// - Parameter tell: told of what the server says before its response.
    /// - Returns: `nil` if no server listens there.
    /// - Throws: ``CommandFailure``: what the server refused, or why it could not be asked.
    package func ask(_ order: ControlOrder, _ tell: (DiagnosisStep) -> Void = { _ in }) throws(CommandFailure) -> ControlResponse? {
        guard let descriptor = try connected() else { return nil }
        defer { close(descriptor) }
        let request = ControlRequest(by: Self.user, order)
        guard var line = try? Self.encoder.encode(request) else { throw CommandFailure(.software, "the request cannot be written") }
        line.append(0x0A)
        var lines = ResponseLines(descriptor)
        guard Self.write(line, to: descriptor) else { throw ended }
        var response = try next(&lines)
        while case .step(let step) = response {
            tell(step)
            response = try next(&lines)
        }
        if case .refused(let status, let message, let hint) = response {
            throw CommandFailure(ExitStatus(rawValue: status) ?? .software, message, hint: hint)
        }
        return response
    }

    private var ended: CommandFailure { CommandFailure(.temporary, "the server ended the conversation on \(path)", hint: "its log may say why") }

    private func next(_ lines: inout ResponseLines) throws(CommandFailure) -> ControlResponse {
        guard let line = lines.next() else { throw ended }
        guard let response = try? JSONDecoder().decode(ControlResponse.self, from: line) else {
            throw CommandFailure(.unavailable, "the server on \(path) is of another version", hint: "use its own 'martlet' command, or restart it")
        }
        return response
    }

    /// The same for commands that are of no use without a server.
    package func askRunning(_ order: ControlOrder) throws(CommandFailure) -> ControlResponse {
        guard let response = try ask(order) else { throw Self.notRunning(path) }
        return response
    }

    static func notRunning(_ path: String) -> CommandFailure {
        CommandFailure(
            .unavailable, "the server does not run: nobody listens on \(path)",
            hint: "start it with 'martlet serve', or name its configuration with --config")
    }

    static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    private static var user: String { ProcessInfo.processInfo.userName }

    private func connected() throws(CommandFailure) -> Int32? {
        guard var address = UnixAddress(path) else { throw CommandFailure(.configuration, "the path of the control socket is too long: \(path)") }
        let descriptor = UnixAddress.makeSocket(datagram: false)
        guard descriptor >= 0 else { throw CommandFailure(.software, "no socket can be made: \(SystemError.last)") }
        if address.withSocketAddress({ connect(descriptor, $0, $1) }) == 0 { return descriptor }
        let error = SystemError.last
        close(descriptor)
        switch error.code {
        case ENOENT, ECONNREFUSED: return nil
        case EACCES, EPERM:
            throw CommandFailure(
                .noPermission, "permission denied on \(path)", hint: "run the command as the server's user, for instance with 'sudo -u martlet'")
        default: throw CommandFailure(.unavailable, "the server cannot be reached on \(path): \(error)")
        }
    }

    private static func write(_ bytes: Data, to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            // Without a signal if the server went.
            #if canImport(Darwin)
            let flags: Int32 = 0
            #else
            let flags = Int32(MSG_NOSIGNAL)
            #endif
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, flags) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}

/// What comes from the server, a line at a time.
private struct ResponseLines {
    private let descriptor: Int32
    private var chunk = [UInt8](repeating: 0, count: 65_536)
    /// What has been read of it and not been taken.
    private var unread = 0..<0

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// - Returns: `nil` at the end, or if the line is too long.
    mutating func next() -> Data? {
        var line = Data()
        while line.count <= ControlProtocol.responseBytesMax {
            if unread.isEmpty {
                let count = recv(descriptor, &chunk, chunk.count, 0)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return nil }
                unread = 0..<count
            }
            guard let end = chunk[unread].firstIndex(of: 0x0A) else {
                line.append(contentsOf: chunk[unread])
                unread = 0..<0
                continue
            }
            line.append(contentsOf: chunk[unread.lowerBound..<end])
            unread = end + 1..<unread.upperBound
            return line
        }
        return nil
    }
}
