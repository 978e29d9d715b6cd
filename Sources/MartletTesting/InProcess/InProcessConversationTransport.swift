import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore

/// Holds conversations with a ``TestServer``: stream, parser and log-in are the real ones, the network is a function call.
package final class InProcessConversationTransport: ConversationTransport {
    package let server: TestServer
    package let hasManualClock = true
    private var passwords: [BareJID: PreparedPassword] = [:]

    package init(_ server: TestServer) { self.server = server }

    package var domain: String { server.domain.description }

    package func createAccount(localpart: String, password: String) throws(ConversationTransportError) {
        let prepared = PreparedPassword(password)
        passwords[server.address(localpart)] = prepared
        server.createAccount(localpart, credentials: prepared.flatMap { Self.keys(of: $0, .sha256) }.map { [$0] } ?? [])
    }

    private static func keys(of password: PreparedPassword, _ hash: ScramHash) -> ScramKeys? {
        let salt = [UInt8](repeating: 7, count: ScramKeys.saltBytesDefault)
        return try? ScramKeys.derive(password: password, salt: salt, iterations: ScramKeys.iterationRange.lowerBound, hash: hash)
    }

    package func connect() throws(ConversationTransportError) -> any ConversationConnection { InProcessConnection(self) }

    package func advance(by duration: Duration) throws(ConversationTransportError) { server.advance(by: duration) }

    package let sharesGroups = true

    package func share(_ groups: [Conversation.Group]) throws(ConversationTransportError) {
        server.share(groups.map { group in
            let audience = group.watchers.map { SharedGroup.Audience.others([SharedMembers($0.map(server.address))]) }
            return SharedGroup(id: group.name, name: group.name, members: SharedMembers(group.members.map(server.address)), audience: audience ?? .members)
        })
    }

    /// What an account source would say. The keys are derived when they are asked for, which costs a test nothing that is waited for.
    fileprivate func answer(_ question: SASLQuestion, about account: BareJID) -> SASLAnswer {
        let password = passwords[account]
        switch question {
        case .passwordVerdict(let claimed): return .passwordVerdict(password == claimed)
        case .scramKeys(let hash):
            guard let password = password ?? PreparedPassword("nobody knows this one"), let keys = Self.keys(of: password, hash) else {
                return .refused(.temporaryAuthFailure)
            }
            return .scramKeys(keys)
        case .certificate: return .refused(.notAuthorized)
        case .hashedTokens: return .hashedTokens([])
        case .standing: return .standing(password == nil ? .notAuthorized : nil)
        }
    }
}

extension InProcessConversationTransport: ClientStreamEnvironment {
    package var policy: ClientStreamPolicy { ClientStreamPolicy(allowsPlaintext: true) }
    package var defaultDomain: String { domain }
    package func serves(_ domain: String) -> Bool { server.context.hosts.host(ofDomain: domain) != nil }
    package func canStartTLS(for domain: String) -> Bool { false }
    package func streamID() -> String { server.random.token() }
    package func inlineOffer(at domain: String) -> InlineOffer { server.context.hosts.host(ofDomain: domain)?.inlineOffer ?? InlineOffer() }
    package func nonce() -> ScramNonce { ScramNonce(random: server.random.bytes(ScramNonce.randomBytesMin + 2)) }
}

/// The server's end of a connection: bytes to events, events to the machine, its actions to bytes and to the session.
private final class InProcessConnection: ConversationConnection, SessionTransport {
    private let transport: InProcessConversationTransport
    private var machine = ClientStreamMachine()
    private var parser = XMLStreamParser(limits: .unauthenticated)
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var session: ClientSession?
    private var account: BareJID?
    private var userAgent: UserAgent?
    private var isOpen = true
    private var isReading = true

    let pendingBytes = 0
    let remoteAddress = "192.0.2.1:40000"

    init(_ transport: InProcessConversationTransport) { self.transport = transport }

    private var server: TestServer { transport.server }

    // MARK: The client's side

    func send(_ bytes: ByteBuffer) {
        guard isOpen else { return }
        input.writeImmutableBuffer(bytes)
        settle()
    }

    func receive() -> ConversationInput {
        settle()
        guard output.readableBytes > 0 else { return isOpen ? .nothing : .closed }
        defer { output = ByteBuffer() }
        return .bytes(output)
    }

    func close() {
        isOpen = false
        machine.transportLost()
        _ = session?.connectionLost()
        session = nil
        settle()
    }

    // MARK: From the client

    private func settle() {
        parse()
        server.context.flush()
        server.run()
    }

    private func parse() {
        while isOpen, isReading, !machine.isWaiting, !machine.isEnding {
            do throws(XMLError) {
                guard let event = try parser.next(from: &input) else { return }
                take(event)
            } catch {
                perform(machine.failed(error, transport))
            }
        }
    }

