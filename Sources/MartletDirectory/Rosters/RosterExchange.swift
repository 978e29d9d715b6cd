package import Logging
package import MartletCore
import MartletLDAP
package import MartletXMPP
package import NIOCore
import Synchronization

/// Keeps the rosters of a domain's accounts in a directory as well (`directory.md` §2b).
///
/// The store has the rosters, and notes in the commit that changes one what is to be said to the directory (``RosterNoteStore``): nobody waits for
/// the directory, and what was acknowledged is said when it is back. What others change there is heard of, and goes through the account's home
/// like every other change. What is to be done with both says ``RosterMerge``.
///
/// An actor: one thing after the other is written, while the directory is followed beside that.
package actor RosterExchange {
    package struct Settings: Sendable {
        package var tree: RosterTree
        /// How changes are found out; `nil`: by the best way that the server has.
        package var detection: ChangeDetection?

        package init(_ tree: RosterTree) { self.tree = tree }
    }

    /// Notes that are looked at in one go.
    static let notesMax = 256
    /// Changes that an account's home is given in one go.
    static let adoptionsMax = 250
    /// After so long what the directory has refused is tried again.
    static let refusalRest = TimeAmount.minutes(10)

    /// Why nothing can be written at the moment.
    private enum Trouble: Error {
        case directory(DirectoryFailure)
        case store(StoreError)

        var words: String {
            switch self {
            case .directory(let failure): "\(failure)"
            case .store(let error): "the store: \(error)"
            }
        }
    }

    private enum Sleep {
        case awake
        /// Until something is noted, or told.
        case light(CheckedContinuation<Void, Never>)
        /// After a failure: until a while has passed, or the directory is followed again.
        case deep(CheckedContinuation<Void, Never>)
    }

    package nonisolated let domain: BareJID
    private let settings: Settings
    private let follower: DirectoryClient
    private let writer: DirectoryClient
    private let router: Router
    private let mailbox: LoopMailbox
    private let time: any TimeSource
    private let timers: any EventLoop
    private let log: Logger
    /// Read by metrics from wherever they are asked for, hence no actor's.
    private nonisolated let waiting = Atomic<Int>(0)

    private var copies: RosterCopies
    private var consumer: FeedConsumer?
    private var isClosed = false
    private var isLoaded = false
    private var isFollowed = false
    /// Whether what was changed while the server was not there has been looked for.
    private var isReconciled = false
    private var runs: [Task<Void, Never>] = []
    private var sleep = Sleep.awake
    /// Something has happened since the last look.
    private var isDue = false
    /// The directory is followed again since the last look.
    private var isBack = false
    /// Where somebody else has changed something.
    private var dirty: [BareJID: Set<BareJID>] = [:]
    /// Up to there notes have been looked at; those that are left were refused.
    private var position: UInt64 = 0
    private var refused: Set<RosterPlace> = []
    /// Of which accounts that are gone it did not delete the rosters.
    private var undeleted: Set<BareJID> = []
    /// When what was refused is tried again.
    private var retry: NIODeadline?
    private var brake = SafetyBrake()
    /// Items whose entries are gone, and which would go if that were believed.
    private var heldBack: Set<RosterPlace> = []
    private var fault: String?
    private var feedFault: String?
    /// Until the directory is followed again.
    private var feedRest: Scheduled<Void>?
    private var failures = 0
    private var feedFailures = 0

    /// - Parameters:
    ///   - follower: on whose connection the directory is followed.
    ///   - writer: on whose connection it is written to.
    ///   - mailbox: of any loop.
    ///   - timers: whose timers are used.
    package init(
        _ domain: BareJID, follower: DirectoryClient, writer: DirectoryClient, _ router: Router, on mailbox: LoopMailbox, _ settings: Settings,
        time: any TimeSource, timers: any EventLoop, log: Logger
    ) {
        self.domain = domain
        self.follower = follower
        self.writer = writer
        self.router = router
        self.mailbox = mailbox
        self.settings = settings
        self.time = time
        self.timers = timers
        self.log = log
        copies = RosterCopies(settings.tree)
    }

    // MARK: Life

    /// The domain is one whose rosters are copied already (``RosterCopyChange/domains(_:)``).
    package func begin() {
        router.store.onRosterNote { [weak self] in Task { [weak self] in await self?.noted() } }
        runs = [Task { await self.follow() }, Task { await self.work() }]
    }

    package func stop() async {
        isClosed = true
        feedRest?.cancel()
        wake(fully: true)
        await follower.close()
        await writer.close()
        for run in runs { await run.value }
    }

    private func noted() {
        isDue = true
        wake()
    }

    private func wake(fully: Bool = false) {
        switch sleep {
        case .awake: break
        case .deep where !fully: break
        case .light(let continuation), .deep(let continuation):
            sleep = .awake
            continuation.resume()
        }
    }

    /// - Parameter time: `nil`: until something happens.
    private func rest(_ time: TimeAmount?, deeply: Bool) async {
        guard !isClosed, deeply ? !isBack : !isDue else { return }
        let timer = time.map { timers.scheduleTask(in: $0) { Task { await self.timerFired() } } }
        await withCheckedContinuation { sleep = deeply ? .deep($0) : .light($0) }
        timer?.cancel()
    }

    private func timerFired() { wake(fully: true) }

    /// Longer after each failure, up to half a minute.
    private static func restTime(_ failures: Int) -> TimeAmount { .milliseconds(min(500 << Int64(min(failures, 6)), 30_000)) }

    // MARK: Following

    private func follow() async {
        while !isClosed {
            let end = await followOnce()
            isFollowed = false
            guard !isClosed else { return }
            if feedFault != end {
                log.warning("rosters in the directory cannot be followed now", metadata: ["domain": "\(domain)", "reason": "\(end)"])
            }
            feedFault = end
            feedFailures += 1
            let timer = timers.scheduleTask(in: Self.restTime(feedFailures)) {}
            feedRest = timer
            try? await timer.futureResult.get()
        }
    }

    /// - Returns: why it is over.
    private func followOnce() async -> String {
        do throws(DirectoryFailure) {
            let service = try await follower.service()
            let tier = settings.detection ?? ChangeDetection(supportedControls: service.root.controls)
            let question = FeedQuestion(
                base: settings.tree.base.description, filter: .equality("objectClass", Array(CopiedRosterItem.objectClass.utf8)),
                attributes: RosterCopies.attributeNames, identifier: FeedQuestion.identifier(of: service.root), detection: tier)
            copies.ownName = try await Self.name(of: service)
            let connection = LDAPFeedConnection(service.connection, question, timers: timers)
            var consumer = consumer.flatMap { $0.follows(by: tier) ? $0 : nil } ?? FeedConsumer(tier)
            let end = await FeedFollower(time: time).follow(connection, with: &consumer) { effects, isLive in self.take(effects, isLive: isLive) }
            self.consumer = consumer
            if end == .connectionLost, let failure = await connection.failure { return "\(failure)" }
            return Self.words(end, settings.tree.base)
        } catch {
            return "\(error)"
        }
    }

    /// What the directory calls us (RFC 4532 §2), if it says so.
    private static func name(of service: DirectoryClient.Service) async throws(DirectoryFailure) -> DistinguishedName? {
        do throws(DirectoryFailure) {
            let identity = try await service.connection.whoAmI()
            return identity.hasPrefix("dn:") ? try? DistinguishedName(String(identity.dropFirst(3))) : nil
        } catch {
            guard case .refused = error else { throw error }
            return nil
        }
    }

    private static func words(_ end: FeedFollower.End, _ base: DistinguishedName) -> String {
        switch end {
        case .fault(.result(.noSuchObject)): "there is no entry \(base)"
        case .fault(.result(let code)): "the server has ended the search with result \(code.rawValue)"
        case .fault(.endedEarly): "the server has ended the search"
        case .fault(.tooManyEntries): "there are more than \(FeedLimits.entriesMax) items"
        case .connectionLost, .stopped: "the connection was lost"
        }
    }

    /// - Returns: whether to go on with the connection.
    private func take(_ effects: [FeedEffect], isLive: Bool) -> Bool {
        for effect in effects {
            switch effect {
            case .change(let change):
                release(change)
                note(copies.take(change))
            case .refreshed(let end): refreshed(end)
            case .keepCookie, .search, .failed: break
            }
        }
        if isLive, !isFollowed {
            if feedFault != nil { log.notice("rosters in the directory are followed again", metadata: ["domain": "\(domain)"]) }
            (isFollowed, isBack, feedFault, feedFailures) = (true, true, nil, 0)
            wake(fully: true)
        }
        if !dirty.isEmpty { noted() }
        return !isClosed
    }

    /// What is there is not gone, whether anything in it has changed or not.
    private func release(_ change: DirectoryChange) {
        guard !heldBack.isEmpty, case .entry(_, let entry) = change, let place = settings.tree.place(of: entry.name) else { return }
        heldBack.remove(place)
    }

    private func release(_ there: Set<EntryUUID>) {
        heldBack = heldBack.filter { place in copies[place]?.uuid.map { !there.contains($0) } ?? true }
    }

    /// Before everything was read nothing can be said of what differs.
    private func note(_ places: [RosterPlace]) {
        for place in places {
            heldBack.remove(place)
            if isLoaded { dirty[place.account, default: []].insert(place.contact) }
        }
    }

    private func refreshed(_ end: RefreshEnd) {
        guard isLoaded else {
            isLoaded = true
            return noted()
        }
        if let there = end.there { release(there) }
        let vanished = copies.vanished(by: end, now: time.wallMilliseconds)
        guard believes(vanished, of: copies.count) else { return }
        for place in vanished { copies.forget(place) }
        note(vanished)
    }

    /// Too many that are gone at once are held back.
    private func believes(_ vanished: [RosterPlace], of count: Int) -> Bool {
        guard brake.holds(vanished.count, of: count, now: time.wallMilliseconds) else { return true }
        heldBack.formUnion(vanished)
        log.error(
            "the directory has lost many items of rosters at once: they stay until this is confirmed (martlet directory sync --confirm)",
            metadata: ["domain": "\(domain)", "items": "\(vanished.count)", "of": "\(count)"])
        return false
    }

    /// An operator says that whatever is held back is to go.
    package func confirm() {
        let gone = heldBack
        (heldBack, brake) = ([], SafetyBrake())
        for place in gone { copies.forget(place) }
        note(Array(gone))
        noted()
    }

    // MARK: Working

    private func work() async {
        while !isClosed {
            (isDue, isBack) = (false, false)
            if let retry, retry <= time.monotonic { tryRefusedAgain() }
            do throws(Trouble) {
                try await look()
                if fault != nil { log.notice("rosters are written to the directory again", metadata: ["domain": "\(domain)"]) }
                (fault, failures) = (nil, 0)
                await count()
                await rest(timeToRetry, deeply: false)
            } catch {
                report(error)
                await count()
                await rest(Self.restTime(failures), deeply: true)
            }
        }
    }

    private func report(_ trouble: Trouble) {
        failures += 1
        guard !isClosed, fault != trouble.words else { return }
        fault = trouble.words
        log.warning("rosters cannot be written to the directory now", metadata: ["domain": "\(domain)", "reason": "\(trouble.words)"])
    }

    private func tryRefusedAgain() { (position, refused, undeleted, retry) = (0, [], [], nil) }

    /// `nil` if nothing was refused.
    private var timeToRetry: TimeAmount? {
        guard !refused.isEmpty || !undeleted.isEmpty else { return nil }
        let moment = retry ?? time.monotonic + Self.refusalRest
        retry = moment
        return moment - time.monotonic
    }

    private func count() async {
        guard let count = try? await router.store.rosterNoteCount(domain: domain.domainpart) else { return }
        waiting.store(count, ordering: .relaxed)
    }

    private func look() async throws(Trouble) {
        guard isLoaded else { return }
        if !isReconciled { try await reconcile() }
        try await settleDirty()
        while !isClosed {
            let notes = try await notes(after: position)
            guard let last = notes.last else { return }
            for group in Self.byAccount(notes) {
                try await say(group)
                try await settleDirty()
            }
            position = last.sequence
        }
    }

    private static func byAccount(_ notes: [RosterNote]) -> [[RosterNote]] {
        var places: [BareJID: Int] = [:]
        var groups: [[RosterNote]] = []
        for note in notes {
            if let place = places[note.account] { groups[place].append(note) } else {
                places[note.account] = groups.count
                groups.append([note])
            }
        }
        return groups
    }

    private func settleDirty() async throws(Trouble) {
        while !isClosed, let (account, contacts) = dirty.first {
            dirty[account] = nil
            do throws(Trouble) {
                guard let stored = try await load(account) else { continue }
                // In this order: what is changed between the two has a note then.
                let noted = try await notes(of: account)
                guard !noted.isDeparting else { continue }
                try await settle(account, stored, contacts, noted)
            } catch {
                dirty[account, default: []].formUnion(contacts)
                throw error
            }
        }
    }

    // MARK: Notes

    /// Says what is noted of one account, in order.
    private func say(_ notes: [RosterNote]) async throws(Trouble) {
        guard let account = notes.first?.account else { return }
        // Until nothing of the roster of the one who was there is left, whoever comes after him has none there. What is noted of him is later than that.
        if try await self.notes(of: account).isDeparting {
            guard !undeleted.contains(account), try await removeAll(of: account) else { return }
        }
        let stored = try await load(account)
        var isSaid = true
        if let stored {
            // With what was noted later: a contact that was removed then does not come back by an arrival.
            let (now, noted) = (Noted(notes), try await self.notes(of: account))
            let contacts = now.isWhole ? copies.contacts(of: account).union(stored.roster.map(\.contact)) : Set(now.items.keys)
            isSaid = try await settle(account, stored, contacts, noted)
        }
        // What was refused stays noted: an entry that is missing is not taken for one that somebody has deleted.
        let said = notes.filter { $0.subject == .departure || isSaid || stored == nil || isSettled($0, account) }
        try await commit(said.map { .rosterCopy(.settled($0.sequence)) })
    }

    private func isSettled(_ note: RosterNote, _ account: BareJID) -> Bool {
        if case .item(let contact) = note.subject { !refused.contains(RosterPlace(account, contact)) } else { false }
    }

    /// - Returns: whether the directory has done it.
    private func removeAll(of account: BareJID) async throws(Trouble) -> Bool {
        copies.removeAll(of: account)
        let entries = try await entries()
        do throws(DirectoryFailure) {
            try await entries.removeAll(of: account)
            return true
        } catch {
            guard error.isAboutOneEntry else { throw .directory(error) }
            undeleted.insert(account)
            log.error("the roster of an account that is gone is still in the directory", metadata: ["account": "\(account)", "reason": "\(error)"])
            return false
        }
    }

    /// What is noted of an account's roster.
    private struct Noted {
        var items: [BareJID: Int64] = [:]
        /// Of all items that have none of their own.
        var others = RosterMerge.Noted.nothing
        /// An account of that address is gone, and its roster is still there.
        var isDeparting = false

        init(_ notes: [RosterNote]) {
            for note in notes {
                switch note.subject {
                case .item(let contact): items[contact] = note.time
                case .arrival: others = .joining
                case .roster: if others == .nothing { others = .changed(note.time) }
                case .departure: isDeparting = true
                }
            }
        }

        var isWhole: Bool { others != .nothing }

        subscript(contact: BareJID) -> RosterMerge.Noted { items[contact].map(RosterMerge.Noted.changed) ?? others }
    }

    // MARK: One account

    /// Makes a roster and its copy the same, as far as these contacts go.
    ///
    /// - Returns: whether the directory has taken everything.
    @discardableResult
    private func settle(_ account: BareJID, _ stored: StoredAccount, _ contacts: Set<BareJID>, _ noted: Noted) async throws(Trouble) -> Bool {
        let items = Dictionary(stored.roster.map { ($0.contact, $0) }, uniquingKeysWith: { first, _ in first })
        var adoptions: [RosterAdoption] = []
        var writes: [(place: RosterPlace, item: CopiedRosterItem?)] = []
        for contact in contacts.sorted(by: { $0.precedes($1) }) {
            let (place, item) = (RosterPlace(account, contact), items[contact])
            switch verdict(item, place, noted[contact]) {
            case .settled: refused.remove(place)
            case .write(let copy): writes.append((place, copy))
            case .adopt(let copy):
                let wish = RosterAdoption.Wish.item(name: copy.name, groups: Self.groups(copy, item), state: copy.state)
                adoptions.append(RosterAdoption(contact, expected: item, wish))
            case .remove: adoptions.append(RosterAdoption(contact, expected: item, .removal))
            }
        }
        try await adopt(adoptions, in: account)
        for contact in contacts { copies.settle(RosterPlace(account, contact)) }
        return try await write(writes, account, version: stored.rosterVersion)
    }

    private func verdict(_ item: RosterItem?, _ place: RosterPlace, _ noted: RosterMerge.Noted) -> RosterMerge.Verdict {
        let (item, copy) = (item.map { CopiedRosterItem($0) }, copies[place])
        if heldBack.contains(place), noted == .nothing { return .settled }
        guard let copy, copy.item == nil else { return RosterMerge.verdict(item, copy: copy?.item, edited: copy?.edited, noted) }
        // An entry that is not understood is left alone until the user changes the item.
        if case .changed = noted { return .write(item) }
        return .settled
    }

    /// In the user's order, if they are the same.
    private static func groups(_ copy: CopiedRosterItem, _ item: RosterItem?) -> [String] {
        guard let item, CopiedRosterItem(item).groups == copy.groups else { return copy.groups }
        return item.groups
    }

    private func adopt(_ adoptions: [RosterAdoption], in account: BareJID) async throws(Trouble) {
        var rest = adoptions[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.adoptionsMax))
            rest = rest.dropFirst(batch.count)
            do throws(AccountRefusal) {
                // What is overtaken has a note of its own.
                let outcomes = try await router.adopt(batch, in: account, on: mailbox)
                for (adoption, outcome) in zip(batch, outcomes) {
                    guard case .refused(let error) = outcome else { continue }
                    log.notice(
                        "an entry of a roster is not taken over",
                        metadata: ["account": "\(account)", "contact": "\(adoption.contact)", "reason": "\(error.condition)"])
                }
            } catch {
                switch error {
                case .noAccount: return
                case .store(let error): throw .store(error)
                }
            }
        }
    }

    private func write(_ writes: [(place: RosterPlace, item: CopiedRosterItem?)], _ account: BareJID, version: UInt64) async throws(Trouble) -> Bool {
        guard !writes.isEmpty else { return true }
        var isTaken = true
        let entries = try await entries()
        for (place, item) in writes {
            do throws(DirectoryFailure) {
                try await write(item, place, entries)
                refused.remove(place)
            } catch {
                guard error.isAboutOneEntry else { throw .directory(error) }
                isTaken = false
                guard refused.insert(place).inserted else { continue }
                log.error(
                    "the directory refuses an item of a roster",
                    metadata: ["account": "\(account)", "contact": "\(place.contact)", "reason": "\(error)"])
            }
        }
        do throws(DirectoryFailure) { try await entries.setVersion(version, of: account) } catch {
            if !error.isAboutOneEntry { throw .directory(error) }
        }
        return isTaken
    }

    private func write(_ item: CopiedRosterItem?, _ place: RosterPlace, _ entries: RosterEntries) async throws(DirectoryFailure) {
        heldBack.remove(place)
        copies.begin(place, item)
        guard let item else {
            try await entries.remove(place)
            return copies.wrote(place, nil, now: time.wallMilliseconds)
        }
        let written = try await entries.put(item, at: place, isThere: copies[place] != nil)
        copies.wrote(place, item, written.change, written.uuid, now: time.wallMilliseconds)
    }

    // MARK: After a start

    /// Looks at all accounts once: at what was changed in the directory while the server was not there.
    private func reconcile() async throws(Trouble) {
        var last: BareJID?
        var missing: [RosterPlace] = []
        var total = 0
        while !isClosed {
            let page = try await accounts(after: last)
            for account in page.map(\.address) { (missing, total) = try await reconcile(account, missing, total) }
            guard page.count == Self.notesMax else { break }
            last = page.last?.address
        }
        isReconciled = true
        if believes(missing, of: total) { note(missing) }
    }

    private func reconcile(_ account: BareJID, _ missing: [RosterPlace], _ total: Int) async throws(Trouble) -> ([RosterPlace], Int) {
        guard let stored = try await load(account) else { return (missing, total) }
        let noted = try await notes(of: account)
        // What is noted is said with its note.
        guard !noted.isWhole, !noted.isDeparting else { return (missing, total) }
        let contacts = copies.contacts(of: account).union(stored.roster.map(\.contact)).subtracting(noted.items.keys)
        let gone = stored.roster.map { RosterPlace(account, $0.contact) }.filter { contacts.contains($0.contact) && copies[$0] == nil }
        try await settle(account, stored, contacts.subtracting(gone.map(\.contact)), noted)
        return (missing + gone, total + stored.roster.count)
    }

    // MARK: Asking

    private func entries() async throws(Trouble) -> RosterEntries {
        do throws(DirectoryFailure) { return RosterEntries(connection: try await writer.service().connection, tree: settings.tree) } catch {
            throw .directory(error)
        }
    }

    private func load(_ account: BareJID) async throws(Trouble) -> StoredAccount? {
        let answer: Result<StoredAccount?, StoreError> = await withCheckedContinuation { continuation in
            router.store.loadAccount(account) { continuation.resume(returning: $0) }
        }
        do throws(StoreError) { return try answer.get() } catch { throw .store(error) }
    }

    private func accounts(after last: BareJID?) async throws(Trouble) -> [AccountSummary] {
        do throws(StoreError) {
            return try await router.store.accounts(domain: domain.domainpart, after: last, limit: Self.notesMax)
        } catch {
            throw .store(error)
        }
    }

    private func notes(after sequence: UInt64) async throws(Trouble) -> [RosterNote] {
        do throws(StoreError) {
            return try await router.store.rosterNotes(domain: domain.domainpart, after: sequence, limit: Self.notesMax)
        } catch {
            throw .store(error)
        }
    }

    private func notes(of account: BareJID) async throws(Trouble) -> Noted {
        do throws(StoreError) { return Noted(try await router.store.rosterNotes(of: account)) } catch { throw .store(error) }
    }

    private func commit(_ writes: [Write]) async throws(Trouble) {
        guard !writes.isEmpty else { return }
        do throws(StoreError) { try await router.store.commit(writes) } catch { throw .store(error) }
    }

    // MARK: Operators

    package struct Status: Hashable, Sendable {
        /// Items in the directory.
        package var items: Int
        /// Notes that were not said yet.
        package var waiting: Int
        /// Entries that the directory did not take.
        package var refused: Int
        /// Items that stay although their entries are gone, until that is confirmed.
        package var heldBack: Int
        /// Entries that are no items.
        package var unusable: Int
        /// Why they are not followed, or not written.
        package var fault: String?
    }

    package var status: Status {
        get async {
            await count()
            return Status(
                items: copies.count, waiting: waitingCount, refused: refused.count + undeleted.count, heldBack: heldBack.count, unusable: copies.unusableCount,
                fault: feedFault ?? fault)
        }
    }

    /// Notes that were not said yet, as counted last.
    package nonisolated var waitingCount: Int { waiting.load(ordering: .relaxed) }
}
