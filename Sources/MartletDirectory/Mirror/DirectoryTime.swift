/// Moments as a directory writes them.
enum DirectoryTime {
    /// GeneralizedTime (RFC 4517 §3.3.13), `20261130161803Z`, with or without minutes, seconds, a fraction, and with the difference of a time zone; in
    /// milliseconds since 1970. `nil` if it is none.
    static func milliseconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count <= textBytesMax, let zone = bytes.lastIndex(where: { [UInt8(ascii: "Z"), UInt8(ascii: "+"), UInt8(ascii: "-")].contains($0) })
        else { return nil }
        let (time, offset) = (bytes[..<zone], bytes[zone...])
        let parts = time.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        let digits = parts[0]
        guard [10, 12, 14].contains(digits.count), let year = number(digits, 0, 4), let month = number(digits, 4, 2), let day = number(digits, 6, 2),
            let hour = number(digits, 8, 2), (1...12).contains(month), (1...31).contains(day), hour < 24,
            let minute = digits.count > 10 ? number(digits, 10, 2) : 0, minute < 60, let second = digits.count > 12 ? number(digits, 12, 2) : 0, second <= 60,
            let shift = minutes(of: offset)
        else { return nil }
        // Whatever is smaller than the last part is left away: nothing here is decided by less than a second.
        if parts.count > 1, parts[1].isEmpty || !parts[1].allSatisfy(isDigit) { return nil }
        return (((days(year, month, day) * 24 + hour) * 60 + minute - shift) * 60 + second) * 1_000
    }

    private static let textBytesMax = 40

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func number(_ bytes: ArraySlice<UInt8>, _ start: Int, _ count: Int) -> Int64? {
        let digits = bytes.dropFirst(start).prefix(count)
        guard digits.count == count, digits.allSatisfy(isDigit) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
    }

    private static func minutes(of offset: ArraySlice<UInt8>) -> Int64? {
        let digits = offset.dropFirst()
        if offset.first == UInt8(ascii: "Z") { return digits.isEmpty ? 0 : nil }
        guard [2, 4].contains(digits.count), let hours = number(digits, 0, 2), hours < 24, let minutes = digits.count > 2 ? number(digits, 2, 2) : 0, minutes < 60
        else { return nil }
        return (offset.first == UInt8(ascii: "-") ? -1 : 1) * (hours * 60 + minutes)
    }

    /// Since 1970, in the calendar of today whatever the year.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        // Years begin in March, so that the day which some years have more is the last one of a year.
        let y = month > 2 ? year : year - 1
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        return y * 365 + floored(y, 4) - floored(y, 100) + floored(y, 400) + dayOfYear - 719_468
    }

    private static func floored(_ a: Int64, _ b: Int64) -> Int64 { a >= 0 ? a / b : (a - b + 1) / b }

    /// `accountExpires` of Active Directory: tenths of microseconds since 1601.
    static func milliseconds(sinceYear1601 value: Int64) -> Int64 { value / 10_000 - 11_644_473_600_000 }
}
