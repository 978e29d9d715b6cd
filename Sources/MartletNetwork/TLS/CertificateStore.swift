package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOSSL

/// Where the certificate of a domain is found.
package struct CertificateFiles: Hashable, Sendable {
    /// As in a stream's `to`: prepared, with U-labels.
    package var domain: String
    /// PEM: the domain's own certificate, then those that lead to a trusted one.
    package var chain: String
    /// PEM.
    package var key: String
    /// Whether clients of the domain are asked for certificates of their own.
    package var asksClients = false
    /// A second certificate, for clients that can do nothing with the first.
    package var second: Pair?

    package struct Pair: Hashable, Sendable {
        package var chain: String
        package var key: String

        package init(chain: String, key: String) { (self.chain, self.key) = (chain, key) }
    }

    package init(domain: String, chain: String, key: String, second: Pair? = nil) {
        self.domain = domain
        self.chain = chain
        self.key = key
        self.second = second
    }
}

/// What is wrong with a certificate or its key.
package struct CertificateError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        case unreadable(String)
        case notPEM
        case keyNotPEM
        case keyDoesNotMatch
        case refused(String)
    }
    package let file: String
    package let reason: Reason

    package var description: String {
        switch reason {
        case .unreadable(let why): "\(file) cannot be read: \(why)"
        case .notPEM: "\(file) holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        case .keyNotPEM: "\(file) holds no private key in PEM form without a password (-----BEGIN PRIVATE KEY-----)"
        case .keyDoesNotMatch: "\(file) is not the key of the first certificate in the chain"
        case .refused(let why): "\(file) is refused by the TLS library: \(why)"
        }
    }
}

/// What an operator should hear about a certificate that is used all the same.
package enum CertificateWarning: Hashable, Sendable, CustomStringConvertible {
    case expired(file: String, domain: String)
    case notYetValid(file: String, domain: String)
    case expiresSoon(file: String, domain: String, days: Int)

    package var description: String {
        switch self {
        case .expired(let file, let domain): "the certificate of \(domain) in \(file) has expired"
        case .notYetValid(let file, let domain): "the certificate of \(domain) in \(file) is not valid yet"
        case .expiresSoon(let file, let domain, let days): "the certificate of \(domain) in \(file) expires in \(days) days"
        }
    }
}

/// The certificate of one domain, ready to be shown.
package final class ServedCertificate: Sendable {
    package let domain: String
    /// What an authentication is bound to over a connection with this certificate; empty if nothing can be said.
    package let bindings: [ChannelBinding]
    /// Seconds since 1970.
    package let notBefore: Int
    package let notAfter: Int
    package let file: String
    /// SHA-256 of it, in hexadecimal.
    package let fingerprint: String
    private let keyKind: CertificateKeyKind
    /// Another one of the domain's.
    package let second: ServedCertificate?
    /// Whether the contexts for clients tell what a ``HandshakeWatch`` wants to know.
    private let isWatched: Bool
    private let contexts: [TLSProfile: NIOSSLContext]
    private let webContexts: [TLSProfile: NIOSSLContext]
    private let askingContexts: [TLSProfile: NIOSSLContext]
    /// For streams between servers (RFC 6120 §13.7.2): where another one calls, and where this one does. Both ask for what the other has to
    /// show, and whether that is good is decided by whoever has the connection.
    let peerServers: [TLSProfile: NIOSSLContext]
    let peerClients: [TLSProfile: NIOSSLContext]

    init(
        domain: String, bindings: [ChannelBinding], notBefore: Int, notAfter: Int, file: String, fingerprint: String, keyKind: CertificateKeyKind,
        second: ServedCertificate?, isWatched: Bool, contexts: [TLSProfile: NIOSSLContext], webContexts: [TLSProfile: NIOSSLContext],
        askingContexts: [TLSProfile: NIOSSLContext],
        peers: (servers: [TLSProfile: NIOSSLContext], clients: [TLSProfile: NIOSSLContext])
    ) {
        self.domain = domain
        (peerServers, peerClients) = peers
        self.bindings = bindings
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.file = file
        self.fingerprint = fingerprint
        self.keyKind = keyKind
        self.second = second
        self.isWatched = isWatched
        self.contexts = contexts
        self.webContexts = webContexts
        self.askingContexts = askingContexts
    }

    /// That of the two which a client can do something with: of ECDSA if it can, since that costs less.
    package func suited(to hello: ClientHello?) -> ServedCertificate {
        guard let second, let hello else { return self }
        let ordered = second.keyKind.isECDSA && !keyKind.isECDSA ? [second, self] : [self, second]
        return ordered.first { hello.takes($0.keyKind) } ?? self
    }

    /// For clients that speak XMPP inside TLS.
    package func context(_ profile: TLSProfile) -> NIOSSLContext? { contexts[profile] }
    /// The same, if they are asked for certificates: whether one is good is decided by whoever has the connection.
    package func asking(_ profile: TLSProfile) -> NIOSSLContext? { askingContexts[profile] }
    /// For those that speak HTTP.
    package func web(_ profile: TLSProfile) -> NIOSSLContext? { webContexts[profile] }
    /// For one handshake with one of these; `nil`: nothing is to be known of it.
    package func watch() -> HandshakeWatch? { isWatched ? HandshakeWatch() : nil }
}

