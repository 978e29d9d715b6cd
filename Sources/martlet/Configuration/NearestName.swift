/// Finds the name that was probably meant.
enum NearestName {
    /// Longest text that is compared, in characters: the work grows with the square of it.
    private static let charactersMax = 64

    /// The candidate with the fewest typing errors from `text`, if they are few for its length.
    static func nearest(to text: String, among candidates: [String]) -> String? {
        let typed = Array(normalised(text))
        guard !typed.isEmpty, typed.count <= charactersMax else { return nil }
        let distances = candidates.map { (name: $0, distance: distance(typed, Array(normalised($0)))) }
        guard let best = distances.min(by: { $0.distance < $1.distance }) else { return nil }
        return best.distance <= max(1, min(typed.count, best.name.count) / 3) ? best.name : nil
    }

    /// Case and the choice of separator are not typing errors.
    private static func normalised(_ text: String) -> String {
        String(text.lowercased().map { $0 == "_" || $0 == " " ? "-" : $0 })
    }

    /// Insertions, deletions, substitutions and swaps of neighbours between two words (optimal string alignment).
    static func distance(_ first: [Character], _ second: [Character]) -> Int {
        var beforePrevious: [Int] = []
        var previous = Array(0...second.count)
        for row in first.indices {
            var current = [row + 1]
            for column in second.indices {
                let change = first[row] == second[column] ? 0 : 1
                var least = min(previous[column + 1] + 1, current[column] + 1, previous[column] + change)
                if row > 0, column > 0, first[row] == second[column - 1], first[row - 1] == second[column] {
                    least = min(least, beforePrevious[column - 1] + 1)
                }
                current.append(least)
            }
            (beforePrevious, previous) = (previous, current)
        }
        return previous.last ?? 0
    }
}
