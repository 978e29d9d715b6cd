package import MartletCore
import MartletFeatures
import MartletNetwork
import MartletXMPP

/// Makes of the configuration what the domains do with stanzas.
struct HostAssembly {
    let configuration: ServerConfiguration
    let time: any TimeSource
    let uptime: Uptime
    let audit: any AuditSink
    /// Behind the names of occupants (XEP-0421).
    let occupantSecret: [UInt8]
    let roomCounters: RoomCounters
    let capabilities: CapabilityCache
    let derivation: any KeyDerivation
    let passwords: PasswordRules
    let passwordExpiry: any PasswordExpiry
    let components: ComponentRegistry
    let uploads: Uploads
    let sharedLists: SharedListKeeper
    let sharedGroups: SharedGroupBook
    let directories: DirectoryBooks
    /// `nil` where no files are relayed.
    var bytestreams: (any BytestreamRelay)?

    private var componentAssembly: ComponentAssembly { ComponentAssembly(configuration: configuration) }

    func table() throws(CommandFailure) -> HostTable {
        var hosts: [Host] = []
        for domain in configuration.domains {
            hosts.append(try host(domain))
            if let address = configuration.rooms(of: domain) { hosts.append(try rooms(at: address, of: domain)) }
            if let address = configuration.pubsub(of: domain) { hosts.append(try pubsub(at: address, of: domain)) }
            if let address = configuration.bytestreams(of: domain), let host = try bytestreams(at: address, of: domain) { hosts.append(host) }
            if let address = configuration.uploads(of: domain) { hosts.append(try uploads(at: address, of: domain)) }
            if let address = configuration.search(of: domain) { hosts.append(try search(at: address, of: domain)) }
        }
        do throws(RouteConflict) { hosts += try componentAssembly.hosts(components) } catch { throw CommandFailure(error) }
        return HostTable(hosts)
    }

    private func host(_ domain: ServerConfiguration.Domain) throws(CommandFailure) -> Host {
        guard let address = try? BareJID(parsing: domain.name), address.isDomain else {
            throw CommandFailure(.configuration, "\(domain.name) is not a domain")
        }
        return try make(domain) { features, policy throws(RouteConflict) in
            try Host(
                domain: address, limits: HostLimits(configuration), policy: policy, features: StandardFeatures.all(features),
                sharedRosters: configuration.hasSharedGroups ? sharedGroups : nil,
                presenceRights: PresenceAssembly(configuration: configuration, memberships: sharedGroups.memberships).rights(of: domain))
        }
    }

    /// - Parameter host: the domain itself, or a service of its.
    private func make(
        _ domain: ServerConfiguration.Domain, _ host: (FeatureConfiguration, AccessPolicy) throws(RouteConflict) -> Host
    ) throws(CommandFailure) -> Host {
        let features = try features(of: domain)
        do throws(RouteConflict) { return try host(features, policy(of: domain.name)) } catch { throw CommandFailure(error) }
    }

    private func features(of domain: ServerConfiguration.Domain) throws(CommandFailure) -> FeatureConfiguration {
        var features = FeatureConfiguration(
            softwareVersion: MartletVersion.current, contacts: contacts(domain.contacts), archiveDefault: archiveDefault,
            push: PushContent(includesSender: configuration.push.includesSender, includesBody: configuration.push.includesBody),
            services: items(of: domain), time: time, uptime: uptime, capabilities: capabilities,
            eventing: PersonalEventingSettings(configuration.pubsub), externalServices: try externalServices(),
            registration: RegistrationSettings(configuration, passwords, elsewhere: directories.passwords, at: domain.name),
            invitations: InvitationSettings(configuration, at: domain.name), derivation: derivation)
        features.streamLimits = .init(
            bytesMax: configuration.limits.stanzaBytesMax, idleSeconds: configuration.idle.pingAfter.map { Int($0.components.seconds) })
        features.certificates = configuration.clientCertificates.isUserManaged && domain.clientCertificates != .off ? OwnCertificateInspection() : nil
        features.passwordWarning = .init(
            configuration.isInDirectory(domain.name) ? directories.passwords : passwordExpiry, notice: configuration.accounts.passwordWarningMilliseconds,
            changesPasswords: features.registration.changesPasswords)
        features.profiles = configuration.isInDirectory(domain.name) ? directories.profiles : nil
        features.outageStatus = domain.contacts.outage
        features.serverInformation = configuration.pubsub.service.publishesServerInformation ? configuration.pubsub(of: domain) : nil
        features.dataPolicy = statement(domain.dataPolicy)
        features.components = componentAssembly.grants(components, over: domain)
        features.sharedLists = sharedLists
        features.hasSharedLists = !configuration.blockLists.isEmpty
        features.directoryVisibility = PresenceAssembly(configuration: configuration).visibility(of: domain)
        return features
    }