/// The certificates of all domains. A reload swaps them all or none; connections keep what they began with.
package final class CertificateStore: Sendable {
    /// For so many days before its end a certificate is warned about, if it lives for half a year or longer.
    package static let warningDays = 30

    /// For how long before its end a certificate is warned about, in seconds: of a short life when a sixth of it is left. Whoever renews it by a program does
    /// so when a third is left, as a rule, and has failed for long by then.
    package static func warningSeconds(notBefore: Int, notAfter: Int) -> Int { min(warningDays * 86_400, max(0, notAfter - notBefore) / 6) }

    private struct Contents {
        var byDomain: [String: ServedCertificate]
        /// For clients that name no domain, or none of ours.
        var fallback: ServedCertificate?
        /// Whether any domain has two.
        var hasChoice = false
    }

    // Read once per connection, swapped by a reload.
    private let contents = NIOLockedValueBox(Contents(byDomain: [:], fallback: nil))

    /// An empty store: no TLS.
    package init() {}

    package convenience init(_ files: [CertificateFiles], now: Int, watchesHandshakes: Bool = false) throws(CertificateError) {
        self.init()
        _ = try load(files, now: now, watchesHandshakes: watchesHandshakes)
    }

    /// Reads the files and serves what they hold from now on. The first domain's certificate is the one for clients that name no other.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - watchesHandshakes: whether clients' handshakes are watched for what authentications can be tied to. Costs each of them something, so that
    ///     it is only where channel binding is offered.
    /// - Throws: what is wrong with the first bad file; then everything stays as it was.
    @discardableResult
    package func load(_ files: [CertificateFiles], now: Int, watchesHandshakes: Bool = false) throws(CertificateError) -> [CertificateWarning] {
        var byDomain: [String: ServedCertificate] = [:]
        var warnings: [CertificateWarning] = []
        for file in files {
            let served = try Self.read(file, isWatched: watchesHandshakes)
            byDomain[file.domain] = served
            if let warning = Self.warning(of: served, file, now) { warnings.append(warning) }
            if let second = served.second, let pair = file.second {
                let files = CertificateFiles(domain: file.domain, chain: pair.chain, key: pair.key)
                if let warning = Self.warning(of: second, files, now) { warnings.append(warning) }
            }
        }
        let fallback = files.first.flatMap { byDomain[$0.domain] }
        contents.withLockedValue { $0 = Contents(byDomain: byDomain, fallback: fallback, hasChoice: byDomain.values.contains { $0.second != nil }) }
        return warnings
    }

    /// The certificate of a domain of ours.
    package func certificate(of domain: String) -> ServedCertificate? { contents.withLockedValue { $0.byDomain[domain] } }

    /// The certificate for what a client named before it spoke XMPP (RFC 6066 §3), in whatever case; any if it named none of ours.
    package func certificate(forServerName name: String?) -> ServedCertificate? {
        let domain = name.flatMap { try? BareJID(parsing: $0) }?.domainpart
        return contents.withLockedValue { contents in domain.flatMap { contents.byDomain[$0] } ?? contents.fallback }
    }

    /// Whether it depends on more than a name which certificate is shown.
    var hasChoice: Bool { contents.withLockedValue { $0.hasChoice } }

    package var all: [ServedCertificate] { contents.withLockedValue { Array($0.byDomain.values) } }
}

// MARK: Files

extension CertificateStore {
    static func read(_ files: CertificateFiles, isWatched: Bool = false) throws(CertificateError) -> ServedCertificate {
        let chain = try certificates(files.chain)
        let key = try privateKey(files.key)
        guard let leaf = chain.first, let der = try? leaf.toDERBytes() else { throw CertificateError(file: files.chain, reason: .notPEM) }
        var (contexts, webContexts, askingContexts): ([TLSProfile: NIOSSLContext], [TLSProfile: NIOSSLContext], [TLSProfile: NIOSSLContext]) = ([:], [:], [:])
        var peers: (servers: [TLSProfile: NIOSSLContext], clients: [TLSProfile: NIOSSLContext]) = ([:], [:])
        for profile in TLSProfile.allCases {
            contexts[profile] = try context(clientConfiguration(profile, chain, key, isWatched: isWatched), files)
            webContexts[profile] = try context(webConfiguration(profile, chain, key, isWatched: isWatched), files)
            if files.asksClients { askingContexts[profile] = try context(askingConfiguration(profile, chain, key, isWatched: isWatched), files) }
            peers.servers[profile] = try context(peerServerConfiguration(profile, chain, key), files)
            peers.clients[profile] = try context(peerClientConfiguration(profile, chain, key), files)
        }
        return ServedCertificate(
            domain: files.domain, bindings: ChannelBinding.tlsServerEndPoint(der).map { [$0] } ?? [], notBefore: Int(leaf.notValidBefore),
            notAfter: Int(leaf.notValidAfter), file: files.chain, fingerprint: ExpiringCertificate.fingerprint(of: der), keyKind: CertificateKeyKind(der),
            second: try files.second.map { pair throws(CertificateError) in
                var second = CertificateFiles(domain: files.domain, chain: pair.chain, key: pair.key)
                second.asksClients = files.asksClients
                return try Self.read(second, isWatched: isWatched)
            }, isWatched: isWatched, contexts: contexts, webContexts: webContexts, askingContexts: askingContexts, peers: peers)
    }

