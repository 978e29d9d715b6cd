internal import MartletCore
internal import MartletXMPP

/// The table of reports (XEP-0377). They go with the account that has made them. Numbers come from `meta.last_report`.
enum ReportTable {
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE report (
                id \(d.integer) PRIMARY KEY NOT NULL, account \(d.integer) NOT NULL REFERENCES account(id) ON DELETE CASCADE,
                time \(d.integer) NOT NULL, reported \(d.text) NOT NULL, reason \(d.text) NOT NULL, content \(d.bytes) NOT NULL) \(d.tableOptions)
            """,
            "CREATE INDEX report_of_account ON report (account, id)",
            "INSERT INTO meta (name, value) VALUES ('last_report', 0)",
        ]
    }
}

/// The writer's statements about reports. Called within a transaction.
final class ReportWrites {
    private let next, insert, trimAccount, trimAll, remove, exists: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        exists = try connection.prepare("SELECT 1 FROM account WHERE id = $1")
        next = try connection.prepare("UPDATE meta SET value = value + 1 WHERE name = 'last_report' RETURNING value")
        insert = try connection.prepare("INSERT INTO report (id, account, time, reported, reason, content) VALUES ($1, $2, $3, $4, $5, $6)")
        trimAccount = try connection.prepare(
            "DELETE FROM report WHERE account = $1 AND id <= (SELECT id FROM report WHERE account = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)")
        trimAll = try connection.prepare("DELETE FROM report WHERE id <= (SELECT id FROM report ORDER BY id DESC LIMIT 1 OFFSET $1)")
        remove = try connection.prepare("DELETE FROM report WHERE id = $1")
    }

    func apply(_ change: ReportChange) throws(SQLError) {
        switch change {
        case .add(let report, let limits): try add(report, limits)
        case .remove(let ids):
            for id in ids { try remove.run { $0.bind(id, at: 1) } }
        }
    }

    private func add(_ report: StoredReport, _ limits: ReportLimits) throws(SQLError) {
        guard try exists.first({ $0.bind(report.account.raw, at: 1) }, { _ in true }) == true else {
            throw SQLError(.constraint, "no account has the number \(report.account.raw)")
        }
        guard let id = try next.first({ _ in }, { $0.integer(0) }) else { throw SQLError(.corrupt, "meta has no last_report") }
        try insert.run {
            $0.bind(id, at: 1)
            $0.bind(report.account.raw, at: 2)
            $0.bind(report.time, at: 3)
            $0.bind(report.reported.description, at: 4)
            $0.bind(report.reason, at: 5)
            $0.bind(report.content, at: 6)
        }
        try trimAccount.run {
            $0.bind(report.account.raw, at: 1)
            $0.bind(Int64(limits.perAccountMax), at: 2)
        }
        try trimAll.run { $0.bind(Int64(limits.inAllMax), at: 1) }
    }
}

/// A reader's statements about reports.
final class ReportReads {
    private let page, one: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        let select = """
            SELECT a.domainpart, a.localpart, r.id, r.account, r.time, r.reported, r.reason, r.content FROM report r JOIN account a ON a.id = r.account
            """
        page = try connection.prepare("\(select) WHERE r.id < $1 ORDER BY r.id DESC LIMIT $2")
        one = try connection.prepare("\(select) WHERE r.id = $1")
    }

    func reports(before: Int64?, limit: Int) throws(SQLError) -> [StoredReport] {
        try page.rows({
            $0.bind(before ?? .max, at: 1)
            $0.bind(Int64(max(0, limit)), at: 2)
        }, Self.report)
    }

    func report(_ id: Int64) throws(SQLError) -> StoredReport? { try one.first({ $0.bind(id, at: 1) }, Self.report) }

    private static func report(_ row: any SQLStatement) throws(SQLError) -> StoredReport {
        StoredReport(
            id: row.integer(2), time: row.integer(4), account: AccountID(raw: row.integer(3)), reporter: try row.address(parts: 0),
            reported: try row.anyAddress(5), reason: row.text(6), content: row.buffer(7))
    }
}
