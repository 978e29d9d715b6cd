import Synchronization

/// What is counted of a directory since the start, for whoever reads it from elsewhere.
package final class DirectoryCounters: Sendable {
    private let changesCount = Atomic<Int>(0)
    private let failuresCount = Atomic<Int>(0)
    private let heldCount = Atomic<Int>(0)
    private let groupsCount = Atomic<Int>(0)
    private let heldMembersCount = Atomic<Int>(0)
    private let followsGroups = Atomic<Bool>(false)

    init() {}

    /// What the directory has said of people.
    package var changes: Int { changesCount.load(ordering: .relaxed) }
    /// Times that it could not be followed.
    package var failures: Int { failuresCount.load(ordering: .relaxed) }
    /// Accounts that the first look would have taken away.
    package var held: Int { heldCount.load(ordering: .relaxed) }
    package var groups: Int { groupsCount.load(ordering: .relaxed) }
    /// Members who are in groups although the directory says otherwise.
    package var heldMembers: Int { heldMembersCount.load(ordering: .relaxed) }
    /// Whether groups are followed at the moment.
    package var areGroupsFollowed: Bool { followsGroups.load(ordering: .relaxed) }

    func addChanges(_ count: Int) { changesCount.add(count, ordering: .relaxed) }
    func addFailure() { failuresCount.add(1, ordering: .relaxed) }
    func setGroups(_ status: GroupKeeping.Status) {
        groupsCount.store(status.groups, ordering: .relaxed)
        heldMembersCount.store(status.heldBack, ordering: .relaxed)
        followsGroups.store(status.contact == .live, ordering: .relaxed)
    }
    func setHeld(_ count: Int) { heldCount.store(count, ordering: .relaxed) }
}
