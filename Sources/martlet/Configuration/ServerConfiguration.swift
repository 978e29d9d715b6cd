/// A mapping of the configuration file: a value whose `init()` holds the defaults.
package protocol ConfigurationSection: Sendable, Equatable {
    init()
}

/// Everything an operator can set, with the defaults.
///
/// The tree is plain data. What each value means, which range it has and whether a reload applies it is declared once,
/// in `ConfigurationSchema`; the file format, the example and the reference page all come from there.
package struct ServerConfiguration: ConfigurationSection {
    package var server = Server()
    package var configurationDirectory = ConfigurationDirectory()
    package var domains: [Domain] = []
    package var listeners: [Listener] = [
        Listener(kind: .client, port: 5222),
        Listener(kind: .clientTLS, port: 5223),
        Listener(kind: .server, port: 5269),
        Listener(kind: .serverTLS, port: 5270),
        Listener(kind: .https, port: 5443),
        Listener(kind: .component, port: 5347),
    ]
    package var limits = Limits()
    package var idle = Idle()
    package var authentication = Authentication()
    package var loginGroups: [LoginGroup] = []
    package var loginRules: [LoginRule] = []
    package var clientCertificates = ClientCertificates()
    package var oauth: [OAuthIssuer] = []
    package var directories: [Directory] = []
    package var directoryClients = DirectoryClients()
    package var kerberos = Kerberos()
    package var accounts = Accounts()
    package var storage = Storage()
    package var messages = Messages()
    package var archive = Archive()
    package var push = Push()
    package var devices = Devices()
    package var rooms = Rooms()
    package var pubsub = PubSub()
    package var bytestreams = Bytestreams()
    package var uploads = Uploads()
    package var search = Search()
    package var blockLists: [BlockListSource] = []
    package var externalServices: [ExternalService] = []
    package var components: [Component] = []
    package var federation = Federation()
    package var peers: [Peer] = []
    package var log = Log()
    package var web = Web()
    package var peoplePage = PeoplePage()
    package var acme = ACME()
    package var metrics = Metrics()
    package var access = Access()

    package init() {}
}

extension ServerConfiguration {
    /// The process: where it keeps its files and how it runs.
    package struct Server: ConfigurationSection {
        package var dataFolder = "/var/lib/martlet"
        /// Relative to the data folder unless absolute.
        package var controlSocket = "control.sock"
        /// Zero means one per core.
        package var eventLoops = 0
        package var runAsRoot = false
        package var stopTimeout = Duration.seconds(10)

        package init() {}
    }

    /// One virtual host.
    package struct Domain: ConfigurationSection {
        package var name = ""
        /// PEM file with the certificate chain; without it the server makes its own certificate.
        package var certificate: String?
        package var key: String?
        /// One of another kind of key, for clients that can do nothing with the first.
        package var secondCertificate: String?
        package var secondKey: String?
        /// Whether clients are asked for certificates of their own.
        package var clientCertificates = ClientCertificateDemand.off
        /// Whose principals have accounts here.
        package var kerberosRealms: [String] = []
        package var admins: [String] = []
        /// Names of groups of a directory.
        package var adminGroups: [String] = []
        package var sharedGroups: [SharedGroup] = []
        /// Who may look at its white pages.
        package var peoplePage = PeoplePageAccess.off
        /// Who sees the presence of its accounts without XMPP.
        package var presence = PresenceSharing()
        package var contacts = Contacts()
        package var dataPolicy = DataPolicy()

        package init() {}
        package init(name: String) { self.name = name }
    }

    /// Contact addresses of a domain, as URIs (XEP-0157).
    package struct Contacts: ConfigurationSection {
        package var abuse: [String] = []
        package var admin: [String] = []
        package var feedback: [String] = []
        package var sales: [String] = []
        package var security: [String] = []
        package var status: [String] = []
        package var support: [String] = []
        /// Files that say what is wrong (XEP-0455).
        package var outage: [String] = []

        package init() {}
    }

    /// What becomes of the data of a domain's people (XEP-0504). What the server knows by itself is added.
    package struct DataPolicy: ConfigurationSection {
        package var terms: String?
        package var access: [DataAccess] = []
        package var isEncryptedAtRest: Bool?
        /// Zero: there are no backups; `nil`: it is not said.
        package var backupInterval: Duration?
        package var backupRetention: Duration?

        package init() {}
    }

