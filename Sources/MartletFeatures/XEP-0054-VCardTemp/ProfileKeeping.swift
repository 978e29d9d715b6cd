import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// A card as it is kept: what everybody sees, and beside it what is his whose card it is, if a directory says a part of it.
struct KeptCard: Equatable, Sendable {
    var card: ByteBuffer?
    /// A ``ProfileNote``.
    var note: ByteBuffer?

    init(card: ByteBuffer?, note: ByteBuffer?) {
        self.card = card
        self.note = note
    }

    /// - Parameter own: what is his whose card it is.
    /// Without a picture that is not there the note is of another profile, so that it is put when it is there.
    ///
    /// - Parameters:
    ///   - own: what is his whose card it is.
    ///   - picture: the one that the profile names, if it is there.
    init(_ profile: Profile, _ own: ByteBuffer, _ picture: CardPicture? = nil) {
        let (profiled, said) = (ProfiledCard(profile, picture), ProfiledCard.parse(own))
        var known = profile
        if profiled.lacksPicture(besides: said) { known.picture = nil }
        card = profiled.card(with: said)
        note = ProfileNote.document(known.digest, own)
    }

    /// What is his whose card it is. A card that no directory has said anything in is all his.
    var own: ElementView? { ProfileNote(note)?.own ?? ProfiledCard.parse(card) }

    /// Refused if it is another one meanwhile.
    func writes(replacing old: KeptCard, of account: AccountID) -> [Write] {
        [
            .unchanged(account, VCardTemp.key, old.card), .unchanged(account, .profile, old.note), .document(account, VCardTemp.key, card),
            .document(account, .profile, note),
        ]
    }
}

/// Keeps the cards of which a directory says a part: what people set, and what the directory says anew.
struct ProfileKeeping: Sendable {
    /// So many profiles are put by way of each account's home, which comes into memory, so that its contacts hear at once of a new picture. More are
    /// written by themselves, and contacts hear of them when the account comes into memory the next time.
    static let fewMax = 50
    /// Accounts whose cards are written in one commit.
    static let batchMax = 500
    /// Of their cards together, in bytes; the one that goes past it is the last in its commit. What others write waits that long.
    static let batchBytesMax = 4 << 20

    let source: any ProfileSource
    let eventing: PersonalEventing?
    let router: Router
    /// Of any loop.
    let mailbox: LoopMailbox

    // MARK: By people

    /// Somebody sets his card, of which the directory says a part.
    func set(_ card: ElementView, of account: BareJID, _ id: AccountID, _ profile: Profile, bytesMax: Int) async throws(StanzaError) {
        let profiled = ProfiledCard(profile)
        let changes = try profiled.changes(in: card)
        // What the directory says is no matter of the account's limits.
        guard ProfiledCard.textBytes(of: changes) + profiled.own(in: card, besides: nil).readableBytes <= bytesMax else {
            throw .policyViolation("a card may have \(bytesMax) bytes")
        }
        let changed = changes.isEmpty ? nil : try await source.change(account, changes)
        do throws(StoreError) {
            let (old, said) = (try await kept(id), changed ?? source.profile(of: account) ?? profile)
            let own = ProfiledCard.parse(ProfiledCard(said).own(in: card, besides: old.own))
            let picture = await source.picture(of: account, said, besides: own, in: [card, ProfiledCard.parse(old.card)])
            try await keep(account, id) { old in
                let profile = changed ?? source.profile(of: account) ?? profile
                return KeptCard(profile, ProfiledCard(profile).own(in: card, besides: old.own), picture)
            }
        } catch {
            throw StanzaError(refusal: error)
        }
    }

    // MARK: By the directory

    func put(_ profiles: [(account: BareJID, profile: Profile?)]) async throws(StoreError) {
        guard profiles.count >= Self.fewMax else {
            for (account, profile) in profiles { try await put(profile, of: account) }
            return
        }
        var rest = profiles[...]
        while !rest.isEmpty {
            try await put(batch: Array(rest.prefix(Self.batchMax)))
            rest = rest.dropFirst(Self.batchMax)
        }
    }

