internal import MartletCore
internal import MartletXMPP

/// The writer's statements about uploaded files. Called within a transaction.
final class UploadWrites {
    private let connection: any SQLConnection
    private let insert, keep, delete, endSlots, endMoments, endKept: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        insert = try connection.prepare(
            """
            INSERT INTO upload (name, account, file_name, type, size, purpose, created, last_moment, slot_end, token, kept, sha256)
            SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM account WHERE id = $2 ON CONFLICT (name) DO NOTHING
            """)
        keep = try connection.prepare(
            "UPDATE upload SET slot_end = NULL, token = NULL, kept = $2, sha256 = $3 WHERE name = $1 AND kept IS NULL")
        delete = try connection.prepare("DELETE FROM upload WHERE name = $1")
        endSlots = try connection.prepare("DELETE FROM upload WHERE slot_end <= $1")
        endMoments = try connection.prepare("DELETE FROM upload WHERE last_moment <= $1 AND kept IS NOT NULL")
        endKept = try connection.prepare("DELETE FROM upload WHERE purpose = $1 AND kept <= $2")
    }

    func apply(_ change: UploadChange) throws(SQLError) {
        switch change {
        case .open(let upload): try open(upload)
        case .keep(let name, let since, let sha256): try keep(name, since: since, sha256)
        case .remove(let names):
            for name in names { try delete.run { $0.bind(name, at: 1) } }
        case .expire(let now, let keptSince): try expire(now, keptSince)
        }
    }

    private func open(_ upload: StoredUpload) throws(SQLError) {
        try insert.run {
            $0.bind(upload.name, at: 1)
            $0.bind(upload.account.raw, at: 2)
            $0.bind(upload.fileName, at: 3)
            $0.bind(upload.type, at: 4)
            $0.bind(Int64(upload.bytes), at: 5)
            $0.bind(Int64(upload.purpose.rawValue), at: 6)
            $0.bind(upload.created, at: 7)
            if let last = upload.expireBefore { $0.bind(last, at: 8) } else { $0.bindNull(at: 8) }
            $0.bind(upload.state)
        }
        guard connection.changes > 0 else { throw SQLError(.constraint, "the account is gone, or the name is taken: \(upload.name)") }
    }

    private func keep(_ name: String, since: Int64, _ sha256: [UInt8]) throws(SQLError) {
        try keep.run {
            $0.bind(name, at: 1)
            $0.bind(since, at: 2)
            $0.bind(sha256, at: 3)
        }
        guard connection.changes > 0 else { throw SQLError(.constraint, "there is no open slot \(name)") }
    }

    private func expire(_ now: Int64, _ keptSince: [UploadPurpose: Int64]) throws(SQLError) {
        for statement in [endSlots, endMoments] { try statement.run { $0.bind(now, at: 1) } }
        for (purpose, since) in keptSince {
            try endKept.run {
                $0.bind(Int64(purpose.rawValue), at: 1)
                $0.bind(since, at: 2)
            }
        }
    }
}

extension SQLStatement {
    /// From 9 on.
    fileprivate func bind(_ state: StoredUpload.State) {
        for parameter in 9...12 { bindNull(at: parameter) }
        switch state {
        case .open(let token, let ends):
            bind(ends, at: 9)
            bind(token, at: 10)
        case .kept(let since, let sha256):
            bind(since, at: 11)
            bind(sha256, at: 12)
        }
    }
}
