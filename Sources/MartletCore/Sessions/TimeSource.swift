package import NIOCore

/// Where decisions take their time from, so that tests can hold it still.
package protocol TimeSource: Sendable {
    /// For intervals; never goes back.
    var monotonic: NIODeadline { get }
    /// Milliseconds since 1970 (UTC); may jump.
    var wallMilliseconds: Int64 { get }
}

/// Where identifiers and nonces take their randomness from.
package protocol RandomSource: Sendable {
    /// `count` bytes that nobody can guess.
    func bytes(_ count: Int) -> [UInt8]
}

package struct SystemRandom: RandomSource {
    package init() {}
    package func bytes(_ count: Int) -> [UInt8] {
        // The system is asked for eight bytes at a time, which is what it gives.
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let word: UInt64 = generator.next()
            withUnsafeBytes(of: word) { bytes.append(contentsOf: $0.prefix(count - bytes.count)) }
        }
        return bytes
    }
}

extension RandomSource {
    /// 128 random bits as 32 hexadecimal digits: resources, stream identifiers, identifiers of our own requests.
    package func token() -> String {
        let digits: [UInt8] = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(32)
        for byte in bytes(16) {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
