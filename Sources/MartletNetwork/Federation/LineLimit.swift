/// How many lines of one kind the log has in a minute, where strangers can cause as many as they like. Pure.
package struct LineLimit {
    /// Most lines in a minute.
    package static let linesMax = 20

    private var minute: Int64 = 0
    private var lines = 0
    private var unsaid = 0

    package init() {}

    /// - Parameter time: in milliseconds since 1970.
    /// - Returns: how many lines before this one were not written; `nil` if this one is not either.
    package mutating func take(at time: Int64) -> Int? {
        if time / 60_000 != minute { (minute, lines) = (time / 60_000, 0) }
        guard lines < Self.linesMax else {
            unsaid += 1
            return nil
        }
        lines += 1
        defer { unsaid = 0 }
        return unsaid
    }
}
