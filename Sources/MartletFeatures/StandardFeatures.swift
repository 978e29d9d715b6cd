package import MartletCore
package import MartletXMPP

/// What the features of one domain need to know of the world around them.
package struct FeatureConfiguration: Sendable {
    package var softwareName: String
    package var softwareVersion: String
    /// The operating system, if the operator wants it known (XEP-0092 §6); `nil` keeps it to ourselves.
    package var operatingSystem: String?
    package var contacts: ContactAddresses.Addresses
    package var time: any TimeSource
    /// Which messages archives keep for accounts that have not said what they want; `nil`: there are no archives.
    package var archiveDefault: ArchivePreferences.Default?
    /// What push services learn of messages.
    package var push: PushContent
    /// What belongs to the domain and has an address of its own.
    package var services: [ServiceDiscovery.Item]
    /// Since when the server has been running.
    package var uptime: Uptime
    /// What is known of clients. One for all domains.
    package var capabilities: CapabilityCache
    /// What accounts may publish.
    package var eventing: PersonalEventingSettings
    /// Servers beside this one that clients are told of.
    package var externalServices: [ExternalServices.Service]
    /// What clients that have logged in are told of their streams (XEP-0478).
    package var streamLimits: PeerFeatures.Limits?
    /// Where it is said what is wrong when the server cannot be reached (XEP-0455).
    package var outageStatus: [String] = []
    /// Where it is published which servers the domain has streams with (XEP-0485); `nil`: nowhere.
    package var serverInformation: BareJID?
    /// What becomes of the people's data (XEP-0504).
    package var dataPolicy = DataPolicy.Statement()
    /// Who gets an account, and what accounts may do to themselves.
    package var registration: RegistrationSettings
    /// Whom they invite.
    package var invitations: InvitationSettings
    /// Makes keys of the passwords that they set.
    package var derivation: any KeyDerivation
    /// Looks at certificates that accounts add for themselves; `nil` where they cannot.
    package var certificates: (any CertificateInspection)?
    /// Who is told that his password will expire; `nil`: nobody.
    package var passwordWarning: PasswordWarning.Settings?
    /// Components that may do something for the domain.
    package var components: [ComponentGrant] = []
    /// Who is on block lists that others share; `nil` where none are followed. One for all domains.
    package var sharedLists: SharedListKeeper?
    /// Whether there are any: else no stanza is looked at by them.
    package var hasSharedLists = true
    /// What a directory says of people; `nil` where none does.
    package var profiles: (any ProfileSource)?
    /// What holds for accounts that have not said whom the directory shows their presence to; `nil` where there is no directory that does.
    package var directoryVisibility: PresenceWish?

    package init(
        softwareName: String = "Martlet", softwareVersion: String, operatingSystem: String? = nil,
        contacts: ContactAddresses.Addresses = .init(),
        archiveDefault: ArchivePreferences.Default? = .always, push: PushContent = PushContent(),
        services: [ServiceDiscovery.Item] = [], time: any TimeSource, uptime: Uptime, capabilities: CapabilityCache = CapabilityCache(),
        eventing: PersonalEventingSettings = PersonalEventingSettings(), externalServices: [ExternalServices.Service] = [],
        registration: RegistrationSettings = RegistrationSettings(), invitations: InvitationSettings = InvitationSettings(), derivation: any KeyDerivation = NoKeyDerivation()
    ) {
        self.softwareName = softwareName
        self.softwareVersion = softwareVersion
        self.operatingSystem = operatingSystem
        self.contacts = contacts
        self.archiveDefault = archiveDefault
        self.push = push
        self.services = services
        self.time = time
        self.uptime = uptime
        self.capabilities = capabilities
        self.eventing = eventing
        self.externalServices = externalServices
        self.registration = registration
        self.invitations = invitations
        self.derivation = derivation
    }
}

