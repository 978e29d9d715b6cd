/// What there is besides accounts, with the defaults: rooms, nodes, files, search, block lists of others, programs beside the server.
extension ServerConfiguration {
    /// Multi-user chat (XEP-0045).
    package struct Rooms: ConfigurationSection {
        package var isEnabled = true
        /// The rooms of `example.org` are at `conference.example.org`.
        package var subdomain = "conference"
        package var creation = RoomCreation.local
        package var occupantsMax = 5_000
        package var affiliationsMax = 100_000
        package var historyMax = 50
        package var historyBytesMax = 256 * 1024
        /// Zero: never.
        package var pingAfter = Duration.seconds(900)
        package var perAccountMax = 100
        package var archiving = RoomArchiving.allowed
        package var standard = StandardRoom()

        package init() {}
    }

    /// What a new room is like, until its owner says otherwise.
    package struct StandardRoom: ConfigurationSection {
        package var isPersistent = false
        package var isPublic = true
        package var isMembersOnly = false
        package var isModerated = false
        package var showsAddresses = false
        package var isArchived = true
        package var occupantsMax = 200
        package var historyLength = 20

        package init() {}
    }

    /// Nodes to publish at: of accounts (XEP-0163), and of a service (XEP-0060).
    /// Where clients that cannot reach each other exchange files (XEP-0065).
    package struct Bytestreams: ConfigurationSection {
        package var isEnabled = false
        /// The proxy of `example.org` is at `proxy.example.org`.
        package var subdomain = "proxy"
        package var port = 5000
        package var addresses = [IPAddress.anyIPv4, .anyIPv6]
        /// What clients connect to; `nil` is the domain.
        package var host: String?
        package var streamsPerAccountMax = 10
        package var streamsMax = 1_000

        package init() {}
    }

    package struct PubSub: ConfigurationSection {
        package var accountNodesMax = 200
        package var accountItemsMax = 1_000
        package var accountBytesMax = 10 * 1024 * 1024
        package var itemBytesMax = 256 * 1024
        package var service = PubSubServiceSection()

        package init() {}
    }

    /// Nodes at an address of their own.
    package struct PubSubServiceSection: ConfigurationSection {
        package var isEnabled = false
        /// The service of `example.org` is at `pubsub.example.org`.
        package var subdomain = "pubsub"
        package var creation = NodeCreation.local
        /// Whether domains tell which servers they have streams with (XEP-0485).
        package var publishesServerInformation = false
        package var nodesMax = 10_000
        package var itemsMax = 10_000
        package var bytesMax = 1024 * 1024 * 1024

        package init() {}
    }

    /// Files that accounts upload (XEP-0363).
    package struct Uploads: ConfigurationSection {
        package var isEnabled = true
        /// The service of `example.org` is at `upload.example.org`.
        package var subdomain = "upload"
        package var store = UploadStoreKind.folder
        /// Relative to the data folder unless absolute.
        package var folder = "uploads"
        package var s3 = S3()
        package var fileBytesMax = 100 * 1024 * 1024
        package var accountBytesMax = 1024 * 1024 * 1024
        package var accountFilesMax = 10_000
        package var accountDayBytesMax = 1024 * 1024 * 1024
        package var domainBytesMax = 100 * 1024 * 1024 * 1024
        package var domainDayBytesMax = 100 * 1024 * 1024 * 1024
        /// Media types, or kinds of them (`image/*`); any if there are none.
        package var types: [String] = []
        package var slotLifetime = Duration.seconds(300)
        package var accountTransfersMax = 8
        package var retention = UploadRetention()

        package init() {}
    }

    /// A bucket of a service that speaks S3.
    package struct S3: ConfigurationSection {
        package var endpoint: String?
        package var bucket: String?
        package var region = "us-east-1"
        package var accessKey: String?
        /// File with the secret of the access key.
        package var secretKeyFile: String?
        package var pathStyle = false
        package var prefix: String?
        /// PEM file; without it, those of the machine.
        package var trustAnchors: String?
        package var timeout = Duration.seconds(20)

        package init() {}
    }

