package import Logging
package import MartletCore
import MartletXMPP

/// Writes every audit event as a line with the label `audit`, and counts log-ins and sessions.
package struct AuditLog: AuditSink {
    private let log: Logger
    private let metrics: ServerMetrics

    package init(_ log: Logger, metrics: ServerMetrics) {
        self.log = log
        self.metrics = metrics
    }

    package func record(_ event: AuditEvent) {
        metrics.count(event)
        switch event {
        case .loginSucceeded(let account, let mechanism, let address, let application):
            var metadata: Logger.Metadata = ["account": "\(account)", "mechanism": "\(mechanism)", "address": "\(address)"]
            if let application { metadata["application-password"] = "\(application)" }
            log.info("login succeeded", metadata: metadata)
        case .loginFailed(let claimed, let mechanism, let address, let verdict):
            log.notice(
                "login failed",
                metadata: ["account": "\(claimed)", "mechanism": "\(mechanism)", "address": "\(address)", "verdict": "\(verdict.rawValue)"])
        case .loginSuspected(let account, let mechanism, let address, let suspicion):
            log.warning(
                "somebody may be between a client and the server",
                metadata: [
                    "account": "\(account)", "mechanism": "\(mechanism)", "address": "\(address)", "channel-binding": "\(suspicion.rawValue)",
                ])
        case .serviceBound(let name, let mechanism, let address):
            log.info("service bound", metadata: ["name": "\(name)", "mechanism": "\(mechanism)", "address": "\(address)"])
        case .sessionStarted(let session, let address):
            log.info("session started", metadata: ["session": "\(session)", "address": "\(address)"])
        case .sessionEnded(let session, let reason):
            log.info("session ended", metadata: ["session": "\(session)", "reason": "\(reason)"])
        case .sessionDetached(let session, let reason):
            log.info("session detached", metadata: ["session": "\(session)", "reason": "\(reason)"])
        case .sessionResumed(let session, let address):
            log.info("session resumed", metadata: ["session": "\(session)", "address": "\(address)"])
        case .refused(let refusal):
            log.notice("refused", metadata: ["actor": "\(refusal.actor)", "action": "\(refusal.action)", "reason": "\(refusal.reason)"])
        case .accountCreated(let account, let by):
            log.notice("account created", metadata: ["account": "\(account)", "by": "\(by)"])
        case .accountDeleted(let account, let by):
            log.notice("account deleted", metadata: ["account": "\(account)", "by": "\(by)"])
        case .accountQuarantined(let account, let kept, let by):
            log.notice("account quarantined", metadata: ["account": "\(account)", "kept-as": "\(kept)", "by": "\(by)"])
        case .accountLinked(let account, let entry):
            log.notice("account is the directory's", metadata: ["account": "\(account)", "entry": "\(entry)"])
        case .accountGone(let account, let entry):
            log.notice("account has left the directory", metadata: ["account": "\(account)", "entry": "\(entry)"])
        case .accountExported(let account, let by):
            log.notice("account exported", metadata: ["account": "\(account)", "by": "\(by)"])
        case .accountImported(let account, let by):
            log.notice("account imported", metadata: ["account": "\(account)", "by": "\(by)"])
        case .archiveRead(let account, let by):
            log.notice("archive read", metadata: ["account": "\(account)", "by": "\(by)"])
        case .archivePurged(let account, let by):
            log.notice("archive purged", metadata: ["account": "\(account)", "by": "\(by)"])
        case .roomRead(let room, let by):
            log.notice("archive of a room read", metadata: ["room": "\(room)", "by": "\(by)"])
        case .roomPurged(let room, let by):
            log.notice("archive of a room purged", metadata: ["room": "\(room)", "by": "\(by)"])
        case .roomCreated(let room, let owners, let by):
            let names = owners.map { "\($0)" }.joined(separator: " ")
            log.notice("room created", metadata: ["room": "\(room)", "owners": "\(names)", "by": "\(by)"])
        case .roomDestroyed(let room, let by):
            log.notice("room destroyed", metadata: ["room": "\(room)", "by": "\(by)"])
        case .roomAffiliationSet(let room, let address, let affiliation, let by):
            log.notice("affiliation set", metadata: ["room": "\(room)", "of": "\(address)", "affiliation": "\(affiliation)", "by": "\(by)"])
        case .roomConfigured(let room, let by):
            log.notice("room configured", metadata: ["room": "\(room)", "by": "\(by)"])
        case .roomCommand(let room, let node, let by):
            log.notice("command of a room carried out", metadata: ["room": "\(room)", "command": "\(node)", "by": "\(by)"])
        case .uploadsDeleted(let account, let names, let by):
            log.notice("uploads deleted", metadata: ["account": "\(account)", "count": "\(names.count)", "names": "\(names.prefix(20).joined(separator: " "))", "by": "\(by)"])
        case .reported(let address, let reason, let by):
            log.notice("somebody was reported", metadata: ["address": "\(address)", "reason": "\(reason)", "by": "\(by)"])
        case .reportsDeleted(let ids, let by):
            let numbers = ids.prefix(20).map(String.init).joined(separator: " ")
            log.notice("reports deleted", metadata: ["count": "\(ids.count)", "numbers": "\(numbers)", "by": "\(by)"])
        case .peerStreamsClosed(let peer, let count, let by):
            log.notice("streams with another server closed", metadata: ["peer": "\(peer)", "count": "\(count)", "by": "\(by)"])
        case .accountEnabled(let account, let isEnabled, let by):
            log.notice(isEnabled ? "account enabled" : "account disabled", metadata: ["account": "\(account)", "by": "\(by)"])
        case .passwordChanged(let account, let by):
            log.notice("password changed", metadata: ["account": "\(account)", "by": "\(by)"])
        case .keysAdded(let account, let hashes):
            let names = hashes.map(\.mechanismName).joined(separator: " ")
            log.notice("keys of a password added", metadata: ["account": "\(account)", "mechanisms": "\(names)"])
        case .applicationPasswordMade(let account, let name, let by):
            log.notice("application password made", metadata: ["account": "\(account)", "name": "\(name)", "by": "\(by)"])
        case .applicationPasswordRevoked(let account, let name, let by):
            log.notice("application password revoked", metadata: ["account": "\(account)", "name": "\(name)", "by": "\(by)"])
        case .deviceRevoked(let account, let device, let passwordRemains, let by):
            log.notice(
                "device revoked",
                metadata: ["account": "\(account)", "device": "\(device)", "password-remains": "\(passwordRemains)", "by": "\(by)"])
        case .deviceNamed(let account, let device, let name, let by):
            log.notice("device named", metadata: ["account": "\(account)", "device": "\(device)", "name": "\(name)", "by": "\(by)"])
        case .certificateAdded(let account, let name, let fingerprint, let managesCertificates, let by):
            log.notice(
                "certificate added",
                metadata: [
                    "account": "\(account)", "name": "\(name)", "fingerprint": "\(fingerprint)", "manages-certificates": "\(managesCertificates)", "by": "\(by)",
                ])
        case .certificateRemoved(let account, let name, let fingerprint, let endsSessions, let by):
            log.notice(
                endsSessions ? "certificate revoked" : "certificate disabled",
                metadata: ["account": "\(account)", "name": "\(name)", "fingerprint": "\(fingerprint)", "by": "\(by)"])
        case .certificateRefused(let domain, let address, let reason):
            log.notice("certificate of a client refused", metadata: ["domain": "\(domain)", "address": "\(address)", "why": "\(reason)"])
        case .invited(let domain, let localpart, let contact, let by):
            log.notice(
                "invitation made",
                metadata: ["domain": "\(domain)", "name": "\(localpart ?? "")", "contact": "\(contact.map { "\($0)" } ?? "")", "by": "\(by)"])
        case .invitationRevoked(let domain, let by):
            log.notice("invitation revoked", metadata: ["domain": "\(domain)", "by": "\(by)"])
        case .sessionClosed(let session, let by):
            log.notice("session closed by an administrator", metadata: ["session": "\(session)", "by": "\(by)"])
        case .announced(let domain, let sessions, let by):
            log.notice("announcement sent", metadata: ["domain": "\(domain)", "sessions": "\(sessions)", "by": "\(by)"])
        case .greetingSet(let domain, let kind, let isSet, let by):
            log.notice(isSet ? "greeting set" : "greeting deleted", metadata: ["domain": "\(domain)", "kind": "\(kind)", "by": "\(by)"])
        case .configurationReloaded(let by, let changed):
            log.notice("configuration reloaded", metadata: ["by": "\(by)", "changed": "\(changed.joined(separator: "; "))"])
        case .sharedGroupsLeftOut(let account, let groups):
            log.notice(
                "groups have more contacts for an account than limits.shared-roster-items",
                metadata: ["account": "\(account)", "count": "\(groups.count)", "left-out": "\(groups.prefix(20).joined(separator: "; "))"])
        }
    }
}
