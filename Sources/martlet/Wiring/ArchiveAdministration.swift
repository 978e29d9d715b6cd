import MartletCore
import MartletFeatures
import MartletStorage
import MartletXML
import MartletXMPP
import NIOCore

/// What operators do to archives of accounts and rooms: the same in a running server and on the data of one that does not run. Both are
/// audited: messages are their people's own.
struct ArchiveAdministration: Sendable {
    /// Messages of one answer.
    static let pageMax = 1_000

    let core: ServerCore
    let folder: String
    let rooms: RoomAdministration

    func answer(_ order: ArchiveOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .page(let address, let page): .archive(try await read(address, page, by: by))
        case .purge(let address, let before): try await purge(address, before, by: by)
        }
    }

    private func read(_ text: String, _ page: ArchiveOrder.Page, by: String) async throws(CommandFailure) -> ArchiveLines {
        let address = try AccountAddress.parse(text)
        let isRoom = rooms.isRoom(address)
        if isRoom, page.with != nil { throw CommandFailure(.usage, "--with is for archives of accounts: \(address) is a room") }
        let owner = try await owner(address)
        var request = ArchiveRequest(limit: Self.pageMax)
        request.after = page.after
        request.start = page.start
        request.end = page.end
        request.peer = try page.with.map { text throws(CommandFailure) in
            do throws(JIDError) { return try JID(text) } catch { throw CommandFailure(.data, "\(ConfigurationProblem.printable(text)) is not an address") }
        }
        if page.after == nil { core.router.audit.record(isRoom ? .roomRead(address, by: by) : .archiveRead(address, by: by)) }
        do throws(StoreError) {
            let found = try await isRoom ? core.store.archive(of: owner, request) : core.router.archive(of: address, owner, request)
            let messages = found?.messages ?? []
            return ArchiveLines(
                results: messages.compactMap { ArchiveAnswers.record($0).map { String(buffer: $0) } }, last: messages.last?.view,
                isComplete: found?.isComplete ?? true)
        } catch {
            throw CommandFailure(error, in: folder)
        }
    }

    private func purge(_ text: String, _ before: Int64?, by: String) async throws(CommandFailure) -> ControlResponse {
        let address = try AccountAddress.parse(text)
        let names = core.router.ids
        let now = core.time.wallMilliseconds
        let floor = before.map { names.last(before: $0) } ?? names.last(wallMilliseconds: now)
        if rooms.isRoom(address) {
            try await rooms.inRoom(address) { room, _, effects in room.forget(upTo: floor, &effects) }
            core.router.audit.record(.roomPurged(address, by: by))
            return .done
        }
        let account = try await owner(address)
        do throws(StoreError) { try await core.store.commit([.archiveFloor(account, upTo: floor)]) } catch { throw CommandFailure(error, in: folder) }
        core.router.audit.record(.archivePurged(address, by: by))
        return .done
    }

    private func owner(_ address: BareJID) async throws(CommandFailure) -> AccountID {
        if rooms.isRoom(address) { return try await rooms.number(of: address) }
        do throws(StoreError) {
            if let identity = try await core.store.credentials(of: address) { return identity.id }
        } catch {
            throw CommandFailure(error, in: folder)
        }
        throw CommandFailure(.noAccount, "there is no account \(address)")
    }
}