    /// For how long files are kept, by what they are for (XEP-0363 §5). Zero is for ever.
    package struct UploadRetention: ConfigurationSection {
        package var message = Duration.seconds(90 * 86_400)
        package var profile = Duration.zero
        package var ephemeral = Duration.seconds(86_400)
        package var permanent = Duration.zero

        package init() {}
    }

    /// Where accounts find each other (XEP-0055).
    package struct Search: ConfigurationSection {
        package var isEnabled = true
        /// The service of `example.org` is at `vjud.example.org`, where other servers have it.
        package var subdomain = "vjud"
        package var finds = SearchFinds.published
        package var askers = SearchAskers.domain
        package var resultsMax = 50
        package var perMinuteMax = 30

        package init() {}
    }

    /// A list of people and domains that somebody shares, and that nothing is taken from.
    package struct BlockListSource: ConfigurationSection {
        package var service = ""
        /// The name under which such lists of Prosody's and ejabberd's users are.
        package var node = "muc_bans_sha256"

        package init() {}
    }

    /// A server beside this one that clients use, such as for calls (XEP-0215).
    package struct ExternalService: ConfigurationSection {
        package var address: HostAndPort?
        package var type = ExternalServiceType.stun
        package var transport: ExternalServiceTransport?
        /// File with the secret that the service shares with this server; without it, no credentials are needed.
        package var secretFile: String?
        package var lifetime = Duration.seconds(86_400)

        package init() {}
    }

    /// A program beside this server that answers for a domain of its own (XEP-0114).
    package struct Component: ConfigurationSection {
        package var name = ""
        /// File with what it has in common with the server.
        package var secretFile: String?
        /// Whose accounts it is there for; the nearest domain above its own unless given.
        package var domain: String?
        package var servesSubdomains = false
        /// The domains that its privileges and delegations are about; all unless given.
        package var managedDomains: [String] = []
        package var privileges = ComponentPrivileges()
        package var delegations: [DelegatedNamespace] = []

        package init() {}
    }

    /// What a component may do with accounts (XEP-0356).
    package struct ComponentPrivileges: ConfigurationSection {
        package var roster = ComponentRosterAccess.none
        package var rosterPushes = true
        package var message = ComponentMessageAccess.none
        package var presence = ComponentPresenceAccess.none
        /// Namespaces of requests in accounts' names.
        package var get: [String] = []
        package var set: [String] = []

        package init() {}
    }
}

/// Who may create rooms (XEP-0045 §10.1.1).
package enum RoomCreation: String, Sendable, CaseIterable {
    case everybody, local, admins, nobody
}

/// Whether rooms have archives (XEP-0313).
package enum RoomArchiving: String, Sendable, CaseIterable {
    case allowed, always, never
}

/// Who may create nodes at a service (XEP-0060 §8.1).
package enum NodeCreation: String, Sendable, CaseIterable {
    case local, admins
}

/// Where the bytes of uploaded files are.
package enum UploadStoreKind: String, Sendable, CaseIterable {
    case folder
    case s3
}

/// Which accounts are found (XEP-0055): those whose cards say something, or all.
package enum SearchFinds: String, Sendable, CaseIterable {
    case published, all
}

/// Whose accounts may search those of a domain.
package enum SearchAskers: String, Sendable, CaseIterable {
    case domain, server
}

/// What a server beside this one is there for: STUN (RFC 5389) and TURN (RFC 5766), without and with TLS.
package enum ExternalServiceType: String, Sendable, CaseIterable {
    case stun, stuns, turn, turns
}

package enum ExternalServiceTransport: String, Sendable, CaseIterable {
    case udp, tcp
}

/// Whether a component reads and changes rosters (XEP-0356 §4.1).
package enum ComponentRosterAccess: String, Sendable, CaseIterable {
    case none, get, set, both
}

/// Whether a component sends messages in accounts' names (XEP-0356 §5.1).
package enum ComponentMessageAccess: String, Sendable, CaseIterable {
    case none, outgoing
}

/// Whose presence a component hears of (XEP-0356 §7).
package enum ComponentPresenceAccess: String, Sendable, CaseIterable {
    case none
    case managedEntity = "managed_entity"
    case roster
}
