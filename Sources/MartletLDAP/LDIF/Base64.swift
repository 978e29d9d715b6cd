/// RFC 4648 §4, as LDIF has it: with padding, and nothing else in between.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xFF, count: 256)
        for (value, letter) in alphabet.enumerated() { values[Int(letter)] = UInt8(value) }
        return values
    }()
    private static let padding = UInt8(ascii: "=")

    static func encoded(_ octets: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity((octets.count + 2) / 3 * 4)
        for start in stride(from: 0, to: octets.count, by: 3) {
            let count = min(3, octets.count - start)
            let bits = (0..<3).reduce(UInt32(0)) { $0 << 8 | ($1 < count ? UInt32(octets[start + $1]) : 0) }
            for place in 0..<4 { result.append(place <= count ? alphabet[Int(bits >> (18 - 6 * place) & 63)] : padding) }
        }
        return result
    }

    /// - Returns: `nil` if it is none, or if bits are set that mean nothing (§3.5).
    static func decoded(_ text: [UInt8]) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        let letters = text.prefix { $0 != padding }
        guard text.count - letters.count <= 2, text[letters.endIndex...].allSatisfy({ $0 == padding }) else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(text.count / 4 * 3)
        var (bits, count): (UInt32, Int) = (0, 0)
        for letter in letters {
            let value = values[Int(letter)]
            guard value < 64 else { return nil }
            bits = (bits << 6 | UInt32(value)) & 0xFF_FFFF
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            result.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        return bits & (1 << UInt32(count) - 1) == 0 ? result : nil
    }
}
