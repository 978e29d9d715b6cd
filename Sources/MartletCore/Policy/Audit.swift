package import MartletXMPP

/// What somebody may want to know afterwards: who did what, and what was refused and why. One event per decision.
package enum AuditEvent: Hashable, Sendable {
    /// - Parameter application: whose password it was, if it was not the account's own.
    case loginSucceeded(BareJID, mechanism: String, address: String, application: String? = nil)
    case loginFailed(claimed: String, mechanism: String, address: String, AccountVerdict)
    /// The same, by a client that has proved to know the password: it looks as if somebody were between it and the server.
    case loginSuspected(BareJID, mechanism: String, address: String, SASLFailure.Suspicion)
    /// A directory client has proved to be somebody who is no account, such as a mail server, by the name that the directory has for him.
    case serviceBound(String, mechanism: String, address: String)
    case sessionStarted(FullJID, address: String)
    case sessionEnded(FullJID, reason: String)
    /// Its connection is lost; it can be resumed for a while (XEP-0198).
    case sessionDetached(FullJID, reason: String)
    case sessionResumed(FullJID, address: String)
    case refused(Refusal)
    case accountCreated(BareJID, by: String)
    case accountDeleted(BareJID, by: String)
    /// Its address is another one's from now on; where its data is kept.
    case accountQuarantined(BareJID, keptAs: BareJID, by: String)
    /// It is that of an entry of the directory, or is so no longer.
    case accountLinked(BareJID, EntryUUID)
    case accountGone(BareJID, EntryUUID)
    /// An operator has written all of an account into a document (XEP-0227), keys of its password included, or has taken it out of one.
    case accountExported(BareJID, by: String)
    case accountImported(BareJID, by: String)
    /// An operator has read, or emptied, the archive of an account.
    case archiveRead(BareJID, by: String)
    case archivePurged(BareJID, by: String)
    /// The same of a room.
    case roomRead(BareJID, by: String)
    case roomPurged(BareJID, by: String)
    /// What operators do to rooms, and what owners do by the room's form. What else occupants do there is the room's own affair.
    case roomCreated(BareJID, owners: [BareJID], by: String)
    case roomDestroyed(BareJID, by: String)
    /// - Parameter affiliation: by its name in XEP-0045 §5.2.
    case roomAffiliationSet(BareJID, JID, affiliation: String, by: String)
    /// Its owner has changed its configuration, or has accepted the one that it has.
    case roomConfigured(BareJID, by: String)
    /// Somebody has changed something by a command of the room (XEP-0050).
    case roomCommand(BareJID, node: String, by: String)
    /// An operator has deleted files that an account had uploaded, by the server's names for them.
    case uploadsDeleted(of: BareJID, names: [String], by: String)
    /// An account has told the operator of somebody whom it has blocked (XEP-0377).
    case reported(JID, reason: String, by: BareJID)
    /// An operator has deleted reports, by their numbers.
    case reportsDeleted([Int64], by: String)
    /// An operator has ended the streams with another server; how many there were.
    case peerStreamsClosed(String, count: Int, by: String)
    case accountEnabled(BareJID, Bool, by: String)
    case passwordChanged(BareJID, by: String)
    /// Keys of other hashes were made up of the password of an account, as somebody logged in with it (XEP-0480).
    case keysAdded(BareJID, [ScramHash])
    /// An account has a password for an application, or has it no longer; by its name.
    case applicationPasswordMade(BareJID, name: String, by: String)
    case applicationPasswordRevoked(BareJID, name: String, by: String)
    /// The tokens and sessions of a device of an account have ended; whether it may still know the password.
    case deviceRevoked(BareJID, device: String, passwordRemains: Bool, by: String)
    case deviceNamed(BareJID, device: String, name: String, by: String)
    /// An account has a certificate from now on by which it can be entered (XEP-0257), or has it no longer; whether sessions that came by it have ended.
    case certificateAdded(BareJID, name: String, fingerprint: String, managesCertificates: Bool, by: String)
    case certificateRemoved(BareJID, name: String, fingerprint: String, endsSessions: Bool, by: String)
    /// A client has shown a certificate that lets it in to no account of the domain.
    case certificateRefused(domain: String, address: String, reason: String)
    /// Somebody has made an invitation: to an account, if `localpart` of that name, or to become a contact. Its token is not told.
    case invited(BareJID, localpart: String?, contact: BareJID?, by: String)
    case invitationRevoked(domain: String, by: String)
    /// An administrator has told a session to end.
    case sessionClosed(FullJID, by: String)
    /// An administrator has told something to all who are online at a domain; how many sessions that were.
    case announced(BareJID, sessions: Int, by: String)
    /// An administrator has changed what the domain tells those who come (XEP-0133); whether there is something now.
    case greetingSet(BareJID, String, isSet: Bool, by: String)
    case configurationReloaded(by: String, changed: [String])
    /// Groups, by name, would put more contacts into an account's roster than there may be.
    case sharedGroupsLeftOut(BareJID, groups: [String])
}

package protocol AuditSink: Sendable {
    func record(_ event: AuditEvent)
}

/// Forgets everything; for tests.
package struct NoAudit: AuditSink {
    package init() {}
    package func record(_ event: AuditEvent) {}
}

/// One decision that refused, so that "why was this refused" always has an answer.
package struct Refusal: Hashable, Sendable {
    package var actor: String
    package var action: String
    package var reason: String
    package init(actor: String, action: String, reason: String) {
        self.actor = actor
        self.action = action
        self.reason = reason
    }
}
