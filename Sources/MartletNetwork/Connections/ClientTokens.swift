import Logging
import MartletCore
import MartletXMPP
import NIOCore

// MARK: Log-in by the token of an authorization server (RFC 7628)

extension ClientStream {
    /// Asks whose token it is.
    func ask(about token: BearerToken, at domain: String) {
        let stream = NIOLoopBound(self, eventLoop: loop.loop)
        let (mailbox, service) = (loop.context.mailbox, service)
        let wall = Int(loop.context.time.wallMilliseconds / 1_000)
        // A task on the system's threads: signatures are checked, and the authorization server or the account source may have to be asked.
        Task {
            let outcome = await service.issuers.outcome(of: token, at: domain, service.accounts, wall: wall)
            mailbox.run { _ in stream.value.heard(outcome) }
        }
    }

    private func heard(_ outcome: TokenIssuers.Outcome) {
        if let fault = outcome.fault {
            service.log.info(
                "a token is not accepted", metadata: ["address": "\(remoteAddress)", "issuer": "\(fault.issuer)", "why": "\(fault.why)"])
        }
        tokenEnd = outcome.end
        answered(outcome.answer)
    }

    /// Longest time that is waited for the end of a token.
    private static let secondsMax = 400 * 86_400

    /// The client has come in by a token whose end is to be the session's.
    ///
    /// - Parameter end: in seconds since 1970.
    func endWithToken(at end: Int) {
        let left = max(end - Int(loop.context.time.wallMilliseconds / 1_000), 0)
        _ = loop.loop.assumeIsolated().scheduleTask(in: .seconds(Int64(min(left, Self.secondsMax)))) { [weak self] in self?.tokenEnded() }
    }

    private func tokenEnded() {
        guard !machine.isEnding else { return }
        carrier?.close(StreamError(.notAuthorized, "The token has expired."))
        loop.context.flushSoon()
    }
}
