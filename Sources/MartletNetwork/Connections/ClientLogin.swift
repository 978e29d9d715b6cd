import Logging
import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

// MARK: Who is it (RFC 6120 §6)

extension ClientStream {
    /// Asks the account source, after whatever delay the address and the account have earned.
    func ask(_ mechanism: SASLMechanism, _ identity: SASLIdentity, _ question: SASLQuestion) {
        let account = identity.account
        if question == .standing { return askStanding(of: account) }
        attempt(mechanism, account) { stream in
            if question == .certificate { return stream.askAboutCertificate(account) }
            let (accounts, audit) = (stream.service.accounts, stream.service.router.audit)
            // Where the answer will be the same for every password nothing is done for the right one, which would take time.
            let upgrades = stream.permits(mechanism, to: account) ? stream.listener.policy.upgrades : []
            stream.ask {
                let answer = await accounts.answer(question, about: account)
                guard !upgrades.isEmpty, case .passwordVerdict(let password) = question, case .passwordVerdict(true, application: nil) = answer else { return answer }
                let added = await accounts.addKeys(of: password, to: account, upgrades)
                if !added.isEmpty { audit.record(.keysAdded(account, added)) }
                return answer
            }
        }
    }

    /// The same about the tokens of the device that the client says it is on (XEP-0484).
    func ask(_ mechanism: HashedTokenMechanism, _ identity: SASLIdentity, _ userAgent: UserAgent) {
        let account = identity.account
        attempt(.hashedToken(mechanism), account) { stream in
            guard let tokens = stream.service.tokens, let id = userAgent.id else { return stream.answered(.hashedTokens([])) }
            let accounts = stream.service.accounts
            stream.ask { await accounts.answer(mechanism, of: account, on: DeviceID(userAgent: id), tokens) }
        }
    }

    /// Asks others than the account source, before it is known who the client is: only its address can have earned a delay.
    func consult(_ mechanism: SASLMechanism, _ consultation: SASLConsultation) {
        // Others may take their time.
        carrier?.flush()
        switch consultation {
        case .bearerToken(let token, let domain): attempt(mechanism, nil) { $0.ask(about: token, at: domain) }
        case .gssapi(.accept(let token, isFirst: true)):
            securityContext = service.kerberos?.makeContext()
            attempt(mechanism, nil) { $0.ask(.accept(token, isFirst: true)) }
        case .gssapi(let request): ask(request)
        }
    }

    private func ask(_ request: GSSAPIRequest) {
        guard let securityContext else { return answered(.refused(.temporaryAuthFailure)) }
        ask { await securityContext.answer(request) }
    }

    /// Asks the account source about a client that has shown who it is. The attempt has begun, and counts for its address.
    private func askStanding(of account: BareJID) {
        login?.shown = account
        let accounts = service.accounts
        begin { $0.ask { await accounts.answer(.standing, about: account) } }
    }

    private func attempt(_ mechanism: SASLMechanism, _ account: BareJID?, _ askNow: @escaping (ClientStream) -> Void) {
        login = LoginAttempt(account: account, mechanism: mechanism)
        tokenEnd = nil
        let delay = service.beginLogin(carrier?.peer, account, at: loop.context.time.monotonic)
        guard delay > .zero else { return begin(askNow) }
        carrier?.flush()
        _ = loop.loop.assumeIsolated().scheduleTask(in: delay) { [weak self] in self?.begin(askNow) }
    }

    private func begin(_ askNow: (ClientStream) -> Void) {
        guard !machine.isEnding else { return }
        authenticatedAt = service.router.credentials.now
        askNow(self)
    }

    private func ask(_ question: @escaping @Sendable () async -> SASLAnswer) {
        wait(for: question) { stream, answer in stream.answered(answer) }
    }

    private func wait<Answer: Sendable>(
        for question: @escaping @Sendable () async -> Answer, _ then: @escaping @Sendable (ClientStream, Answer) -> Void
    ) {
        let stream = NIOLoopBound(self, eventLoop: loop.loop)
        let mailbox = loop.context.mailbox
        // The account source waits for a disk, a directory or a key derivation. Nothing else of a login leaves the loop.
        Task(executorPreference: loop.executor) {
            let answer = await question()
            mailbox.run { _ in then(stream.value, answer) }
        }
    }

    func answered(_ answer: SASLAnswer) {
        perform(machine.answered(answer))
        carrier?.resume()
    }

    /// Looks up of which hashes the account lacks keys that its client would make up (XEP-0480).
    func seekUpgrades(_ account: BareJID, _ proved: ScramKeys, _ hashes: [ScramHash]) {
        let accounts = service.accounts
        wait(for: { await accounts.missingKeys(of: account, hashes, provedBy: proved) }) { stream, missing in
            stream.perform(stream.machine.upgradable(missing))
            stream.carrier?.resume()
        }
    }

