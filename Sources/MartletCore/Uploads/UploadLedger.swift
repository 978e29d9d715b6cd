/// What is being decided about uploads, and has not reached the store or is not to: slots that are being opened, files that are being moved.
/// Pure but for being shared; whoever shares it has a lock.
package struct UploadLedger: Sendable {
    /// How long the sum over a domain's files is believed, in milliseconds: it takes a look at every file.
    package static let domainUsageLifetime: Int64 = 60_000

    /// Slots that are being opened.
    private struct Opening: Sendable {
        var slots = 0
        var bytes = 0
    }
    private struct DomainUsage: Sendable {
        var usage: UploadUsage
        var until: Int64
    }

    private var opening: [AccountID: Opening] = [:]
    private var openingOfDomain: [String: Int] = [:]
    private var domains: [String: DomainUsage] = [:]
    /// Names of what is being uploaded.
    private var uploading: [String: AccountID] = [:]
    private var downloading: [AccountID: Int] = [:]
    /// The same by those who are given the files.
    private var downloadingTo: [String: Int] = [:]
    package private(set) var downloads = 0

    package init() {}

    package var uploads: Int { uploading.count }
    package func isUploading(_ name: String) -> Bool { uploading[name] != nil }

    // MARK: Slots

    /// A slot is going to be decided about. What the store says next has everything that is not counted here any more: so of two that are decided
    /// about side by side one at least sees the other.
    ///
    /// - Returns: what is being opened besides.
    package mutating func beginSlot(of account: AccountID, in domain: String, bytes: Int) -> (account: UploadUsage, domainBytes: Int) {
        let before = opening[account, default: Opening()]
        var usage = UploadUsage()
        (usage.openSlots, usage.bytes, usage.recentBytes) = (before.slots, before.bytes, before.bytes)
        opening[account] = Opening(slots: before.slots + 1, bytes: before.bytes + bytes)
        defer { openingOfDomain[domain, default: 0] += bytes }
        return (usage, openingOfDomain[domain, default: 0])
    }

    /// It is in the store, or is not going to be.
    package mutating func endSlot(of account: AccountID, in domain: String, bytes: Int) {
        let rest = opening[account, default: Opening()]
        opening[account] = rest.slots > 1 ? Opening(slots: rest.slots - 1, bytes: rest.bytes - bytes) : nil
        let bytes = openingOfDomain[domain, default: 0] - bytes
        openingOfDomain[domain] = bytes > 0 ? bytes : nil
    }

    /// What is known of a domain; `nil` if it has to be read.
    package func usage(of domain: String, now: Int64) -> UploadUsage? {
        guard let known = domains[domain], now < known.until, now >= known.until - Self.domainUsageLifetime else { return nil }
        return known.usage
    }

    /// - Parameter openingBytes: of slots that were being opened when the store was asked.
    package mutating func set(_ usage: UploadUsage, of domain: String, openingBytes: Int, now: Int64) {
        var usage = usage
        usage.bytes += openingBytes
        usage.recentBytes += openingBytes
        domains[domain] = DomainUsage(usage: usage, until: now + Self.domainUsageLifetime)
    }

    package mutating func add(_ bytes: Int, toDomain domain: String) {
        domains[domain]?.usage.bytes += bytes
        domains[domain]?.usage.recentBytes += bytes
    }

    // MARK: Transfers

    package enum Refusal: Hashable, Sendable {
        /// The same file is being uploaded.
        case alreadyUploading
        case tooManyOfAccount
        case tooManyToNetwork
        case tooMany
    }

    package mutating func beginUpload(_ name: String, of account: AccountID, _ settings: UploadSettings) -> Refusal? {
        guard uploading[name] == nil else { return .alreadyUploading }
        guard uploading.count < settings.uploadsMax else { return .tooMany }
        guard uploading.values.count(where: { $0 == account }) < settings.accountTransfersMax else { return .tooManyOfAccount }
        uploading[name] = account
        return nil
    }

    package mutating func endUpload(_ name: String) { uploading[name] = nil }

    /// - Parameter network: where whoever asks is; `nil` if that is not known.
    package mutating func beginDownload(of account: AccountID, to network: String?, _ settings: UploadSettings) -> Refusal? {
        guard downloads < settings.downloadsMax else { return .tooMany }
        let neighbours = network.map { downloadingTo[$0, default: 0] } ?? 0
        guard neighbours < settings.networkDownloadsMax else { return .tooManyToNetwork }
        let count = downloading[account, default: 0]
        guard count < settings.accountDownloadsMax else { return .tooManyOfAccount }
        downloads += 1
        downloading[account] = count + 1
        if let network { downloadingTo[network] = neighbours + 1 }
        return nil
    }

    package mutating func endDownload(of account: AccountID, to network: String?) {
        guard let count = downloading[account] else { return }
        downloads -= 1
        downloading[account] = count > 1 ? count - 1 : nil
        guard let network, let neighbours = downloadingTo[network] else { return }
        downloadingTo[network] = neighbours > 1 ? neighbours - 1 : nil
    }
}
