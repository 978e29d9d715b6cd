internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// The writer's statements about rooms. Called within a transaction.
final class RoomWrites {
    private let connection: any SQLConnection
    private let countCreated, insertRoom, setRecord, putAffiliation, deleteAffiliation, deleteRoom, putDocument, deleteDocument: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        countCreated = try connection.prepare("SELECT COUNT(*) FROM (SELECT 1 FROM room WHERE creator = $1 LIMIT $2) AS created")
        insertRoom = try connection.prepare(
            """
            INSERT INTO room (id, domainpart, localpart, created, persistent, public, name, description, content, creator)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (domainpart, localpart) DO NOTHING
            """)
        setRecord = try connection.prepare(
            "UPDATE room SET persistent = $2, public = $3, name = $4, description = $5, content = $6 WHERE id = $1")
        putAffiliation = try connection.prepare(
            """
            INSERT INTO room_affiliation (room, address, affiliation, nickname, reason, version, details)
            SELECT id, $2, $3, $4, $5, $6, $7 FROM room WHERE id = $1
            ON CONFLICT (room, address) DO UPDATE SET affiliation = excluded.affiliation, nickname = excluded.nickname,
                reason = excluded.reason, version = excluded.version, details = excluded.details
            """)
        deleteAffiliation = try connection.prepare("DELETE FROM room_affiliation WHERE room = $1 AND address = $2")
        deleteRoom = try connection.prepare("DELETE FROM room WHERE id = $1")
        putDocument = try connection.prepare(
            """
            INSERT INTO room_document (room, namespace, name, content) SELECT id, $2, $3, $4 FROM room WHERE id = $1
            ON CONFLICT (room, namespace, name) DO UPDATE SET content = excluded.content
            """)
        deleteDocument = try connection.prepare("DELETE FROM room_document WHERE room = $1 AND namespace = $2 AND name = $3")
    }

    /// - Parameter id: a number that was never given.
    func create(
        _ address: BareJID, _ record: RoomRecord, _ affiliations: [StoredAffiliation], by creator: RoomCreator?, as id: Int64, now: Int64
    ) throws(SQLError) {
        guard !address.isDomain else { throw SQLError(.constraint, "a room has a localpart: \(address)") }
        if let creator { try checkCount(creator) }
        try insertRoom.run {
            $0.bind(id, at: 1)
            $0.bind(partsOf: address, at: 2)
            $0.bind(now, at: 4)
            $0.bind(record, at: 5)
            $0.bind(creator?.account.description, at: 10)
        }
        guard connection.changes > 0 else { throw SQLError(.constraint, "the room exists: \(address)") }
        for affiliation in affiliations { try set(affiliation, in: AccountID(raw: id)) }
    }

    /// Looks at no more rooms than it takes to know.
    private func checkCount(_ creator: RoomCreator) throws(SQLError) {
        let count = try countCreated.first({
            $0.bind(creator.account.description, at: 1)
            $0.bind(Int64(creator.roomsMax), at: 2)
        }) { Int($0.integer(0)) }
        guard count ?? 0 < creator.roomsMax else { throw SQLError(.constraint, "\(creator.account) has \(creator.roomsMax) rooms") }
    }

    func set(_ record: RoomRecord, of room: AccountID) throws(SQLError) {
        try setRecord.run {
            $0.bind(room.raw, at: 1)
            $0.bind(record, at: 2)
        }
    }

    func set(_ affiliation: StoredAffiliation, in room: AccountID) throws(SQLError) {
        let version = try WriteStatements.signed(affiliation.version)
        try putAffiliation.run {
            $0.bind(room.raw, at: 1)
            $0.bind(affiliation.address, at: 2)
            $0.bind(Int64(affiliation.affiliation), at: 3)
            $0.bind(affiliation.nickname, at: 4)
            $0.bind(affiliation.reason, at: 5)
            $0.bind(version, at: 6)
            if let details = affiliation.details { $0.bind(details, at: 7) } else { $0.bindNull(at: 7) }
        }
    }

    func removeAffiliation(of address: JID, in room: AccountID) throws(SQLError) {
        try deleteAffiliation.run {
            $0.bind(room.raw, at: 1)
            $0.bind(address, at: 2)
        }
    }

    /// - Returns: whether there was such a room.
    func delete(_ room: AccountID) throws(SQLError) -> Bool {
        try deleteRoom.run { $0.bind(room.raw, at: 1) }
        return connection.changes > 0
    }

    /// - Returns: whether there is such a room.
    func put(_ content: ByteBuffer, as key: DocumentKey, of room: AccountID) throws(SQLError) -> Bool {
        try putDocument.run {
            $0.bind(key, of: room)
            $0.bind(content, at: 4)
        }
        return connection.changes > 0
    }

    func removeDocument(_ key: DocumentKey, of room: AccountID) throws(SQLError) {
        try deleteDocument.run { $0.bind(key, of: room) }
    }
}

extension SQLStatement {
    fileprivate func bind(_ record: RoomRecord, at parameter: Int) {
        bind(record.isPersistent, at: parameter)
        bind(record.isPublic, at: parameter + 1)
        bind(record.name, at: parameter + 2)
        bind(record.description, at: parameter + 3)
        bind(record.content, at: parameter + 4)
    }

    func bind(_ address: JID, at parameter: Int) {
        address.withUTF8 { bind(text: $0, at: parameter) }
    }

    /// The owner at 1, namespace and name after it.
    func bind(_ key: DocumentKey, of owner: AccountID) {
        bind(owner.raw, at: 1)
        bind(key.namespace, at: 2)
        bind(key.key, at: 3)
    }
}
