internal import MartletCore
internal import MartletXMPP

/// A reader's statements about uploaded files.
final class UploadReads {
    private let named, ofAccount, ofAll, allOwners, accountUsage, domainUsage: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        let columns = """
            SELECT a.domainpart, a.localpart, u.name, u.account, u.file_name, u.type, u.size, u.purpose, u.created, u.last_moment, u.slot_end,
                u.token, u.kept, u.sha256
            FROM upload u JOIN account a ON a.id = u.account
            """
        named = try connection.prepare("\(columns) WHERE u.name = $1")
        ofAccount = try connection.prepare("\(columns) WHERE u.account = $3 AND u.name > $1 ORDER BY u.name LIMIT $2")
        ofAll = try connection.prepare("\(columns) WHERE u.name > $1 ORDER BY u.name LIMIT $2")
        allOwners = try connection.prepare("SELECT DISTINCT account FROM upload")
        let usage = """
            SELECT COUNT(*), COALESCE(SUM(u.size), 0), COUNT(u.slot_end), MIN(u.slot_end),
                COALESCE(SUM(CASE WHEN u.created >= $2 THEN u.size END), 0), MIN(CASE WHEN u.created >= $2 THEN u.created END)
            FROM upload u
            """
        let counts = "(u.slot_end IS NULL OR u.slot_end > $1)"
        accountUsage = try connection.prepare("\(usage) WHERE u.account = $3 AND \(counts)")
        domainUsage = try connection.prepare("\(usage) JOIN account a ON a.id = u.account WHERE a.domainpart = $3 AND \(counts)")
    }

    func upload(named name: String) throws(SQLError) -> StoredUpload? { try named.first({ $0.bind(name, at: 1) }, Self.upload) }

    func uploads(of account: AccountID?, after: String, limit: Int) throws(SQLError) -> [StoredUpload] {
        try (account == nil ? ofAll : ofAccount).rows({
            $0.bind(after, at: 1)
            $0.bind(Int64(max(0, limit)), at: 2)
            if let account { $0.bind(account.raw, at: 3) }
        }, Self.upload)
    }

    func owners() throws(SQLError) -> [AccountID] { try allOwners.rows { AccountID(raw: $0.integer(0)) } }

    func usage(of scope: UploadScope, now: Int64, since: Int64) throws(SQLError) -> UploadUsage {
        switch scope {
        case .account(let id): try usage(accountUsage, now, since) { $0.bind(id.raw, at: 3) }
        case .domain(let domain): try usage(domainUsage, now, since) { $0.bind(domain, at: 3) }
        }
    }

    private func usage(
        _ statement: any SQLStatement, _ now: Int64, _ since: Int64, _ bind: (any SQLStatement) -> Void
    ) throws(SQLError) -> UploadUsage {
        try statement.first({
            $0.bind(now, at: 1)
            $0.bind(since, at: 2)
            bind($0)
        }) { row in
            var usage = UploadUsage()
            usage.openSlots = Int(row.integer(2))
            usage.files = Int(row.integer(0)) - usage.openSlots
            usage.bytes = Int(row.integer(1))
            usage.firstEnd = row.optionalInteger(3)
            usage.recentBytes = Int(row.integer(4))
            usage.firstRecent = row.optionalInteger(5)
            return usage
        } ?? UploadUsage()
    }

    private static func upload(_ row: any SQLStatement) throws(SQLError) -> StoredUpload {
        guard let purpose = UploadPurpose(rawValue: Int(row.integer(7))) else { throw SQLError(.corrupt, "the purpose of an upload") }
        let state: StoredUpload.State =
            row.isNull(12) ? .open(token: row.bytes(11), ends: row.integer(10)) : .kept(since: row.integer(12), sha256: row.bytes(13))
        return StoredUpload(
            name: row.text(2), account: AccountID(raw: row.integer(3)), owner: try row.address(parts: 0), fileName: row.text(4),
            type: row.optionalText(5), bytes: Int(row.integer(6)), purpose: purpose, created: row.integer(8), expireBefore: row.optionalInteger(9),
            state: state)
    }
}

extension SQLStatement {
    fileprivate func optionalInteger(_ column: Int) -> Int64? { isNull(column) ? nil : integer(column) }
}
