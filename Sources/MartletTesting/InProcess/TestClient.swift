package import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore

/// A session of a ``TestServer``: sends XML as text and keeps what it gets.
package final class TestClient: SessionTransport {
    private unowned let server: TestServer
    package private(set) var session: ClientSession?
    /// Why there is no session.
    package private(set) var refusal: StanzaError?
    private var inbox: [FlatElement] = []
    /// Whether the server ended the session, and with which error.
    package private(set) var isClosed = false
    package private(set) var closing: StreamError?
    package private(set) var isReading = true
    /// What the server believes to be still on its way; for tests of slow clients.
    package var pendingBytes: Int { unreadBytes > reportedFrom ? unreadBytes : 0 }
    package var hasDrained: Bool { unreadBytes == 0 }
    private var unreadBytes = 0
    private var isUnflushed = false
    /// Times that the network was given something: each would wake a sleeping radio.
    package private(set) var writes = 0
    /// Below this much a connection is not asked what is on its way, and says that nothing is.
    package var reportedFrom = 0
    /// Takes nothing of what it is sent: `pendingBytes` grows.
    package var isSlow = false
    package let remoteAddress = "192.0.2.1:40000"

    init(_ server: TestServer) { self.server = server }

    func bound(_ outcome: BindOutcome) {
        switch outcome {
        case .bound(let session): self.session = session
        case .refused(let error): refusal = error
        case .revoked(let error): close(error)
        }
    }

    package var address: FullJID {
        guard let session else { preconditionFailure("the session was refused: \(String(describing: refusal))") }
        return session.address
    }

    // MARK: What a test does

    /// Sends one stanza and lets the server do all that it can do about it.
    package func send(_ xml: String) {
        sendOnly(xml)
        flushAndRun()
    }

    /// Sends one stanza and lets the server do what it does before it looks at the next one.
    package func sendOnly(_ xml: String) {
        guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else {
            preconditionFailure("no stanza: \(xml)")
        }
        do {
            try session?.receive(element)
        } catch {
            session?.end(error)
        }
    }

    private func flushAndRun() {
        (session?.context ?? server.context).flush()
        server.run()
    }

    /// What came since the last call, in order.
    package func received() -> [TestStanza] {
        defer { inbox = [] }
        return inbox.map(TestStanza.init)
    }

    /// The same without presence.
    package func receivedBesidesPresence() -> [TestStanza] { received().filter { $0.element.localName != "presence" } }

    package func forget() { inbox = [] }

    /// The stream is closed.
    package func disconnect() {
        session?.transportClosed()
        flushAndRun()
    }

    /// The connection breaks.
    package func breakConnection() {
        let context = session?.context ?? server.context
        _ = session?.connectionLost()
        session = nil
        context.flush()
        server.run()
    }

    /// Says something about the stream (XEP-0198).
    package func manage(_ request: StreamManagementRequest) {
        do throws(StreamError) { try session?.manage(request) } catch { session?.end(error) }
        flushAndRun()
    }

    /// Says whether somebody looks at it (XEP-0352).
    package func indicate(_ indication: ClientStateIndication) {
        session?.indicate(indication)
        flushAndRun()
    }

    func resumed(_ outcome: ResumptionOutcome, previous: String) {
        switch outcome {
        case .resumed(let session, let handled):
            self.session = session
            say(.resumed(previous: previous, handled: handled))
            session.sendAgain()
        case .refused(let condition, let handled): say(.failed(condition, handled: handled))
        case .failed(let error): close(error)
        }
    }

    private func say(_ answer: StreamManagementAnswer) {
        var writer = XMLWriter()
        answer.write(to: &writer)
        write(writer.buffer)
    }

    // MARK: What the server does

    package func write(_ bytes: ByteBuffer) {
        guard let element = try? parseElement(bytes, limits: .authenticated) else {
            preconditionFailure("the server sent no stanza: \(String(buffer: bytes))")
        }
        inbox.append(element)
        isUnflushed = true
        if isSlow { unreadBytes += bytes.readableBytes }
    }

    package func flush() {
        if isUnflushed { writes += 1 }
        isUnflushed = false
    }

    package func close(_ error: StreamError?) {
        isClosed = true
        closing = error
    }

    package func drop() {
        isClosed = true
        session = nil
    }

    package func setReading(_ isReading: Bool) { self.isReading = isReading }
}
