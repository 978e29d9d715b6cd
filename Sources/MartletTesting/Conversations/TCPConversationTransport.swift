import Glibc
import NIOCore

/// Holds conversations with a server that listens on a TCP port of an IPv4 address, without TLS.
package final class TCPConversationTransport: ConversationTransport {
    package let domain: String
    package let hasManualClock = false

    private let host: String
    private let port: UInt16
    private let accountCommand: String
    private let groupsCommand: String?
    private let receiveTimeout: Duration

    /// - Parameters:
    ///   - accountCommand: a shell command that creates an account. `{localpart}`, `{domain}`, `{jid}` and `{password}`
    ///     are replaced, and the password also comes as a line of standard input. None of them has characters that
    ///     mean something to a shell.
    ///   - groupsCommand: a shell command that gets groups as lines of standard input, each as an entry of a list of YAML in the form of our own
    ///     configuration (`domains[].shared-groups`), and returns when there are these and no others; `nil` if the server has none.
    ///   - receiveTimeout: how long to wait for bytes that a conversation expects.
    package init(
        host: String, port: UInt16, domain: String, accountCommand: String, groupsCommand: String? = nil, receiveTimeout: Duration = .seconds(5)
    ) {
        self.groupsCommand = groupsCommand
        self.host = host
        self.port = port
        self.domain = domain
        self.accountCommand = accountCommand
        self.receiveTimeout = receiveTimeout
    }

    package func createAccount(localpart: String, password: String) throws(ConversationTransportError) {
        var command = accountCommand
        let values = [
            "{localpart}": localpart, "{domain}": domain, "{jid}": localpart + "@" + domain, "{password}": password,
        ]
        for (name, value) in values { command = Self.replacing(name, by: value, in: command) }
        try Self.run(command, telling: password + "\n")
    }

    private static func run(_ command: String, telling input: String) throws(ConversationTransportError) {
        guard let pipe = popen(command, "w") else { throw .system(call: "popen", number: errno) }
        fputs(input, pipe)
        let status = pclose(pipe)
        guard status == 0 else { throw .commandFailed(command, status: status) }
    }

    package var sharesGroups: Bool { groupsCommand != nil }

    package func share(_ groups: [Conversation.Group]) throws(ConversationTransportError) {
        guard let groupsCommand else { throw .noGroups }
        var lines: [String] = []
        for group in groups {
            lines.append(Self.line(group.name, group.members, group.watchers == nil ? "share: members" : "share: groups, visible-to: [\(group.name)Watchers]"))
            // Who sees others is a group as well, which nobody sees but one that is not there.
            if let watchers = group.watchers { lines.append(Self.line(group.name + "Watchers", watchers, "share: groups, visible-to: [Nobody]")) }
        }
        if groups.contains(where: { $0.watchers != nil }) { lines.append(Self.line("Nobody", ["nobody@\(domain)"], "share: members")) }
        try Self.run(groupsCommand, telling: lines.map { $0 + "\n" }.joined())
    }

    private static func line(_ name: String, _ members: [String], _ share: String) -> String {
        "- {name: \(name), members: [\(members.joined(separator: ", "))], \(share)}"
    }

    package func connect() throws(ConversationTransportError) -> any ConversationConnection {
        try TCPConversationConnection(host: host, port: port, receiveTimeout: receiveTimeout)
    }

    package func advance(by duration: Duration) throws(ConversationTransportError) {
        throw .noManualClock
    }

    private static func replacing(_ name: String, by value: String, in text: String) -> String {
        var result = ""
        var rest = text[...]
        while let range = rest.firstRange(of: name) {
            result += rest[..<range.lowerBound] + value
            rest = rest[range.upperBound...]
        }
        return result + rest
    }
}

private final class TCPConversationConnection: ConversationConnection {
    /// Bytes asked for in one read.
    private static let readBytesMax = 65_536

    private var descriptor: Int32

    init(host: String, port: UInt16, receiveTimeout: Duration) throws(ConversationTransportError) {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { throw .badAddress(host) }
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw .system(call: "socket", number: errno) }
        setOption(SOL_SOCKET, SO_RCVTIMEO, Self.time(receiveTimeout))
        setOption(SOL_SOCKET, SO_SNDTIMEO, Self.time(receiveTimeout))
        setOption(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
        let result = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { rebound in
                Glibc.connect(descriptor, rebound, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            let number = errno
            close()
            throw .system(call: "connect", number: number)
        }
    }

    deinit {
        close()
    }

    func send(_ bytes: ByteBuffer) throws(ConversationTransportError) {
        var bytes = bytes
        while bytes.readableBytes > 0 {
            let sent = bytes.withUnsafeReadableBytes { pointer in
                Glibc.send(descriptor, pointer.baseAddress, pointer.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else {
                if errno == EINTR { continue }
                if errno == EPIPE || errno == ECONNRESET { return }
                throw .system(call: "send", number: errno)
            }
            bytes.moveReaderIndex(forwardBy: sent)
        }
    }

    func receive() throws(ConversationTransportError) -> ConversationInput {
        var bytes = [UInt8](repeating: 0, count: Self.readBytesMax)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        if count > 0 { return .bytes(ByteBuffer(bytes: bytes.prefix(count))) }
        if count == 0 { return .closed }
        switch errno {
        case ECONNRESET: return .closed
        case EAGAIN, EINTR: return .nothing
        default: throw .system(call: "recv", number: errno)
        }
    }

    func close() {
        guard descriptor >= 0 else { return }
        _ = Glibc.close(descriptor)
        descriptor = -1
    }

    private func setOption<Value>(_ level: Int32, _ name: Int32, _ value: Value) {
        _ = withUnsafePointer(to: value) { setsockopt(descriptor, level, name, $0, socklen_t(MemoryLayout<Value>.size)) }
    }

    private static func time(_ duration: Duration) -> timeval {
        timeval(tv_sec: Int(duration.components.seconds), tv_usec: Int(duration.components.attoseconds / 1_000_000_000_000))
    }
}
