import Logging
import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

// MARK: Who is it (RFC 6120 §6)

extension ClientConnection {
    /// Asks the account source, after whatever delay the address and the account have earned.
    func ask(_ mechanism: SASLMechanism, _ identity: SASLIdentity, _ question: SASLQuestion) {
        let account = identity.account
        login = LoginAttempt(account: account, mechanism: mechanism)
        let delay = service.beginLogin(peer, account, at: loop.context.time.monotonic)
        guard delay > .zero else { return askNow(account, question) }
        _ = loop.loop.assumeIsolated().scheduleTask(in: delay) { [weak self] in self?.askNow(account, question) }
    }

    private func askNow(_ account: BareJID, _ question: SASLQuestion) {
        guard !machine.isEnding else { return }
        let connection = NIOLoopBound(self, eventLoop: loop.loop)
        let mailbox = loop.context.mailbox
        let accounts = service.accounts
        authenticatedAt = service.router.credentials.now
        // The account source waits for a disk, a directory or a key derivation. Nothing else of a login leaves the loop.
        Task(executorPreference: loop.executor) {
            let answer = await accounts.answer(question, about: account)
            mailbox.run { _ in connection.value.answered(answer) }
        }
    }

    private func answered(_ answer: SASLAnswer) {
        perform(machine.answered(answer))
        resume()
    }

    func succeed(_ account: BareJID, _ action: ClientStreamMachine.Action) {
        send(action)
        parser.restart()
        parser.limits = service.settings.limits
        leaveUnauthenticated()
        self.account = account
        guard let login else { return }
        self.login = nil
        service.excuseLogin(peer, account, at: loop.context.time.monotonic)
        service.router.audit.record(.loginSucceeded(account, mechanism: login.mechanism.name, address: remoteAddress))
    }

    func loginFailed(_ failure: SASLFailure) {
        guard let login else { return }
        self.login = nil
        let verdict = failure.verdict
        if verdict == .unavailable { service.excuseLogin(peer, login.account, at: loop.context.time.monotonic) }
        service.router.audit.record(
            .loginFailed(claimed: login.account.description, mechanism: login.mechanism.name, address: remoteAddress, verdict))
    }
}

// MARK: Resource binding (RFC 6120 §7)

extension ClientConnection {
    func bind(_ account: BareJID, _ resource: String?) {
        service.router.bind(account, resource: resource, authenticatedAt: authenticatedAt, self, loop.context) { [self] outcome in
            switch outcome {
            case .bound(let session): begin(session)
            case .refused(let error): perform(machine.refusedBind(error))
            case .revoked(let error): perform(machine.end(error, surroundings))
            }
            resume()
        }
    }

    private func begin(_ session: ClientSession) {
        let action = machine.bound(session.address)
        // The client went while its account was being loaded.
        guard case .confirmBind = action else { return session.transportClosed() }
        self.session = session
        perform(action)
        phase = .idle
        loop.hang(self, until: loop.now + idleTicks)
        service.router.audit.record(.sessionStarted(session.address, address: remoteAddress))
    }
}

// MARK: Resumption (XEP-0198 §5)

extension ClientConnection {
    func resumeSession(of account: BareJID, _ previous: String, _ handled: UInt32) {
        service.router.resume(
            account, previous: previous, handled: handled, authenticatedAt: authenticatedAt, self, loop.context
        ) { [self] outcome in
            switch outcome {
            case .resumed(let session, let handled): goOn(session, previous, handled)
            case .refused(let condition, let handled): perform(machine.refusedResumption(condition, handled: handled))
            case .failed(let error): perform(machine.end(error, surroundings))
            }
            resume()
        }
    }

    private func goOn(_ session: ClientSession, _ previous: String, _ handled: UInt32) {
        let action = machine.resumed(session.address, previous: previous, handled: handled)
        // The client went while its session was on its way.
        guard case .managed = action else { return _ = session.connectionLost() }
        self.session = session
        perform(action)
        session.sendAgain()
        phase = .idle
        loop.hang(self, until: loop.now + idleTicks)
        service.router.audit.record(.sessionResumed(session.address, address: remoteAddress))
    }
}

// MARK: Deadlines

extension ClientConnection {
    private var idleTicks: Int { service.settings.pingAfter.map(NetworkLoop.ticks) ?? .max / 2 }

    /// The wheel came round to this connection, which hangs nowhere now.
    func deadlinePassed() {
        switch phase {
        case .login(let until):
            guard loop.now >= until else { return loop.hang(self, until: until) }
            loop.hang(self, until: until)
            close(StreamError(.connectionTimeout, "The login took too long."))
        case .idle:
            let due = lastActivity + idleTicks
            if loop.now >= due { ping() } else { loop.hang(self, until: due) }
        case .pinged(let at, let until):
            // A client that answers within the tick has answered: it was pinged because nothing had come in many ticks before.
            if lastActivity >= at {
                phase = .idle
                loop.hang(self, until: lastActivity + idleTicks)
            } else if loop.now >= until {
                endReason = "the client does not answer"
                loseSession()
                loop.hang(self, until: loop.now + 1)
                phase = .closing(until: loop.now)
                drop()
            } else {
                loop.hang(self, until: until)
            }
        case .closing(let until):
            loop.hang(self, until: until)
            if loop.now >= until { drop() }
        }
    }

    /// Anything that comes back shows that the client lives; its answer needs no handling (XEP-0199 §4.1).
    private func ping() {
        guard let session else { return loop.hang(self, until: loop.now + 1) }
        let until = loop.now + NetworkLoop.ticks(service.settings.pingTimeout)
        phase = .pinged(at: loop.now, until: until)
        loop.hang(self, until: until)
        let stanza = StanzaBuilder.iq(
            .get, from: .bare(session.address.bare.domain), to: .full(session.address), id: loop.context.random.token()
        ) { $0.element("ping", Self.pingNamespace) }
        session.say(stanza)
    }

    private static let pingNamespace: Namespace = "urn:xmpp:ping"
}
