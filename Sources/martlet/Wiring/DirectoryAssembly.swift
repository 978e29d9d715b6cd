import Logging
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletNetwork
import MartletXMPP
import NIOCore

/// Makes of the configuration which directories are followed, and how log-ins at their domains are checked.
struct DirectoryAssembly {
    /// What a directory needs of the server.
    struct Surroundings {
        let core: ServerCore
        let work: any PasswordWork
        let log: Logger
    }

    /// A directory, and who logs in by it.
    struct Assembled: Sendable {
        let service: DirectoryService
        let accounts: DirectoryAccountSource
        let binding: BindPool
        /// For single entries.
        let entries: DirectoryClient
        /// Where rosters are in the directory as well.
        let rosters: RosterExchange?

        func stop() async {
            await rosters?.stop()
            await service.stop()
            await binding.close()
            await entries.close()
        }
    }

    private let configuration: ServerConfiguration

    init(configuration: ServerConfiguration) { self.configuration = configuration }

    func services(_ surroundings: Surroundings) throws(CommandFailure) -> [BareJID: Assembled] {
        var services: [BareJID: Assembled] = [:]
        for entry in configuration.directories {
            guard let domain = try? BareJID(parsing: entry.domain) else { throw Self.unchecked }
            services[domain] = try assemble(entry, domain, surroundings)
        }
        return services
    }

    private func assemble(_ entry: ServerConfiguration.Directory, _ domain: BareJID, _ around: Surroundings) throws(CommandFailure) -> Assembled {
        let servers = try Self.servers(of: entry, "directories: \(entry.domain)", time: around.core.time, on: around.core.pool.group, log: around.log)
        let folder = configuration.server.dataFolder
        guard let base = entry.people.base, let rule = try? AddressRule(parsing: entry.people.address.joined(separator: "|")),
            let filter = try? LDAPFilter(entry.people.filter)
        else { throw Self.unchecked }
        let hasGroups = entry.groups.base != nil
        let cards = entry.vCard.settings
        let attributes = PersonAttributes.mirrored(
            others: rule.attributes + ["uid", "mail"] + (hasGroups ? DirectoryGroupAssembly.peopleAttributes : []), hasPhotos: cards.hasPhotos)
        let mapping = PersonMapping(
            domain: domain, addresses: rule, lockMilliseconds: entry.lockDuration.map { Int64(clamping: $0.components.seconds) * 1_000 })
        let prepare: NamePreparation = { name in (try? DistinguishedName(name)).map { Array($0.normalized.utf8) } }
        let mirror = DirectoryMirror(attributes, prepare: prepare)
        let marking = CredentialMarking(secret: try ServerSecret.directory.load(from: folder))
        let people = PeopleDirectory(
            MirroredPeople(
                mirror, People(mapping, attributes, marking, allowed: entry.allowGroup == nil ? nil : []), hasGroups: hasGroups,
                brake: SafetyBrake(percent: entry.removalsMax)), time: around.core.time,
            staleMillisecondsMax: Int64(clamping: entry.staleAfter.components.seconds) * 1_000)
        var settings = DirectoryService.Settings(base: base, filter: filter, attributes: attributes.names)
        settings.detection = entry.following.detection
        settings.keepsGone = .seconds(entry.keepsGone.components.seconds)
        settings.removalsMax = entry.removalsMax
        settings.snapshot = SnapshotFile("\(folder)/directory-\(entry.domain).snapshot", SnapshotForm())
        var client = DirectoryClient.Settings()
        client.identity = try Self.identity(entry)
        let router = around.core.router
        let groups = try DirectoryGroupAssembly(entry: entry, domain: domain, people: people, attributes: attributes, prepare: prepare, configuration: configuration).keeping(
            DirectoryClient(servers, client, log: around.log), settings.detection, around)
        let entries = DirectoryClient(servers, client, log: around.log)
        around.core.directories.profiles.add(domain, people, cards, entries, log: around.log)
        around.core.directories.passwords.add(
            domain, .init(people, entry.passwordChange.way, entries, router, on: around.core.mailbox, log: around.log))
        let delivery = ProfileDelivery(
            domain, around.core.directories.profiles, router, on: around.core.mailbox, timers: around.core.pool.group.any(), log: around.log)
        let service = DirectoryService(
            domain, DirectoryClient(servers, client, log: around.log), people,
            AccountProvisioning(router, on: around.core.mailbox, time: around.core.time, adoptsLocalAccounts: entry.adoptsAccounts), router, settings,
            groups: groups, profiles: delivery, passwords: around.core.directories.passwords, time: around.core.time, timers: around.core.pool.group.any(),
            log: around.log)
        let binding = BindPool(servers, timers: around.core.pool.group.any())
        let simulation = try Self.simulation(folder, entry.iterations)
        let accounts = DirectoryAccountSource(
            people, verifiers: entry.passwords.map(\.verifier), binding: AdvisedBinding(binding, people, around.core.directories.passwords),
            work: around.work, simulation: simulation,
            simulatedHash: entry.hashes.contains(.sha512) ? .sha512 : entry.hashes.contains(.sha256) ? .sha256 : .sha1,
            decoyName: "cn=\(SystemRandom().token()),\(base)")
        return Assembled(
            service: service, accounts: accounts, binding: binding, entries: entries, rosters: try rosters(of: entry, domain, servers, client, around))
    }