    private func put(_ profile: Profile?, of account: BareJID) async throws(StoreError) {
        guard let id = try await router.store.credentials(of: account)?.id else { return }
        let picture = profile?.picture == nil ? nil : await picture(of: account, profile, in: try await kept(id))
        try await keep(account, id) { old in Self.card(old, with: profile, picture) }
    }

    private func picture(of account: BareJID, _ profile: Profile?, in old: KeptCard) async -> CardPicture? {
        guard let profile, profile.picture != nil, ProfileNote(old.note)?.digest != profile.digest else { return nil }
        return await source.picture(of: account, profile, besides: old.own, in: [ProfiledCard.parse(old.card)])
    }

    /// - Parameter picture: the one that the profile names, if it is wanted and could be had.
    /// - Returns: `old` if what is in it is this profile.
    private static func card(_ old: KeptCard, with profile: Profile?, _ picture: CardPicture?) -> KeptCard {
        guard let profile else {
            guard let note = ProfileNote(old.note) else { return old }
            var own = XMLWriter(contentNamespace: .none)
            own.append(note.own)
            return KeptCard(card: note.own.firstChild == nil ? nil : own.buffer, note: nil)
        }
        if ProfileNote(old.note)?.digest == profile.digest { return old }
        var own = XMLWriter(contentNamespace: .none)
        if let known = old.own { own.append(known) } else { own.element("vCard", .vCard) }
        return KeptCard(profile, own.buffer, picture)
    }

    // MARK: By way of the account's home

    /// - Parameter made: what the card is to be, of what it is. Asked again if it is another one meanwhile.
    private func keep(_ account: BareJID, _ id: AccountID, as made: (KeptCard) -> KeptCard) async throws(StoreError) {
        for _ in 0..<CardConversions.attemptsMax {
            let old = try await kept(id)
            let new = made(old)
            if new == old { return }
            do throws(StoreError) { return try await replace(old, by: new, of: account, id) } catch {
                guard case .constraint = error else { throw error }
            }
        }
        throw .unavailable("the card changes all the time")
    }

    private func kept(_ id: AccountID) async throws(StoreError) -> KeptCard {
        KeptCard(card: try await router.store.document(id, VCardTemp.key), note: try await router.store.document(id, .profile))
    }

    private func replace(_ old: KeptCard, by new: KeptCard, of account: BareJID, _ id: AccountID) async throws(StoreError) {
        let outcome: Result<Void, StoreError> = await withCheckedContinuation { continuation in
            mailbox.run { context in
                router.withHome(of: account, context) { home, context in
                    // An account that is gone has no card.
                    if home.isAbsent || (home.isResident && home.id != id) { return continuation.resume(returning: .success(())) }
                    guard home.isResident else { return continuation.resume(returning: .failure(.unavailable("the account cannot be read now"))) }
                    var writes = new.writes(replacing: old, of: id)
                    let isSeen = eventing != nil && new.card != old.card
                    if isSeen { writes.append(home.owe(.temp)) }
                    let ticket = router.store.submit(writes)
                    context.afterCommit(ticket) { context, outcome in
                        // Also if the disk has refused it: then nothing comes of it but that memory owes it no more.
                        if isSeen { noteConversion(account, id, context) }
                        continuation.resume(returning: outcome)
                    }
                }
                context.runEffects()
            }
        }
        try outcome.get()
    }

    private func noteConversion(_ account: BareJID, _ id: AccountID, _ context: LoopContext) {
        guard let eventing else { return }
        eventing.note(.temp, OwnNodes(eventing: eventing, account: account, id: id, router: router, mailbox: context.mailbox), context)
    }

    // MARK: By themselves

    /// What is written in one commit.
    private struct Batch {
        var writes: [Write] = []
        var people: [(account: BareJID, profile: Profile?)] = []
        var bytes = 0
    }