    private func take(_ event: XMLStreamEvent) {
        switch event {
        case .opened(let header): perform(machine.opened(header, transport))
        case .closed: perform(machine.peerClosed())
        case .element(let element):
            let action = machine.received(element, transport)
            do throws(StreamError) {
                switch action {
                case .deliver: try session?.receive(element)
                case .manage(let request): try session?.manage(request)
                case .indicate(let indication): session?.indicate(indication)
                case .answer where session != nil:
                    var writer = XMLWriter()
                    action.write(to: &writer)
                    session?.noteAnswered(EncodedStanza(writer.buffer))
                default: perform(action)
                }
            } catch {
                perform(machine.end(error, transport))
            }
        }
    }

    private func perform(_ action: ClientStreamMachine.Action) {
        switch action {
        case .wait, .deliver, .manage, .indicate, .register: break
        case .open, .challenge, .requestUpgrade, .describeUpgrade, .confirmBind, .managed, .answer, .answerStranger, .fail, .proceed, .complete: put(action)
        // Without TLS no keys are made up, and there are no tokens.
        case .seekUpgrades: perform(machine.upgradable([]))
        case .upgrade: perform(machine.upgraded(.temporaryAuthFailure))
        case .lookUpTokens: perform(machine.answered(.hashedTokens([])))
        case .conclude: perform(machine.concluded(.failure(.temporaryAuthFailure)))
        // Nor anybody to ask.
        case .consult: perform(machine.answered(.refused(.temporaryAuthFailure)))
        case .lookUp(_, let identity, let question):
            perform(machine.answered(transport.answer(question, about: identity.account)))
        case .succeed(let account, _):
            put(action)
            self.account = account
            parser.restart()
            parser.limits = .authenticated
        case .admit(let account, let userAgent):
            self.account = account
            self.userAgent = userAgent
            parser.limits = .authenticated
            perform(machine.admitted())
        case .bind(let account, let resource):
            server.router.bind(account, resource: resource, userAgent: userAgent, on: sighting(resource), self, server.context) { [self] in bound($0) }
        case .bindInline(let account, let request):
            server.router.bind(account, request, by: userAgent, on: sighting(nil), self, server.context) { [self] in bound($0) }
        case .resume(let account, let previous, let handled):
            server.router.resume(account, previous: previous, handled: handled, userAgent: userAgent, self, server.context) { [self] in
                resumed($0, previous)
            }
        case .finish:
            endSession { $0.streamClosed() }
            put(action)
            isOpen = false
        case .close, .failFinally, .refuseTLS:
            endSession { $0.transportClosed() }
            put(action)
            isOpen = false
        }
    }

    private func sighting(_ resource: String?) -> DeviceSighting {
        DeviceSighting(userAgent, resource: resource, by: .password, at: server.context.wallMilliseconds)
    }

    private func bound(_ outcome: BindOutcome) {
        switch outcome {
        case .bound(let session):
            self.session = session
            perform(machine.bound(session.address))
        case .refused(let error): perform(machine.refusedBind(error))
        case .revoked(let error): perform(machine.end(error, transport))
        }
        parseLater()
    }

    private func bound(_ outcome: InlineBindOutcome) {
        switch outcome {
        case .bound(let session, let content):
            let action = machine.bound(session.address, content)
            guard action != .wait else { return session.transportClosed() }
            self.session = session
            perform(action)
            session.begin()
        case .refused(let error): perform(machine.refusedBind(error))
        case .revoked(let error): perform(machine.end(error, transport))
        }
        parseLater()
    }

    private func parseLater() {
        server.later { [self] in
            parse()
            server.context.flush()
        }
    }

    private func resumed(_ outcome: ResumptionOutcome, _ previous: String) {
        switch outcome {
        case .resumed(let session, let handled):
            let action = machine.resumed(session.address, previous: previous, handled: handled)
            guard action != .wait else { return _ = session.connectionLost() }
            self.session = session
            perform(action)
            session.sendAgain()
        case .refused(let condition, let handled): perform(machine.refusedResumption(condition, handled: handled))
        case .failed(let error): perform(machine.end(error, transport))
        }
        parseLater()
    }

    private func endSession(_ end: (ClientSession) -> Void) {
        if let session { end(session) }
        session = nil
    }

    // MARK: To the client

    private func put(_ action: ClientStreamMachine.Action) {
        var writer = XMLWriter()
        action.write(to: &writer) { writer in
            if let account { server.context.hosts.writeStreamFeatures(for: account, to: &writer) }
        }
        write(writer.buffer)
    }

    func write(_ bytes: ByteBuffer) {
        if isOpen { output.writeImmutableBuffer(bytes) }
    }

    func flush() {}

    func close(_ error: StreamError?) { perform(machine.end(error, transport)) }

    func drop() { isOpen = false }

    func setReading(_ isReading: Bool) {
        guard isReading != self.isReading else { return }
        self.isReading = isReading
        guard isReading else { return }
        server.later { [self] in
            parse()
            server.context.flush()
        }
    }
}
