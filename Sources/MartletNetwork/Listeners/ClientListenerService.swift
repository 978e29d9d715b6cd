import Logging
import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

/// The ports on which clients connect, from start to stop.
package final class ClientListenerService: Sendable {
    /// What new connections get.
    private struct Current {
        var service: ClientService
        var listeners: [ClientListener]
        /// What those of them that speak HTTP offer.
        var sites: [WebSite?]

        init(_ service: ClientService, _ configurations: [ListenerConfiguration]) {
            self.service = service
            let all = configurations.map { ClientListener($0, service) }
            listeners = all
            sites = all.map { $0.configuration.kind.speaksHTTP ? WebSite($0, among: all) : nil }
        }
    }

    private let pool: LoopPool
    private let configurations: [ListenerConfiguration]
    // Read once per connection, swapped by a reload.
    private let current: NIOLockedValueBox<Current>
    private let sockets: ListeningPorts

    package init(_ configurations: [ListenerConfiguration], _ service: ClientService, on pool: LoopPool) {
        self.pool = pool
        let own = configurations.filter(\.kind.isForClients)
        self.configurations = own
        current = NIOLockedValueBox(Current(service, own))
        sockets = ListeningPorts(log: service.log)
    }

    var service: ClientService { current.withLockedValue { $0.service } }

    /// Puts other settings in force for connections that come from now on; those that are there keep what they began with, except that clients
    /// go that other rules about log-ins would not let in. Ports stay.
    ///
    /// - Parameter kerberos: reads their tickets, if anybody does.
    package func apply(_ settings: NetworkSettings, _ kerberos: KerberosAcceptor?) {
        let before = service.settings.policy
        let fresh = ClientService(service, with: settings, kerberos)
        let next = Current(fresh, configurations)
        current.withLockedValue { $0 = next }
        guard !settings.policy.rules.isEmpty, settings.policy.rules != before.rules || settings.policy.groups != before.groups else { return }
        for loop in pool.loops { loop.loop.execute { loop.lookAtLoginsAgain() } }
    }

    /// What holds for connections to a listener from now on, or to the first of them, for whoever asks why.
    package func policy(of listener: LoginListener?) -> (configuration: ListenerConfiguration, policy: ClientStreamPolicy)? {
        current.withLockedValue { current in
            current.listeners.first { listener?.includes($0.configuration.name) ?? true }.map { ($0.configuration, $0.policy) }
        }
    }

    /// Where clients get tokens that a domain believes.
    package func bearerOffer(at domain: String) -> BearerOffer? { service.issuers.offer(at: domain) }

    /// Whose tickets are good at a domain.
    package func kerberos(at domain: String) -> KerberosOffer? { service.kerberos?.settings.offer(at: domain) }

    /// What a domain asks of clients' certificates.
    package func certificateDemand(of domain: String) -> ClientCertificateSettings.Demand { service.clientCertificates.demand(of: domain) }

    /// How long the answer to an attempt would have to wait now, because of its address and because of its account.
    package func loginDelays(_ address: NetworkAddress?, _ account: BareJID) -> (address: TimeAmount, account: TimeAmount) {
        service.loginDelays(address, account, at: .now())
    }

    /// The same, and who reads tickets stays.
    package func apply(_ settings: NetworkSettings) { apply(settings, service.kerberos) }

    /// Whether it is known how to find out whether certificates of clients are revoked.
    package var checksRevocation: Bool { service.clientCertificates.checksRevocation }

    /// The same for certificates of clients, also of those that are there.
    ///
    /// - Parameter checker: if there was none.
    package func apply(
        _ settings: ClientCertificateSettings, _ revocation: RevocationSettings, _ files: RevocationFiles, _ checker: RevocationChecker?
    ) async {
        service.clientCertificates.apply(settings, revocation, files, checker)
        await keepUpCertificates()
    }

    /// From one look at lists of revoked certificates to the next.
    private static let certificateInterval = TimeAmount.minutes(1)

    /// Reads lists that have changed, fetches those that will be out of date, and ends streams whose certificates are not good any more.
    package func keepUpCertificates() async {
        let (service, pool) = (service, pool)
        guard let first = pool.loops.first else { return }
        let now = Int(first.context.time.wallMilliseconds / 1_000)
        for error in await service.clientCertificates.keepUp(now: now, on: first.loop) {
            service.log.warning("a list of revoked certificates cannot be used", metadata: ["why": "\(error)"])
        }
        for loop in pool.loops { loop.loop.execute { loop.lookAtCertificatesAgain() } }
    }

    /// Puts other authorization servers in force, also for streams that are there and log in later.
    package func apply(_ issuers: [(settings: TokenIssuerSettings, fetch: TokenIssuerFetch)]) {
        service.issuers.apply(issuers)
        // The reload need not wait for others' servers.
        Task { await keepUpIssuers() }
    }

    /// Fetches keys of authorization servers that will be out of date.
    private func keepUpIssuers() async {
        for fault in await service.issuers.keepUp() {
            service.log.warning("the keys of an authorization server cannot be fetched", metadata: ["issuer": "\(fault.issuer)", "why": "\(fault.why)"])
        }
    }

    private func beginKeepingUp() {
        // Nobody waits for it.
        Task { await keepUpIssuers() }
        pool.loops.first?.loop.scheduleRepeatedTask(initialDelay: Self.certificateInterval, delay: Self.certificateInterval) { [self] _ in
            // A task on the system's threads, since files are read.
            Task {
                await keepUpCertificates()
                await keepUpIssuers()
            }
        }
    }

    /// Opens every port, or none.
    ///
    /// - Throws: ``ListenerError`` about the first that cannot be opened.
    package func start() async throws(ListenerError) {
        let (pool, current) = (pool, current)
        beginKeepingUp()
        try await sockets.open(configurations.map { ListeningPorts.Port($0) }, service.settings, on: pool.group) { index, channel in
            let (listener, site) = current.withLockedValue { ($0.listeners[index], $0.sites[index]) }
            try ListeningSocket.setUserTimeout(listener.service.settings.tcpUserTimeout, on: channel)
            if let site { return try WebConnection.install(on: channel, site, pool.loop(of: channel.eventLoop)) }
            try channel.pipeline.syncOperations.addHandler(ClientConnection(listener, pool.loop(of: channel.eventLoop)))
        }
    }

    /// Connections whose peer is known, and those that have not logged in: for metrics.
    package var connectionCount: Int { service.connectionCount }
    package var unauthenticatedCount: Int { service.unauthenticatedCount }
    package var unauthenticatedBytes: Int { service.unauthenticatedBytes }

    /// The ports that are open, in the order of configuration: for tests, which let the system choose.
    package var ports: [Int] { sockets.numbers }

    /// Stops accepting, tells every client `<system-shutdown/>`, and waits for their ends of the streams; not longer than the settings say.
    package func stop() async {
        await stopAccepting()
        let error = StreamError(.systemShutdown)
        let ended = pool.loops.map { $0.endAll(error, within: service.settings.stopDeadline) }
        for future in ended { _ = try? await future.get() }
    }

    /// Takes no new connections.
    package func stopAccepting() async { await sockets.close() }
}
