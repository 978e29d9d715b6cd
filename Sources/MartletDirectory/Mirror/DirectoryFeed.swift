package import MartletCore
package import MartletLDAP

/// One thing that a directory says of the entries that were asked for.
package enum DirectoryChange: Hashable, Sendable {
    /// The entry is there and looks like this: it is new, or has changed, or is as it was.
    case entry(EntryUUID, LDAPEntry)
    /// The entry is gone, or none of those that were asked for any more.
    case gone(EntryUUID)
    /// The same, where nothing is said but the name that the entry had.
    case goneNamed(String)
}

/// What is gone as a refresh, a full reading or a sweep has found, now that it is complete.
package struct RefreshEnd: Hashable, Sendable {
    /// Entries that were said to be gone.
    package var gone: Set<EntryUUID>
    /// All that are there, where the server has gone through all of them: whatever else is mirrored is gone.
    package var there: Set<EntryUUID>?

    package init(gone: Set<EntryUUID> = [], there: Set<EntryUUID>? = nil) {
        self.gone = gone
        self.there = there
    }

    package func removes(_ uuid: EntryUUID) -> Bool { gone.contains(uuid) || there.map { !$0.contains(uuid) } ?? false }
}

/// A search that follows a directory, or a step of it.
package enum FeedSearch: Hashable, Sendable {
    /// RFC 4533, `refreshAndPersist`, from where the cookie says; without one from the beginning.
    case contentSync(cookie: [UInt8]?)
    /// Changes from now on (draft-ietf-ldapext-psearch-03, `changesOnly`). Goes on beside the others.
    case persistentSearch
    /// That an entry was changed which is none of those that are asked for, and may have been one. Goes on beside the others as well.
    case persistentSearchOfOthers
    /// Every entry, in pages.
    case everything
    /// Entries that were changed since.
    case changed(since: ChangeMark)
    /// The UUIDs of all entries and nothing else, in pages.
    case identifiers
}

/// Where a poll begins.
package enum ChangeMark: Hashable, Sendable {
    /// Milliseconds since 1970, by the server's clock.
    case modifyTimestamp(Int64)
    /// `uSNChanged` of Active Directory: counts the changes of one server.
    case updateSequenceNumber(Int64)
}

/// What is to be done after a message of the directory: in this order.
package enum FeedEffect: Hashable, Sendable {
    case change(DirectoryChange)
    /// Until now nothing that a refresh did not mention was gone.
    case refreshed(RefreshEnd)
    /// All before it has been said: a later refresh may begin there.
    case keepCookie([UInt8])
    case search(FeedSearch)
    /// The connection is of no use any more: it is closed and opened anew after a while. Nothing that is mirrored is given up.
    case failed(FeedFault)
}

/// Why a directory cannot be followed at the moment.
package enum FeedFault: Error, Hashable, Sendable {
    /// The server ended a search with this.
    case result(LDAPResultCode)
    /// The server ended a search without saying where it is.
    case endedEarly
    /// More entries than ``FeedLimits/entriesMax``.
    case tooManyEntries
}

extension FeedFault: CustomStringConvertible {
    package var description: String {
        switch self {
        case .result(let code): "the server has ended the search with result \(code.rawValue)"
        case .endedEarly: "the server has ended the search"
        case .tooManyEntries: "it has more than \(FeedLimits.entriesMax) entries"
        }
    }
}

package enum FeedLimits {
    /// Entries of one search. Of each that a refresh mentions its UUID is remembered until the refresh is over.
    package static let entriesMax = 1_000_000
    /// Octets of a cookie; it is kept, and sent back. The 389 Directory Server puts its own name, the base and the filter into it.
    package static let cookieBytesMax = 16_384
}

/// How changes are found out.
package enum ChangeDetection: Hashable, Sendable {
    /// At once, and those made while there was no connection as well: OpenLDAP, 389.
    case contentSync
    /// At once, but only while connected: 389, OpenDJ, eDirectory.
    case persistentSearch
    /// After a while: anything else. Of Active Directory by `uSNChanged`.
    case polling(ChangeMark.Kind)

    /// The best of what the server offers.
    ///
    /// - Parameter controls: `supportedControl` of its root DSE (RFC 4512 §5.1).
    package init(supportedControls controls: some Collection<String>) {
        if controls.contains(Self.contentSyncControl) {
            self = .contentSync
        } else if controls.contains(Self.persistentSearchControl) {
            self = .persistentSearch
        } else {
            self = .polling(controls.contains(Self.activeDirectoryNotificationControl) ? .updateSequenceNumber : .modifyTimestamp)
        }
    }

    private static let contentSyncControl = "1.3.6.1.4.1.4203.1.9.1.1"
    private static let persistentSearchControl = "2.16.840.1.113730.3.4.3"
    private static let activeDirectoryNotificationControl = "1.2.840.113556.1.4.528"
}

extension ChangeMark {
    package enum Kind: Hashable, Sendable { case modifyTimestamp, updateSequenceNumber }

    package init(_ kind: Kind, _ value: Int64) {
        switch kind {
        case .modifyTimestamp: self = .modifyTimestamp(value)
        case .updateSequenceNumber: self = .updateSequenceNumber(value)
        }
    }
}
