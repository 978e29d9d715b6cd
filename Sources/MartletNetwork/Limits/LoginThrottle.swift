package import MartletXMPP
package import NIOCore

/// Slows down whoever guesses passwords: answers come later, the more the more attempts failed lately. Nobody is ever locked out,
/// since a delay has an upper end. Pure: time is a parameter.
///
/// An attempt takes a token from the bucket of its address and one from that of its account when it begins, and gets them back when it
/// succeeds; so attempts side by side gain nothing. An attempt that finds a bucket empty waits for the tokens that are missing.
package struct LoginThrottle: Sendable {
    package struct Settings: Hashable, Sendable {
        /// Failures of one address (/32, /64) that are answered at once.
        package var failuresPerAddressMax = 20
        /// For how long one of them counts.
        package var recoveryPerAddress = TimeAmount.seconds(10)
        /// Failures of one account, whoever tried.
        package var failuresPerAccountMax = 10
        package var recoveryPerAccount = TimeAmount.seconds(30)
        /// Longest delay of an answer; well below the login deadline, so that the owner of an attacked account gets in.
        package var delayMax = TimeAmount.seconds(10)
        /// Addresses, and accounts, that are remembered at a time.
        package var entriesMax = 65_536
        package init() {}
    }

    private var addresses: BucketTable<NetworkAddress>
    private var accounts: BucketTable<BareJID>
    private let delayMax: TimeAmount

    package init(_ settings: Settings = Settings()) {
        delayMax = settings.delayMax
        addresses = BucketTable(settings.failuresPerAddressMax, settings.recoveryPerAddress, settings.delayMax, settings.entriesMax)
        accounts = BucketTable(settings.failuresPerAccountMax, settings.recoveryPerAccount, settings.delayMax, settings.entriesMax)
    }

    /// An attempt begins.
    ///
    /// - Parameter account: `nil` if only its success will say whose it is.
    /// - Returns: how long its answer has to wait.
    package mutating func begin(_ address: NetworkAddress?, _ account: BareJID?, at now: NIODeadline) -> TimeAmount {
        let first = address.map { addresses.take($0.network, at: now) } ?? .zero
        let second = account.map { accounts.take($0, at: now) } ?? .zero
        return min(max(first, second), delayMax)
    }

    /// The attempt succeeded: it counts for nothing.
    ///
    /// - Parameter account: with which it began.
    package mutating func succeed(_ address: NetworkAddress?, _ account: BareJID?, at now: NIODeadline) {
        if let address { addresses.giveBack(address.network, at: now) }
        if let account { accounts.giveBack(account, at: now) }
    }

    /// How long the answer to an attempt would have to wait that begins now, because of its address and because of its account.
    package func delays(_ address: NetworkAddress?, _ account: BareJID, at now: NIODeadline) -> (address: TimeAmount, account: TimeAmount) {
        (delay(address, at: now), min(accounts.delay(account, at: now), delayMax))
    }

    /// The same because of the address alone.
    package func delay(_ address: NetworkAddress?, at now: NIODeadline) -> TimeAmount {
        min(address.map { addresses.delay($0.network, at: now) } ?? .zero, delayMax)
    }

    package var entryCount: Int { addresses.count + accounts.count }
}

/// Token buckets by key, in bounded memory: when half of the room is used up, the older half of the keys is forgotten.
///
/// Somebody with tens of thousands of addresses can have himself forgotten so; he cannot have the account forgotten that he attacks,
/// which is in use.
struct BucketTable<Key: Hashable & Sendable>: Sendable {
    /// When the bucket will be full again: all there is to know of a token bucket.
    private var fullAt: [Key: NIODeadline] = [:]
    private var older: [Key: NIODeadline] = [:]
    private let capacity: Int64
    private let recovery: TimeAmount
    /// How far in debt a bucket can be.
    private let debtMax: TimeAmount
    private let entriesMax: Int

    init(_ capacity: Int, _ recovery: TimeAmount, _ debtMax: TimeAmount, _ entriesMax: Int) {
        self.capacity = Int64(max(capacity, 1))
        self.recovery = recovery
        self.debtMax = debtMax
        self.entriesMax = max(entriesMax, 2)
    }

    var count: Int { fullAt.count + older.count }

    mutating func take(_ key: Key, at now: NIODeadline) -> TimeAmount {
        let delay = delay(key, at: now)
        write(key, fullIfTaken(key, at: now))
        return delay
    }

    /// What whoever takes one now has to wait.
    func delay(_ key: Key, at now: NIODeadline) -> TimeAmount {
        let (full, empty) = (fullIfTaken(key, at: now), now + recovery * capacity)
        return full > empty ? full - empty : .zero
    }

    private func fullIfTaken(_ key: Key, at now: NIODeadline) -> NIODeadline {
        min(max(read(key) ?? now, now) + recovery, now + recovery * capacity + debtMax)
    }

    /// - Returns: whether there was one to take.
    mutating func takeIfAny(_ key: Key, at now: NIODeadline) -> Bool {
        let full = max(read(key) ?? now, now) + recovery
        guard full <= now + recovery * capacity else { return false }
        write(key, full)
        return true
    }

    mutating func giveBack(_ key: Key, at now: NIODeadline) {
        guard let full = read(key) else { return }
        write(key, max(full - recovery, now))
    }

    private func read(_ key: Key) -> NIODeadline? { fullAt[key] ?? older[key] }

    private mutating func write(_ key: Key, _ full: NIODeadline) {
        if fullAt.count >= entriesMax / 2, fullAt[key] == nil {
            older = fullAt
            fullAt = [:]
        }
        older[key] = nil
        fullAt[key] = full
    }
}
