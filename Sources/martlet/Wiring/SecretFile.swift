/// A secret that another program keeps in a file of its own: one line.
package enum SecretFile {
    /// Longest file, in bytes.
    package static let bytesMax = 4_096

    /// What is wrong with a file that can be read.
    package enum Fault: Error, Hashable, CustomStringConvertible {
        case tooLong
        case empty
        case severalLines

        package var description: String {
            switch self {
            case .tooLong: "is too long for a secret: more than \(SecretFile.bytesMax) bytes"
            case .empty: "is empty"
            case .severalLines: "has more than one line"
            }
        }
    }

    /// What stands on the one line of a file.
    package static func secret(in bytes: [UInt8]) throws(Fault) -> [UInt8] {
        guard bytes.count <= bytesMax else { throw .tooLong }
        let secret = bytes.prefix { !isLineEnd($0) }
        guard bytes[secret.endIndex...].allSatisfy(isLineEnd) else { throw .severalLines }
        guard !secret.isEmpty else { throw .empty }
        return Array(secret)
    }

    private static func isLineEnd(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }

    static func read(_ path: String) throws(CommandFailure) -> [UInt8] {
        let hint = "it holds a secret, on one line"
        switch ConfigurationFiles.disk.read(path, bytesMax) {
        case .failure(.tooLarge): throw CommandFailure(.configuration, "\(path) \(Fault.tooLong)", hint: hint)
        case .failure(let fault): throw CommandFailure(.configuration, "\(path) cannot be read: \(fault)", hint: hint)
        case .success(let bytes):
            do throws(Fault) { return try secret(in: bytes) } catch { throw CommandFailure(.configuration, "\(path) \(error)", hint: hint) }
        }
    }
}
