import Logging
package import MartletCore
import MartletDirectory
package import MartletFeatures
package import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// What groups make accounts of a domain in a room.
package struct GroupAffiliations: Sendable {
    /// The group of each affiliation for which there is one.
    package var groups: [RoomAffiliation: GroupName]
    package var domain: BareJID

    package init(_ groups: [RoomAffiliation: GroupName], of domain: BareJID) {
        self.groups = groups
        self.domain = domain
    }

    /// What has to change.
    ///
    /// An affiliation for which there is a group has nobody of the domain who is not in it; one for which there is none is as somebody has set it. Bans stay, and
    /// accounts of other domains.
    ///
    /// - Parameters:
    ///   - current: of accounts that have one.
    ///   - members: of each group.
    /// - Returns: owners first, so that a room does not lose its last one before it has another.
    package func changes(_ current: [BareJID: RoomAffiliation], _ members: [GroupName: Set<BareJID>]) -> [(account: BareJID, to: RoomAffiliation)] {
        var wanted: [BareJID: RoomAffiliation] = [:]
        for (affiliation, group) in groups { for account in members[group] ?? [] { wanted[account] = max(wanted[account] ?? .none, affiliation) } }
        let ours = Set(wanted.keys).union(current.keys.filter { domain.isInDomain(of: $0) })
        let changes = ours.compactMap { account -> (BareJID, RoomAffiliation)? in
            let (has, target) = (current[account] ?? .none, target(current[account] ?? .none, wanted[account] ?? .none))
            return has == target ? nil : (account, target)
        }
        return changes.sorted { $0.1 != $1.1 ? $0.1 > $1.1 : $0.0.precedes($1.0) }.map { ($0.0, $0.1) }
    }

    private func target(_ current: RoomAffiliation, _ wanted: RoomAffiliation) -> RoomAffiliation {
        if current == .outcast { return .outcast }
        return current == .none || groups[current] != nil ? wanted : max(current, wanted)
    }
}

/// Keeps the affiliations of rooms as groups of a directory say: whoever comes into a group comes into the room's list, and whoever leaves it leaves that, and the room
/// if it is for members only (XEP-0045 §9.4, with status 321).
///
/// One change of groups at a time, the newest; what comes meanwhile is taken when that is done. A room that is not there, or cannot be changed now, is looked at
/// again after a minute.
final class GroupRooms: Sendable {
    /// Affiliations that are set in one step of a room, before others in it have their turn.
    private static let changesPerStep = 100
    private static let retryAfter = TimeAmount.seconds(60)
    static let author = "directory"

    private struct Room: Sendable {
        let address: BareJID
        let affiliations: GroupAffiliations
    }

    private enum Work: Sendable {
        case idle(DirectoryMembership?)
        /// With what has come since it began.
        case working(DirectoryMembership?)
    }

    private struct State: Sendable {
        var work = Work.idle(nil)
        /// Whether everything is looked at again after a while.
        var isRetryDue = false
        /// What was said last of each room that is not as it should be: it is said once.
        var said: [BareJID: String] = [:]
    }

    private let rooms: [Room]
    private let administration: RoomAdministration
    private let timers: any EventLoop
    private let log: Logger
    // Taken by the directory's service and by tasks of our own, and never held while something is waited for.
    private let state = NIOLockedValueBox(State())

    /// `nil` where no room has anything to do with groups.
    init?(_ entry: ServerConfiguration.Directory, _ domain: BareJID, _ administration: RoomAdministration, timers: any EventLoop, log: Logger) {
        guard !entry.rooms.isEmpty else { return nil }
        rooms = entry.rooms.compactMap { room in
            let named = [(RoomAffiliation.owner, room.owners), (.admin, room.admins), (.member, room.members)]
            let groups = named.compactMap { affiliation, name in name.flatMap(GroupName.init(of:)).map { (affiliation, $0) } }
            guard let address = try? BareJID(parsing: room.address) else { return nil }
            return Room(address: address, affiliations: GroupAffiliations(Dictionary(groups) { first, _ in first }, of: domain))
        }
        self.administration = administration
        self.timers = timers
        self.log = log
    }

