import MartletNetwork
import NIOCore
import NIOSSL

/// Makes of the configuration which authorization servers are believed, and how they are reached.
struct OAuthAssembly {
    private let configuration: ServerConfiguration
    private let group: any EventLoopGroup

    init(configuration: ServerConfiguration, on group: any EventLoopGroup) {
        self.configuration = configuration
        self.group = group
    }

    /// What is read from files is read anew.
    ///
    /// - Throws: what is wrong with them; without it, the server would not start.
    func issuers() throws(CommandFailure) -> [(settings: TokenIssuerSettings, fetch: TokenIssuerFetch)] {
        guard !configuration.oauth.isEmpty else { return [] }
        let found = try FederationAssembly(configuration: configuration).dialler
        var named = found
        // The operator has named it.
        named.allowEverything()
        var issuers: [(settings: TokenIssuerSettings, fetch: TokenIssuerFetch)] = []
        for entry in configuration.oauth {
            let roots = entry.trustAnchors.map { NIOSSLTrustRoots.file($0) } ?? .default
            let (one, other) = (HTTPFetch(named, on: group, trustRoots: roots), HTTPFetch(found, on: group, trustRoots: roots))
            let fetch = TokenIssuerFetch(
                named: { request throws(HTTPFetchError) in try await one.answer(to: request) },
                found: { request throws(HTTPFetchError) in try await other.answer(to: request) })
            issuers.append((try settings(of: entry), fetch))
        }
        return issuers
    }

    private func settings(of entry: ServerConfiguration.OAuthIssuer) throws(CommandFailure) -> TokenIssuerSettings {
        let discovery = entry.discovery.map { HTTPURL($0) } ?? TokenIssuerSettings.discovery(of: entry.issuer)
        guard let discovery, let audience = entry.audience, let claim = entry.accountClaim else { throw Self.unchecked }
        let domains = entry.domains.isEmpty ? configuration.domains.map(\.name) : entry.domains
        var settings = TokenIssuerSettings(
            domains: Set(domains), issuer: entry.issuer, audience: audience, discovery: discovery, proof: try proof(of: entry), accountClaim: claim)
        settings.scopes = entry.scopes
        settings.clients = Set(entry.clients)
        settings.leeway = Int(clamping: entry.leeway.components.seconds)
        settings.endsSessions = entry.endsSessions
        settings.givesTokens = entry.givesTokens
        settings.trustAnchors = entry.trustAnchors
        return settings
    }

    private func proof(of entry: ServerConfiguration.OAuthIssuer) throws(CommandFailure) -> TokenIssuerSettings.Proof {
        guard let text = entry.introspection.url else { return .signature(keys: entry.keys.flatMap { HTTPURL($0) }) }
        guard let url = HTTPURL(text), let client = entry.introspection.clientID, let file = entry.introspection.secretFile else { throw Self.unchecked }
        return .introspection(
            .init(
                url: url, clientID: client, secret: ClientSecret(String(decoding: try SecretFile.read(file), as: UTF8.self)),
                rememberedFor: Int(clamping: entry.introspection.rememberedFor.components.seconds)))
    }

    /// Whoever loads a configuration checks it.
    private static let unchecked = CommandFailure(.configuration, "an entry of oauth is not complete", hint: "run 'martlet config check'")
}
