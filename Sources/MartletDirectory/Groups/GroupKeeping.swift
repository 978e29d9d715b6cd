package import Logging
package import MartletCore
import MartletLDAP
package import MartletXMPP

/// The groups of a directory beside its people: what is known of them, whom that puts into rosters, and who may have an account.
///
/// It belongs to the directory's service, which takes what is said of people and of groups in one order, so that what follows from both does as well.
package struct GroupKeeping: Sendable {
    package struct Settings: Sendable {
        /// Whose members have accounts, and nobody else.
        package var allowGroup: String?
        /// Where what is known is kept for the next start; `nil`: nowhere. A start without a directory would otherwise take all such contacts out of rosters, or
        /// let nobody in.
        package var snapshot: SnapshotFile?

        package init() {}
    }

    /// What others have to hear of a change.
    package struct News: Sendable {
        /// Whose roster it concerns (``Router/sharingChanged(of:_:)``).
        package var concerned: Set<BareJID>
        package var membership: DirectoryMembership
    }

    package let feed: FeedService
    package let settings: Settings
    package private(set) var mirrored: MirroredGroups
    package private(set) var contact = DirectoryContact.neverLoaded
    private var index = SharedGroupIndex()
    /// What of the groups others know (``DirectoryGroups/revision``).
    private var shown: Int?
    private var isFollowed = false
    private var lacksAllowGroup = false
    private var unansweredCount = 0
    private let domain: BareJID
    private let people: PeopleDirectory
    private let book: SharedGroupBook
    private let tell: @Sendable (News) -> Void
    private let time: any TimeSource
    private let log: Logger

    /// - Parameters:
    ///   - people: with ``MirroredPeople`` that keeps what changes for groups.
    ///   - book: in which others find them.
    ///   - tell: passes on what has changed, when it is in the book.
    package init(
        _ domain: BareJID, _ groups: DirectoryGroups, _ feed: FeedService, _ settings: Settings, _ people: PeopleDirectory, _ book: SharedGroupBook,
        time: any TimeSource, log: Logger, tell: @escaping @Sendable (News) -> Void
    ) {
        self.domain = domain
        self.feed = feed
        self.settings = settings
        self.people = people
        self.book = book
        self.tell = tell
        self.time = time
        self.log = log
        mirrored = MirroredGroups(groups)
    }

    // MARK: What is said

    /// - Returns: whether the feed is to begin: once, when people are known.
    mutating func begins() -> Bool {
        guard !isFollowed, people.isRead else { return false }
        isFollowed = true
        return true
    }

    /// - Returns: what follows for people.
    mutating func take(_ effects: [FeedEffect], isLive: Bool) -> [DirectoryNotice] {
        let before = mirrored.brake
        let concerned = mirrored.take(effects, people.mirrored, now: time.wallMilliseconds)
        if isLive {
            contact = .live
            if settings.allowGroup != nil { people.groupLost(since: nil) }
        }
        report(before)
        return follow(concerned)
    }

    /// - Parameter notices: what has just been said of people.
    /// - Returns: what else follows for them.
    mutating func peopleChanged(_ notices: [DirectoryNotice]) -> [DirectoryNotice] {
        let (changes, all) = people.takeSettled()
        guard !changes.isEmpty || !notices.isEmpty else { return [] }
        return follow(mirrored.peopleChanged(changes, notices, all))
    }

    /// The directory cannot be heard any more.
    mutating func contactLost() {
        guard contact == .live else { return }
        let now = time.wallMilliseconds
        contact = .lost(since: now)
        if settings.allowGroup != nil { people.groupLost(since: now) }
    }

    /// An operator says that what is held is meant.
    mutating func confirm() -> [DirectoryNotice] {
        follow(mirrored.confirmRemoval(people.mirrored), isConfirmed: true)
    }

    /// Whether something is as it was although the directory says otherwise.
    var isHolding: Bool { mirrored.brake.isHolding || people.allowance.isHolding }

    // MARK: What follows

    private mutating func follow(_ concerned: Set<BareJID>, isConfirmed: Bool = false) -> [DirectoryNotice] {
        let notices = allow(isConfirmed: isConfirmed)
        let others = notices.isEmpty ? [] : mirrored.peopleChanged([], notices, people.mirrored)
        show(concernsRosters: !concerned.isEmpty || !others.isEmpty)
        return notices
    }

    private mutating func show(concernsRosters: Bool) {
        guard mirrored.isLoaded, mirrored.groups.revision != shown else { return }
        shown = mirrored.groups.revision
        let membership = DirectoryMembership(mirrored.groups, people)
        book.memberships.set(membership, ofDirectoryAt: domain)
        let concerned = concernsRosters ? index.replace(with: mirrored.groups.rosterGroups) : []
        if concernsRosters { book.set(index, ofDirectoryAt: domain) }
        tell(News(concerned: concerned, membership: membership))
    }

    private mutating func allow(isConfirmed: Bool) -> [DirectoryNotice] {
        guard let group = settings.allowGroup, mirrored.isLoaded else { return [] }
        let isMissing = !mirrored.groups.hasGroup(named: group)
        if isMissing, !lacksAllowGroup {
            log.error("the group whose members have accounts is not in the directory, or not below the base of groups", metadata: ["domain": "\(domain)", "group": "\(group)"])
        }
        lacksAllowGroup = isMissing
        return people.allow(mirrored.groups.people(inGroupNamed: group), isConfirmed: isConfirmed)
    }

    private mutating func report(_ before: SafetyBrake) {
        if mirrored.brake.accounts != before.accounts, mirrored.brake.isHolding {
            log.error(
                "the directory would take many members out of groups at once: they stay until this is confirmed (martlet directory sync --confirm), or is found again",
                metadata: ["domain": "\(domain)", "members": "\(mirrored.brake.accounts)", "of": "\(mirrored.groups.mentionsCount)"])
        } else if before.isHolding, !mirrored.brake.isHolding {
            log.notice("groups are as the directory says again", metadata: ["domain": "\(domain)"])
        }
        let count = mirrored.groups.unanswered.count
        if count > unansweredCount {
            log.warning("groups have URLs by which nobody can be found here: they ask for what is not read of people", metadata: ["domain": "\(domain)", "groups": "\(count)"])
        }
        unansweredCount = count
    }

    // MARK: Snapshots

    private var asked: [UInt8] { DirectoryService.Settings.digest(of: feed.settings.base, feed.settings.filter, feed.settings.attributes) }

    var snapshot: DirectorySnapshot? {
        let now = time.wallMilliseconds
        return switch contact {
        case .neverLoaded: nil
        case .live: mirrored.snapshot(asked: asked, heard: now)
        case .lost(let since): mirrored.snapshot(asked: asked, heard: since)
        }
    }

    /// Takes over what was known when the server ended: after people, before anything is said.
    ///
    /// - Returns: what follows for people.
    mutating func restore(_ snapshot: DirectorySnapshot) -> [DirectoryNotice] {
        contact = .lost(since: snapshot.heard)
        if settings.allowGroup != nil { people.groupLost(since: snapshot.heard) }
        return follow(mirrored.restore(snapshot, asked: asked, people.mirrored))
    }

    // MARK: Operators

    package struct Status: Hashable, Sendable {
        package var contact: DirectoryContact
        package var groups: Int
        /// In rosters.
        package var shown: Int
        /// Members who are in groups although the directory says otherwise.
        package var heldBack: Int
        package var lacksAllowGroup: Bool
        package var fault: String?
    }

    func status(fault: String?) -> Status {
        Status(
            contact: contact, groups: mirrored.groups.count, shown: mirrored.groups.rosterGroups.count, heldBack: mirrored.brake.accounts,
            lacksAllowGroup: lacksAllowGroup, fault: fault)
    }

    /// A group that somebody is in, and who sees its members.
    package struct Explanation: Hashable, Sendable {
        package enum Audience: Hashable, Sendable {
            /// It is in no roster.
            case nobody
            case members
            case everybody
            case groups([String])
        }

        package var way: GroupWay
        /// As rosters show it.
        package var title: String?
        package var audience: Audience
        /// Whether its members have accounts, and nobody else.
        package var allows: Bool
    }

    /// The groups of an entry.
    func explain(_ person: EntryUUID) -> [Explanation] {
        let allowing = settings.allowGroup.flatMap { mirrored.groups.mirror.uuid(named: $0) }
        return mirrored.groups.ways(of: person).map { way in
            let showing = mirrored.groups.showing(way.group)
            return Explanation(way: way, title: showing?.title, audience: audience(showing?.rule.share), allows: way.group == allowing)
        }
    }

    private func audience(_ share: GroupRules.Share?) -> Explanation.Audience {
        switch share {
        case nil: .nobody
        case .members: .members
        case .everybody: .everybody
        case .groups(let names): .groups(mirrored.groups.names(prepared: names))
        }
    }
}
