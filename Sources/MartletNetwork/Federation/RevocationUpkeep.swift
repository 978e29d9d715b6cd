import Logging
import MartletCore
import NIOConcurrencyHelpers
package import NIOCore

/// What is known of revoked certificates stays up to date, and streams end when it changes.
extension FederationService {
    /// How often files are looked at, and what will be out of date is fetched.
    private static let revocationInterval = TimeAmount.minutes(1)

    /// For as long as the loop runs.
    func keepUp(on loop: NetworkLoop) {
        loop.loop.scheduleRepeatedTask(initialDelay: Self.revocationInterval, delay: Self.revocationInterval) { [self] _ in
            let now = Int(loop.context.time.wallMilliseconds / 1_000)
            // A task on the system's threads, since files are read.
            Task { await keepUpRevocation(now: now, on: loop.loop) }
        }
    }

    /// Reads files that have changed, fetches what will be out of date, and ends streams of servers whose certificates are revoked by now.
    package func keepUpRevocation(now: Int, on loop: any EventLoop) async {
        for error in await revocation.keepUp(now: now, on: loop) {
            log.warning("a list of revoked certificates cannot be used", metadata: ["why": "\(error)"])
        }
        let changes = revocation.changes
        let isNew = revocationChanges.withLockedValue { known in
            defer { known = changes }
            return known != changes
        }
        guard isNew else { return }
        let inventory = inventory()
        for connection in inventory.incoming { connection.eventLoop.execute { connection.value.askAgain() } }
        for (link, _, _, _) in inventory.links { link.mailbox.run { _ in link.askAgain() } }
    }

    /// What was found out about a certificate that another server has shown.
    func noticed(_ finding: RevocationFinding, of address: String) {
        switch finding {
        case .notAsked, .good, .unsaid: break
        case .revoked(let subject, let source):
            counters.sawRevoked()
            log.notice("another server's certificate is revoked", metadata: ["address": "\(address)", "subject": "\(subject)", "by": "\(source)"])
        case .unknown(let subject, let why):
            counters.sawUnknown()
            log.notice(
                "it is not known whether another server's certificate is revoked",
                metadata: ["address": "\(address)", "subject": "\(subject)", "why": "\(why)"])
        }
    }
}
