import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization

/// Keeps the places where an account's card, its picture and its bookmarks are in step: whatever changes at one of them is put at the others, or told
/// there, one change of an account after the other. A change that is noted again before its turn is done once.
final class CardConversions: Sendable {
    enum Change: Hashable, Sendable {
        /// The picture is published at its nodes (XEP-0084).
        case avatar
        /// The card is published at its node (XEP-0292).
        case card
        /// There is a new card of the older form (XEP-0054).
        case temp
        /// The bookmarks are others, or somebody wants to hear of them (XEP-0411).
        case bookmarks
    }

    /// What is to come, for each account that has something under way.
    private let waiting = Mutex<[AccountID: [Change]]>([:])

    /// - Parameter bytesMax: of a card of the older form.
    func note(_ change: Change, of account: AccountID, _ nodes: OwnNodes, bytesMax: Int) {
        let begins = waiting.withLock { waiting in
            let begins = waiting[account] == nil
            if waiting[account]?.contains(change) != true { waiting[account, default: []].append(change) }
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
        switch change {
        case .avatar: await AvatarConversion.published(nodes, account, bytesMax: bytesMax)
        case .card: await VCard4.published(nodes, account, bytesMax: bytesMax)
        case .bookmarks: await OlderBookmarks.tell(nodes)
        case .temp:
            let card: ByteBuffer?
            do throws(StoreError) { card = try await nodes.router.store.document(account, VCardTemp.key) } catch { return }
            guard let card, let element = try? parseElement(card, limits: .ownWriting, defaultNamespace: .none) else { return }
            await AvatarConversion.changed(element.root, nodes, account)
            await VCard4.changed(element.root, nodes)
        }
    }
}
