import MartletCore

/// The items of a node in the order of publication (§12.1), by place and by name.
struct NodeItemMarks: Sendable {
    private(set) var inOrder: [NodeItemMark]
    private var places: [OctetName: UInt64]
    private(set) var byteCount: Int

    /// - Parameter marks: in the order of their places.
    init(_ marks: [NodeItemMark] = []) {
        inOrder = marks
        places = Dictionary(marks.map { (OctetName($0.name), $0.place) }, uniquingKeysWith: max)
        byteCount = marks.reduce(0) { $0 + $1.byteCount }
    }

    var count: Int { inOrder.count }
    func place(of name: String) -> UInt64? { places[OctetName(name)] }
    subscript(name: String) -> NodeItemMark? { places[OctetName(name)].map { inOrder[index(from: $0)] } }

    func contains(_ place: UInt64) -> Bool {
        let index = index(from: place)
        return index < count && inOrder[index].place == place
    }

    /// Where the first item is whose place is not below `place`.
    func index(from place: UInt64) -> Int {
        var (low, high) = (0, inOrder.count)
        while low < high {
            let middle = (low + high) / 2
            if inOrder[middle].place < place { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Takes one in behind all others, in place of the one that has its name.
    mutating func publish(_ mark: NodeItemMark) {
        remove(mark.name)
        inOrder.append(mark)
        places[OctetName(mark.name)] = mark.place
        byteCount += mark.byteCount
    }

    @discardableResult
    mutating func remove(_ name: String) -> NodeItemMark? {
        guard let place = places.removeValue(forKey: OctetName(name)) else { return nil }
        let mark = inOrder.remove(at: index(from: place))
        byteCount -= mark.byteCount
        return mark
    }

    /// Takes out the oldest, so that `count` are left.
    mutating func trim(to count: Int) -> [NodeItemMark] { removeFirst(max(0, inOrder.count - count)) }

    /// Takes out what was published before a time, from the oldest on.
    mutating func expire(before time: Int64) { _ = removeFirst(inOrder.prefix { $0.time < time }.count) }

    private mutating func removeFirst(_ number: Int) -> [NodeItemMark] {
        let gone = Array(inOrder.prefix(number))
        inOrder.removeFirst(number)
        for mark in gone { places[OctetName(mark.name)] = nil }
        byteCount -= gone.reduce(0) { $0 + $1.byteCount }
        return gone
    }
}
