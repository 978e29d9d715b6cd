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
}
