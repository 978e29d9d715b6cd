import Logging
import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore
import NIOSSL

/// The connection of a component (XEP-0114).
///
/// It decides nothing about the stream, which is ``ComponentStreamMachine``'s, nor about stanzas, which are the ``ComponentSession``'s.
package final class ComponentConnection: StreamConnection {
    private enum Deadline { case login(until: Int), idle, closing(until: Int) }

    private let service: ComponentService
    private let settings: NetworkSettings
    private let beginsWithTLS: Bool
    private let tlsProfile: TLSProfile
    private var machine = ComponentStreamMachine()
    private var session: ComponentSession?
    private var deadline = Deadline.login(until: 0)
    private var count = ConnectionCount()
    private var address: NetworkAddress?
    private var sessionReads = true
    private var isFlushDue = false
    /// Whether our end of the stream is behind what was written.
    private var isClosing = false

    init(_ service: ComponentService, _ loop: NetworkLoop, _ configuration: ListenerConfiguration) {
        self.service = service
        settings = service.settings
        beginsWithTLS = configuration.kind.beginsWithTLS
        tlsProfile = configuration.tlsProfile
        super.init(
            loop, limits: settings.limitsBeforeAuthentication, contentNamespace: .componentAccept, stanzasPerTurnMax: service.limits.stanzasPerTurnMax)
    }

    private var surroundings: Surroundings { Surroundings(service: service, context: loop.context) }

    private func log(_ level: Logger.Level, _ message: Logger.Message, _ more: Logger.Metadata = [:]) {
        service.log.log(level: level, message, metadata: more.merging(["address": "\(remoteAddress)"]) { first, _ in first })
    }

    // MARK: Connection

    override func began(_ context: ChannelHandlerContext) {
        address = context.channel.remoteAddress.flatMap { NetworkAddress($0) }
        if let address { remoteAddress = address.description(port: UInt16(clamping: context.channel.remoteAddress?.port ?? 0)) }
        if let refusal = count.admit(service.admission) ?? address.flatMap({ count.admit($0, service.admission) }) {
            log(.notice, "a component's connection is refused", ["reason": "\(refusal)"])
            return drop()
        }
        let until = loop.now + NetworkLoop.ticks(settings.loginDeadline)
        deadline = .login(until: until)
        hang(until: until)
        if beginsWithTLS { installTLS() }
    }

    private func installTLS() {
        secure { context in
            try ServerTLS.install(before: self, context, loop, looks: service.certificates.hasChoice) { [unowned self] name, hello in
                let certificate = service.certificates.certificate(forServerName: name)?.suited(to: hello)
                guard let tls = certificate?.context(tlsProfile) else {
                    log(.error, "no certificate to show to a component")
                    throw ServerTLS.NoCertificate()
                }
                return (NIOSSLServerHandler(context: tls), nil)
            }
        }
    }

    override func lost() {
        machine.transportLost()
        leave()
        count.leave(service.admission)
    }

    private func leave() {
        guard let session else { return }
        self.session = nil
        log(.info, "a component is gone", ["component": "\(session.component.name)"])
        session.ended()
        loop.context.runEffects()
    }

    override func networkFailed(_ error: any Error) { log(.debug, "a component's connection failed", ["error": "\(error)"]) }
    override func drained() { session?.drain() }
    override var isOver: Bool { machine.isEnding }
    override var takesInput: Bool { sessionReads && !machine.isDeciding && !isResumptionScheduled }
    /// What it sent before it went counts.
    override func takesLast() -> Bool { session != nil }

    override func didTake(waiting byteCount: Int) {
        guard count.isUnauthenticated, count.hold(byteCount + parser.pendingByteCount, service.admission) != nil else { return }
        failInput()
        close(StreamError(.resourceConstraint, "too much waits of components that have not logged in"))
    }

    override func deadlinePassed() {
        switch deadline {
        case .login(let until):
            guard loop.now >= until else { return hang(until: until) }
            close(StreamError(.connectionTimeout, "The handshake took too long."))
        case .idle:
            let due = lastActivity + idleTicks
            guard loop.now >= due else { return hang(until: due) }
            // White space is nothing to the component, and its TCP has to acknowledge it: a dead connection is found (RFC 6120 §4.6.1).
            write(ByteBuffer(string: " "))
            hang(until: loop.now + idleTicks)
        case .closing(let until):
            if loop.now >= until { drop() } else { hang(until: until) }
        }
    }

    private var idleTicks: Int { settings.pingAfter.map(NetworkLoop.ticks) ?? .max / 2 }

    // MARK: From the component

    override func take(_ event: XMLStreamEvent) {
        switch event {
        case .opened(let header): perform(machine.opened(header, surroundings))
        case .element(let element): received(element)
        case .closed: perform(machine.peerClosed())
        }
    }

    private func received(_ element: FlatElement) {
        let action = machine.received(element, surroundings)
        guard case .deliver = action, let session else { return perform(action) }
        do throws(StreamError) { try session.receive(element) } catch { perform(machine.end(error, surroundings)) }
    }

    override func failed(_ error: XMLError) { perform(machine.failed(error, surroundings)) }

    private func perform(_ action: ComponentStreamMachine.Action) {
        switch action {
        case .wait, .deliver: break
        case .open: say(action)
        case .decide(let name): decide(name)
        case .accept(let name): accept(name, action)
        case .close(let error, _):
            if let error { complain(error) }
            leave()
            say(action)
            isClosing = true
            flush()
            let until = loop.now + NetworkLoop.ticks(settings.closingDeadline)
            deadline = .closing(until: until)
            hang(until: until)
        case .finish:
            leave()
            say(action)
            closeAfterFlush()
        }
    }

    /// Answers the handshake, later the more of them have failed.
    private func decide(_ name: String) {
        guard let component = try? BareJID(parsing: name) else { return }
        let wait = service.beginLogin(address, component, at: loop.context.time.monotonic)
        guard wait > .zero else { return perform(machine.decided()) }
        _ = loop.loop.assumeIsolated().scheduleTask(in: wait) { [weak self] in
            guard let self, !isGone else { return }
            perform(machine.decided())
            resume()
            flushSoon()
            loop.context.flushSoon()
        }
    }

    private func accept(_ name: String, _ action: ComponentStreamMachine.Action) {
        guard let component = service.registry.configured(name)?.component else {
            return perform(machine.end(StreamError(.hostUnknown, "This server has no component \(name) any more."), surroundings))
        }
        service.excuseLogin(address, component.name, at: loop.context.time.monotonic)
        count.leaveUnauthenticated(service.admission)
        parser.limits = settings.limits
        deadline = .idle
        hang(until: loop.now + idleTicks)
        say(action)
        let session = ComponentSession(component, self, router: service.router, context: loop.context)
        self.session = session
        log(.info, "a component is connected", ["component": "\(name)", "tls": "\(isSecure)"])
        session.greet()
    }

    /// Says in the log why a component is refused or its stream ends, and what to do.
    private func complain(_ error: StreamError) {
        var more: Logger.Metadata = ["reason": "\(error.condition.rawValue)"]
        if let text = error.text { more["text"] = "\(text)" }
        if let name = session?.component.name { more["component"] = "\(name)" }
        if let advice = Self.advice(about: error.condition) { more["advice"] = "\(advice)" }
        log(session == nil ? .notice : .warning, session == nil ? "a component is refused" : "a component's stream is ended", more)
    }

    private static func advice(about condition: StreamError.Condition) -> String? {
        switch condition {
        case .hostUnknown: "add it to 'components' in the configuration and reload, or correct the name in the component's own"
        case .notAuthorized: "the component and 'components[].secret-file' have different secrets"
        case .invalidFrom: "the component is to send from its own name; 'components[].subdomains' allows the domains below it"
        case .invalidNamespace: "a client or another server has called the port that is for components"
        case .conflict: "two programs log in under one name: stop one of them"
        case .connectionTimeout: "whoever has connected is no component, or hangs"
        default: nil
        }
    }

    // MARK: To the component

    private func say(_ action: ComponentStreamMachine.Action) {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: 256))
        action.write(to: &writer)
        write(writer.buffer)
    }

    override func close(_ error: StreamError?) {
        // What is said now would be said into a handshake.
        guard !isSecuring else { return drop() }
        perform(machine.end(error, surroundings))
    }

    package override func flush() {
        isFlushDue = false
        super.flush()
    }

    /// With the loop's other transports, at the end of its turn.
    override func flushSoon() {
        guard !isFlushDue, !output.isEmpty else { return }
        isFlushDue = true
        loop.context.flushWithOthers { [self] in flush() }
        loop.context.flushSoon()
    }
}

extension ComponentConnection: ComponentTransport {
    package var isWritable: Bool { !isClosing && !isNetworkSlow && context?.channel.isWritable ?? false }

    package func write(_ bytes: ByteBuffer) {
        guard !isGone, !isClosing, context != nil, bytes.readableBytes > 0 else { return }
        put(bytes)
        flushSoon()
    }

    package func setReading(_ isReading: Bool) {
        sessionReads = isReading
        if isReading { resume() }
    }
}

/// What a stream asks of the server, as its loop sees it.
private struct Surroundings: ComponentStreamEnvironment {
    let service: ComponentService
    let context: LoopContext
    func secret(of component: String) -> [UInt8]? { service.registry.configured(component)?.settings.secret }
    func streamID() -> String { context.random.token() }
}
