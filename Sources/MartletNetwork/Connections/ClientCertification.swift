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
            stream.examinedAgain(outcome, certificate, account)
            stream.carrier?.resume()
        }
    }

    private func examinedAgain(_ outcome: Outcome, _ before: ClientCertificate, _ account: BareJID) {
        switch outcome {
        case .success(let certificate) where certificate.certified == .account(account): self.certificate = certificate
        case .failure(let fault) where fault.isTemporary: break
        // The account has only disabled it: what it has let in goes on (XEP-0257 §2.3). Had it revoked it, there would be no session.
        case .failure(let fault) where before.own != nil && fault.isNobodysWord && service.clientCertificates.settings.takesOwn(at: before.domain): break
        case .success: end(account, "it stands for another account")
        case .failure(let fault): end(account, fault.description)
        }
    }

    private func end(_ account: BareJID, _ why: String) {
        guard !machine.isEnding else { return }
        service.log.notice("a client's certificate is accepted no more", metadata: ["account": "\(account)", "why": "\(why)"])
        carrier?.close(StreamError(.notAuthorized, "The certificate is accepted no more."))
        loop.context.flushSoon()
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
