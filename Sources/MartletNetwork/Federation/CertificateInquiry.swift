import MartletCore
package import MartletXMPP
import NIOCore

/// Finds out whether DNS, or the web, allows a certificate that no authority vouches for: that of a server which calls, and has said whose it is.
///
/// Any host of the domain may have called, so that the records of all are looked at: they have to be secure, and it has to be found securely that
/// the host serves the domain (RFC 7712, RFC 7673 §3). They can only help: what cannot be found out is as if it were not there, since a
/// server may show another certificate when it calls than when it is called.
///
/// The domain's web server is asked after that, if the operator wants it (``POSH``).
///
/// Strangers cause this. It has a place among the calls that only ask about keys, until its last question is answered, and ends with
/// ``FederationSettings/inquiryDeadline``, after which nothing more is asked. It asks for ``ServicePlan/targetsMax`` hosts at most, one
/// question at a time.
///
/// `@unchecked Sendable`: touched on its loop only; closures that others want sendable come back to it.
final class CertificateInquiry: @unchecked Sendable {
    private let service: FederationService
    private let loop: NetworkLoop
    private let chain: [[UInt8]]
    private let domain: String
    private let answered: (Bool) -> Void
    private var timer: Scheduled<Void>?
    private var task: Task<Void, Never>?
    private var isDone = false

    /// - Parameters:
    ///   - chain: what was shown, in DER, the server's own certificate first.
    ///   - answered: told once, on the loop, and never before ``begin()`` returns: whether the certificate is allowed.
    init(_ service: FederationService, _ loop: NetworkLoop, _ chain: [[UInt8]], of domain: String, _ answered: @escaping (Bool) -> Void) {
        self.service = service
        self.loop = loop
        self.chain = chain
        self.domain = domain
        self.answered = answered
    }

    func begin() {
        timer = loop.loop.assumeIsolated().scheduleTask(in: service.settings.inquiryDeadline) { self.finish(false) }
        let isAdmitted = service.verifications.enter { [self] in loop.loop.execute { self.admitted() } }
        if !isAdmitted { loop.loop.execute { self.finish(false) } }
    }

    private func admitted() {
        guard !isDone else { return service.verifications.leave() }
        guard let domain = try? BareJID(parsing: domain) else { return end(false) }
        let (service, chain, now) = (service, chain, Int(loop.context.time.wallMilliseconds / 1_000))
        let posh = service.settings.asksWebServers ? service.posh(on: loop) : nil
        // A task, since answers come from another thread in their own time.
        task = Task {
            var isAllowed = await service.lookup.allows(chain, of: domain, service.trust, now: now)
            if !isAllowed, !Task.isCancelled, let posh, let certificate = chain.first { isAllowed = await posh.allows(certificate, of: domain) }
            let verdict = isAllowed
            loop.loop.execute { self.end(verdict) }
        }
    }

    private func end(_ isAllowed: Bool) {
        service.verifications.leave()
        finish(isAllowed)
    }

    private func finish(_ isAllowed: Bool) {
        guard !isDone else { return }
        cancel()
        answered(isAllowed)
    }

    /// Nobody waits for it any more.
    func cancel() {
        isDone = true
        timer?.cancel()
        task?.cancel()
    }
}

extension ServiceLookup {
    /// Whether secure TLSA records of any host that provably serves the domain allow a certificate. Asks nothing more once its task is cancelled.
    ///
    /// - Parameter now: seconds since 1970.
    package func allows(_ chain: [[UInt8]], of domain: BareJID, _ trust: PeerTrust, now: Int) async -> Bool {
        guard let targets = try? await targets(of: domain) else { return false }
        for target in targets where target.isSecure {
            for isAlias in [false, true] {
                guard !Task.isCancelled else { return false }
                guard let dane = await records(of: target, isAlias: isAlias, for: domain)?.dane else { continue }
                if await Self.allows(chain, dane, trust, now) { return true }
            }
        }
        return false
    }

    private static func allows(_ chain: [[UInt8]], _ dane: DANE, _ trust: PeerTrust, _ now: Int) async -> Bool {
        do throws(CertificateFault) {
            _ = try await dane.verify(chain, trust, now: now)
            return true
        } catch {
            return false
        }
    }

    /// - Parameter isAlias: whether those are meant that are where the host's name leads.
    private func records(of target: DialTarget, isAlias: Bool, for domain: BareJID) async -> CertificateRecords? {
        guard isAlias else { return try? await certificates(of: target, for: domain) }
        guard let canonicalHost = await canonicalHost(of: target), !Task.isCancelled else { return nil }
        return try? await certificates(of: DialTarget(.name(canonicalHost), port: target.port), for: domain)
    }
}
