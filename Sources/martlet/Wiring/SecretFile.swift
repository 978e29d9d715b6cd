#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A secret that another program keeps in a file of its own: one line.
enum SecretFile {
    /// Longest one, in bytes.
    static let bytesMax = 4_096

    static func read(_ path: String) throws(CommandFailure) -> [UInt8] {
        guard let file = fopen(path, "r") else {
            throw CommandFailure(.configuration, "\(path) cannot be read: \(String(cString: strerror(errno)))", hint: "it holds a secret, on one line")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: bytesMax + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard count <= bytesMax else { throw CommandFailure(.configuration, "\(path) is too long for a secret: more than \(bytesMax) bytes") }
        let secret = bytes.prefix(count).prefix { $0 != 0x0a && $0 != 0x0d }
        guard !secret.isEmpty else { throw CommandFailure(.configuration, "\(path) is empty", hint: "it holds a secret, on one line") }
        return Array(secret)
    }
}
