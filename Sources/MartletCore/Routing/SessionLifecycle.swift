package import MartletXMPP

package enum BindOutcome {
    case bound(ClientSession)
    /// RFC 6120 §7.6.2, §7.7.2.
    case refused(StanzaError)
    /// What the stream was let in by does not hold any more: it ends.
    case revoked(StreamError)
}

extension Router {
    /// Binds a resource to an authenticated stream (RFC 6120 §7): brings the account into memory and starts a session.
    ///
    /// - Parameters:
    ///   - resource: what the client asked for, prepared; `nil` lets the server choose.
    ///   - userAgent: what the client has said of itself.
    ///   - endsEarlier: whether its earlier sessions end, by its identifier (XEP-0386 §3.2).
    ///   - moment: when the account source was asked; no change after it is outlived (P13).
    ///   - device: on what the client runs, as it says; it is remembered of the account (XEP-0494).
    ///   - application: of which application the password is that it has come in by, if it is not the account's own.
    ///   - proof: by what it was let in.
    ///   - done: runs on the caller's loop, at once or later.
    package func bind(
        _ account: BareJID, resource: String?, userAgent: UserAgent? = nil, endsEarlier: Bool = false,
        authenticatedAt moment: CredentialMoment = .latest, on device: DeviceSighting? = nil, application: String? = nil,
        by proof: SessionProof = SessionProof(), _ transport: any SessionTransport, _ context: LoopContext,
        _ done: @escaping (BindOutcome) -> Void
    ) {
        let pending = PendingBind(
            userAgent: userAgent, endsEarlier: endsEarlier, moment: moment, device: device, application: application, proof: proof,
            transport: transport, done: done, mailbox: context.mailbox)
        bind(account, resource, pending, context)
    }

    private func bind(_ account: BareJID, _ resource: String?, _ pending: PendingBind, _ context: LoopContext) {
        withHome(of: account, context) { [self] home, context in
            // Another loop may have loaded the account: what belongs to the stream happens on the stream's loop.
            guard context.mailbox === pending.mailbox else {
                return context.post(.run { self.bind(account, resource, pending, $0) }, to: pending.mailbox)
            }
            bind(home, resource, pending, context)
        }
        context.runEffects()
    }

    /// Under the lock of the account's shard.
    private func bind(_ home: AccountHome, _ resource: String?, _ pending: PendingBind, _ context: LoopContext) {
        if let refusal = bindRefusal(home, since: pending.moment) {
            return context.after { [self] _ in
                if case .revoked(let error) = refusal { noteRevoked(home.address, pending.transport, error) }
                pending.done(refusal)
            }
        }
        guard let limits = context.hosts.host(of: home.address)?.limits else {
            return context.after { _ in pending.done(.refused(.notAllowed)) }
        }
        guard let full = try? home.address.with(resourcepart: resource ?? context.random.token()) else {
            return context.after { _ in pending.done(.refused(.badRequest("not a resource"))) }
        }
        if pending.endsEarlier, let client = pending.userAgent?.id {
            while let earlier = home.sessions.firstIndex(where: { $0.ref.userAgent?.id == client }) {
                replace(at: earlier, home, context, "the client has logged in again")
            }
        }
        if let taken = home.index(of: full) {
            guard limits.resourceConflict == .replaceOld else {
                return context.after { _ in pending.done(.refused(StanzaError(.conflict, .modify))) }
            }
            replace(at: taken, home, context)
        }
        if home.sessions.count >= min(limits.sessionsMax, 64), let lost = home.sessions.longestDetached {
            // Whoever comes back without resuming has given the session up.
            replace(at: lost, home, context)
        }
        guard home.sessions.count < min(limits.sessionsMax, 64), let slot = home.slots.firstFree else {
            return context.after { _ in pending.done(.refused(.resourceConstraint("too many sessions of this account"))) }
        }
        let ref = SessionRef(
            id: nextSessionID(), mailbox: context.mailbox, isScreened: !home.blockList.isEmpty, userAgent: pending.userAgent,
            application: pending.application)
        let session = ClientSession(address: full, ref: ref, home: home, router: self, context: context, transport: pending.transport)
        ref.session = session
        home.sessions.append(SessionEntry(ref: ref, address: full, slot: slot))
        home.sessions[home.sessions.endIndex - 1].proof = pending.proof
        if let device = pending.device { note(device, at: home.sessions.endIndex - 1, home, context) }
        home.shard.noteUse(home)
        context.after { _ in pending.done(.bound(session)) }
    }

    private func bindRefusal(_ home: AccountHome, since moment: CredentialMoment) -> BindOutcome? {
        let hasChanged = home.shard.changedCredentials.hasChanged(home.address, since: moment)
        guard !hasChanged else { return .revoked(StreamError(.notAuthorized, "the account was changed after the log-in")) }
        return switch home.stage {
        case .resident: home.isEnabled ? nil : .revoked(StreamError(.notAuthorized, "the account is disabled"))
        case .absent: .refused(.notAllowed)
        case .loading, .stale, .failed: .refused(StanzaError(.internalServerError, .wait))
        }
    }