    /// Adds keys that its client has made up, before it hears so. It waits for the disk.
    func upgrade(_ account: BareJID, _ keys: ScramKeys, _ proved: ScramKeys) {
        let (accounts, audit) = (service.accounts, service.router.audit)
        wait(for: { await accounts.add(keys, to: account, provedBy: proved) }) { stream, verdict in
            if verdict == .ok { audit.record(.keysAdded(account, [keys.hash])) }
            stream.perform(stream.machine.upgraded(SASLFailure(verdict)))
            stream.carrier?.resume()
        }
    }

    /// Sees to the tokens of a client that has logged in (XEP-0484), before it hears so. It waits for the disk.
    func conclude(_ login: TokenLogin) {
        guard let tokens = service.tokens else { return concluded(.failure(.temporaryAuthFailure)) }
        let proofs = login.accepted == nil && machine.application == nil ? self.login?.mechanism.proofs ?? [] : []
        var device = DeviceSighting(login.userAgent, by: proofs, at: loop.context.wallMilliseconds)
        device.applicationPassword = machine.application
        let request = DeviceLogin(login.account, device, accepted: login.accepted, login.request)
        let stream = NIOLoopBound(self, eventLoop: loop.loop)
        let (mailbox, router, moment) = (loop.context.mailbox, service.router, authenticatedAt)
        Task(executorPreference: loop.executor) {
            let outcome: Result<IssuedToken?, SASLFailure>
            do throws(SASLFailure) {
                outcome = .success(try await router.conclude(request, authenticatedAt: moment, tokens))
            } catch {
                outcome = .failure(error)
            }
            let result = outcome
            mailbox.run { _ in stream.value.concluded(result) }
        }
    }

    private func concluded(_ outcome: Result<IssuedToken?, SASLFailure>) {
        perform(machine.concluded(outcome))
        carrier?.resume()
    }

    func loggedIn(as account: BareJID) {
        carrier?.setLimits(service.settings.limits)
        count.leaveUnauthenticated(service.admission)
        self.account = account
        guard let login else { return }
        self.login = nil
        mechanism = login.mechanism
        securityContext = nil
        isCertified = login.mechanism == .external
        if let tokenEnd { endWithToken(at: tokenEnd) }
        proofs = machine.application == nil ? login.mechanism.proofs : []
        service.excuseLogin(carrier?.peer, login.account, at: loop.context.time.monotonic)
        service.router.audit.record(.loginSucceeded(account, mechanism: login.mechanism.name, address: remoteAddress, application: machine.application))
        lookAtLoginSoon()
    }

    func loginFailed(_ failure: SASLFailure) {
        guard let login else { return }
        self.login = nil
        securityContext = nil
        let verdict = failure.verdict
        if verdict == .unavailable { service.excuseLogin(carrier?.peer, login.account, at: loop.context.time.monotonic) }
        service.router.audit.record(
            .loginFailed(claimed: (login.shown ?? login.account)?.description ?? "", mechanism: login.mechanism.name, address: remoteAddress, verdict))
        guard let suspicion = failure.suspicion, let account = login.account else { return }
        service.router.audit.record(.loginSuspected(account, mechanism: login.mechanism.name, address: remoteAddress, suspicion))
    }
}

extension SASLMechanism {
    /// What a device has shown by it, and can show again whatever becomes of its tokens (XEP-0494).
    fileprivate var proofs: DeviceProofs {
        switch self {
        case .plain, .scram, .scramPlus: .password
        case .external: .certificate
        case .oauthBearer: .grant
        // Whoever has a ticket has shown it to the realm, which decides about the next one.
        case .gssapi, .hashedToken: []
        }
    }
}

// MARK: Resource binding (RFC 6120 §7)

extension ClientStream {
    func bind(_ account: BareJID, _ resource: String?) {
        guard let carrier else { return }
        let device = sighting(resource)
        service.router.bind(
            account, resource: resource, userAgent: userAgent, authenticatedAt: authenticatedAt, on: device, application: machine.application,
            by: proof, carrier, loop.context
        ) { [self] outcome in
            switch outcome {
            case .bound(let session): begin(session, machine.bound(session.address))
            case .refused(let error): perform(machine.refusedBind(error))
            case .revoked(let error): perform(machine.end(error, surroundings))
            }
            carrier.resume()
        }
    }

