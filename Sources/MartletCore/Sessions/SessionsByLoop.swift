/// Sessions that are told the same, by the loop that they live on: each loop is posted to once.
package struct SessionsByLoop: Sendable {
    package struct Group: Sendable {
        package let mailbox: LoopMailbox
        package fileprivate(set) var sessions: [SessionRef]
    }
    /// No more than there are loops, in no order. A group may be empty.
    package private(set) var groups: [Group] = []

    package init() {}

    package var isEmpty: Bool { groups.allSatisfy(\.sessions.isEmpty) }
    package var count: Int { groups.reduce(0) { $0 + $1.sessions.count } }

    package mutating func append(_ session: SessionRef) {
        if let index = groups.firstIndex(where: { $0.mailbox === session.mailbox }) { groups[index].sessions.append(session) }
        else { groups.append(Group(mailbox: session.mailbox, sessions: [session])) }
    }

    /// The last of its group takes its place.
    ///
    /// - Returns: whether it was there.
    package mutating func remove(_ session: SessionRef) -> Bool {
        guard let group = groups.firstIndex(where: { $0.mailbox === session.mailbox }),
            let index = groups[group].sessions.firstIndex(where: { $0 === session })
        else { return false }
        groups[group].sessions.swapAt(index, groups[group].sessions.count - 1)
        groups[group].sessions.removeLast()
        return true
    }
}
