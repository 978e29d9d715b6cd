import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization

/// Keeps the places where an account's card, its picture and its bookmarks are in step: whatever changes at one of them is put at the others, or told
/// there, one change of an account after the other. A change that is noted again before its turn is done once, in its last place.
///
/// What a client has been told to be kept is never taken back by what was put there because of something older: a card is replaced only if it is the one
/// that was read, and a node is left to the newer publication that is to be carried out yet.
final class CardConversions: Sendable {
    enum Change: String, Hashable, Sendable {
        /// The picture is published at its nodes (XEP-0084).
        case avatar
        /// The card is published at its node (XEP-0292).
        case card
        /// There is a new card of the older form (XEP-0054).
        case temp
        /// The bookmarks are others, or somebody wants to hear of them (XEP-0411).
        case bookmarks
    }

    /// How often a card is read again that has changed meanwhile.
    static let attemptsMax = 8

    /// What is to come, for each account that has something under way.
    private let waiting = Mutex<[AccountID: [Change]]>([:])

    /// - Parameter bytesMax: of a card of the older form.
    func note(_ change: Change, of account: AccountID, _ nodes: OwnNodes, bytesMax: Int) {
        let begins = waiting.withLock { waiting in
            let begins = waiting[account] == nil
            waiting[account, default: []].removeAll { $0 == change }
            waiting[account, default: []].append(change)
            return begins
        }
        guard begins else { return }
        // A task, since it reads and writes in turn; nobody waits for it.
        Task(executorPreference: nodes.router.executor) { [self] in
            while let next = next(of: account) { await carryOut(next, of: account, nodes, bytesMax: bytesMax) }
        }
    }

    private func next(of account: AccountID) -> Change? {
        waiting.withLock { waiting in
            guard waiting[account]?.isEmpty == false else {
                waiting[account] = nil
                return nil
            }
            return waiting[account]?.removeFirst()
        }
    }

    private func carryOut(_ change: Change, of account: AccountID, _ nodes: OwnNodes, bytesMax: Int) async {
        let owed = nodes.owed(change)
        do throws(StanzaError) {
            switch change {
            case .avatar: try await AvatarConversion.published(nodes, account, bytesMax: bytesMax)
            case .card: try await VCard4.published(nodes, account, bytesMax: bytesMax)
            case .bookmarks: await OlderBookmarks.tell(nodes)
            case .temp: try await changed(nodes, account)
            }
        } catch {
            // What the disk did not do is still owed when the account comes into memory again; what was refused will be again.
            if error.condition == .internalServerError { return }
        }
        if let owed { nodes.settle(owed) }
    }

    private func changed(_ nodes: OwnNodes, _ account: AccountID) async throws(StanzaError) {
        // Where there is no card any more, there is nothing at the other places either.
        let card = try await nodes.document(VCardTemp.key) ?? ByteBuffer(string: "<vCard xmlns='vcard-temp'/>")
        guard let element = try? parseElement(card, limits: .ownWriting, defaultNamespace: .none) else { return }
        try await AvatarConversion.changed(element.root, nodes, account)
        try await VCard4.changed(element.root, nodes)
    }
}

// MARK: What is owed

/// What is to be put at another place is on disk together with what it follows from, so that a crash between the two is made up for: a document of
/// the account's, with the changes in their order, each with a number that is another one when it is noted again.
struct OwedConversions {
    struct Entry: Hashable, Sendable {
        let change: CardConversions.Change
        let number: UInt64
    }

    private(set) var entries: [Entry] = []

    /// What is not understood is not owed.
    init(_ document: ByteBuffer?) {
        entries = document.map { String(buffer: $0) }?.split(separator: " ").compactMap { text in
            let parts = text.split(separator: ":")
            guard parts.count == 2, let change = CardConversions.Change(rawValue: String(parts[0])), let number = UInt64(parts[1]) else { return nil }
            return Entry(change: change, number: number)
        } ?? []
    }

    mutating func append(_ change: CardConversions.Change) {
        let number = entries.first { $0.change == change }?.number ?? 0
        entries.removeAll { $0.change == change }
        entries.append(Entry(change: change, number: number &+ 1))
    }

    /// Whether one has come since another.
    func has(_ newer: CardConversions.Change, after older: CardConversions.Change) -> Bool {
        guard let new = entries.firstIndex(where: { $0.change == newer }) else { return false }
        return new > entries.firstIndex { $0.change == older } ?? -1
    }

    mutating func remove(_ entry: Entry) { entries.removeAll { $0 == entry } }

    var document: ByteBuffer? {
        entries.isEmpty ? nil : ByteBuffer(string: entries.map { "\($0.change.rawValue):\($0.number)" }.joined(separator: " "))
    }
}

extension AccountHome {
    var owedConversions: OwedConversions { OwedConversions(documents[.conversions]) }

    /// A change that is to be put elsewhere. Under the lock.
    ///
    /// - Returns: what has to be on disk together with the change.
    func owe(_ change: CardConversions.Change) -> Write {
        var owed = owedConversions
        owed.append(change)
        documents[.conversions] = owed.document
        return .document(id, .conversions, owed.document)
    }
}

extension OwnNodes {
    func document(_ key: DocumentKey) async throws(StanzaError) -> ByteBuffer? {
        do throws(StoreError) { return try await router.store.document(id, key) } catch { throw StanzaError(.internalServerError, .wait) }
    }

    /// Whether the owner has changed one place since he has changed the other.
    func owes(_ newer: CardConversions.Change, after older: CardConversions.Change) -> Bool {
        router.withResidentHome(account) { $0.owedConversions.has(newer, after: older) } ?? false
    }

    fileprivate func owed(_ change: CardConversions.Change) -> OwedConversions.Entry? {
        router.withResidentHome(account) { home in home.owedConversions.entries.first { $0.change == change } } ?? nil
    }

    /// An account that has left memory meanwhile has it done again when it comes back.
    fileprivate func settle(_ entry: OwedConversions.Entry) {
        _ = router.withResidentHome(account) { home in
            guard home.id == id else { return }
            var owed = home.owedConversions
            owed.remove(entry)
            home.documents[.conversions] = owed.document
            _ = router.store.submit([.document(id, .conversions, owed.document)])
        }
    }
}
