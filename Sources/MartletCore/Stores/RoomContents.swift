package import MartletXMPP
package import NIOCore

extension StoreContents {
    /// A room, as plain values: what each ``RoomChange`` means and what each read of rooms answers.
    package struct Room: Sendable {
        package var id: AccountID
        package var address: BareJID
        package var created: Int64
        package var record: RoomRecord
        package var creator: BareJID?
        package var affiliations: [JID: StoredAffiliation]
        package var documents: [DocumentKey: ByteBuffer] = [:]
        package var archive = StoredArchive()

        init(id: AccountID, address: BareJID, created: Int64, record: RoomRecord, affiliations: [StoredAffiliation], creator: BareJID?) {
            self.id = id
            self.address = address
            self.created = created
            self.record = record
            self.creator = creator
            self.affiliations = Dictionary(affiliations.map { ($0.address, $0) }) { _, later in later }
        }
    }
}

extension StoreContents.Room {
    package func stored(history: Int) -> StoredRoom {
        StoredRoom(
            id: id, record: record, created: created,
            affiliations: affiliations.values.sorted { $0.address.description.utf8.lexicographicallyPrecedes($1.address.description.utf8) },
            lastViewID: archive.lastView, history: archive.last(history))
    }

    fileprivate var summary: RoomSummary {
        RoomSummary(
            id: id, address: address, isPersistent: record.isPersistent, isPublic: record.isPublic, name: record.name,
            description: record.description, created: created, content: record.content)
    }
}

extension StoreContents {
    package func grantors(to account: BareJID) -> Set<BareJID> {
        let rooms = rooms.values.filter { $0.affiliations.values.contains { $0.affiliation > 0 && $0.address.bare == account } }.map(\.address)
        return Set(rooms + nodes.grantors(to: account).compactMap { address(of: $0) })
    }

    /// `nil` if the account is gone.
    private func address(of owner: NodeOwner) -> BareJID? {
        switch owner {
        case .service(let domain): try? BareJID(parsing: domain)
        case .account(let id): self[id]?.address
        }
    }

    package func page(_ request: RoomListRequest) -> RoomPage {
        let candidates = rooms.values.filter { request.includes($0.address) }.sorted { $0.address.precedes($1.address) }
        var builder = RoomPageBuilder(request)
        for room in request.isBackwards ? candidates.reversed() : candidates {
            if builder.isDone { break }
            builder.look(at: room.summary)
        }
        return builder.page()
    }

    package func roomCount(domain: String, isPublic: Bool?) -> Int {
        rooms.values.count { $0.address.domainpart == domain && (isPublic == nil || $0.record.isPublic == isPublic) }
    }
}

extension RoomListRequest {
    /// Whether the address alone lets a room through.
    fileprivate func includes(_ address: BareJID) -> Bool {
        guard address.domainpart == domain, let localpart = address.localpart?.utf8 else { return false }
        if let after, !(after.localpart ?? "").utf8.lexicographicallyPrecedes(localpart) { return false }
        if let before, !localpart.lexicographicallyPrecedes((before.localpart ?? "").utf8) { return false }
        return true
    }
}