    /// One port with the addresses on which it is opened.
    package struct Listener: ConfigurationSection {
        package var kind = ListenerKind.client
        package var port = 0
        private var givenAddresses: [IPAddress] = []
        /// Peers whose PROXY protocol header is required and believed, or for `http` what they say in `X-Forwarded-For`; nobody's is when
        /// this is empty.
        package var proxySources: [AddressBlock] = []
        package var plaintextAuthentication = false
        package var tlsProfile = TLSProfileName.intermediate

        /// Unless given, those of loopback for components, and all for everybody else.
        package var addresses: [IPAddress] {
            get {
                if !givenAddresses.isEmpty { return givenAddresses }
                return kind.isForComponents ? [.loopbackIPv4, .loopbackIPv6] : [.anyIPv4, .anyIPv6]
            }
            set { givenAddresses = newValue }
        }

        package static func == (a: Listener, b: Listener) -> Bool {
            a.kind == b.kind && a.port == b.port && a.addresses == b.addresses && a.proxySources == b.proxySources
                && a.plaintextAuthentication == b.plaintextAuthentication && a.tlsProfile == b.tlsProfile
        }

        package init() {}
        package init(kind: ListenerKind, port: Int) {
            self.kind = kind
            self.port = port
        }
    }

    /// How much anybody may use.
    package struct Limits: ConfigurationSection {
        package var stanzaBytesMax = 256 * 1024
        package var stanzaBytesBeforeAuthenticationMax = 16 * 1024
        package var stanzaDepthMax = 64
        package var stanzaElementsMax = 8192
        package var elementAttributesMax = 64
        package var stanzaBytesPerSecond: Int? = 128 * 1024
        package var stanzaBytesBurst = 1024 * 1024
        package var streamsPerAddressMax = 1000
        package var unauthenticatedStreamsMax = 4096
        package var unauthenticatedBytesMax = 192 * 1024 * 1024
        package var loginDeadline = Duration.seconds(30)
        package var sessionsPerAccountMax = 16
        package var resourceConflict = ResourceConflictPolicy.replaceOld
        package var sessionQueueBytesMax = 4 * 1024 * 1024
        package var resumptionTimeout = Duration.seconds(600)
        package var unacknowledgedStanzasMax = 10_000
        package var unacknowledgedBytesMax = 4 * 1024 * 1024
        package var heldStanzasMax = 1_000
        package var heldBytesMax = 256 * 1024
        package var parkedStanzasMax = 256
        package var parkedBytesMax = 4 * 1024 * 1024
        package var rosterItemsMax = 5000
        /// Of groups, besides.
        package var sharedRosterItemsMax = 1000
        package var offlineMessagesMax = 1000
        package var offlineBytesMax = 32 * 1024 * 1024
        package var blockedAddressesMax = 1000
        package var vCardBytesMax = 128 * 1024
        package var privateStorageBytesMax = 1024 * 1024
        package var pushRegistrationsMax = 10

        package init() {}
    }

    /// How connections that have died are found.
    package struct Idle: ConfigurationSection {
        package var pingAfter: Duration? = .seconds(300)
        package var pingTimeout = Duration.seconds(30)
        package var tcpUserTimeout: Duration? = .seconds(60)

        package init() {}
    }

    /// How accounts prove who they are.
    package struct Authentication: ConfigurationSection {
        package var mechanisms: [AuthenticationMechanism] = [.scramSHA512, .scramSHA256, .scramSHA1, .plain]
        package var upgrades: [UpgradeMechanism] = [.scramSHA512, .scramSHA256]
        package var channelBinding = false
        package var scramIterations = 10_000
        package var triesPerStreamMax = 5
        package var failuresPerAddressMax = 20
        package var failureRecoveryPerAddress = Duration.seconds(10)
        package var failuresPerAccountMax = 10
        package var failureRecoveryPerAccount = Duration.seconds(30)
        package var concurrentPasswordHashesMax = 2
        package var queuedPasswordHashesMax = 256

        package init() {}
    }

