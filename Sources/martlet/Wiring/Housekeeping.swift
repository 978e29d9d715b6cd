import Logging
import MartletCore
import MartletNetwork
import MartletStorage
import NIOConcurrencyHelpers
import NIOCore
import ServiceLifecycle

/// What the server does for itself every few seconds: sees whether the store answers, reserves names for messages, looks at its
/// certificates.
final class Housekeeping: Service {
    static let interval = Duration.seconds(5)
    /// Without a sign of life of the store for so long the server counts as ill.
    static let silenceMax = Duration.seconds(30)
    /// Turns between two looks at the certificates: an hour.
    private static let certificateTurns = 720

    private struct State {
        var lastAnswer: Int64
        var problem: String?
    }

    private let core: ServerCore
    private let certificates: CertificateStore
    private let logs: ServerLogs
    private let time: SystemClock
    // Once per turn, and for whoever asks for the server's health.
    private let state: NIOLockedValueBox<State>

    init(_ core: ServerCore, _ certificates: CertificateStore, _ logs: ServerLogs, _ time: SystemClock) {
        self.core = core
        self.certificates = certificates
        self.logs = logs
        self.time = time
        state = NIOLockedValueBox(State(lastAnswer: time.wallMilliseconds))
    }

    var health: OperationsStatus {
        let state = state.withLockedValue { $0 }
        let silence = time.wallMilliseconds - state.lastAnswer
        if let problem = state.problem { return OperationsStatus(isGood: false, text: problem) }
        if silence > Self.silenceMax.components.seconds * 1000 { return OperationsStatus(isGood: false, text: "the database has not answered for \(silence / 1000) s") }
        return OperationsStatus(isGood: true, text: "ok")
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown { [self] in
            var turns = 0
            while !Task.isCancelled {
                await turn(looksAtCertificates: turns % Self.certificateTurns == 0)
                turns += 1
                try await Task.sleep(for: Self.interval)
            }
        }
        // A service that returns ends the others; this one stays for as long as they do.
        try? await gracefulShutdown()
    }

    private func turn(looksAtCertificates: Bool) async {
        do throws(StoreError) {
            let start = time.monotonic
            _ = try await core.store.idCeiling()
            logs.metrics.storeRead(nanoseconds: (time.monotonic - start).nanoseconds)
            try await reserve()
            settle(nil)
        } catch {
            settle(CommandFailure(error, in: "the data folder").message)
        }
        if looksAtCertificates { lookAtCertificates() }
    }

    private func reserve() async throws(StoreError) {
        guard let ceiling = core.router.ids.ceilingToReserve(wallMilliseconds: time.wallMilliseconds) else { return }
        try await core.store.commit([.idCeiling(ceiling)])
        core.router.ids.reserved(ceiling)
    }

    private func settle(_ problem: String?) {
        let now = time.wallMilliseconds
        let before = state.withLockedValue { state in
            defer {
                state.problem = problem
                if problem == nil { state.lastAnswer = now }
            }
            return state.problem
        }
        if let problem, before == nil { logs.server.error("the store does not take writes", metadata: ["why": "\(problem)"]) }
        if problem == nil, before != nil { logs.server.notice("the store takes writes again") }
    }

    private func lookAtCertificates() {
        let now = time.wallSeconds
        for certificate in certificates.all {
            logs.metrics.certificate(of: certificate.domain, ends: certificate.notAfter)
            let days = (certificate.notAfter - now) / 86_400
            guard days < CertificateStore.warningDays else { continue }
            let end: Logger.Metadata = ["domain": "\(certificate.domain)", "ends": "\(Timestamp.text(Int64(certificate.notAfter) * 1000))"]
            if certificate.notAfter < now { logs.server.error("a certificate has expired", metadata: end) }
            else { logs.server.warning("a certificate expires soon", metadata: end) }
        }
    }
}
