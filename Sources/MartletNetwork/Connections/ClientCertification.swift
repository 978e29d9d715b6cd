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
            case .failure(let fault): stream.noteRefused(fault)
            }
            stream.carrier?.resume()
        }
    }

    /// The client uses it: everything is asked anew, since a TLS session that goes on says nothing about today.
    func askAboutCertificate() {
        guard let certificate else { return answered(.refused(.notAuthorized)) }
        examine(certificate.trusted.shown, at: certificate.account.domainpart) { stream, outcome in
            switch outcome {
            case .success(let certificate):
                stream.certificate = certificate
                stream.answered(.certificateVerdict(certificate.account))
            case .failure(let fault):
                stream.noteRefused(fault)
                stream.answered(.refused(fault.failure))
            }
        }
    }

    /// The client has logged in with it, and it may have been revoked since, taken away, or be out of date.
    func examineAgain() {
        let now = Int(loop.context.time.wallMilliseconds / 1_000)
        guard isCertified, !isExamining, !machine.isEnding, let certificate, service.clientCertificates.isDue(certificate, now: now) else { return }
        isExamining = true
        examine(certificate.trusted.shown, at: certificate.account.domainpart) { stream, outcome in
            stream.isExamining = false
            stream.examinedAgain(outcome, certificate.account)
            stream.carrier?.resume()
        }
    }

    private func examinedAgain(_ outcome: Outcome, _ account: BareJID) {
        switch outcome {
        case .success(let certificate) where certificate.account == account: self.certificate = certificate
        case .failure(let fault) where fault.isTemporary: break
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

    private func noteRefused(_ fault: ClientCertificateFault) {
        service.log.info("a client's certificate is not accepted", metadata: ["address": "\(remoteAddress)", "why": "\(fault)"])
    }

    /// - Parameter done: told on the loop.
    private func examine(_ shown: [[UInt8]], at domain: String, _ done: @escaping @Sendable (ClientStream, Outcome) -> Void) {
        let stream = NIOLoopBound(self, eventLoop: loop.loop)
        let (mailbox, eventLoop, service) = (loop.context.mailbox, loop.loop, service)
        let now = Int(loop.context.time.wallMilliseconds / 1_000)
        // A task on the system's threads: signatures are checked, and the account source waits for a disk or a directory.
        Task {
            let outcome: Outcome
            do throws(ClientCertificateFault) {
                outcome = .success(try await service.clientCertificates.examine(shown, at: domain, service.accounts, now: now, on: eventLoop))
            } catch {
                outcome = .failure(error)
            }
            let result = outcome
            mailbox.run { _ in done(stream.value, result) }
        }
    }
}

extension TrustedCertificate {
    /// What a client has to show for the same path, in DER: everything but the anchor.
    fileprivate var shown: [[UInt8]] { ownBytes.map { [$0] + issuers.dropLast() } ?? [] }
}