    /// Who gets an account without an operator, and what accounts may do to themselves.
    package struct Accounts: ConfigurationSection {
        package var registration = RegistrationOffer.closed
        package var requestsPerNetworkMax = 20
        package var requestsMax = 500
        /// Names that mean somebody in particular to those who read them (RFC 2142), and those that people try to pass for the server with.
        package var reservedNames = [
            "abuse", "admin", "administrator", "daemon", "ftp", "help", "hostmaster", "info", "mailer-daemon", "martlet", "moderator", "news", "nobody",
            "noc", "noreply", "no-reply", "operator", "postmaster", "registration", "root", "sales", "security", "server", "service", "staff", "support",
            "sysadmin", "system", "trouble", "usenet", "uucp", "webmaster", "www", "xmpp",
        ]
        package var changesPasswords = true
        package var removesAccounts = false
        package var passwordLengthMin = 8
        package var refusedPasswords: String?
        package var passwordLifetime = Duration.zero
        package var passwordWarning = Duration.seconds(14 * 86_400)
        package var invitations = Invitations()

        package init() {}
    }

    /// Links by which people get accounts and contacts (XEP-0401).
    package struct Invitations: ConfigurationSection {
        package var users = false
        package var lifetime = Duration.seconds(7 * 86_400)
        package var perAccountMax = 10

        package init() {}
    }

    /// Where accounts, rosters and messages are kept.
    package struct Storage: ConfigurationSection {
        package var kind = StorageKind.sqlite
        package var synchronous = Synchronous.full
        package var reserveBytes: Int? = 64 * 1024 * 1024
        package var freeSpaceWarning: Int? = 1024 * 1024 * 1024
        package var readers = 2

        package init() {}
    }

    /// What happens to messages besides their delivery.
    package struct Messages: ConfigurationSection {
        package var offline = true

        package init() {}
    }

    /// How much of their messages accounts find again.
    package struct Archive: ConfigurationSection {
        package var isEnabled = true
        package var keeps = ArchiveDefault.always
        package var messagesMax = 1_000_000
        package var bytesMax = 1024 * 1024 * 1024
        /// Zero is for ever.
        package var retention = Duration.zero

        package init() {}
    }

    /// What the push services of apps learn of messages (XEP-0357).
    package struct Push: ConfigurationSection {
        package var includesSender = false
        package var includesBody = false

        package init() {}
    }

    /// What is remembered of the devices on which accounts are used (XEP-0494 §7).
    package struct Devices: ConfigurationSection {
        package var keepsNames = true
        /// Zero is for ever.
        package var retention = Duration.seconds(180 * 86_400)
        /// Zero: no tokens are given or taken (XEP-0484).
        package var tokenLifetime = Duration.seconds(21 * 86_400)

        package init() {}
    }

    /// Streams to and from other servers.
    package struct Federation: ConfigurationSection {
        package var isEnabled = true
        package var isClosed = false
        package var blocked: [String] = []
        package var encryption = PeerEncryption.required
        package var authentication = PeerAuthentication.certificate
        package var bidirection = PeerBidirection.accept
        package var tlsProfile = TLSProfileName.intermediate
        /// PEM file; without it, those of the machine.
        package var trustAnchors: String?
        package var revocation = Revocation()
        /// Whether web servers may speak for certificates (POSH).
        package var asksWebServers = false
        package var privateNetworks: [AddressBlock] = []
        package var nameServers: [NameServer] = []
        package var dnssecAnchor: String?
        package var connectTimeout = Duration.seconds(60)
        package var negotiationDeadline = Duration.seconds(30)
        package var idleTimeout = Duration.seconds(600)
        package var queueStanzasMax = 10_000
        package var queueBytesMax = 4 * 1024 * 1024
        package var queueBytesTotalMax = 64 * 1024 * 1024
        package var retryFor = Duration.seconds(86_400)
        package var storedStanzasMax = 10_000
        package var storedBytesMax = 32 * 1024 * 1024
        package var callsMax = 64
        package var streamsPerAddressMax = 100
        package var unauthenticatedStreamsMax = 512

        package init() {}
    }

