package import MartletXMPP
internal import Synchronization

/// A moment between two changes of credentials on this server: what a stream remembers of when its account was asked about.
package struct CredentialMoment: Hashable, Sendable {
    fileprivate let number: UInt64

    /// Later than every change: for whoever was let in without credentials.
    package static let latest = CredentialMoment(number: .max)
}

/// Counts the changes that must not be outlived by an authentication: a new password, a disabled or deleted account.
///
/// A stream remembers ``now`` before its account source is asked, and may not bind a resource if its account changed later. Neither
/// has to be on disk or in the account's home, which may leave memory between the two: streams do not outlive the process, and the
/// shards, which keep what changed last, do not either.
package final class CredentialChanges: Sendable {
    private let count = Atomic<UInt64>(0)

    package init() {}

    package var now: CredentialMoment { CredentialMoment(number: count.load(ordering: .sequentiallyConsistent)) }

    /// To be called when the change is on disk, so that whoever asks from here on sees it. Takes the shard's lock.
    func changed(_ account: BareJID, in placement: Placement) {
        let shard = placement.shard(of: account)
        shard.withLock { changing(account, shard) }
    }

    /// Under the lock of the account's shard, in the step that submits the change: whoever was let in by what held before, and writes something that
    /// depends on it after the change, finds this when that is on disk.
    func changing(_ account: BareJID, _ shard: Shard) {
        // What devices have shown ends with it, and some of them do.
        shard.home(account)?.forgetDevices()
        shard.changedCredentials.note(account, at: CredentialMoment(number: count.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue))
    }
}

extension Router {
    /// Whether whoever was let in to an account at that moment would have to show anew who he is. Takes the shard's lock.
    package func credentials(of account: BareJID, haveChangedSince moment: CredentialMoment) -> Bool {
        let shard = placement.shard(of: account)
        return shard.withLock { shard.changedCredentials.hasChanged(account, since: moment) }
    }
}

/// The accounts of one shard whose credentials changed last.
struct RecentCredentialChanges {
    /// Accounts that are told apart. For those that changed longer ago the latest of their changes holds, which at worst asks a client
    /// to log in again.
    static let accountsMax = 8

    /// Oldest first.
    private var recent: [(account: BareJID, moment: CredentialMoment)] = []
    private var before = CredentialMoment(number: 0)

    mutating func note(_ account: BareJID, at moment: CredentialMoment) {
        recent.removeAll { $0.account == account }
        recent.append((account, moment))
        if recent.count > Self.accountsMax { before = recent.removeFirst().moment }
    }

    /// Whether the account changed after `moment`.
    func hasChanged(_ account: BareJID, since moment: CredentialMoment) -> Bool {
        let last = recent.last { $0.account == account }?.moment ?? before
        return last.number > moment.number
    }
}
