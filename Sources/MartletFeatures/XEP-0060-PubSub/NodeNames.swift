import MartletXML
import MartletXMPP

/// The name of a node or an item as a key. Names are one if their octets are, as they are to a store; a `String` takes one letter written in two
/// ways for the same.
struct OctetName: Hashable, Comparable, Sendable {
    let text: String
    init(_ text: String) { self.text = text }

    static func == (a: Self, b: Self) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }
    static func < (a: Self, b: Self) -> Bool { a.text.utf8.lexicographicallyPrecedes(b.text.utf8) }
    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

/// Names in the order of their octets, each once.
struct SortedNames: Sendable {
    private(set) var all: [OctetName] = []

    mutating func insert(_ name: OctetName) {
        let place = place(of: name)
        if place == all.count || all[place] != name { all.insert(name, at: place) }
    }

    mutating func remove(_ name: OctetName) {
        let place = place(of: name)
        if place < all.count, all[place] == name { all.remove(at: place) }
    }

    /// Where a name is, or would be.
    private func place(of name: OctetName) -> Int {
        var (low, high) = (0, all.count)
        while low < high {
            let middle = (low + high) / 2
            if all[middle] < name { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// A page of a list of names (XEP-0059). A name that is not in the list has nothing behind it and nothing before it.
struct NamePage {
    let names: [String]
    private let set: ResultSetPage?

    init(_ all: [OctetName], _ request: ResultSetRequest, _ most: Int) {
        let limit = request.limit(usual: most, most: most)
        let range = switch request.page {
        case .first: 0..<min(limit, all.count)
        case .last: max(0, all.count - limit)..<all.count
        case .index(let index): Self.range(from: min(index, all.count), limit, all.count)
        case .after(let name): Self.range(from: all.firstIndex(of: OctetName(name)).map { $0 + 1 } ?? all.count, limit, all.count)
        case .before(let name): Self.range(before: all.firstIndex(of: OctetName(name)) ?? 0, limit)
        }
        names = all[range].map(\.text)
        let isWhole = request == ResultSetRequest() && range.count == all.count
        set = isWhole ? nil : ResultSetPage(first: names.first, last: names.last, index: range.lowerBound, count: all.count)
    }

    private static func range(from start: Int, _ limit: Int, _ count: Int) -> Range<Int> { start..<start + min(limit, count - start) }
    private static func range(before end: Int, _ limit: Int) -> Range<Int> { end - min(limit, end)..<end }

    /// Which part it is, if it is not all that was asked for.
    func write(to writer: inout XMLWriter) { set?.write(to: &writer) }
}
