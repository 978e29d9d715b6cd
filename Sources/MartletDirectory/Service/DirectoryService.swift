package import Logging
package import MartletCore
package import MartletLDAP
package import MartletXMPP
package import NIOCore
package import NIOPosix

/// A directory that says who the people of a domain are: it is followed for as long as the server runs, and the domain's accounts are as it says.
///
/// An actor: no stanza waits for it. What stanzas and log-ins ask is answered by ``people``, from memory.
package actor DirectoryService {
    package struct Settings: Sendable {
        /// Below which entry people are, and which of those there.
        package var base: String
        package var filter: LDAPFilter
        /// Those that are mirrored.
        package var attributes: [String]
        /// How changes are found out; `nil`: by the best way that the server has.
        package var detection: ChangeDetection?
        /// Where what is known is kept for the next start; `nil`: nowhere.
        package var snapshot: SnapshotFile?
        /// For how long an account is kept whose entry is gone.
        package var keepsGone = TimeAmount.hours(30 * 24)
        /// Most accounts, in percent of all, that the first look may take away from those that there were.
        package var removalsMax = SafetyBrake.percent

        package init(base: String, filter: LDAPFilter, attributes: [String]) {
            self.base = base
            self.filter = filter
            self.attributes = attributes
        }

        /// Tells what is asked: a cookie means nothing to another question.
        var asked: [UInt8] { Self.digest(of: base, filter, attributes) }

        static func digest(of base: String, _ filter: LDAPFilter, _ attributes: [String]) -> [UInt8] {
            ScramHash.sha256.digest(Array(([base, "\(filter)"] + attributes.sorted()).joined(separator: "\n").utf8))
        }
    }

    package let domain: BareJID
    package nonisolated let people: PeopleDirectory
    package nonisolated let counters = DirectoryCounters()
    private let client: DirectoryClient
    private let provisioning: AccountProvisioning
    private let router: Router
    private let settings: Settings
    /// `nil` where nobody keeps cards.
    private let profiles: ProfileDelivery?
    /// `nil` where nobody changes his password.
    private let passwords: PasswordBook?
    private let time: any TimeSource
    private let timers: any EventLoop
    private let threads: NIOThreadPool
    private let log: Logger

    private var run: Task<Void, Never>?
    private var isClosed = false
    /// On which it is followed at the moment.
    private var feed: LDAPFeedConnection?
    /// The pause before the next attempt.
    private var pause: Scheduled<Void>?
    private var consumer: FeedConsumer?
    private var failures = 0
    /// Why it is not followed, if it is not.
    private var fault: String?
    private var server: String?
    private var tier: ChangeDetection?
    /// Accounts that the first look would take away.
    private var heldBack: Set<EntryUUID> = [] { didSet { counters.setHeld(heldBack.count) } }
    private var hasReconciled = false
    /// Who cannot have an account, and why not.
    private var refused: [EntryUUID: String] = [:]
    private var isSnapshotDue = false
    /// `nil` where there are none.
    private var groups: GroupKeeping? { didSet { if let groups { counters.setGroups(groups.status(fault: nil)) } } }
    /// Whether there are groups, followed or not.
    package nonisolated let hasGroups: Bool
    /// Whether a second look at groups is to come.
    private var isLookDue = false
    /// What is being done about what was said last.
    private var heeding: Task<Void, Never>?

    /// - Parameters:
    ///   - groups: of the same people.
    ///   - timers: whose timers are used.
    ///   - threads: on which files are written.
    package init(
        _ domain: BareJID, _ client: DirectoryClient, _ people: PeopleDirectory, _ provisioning: AccountProvisioning, _ router: Router, _ settings: Settings,
        groups: GroupKeeping? = nil, profiles: ProfileDelivery? = nil, passwords: PasswordBook? = nil, time: any TimeSource, timers: any EventLoop,
        threads: NIOThreadPool = .singleton, log: Logger
    ) {
        self.domain = domain
        self.client = client
        self.people = people
        self.provisioning = provisioning
        self.router = router
        self.settings = settings
        self.groups = groups
        hasGroups = groups != nil
        self.profiles = profiles
        self.passwords = passwords
        self.time = time
        self.timers = timers
        self.threads = threads
        self.log = log
    }

    // MARK: Life

    /// Takes over what was known when the server ended last, and begins to follow.
    package func begin() async throws(AccountRefusal) {
        try await provisioning.begin()
        if let snapshot = await restored(settings.snapshot) {
            let said = people.restore(snapshot, asked: settings.asked)
            await heedInTurn(said + (groups?.peopleChanged(said) ?? []))
        }
        await restoreGroups()
        run = Task { await self.follow() }
        await lookAtTimes(since: time.wallMilliseconds)
    }

    package func stop() async {
        isClosed = true
        pause?.cancel()
        // One that is polled may be waited for, for minutes.
        await feed?.close()
        await client.close()
        await run?.value
        await groups?.feed.stop()
        await profiles?.stop()
        await keep()
    }

    private func restored(_ file: SnapshotFile?) async -> DirectorySnapshot? {
        guard let file else { return nil }
        do {
            return try await threads.runIfActive { try file.read() }
        } catch {
            log.warning("What was known of the directory cannot be read, and is left aside", metadata: ["file": "\(file.path)", "reason": "\(error)"])
            return nil
        }
    }

    private func follow() async {
        while !isClosed {
            let end = await followOnce()
            people.contactLost()
            guard !isClosed else { return }
            // What is held is looked at as a whole.
            if people.brake.isHolding { consumer?.readAnew() }
            if end == .end(.stopped) { continue }
            report(end)
            failures += 1
            await rest()
        }
    }

    private enum End: Equatable {
        case end(FeedFollower.End)
        case failure(DirectoryFailure)
    }

    private func followOnce() async -> End {
        do throws(DirectoryFailure) {
            let service = try await client.service()
            let tier = settings.detection ?? ChangeDetection(supportedControls: service.root.controls)
            (server, self.tier) = ("\(service.connection.address)", tier)
            let question = FeedQuestion(
                base: settings.base, filter: settings.filter, attributes: settings.attributes, identifier: FeedQuestion.identifier(of: service.root),
                detection: tier)
            let connection = LDAPFeedConnection(service.connection, question, timers: timers)
            var consumer = consumer.flatMap { $0.follows(by: tier) ? $0 : nil } ?? FeedConsumer(tier, cookie: people.cookie)
            feed = connection
            defer { feed = nil }
            let end = await FeedFollower(time: time).follow(connection, with: &consumer) { effects, isLive in await self.take(effects, isLive: isLive) }
            self.consumer = consumer
            guard end == .connectionLost, let failure = await connection.failure else { return .end(end) }
            // By this side: to begin anew, or because a better server is back.
            return failure == .closed ? .end(.stopped) : .failure(failure)
        } catch {
            return .failure(error)
        }
    }

    private func report(_ end: End) {
        // Why it is left alone says more than that it is.
        if end == .failure(.resting), fault != nil { return }
        let words =
            switch end {
            case .failure(let failure): "\(failure)"
            case .end(.fault(let fault)): "\(fault)"
            case .end(.connectionLost), .end(.stopped): "the connection was lost"
            }
        if fault != words { log.warning("the directory cannot be followed now", metadata: ["domain": "\(domain)", "reason": "\(words)"]) }
        fault = words
        counters.addFailure()
    }

    /// Longer after each failure, up to half a minute.
    private func rest() async {
        let pause = timers.scheduleTask(in: .milliseconds(min(500 << Int64(min(failures, 6)), 30_000))) {}
        self.pause = pause
        // Or until the server stops.
        try? await pause.futureResult.get()
    }

    // MARK: What it says

    /// - Returns: whether to go on with the connection.
    private func take(_ effects: [FeedEffect], isLive: Bool) async -> Bool {
        let said = people.take(effects, isLive: isLive)
        let notices = said + (groups?.peopleChanged(said) ?? [])
        if isLive, failures > 0 {
            log.notice("the directory is followed again", metadata: ["domain": "\(domain)", "server": "\(server ?? "")"])
            (fault, failures) = (nil, 0)
        }
        if !notices.isEmpty {
            counters.addChanges(notices.count)
            await heedInTurn(notices)
            keepSoon()
        }
        if isLive, !hasReconciled { await inTurn(.reconcile) }
        await followGroups()
        lookAtGroupsAgain()
        return !isClosed && !(isLive && people.needsSecondLook)
    }

    private enum Duty: Sendable {
        case heed([DirectoryNotice])
        case reconcile
        case confirm
    }

    /// In the order in which it was said, of people, of groups and by operators: whoever appears and vanishes again has no account in the end, and nobody is found
    /// missing who is just being let go.
    private func inTurn(_ duty: Duty) async {
        let before = heeding
        let task = Task {
            await before?.value
            switch duty {
            case .heed(let notices): await heed(notices)
            case .reconcile: await reconcile()
            case .confirm: await letGo()
            }
        }
        heeding = task
        await task.value
    }

    private func heedInTurn(_ notices: [DirectoryNotice]) async {
        if !notices.isEmpty { await inTurn(.heed(notices)) }
    }

    private func heed(_ notices: [DirectoryNotice]) async {
        var coming: [DirectoryPerson] = []
        for notice in notices {
            if case .person(.appeared(let address, let entry)) = notice {
                coming.append(DirectoryPerson(entry, address))
                continue
            }
            await admit(&coming)
            switch notice {
            case .person(let change): await heed(change)
            // Who is gone is known when the directory itself has said it, not a snapshot.
            case .loaded: break
            case .removalHeld(let count, let all):
                log.error(
                    "the directory would take away many accounts at once: they stay until this is confirmed (martlet directory sync --confirm), or is found again",
                    metadata: ["domain": "\(domain)", "accounts": "\(count)", "of": "\(all)"])
            case .holdEnded: log.notice("accounts are as the directory says again", metadata: ["domain": "\(domain)"])
            }
        }
        await admit(&coming)
    }

    private func heed(_ change: PersonChange) async {
        switch change {
        case .appeared(let address, let entry), .renamed(_, let address, let entry): await admit(DirectoryPerson(entry, address))
        case .succeeded(let address, let entry, _): if await admit(DirectoryPerson(entry, address)) { people.predecessorIsGone(address) }
        case .vanished(_, let entry): await dismiss(entry)
        case .contested(let address, let entries):
            log.error("several entries have one address: nobody has the account", metadata: ["address": "\(address)", "entries": "\(entries.count)"])
            for entry in entries { await dismiss(entry) }
        case .changed(let address, _, let aspects): await changed(address, aspects)
        case .unusable(_, let name, let fault): log.notice("an entry is no account", metadata: ["entry": "\(name)", "reason": "\(fault)"])
        case .keysBecameStale(let address, _):
            log.warning("the password was changed and its keys were not: they are not used (authPassword)", metadata: ["account": "\(address)"])
        }
    }

    private func admit(_ people: inout [DirectoryPerson]) async {
        guard !people.isEmpty else { return }
        let coming = people
        people = []
        await admit(coming)
    }

    @discardableResult
    private func admit(_ person: DirectoryPerson) async -> Bool { await admit([person]) }

    /// - Returns: whether all have accounts now.
    @discardableResult
    private func admit(_ people: [DirectoryPerson]) async -> Bool {
        do throws(AccountRefusal) {
            let failed = try await provisioning.admit(people)
            for person in people { refused[person.entry] = nil }
            for (person, reason) in failed {
                refused[person.entry] = reason
                log.warning("somebody in the directory has no account", metadata: ["address": "\(person.address)", "reason": "\(reason)"])
            }
            await profiles?.note(people.map(\.address))
            return failed.isEmpty
        } catch {
            // The next start makes up for it; until then nobody is let in who has no account.
            log.error("accounts could not be made", metadata: ["domain": "\(domain)", "count": "\(people.count)", "reason": "\(error)"])
            return false
        }
    }

    private func dismiss(_ entry: EntryUUID) async {
        do throws(AccountRefusal) {
            try await provisioning.dismiss(entry)
        } catch {
            log.error("an account could not be disabled", metadata: ["entry": "\(entry)", "reason": "\(error)"])
        }
    }

    private func changed(_ address: BareJID, _ aspects: PersonAspects) async {
        if aspects.contains(.profile) { await profiles?.note([address]) }
        if aspects.contains(.credentials) {
            do throws(AccountRefusal) {
                // Whoever knew the old password is out, and so is every device that it has let in.
                try await provisioning.credentialsChanged(of: address, sparing: passwords?.survivor(of: address))
            } catch {
                log.error("sessions could not be ended", metadata: ["account": "\(address)", "reason": "\(error)"])
            }
        }
        if aspects.contains(.standing), case .person(let person) = people.person(address), people.isOut(person) {
            router.endSessions(of: address, StreamError(.notAuthorized, "the account was disabled"))
        }
    }

    /// Accounts end at a time that their entries say, and the second look at a directory is due at another (``SafetyBrake``).
    private func lookAtTimes(since before: Int64) async {
        guard !isClosed else { return }
        for (address, verdict) in people.standingChanges(since: before) where verdict == .disabled {
            router.endSessions(of: address, StreamError(.notAuthorized, "the account was disabled"))
        }
        let now = time.wallMilliseconds
        timers.scheduleTask(in: Self.timesInterval) { Task { await self.lookAtTimes(since: now) } }
        if people.contact == .live, people.needsSecondLook { await feed?.close() }
    }

    private static let timesInterval = TimeAmount.seconds(60)

    // MARK: Those who went while the server was not there

    private func reconcile() async {
        // Until it is known which of them may have accounts nobody is gone.
        guard !hasReconciled, people.isLoaded else { return }
        hasReconciled = true
        let known = await provisioning.entries
        let gone = known.filter { !people.has($0) }
        guard gone.count <= max(SafetyBrake.accountsMin, known.count * settings.removalsMax / 100) else {
            heldBack = gone
            log.error(
                "the directory does not know many of the accounts: they stay until this is confirmed (martlet directory sync --confirm)",
                metadata: ["domain": "\(domain)", "accounts": "\(gone.count)", "of": "\(known.count)"])
            return
        }
        for entry in gone { await dismiss(entry) }
    }

    /// An operator says that whoever is held back is to go.
    package func confirm() async { await inTurn(.confirm) }

    private func letGo() async {
        let gone = heldBack.filter { !people.has($0) }
        heldBack = []
        for entry in gone { await dismiss(entry) }
        let said = people.confirmRemoval()
        await heed(said + (groups?.peopleChanged(said) ?? []) + (groups?.confirm() ?? []))
        keepSoon()
    }

    /// Deletes the accounts whose entry has been gone for too long.
    package func deleteGone() async throws(AccountRefusal) -> Int {
        try await provisioning.deleteGone(before: time.wallMilliseconds - settings.keepsGone.nanoseconds / 1_000_000)
    }

    // MARK: Snapshots

    private static let keepAfter = TimeAmount.seconds(30)

    private func keepSoon() {
        guard settings.snapshot != nil || groups?.settings.snapshot != nil, !isSnapshotDue else { return }
        isSnapshotDue = true
        timers.scheduleTask(in: Self.keepAfter) { Task { await self.keep() } }
    }

    private func keep() async {
        isSnapshotDue = false
        await write(people.snapshot(asked: settings.asked), to: settings.snapshot)
        await write(groups?.snapshot, to: groups?.settings.snapshot)
    }

    private func write(_ snapshot: DirectorySnapshot?, to file: SnapshotFile?) async {
        guard let file, let snapshot else { return }
        do {
            try await threads.runIfActive { try file.write(snapshot, SystemRandom()) }
        } catch {
            log.warning("what is known of the directory cannot be kept", metadata: ["file": "\(file.path)", "reason": "\(error)"])
        }
    }

    // MARK: Operators

    package struct Status: Sendable {
        package var domain: BareJID
        package var contact: DirectoryContact
        package var server: String?
        package var detection: ChangeDetection?
        package var people: Int
        package var heldBack: Int
        package var fault: String?
        package var refused: Int
        package var changes: Int
        /// `nil` where there are none.
        package var groups: GroupKeeping.Status?
    }

    /// Why there is no account of an address.
    package func whyNobody(_ address: BareJID) -> String {
        if people.isContested(address) { return "nobody: several entries have the address" }
        if let group = groups?.settings.allowGroup, let entry = people.keptOut(claiming: address).first { return "nobody: \(entry) is not in the group \(group) (allow-group)" }
        return "nobody: no entry that the filter of people matches has the address"
    }

    /// The groups that an entry is in.
    package func groups(of entry: EntryUUID) -> [GroupKeeping.Explanation] { groups?.explain(entry) ?? [] }

    package var status: Status {
        get async {
            let groupsFault = await groups?.feed.fault
            return Status(
                domain: domain, contact: people.contact, server: server, detection: tier, people: people.count,
                heldBack: heldBack.count + people.brake.accounts + people.allowance.accounts, fault: fault, refused: refused.count, changes: counters.changes,
                groups: groups?.status(fault: groupsFault))
        }
    }
}