    /// Accounts in memory, and those of which something has changed meanwhile, each for itself.
    private func put(batch all: [(account: BareJID, profile: Profile?)]) async throws(StoreError) {
        var single: [(account: BareJID, profile: Profile?)] = []
        var batch = Batch()
        for (account, profile) in all {
            guard router.withResidentHome(account, { _ in true }) == nil else { single.append((account, profile)); continue }
            guard let id = try await router.store.credentials(of: account)?.id else { continue }
            let note = try await router.store.document(id, .profile)
            // Without a look at the card, which may be large.
            if ProfileNote(note)?.digest == profile?.digest { continue }
            let old = KeptCard(card: try await router.store.document(id, VCardTemp.key), note: note)
            let new = Self.card(old, with: profile, await picture(of: account, profile, in: old))
            if new == old { continue }
            batch.writes += new.writes(replacing: old, of: id)
            if eventing != nil, new.card != old.card { batch.writes += try await owing(id) }
            batch.people.append((account, profile))
            batch.bytes += (new.card?.readableBytes ?? 0) + (new.note?.readableBytes ?? 0)
            guard batch.bytes > Self.batchBytesMax else { continue }
            single += try await refused(of: batch)
            batch = Batch()
        }
        single += try await refused(of: batch)
        for (account, profile) in single { try await put(profile, of: account) }
    }

    /// One commit.
    ///
    /// - Returns: those for whom it does not fit any more, which are all of them.
    private func refused(of batch: Batch) async throws(StoreError) -> [(account: BareJID, profile: Profile?)] {
        guard !batch.writes.isEmpty else { return [] }
        do throws(StoreError) { try await router.store.commit(batch.writes) } catch {
            guard case .constraint = error else { throw error }
            return batch.people
        }
        readAnew(batch.people.map(\.account))
        return []
    }

    /// What is owed of an account that is not in memory.
    private func owing(_ id: AccountID) async throws(StoreError) -> [Write] {
        let old = try await router.store.document(id, .conversions)
        var owed = OwedConversions(old)
        owed.append(.temp)
        return [.unchanged(id, .conversions, old), .document(id, .conversions, owed.document)]
    }

    /// Accounts that have come into memory meanwhile do not know what they owe.
    private func readAnew(_ accounts: [BareJID]) {
        mailbox.run { context in
            for account in accounts {
                _ = router.withResidentHome(account) { home in
                    if !home.owedConversions.entries.contains(where: { $0.change == .temp }) { _ = router.store.submit([home.owe(.temp)]) }
                }
                router.reload(account, context)
            }
            context.runEffects()
        }
    }
}

extension ProfileSource {
    /// The picture that a profile names, if it is to be in the card: of one of the cards that there are, or else from the directory.
    ///
    /// - Parameter own: what is his whose card it is.
    fileprivate func picture(of account: BareJID, _ profile: Profile, besides own: ElementView?, in cards: [ElementView?]) async -> CardPicture? {
        guard let digest = profile.picture, ProfiledCard(profile).lacksPicture(besides: own) else { return nil }
        for card in cards { if let picture = CardPicture(digest, in: card) { return picture } }
        return await picture(digest, of: account).flatMap { CardPicture(jpeg: $0) }
    }
}

extension OwnNodes {
    /// A card of which something has changed that the owner has published, as it is kept.
    ///
    /// - Parameters:
    ///   - old: what it was before.
    ///   - bytesMax: of what is his own.
    /// - Returns: what everybody sees, and what is to be written beside it; `nil` if it is too large.
    func profiled(
        _ card: ByteBuffer, replacing old: ByteBuffer?, bytesMax: Int
    ) async throws(StanzaError) -> (card: ByteBuffer, beside: [Write])? {
        guard let profile, let root = ProfiledCard.parse(card) else {
            // Where no directory speaks all is his own.
            return card.readableBytes <= bytesMax ? (card, [.document(id, .profile, nil)]) : nil
        }
        let kept = KeptCard(card: old, note: try await document(.profile))
        let own = ProfiledCard(profile).own(in: root, besides: kept.own)
        guard own.readableBytes <= bytesMax else { return nil }
        let picture = await eventing.profiles?.picture(of: account, profile, besides: ProfiledCard.parse(own), in: [root, ProfiledCard.parse(old)])
        let new = KeptCard(profile, own, picture)
        return (new.card ?? card, [.unchanged(id, .profile, kept.note), .document(id, .profile, new.note)])
    }

    /// What a directory says of the owner.
    var profile: Profile? { eventing.profiles?.profile(of: account) }
}