    private func statement(_ policy: ServerConfiguration.DataPolicy) -> DataPolicy.Statement {
        func hours(_ time: Duration) -> Int { Int(time.components.seconds / 3_600) }
        var statement = DataPolicy.Statement()
        statement.terms = policy.terms
        statement.access = policy.access.map(\.rawValue)
        statement.isEncryptedAtRest = policy.isEncryptedAtRest
        statement.backupHours = policy.backupInterval.map(hours)
        statement.backupRetentionHours = policy.backupRetention.map(hours)
        statement.retentionHours = configuration.archive.retention == .zero ? nil : hours(configuration.archive.retention)
        statement.seesPasswords = configuration.authentication.mechanisms.contains(.plain)
        statement.isErasable = configuration.accounts.removesAccounts
        return statement
    }

    private func externalServices() throws(CommandFailure) -> [ExternalServices.Service] {
        var services: [ExternalServices.Service] = []
        for service in configuration.externalServices {
            guard let address = service.address else { continue }
            var made = ExternalServices.Service(
                host: address.host, port: address.port, type: service.type.rawValue, transport: service.transport?.rawValue)
            if let file = service.secretFile { made.credentials = .made(secret: try SecretFile.read(file), lifetime: service.lifetime) }
            services.append(made)
        }
        return services
    }

    private func items(of domain: ServerConfiguration.Domain) -> [ServiceDiscovery.Item] {
        let rooms = configuration.rooms(of: domain).map { ServiceDiscovery.Item($0, name: Self.roomsName) }
        let pubsub = configuration.pubsub(of: domain).map { ServiceDiscovery.Item($0, name: Self.pubsubName) }
        let uploads = configuration.uploads(of: domain).map { ServiceDiscovery.Item($0, name: Self.uploadsName) }
        let bytestreams = bytestreams == nil ? nil : configuration.bytestreams(of: domain).map { ServiceDiscovery.Item($0, name: "File transfers") }
        let search = configuration.search(of: domain).map { ServiceDiscovery.Item($0, name: Self.searchName) }
        return [rooms, pubsub, bytestreams, uploads, search].compactMap(\.self) + componentAssembly.items(of: domain)
    }

    // MARK: Files

    private func bytestreams(at address: BareJID, of domain: ServerConfiguration.Domain) throws(CommandFailure) -> Host? {
        guard let bytestreams else { return nil }
        let host = configuration.bytestreams.host ?? domain.name
        return try make(domain) { features, policy throws(RouteConflict) in
            try StandardFeatures.bytestreams(at: address, bytestreams, host: host, policy: policy, features)
        }
    }

    // MARK: Nodes

    private static let pubsubName = "Publishing"

    private func pubsub(at address: BareJID, of domain: ServerConfiguration.Domain) throws(CommandFailure) -> Host {
        var settings = PubSubService.Settings()
        settings.operators = admins(of: domain.name)
        settings.nodes = PubSubSettings(configuration.pubsub)
        return try make(domain) { features, policy throws(RouteConflict) in
            try StandardFeatures.pubsub(at: address, name: Self.pubsubName, settings, policy: policy, features)
        }
    }

    // MARK: Uploads

    private static let uploadsName = "File upload"

    private func uploads(at address: BareJID, of domain: ServerConfiguration.Domain) throws(CommandFailure) -> Host {
        guard let accounts = try? BareJID(parsing: domain.name) else { throw CommandFailure(.configuration, "\(domain.name) is not a domain") }
        let settings = HTTPFileUpload.Settings(
            domain: accounts, name: Self.uploadsName, url: configuration.uploadURL(of: domain), fileBytesMax: configuration.uploads.fileBytesMax)
        return try make(domain) { features, policy throws(RouteConflict) in
            try StandardFeatures.uploads(at: address, settings, uploads, policy: policy, features)
        }
    }