    /// Log-in with certificates, where domains ask for them.
    package struct ClientCertificates: ConfigurationSection {
        /// PEM file; without it, nobody's certificate is believed.
        package var trustAnchors: String?
        /// PEM file with certificates that clients need not send.
        package var authorities: String?
        /// Object identifiers of certificate policies, one of which is needed; any or none will do if there are none.
        package var policies: [String] = []
        package var mapping: [CertificateMapping] = [.xmppAddress]
        /// PEM file.
        package var mailAuthorities: String?
        /// A distinguished name with `{localpart}`.
        package var subject: String?
        /// Folder with a PEM file for each account.
        package var published: String?
        package var needsPublished = false
        /// Whether accounts may add certificates of their own.
        package var isUserManaged = false
        package var revocation = Revocation()

        package init() {}
    }

    /// Log-in by tickets of Kerberos, at domains that name realms.
    package struct Kerberos: ConfigurationSection {
        /// Without it, no ticket can be read.
        package var keytab: String?
        package var service = "xmpp"
        /// Any if there is none.
        package var hostname: String?

        package init() {}
    }

    /// How it is found out whether certificates are revoked.
    package struct Revocation: ConfigurationSection {
        package var mode = RevocationMode.prefer
        /// Files, and folders of files.
        package var lists: [String] = []
        /// Any on the Internet if there are none.
        package var fetchHosts: [String] = []

        package init() {}
    }

    /// What holds for one other server, and the domains below its own.
    package struct Peer: ConfigurationSection {
        package var domain = ""
        /// Where it is called; as DNS says if there is none.
        package var addresses: [HostAndPort] = []
        package var tls = PeerTLS.startTLS
        package var encryption: PeerEncryption?
        package var authentication: PeerAuthentication?
        package var tlsProfile: TLSProfileName?
        /// The keys that it may show; any if there are none.
        package var pins: [PublicKeyPin] = []
        /// PEM file; without it, the authorities that are believed about everybody.
        package var trustAnchors: String?

        package init() {}
    }

    /// What the server tells its operator.
    package struct Log: ConfigurationSection {
        package var level = LogLevel.info
        package var format = LogFormat.text
        package var destination = LogDestination.standardError

        package init() {}
    }

    /// What is asked for by HTTP.
    package struct Web: ConfigurationSection {
        /// Without a slash at its end; `nil`: as each client has asked.
        package var url: String?
        /// By which the listeners are reached from outside.
        package var addresses: [IPAddress] = []

        package init() {}
    }

    /// Certificates that the server gets from an authority by itself (RFC 8555).
    package struct ACME: ConfigurationSection {
        package var isEnabled = false
        /// The URL of the authority's directory.
        package var directory: String?
        /// For which it is asked; for all that have no certificate of their own if there are none.
        package var domains: [String] = []
        package var contacts: [String] = []
        package var agreesToTerms = false
        package var externalAccount = ExternalAccount()
        /// Whether a certificate is for the key of the one before it.
        package var keepsKeys = false
        /// PEM file; without it, the authorities that the machine trusts.
        package var trustAnchors: String?
        /// Where the authority looks; as on the `http` and `https` listeners alone if there is none.
        package var port: Int? = 80
        package var addresses: [IPAddress] = [.anyIPv4, .anyIPv6]

        package init() {}
    }

    /// What an authority has given to its customer (RFC 8555 §7.3.4).
    package struct ExternalAccount: ConfigurationSection {
        package var identifier: String?
        package var keyFile: String?

        package init() {}
    }

    /// The HTTP port for metrics and health.
    package struct Metrics: ConfigurationSection {
        package var address = IPAddress.loopbackIPv4
        /// Closed when absent.
        package var port: Int?

        package init() {}
    }

    /// Who may do what.
    package struct Access: ConfigurationSection {
        /// Bare addresses with the admin role in every domain.
        package var admins: [String] = []
        /// Names of groups of a directory.
        package var adminGroups: [String] = []

        package init() {}
    }
}

