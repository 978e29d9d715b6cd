import Logging
import MartletCore
import MartletXMPP
import NIOCore

// MARK: Log-in with a certificate (XEP-0178 §3)

extension ClientStream {
    private typealias Outcome = Result<ClientCertificate, ClientCertificateFault>

    /// The client has shown a certificate. Nothing of it is taken until it is known what that is good for; the deadline of the log-in runs.
    func examine(_ shown: [[UInt8]], at domain: String) {
        isExamining = true
        examine(shown, at: domain) { stream, outcome in
            stream.isExamining = false
            switch outcome {
            case .success(let certificate):
                stream.certificate = certificate
                stream.service.clientCertificates.remember(shown)
            case .failure(let fault): stream.noteRefused(fault, at: domain)
            }
            stream.carrier?.resume()
        }
    }

    /// The client uses it: everything is asked anew, since a TLS session that goes on says nothing about today.
    ///
    /// - Parameter account: as which it wants to come in.
    func askAboutCertificate(_ account: BareJID) {
        guard let certificate else { return answered(.refused(.notAuthorized)) }
        // Authorities may take their time.
        carrier?.flush()
        examine(certificate.shown, at: certificate.domain, as: account) { stream, outcome in
            switch outcome {
            case .success(let examined):
                stream.certificate = examined
                guard case .account(let account) = examined.certified else { return stream.answered(.refused(.notAuthorized)) }
                stream.noteUnknown(examined.revocation)
                stream.answered(.certificateVerdict(account))
            case .failure(let fault):
                stream.noteRefused(fault, at: certificate.domain)
                stream.answered(.refused(fault.failure))
            }
        }
    }

    /// The account's own certificate by which the client has logged in; `nil` if it came in otherwise.
    var ownCertificate: CertificateFingerprint? { isCertified ? certificate?.own : nil }

    /// The client has logged in with it, and it may have been revoked since, taken away, or be out of date.
    func examineAgain() {
        let now = Int(loop.context.time.wallMilliseconds / 1_000)
        guard isCertified, !isExamining, !machine.isEnding, let certificate, let account, service.clientCertificates.isDue(certificate, now: now) else { return }
        isExamining = true
        examine(certificate.shown, at: certificate.domain, as: account) { stream, outcome in
            stream.isExamining = false
            if let why = stream.objection(to: outcome, certificate, account) { stream.end(account, why) }
            stream.carrier?.resume()
        }
    }

    /// Why whoever has come in by a certificate cannot stay; `nil` if he can.
    private func objection(to outcome: Outcome, _ before: ClientCertificate, _ account: BareJID) -> String? {
        switch outcome {
        case .success(let certificate) where certificate.certified == .account(account):
            self.certificate = certificate
            return nil
        case .failure(let fault) where fault.isTemporary: return nil
        // The account has only disabled it: what it has let in goes on (XEP-0257 §2.3). Had it revoked it, there would be no session.
        case .failure(let fault) where before.own != nil && fault.isNobodysWord && service.clientCertificates.settings.takesOwn(at: before.domain): return nil
        case .success: return "it stands for another account"
        case .failure(let fault): return fault.description
        }
    }

    private func end(_ account: BareJID, _ why: String) {
        guard !machine.isEnding else { return }
        noteEnd(account, why)
        carrier?.close(Self.acceptedNoMore)
        loop.context.flushSoon()
    }

    private func noteEnd(_ account: BareJID, _ why: String) {
        service.log.notice("a client's certificate is accepted no more", metadata: ["account": "\(account)", "why": "\(why)"])
    }

    private static let acceptedNoMore = StreamError(.notAuthorized, "The certificate is accepted no more.")

    /// The connection is lost, and its session goes on without it (XEP-0198 §5): what has let it in is looked at all the same.
    func stayBehind(_ session: ClientSession) {
        detached = session
        loop.keep(self, of: session.address)
    }

    /// Whether there is such a session still.
    var isBehind: Bool { detached?.isDetached == true }

    func examineBehind() {
        let now = Int(loop.context.time.wallMilliseconds / 1_000)
        guard isBehind, !isExamining, let certificate, let account, service.clientCertificates.isDue(certificate, now: now) else { return }
        isExamining = true
        examine(certificate.shown, at: certificate.domain, as: account) { stream, outcome in
            stream.isExamining = false
            guard let why = stream.objection(to: outcome, certificate, account), stream.isBehind else { return }
            stream.noteEnd(account, why)
            stream.detached?.end(Self.acceptedNoMore)
        }
    }

    /// The certificate is used, and whoever could say that it is revoked was not heard (``RevocationSettings/Mode/prefer``).
    private func noteUnknown(_ finding: RevocationFinding) {
        guard case .unknown(let subject, let why) = finding else { return }
        service.log.notice(
            "it is not known whether a client's certificate is revoked",
            metadata: ["address": "\(remoteAddress)", "subject": "\(subject)", "why": "\(why)"])
    }

    private func noteRefused(_ fault: ClientCertificateFault, at domain: String) {
        service.log.info("a client's certificate is not accepted", metadata: ["address": "\(remoteAddress)", "why": "\(fault)"])
        service.router.audit.record(.certificateRefused(domain: domain, address: remoteAddress, reason: fault.description))
    }

    /// - Parameter done: told on the loop.
    private func examine(_ shown: [[UInt8]], at domain: String, as account: BareJID? = nil, _ done: @escaping @Sendable (ClientStream, Outcome) -> Void) {
        let stream = NIOLoopBound(self, eventLoop: loop.loop)
        let (mailbox, eventLoop, service) = (loop.context.mailbox, loop.loop, service)
        let now = Int(loop.context.time.wallMilliseconds / 1_000)
        // A task on the system's threads: signatures are checked, and the account source waits for a disk or a directory.
        Task {
            let outcome: Outcome
            do throws(ClientCertificateFault) {
                let holders = CertificateHolders(store: service.router.store, accounts: service.accounts)
                outcome = .success(try await service.clientCertificates.examine(shown, at: domain, as: account, holders, now: now, on: eventLoop))
            } catch {
                outcome = .failure(error)
            }
            let result = outcome
            mailbox.run { _ in done(stream.value, result) }
        }
    }
}