    /// The same inside a log-in (XEP-0386).
    func bind(_ account: BareJID, _ request: InlineBind) {
        guard let carrier else { return }
        service.router.bind(
            account, request, by: userAgent, authenticatedAt: authenticatedAt, on: sighting(nil), application: machine.application,
            by: proof, carrier, loop.context
        ) { [self] outcome in
            switch outcome {
            case .bound(let session, let content): begin(session, machine.bound(session.address, content))
            case .refused(let error): perform(machine.refusedBind(error))
            case .revoked(let error): perform(machine.end(error, surroundings))
            }
            carrier.resume()
        }
    }

    /// By what the client has come in.
    private var proof: SessionProof {
        var proof = SessionProof(ownCertificate)
        (proof.isCertified, proof.hasGrant) = (isCertified, proofs.contains(.grant))
        if isCertified, let certificate {
            // It is still valid in that second (RFC 5280 §4.1.2.5).
            proof.end(at: certificate.notAfter + 1)
        } else if let tokenEnd {
            proof.end(at: tokenEnd)
        }
        return proof
    }

    /// On what the client runs, as far as it says so.
    func sighting(_ resource: String?) -> DeviceSighting {
        if let device { return device }
        var sighting = DeviceSighting(userAgent, resource: resource, by: proofs, at: loop.context.wallMilliseconds)
        sighting.applicationPassword = machine.application
        return sighting
    }

    /// - Parameter action: what is said of it.
    private func begin(_ session: ClientSession, _ action: ClientStreamMachine.Action) {
        // The client went while its account was being loaded.
        guard action != .wait else { return session.transportClosed() }
        self.session = session
        perform(action)
        session.begin()
        phase = .idle
        hang(until: loop.now + idleTicks)
        service.router.audit.record(.sessionStarted(session.address, address: remoteAddress))
    }
}

// MARK: Resumption (XEP-0198 §5)

extension ClientStream {
    func resumeSession(of account: BareJID, _ previous: String, _ handled: UInt32) {
        guard let carrier else { return }
        service.router.resume(
            account, previous: previous, handled: handled, userAgent: userAgent, authenticatedAt: authenticatedAt, on: device,
            application: machine.application, by: proof, carrier, loop.context
        ) { [self] outcome in
            switch outcome {
            case .resumed(let session, let handled): goOn(session, previous, handled)
            case .refused(let condition, let handled): perform(machine.refusedResumption(condition, handled: handled))
            case .failed(let error): perform(machine.end(error, surroundings))
            }
            carrier.resume()
        }
    }

    private func goOn(_ session: ClientSession, _ previous: String, _ handled: UInt32) {
        let action = machine.resumed(session.address, previous: previous, handled: handled)
        // The client went while its session was on its way.
        guard action != .wait else { return _ = session.connectionLost() }
        self.session = session
        perform(action)
        session.sendAgain()
        phase = .idle
        hang(until: loop.now + idleTicks)
        service.router.audit.record(.sessionResumed(session.address, address: remoteAddress))
    }
}

// MARK: Deadlines

extension ClientStream {
    private var idleTicks: Int { service.settings.pingAfter.map(NetworkLoop.ticks) ?? .max / 2 }

    /// The tick has come that was asked for.
    func deadlinePassed() {
        switch phase {
        case .login(let until):
            guard loop.now >= until else { return hang(until: until) }
            hang(until: until)
            carrier?.close(StreamError(.connectionTimeout, "The login took too long."))
        case .idle:
            let due = lastActivity + idleTicks
            if loop.now >= due { ping() } else { hang(until: due) }
        case .pinged(let at, let until):
            // A client that answers within the tick has answered: it was pinged because nothing had come in many ticks before.
            if lastActivity >= at {
                phase = .idle
                hang(until: lastActivity + idleTicks)
            } else if loop.now >= until {
                endReason = "the client does not answer"
                loseSession()
                hang(until: loop.now + 1)
                phase = .closing(until: loop.now)
                drop()
            } else {
                hang(until: until)
            }
        case .closing(let until):
            hang(until: until)
            if loop.now >= until { drop() }
        }
    }

    /// Anything that comes back shows that the client lives; its answer needs no handling (XEP-0199 §4.1).
    private func ping() {
        guard let session else { return hang(until: loop.now + 1) }
        let until = loop.now + NetworkLoop.ticks(service.settings.pingTimeout)
        phase = .pinged(at: loop.now, until: until)
        hang(until: until)
        let stanza = StanzaBuilder.iq(
            .get, from: .bare(session.address.bare.domain), to: .full(session.address), id: loop.context.random.token()
        ) { $0.element("ping", Self.pingNamespace) }
        session.say(stanza)
    }

    private static let pingNamespace: Namespace = "urn:xmpp:ping"
}