package enum ListenerKind: String, Sendable, CaseIterable {
    case client
    case clientTLS = "client-tls"
    case server
    case serverTLS = "server-tls"
    case https
    case http
    case component
    case componentTLS = "component-tls"
    case ldap
    case ldaps

    package var isForServers: Bool {
        switch self {
        case .client, .clientTLS, .https, .http, .component, .componentTLS, .ldap, .ldaps: false
        case .server, .serverTLS: true
        }
    }

    package var isForComponents: Bool {
        switch self {
        case .client, .clientTLS, .https, .http, .server, .serverTLS, .ldap, .ldaps: false
        case .component, .componentTLS: true
        }
    }

    package var isForDirectoryClients: Bool {
        switch self {
        case .client, .clientTLS, .https, .http, .server, .serverTLS, .component, .componentTLS: false
        case .ldap, .ldaps: true
        }
    }

    package var speaksHTTP: Bool {
        switch self {
        case .client, .clientTLS, .server, .serverTLS, .component, .componentTLS, .ldap, .ldaps: false
        case .https, .http: true
        }
    }
}

package enum PeerEncryption: String, Sendable, CaseIterable { case required, optional }
package enum PeerAuthentication: String, Sendable, CaseIterable { case certificate, dialback }
package enum PeerBidirection: String, Sendable, CaseIterable { case off, accept, ask }
package enum ClientCertificateDemand: String, Sendable, CaseIterable { case off, request, require }

/// Where the account of a certificate is found.
package enum CertificateMapping: String, Sendable, CaseIterable {
    case xmppAddress = "xmpp-address"
    case published, mail, upn, subject
}

package enum RevocationMode: String, Sendable, CaseIterable { case off, prefer, require }
package enum PeerTLS: String, Sendable, CaseIterable {
    case startTLS = "starttls"
    case direct
}

/// What is asked of TLS.
package enum TLSProfileName: String, Sendable, CaseIterable {
    case modern, intermediate, strict
}

/// Which messages an archive keeps for an account that has not said what it wants (XEP-0441).
package enum ArchiveDefault: String, Sendable, CaseIterable {
    case always, roster, never
}

/// Who besides their owner may see data (XEP-0504 §3.8).
package enum DataAccess: String, Sendable, CaseIterable {
    case admins, moderators, organization = "organization_member", government, advertisers, partners, none
}

/// What a session gets that asks for a resource which is in use (RFC 6120 §7.7.2.2).
package enum ResourceConflictPolicy: String, Sendable, CaseIterable {
    case replaceOld = "replace-old"
    case refuseNew = "refuse-new"
}

package enum AuthenticationMechanism: String, Sendable, CaseIterable {
    case scramSHA512 = "SCRAM-SHA-512"
    case scramSHA256 = "SCRAM-SHA-256"
    case scramSHA1 = "SCRAM-SHA-1"
    case plain = "PLAIN"
}

/// A mechanism whose keys clients make up as they log in (XEP-0480).
package enum UpgradeMechanism: String, Sendable, CaseIterable {
    case scramSHA512 = "SCRAM-SHA-512"
    case scramSHA256 = "SCRAM-SHA-256"
}

/// Who may have an account made before log-in (XEP-0077).
package enum RegistrationOffer: String, Sendable, CaseIterable {
    case closed
    case invited
    case open
}

package enum StorageKind: String, Sendable, CaseIterable {
    case sqlite
}

package enum Synchronous: String, Sendable, CaseIterable {
    case full
    case normal
}

package enum LogLevel: String, Sendable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
}

package enum LogFormat: String, Sendable, CaseIterable {
    case text
    case json
}

package enum LogDestination: Sendable, Hashable {
    case standardError
    case file(String)
}

extension ServerConfiguration {
    /// Path of the socket by which commands reach the running server.
    package var controlSocketPath: String { path(inDataFolder: server.controlSocket) }

    /// Where uploaded files are.
    package var uploadFolder: String { path(inDataFolder: uploads.folder) }

    private func path(inDataFolder path: String) -> String {
        FilePath.resolve(path, against: server.dataFolder)
    }

    /// Domains whose certificates come from an authority that the server asks.
    package var issuedDomains: [String] {
        guard acme.isEnabled else { return [] }
        return acme.domains.isEmpty ? domains.filter { $0.certificate == nil }.map(\.name) : acme.domains
    }

    /// The bare addresses with the admin role in `domain`.
    package func admins(of domain: String) -> Set<String> {
        let own = domains.first { $0.name == domain }?.admins ?? []
        return Set(access.admins).union(own)
    }
}
