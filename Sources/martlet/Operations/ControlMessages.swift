package import MartletCore
package import MartletFeatures
package import MartletNetwork
import MartletXMPP

/// What commands ask of a running server, over its local socket: one request and one response, each a line of JSON.
package enum ControlProtocol {
    /// Both sides must be of the same one.
    package static let version = 1
    /// Longest request, in bytes.
    package static let requestBytesMax = 4 << 20
    /// Longest response, in bytes.
    package static let responseBytesMax = 64 << 20
    /// Accounts in one request or response.
    package static let accountsMax = 500
    /// Rooms, or affiliations of one room, in one response.
    package static let roomsMax = 500
    /// Uploaded files in one response.
    package static let uploadsMax = 500
    /// Reports in one response.
    package static let reportsMax = 500
    /// Messages of a room in one response.
    package static let messagesMax = 1_000
}

package struct ControlRequest: Codable, Hashable, Sendable {
    package var version = ControlProtocol.version
    /// Who asks, for the record.
    package var by: String
    package var order: ControlOrder

    package init(by: String, _ order: ControlOrder) {
        self.by = by
        self.order = order
    }

    /// What even a request of another version has.
    struct Head: Codable { var version: Int }
}

package enum ControlOrder: Codable, Hashable, Sendable {
    case status
    /// Of one account, or all.
    case sessions(of: String?)
    /// Of an account, or one of them if the address has a resource.
    case closeSessions(of: String)
    case logLevel(String)
    case reload
    case configuration
    case components
    case directory(DirectoryOrder)
    case accounts(domain: String?, after: String?)
    case account(AccountOrder)
    /// Created together or not at all.
    case create([NewAccount])
    case portable(PortableOrder)
    case archive(ArchiveOrder)
    case room(RoomOrder)
    case upload(UploadOrder)
    case report(ReportOrder)
    case device(DeviceOrder)
    case login(LoginQuestion)
    case applicationPassword(ApplicationPasswordOrder)
    case certificate(CertificateOrder)
    case federation(FederationOrder)
    case invitation(InvitationOrder)
}

/// About invitations (XEP-0401).
package enum InvitationOrder: Codable, Hashable, Sendable {
    package struct Making: Codable, Hashable, Sendable {
        /// The first domain, unless given.
        package var domain: String?
        /// The name that the account will have.
        package var name: String?
        /// Whose contact one becomes.
        package var contact: String?
        package var uses = 1
        /// For how long, in seconds; as configured, unless given.
        package var seconds: Int64?
        package init() {}
    }
    case make(Making)
    case list(domain: String?, after: String?)
    /// By its identifier, or the beginning of that.
    case revoke(String)
}

/// About other servers, by their domains.
package enum FederationOrder: Codable, Hashable, Sendable {
    /// Of one server and the domains below it, or of all.
    case report(about: String?)
    case close(String)
    /// Looks from a domain of ours, the first unless given, whether there can be a stream.
    case test(String, from: String?)
}

/// About the archive of one account or room.
package enum ArchiveOrder: Codable, Hashable, Sendable {
    /// What to read; times in milliseconds since 1970, both included.
    package struct Page: Codable, Hashable, Sendable {
        package var after: UInt64?
        package var with: String?
        package var start: Int64?
        package var end: Int64?
        package init() {}
    }
    case page(of: String, Page)
    /// Everything, or what is older than a point in time, in milliseconds since 1970.
    case purge(of: String, before: Int64?)
}

/// A page of an archive.
package struct ArchiveLines: Codable, Hashable, Sendable {
    /// Elements of XEP-0313.
    package var results: [String]
    /// Where the next page begins.
    package var last: UInt64?
    package var isComplete: Bool
}

/// One change to one account.
package enum AccountOrder: Codable, Hashable, Sendable {
    case setKeys(String, keys: [String])
    case setEnabled(String, Bool)
    case delete(String)
}

/// An account to be made. Keys are as `ScramKeys.text` writes them: passwords never pass the socket.
package struct NewAccount: Codable, Hashable, Sendable {
    package var address: String
    package var keys: [String]
    package var isAdmin: Bool

    package init(address: String, keys: [String], isAdmin: Bool = false) {
        self.address = address
        self.keys = keys
        self.isAdmin = isAdmin
    }
}