    /// The client was told that it has logged in, and gets no session: whoever reads the log is to know that.
    func noteRevoked(_ account: BareJID, _ transport: any SessionTransport, _ error: StreamError) {
        let action = "begin a session from \(transport.remoteAddress)"
        audit.record(.refused(Refusal(actor: account.description, action: action, reason: error.text ?? error.condition.rawValue)))
    }

    /// RFC 6120 §7.7.2.2: the new session takes the resource, the old one ends with `conflict`. Its contacts see it leave.
    private func replace(
        at index: Int, _ home: AccountHome, _ context: LoopContext, _ reason: String = "the resource was taken by another session"
    ) {
        let old = home.sessions[index].ref
        withdraw(at: index, home, nil, context)
        remove(at: index, home, context)
        context.post(.end(old, StreamError(.conflict, reason)), to: old.mailbox)
    }

    /// Under the lock.
    func remove(at index: Int, _ home: AccountHome, _ context: LoopContext) {
        let entry = home.sessions.remove(at: index)
        noteLeft(entry, home, context)
        takeBackDeliveries(of: entry, home, context)
    }

    /// A session ended, whatever the reason. Called on its loop.
    func sessionEnded(_ session: ClientSession) {
        let (home, context) = (session.home, session.context)
        let unacknowledged = session.management?.unacknowledged ?? UnacknowledgedStanzas()
        let undelivered = self.undelivered(unacknowledged, of: session.account, context)
        let missed = session.isAttached ? missed(by: session) : []
        home.shard.withLock {
            if let index = home.index(of: session.ref) {
                withdraw(at: index, home, nil, context)
                remove(at: index, home, context)
            }
            deliverAgain(undelivered, home, context)
            observe(missed, by: session)
            home.shard.noteIdle(home, settled: store.settled)
        }
    }

    /// Ends every session of an account: it was disabled or deleted, or its password changed (P13).
    ///
    /// - Parameters:
    ///   - device: only its sessions, where that is given.
    ///   - application: only those that have come in by that one's password, where that is given.
    ///   - certificate: only those that were let in by it, where that is given.
    package func endSessions(
        of account: BareJID, on device: DeviceID? = nil, by application: String? = nil, with certificate: CertificateFingerprint? = nil,
        _ error: StreamError, except survivor: FullJID? = nil
    ) {
        let shard = placement.shard(of: account)
        let ending = shard.withLock { () -> [SessionRef] in
            let sessions = shard.home(account)?.sessions ?? []
            return sessions.filter { entry in
                entry.address != survivor && (device == nil || entry.device == device) && (application == nil || entry.ref.application == application)
                    && (certificate == nil || entry.certificate == certificate)
            }.map(\.ref)
        }
        for ref in ending { ref.mailbox.postAndWake(.end(ref, error)) }
    }

    package func sessions(of account: BareJID) -> [SessionRef] {
        let shard = placement.shard(of: account)
        return shard.withLock { shard.home(account)?.sessions.map(\.ref) ?? [] }
    }

    /// Everybody who is connected. For administration only.
    package func allSessions() -> [(address: FullJID, priority: Int8?, isDetached: Bool, ref: SessionRef)] {
        var all: [(address: FullJID, priority: Int8?, isDetached: Bool, ref: SessionRef)] = []
        placement.forEachShard { shard in
            shard.withLock {
                for home in shard.occupied() {
                    for entry in home.sessions {
                        all.append((entry.address, entry.isAvailable ? entry.priority : nil, entry.isDetached, entry.ref))
                    }
                }
            }
        }
        return all
    }
}

extension [SessionEntry] {
    /// The one that has been without its connection for longest: of all that may still come back the least likely to.
    fileprivate var longestDetached: Int? {
        indices.filter { self[$0].isDetached }.min { self[$0].detachedAt ?? .max < self[$1].detachedAt ?? .max }
    }
}

/// A stream that waits for its session.
///
/// `@unchecked`: it goes through the account's queue, which another loop may empty, but is used on the stream's loop only.
private final class PendingBind: @unchecked Sendable {
    let userAgent: UserAgent?
    let endsEarlier: Bool
    let moment: CredentialMoment
    let device: DeviceSighting?
    let application: String?
    let proof: SessionProof
    let transport: any SessionTransport
    let done: (BindOutcome) -> Void
    let mailbox: LoopMailbox

    init(
        userAgent: UserAgent?, endsEarlier: Bool, moment: CredentialMoment, device: DeviceSighting?, application: String?, proof: SessionProof,
        transport: any SessionTransport, done: @escaping (BindOutcome) -> Void, mailbox: LoopMailbox
    ) {
        self.userAgent = userAgent
        self.endsEarlier = endsEarlier
        self.moment = moment
        self.device = device
        self.application = application
        self.proof = proof
        self.transport = transport
        self.done = done
        self.mailbox = mailbox
    }
}
