import MartletCore
package import MartletNetwork
import MartletXML
import MartletXMPP
import NIOCore

/// Makes of the configuration what connections obey.
package struct NetworkAssembly {
    let configuration: ServerConfiguration

    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    package var settings: NetworkSettings {
        var settings = NetworkSettings()
        settings.loginDeadline = TimeAmount(configuration.limits.loginDeadline)
        settings.pingAfter = configuration.idle.pingAfter.map { TimeAmount($0) }
        settings.pingTimeout = TimeAmount(configuration.idle.pingTimeout)
        settings.tcpUserTimeout = configuration.idle.tcpUserTimeout.map { TimeAmount($0) }
        settings.stopDeadline = TimeAmount(configuration.server.stopTimeout)
        settings.limits.stanzaBytesMax = configuration.limits.stanzaBytesMax
        settings.limits.depthMax = configuration.limits.stanzaDepthMax
        settings.limits.elementsMax = configuration.limits.stanzaElementsMax
        settings.limits.nodesMax = max(settings.limits.nodesMax, configuration.limits.stanzaElementsMax * 4)
        settings.limits.attributesMax = configuration.limits.elementAttributesMax
        settings.limitsBeforeAuthentication.stanzaBytesMax = configuration.limits.stanzaBytesBeforeAuthenticationMax
        settings.bytesPerSecond = configuration.limits.stanzaBytesPerSecond
        settings.bytesBurst = configuration.limits.stanzaBytesBurst
        settings.admission.connectionsPerAddressMax = configuration.limits.streamsPerAddressMax
        settings.admission.unauthenticatedMax = configuration.limits.unauthenticatedStreamsMax
        settings.admission.unauthenticatedBytesMax = configuration.limits.unauthenticatedBytesMax
        let authentication = configuration.authentication
        settings.policy.mechanisms = authentication.mechanisms.compactMap { SASLMechanism(name: $0.rawValue) }
        settings.policy.upgrades = authentication.upgrades.compactMap { ScramHash(mechanismName: $0.rawValue) }
        settings.policy.offersChannelBinding = authentication.channelBinding
        settings.policy.attemptsMax = authentication.triesPerStreamMax
        let logins = LoginRuleAssembly(configuration: configuration)
        settings.policy.groups = logins.groups
        settings.policy.rules = logins.rules
        settings.throttle.failuresPerAddressMax = authentication.failuresPerAddressMax
        settings.throttle.recoveryPerAddress = TimeAmount(authentication.failureRecoveryPerAddress)
        settings.throttle.failuresPerAccountMax = authentication.failuresPerAccountMax
        settings.throttle.recoveryPerAccount = TimeAmount(authentication.failureRecoveryPerAccount)
        settings.tokens = tokens
        settings.registrations.perNetworkMax = configuration.accounts.requestsPerNetworkMax
        settings.registrations.totalMax = configuration.accounts.requestsMax
        settings.web.url = configuration.web.url
        settings.web.offersUploads = configuration.offersUploads
        settings.web.ports = ports
        settings.web.people = people
        return settings
    }

    private var people: PeopleSettings {
        var people = PeopleSettings()
        for domain in configuration.domains {
            guard let name = (try? BareJID(parsing: domain.name))?.domainpart else { continue }
            switch domain.peoplePage {
            case .off: break
            case .organisation: people.access[name] = .organisation
            case .everyone: people.access[name] = .everyone
            }
        }
        people.findsEmpty = configuration.search.finds == .all
        people.sessionLifetime = TimeAmount(configuration.peoplePage.sessionLifetime)
        people.streamsPerNetworkMax = configuration.peoplePage.streamsPerNetworkMax
        people.streamsMax = configuration.peoplePage.streamsMax
        return people
    }

    private var tokens: DeviceTokens.Settings? {
        let lifetime = configuration.devices.tokenLifetime.components.seconds
        return lifetime > 0 ? DeviceTokens.Settings(lifetime: lifetime * 1_000) : nil
    }

    /// What host-meta.json says of other ways than HTTP (XEP-0487): nothing, unless it can say all.
    private var ports: PublicPorts? {
        guard configuration.saysPorts else { return nil }
        return PublicPorts(
            addresses: configuration.web.addresses.map(\.description), clients: configuration.publicPorts(.clientTLS),
            servers: configuration.federation.isEnabled ? configuration.publicPorts(.serverTLS) : [])
    }

    private static func kind(_ kind: ListenerKind) -> ListenerConfiguration.Kind {
        switch kind {
        case .client: .client
        case .clientTLS: .clientTLS
        case .server: .server
        case .serverTLS: .serverTLS
        case .https: .https
        case .http: .http
        case .component: .component
        case .componentTLS: .componentTLS
        case .ldap: .ldap
        case .ldaps: .ldaps
        }
    }

    var listeners: [ListenerConfiguration] {
        let acme = configuration.acme
        let challenges = acme.port.map { ListenerConfiguration(kind: .challenge, addresses: acme.addresses.map(\.description), port: $0) }
        return configured + (acme.isEnabled ? [challenges].compactMap(\.self) : [])
    }

    private var configured: [ListenerConfiguration] {
        configuration.listeners.filter { !$0.kind.isForComponents || configuration.opens($0) }.map { listener in
            ListenerConfiguration(
                kind: Self.kind(listener.kind), addresses: listener.addresses.map(\.description), port: listener.port,
                proxySources: listener.proxySources.compactMap { NetworkBlock($0.description) },
                allowsPlaintext: listener.plaintextAuthentication, tlsProfile: TLSProfile(listener.tlsProfile))
        }
    }
}

extension ServerConfiguration {
    /// Ports of a kind that are open to others than this machine.
    func publicPorts(_ kind: ListenerKind) -> [Int] {
        listeners.filter { $0.kind == kind && !$0.addresses.allSatisfy(\.isLoopback) }.map(\.port)
    }

    /// Whether everybody can be told where to connect without DNS. There is no word for STARTTLS: whoever needs it would find nothing.
    var saysPorts: Bool {
        !web.addresses.isEmpty && !publicPorts(.clientTLS).isEmpty && (!federation.isEnabled || !publicPorts(.serverTLS).isEmpty)
    }
}

extension TLSProfile {
    init(_ name: TLSProfileName) {
        self =
            switch name {
            case .modern: .modern
            case .intermediate: .intermediate
            case .strict: .strict
            }
    }
}

extension CommandFailure {
    /// A port that cannot be opened, with the place in the configuration that asks for it.
    init(_ error: ListenerError, _ loaded: LoadedConfiguration) {
        let status: ExitStatus =
            switch error.reason {
            case .portInUse: .unavailable
            case .permissionDenied: .noPermission
            case .noSuchAddress, .notAnAddress: .configuration
            case .other: .unavailable
            }
        let listeners = loaded.configuration.listeners
        let index = listeners.firstIndex { $0.port == error.port && $0.addresses.map(\.description).contains(error.address) }
        let bytestreams = loaded.configuration.bytestreams
        let isForChallenges = loaded.configuration.acme.isEnabled && loaded.configuration.acme.port == error.port
        let others = isForChallenges ? "acme.port" : bytestreams.isEnabled && bytestreams.port == error.port ? "bytestreams.port" : "metrics.port"
        let path = index.map { "listeners[\($0)].port" } ?? others
        self.init(status, error.description, hint: "it is asked for by \(path) (\(loaded.origin(of: path)))")
    }
}