    /// Groups are like this from now on.
    func take(_ membership: DirectoryMembership) {
        let begins = state.withLockedValue { state in
            switch state.work {
            case .idle:
                state.work = .working(nil)
                return true
            case .working:
                state.work = .working(membership)
                return false
            }
        }
        // A task, because rooms are read from the disk, and changed on their loops.
        if begins { Task { await work(membership) } }
    }

    private func work(_ first: DirectoryMembership) async {
        var next: DirectoryMembership? = first
        while let membership = next {
            for room in rooms { note(await obstacle(membership, room), room) }
            next = state.withLockedValue { state in
                guard case .working(let later?) = state.work else {
                    state.work = .idle(membership)
                    return nil
                }
                state.work = .working(nil)
                return later
            }
        }
    }

    private func note(_ obstacle: String?, _ room: Room) {
        let (isNew, retries) = state.withLockedValue { state in
            let isNew = state.said[room.address] != obstacle
            state.said[room.address] = obstacle
            defer { if obstacle != nil { state.isRetryDue = true } }
            return (isNew, obstacle != nil && !state.isRetryDue)
        }
        if let obstacle, isNew { log.warning("a room is not as groups say", metadata: ["room": "\(room.address)", "reason": "\(obstacle)"]) }
        if retries { timers.scheduleTask(in: Self.retryAfter) { [self] in retry() } }
    }

    private func retry() {
        let membership = state.withLockedValue { state in
            state.isRetryDue = false
            return if case .idle(let membership) = state.work { membership } else { nil as DirectoryMembership? }
        }
        if let membership { take(membership) }
    }

    // MARK: One room

    /// - Returns: why it is not as it should be; `nil` if it is.
    private func obstacle(_ membership: DirectoryMembership, _ room: Room) async -> String? {
        var members: [GroupName: Set<BareJID>] = [:]
        for group in room.affiliations.groups.values {
            // Of a group that is not there nothing is taken away from anybody: its name may be wrong.
            guard let accounts = membership.accounts(in: group) else { return "there is no group \(String(decoding: group.octets, as: UTF8.self))" }
            members[group] = accounts
        }
        do throws(CommandFailure) {
            while true {
                let step = try await step(room, members)
                if case .refused(let why)? = step.refusal { return why }
                if step.isLast { return nil }
            }
        } catch {
            return error.message
        }
    }

    private func step(_ room: Room, _ members: [GroupName: Set<BareJID>]) async throws(CommandFailure) -> Step {
        let affiliations = room.affiliations
        let done = try await administration.inRoom(room.address) { home, moment, effects throws(RoomOrderFailure) -> Step in
            var current: [BareJID: RoomAffiliation] = [:]
            for affiliation in RoomAffiliation.allCases where affiliation != .none {
                for address in home.affiliations.all(affiliation) where address == .bare(address.bare) { current[address.bare] = affiliation }
            }
            let all = affiliations.changes(current, members)
            var step = Step(isLast: all.count <= Self.changesPerStep)
            for (account, affiliation) in all.prefix(Self.changesPerStep) {
                // What was changed before stays so.
                do throws(RoomOrderFailure) {
                    try home.setAffiliation(of: .bare(account), to: affiliation, reason: nil, nickname: nil, moment, &effects)
                    step.done.append((account, affiliation))
                } catch { step.refusal = error }
            }
            return step
        }
        for (account, affiliation) in done.done {
            administration.core.router.audit.record(.roomAffiliationSet(room.address, .bare(account), affiliation: affiliation.name, by: Self.author))
        }
        return done
    }

    private struct Step: Sendable {
        let isLast: Bool
        var done: [(BareJID, RoomAffiliation)] = []
        var refusal: RoomOrderFailure?
    }
}
