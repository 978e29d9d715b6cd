import MartletCore
import MartletNetwork
import NIOCore
import NIOPosix
import X509

/// Looks at certificates from a process that serves nobody, with the authorities that the configuration believes.
struct CertificateExaminer {
    /// For what others say of whether a certificate is revoked.
    private static let patience = TimeAmount.seconds(10)

    private let trust: PeerTrust
    private let checker: RevocationChecker?
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    /// - Parameter asks: whether authorities are asked about certificates.
    init(_ configuration: ServerConfiguration, asks: Bool) throws(CommandFailure) {
        let assembly = FederationAssembly(configuration: configuration)
        trust = try assembly.trust
        guard asks else {
            checker = nil
            return
        }
        var settings = RevocationSettings()
        settings.wait = Self.patience
        checker = RevocationChecker(settings, try assembly.dialler)
    }

    func look(at subject: CertificateCheckup.Subject, _ tell: @escaping (DiagnosisStep) -> Void) async -> Bool {
        let now = SystemClock().wallSeconds
        var inquiry: CertificateCheckup.RevocationInquiry?
        if let checker {
            let loop = group.next()
            inquiry = { chain in await checker.finding(about: chain, now: now, on: loop, until: NIODeadline.now() + Self.patience) }
        }
        return await CertificateCheckup(trust, now: now, inquiry: inquiry, tell).run(subject)
    }

    func close() async { try? await group.shutdownGracefully() }
}
