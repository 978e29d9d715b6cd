#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Tells systemd how far the server is (sd_notify(3)), if it was started with `Type=notify` or `Type=notify-reload`.
package struct SystemdNotifier: Sendable {
    private let socketName: String?

    /// - Parameter socketName: the value of `NOTIFY_SOCKET`: a path, or a name that begins with `@` (abstract).
    package init(socketName: String?) { self.socketName = socketName }

    package func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }

    /// The reload is over with the next ``ready(_:)``.
    package func reloading() {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        send("RELOADING=1\nMONOTONIC_USEC=\(Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000)")
    }

    package func stopping() { send("STOPPING=1\nSTATUS=stopping") }

    /// Whoever does not listen misses it.
    private func send(_ message: String) {
        guard let socketName, socketName.first == "/" || socketName.first == "@", var address = UnixAddress(socketName) else { return }
        let descriptor = UnixAddress.makeSocket(datagram: true)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let bytes = Array(message.utf8)
        _ = address.withSocketAddress { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
    }
}

/// The address of a local socket.
struct UnixAddress: Sendable {
    private var address = sockaddr_un()
    private var length: socklen_t

    /// - Returns: `nil` if the path does not fit.
    init?(_ path: String) {
        var bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard !bytes.isEmpty, bytes.count < room else { return nil }
        let isAbstract = bytes.first == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        length = socklen_t(start + bytes.count + (isAbstract ? 0 : 1))
    }

    mutating func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        let length = length
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    static func makeSocket(datagram: Bool) -> Int32 {
        #if canImport(Glibc)
        let kind = Int32((datagram ? SOCK_DGRAM : SOCK_STREAM).rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        #elseif canImport(Musl)
        let kind = (datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC
        #else
        let kind = datagram ? SOCK_DGRAM : SOCK_STREAM
        #endif
        return socket(AF_UNIX, kind, 0)
    }
}
