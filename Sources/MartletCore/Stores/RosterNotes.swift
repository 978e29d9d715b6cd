package import MartletXMPP

/// Something about a roster that is copied to a directory, and was not said there yet.
///
/// Notes name what has changed, not how: what it is now is in the roster. So they stay few however often something changes meanwhile.
package struct RosterNote: Hashable, Sendable {
    package enum Subject: Hashable, Sendable {
        /// There is an account: what there is of its roster here and there is put together.
        case arrival
        /// The contact's item has changed, or is gone.
        case item(BareJID)
        /// Any item of the roster may have: there were more than ``RosterNote/itemsMax`` notes of single ones.
        case roster
        /// There is no such account any more, and nothing of its roster is to be left; who comes after it inherits nothing.
        case departure
    }

    /// Notes of single items that an account has; beyond, one note stands for all of them. A roster is of this size, or little larger.
    package static let itemsMax = 1_000

    /// In the order of commits. Never given twice.
    package var sequence: UInt64
    package var account: BareJID
    package var subject: Subject
    /// When it was noted, in milliseconds since 1970.
    package var time: Int64

    package init(sequence: UInt64, account: BareJID, subject: Subject, time: Int64) {
        self.sequence = sequence
        self.account = account
        self.subject = subject
        self.time = time
    }
}

package enum RosterCopyChange: Hashable, Sendable {
    /// Rosters of accounts of these domains are copied from now on, and no others. Each account of a domain that is new among them has arrived; of
    /// one that is not among them any more notes are forgotten.
    case domains(Set<String>)
    /// What a note says has been said. Nothing happens if the same has been noted again since.
    case settled(UInt64)
}

/// Notes about rosters that are copied. Whatever changes the roster of an account of such a domain, whoever wants it, is noted in the same commit.
package protocol RosterNoteStore: Sendable {
    /// Notes about the accounts of a domain, in order, after `after`; at most `limit`. Including whatever was submitted before the call.
    func rosterNotes(domain: String, after: UInt64, limit: Int) async throws(StoreError) -> [RosterNote]
    /// The notes about one account, in order, including whatever was submitted before the call.
    func rosterNotes(of account: BareJID) async throws(StoreError) -> [RosterNote]
    func rosterNoteCount(domain: String) async throws(StoreError) -> Int
    /// Calls `handler` on some thread after commits in which something was noted.
    func onRosterNote(_ handler: @escaping @Sendable () -> Void)
}

/// Notes about rosters, as plain values.
package struct RosterNoteContents: Sendable {
    private var domains: Set<String> = []
    private var notes: [BareJID: [RosterNote.Subject: RosterNote]] = [:]
    /// Of the last note.
    private(set) var sequence: UInt64 = 0

    /// - Parameter accounts: all there are.
    mutating func apply(_ change: RosterCopyChange, accounts: some Sequence<BareJID>, now: Int64) {
        switch change {
        case .domains(let wanted):
            let new = wanted.subtracting(domains)
            domains = wanted
            notes = notes.filter { wanted.contains($0.key.domainpart) }
            for account in accounts.filter({ new.contains($0.domainpart) }).sorted(by: { $0.precedes($1) }) { add(.arrival, account, now) }
        case .settled(let sequence):
            guard let account = notes.first(where: { $0.value.values.contains { $0.sequence == sequence } })?.key else { return }
            notes[account] = notes[account]?.filter { $0.value.sequence != sequence }
        }
    }

    mutating func changed(_ contact: BareJID, of account: BareJID, now: Int64) {
        guard domains.contains(account.domainpart) else { return }
        if notes[account]?[.roster] != nil { return add(.roster, account, now) }
        add(.item(contact), account, now)
        guard notes[account]?.values.count(where: \.isItem) ?? 0 > RosterNote.itemsMax else { return }
        notes[account] = notes[account]?.filter { !$0.value.isItem }
        add(.roster, account, now)
    }

    mutating func arrived(_ account: BareJID, now: Int64) { if domains.contains(account.domainpart) { add(.arrival, account, now) } }

    mutating func departed(_ account: BareJID, now: Int64) {
        guard domains.contains(account.domainpart) else { return }
        notes[account] = nil
        add(.departure, account, now)
    }

    private mutating func add(_ subject: RosterNote.Subject, _ account: BareJID, _ now: Int64) {
        sequence += 1
        notes[account, default: [:]][subject] = RosterNote(sequence: sequence, account: account, subject: subject, time: now)
    }

    // MARK: Reads

    package func notes(domain: String, after: UInt64, limit: Int) -> [RosterNote] {
        let found = notes.filter { $0.key.domainpart == domain }.flatMap(\.value.values).filter { $0.sequence > after }
        return Array(found.sorted { $0.sequence < $1.sequence }.prefix(max(0, limit)))
    }

    package func notes(of account: BareJID) -> [RosterNote] { (notes[account] ?? [:]).values.sorted { $0.sequence < $1.sequence } }

    package func count(domain: String) -> Int { notes.reduce(0) { $0 + ($1.key.domainpart == domain ? $1.value.count : 0) } }
}

extension RosterNote {
    fileprivate var isItem: Bool { if case .item = subject { true } else { false } }
}
