/// Moments as a directory writes them (RFC 4517 §3.3.13): `199412161032Z`, `20261130152355.123Z`.
public enum GeneralizedTime {
    /// In UTC; without the fraction when it is zero.
    ///
    /// - Parameter milliseconds: since 1970 (UTC). Years outside 0…9999 are cut off there.
    public static func text(milliseconds: Int64) -> String {
        let milliseconds = min(max(milliseconds, -62_167_219_200_000), 253_402_300_799_999)
        let day = milliseconds.flooredQuotient(86_400_000)
        let inDay = milliseconds - day * 86_400_000
        let (year, month, dayOfMonth) = date(day)
        let seconds = inDay / 1_000
        let time = padded(seconds / 3_600, 2) + padded(seconds / 60 % 60, 2) + padded(seconds % 60, 2)
        let fraction = inDay % 1_000 == 0 ? "" : ".\(padded(inDay % 1_000, 3))"
        return "\(padded(year, 4))\(padded(month, 2))\(padded(dayOfMonth, 2))\(time)\(fraction)Z"
    }

    /// Milliseconds since 1970 (UTC); `nil` if it is none. What is less than a millisecond is cut off.
    ///
    /// Minutes and seconds may be left out, and the last part that is there may have a fraction. A sixtieth second, which a leap second is, is the
    /// next minute's first.
    public static func milliseconds(of text: [UInt8]) -> Int64? {
        var reader = Digits(rest: text[...])
        guard let year = reader.number(4, 0...9_999), let month = reader.number(2, 1...12), let dayOfMonth = reader.number(2, 1...31),
            let hour = reader.number(2, 0...23)
        else { return nil }
        var unit: Int64 = 3_600_000
        var moment = hour * unit
        for smaller: (unit: Int64, range: ClosedRange<Int64>) in [(60_000, 0...59), (1_000, 0...60)] where reader.isAtDigit {
            guard let number = reader.number(2, smaller.range) else { return nil }
            unit = smaller.unit
            moment += number * unit
        }
        let day = day(year, month, dayOfMonth)
        // The 30th of February is another day by the calendar's arithmetic.
        guard let fraction = reader.fraction(of: unit), let offset = reader.offset(), reader.rest.isEmpty, date(day) == (year, month, dayOfMonth)
        else { return nil }
        return day * 86_400_000 + moment + fraction - offset * 60_000
    }

    public static func milliseconds(of text: String) -> Int64? { milliseconds(of: Array(text.utf8)) }

    // MARK: The Gregorian calendar

    /// The date of a day, counted from 1970-01-01. Years begin in March here, so that the leap day is the last of a year, and
    /// eras have 400 years, after which the calendar repeats.
    private static func date(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let sinceMarch0000 = day + 719_468
        let era = sinceMarch0000.flooredQuotient(146_097)
        let dayOfEra = sinceMarch0000 - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    /// The day of a date, counted from 1970-01-01: what ``date(_:)`` gives back.
    private static func day(_ year: Int64, _ month: Int64, _ dayOfMonth: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = year.flooredQuotient(400)
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + dayOfMonth - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    private struct Digits {
        var rest: ArraySlice<UInt8>

        var isAtDigit: Bool { rest.first.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false }

        mutating func skip(_ letter: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: letter) else { return false }
            rest.removeFirst()
            return true
        }

        mutating func number(_ digits: Int, _ range: ClosedRange<Int64>) -> Int64? {
            var number: Int64 = 0
            for _ in 0..<digits {
                guard isAtDigit else { return nil }
                number = number * 10 + Int64(rest.removeFirst() - UInt8(ascii: "0"))
            }
            return range.contains(number) ? number : nil
        }

        /// Milliseconds of a unit's fraction; 0 if there is none.
        mutating func fraction(of unit: Int64) -> Int64? {
            guard skip(".") || skip(",") else { return 0 }
            guard isAtDigit else { return nil }
            // Nine digits of an hour are less than a millisecond apart.
            var (parts, whole): (Int64, Int64) = (0, 1)
            while isAtDigit {
                let digit = Int64(rest.removeFirst() - UInt8(ascii: "0"))
                if whole < 1_000_000_000 { (parts, whole) = (parts * 10 + digit, whole * 10) }
            }
            return unit * parts / whole
        }

        /// Minutes that local time is ahead of UTC.
        mutating func offset() -> Int64? {
            if skip("Z") { return 0 }
            let sign: Int64
            if skip("+") { sign = 1 } else if skip("-") { sign = -1 } else { return nil }
            guard let hours = number(2, 0...23) else { return nil }
            guard isAtDigit else { return sign * hours * 60 }
            guard let minutes = number(2, 0...59) else { return nil }
            return sign * (hours * 60 + minutes)
        }
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 { self / divisor - (self % divisor < 0 ? 1 : 0) }
}
