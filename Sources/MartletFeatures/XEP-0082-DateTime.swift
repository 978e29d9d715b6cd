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

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 { self / divisor - (self % divisor < 0 ? 1 : 0) }
}