    /// Domains whose rosters are in a directory as well.
    var rosterDomains: Set<String> { Set(configuration.directories.filter { $0.rosters.store == .directory }.map(\.domain)) }

    private func rosters(
        of entry: ServerConfiguration.Directory, _ domain: BareJID, _ servers: DirectoryServers, _ client: DirectoryClient.Settings, _ around: Surroundings
    ) throws(CommandFailure) -> RosterExchange? {
        guard entry.rosters.store == .directory else { return nil }
        guard let base = entry.rosters.base.flatMap({ try? DistinguishedName($0) }) else { throw Self.unchecked }
        var settings = RosterExchange.Settings(RosterTree(base: base, domain: domain))
        settings.detection = entry.following.detection
        return RosterExchange(
            domain, follower: DirectoryClient(servers, client, log: around.log), writer: DirectoryClient(servers, client, log: around.log), around.core.router,
            on: around.core.mailbox, settings, time: around.core.time, timers: around.core.pool.group.any(), log: around.log)
    }

    private static func simulation(_ folder: String, _ iterations: Int) throws(CommandFailure) -> ScramSimulation {
        let secret = try ServerSecret.simulation.load(from: folder)
        do throws(ScramKeysError) { return try ScramSimulation(secret: secret, iterations: iterations) } catch {
            throw CommandFailure(.configuration, "directories: iterations: \(error)")
        }
    }

    /// - Parameter name: what the operator knows it by.
    static func servers(
        of entry: some DirectoryReach, _ name: String, time: any TimeSource, on group: any EventLoopGroup, log: Logger
    ) throws(CommandFailure) -> DirectoryServers {
        let (addresses, dial) = try addresses(of: entry, name, on: group, log: log)
        return DirectoryServers(addresses, dial, time: time, log: log)
    }

    /// Where the servers of a directory are, and how they are called.
    static func addresses(
        of entry: some DirectoryReach, _ name: String, on group: any EventLoopGroup, log: Logger
    ) throws(CommandFailure) -> (addresses: [DirectoryAddress], dial: LDAPDial) {
        var settings = LDAPConnection.Settings()
        settings.connectTimeout = entry.connectTimeout.timeAmount
        settings.operationTimeout = entry.operationTimeout.timeAmount
        let certificate = entry.certificate.flatMap { chain in entry.key.map { DirectoryTLS.Certificate(chain: chain, key: $0) } }
        let dial = LDAPDial(
            settings, startTLS: entry.startTLS == .required ? .required : .off, tls: DirectoryTLS(authorities: entry.trustAnchors, certificate: certificate),
            on: group, log: log)
        let addresses = entry.servers.compactMap { (try? LDAPURL($0)).flatMap { DirectoryAddress($0) } }
        guard addresses.count == entry.servers.count, !addresses.isEmpty else { throw unchecked }
        for address in addresses {
            guard let fault = dial.fault(of: address) else { continue }
            throw CommandFailure(.configuration, "\(name): \(fault)", hint: "correct its servers or start-tls")
        }
        return (addresses, dial)
    }

    /// As whom the server asks a directory.
    static func identity(_ entry: some DirectoryReach) throws(CommandFailure) -> DirectoryIdentity {
        if entry.logIn.mechanism == .external { return .external }
        guard let name = entry.logIn.name, let file = entry.logIn.passwordFile else { return .anonymous }
        let secret = try SecretFile.read(file)
        guard let password = PreparedPassword(String(decoding: secret, as: UTF8.self)) else {
            throw CommandFailure(.configuration, "\(file) holds no password", hint: "it holds the password of this server in the directory, on one line")
        }
        return switch entry.logIn.mechanism {
        case .simple: .simple(name: name, password)
        case .plain: .plain(username: name, password)
        case .scramSHA1: .scram(.sha1, username: name, password)
        case .scramSHA256: .scram(.sha256, username: name, password)
        case .scramSHA512: .scram(.sha512, username: name, password)
        case .external: .external
        }
    }

    /// Whoever loads a configuration checks it.
    static let unchecked = CommandFailure(.configuration, "an entry of directories is not complete", hint: "run 'martlet config check'")
}

extension ServerConfiguration.Directory.Verifier {
    var verifier: PasswordVerifier {
        switch self {
        case .pbkdf2: .passwordHash
        case .scram: .publishedKeys
        case .bind: .bind
        }
    }
}

extension ServerConfiguration.Directory.Following {
    var detection: ChangeDetection? {
        switch self {
        case .automatic: nil
        case .sync: .contentSync
        case .poll: .polling(.modifyTimestamp)
        }
    }
}

extension Duration {
    fileprivate var timeAmount: TimeAmount { .nanoseconds(components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000) }
}
