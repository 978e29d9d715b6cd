/// Punycode (RFC 3492), without the `xn--` in front.
enum Punycode {
    private static let base = 36
    private static let thresholds = 1...26
    private static let skew = 38
    private static let damp = 700
    private static let initialBias = 72
    private static let initialValue = 0x80

    /// `nil` if the code is malformed or names something that Unicode has not. Lower case and upper case digits are one.
    static func decode(_ code: [UInt8]) -> [Unicode.Scalar]? {
        var result: [Unicode.Scalar] = []
        var digits = code[...]
        if let delimiter = digits.lastIndex(of: UInt8(ascii: "-")) {
            result = digits[..<delimiter].map { Unicode.Scalar($0) }
            digits = digits[(delimiter + 1)...]
        }
        guard result.allSatisfy(\.isASCII) else { return nil }
        var value = initialValue
        var bias = initialBias
        var position = 0
        while !digits.isEmpty {
            guard let delta = takeInteger(from: &digits, bias: bias) else { return nil }
            let count = result.count + 1
            let (sum, overflow) = position.addingReportingOverflow(delta)
            guard !overflow, sum / count <= 0x10FFFF - value else { return nil }
            value += sum / count
            guard let scalar = UInt32(exactly: value).flatMap(Unicode.Scalar.init) else { return nil }
            bias = adaptedBias(delta: delta, count: count, isFirst: position == 0)
            position = sum % count
            result.insert(scalar, at: position)
            position += 1
        }
        return result
    }

    /// Takes time with the square of the length: the caller limits it to ``DomainLabel/bytesMax`` characters.
    static func encode(_ text: [Unicode.Scalar]) -> [UInt8] {
        var code = text.filter(\.isASCII).map { UInt8(truncatingIfNeeded: $0.value) }
        let basicCount = code.count
        if basicCount > 0 { code.append(UInt8(ascii: "-")) }
        var handled = basicCount
        var value = initialValue
        var bias = initialBias
        var delta = 0
        while let next = text.lazy.map({ Int($0.value) }).filter({ $0 >= value }).min() {
            delta += (next - value) * (handled + 1)
            value = next
            for scalar in text {
                if scalar.value < value { delta += 1 }
                guard scalar.value == value else { continue }
                appendInteger(delta, to: &code, bias: bias)
                bias = adaptedBias(delta: delta, count: handled + 1, isFirst: handled == basicCount)
                delta = 0
                handled += 1
            }
            delta += 1
            value += 1
        }
        return code
    }

    // MARK: Integers of variable length (RFC 3492 §3.3)

    private static func threshold(_ place: Int, bias: Int) -> Int {
        min(max(place * base - bias, thresholds.lowerBound), thresholds.upperBound)
    }

    private static func takeInteger(from digits: inout ArraySlice<UInt8>, bias: Int) -> Int? {
        var integer = 0
        var weight = 1
        var place = 1
        while let digit = digits.popFirst().flatMap(value(ofDigit:)) {
            let (product, productOverflow) = digit.multipliedReportingOverflow(by: weight)
            let (sum, sumOverflow) = integer.addingReportingOverflow(product)
            guard !productOverflow, !sumOverflow else { return nil }
            integer = sum
            let limit = threshold(place, bias: bias)
            guard digit >= limit else { return integer }
            let (heavier, overflow) = weight.multipliedReportingOverflow(by: base - limit)
            guard !overflow else { return nil }
            weight = heavier
            place += 1
        }
        return nil
    }

    private static func appendInteger(_ integer: Int, to code: inout [UInt8], bias: Int) {
        var rest = integer
        var place = 1
        while true {
            let limit = threshold(place, bias: bias)
            guard rest >= limit else { return code.append(digit(of: rest)) }
            code.append(digit(of: limit + (rest - limit) % (base - limit)))
            rest = (rest - limit) / (base - limit)
            place += 1
        }
    }

    private static func value(ofDigit byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"): Int(byte - UInt8(ascii: "a"))
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): Int(byte - UInt8(ascii: "A"))
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0")) + 26
        default: nil
        }
    }

    private static func digit(of value: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: value < 26 ? value + 0x61 : value - 26 + 0x30)
    }

    /// RFC 3492 §3.4.
    private static func adaptedBias(delta: Int, count: Int, isFirst: Bool) -> Int {
        var delta = isFirst ? delta / damp : delta / 2
        delta += delta / count
        var bias = 0
        while delta > (base - thresholds.lowerBound) * thresholds.upperBound / 2 {
            delta /= base - thresholds.lowerBound
            bias += base
        }
        return bias + base * delta / (delta + skew)
    }
}
