import Logging
import MartletCore
package import MartletNetwork
import MartletXMPP
import NIOCore

/// Makes of the configuration how this server deals with others.
package struct FederationAssembly {
    private let configuration: ServerConfiguration
    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    private var federation: ServerConfiguration.Federation { configuration.federation }

    /// - Parameter secret: behind dialback keys; that of the data folder unless given.
    /// - Returns: `nil` where there is no federation.
    func service(_ certificates: CertificateStore, secret: [UInt8]? = nil, log: Logger) throws(CommandFailure) -> FederationService? {
        guard federation.isEnabled else { return nil }
        let dialler = try dialler
        let keySecret: [UInt8]
        if let secret { keySecret = secret } else { keySecret = try ServerSecret.dialback.load(from: configuration.server.dataFolder) }
        let trust = try trust
        if trust.unreadableCount > 0 {
            log.warning("authorities that cannot be read are not trusted", metadata: ["count": "\(trust.unreadableCount)"])
        }
        return FederationService(
            try settingsWithTrust(), NetworkAssembly(configuration: configuration).settings,
            .init(
                certificates: certificates, trust: trust, resolver: dialler.resolver, dialler: dialler, secret: DialbackSecret(keySecret)), log: log)
    }

    package var settings: FederationSettings {
        var settings = FederationSettings()
        let network = NetworkAssembly(configuration: configuration).settings
        settings.limits = network.limits
        settings.limitsBeforeAuthentication = network.limitsBeforeAuthentication
        settings.stanzasPerTurnMax = network.stanzasPerTurnMax
        settings.negotiationDeadline = TimeAmount(federation.negotiationDeadline)
        settings.callDeadline = TimeAmount(federation.connectTimeout)
        settings.idleTimeout = TimeAmount(federation.idleTimeout)
        settings.queueStanzasMax = federation.queueStanzasMax
        settings.queueBytesMax = federation.queueBytesMax
        settings.queueBytesTotalMax = federation.queueBytesTotalMax
        settings.keptFor = TimeAmount(federation.retryFor)
        settings.keptStanzasMax = federation.storedStanzasMax
        settings.keptBytesMax = federation.storedBytesMax
        settings.callsMax = federation.callsMax
        settings.admission.connectionsPerAddressMax = federation.streamsPerAddressMax
        settings.admission.unauthenticatedMax = federation.unauthenticatedStreamsMax
        settings.policy = policy(federation.encryption, federation.authentication)
        for peer in configuration.peers {
            settings.policies[peer.domain] = policy(of: peer)
        }
        settings.tlsProfile = TLSProfile(federation.tlsProfile)
        for peer in configuration.peers { settings.tlsProfiles[peer.domain] = peer.tlsProfile.map { TLSProfile($0) } }
        settings.proofs = proofs
        settings.asksWebServers = federation.asksWebServers
        settings.overrides = overrides
        settings.revocation = revocation
        settings.blocked = Set(federation.blocked)
        settings.isClosed = federation.isClosed
        return settings
    }

    private var revocation: RevocationSettings {
        var settings = RevocationSettings()
        settings.mode =
            switch federation.revocation.mode {
            case .off: .off
            case .prefer: .prefer
            case .require: .require
            }
        let hosts = federation.revocation.fetchHosts.compactMap { try? BareJID(parsing: $0) }
        settings.hosts = Set(hosts.compactMap { DNSName($0.asciiDomainpart) })
        return settings
    }

    /// Reads what the configuration names, and forgets it.
    ///
    /// - Throws: what is wrong with it; without it, the server would not start.
    package func check() throws(CommandFailure) {
        guard federation.isEnabled else { return }
        _ = (try trust, try settingsWithTrust(), try resolver)
    }

    /// The settings with the authorities that single servers have of their own and the lists of revoked certificates, read anew.
    package func settingsWithTrust() throws(CommandFailure) -> FederationSettings {
        var settings = settings
        var proofs = settings.proofs
        for peer in configuration.peers {
            guard let file = peer.trustAnchors else { continue }
            proofs[peer.domain]?.trust = try Self.trust(file, hint: "it is named by peers[].trust-anchors of \(peer.domain)")
        }
        settings.proofs = proofs
        do throws(RevocationFileError) { settings.revocationFiles = try RevocationFiles(federation.revocation.lists) } catch {
            throw CommandFailure(.configuration, "\(error)", hint: "it is named by federation.revocation.lists")
        }
        return settings
    }

    private var proofs: [String: PeerProof] {
        Dictionary(configuration.peers.map { ($0.domain, PeerProof(pins: Set($0.pins.map(\.bytes)))) }) { $1 }
    }

    private func policy(of peer: ServerConfiguration.Peer) -> PeerPolicy {
        // Who has pins has nothing else by which he is believed.
        if !peer.pins.isEmpty { return policy(.required, .certificate) }
        return policy(peer.encryption ?? federation.encryption, peer.authentication ?? federation.authentication)
    }

    private func policy(_ encryption: PeerEncryption, _ authentication: PeerAuthentication) -> PeerPolicy {
        PeerPolicy(
            requiresEncryption: encryption == .required, authentication: authentication == .certificate ? .certificate : .dialback,
            bidirection: .init(rawValue: federation.bidirection.rawValue) ?? .accept)
    }

    private var overrides: [BareJID: [DialTarget]] {
        var overrides: [BareJID: [DialTarget]] = [:]
        for peer in configuration.peers where !peer.addresses.isEmpty {
            guard let domain = try? BareJID(parsing: peer.domain) else { continue }
            overrides[domain] = peer.addresses.compactMap { place in
                let port = UInt16(clamping: place.port)
                let tls: DialTarget.TLS = peer.tls == .direct ? .direct : .startTLS
                if let address = NetworkAddress(place.host.trimmingBrackets) { return DialTarget(.address(address), port: port, tls, isSecure: true) }
                return DNSName(place.host).map { DialTarget(.name($0), port: port, tls, isSecure: true) }
            }
        }
        return overrides
    }

    var trust: PeerTrust {
        get throws(CommandFailure) {
            try Self.trust(
                federation.trustAnchors ?? PeerTrust.systemAnchors,
                hint: federation.trustAnchors == nil
                    ? "install the package ca-certificates, or name a file by federation.trust-anchors" : "it is named by federation.trust-anchors")
        }
    }

    private static func trust(_ file: String, hint: String) throws(CommandFailure) -> PeerTrust {
        do throws(CertificateError) { return try PeerTrust(anchorFile: file) } catch {
            let failure = CommandFailure(error)
            throw CommandFailure(failure.status, failure.message, hint: hint)
        }
    }

    /// Whom the server connects to by names that others have said.
    var dialler: Dialler {
        get throws(CommandFailure) {
            Dialler(try resolver, policy: AddressPolicy(allowed: federation.privateNetworks.compactMap { NetworkBlock($0.description) }))
        }
    }

    /// Of the machine's own, for whoever fetches something.
    var resolver: any Resolver {
        get throws(CommandFailure) {
            var settings = ResolverSettings()
            settings.servers = federation.nameServers.map(\.description)
            settings.trustAnchorFile = federation.dnssecAnchor ?? ResolverSettings.usualTrustAnchorFile
            do throws(ResolverError) { return try UnboundResolver(settings) } catch {
                throw CommandFailure(.configuration, "\(error)", hint: federation.dnssecAnchor.map { "\($0) is named by federation.dnssec-anchor" })
            }
        }
    }
}

extension String {
    fileprivate var trimmingBrackets: String { hasPrefix("[") && hasSuffix("]") ? String(dropFirst().dropLast()) : self }
}