// MARK: Groups

extension DirectoryService {
    private func restoreGroups() async {
        if people.isRead, let snapshot = await restored(groups?.settings.snapshot) { await heedInTurn(groups?.restore(snapshot) ?? []) }
        await followGroups()
    }

    private func followGroups() async {
        guard groups?.begins() == true, let groups else { return }
        await groups.feed.begin(from: groups.mirrored.cookie, for: Keeper(service: self))
    }

    private func takeGroups(_ effects: [FeedEffect], isLive: Bool) async -> Bool {
        let notices = groups?.take(effects, isLive: isLive) ?? []
        await heedInTurn(notices)
        if people.contact == .live, !hasReconciled { await inTurn(.reconcile) }
        if !effects.isEmpty { keepSoon() }
        lookAtGroupsAgain()
        return groups?.isHolding ?? false
    }

    /// When what is held counts if it is still so.
    private func lookAtGroupsAgain() {
        guard groups?.isHolding == true, !isLookDue else { return }
        isLookDue = true
        timers.scheduleTask(in: .milliseconds(SafetyBrake.secondLookMilliseconds + 1_000)) { Task { await self.looksAtGroupsAgain() } }
    }

    private func looksAtGroupsAgain() async {
        isLookDue = false
        if groups?.isHolding == true { await groups?.feed.lookAgain() }
    }

    private func groupsLost() { groups?.contactLost() }

    private struct Keeper: FeedKeeper {
        let service: DirectoryService

        func take(_ effects: [FeedEffect], isLive: Bool) async -> Bool { await service.takeGroups(effects, isLive: isLive) }
        func contactLost() async { await service.groupsLost() }
    }
}
