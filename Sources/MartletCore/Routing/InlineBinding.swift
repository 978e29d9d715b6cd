import MartletXML
package import MartletXMPP
package import NIOCore

/// What came of a wish for a resource inside a log-in (XEP-0386 §3.2).
package enum InlineBindOutcome {
    /// `content`: what `<bound/>` says of it. The caller says so, and then calls ``ClientSession/begin()``.
    case bound(ClientSession, content: ByteBuffer)
    /// There is no session; the log-in stands.
    case refused(StanzaError)
    /// What the stream was let in by does not hold any more: it ends.
    case revoked(StreamError)
}

extension Router {
    /// Binds a resource as a client logs in, does what it asks for with that, and looks up where its archive ends. Whatever reaches the session
    /// meanwhile waits until the client knows that it has one.
    ///
    /// - Parameters:
    ///   - userAgent: what the client says of itself. Its earlier sessions end; with an identifier it always gets the same resource.
    ///   - moment: when the account source was asked; no change after it is outlived (P13).
    ///   - device: on what the client runs; it is remembered of the account (XEP-0494).
    ///   - application: of which application the password is that it has come in by, if it is not the account's own.
    ///   - proof: by what it was let in.
    ///   - done: runs on the caller's loop, at once or later.
    package func bind(
        _ account: BareJID, _ request: InlineBind, by userAgent: UserAgent?, authenticatedAt moment: CredentialMoment = .latest,
        on device: DeviceSighting? = nil, application: String? = nil, by proof: SessionProof = SessionProof(),
        _ transport: any SessionTransport, _ context: LoopContext,
        _ done: @escaping (InlineBindOutcome) -> Void
    ) {
        let name = userAgent?.resourceName(for: account) ?? context.random.token()
        guard let address = try? request.address(of: account, named: name) else { return done(.refused(.badRequest("not a resource"))) }
        bind(
            account, resource: address.resourcepart, userAgent: userAgent, endsEarlier: true, authenticatedAt: moment, on: device,
            application: application, by: proof, HeldTransport(transport), context
        ) { [self] outcome in
            switch outcome {
            case .bound(let session): begin(session, request, done)
            case .refused(let error): done(.refused(error))
            case .revoked(let error): done(.revoked(error))
            }
        }
    }

    /// What is switched on comes first, so that nothing is missed that is neither in the archive yet nor sent.
    private func begin(_ session: ClientSession, _ request: InlineBind, _ done: @escaping (InlineBindOutcome) -> Void) {
        guard let host = session.context.hosts.host(of: session.account) else { return done(.bound(session, content: ByteBuffer())) }
        var content = ByteBuffer()
        for wish in request.requests {
            for stage in host.inline {
                if let answer = stage.begin(wish, session) { content.writeImmutableBuffer(answer) }
            }
        }
        guard let archiving = host.archiving else { return done(.bound(session, content: content)) }
        let (account, mailbox, view) = (session.home.id, session.ref.mailbox, session.readArchive())
        let end = NIOLoopBound((session: session, content: content, done: done), eventLoop: mailbox.loop)
        // It waits for the disk. A client has to do without the answer only if the disk gives none (§3.2: SHOULD).
        Task(executorPreference: executor) {
            let metadata = try? await archiving.metadata(of: account, upTo: view, self)
            mailbox.run { context in
                var content = metadata ?? ByteBuffer()
                content.writeImmutableBuffer(end.value.content)
                end.value.done(.bound(end.value.session, content: content))
                context.runEffects()
            }
        }
    }
}

extension ClientSession {
    /// What the client has said of itself as it logged in; for its own account and the operator only.
    package var userAgent: UserAgent? { ref.userAgent }

    /// Switches something on for the session, which routing knows.
    package func insert(_ flag: SessionFlags) {
        home.shard.withLock {
            if let index = home.index(of: ref) { home.sessions[index].flags.insert(flag) }
        }
    }

    /// What the account has so far the client reads in its archive: it is not sent any of that when it becomes available (XEP-0386 §3.2).
    ///
    /// - Returns: the last view before which nothing is still on its way to the log (`ArchiveReading.swift`).
    fileprivate func readArchive() -> UInt64 {
        home.shard.withLock {
            let last = home.openViews.first.map { $0 - 1 } ?? home.lastViewID
            if let index = home.index(of: ref) { home.sessions[index].readsArchiveUpTo = last }
            return last
        }
    }

    /// The client knows of its session: what has come for it meanwhile follows.
    package func begin() {
        guard !isEnded, case .attached(let transport) = link, let held = transport as? HeldTransport else { return }
        link = .attached(held.release())
        markDirty()
    }
}

/// Keeps what a session is sent until its client knows that it has one. Bounded as what waits for any client is (`outboundBytesMax`), and by
/// the deadline of the log-in.
private final class HeldTransport: SessionTransport {
    private let transport: any SessionTransport
    private var held: [ByteBuffer] = []
    private(set) var pendingBytes = 0

    init(_ transport: any SessionTransport) { self.transport = transport }

    var remoteAddress: String { transport.remoteAddress }

    func write(_ bytes: ByteBuffer) {
        held.append(bytes)
        pendingBytes += bytes.readableBytes
    }

    func flush() {}
    func close(_ error: StreamError?) { transport.close(error) }
    func drop() { transport.drop() }
    func setReading(_ isReading: Bool) { transport.setReading(isReading) }

    func release() -> any SessionTransport {
        for bytes in held { transport.write(bytes) }
        (held, pendingBytes) = ([], 0)
        return transport
    }
}