    // MARK: Search

    private static let searchName = "People"

    private func search(at address: BareJID, of domain: ServerConfiguration.Domain) throws(CommandFailure) -> Host {
        guard let accounts = try? BareJID(parsing: domain.name) else { throw CommandFailure(.configuration, "\(domain.name) is not a domain") }
        var settings = UserSearch.Settings(domain: accounts)
        settings.name = Self.searchName
        settings.findsEmpty = configuration.search.finds == .all
        settings.resultsMax = configuration.search.resultsMax
        settings.perMinuteMax = configuration.search.perMinuteMax
        switch configuration.search.askers {
        case .domain: break
        case .server: settings.askers = Set(configuration.domains.map(\.name))
        }
        return try make(domain) { features, policy throws(RouteConflict) in
            try StandardFeatures.search(at: address, settings, policy: policy, features)
        }
    }

    // MARK: Rooms

    private static let roomsName = "Rooms"

    private func rooms(at address: BareJID, of domain: ServerConfiguration.Domain) throws(CommandFailure) -> Host {
        var settings = MultiUserChat.Settings(identities: OccupantIDs(secret: occupantSecret))
        settings.counters = roomCounters
        settings.blockLists = sharedLists.lists
        settings.operators = admins(of: domain.name)
        settings.limits = RoomLimits(configuration.rooms)
        settings.limits.vCardBytesMax = configuration.limits.vCardBytesMax
        settings.standard = RoomConfiguration(configuration.rooms.standard)
        settings.creation =
            switch configuration.rooms.creation {
            case .everybody: .everybody
            case .local: .local
            case .admins: .administrators(admins(of: domain.name))
            case .nobody: .nobody
            }
        return try make(domain) { features, policy throws(RouteConflict) in
            try StandardFeatures.rooms(at: address, name: Self.roomsName, settings, policy: policy, features)
        }
    }

    private func admins(of domain: String) -> NamedAccounts { admins(configuration.admins(of: domain), configuration.adminGroups(of: domain)) }

    private func admins(_ addresses: Set<String>, _ groups: Set<String>) -> NamedAccounts {
        NamedAccounts(addresses.compactMap { try? BareJID(parsing: $0) }, groups: Set(groups.compactMap(GroupName.init(of:))), in: sharedGroups.memberships)
    }

    private var archiveDefault: ArchivePreferences.Default? {
        guard configuration.archive.isEnabled else { return nil }
        return switch configuration.archive.keeps {
        case .always: .always
        case .roster: .roster
        case .never: .never
        }
    }

    private func policy(of domain: String) -> AccessPolicy {
        let domains = configuration.domains.map(\.name)
        let elsewhere = admins(Set(domains.flatMap(configuration.admins)), Set(domains.flatMap(configuration.adminGroups)))
        return AccessPolicy(admins: admins(of: domain), elsewhere: elsewhere, audit: audit)
    }

    private func contacts(_ contacts: ServerConfiguration.Contacts) -> ContactAddresses.Addresses {
        var addresses = ContactAddresses.Addresses()
        addresses.abuse = contacts.abuse
        addresses.admin = contacts.admin
        addresses.feedback = contacts.feedback
        addresses.sales = contacts.sales
        addresses.security = contacts.security
        addresses.status = contacts.status
        addresses.support = contacts.support
        return addresses
    }
}

extension RoomLimits {
    init(_ rooms: ServerConfiguration.Rooms) {
        self.init()
        occupantsMax = rooms.occupantsMax
        affiliationsMax = rooms.affiliationsMax
        historyMax = rooms.historyMax
        historyBytesMax = rooms.historyBytesMax
        pingAfter = rooms.pingAfter
        perAccountMax = rooms.perAccountMax
        archiving =
            switch rooms.archiving {
            case .allowed: .allowed
            case .always: .always
            case .never: .never
            }
    }
}

