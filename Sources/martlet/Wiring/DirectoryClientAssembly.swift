import Logging
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletNetwork
import MartletXMPP
import NIOCore
import NIOSSL

/// Makes of the configuration what directory clients find.
struct DirectoryClientAssembly {
    /// What it takes of the server.
    struct Surroundings {
        let core: ServerCore
        let accounts: any AccountSource
        let certificates: CertificateStore
        let clients: ClientListenerService
        let directories: [BareJID: DirectoryAssembly.Assembled]
        let audit: any AuditSink
        let log: Logger
    }

    private let configuration: ServerConfiguration

    init(configuration: ServerConfiguration) { self.configuration = configuration }

    /// - Returns: `nil` where there is no listener for them.
    func service(_ around: Surroundings) throws(CommandFailure) -> DirectoryClients? {
        guard configuration.servesDirectoryClients, let domain = configuration.directoryClientDomains.first else { return nil }
        let listeners = NetworkAssembly(configuration: configuration).listeners.filter(\.kind.isForDirectoryClients)
        let ports = DirectoryListenerService(listeners, beside: around.clients, time: around.core.time, log: around.log)
        let logins = DirectoryClientLogins(ports, listeners, audit: around.audit, time: around.core.time)
        let backend = try backend(around, logins)
        let frontEnd = LDAPFrontEnd(
            settings, backend, PresenceView(around.core.router, on: around.core.mailbox),
            tls: { [certificates = around.certificates] listener in
                certificates.certificate(of: domain)?.context(listeners[listener.number].tlsProfile)
            }, binds: logins.watch, on: around.core.pool.group, log: around.log)
        do throws(DirectoryFailure) { try frontEnd.prepare() } catch {
            throw CommandFailure(.configuration, "directory-clients: \(error)", hint: "correct servers, start-tls or trust-anchors of \(domain) in directories")
        }
        return DirectoryClients(frontEnd, ports, listeners)
    }

    private var settings: FrontEndSettings {
        let configured = configuration.directoryClients
        var settings = FrontEndSettings()
        settings.connectionsMax = configured.connectionsMax
        settings.connectionsPerAddressMax = configured.connectionsPerAddressMax
        settings.operationsMax = configured.operationsMax
        settings.idleSeconds = Int(clamping: configured.idleTimeout.components.seconds)
        settings.decorations = configured.decorations
        if let entry, let rule = try? AddressRule(parsing: entry.people.address.joined(separator: "|")) { settings.setAddresses(rule) }
        return settings
    }

    /// The directory behind.
    private var entry: ServerConfiguration.Directory? { configuration.directories.first { $0.domain == configuration.directoryClients.directory } }

    private func backend(_ around: Surroundings, _ logins: DirectoryClientLogins) throws(CommandFailure) -> LDAPFrontEnd.Backend {
        guard let entry else { return .embedded(embedded(around, logins)) }
        guard let domain = try? BareJID(parsing: entry.domain), let directory = around.directories[domain] else {
            throw CommandFailure(.software, "the directory of \(entry.domain) is not followed")
        }
        return .overlay(Self.dial(entry), FrontEndNames(directory.service.people, userDomain: configuration.directoryClients.userDomain))
    }

    /// This server's own certificate is not shown there: whoever has not bound would be this server to a directory that goes by it, as Active Directory does.
    private static func dial(_ entry: ServerConfiguration.Directory) -> UpstreamDial {
        UpstreamDial(
            entry.servers.compactMap { (try? LDAPURL($0)).flatMap { DirectoryAddress($0) } }, startTLS: entry.startTLS == .required ? .required : .off,
            tls: DirectoryTLS(authorities: entry.trustAnchors), timeout: TimeAmount(entry.connectTimeout))
    }

    private func embedded(_ around: Surroundings, _ logins: DirectoryClientLogins) -> EmbeddedDirectory {
        let domains = configuration.directoryClientDomains.compactMap { try? BareJID(parsing: $0) }
        let base = configuration.directoryClients.base.flatMap { try? DistinguishedName($0) }
        let tree = EmbeddedTree(domains, under: base, allowsAnonymous: configuration.directoryClients.allowsAnonymous)
        let (core, accounts) = (around.core, around.accounts)
        return EmbeddedDirectory(
            tree, EmbeddedPeople(core.store, in: tree, time: core.time),
            EmbeddedDirectory.Accounts(now: { core.router.credentials.now }) { account, moment in
                guard !core.router.credentials(of: account, haveChangedSince: moment), await core.hosts(account) else { return .badCredentials }
                return await accounts.standing(of: account)
            } verify: { claim in
                // A reload may have taken the domain away.
                let isHosted = if let account = claim.account { await core.hosts(account) } else { false }
                return await logins.verdict(on: claim, of: isHosted ? claim.account : nil)
            })
    }
}

extension ServerCore {
    /// Whether the domain of an account is still one of this server's.
    fileprivate func hosts(_ account: BareJID) async -> Bool {
        await withCheckedContinuation { continuation in
            mailbox.run { context in continuation.resume(returning: context.hosts.host(of: account) != nil) }
        }
    }
}
