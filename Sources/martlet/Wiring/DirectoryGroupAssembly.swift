import Logging
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletNetwork
import MartletXMPP
import NIOCore

/// Makes of the configuration which groups of a directory are followed, and how they are in rosters.
struct DirectoryGroupAssembly {
    /// Whose groups they are.
    let entry: ServerConfiguration.Directory
    let domain: BareJID
    let people: PeopleDirectory
    /// Of people.
    let attributes: MirroredAttributes
    let prepare: NamePreparation
    let configuration: ServerConfiguration

    /// What a group's URL may ask for, besides what is read of people anyway.
    static let peopleAttributes = ["objectClass"]

    /// - Parameter client: of their own.
    /// - Returns: `nil` where there are none.
    func keeping(_ client: DirectoryClient, _ detection: ChangeDetection?, _ around: DirectoryAssembly.Surroundings) throws(CommandFailure) -> GroupKeeping? {
        guard let base = entry.groups.base else { return nil }
        guard let filter = try? LDAPFilter(entry.groups.filter) else {
            throw CommandFailure(.configuration, "an entry of directories is not complete", hint: "run 'martlet config check'")
        }
        let feed = FeedService(
            .init("groups", base: base, filter: filter, attributes: GroupAttributes.mirrored.names, detection: detection), client, time: around.core.time,
            timers: around.core.pool.group.any(), log: around.log)
        let urls = MemberURLs(attributes)
        var settings = GroupKeeping.Settings()
        settings.allowGroup = entry.allowGroup
        settings.snapshot = SnapshotFile("\(configuration.server.dataFolder)/directory-\(entry.domain)-groups.snapshot", SnapshotForm())
        let rooms = GroupRooms(entry, domain, RoomAdministration(around.core, configuration), timers: around.core.pool.group.any(), log: around.log)
        let groups = DirectoryGroups(rules, prepare: prepare) { urls.evaluation(of: $0) }
        return GroupKeeping(domain, groups, feed, settings, people, around.core.sharedGroups, time: around.core.time, log: around.log) { [core = around.core] news in
            if !news.concerned.isEmpty { core.mailbox.run { [router = core.router] context in router.sharingChanged(of: news.concerned, context) } }
            rooms?.take(news.membership)
        }
    }

    private var rules: GroupRules {
        let others: GroupRules.Share? =
            switch entry.groups.share {
            case .none: nil
            case .members: .members
            case .all: .everybody
            }
        let rules = entry.groups.shared.compactMap { group in prepare(group.name).map { ($0, rule(group)) } }
        return GroupRules(domain: domain, others: others, rules: Dictionary(rules) { first, _ in first })
    }

    private func rule(_ group: ServerConfiguration.Directory.SharedGroup) -> GroupRules.Rule {
        let share: GroupRules.Share =
            switch group.share {
            case .members: .members
            case .all: .everybody
            case .groups: .groups(group.visibleTo.compactMap(prepare))
            }
        return GroupRules.Rule(share, title: group.title)
    }
}

extension GroupName {
    /// - Returns: `nil` if it is no name of an entry.
    init?(of text: String) {
        guard let name = try? DistinguishedName(text) else { return nil }
        self.init(prepared: Array(name.normalized.utf8))
    }
}