package enum ControlResponse: Codable, Hashable, Sendable {
    case done
    case status(ServerStatus)
    case sessions([SessionLine])
    case closed(Int)
    case accounts([AccountLine])
    case portable(PortablePage)
    case imported(PortableReport, lastView: UInt64)
    case archive(ArchiveLines)
    case rooms([RoomLine])
    case room(RoomReport)
    case affiliations([AffiliationLine])
    case history([UtteranceLine])
    case uploads([UploadLine])
    case reports([ReportLine])
    case devices([DeviceLine])
    case applicationPasswords([ApplicationPasswordLine])
    /// As `ScramKeys.text` writes them, with nothing that checks a password.
    case keys([String])
    case certificates([AccountCertificateLine])
    /// A device's tokens and sessions have ended; by what it can come back, if by anything.
    case revoked(DeviceRemainder?)
    case login(LoginExplanation)
    case blockLists([BlockListLine])
    /// How many.
    case deleted(Int)
    case federation(FederationReport)
    case invited(uri: String, page: String?, InvitationLine)
    case invitations([InvitationLine])
    case components([ComponentReport])
    case directories([DirectoryLine])
    case directoryEntry(DirectoryExplanation)
    /// Comes before the response, of a test.
    case step(DiagnosisStep)
    /// Whether all went well.
    case diagnosed(Bool)
    case reloaded(ReloadReport)
    case configuration(ConfigurationReport)
    case refused(status: Int32, message: String, hint: String?)

    package init(_ failure: CommandFailure) {
        self = .refused(status: failure.status.rawValue, message: failure.message, hint: failure.hint)
    }
}

package struct ServerStatus: Codable, Hashable, Sendable {
    package struct Certificate: Codable, Hashable, Sendable {
        package var domain: String
        /// Seconds since 1970.
        package var ends: Int
    }

    package var version: String
    package var process: Int32
    package var upSeconds: Int
    package var configuration: String
    package var data: String
    package var store: String
    package var logLevel: String
    package var domains: [String]
    package var listeners: [String]
    package var certificates: [Certificate]
    package var sessions: Int
    package var isHealthy: Bool
    package var health: String
}

package struct SessionLine: Codable, Hashable, Sendable {
    package var address: String
    /// Absent while the session is not available.
    package var priority: Int?
    /// Whether it has lost its connection and waits for its client to resume it.
    package var isDetached: Bool

    package init(address: String, priority: Int?, isDetached: Bool) {
        self.address = address
        self.priority = priority
        self.isDetached = isDetached
    }

    /// As `martlet session list` prints it.
    package var text: String {
        let presence = priority.map { "priority \($0)" } ?? "not available"
        return "\(address)  \(presence)\(isDetached ? "  detached" : "")"
    }
}

package struct AccountLine: Codable, Hashable, Sendable {
    package var address: String
    package var isEnabled: Bool
    package var isAdmin: Bool
    /// Milliseconds since 1970.
    package var created: Int64
    package var lastActivity: Int64?
    /// When its password is no longer good, if it has an end, the same.
    package var passwordExpires: Int64?
    /// Whether that is over.
    package var isPasswordExpired: Bool

    package init(
        address: String, isEnabled: Bool, isAdmin: Bool, created: Int64, lastActivity: Int64?, passwordExpires: Int64?, isPasswordExpired: Bool
    ) {
        self.address = address
        self.isEnabled = isEnabled
        self.isAdmin = isAdmin
        self.created = created
        self.lastActivity = lastActivity
        self.passwordExpires = passwordExpires
        self.isPasswordExpired = isPasswordExpired
    }

    /// As `martlet account list` prints it.
    package var text: String {
        let expiry = passwordExpires.map { "password \(isPasswordExpired ? "expired" : "expires") \(Timestamp.text($0).prefix(10))" }
        let marks = [isEnabled ? nil : "disabled", isAdmin ? "admin" : nil, expiry].compactMap(\.self)
        return marks.isEmpty ? address : "\(address)  (\(marks.joined(separator: ", ")))"
    }
}

package struct InvitationLine: Codable, Hashable, Sendable {
    /// Of the token's digest, in hexadecimal; the token itself is told once.
    package var id: String
    package var domain: String
    package var name: String?
    package var contact: String?
    package var makesAccounts: Bool
    package var usesLeft: Int
    package var creator: String
    /// Milliseconds since 1970.
    package var created: Int64
    package var expires: Int64

    /// As `martlet invite list` prints it.
    package var text: String {
        let what = [
            makesAccounts ? "account\(name.map { " \($0)" } ?? "") at \(domain)" : nil, contact.map { "contact of \($0)" },
            "\(usesLeft) \(usesLeft == 1 ? "use" : "uses")",
        ].compactMap { $0 }.joined(separator: ", ")
        return "\(id.prefix(12))  \(what)  until \(DateTime.text(milliseconds: expires))  by \(creator)"
    }
}

/// What a reload changed.
package struct ReloadReport: Codable, Hashable, Sendable {
    package var applied: [String]
    package var needingRestart: [String]
    package var warnings: [String]
}
