/// Dates and times as XMPP writes them (XEP-0082), in UTC, without a calendar library: the Gregorian calendar is arithmetic.
package enum DateTime {
    /// `1969-07-21T02:56:15.123Z`; without the fraction when it is zero.
    ///
    /// - Parameter milliseconds: since 1970 (UTC). Years outside 0…9999 are cut off there.
    package static func text(milliseconds: Int64) -> String {
        let milliseconds = min(max(milliseconds, -62_167_219_200_000), 253_402_300_799_999)
        let day = milliseconds.flooredQuotient(86_400_000)
        let inDay = milliseconds - day * 86_400_000
        let (year, month, dayOfMonth) = date(day)
        let seconds = inDay / 1_000
        let time = "\(padded(seconds / 3_600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
        let fraction = inDay % 1_000 == 0 ? "" : ".\(padded(inDay % 1_000, 3))"
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))T\(time)\(fraction)Z"
    }

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
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    /// The day of a date, counted from 1970-01-01: what ``date(_:)`` gives back.
    private static func day(_ year: Int64, _ month: Int64, _ dayOfMonth: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = year.flooredQuotient(400)
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + dayOfMonth - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

// MARK: Reading

extension DateTime {
    /// The moment that a text of the form `CCYY-MM-DDThh:mm:ss[.sss]TZD` names, in milliseconds since 1970 (UTC); `nil` if it is none
    /// (XEP-0082 §3.2). Digits of the fraction beyond the third are cut off.
    ///
    /// As in the type `dateTime` of XML Schema there are no leap seconds, and no offset is beyond 14 hours. Letters are capitals.
    package static func milliseconds(of text: String) -> Int64? {
        var reader = Reader(rest: text.utf8[...])
        guard let year = reader.number(4), reader.skip("-"), let month = reader.number(2, 1...12), reader.skip("-"),
            let dayOfMonth = reader.number(2, 1...31), reader.skip("T"),
            let hour = reader.number(2, 0...23), reader.skip(":"), let minute = reader.number(2, 0...59), reader.skip(":"),
            let second = reader.number(2, 0...59), let fraction = reader.fraction(), let offset = reader.offset(), reader.rest.isEmpty
        else { return nil }
        let day = day(year, month, dayOfMonth)
        // The 30th of February is another day by the calendar's arithmetic.
        guard date(day) == (year, month, dayOfMonth) else { return nil }
        return ((day * 24 + hour) * 60 + minute - offset) * 60_000 + second * 1_000 + fraction
    }

    private struct Reader {
        var rest: Substring.UTF8View

        mutating func skip(_ letter: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: letter) else { return false }
            rest.removeFirst()
            return true
        }

        mutating func number(_ digits: Int, _ range: ClosedRange<Int64> = 0...9_999) -> Int64? {
            var number: Int64 = 0
            for _ in 0..<digits {
                guard let digit = digit() else { return nil }
                number = number * 10 + digit
            }
            return range.contains(number) ? number : nil
        }

        private mutating func digit() -> Int64? {
            guard let byte = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            rest.removeFirst()
            return Int64(byte - UInt8(ascii: "0"))
        }

        /// Milliseconds; 0 if there is no fraction.
        mutating func fraction() -> Int64? {
            guard skip(".") else { return 0 }
            var (milliseconds, unit): (Int64, Int64) = (0, 100)
            guard let first = digit() else { return nil }
            milliseconds = first * unit
            while let digit = digit() {
                unit /= 10
                milliseconds += digit * unit
            }
            return milliseconds
        }

        /// Minutes that local time is ahead of UTC.
        mutating func offset() -> Int64? {
            if skip("Z") { return 0 }
            let sign: Int64
            if skip("+") { sign = 1 } else if skip("-") { sign = -1 } else { return nil }
            guard let hours = number(2, 0...14), skip(":"), let minutes = number(2, 0...59), hours * 60 + minutes <= 840 else { return nil }
            return sign * (hours * 60 + minutes)
        }
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 { self / divisor - (self % divisor < 0 ? 1 : 0) }
}