extension RegistrationSettings {
    init(_ configuration: ServerConfiguration, _ passwords: PasswordRules, elsewhere: any PasswordChanging, at domain: String) {
        self.init()
        self.passwords = passwords
        keys = configuration.keyPolicy
        reservedNames = Set(configuration.accounts.reservedNames)
        // Who has an account there, and with which password, the directory says.
        accountsAreElsewhere = configuration.isInDirectory(domain)
        if accountsAreElsewhere {
            changesPasswords = configuration.changesPasswords(inDirectoryOf: domain)
            passwordsElsewhere = changesPasswords ? elsewhere : nil
            return
        }
        let accounts = configuration.accounts
        offer =
            switch accounts.registration {
            case .closed: .closed
            case .invited: .invited
            case .open: .open
            }
        changesPasswords = accounts.changesPasswords
        removesAccounts = accounts.removesAccounts
    }
}

extension InvitationSettings {
    init(_ configuration: ServerConfiguration, at domain: String) {
        self.init()
        let invitations = configuration.accounts.invitations
        accountsInvite = invitations.users
        lifetime = invitations.lifetime.components.seconds * 1000
        openMax = invitations.perAccountMax
        url = configuration.web.url ?? configuration.listeners.first { $0.kind == .https }.map { "https://\(domain):\($0.port)" }
    }
}

extension PersonalEventingSettings {
    init(_ pubsub: ServerConfiguration.PubSub) {
        self.init()
        nodesMax = pubsub.accountNodesMax
        itemsMax = pubsub.accountItemsMax
        bytesMax = pubsub.accountBytesMax
        payloadBytesMax = pubsub.itemBytesMax
    }
}

extension PubSubSettings {
    init(_ pubsub: ServerConfiguration.PubSub) {
        self = .service
        creators =
            switch pubsub.service.creation {
            case .local: .localAccounts
            case .admins: .administrators
            }
        nodesMax = pubsub.service.nodesMax
        itemsMax = pubsub.service.itemsMax
        bytesMax = pubsub.service.bytesMax
        payloadBytesMax = pubsub.itemBytesMax
    }
}

extension UploadSettings {
    init(_ uploads: ServerConfiguration.Uploads) {
        self.init()
        fileBytesMax = uploads.fileBytesMax
        accountBytesMax = uploads.accountBytesMax
        accountFilesMax = uploads.accountFilesMax
        accountDayBytesMax = uploads.accountDayBytesMax
        domainBytesMax = uploads.domainBytesMax
        domainDayBytesMax = uploads.domainDayBytesMax
        types = uploads.types.compactMap { MediaTypePattern($0) }
        slotLifetime = uploads.slotLifetime
        accountTransfersMax = uploads.accountTransfersMax
        retention = [
            .message: uploads.retention.message, .profile: uploads.retention.profile, .ephemeral: uploads.retention.ephemeral,
            .permanent: uploads.retention.permanent,
        ]
    }
}

extension RoomConfiguration {
    init(_ standard: ServerConfiguration.StandardRoom) {
        self.init()
        isPersistent = standard.isPersistent
        isPublic = standard.isPublic
        isMembersOnly = standard.isMembersOnly
        isModerated = standard.isModerated
        whois = standard.showsAddresses ? .anyone : .moderators
        isArchived = standard.isArchived
        occupantsMax = standard.occupantsMax
        historyLength = standard.historyLength
    }
}

extension CommandFailure {
    fileprivate init(_ conflict: RouteConflict) {
        self.init(.software, "two features answer \(conflict.local) in \(conflict.namespace)")
    }
}

extension HostLimits {
    package init(_ configuration: ServerConfiguration) {
        self.init()
        sessionsMax = configuration.limits.sessionsPerAccountMax
        rosterItemsMax = configuration.limits.rosterItemsMax
        sharedItemsMax = configuration.limits.sharedRosterItemsMax
        blockedMax = configuration.limits.blockedAddressesMax
        offlineMessagesMax = configuration.messages.offline ? configuration.limits.offlineMessagesMax : 0
        offlineBytesMax = configuration.limits.offlineBytesMax
        parkedMax = configuration.limits.parkedStanzasMax
        parkedBytesMax = configuration.limits.parkedBytesMax
        vCardBytesMax = configuration.limits.vCardBytesMax
        privateBytesMax = configuration.limits.privateStorageBytesMax
        pushRegistrationsMax = configuration.limits.pushRegistrationsMax
        resourceConflict = configuration.limits.resourceConflict == .replaceOld ? .replaceOld : .refuseNew
    }
}