    /// The certificates in a file, in DER, as they come.
    package static func chain(in path: String) throws(CertificateError) -> [[UInt8]] {
        try certificates(path).compactMap { try? $0.toDERBytes() }
    }

    static func certificates(_ path: String) throws(CertificateError) -> [NIOSSLCertificate] {
        let bytes = try contents(of: path)
        guard let chain = try? NIOSSLCertificate.fromPEMBytes(bytes), !chain.isEmpty else {
            throw CertificateError(file: path, reason: .notPEM)
        }
        return chain
    }

    private static func privateKey(_ path: String) throws(CertificateError) -> NIOSSLPrivateKey {
        let bytes = try contents(of: path)
        guard let key = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) else { throw CertificateError(file: path, reason: .keyNotPEM) }
        return key
    }

    private static func contents(of path: String) throws(CertificateError) -> [UInt8] {
        do throws(FileContents.Unreadable) {
            return try FileContents.read(path)
        } catch {
            throw CertificateError(file: path, reason: .unreadable(FileContents.describe(error.errno)))
        }
    }

    private static func serverConfiguration(
        _ profile: TLSProfile, _ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey
    ) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        profile.restrict(&configuration)
        configuration.applicationProtocols = ["xmpp-client"]
        return configuration
    }

    /// TLS asks for a certificate, and takes none for an answer: in the stream it is told what is missing.
    private static func askingConfiguration(
        _ profile: TLSProfile, _ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey, isWatched: Bool
    ) -> TLSConfiguration {
        var configuration = clientConfiguration(profile, chain, key, isWatched: isWatched)
        configuration.certificateVerification = .optionalVerification
        return configuration
    }

    private static func clientConfiguration(
        _ profile: TLSProfile, _ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey, isWatched: Bool
    ) -> TLSConfiguration {
        var configuration = serverConfiguration(profile, chain, key)
        if isWatched { configuration.keyLogCallback = HandshakeWatch.note }
        return configuration
    }

    private static func webConfiguration(
        _ profile: TLSProfile, _ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey, isWatched: Bool
    ) -> TLSConfiguration {
        var configuration = clientConfiguration(profile, chain, key, isWatched: isWatched)
        configuration.applicationProtocols = ["http/1.1"]
        return configuration
    }

    private static func peerServerConfiguration(
        _ profile: TLSProfile, _ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey
    ) -> TLSConfiguration {
        var configuration = serverConfiguration(profile, chain, key)
        configuration.applicationProtocols = [DialTarget.TLS.alpn]
        configuration.certificateVerification = .optionalVerification
        configuration.trustRoots = noAuthorities
        return configuration
    }

    private static func peerClientConfiguration(
        _ profile: TLSProfile, _ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey?
    ) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        profile.restrict(&configuration)
        configuration.applicationProtocols = [DialTarget.TLS.alpn]
        // Replaced by what looks at the chain itself.
        configuration.certificateVerification = .noHostnameVerification
        configuration.trustRoots = noAuthorities
        configuration.certificateChain = chain.map { .certificate($0) }
        configuration.privateKey = key.map { .privateKey($0) }
        return configuration
    }

    /// What other servers show is looked at by ``PeerTrust``; the library itself believes nobody, and reads nothing.
    private static let noAuthorities = NIOSSLTrustRoots.certificates([])

    /// For a domain that has no certificate to show where it calls.
    static let anonymousPeerClients: [TLSProfile: NIOSSLContext] = Dictionary(
        TLSProfile.allCases.compactMap { profile in
            (try? NIOSSLContext(configuration: peerClientConfiguration(profile, [], nil))).map { (profile, $0) }
        }, uniquingKeysWith: { first, _ in first })

    private static func context(_ configuration: TLSConfiguration, _ files: CertificateFiles) throws(CertificateError) -> NIOSSLContext {
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch NIOSSLError.failedToLoadPrivateKey {
            // It could be read before: what the library cannot do is to put it beside this certificate.
            throw CertificateError(file: files.key, reason: .keyDoesNotMatch)
        } catch {
            throw CertificateError(file: files.chain, reason: .refused("\(error)"))
        }
    }

    private static func warning(of served: ServedCertificate, _ files: CertificateFiles, _ now: Int) -> CertificateWarning? {
        if served.notAfter < now { return .expired(file: files.chain, domain: files.domain) }
        if served.notBefore > now { return .notYetValid(file: files.chain, domain: files.domain) }
        let days = (served.notAfter - now) / 86_400
        let isSoon = served.notAfter - now < warningSeconds(notBefore: served.notBefore, notAfter: served.notAfter)
        return isSoon ? .expiresSoon(file: files.chain, domain: files.domain, days: days) : nil
    }
}
