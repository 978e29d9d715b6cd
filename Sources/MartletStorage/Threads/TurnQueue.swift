internal import NIOCore

/// What waits, by whom it is for: everybody who has something there gets the same number of turns, however much it is.
package struct TurnQueue<Owner: Hashable, Element> {
    private var lines: [Owner: CircularBuffer<Element>] = [:]
    /// Everybody who has a line, once.
    private var turns = CircularBuffer<Owner>()
    package private(set) var count = 0
    private let lineMax: Int

    /// - Parameter lineMax: the length of a line from which on it has no room for more.
    package init(lineMax: Int) { self.lineMax = lineMax }

    package mutating func append(_ element: Element, of owner: Owner) {
        if lines[owner] == nil { turns.append(owner) }
        lines[owner, default: CircularBuffer(initialCapacity: 1)].append(element)
        count += 1
    }

    /// The first in the line of whose turn it is.
    package mutating func popFirst() -> Element? {
        guard let owner = turns.popFirst(), let element = lines[owner]?.popFirst() else { return nil }
        if lines[owner]?.isEmpty ?? true { lines[owner] = nil } else { turns.append(owner) }
        count -= 1
        return element
    }

    package func hasRoom(for owner: Owner) -> Bool { lines[owner]?.count ?? 0 < lineMax }
}
