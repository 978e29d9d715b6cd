#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A small file, read whole.
enum FileContents {
    /// Longest one, in bytes, unless it is said otherwise. Certificates and keys are a few kilobytes, the authorities that a system trusts some hundreds.
    static let bytesMax = 1 << 20

    struct Unreadable: Error { let errno: Int32 }

    static func read(_ path: String, bytesMax: Int = bytesMax) throws(Unreadable) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Unreadable(errno: errno) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while bytes.count <= bytesMax {
            let count = chunk.withUnsafeMutableBytes { systemRead(file, $0) }
            if count < 0 {
                if errno == EINTR { continue }
                throw Unreadable(errno: errno)
            }
            if count == 0 { return bytes }
            bytes += chunk.prefix(count)
        }
        throw Unreadable(errno: EFBIG)
    }

    /// Whether there is no such file, as opposed to one that cannot be read.
    static func isAbsent(_ path: String) -> Bool { access(path, F_OK) != 0 && errno == ENOENT }

    static func describe(_ code: Int32) -> String {
        strerror(code).map { String(cString: $0) } ?? "error \(code)"
    }

    private static func systemRead(_ file: Int32, _ space: UnsafeMutableRawBufferPointer) -> Int {
        #if canImport(Glibc)
        Glibc.read(file, space.baseAddress, space.count)
        #elseif canImport(Musl)
        Musl.read(file, space.baseAddress, space.count)
        #else
        Darwin.read(file, space.baseAddress, space.count)
        #endif
    }
}
