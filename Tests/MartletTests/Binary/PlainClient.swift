import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The smallest client: TCP on loopback, PLAIN, one resource. For a listener that allows it.
final class PlainClient {
    /// Longest wait for what the server is expected to say, in seconds.
    private static let patience = 20

    private let descriptor: Int32
    private var received = ""

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
        var wait = timeval(tv_sec: Self.patience, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        try #require(isConnected)
    }

    deinit { close(descriptor) }

    /// Logs in; what the server said to the attempt is returned, up to the bound resource or the failure.
    func logIn(_ localpart: String, _ password: String, domain: String = "capulet.example", resource: String = "test") throws -> String {
        let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='\(domain)' version='1.0'>"
        send(header)
        _ = try read(until: "</stream:features>")
        let plain = Data("\0\(localpart)\0\(password)".utf8).base64EncodedString()
        send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\(plain)</auth>")
        let answer = try read(until: "<success", "</failure>")
        guard answer.contains("<success") else { return answer }
        _ = try? read(until: ">")
        received = ""
        send(header)
        _ = try read(until: "</stream:features>")
        send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>\(resource)</resource></bind></iq>")
        return try read(until: "</iq>")
    }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        #if canImport(Darwin)
        let flags: Int32 = 0
        #else
        let flags = Int32(MSG_NOSIGNAL)
        #endif
        _ = Self.systemSend(descriptor, bytes, flags)
    }

    private static func systemSend(_ descriptor: Int32, _ bytes: [UInt8], _ flags: Int32) -> Int {
        #if canImport(Glibc)
        Glibc.send(descriptor, bytes, bytes.count, flags)
        #elseif canImport(Musl)
        Musl.send(descriptor, bytes, bytes.count, flags)
        #else
        Darwin.send(descriptor, bytes, bytes.count, flags)
        #endif
    }

    /// What arrives up to and including one of these; what follows stays for the next call.
    func read(until ends: String...) throws -> String {
        while true {
            for end in ends {
                guard let range = received.range(of: end) else { continue }
                let text = String(received[..<range.upperBound])
                received = String(received[range.upperBound...])
                return text
            }
            try #require(receive(), "the server said only: \(received)")
        }
    }

    /// Everything until the server closes the connection.
    func readToEnd() -> String {
        while receive() {}
        return received
    }

    private func receive() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 16_384)
        var count = recv(descriptor, &chunk, chunk.count, 0)
        // Programs that other tests have started end meanwhile, and the system says so by a signal.
        while count < 0, errno == EINTR { count = recv(descriptor, &chunk, chunk.count, 0) }
        guard count > 0 else { return false }
        received += String(decoding: chunk[..<count], as: UTF8.self)
        return true
    }
}
