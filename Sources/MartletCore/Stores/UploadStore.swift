package import MartletXMPP

/// What a file is uploaded for (XEP-0363 §5). The numbers are on disk.
package enum UploadPurpose: Int, Hashable, Sendable, CaseIterable {
    case message, profile, ephemeral, permanent

    /// As in the XEP.
    package var name: String {
        switch self {
        case .message: "message"
        case .profile: "profile"
        case .ephemeral: "ephemeral"
        case .permanent: "permanent"
        }
    }
}

/// Names that the server gives to what is uploaded: 128 random bits as 32 hexadecimal digits in lower case.
package enum UploadName {
    package static func isValid(_ name: some StringProtocol) -> Bool {
        name.utf8.count == 32
            && name.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
    }
}

/// A file that an account has uploaded or, until it has, may upload (XEP-0363). It is there before any byte of the file, and goes before them:
/// bytes that nothing speaks for belong to nobody.
package struct StoredUpload: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        /// Whoever has the token may put the file there until the slot ends, in milliseconds since 1970.
        ///
        /// - Parameter token: SHA-256 of it.
        case open(token: [UInt8], ends: Int64)
        /// The file is there, whole and on disk, since that time.
        case kept(since: Int64, sha256: [UInt8])
    }

    /// 128 random bits as 32 hexadecimal digits: who knows them may have the file.
    package var name: String
    package var account: AccountID
    /// Of the account. Where a slot is opened, the number alone counts.
    package var owner: BareJID
    /// As its owner calls it.
    package var fileName: String
    /// As its owner has said, in lower case, such as `image/png`.
    package var type: String?
    package var bytes: Int
    package var purpose: UploadPurpose
    /// When the slot was opened, in milliseconds since 1970.
    package var created: Int64
    /// From then on nobody gets the file, whatever else is said of its purpose (§5.3).
    package var expireBefore: Int64?
    package var state: State

    package init(
        name: String, account: AccountID, owner: BareJID, fileName: String, type: String? = nil, bytes: Int, purpose: UploadPurpose = .message,
        created: Int64, expireBefore: Int64? = nil, state: State
    ) {
        self.name = name
        self.account = account
        self.owner = owner
        self.fileName = fileName
        self.type = type
        self.bytes = bytes
        self.purpose = purpose
        self.created = created
        self.expireBefore = expireBefore
        self.state = state
    }

    package var isKept: Bool {
        switch state {
        case .open: false
        case .kept: true
        }
    }

    package var key: FileKey { FileKey(owner: account, name: name) }
}

/// One change to what is uploaded.
package enum UploadChange: Sendable {
    /// Opens a slot. Refused with ``StoreError/constraint(_:)`` if the account is gone or the name is taken.
    case open(StoredUpload)
    /// The file of an open slot is where it belongs. Refused with ``StoreError/constraint(_:)`` if there is no such slot any more.
    case keep(String, since: Int64, sha256: [UInt8])
    /// Files and slots are forgotten, as far as they are there.
    case remove([String])
    /// What has ended is forgotten: slots, files with a last moment of their own, and those of a purpose that are kept since that time or longer.
    case expire(now: Int64, keptSince: [UploadPurpose: Int64])
}

/// How much somebody has uploaded, in what counts for quotas: files, and slots that have not ended.
package struct UploadUsage: Hashable, Sendable {
    package var files = 0
    package var bytes = 0
    /// Slots that wait for their files.
    package var openSlots = 0
    /// When the first of those ends, in milliseconds since 1970.
    package var firstEnd: Int64?
    /// Bytes of what was opened since the time that was asked about.
    package var recentBytes = 0
    /// When the first of that was opened.
    package var firstRecent: Int64?

    package init() {}
}

package enum UploadScope: Hashable, Sendable {
    case account(AccountID)
    /// All accounts of a domain.
    case domain(String)
}

/// What is known of uploaded files; their bytes are elsewhere (``FileStore``). Everything reads including whatever was submitted before the call.
package protocol UploadStore: Sendable {
    /// A slot or a file; `nil` if there is none of that name.
    func upload(named name: String) async throws(StoreError) -> StoredUpload?
    /// Those of one account or of all, in the order of their names, behind `after`.
    func uploads(of account: AccountID?, after: String, limit: Int) async throws(StoreError) -> [StoredUpload]
    /// Accounts that have slots or files, in no order.
    func uploadOwners() async throws(StoreError) -> [AccountID]
    /// - Parameters:
    ///   - now: slots that have ended by then do not count; in milliseconds since 1970.
    ///   - since: what is recent.
    func uploadUsage(of scope: UploadScope, now: Int64, since: Int64) async throws(StoreError) -> UploadUsage
}
