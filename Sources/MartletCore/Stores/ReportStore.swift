package import MartletXMPP
package import NIOCore

/// What an account has told the operator of somebody it has blocked (XEP-0377).
package struct StoredReport: Hashable, Sendable {
    /// Counts from 1, in the order in which they came; never given twice. 0 until the store has it.
    package var id: Int64
    /// When it came, in milliseconds since 1970.
    package var time: Int64
    package var account: AccountID
    /// Of the account. Where a report is added, the number alone counts.
    package var reporter: BareJID
    /// Whom it is about.
    package var reported: JID
    /// As it was said: `urn:xmpp:reporting:spam`, `urn:xmpp:reporting:abuse`, or something that is not known here.
    package var reason: String
    /// All that was said, as the feature writes it.
    package var content: ByteBuffer

    package init(id: Int64 = 0, time: Int64, account: AccountID, reporter: BareJID, reported: JID, reason: String, content: ByteBuffer) {
        self.id = id
        self.time = time
        self.account = account
        self.reporter = reporter
        self.reported = reported
        self.reason = reason
        self.content = content
    }
}

/// How many reports are kept. Beyond, the oldest go: those of the same account, then of all. So one account keeps nobody else's away, and
/// what comes today is not lost because nobody has looked.
package struct ReportLimits: Hashable, Sendable {
    package var perAccountMax = 100
    package var inAllMax = 10_000
    package init() {}
}

package enum ReportChange: Hashable, Sendable {
    /// Refused with ``StoreError/constraint(_:)`` if the account is gone.
    case add(StoredReport, ReportLimits)
    /// As far as they are there.
    case remove([Int64])
}

/// Reports that operators look at. They go with the account that has made them.
package protocol ReportStore: Sendable {
    /// The latest first, those before `before`; at most `limit`. Including whatever was submitted before the call.
    func reports(before: Int64?, limit: Int) async throws(StoreError) -> [StoredReport]
    /// `nil` if there is none.
    func report(_ id: Int64) async throws(StoreError) -> StoredReport?
}

/// The same as plain values.
package struct ReportContents: Sendable {
    private var all: [Int64: StoredReport] = [:]
    private var lastID: Int64 = 0

    package init() {}

    package subscript(id: Int64) -> StoredReport? { all[id] }

    package func page(before: Int64?, limit: Int) -> [StoredReport] {
        let ids = all.keys.filter { id in before.map { id < $0 } ?? true }
        return ids.sorted(by: >).prefix(max(0, limit)).compactMap { all[$0] }
    }

    /// - Parameter address: of an account; `nil` if there is none of that number.
    mutating func apply(_ change: ReportChange, address: (AccountID) -> BareJID?) throws(StoreError) {
        switch change {
        case .add(var report, let limits):
            guard let reporter = address(report.account) else { throw .constraint("no account has the number \(report.account.raw)") }
            lastID += 1
            (report.id, report.reporter) = (lastID, reporter)
            all[lastID] = report
            keep(limits.perAccountMax) { $0.account == report.account }
            keep(limits.inAllMax) { _ in true }
        case .remove(let ids):
            for id in ids { all[id] = nil }
        }
    }

    private mutating func keep(_ most: Int, of isMeant: (StoredReport) -> Bool) {
        let ids = all.values.filter(isMeant).map(\.id).sorted()
        for id in ids.dropLast(max(0, most)) { all[id] = nil }
    }

    mutating func removeAll(of account: AccountID) { all = all.filter { $0.value.account != account } }
}
