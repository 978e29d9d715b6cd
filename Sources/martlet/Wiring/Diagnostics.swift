import Logging
import MartletCore
import MartletNetwork
import MartletXMPP

/// Looks at other servers, and at this one from outside, from a process that serves nobody: with the configuration's own settings, and leaving the
/// data folder as it is.
struct Diagnostics {
    private let configuration: ServerConfiguration
    private let service: FederationService
    private let pool: LoopPool

    /// - Throws: ``CommandFailure``: there is no federation, or something that the configuration names cannot be read.
    init(_ configuration: ServerConfiguration) throws(CommandFailure) {
        self.configuration = configuration
        let certificates = CertificateStore()
        let files = DomainCertificates(configuration: configuration).presentFiles
        do throws(CertificateError) { try certificates.load(files, now: SystemClock().wallSeconds) } catch { throw CommandFailure(error) }
        let secret = SystemRandom().bytes(ServerSecret.byteCount)
        let log = Logger(label: "diagnosis") { _ in SwiftLogNoOpLogHandler() }
        guard let service = try FederationAssembly(configuration: configuration).service(certificates, secret: secret, log: log) else {
            throw FederationControl.disabled
        }
        self.service = service
        pool = LoopPool(count: 1) { LoopContext(loop: $0, hosts: HostTable([]), store: InMemoryStore(), time: SystemClock(), random: SystemRandom()) }
    }

    func close() async { try? await pool.shutDown() }

    /// Whether there can be a stream to another server.
    func test(_ peer: String, from: String?, _ tell: @escaping @Sendable (DiagnosisStep) -> Void) async throws(CommandFailure) -> Bool {
        let pair = try FederationControl.pair(peer, from: from, of: configuration.allDomains)
        return await PeerDiagnosis(service, on: pool.loops[0], pair, .exchange, tell).run()
    }

    /// Whether other servers find every domain of this one, and clients what it offers by HTTP.
    ///
    /// - Parameter tell: told of the domain, and of what was found out about it.
    func checkUp(_ tell: @escaping @Sendable (String, DiagnosisStep) -> Void) async -> Bool {
        let machine = NetworkAddress.ofThisMachine
        let files = DomainCertificates(configuration: configuration).presentFiles
        var isWell = true
        for domain in configuration.allDomains {
            if let file = files.first(where: { $0.domain == domain }) {
                let isAccepted = await service.checkCertificate(file.chain, key: file.key, of: domain, now: SystemClock().wallSeconds) { tell(domain, $0) }
                isWell = isWell && isAccepted
            } else {
                tell(domain, DiagnosisStep(.certificate, .bad, "there is none yet: the server makes one at its first start, which convinces no other server"))
                isWell = false
            }
            let checkup = DomainCheckup(service, on: pool.loops[0], domain, as: stranger, machine: machine) { tell(domain, $0) }
            let isReached = await checkup.run()
            isWell = isWell && isReached
            guard let subject = configuration.domains.first(where: { $0.name == domain }).flatMap(configuration.webCheckup) else { continue }
            let isOffered = await WebCheckup(HTTPFetch(service.dialler, on: pool.loops[0].loop), subject) { tell(domain, $0) }.run()
            isWell = isWell && isOffered
        }
        return isWell
    }

    /// Who calls: nobody, unless only known servers may.
    private var stranger: String {
        configuration.federation.isClosed ? configuration.peers.first?.domain ?? Self.nobody : Self.nobody
    }
    /// RFC 6761 §6.4: there is no such domain.
    private static let nobody = "doctor.invalid"
}

extension ServerConfiguration {
    /// What is to be looked at by HTTP; `nil` if nothing is offered that way to others than this machine.
    func webCheckup(of domain: Domain) -> WebCheckup.Subject? {
        let name = (try? BareJID(parsing: domain.name))?.asciiDomainpart ?? domain.name
        let ports = publicPorts(.https)
        guard web.url != nil || !ports.isEmpty else { return nil }
        // What a proxy shows is at its own name, and so is not this domain's host-meta.
        let places = web.url == nil ? ports.map { "https://\(name)" + ($0 == 443 ? "" : ":\($0)") } : []
        return WebCheckup.Subject(domain: name, places: places, uploads: offersUploads ? uploadURL(of: domain) : nil)
    }
}