/// Everything the server does for a domain, in the order in which stages of one kind are asked.
package enum StandardFeatures {
    package static func all(_ configuration: FeatureConfiguration) -> [any Feature] {
        let delegation = NamespaceDelegation(configuration.components)
        // What accounts publish is the server's, or somebody else's as a whole.
        let eventing = delegation.takesAway(.pubsub) ? nil : PersonalEventing(configuration.eventing, profiles: configuration.profiles)
        let registration = InBandRegistration(
            configuration.registration, configuration.invitations, configuration.derivation, time: configuration.time)
        let administration = ServiceAdministration(registration: registration, greetings: Greetings(), passwordWarning: configuration.passwordWarning.map(PasswordWarning.init))
        let invitations = InvitationCommands(settings: configuration.invitations, registration: registration, random: SystemRandom())
        let reporting = SpamReporting(configuration.sharedLists, isScreening: configuration.hasSharedLists)
        let commands = ServerCommands(
            administration.commands + invitations.commands + ApplicationPasswords(configuration.derivation).commands
                + (configuration.directoryVisibility.map { [DirectoryVisibility($0).command] } ?? []))
        return [
            RosterManagement(),
            ServiceDiscovery(items: configuration.services, eventing: eventing, commands: commands),
            commands,
            administration,
            invitations,
            delegation,
            PrivilegedEntity(configuration.components),
            registration,
            ClientAccess(time: configuration.time),
            ClientCertificateManagement(configuration.certificates, time: configuration.time),
            Blocking(reporting: reporting),
            reporting,
            Moved(),
            MessageCarbons(),
            StanzaIDs(),
            DelayedDelivery(),
            OfflineMessages(),
            MessageProcessingHints(),
            VCardTemp(eventing: eventing, profiles: configuration.profiles),
            PrivateStorage(eventing: eventing),
            Ping(),
            SoftwareVersion(configuration),
            EntityTime(time: configuration.time),
            LastActivityQueries(time: configuration.time, uptime: configuration.uptime),
            ContactAddresses(configuration.contacts),
            OutageStatus(configuration.outageStatus),
            ServerInformation(at: configuration.serverInformation),
            DataPolicy(configuration.dataPolicy),
            StreamLimits(configuration.streamLimits),
            EntityCapabilities(cache: configuration.capabilities),
            EntityCapabilities2(),
            StreamManagement(),
            ClientState(),
            PushNotifications(configuration.push),
            ExternalServices(configuration.externalServices, time: configuration.time),
        ] + (eventing.map { [$0, AvatarConversion(), Bookmarks()] } ?? []) + archive(configuration, eventing)
    }

    /// A domain of rooms (XEP-0045).
    package static func rooms(
        at domain: BareJID, name: String, _ settings: MultiUserChat.Settings, policy: AccessPolicy = AccessPolicy(), _ configuration: FeatureConfiguration
    ) throws(RouteConflict) -> Host {
        try Host(
            domain: domain, policy: policy, features: [RoomDirectory(name: name), ChannelSearch(), Ping(), SoftwareVersion(configuration), EntityTime(time: configuration.time)],
            service: MultiUserChat(settings))
    }

    /// A domain of nodes (XEP-0060).
    package static func pubsub(
        at domain: BareJID, name: String, _ settings: PubSubService.Settings, policy: AccessPolicy = AccessPolicy(), _ configuration: FeatureConfiguration
    ) throws(RouteConflict) -> Host {
        let service = PubSubService(settings)
        return try Host(
            domain: domain, policy: policy,
            features: [PubSubDirectory(service, name: name), Ping(), SoftwareVersion(configuration), EntityTime(time: configuration.time)], service: service)
    }

    /// A domain where files are exchanged (XEP-0065).
    package static func bytestreams(
        at domain: BareJID, _ relay: any BytestreamRelay, host: String, policy: AccessPolicy = AccessPolicy(), _ configuration: FeatureConfiguration
    ) throws(RouteConflict) -> Host {
        let proxy = BytestreamProxy(relay, host: host)
        return try Host(
            domain: domain, policy: policy, features: [proxy, Ping(), SoftwareVersion(configuration), EntityTime(time: configuration.time)], service: proxy)
    }

    /// A domain that gives slots for files (XEP-0363).
    package static func uploads(
        at domain: BareJID, _ settings: HTTPFileUpload.Settings, _ uploads: Uploads, policy: AccessPolicy = AccessPolicy(), _ configuration: FeatureConfiguration
    ) throws(RouteConflict) -> Host {
        let service = HTTPFileUpload(settings, uploads)
        return try Host(
            domain: domain, policy: policy, features: [service, Ping(), SoftwareVersion(configuration), EntityTime(time: configuration.time)], service: service)
    }

    /// A domain where accounts are found (XEP-0055).
    package static func search(
        at domain: BareJID, _ settings: UserSearch.Settings, policy: AccessPolicy = AccessPolicy(), _ configuration: FeatureConfiguration
    ) throws(RouteConflict) -> Host {
        let service = UserSearch(settings, time: configuration.time)
        return try Host(
            domain: domain, policy: policy, features: [service, Ping(), SoftwareVersion(configuration), EntityTime(time: configuration.time)], service: service)
    }

    private static func archive(_ configuration: FeatureConfiguration, _ eventing: PersonalEventing?) -> [any Feature] {
        guard let archiveDefault = configuration.archiveDefault else { return [] }
        return [MessageArchive(default: archiveDefault, eventing: eventing), ArchivePreferenceManagement(default: archiveDefault)]
    }

    /// What is implemented, but not as a feature of a domain: in the core, the streams, the network.
    package static let beside: [Specification] = [
        .rfc(6120, "XMPP: Core", sections: "all"),
        .rfc(6121, "XMPP: Instant Messaging and Presence", sections: "3 to 8"),
        .rfc(7622, "XMPP: Address Format", sections: "all"),
        .rfc(7590, "Use of TLS in XMPP", sections: "all"),
        .rfc(5802, "SCRAM-SHA-1", sections: "all"),
        .rfc(7677, "SCRAM-SHA-256", sections: "all"),
        .rfc(4616, "The PLAIN SASL Mechanism", sections: "all", note: "over TLS"),
        .rfc(7628, "SASL Mechanisms for OAuth", sections: "3", note: "OAUTHBEARER, over TLS, where the operator names an authorization server"),
        .rfc(4752, "The Kerberos V5 (GSSAPI) SASL Mechanism", sections: "all", note: "over TLS, without a security layer of its own, where the operator has a realm"),
        .rfc(5929, "Channel Bindings for TLS", sections: "4", note: "tls-server-end-point"),
        .rfc(9266, "Channel Bindings for TLS 1.3", sections: "2", note: "tls-exporter, with TLS 1.3 only"),
        .rfc(6698, "The DANE TLSA Protocol", sections: "all", note: "between servers, as RFC 7671 has it"),
        .rfc(7673, "Using DANE TLSA Records with SRV Records", sections: "all", note: "also about servers that call"),
        .rfc(7395, "An XMPP Subprotocol for WebSocket", sections: "all", note: "without see-other-uri"),
        .rfc(7711, "PKIX over Secure HTTP (POSH)", sections: "all", note: "between servers, where the operator allows it; SHA-256 only"),
        MultiUserChat.specification, PubSubService.specification, OccupantIDs.specification, MessageModeration.specification,
        ChannelSearch.specification, RoomAvatars.specification, VCard4.specification, OlderBookmarks.specification, BytestreamProxy.specification,
        HTTPFileUpload.specification, SubscriptionHeaders.specification, PubSubArchive.specification, UserSearch.specification,
        Hats.specification, MentionNotifications.specification, PortableAccounts.specification,
        .xep(59, "Result Set Management", version: "1.0", note: "in archives and lists; pages by number only in lists of affiliations and of occupants"),
        .xep(68, "Field Standardization for Data Forms", version: "1.3.0"),
        .xep(122, "Data Forms Validation", version: "1.0.2", note: "in forms of rooms"),
        .xep(233, "XMPP Server Registration for use with Kerberos V5", version: "1.0.0", note: "where the operator names the host"),
        .xep(249, "Direct MUC Invitations", version: "1.2", note: "also beside invitations by way of the room"),
        .xep(410, "MUC Self-Ping (Schrödinger's Chat)", version: "1.1.0", note: "answered by the room, which asks silent occupants of other servers itself"),
        MessageRetraction.specification,
        .xep(463, "MUC Affiliations Versioning", version: "0.2.0"),
        .xep(500, "MUC Slow Mode", version: "0.1.1"),
        .xep(379, "Pre-Authenticated Roster Subscription", version: "0.3.3", note: "tokens are the server's, which approves in the inviter's name"),
        .xep(445, "Pre-Authenticated In-Band Registration", version: "0.2.0", note: "where registration is open, or for whoever is invited"),
        .xep(82, "XMPP Date and Time Profiles", version: "1.1.1"),
        .xep(84, "User Avatar", version: "1.1.4"),
        .xep(222, "Persistent Storage of Public Data via PubSub", version: "1.0"),
        .xep(223, "Persistent Storage of Private Data via PubSub", version: "1.1.1"),
        .xep(470, "Pubsub Attachments", version: "0.2.0", note: "at nodes that authors make; without summaries, so that it is not announced"),
        .xep(490, "Message Displayed Synchronization", version: "1.0.1"),
        .xep(492, "Chat notification settings", version: "0.2.0", note: "kept in bookmarks, also when older clients write them; for clients to follow"),
        .xep(128, "Service Discovery Extensions", version: "1.0.1"),
        .xep(
            114, "Jabber Component Protocol", version: "1.6",
            note: "jabber:component:accept, also over TLS from the first byte, which is what XEP-0225 (deferred, and spoken by no component) would add"),
        .xep(124, "Bidirectional-streams Over Synchronous HTTP (BOSH)", version: "1.11.2", note: "without key sequencing and several streams"),
        .xep(206, "XMPP Over BOSH", version: "1.4"),
        .xep(156, "Discovering Alternative XMPP Connection Methods", version: "1.4.0", note: "by HTTP, in XML and JSON"),
        .xep(
            487, "Host Meta 2 - One Method To Rule Them All", version: "0.1.0",
            note: "said where the operator has given web.addresses, without pinned keys and ECH; other servers are found by DNS"),
        .xep(178, "Best Practices for Use of SASL EXTERNAL with Certificates", version: "1.2", note: "between servers, and for clients"),
        .xep(185, "Dialback Key Generation and Validation", version: "1.0"),
        .xep(220, "Server Dialback", version: "1.1.1", note: "where the operator allows it; a valid certificate needs no dialling back"),
        .xep(288, "Bidirectional Server-to-Server Connections", version: "1.0.1"),
        .xep(344, "Impact of TLS and DNSSEC on Dialback", version: "0.4", note: "a certificate that DNS or an authority speaks for needs no dialling back"),
        .xep(232, "Software Information", version: "0.3", note: "without an icon"),
        .xep(297, "Stanza Forwarding", version: "1.0", note: "in carbons and archives"),
        .xep(368, "SRV records for XMPP over TLS", version: "1.1.0"),
        .xep(386, "Bind 2", version: "1.1.0", note: "only what the archive has is not sent as well when the client becomes available"),
        .xep(388, "Extensible SASL Profile", version: "1.0.4", note: "with the tasks of XEP-0480"),
        .xep(431, "Full Text Search in MAM", version: "0.2.0", note: "all words, in any order"),
        .xep(440, "SASL Channel-Binding Type Capability", version: "1.0.0"),
        .xep(474, "SASL SCRAM Downgrade Protection", version: "0.5.0"),
        .xep(480, "SASL Upgrade Tasks", version: "0.2.0", note: "for SCRAM-SHA-256 and SCRAM-SHA-512, inside TLS"),
        .xep(484, "Fast Authentication Streamlining Tokens", version: "0.2.0", note: "inside TLS, without 0-RTT; not beside certificates"),
        .xep(515, "TLS Channel-Binding Downgrade Protection", version: "0.1.0", note: "where channel binding is offered, and not over BOSH"),
        .xep(493, "OAuth Client Login", version: "0.1.1", note: "with the operator's own authorization server, whose scopes let in or not, and restrict nothing inside"),
        .xep(237, "Roster Versioning", version: "1.3"),
    ]
}
