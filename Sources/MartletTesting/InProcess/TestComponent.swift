package import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore

/// A component of a ``TestServer`` that has proved who it is (XEP-0114).
package final class TestComponent: ComponentTransport {
    private let server: TestServer
    private var session: ComponentSession?
    private var written: [ByteBuffer] = []
    /// Why the stream ended.
    package private(set) var error: StreamError?
    package private(set) var isEnded = false
    package private(set) var isReading = true
    /// Whether the network takes more at once.
    package var isWritable = true {
        didSet { if isWritable { session?.drain() } }
    }
    package let remoteAddress = "[::1]:1"

    package init(_ server: TestServer, _ name: String, on context: LoopContext? = nil) {
        self.server = server
        guard let component = server.components.configured(name)?.component else { preconditionFailure("no component: \(name)") }
        let session = ComponentSession(component, self, router: server.router, context: context ?? server.context)
        self.session = session
        session.greet()
        server.context.flush()
        server.run()
    }

    deinit { session?.ended() }

    package var unfinishedCount: Int { session?.unfinishedCount ?? 0 }

    package func setReading(_ isReading: Bool) { self.isReading = isReading }
    package func write(_ bytes: ByteBuffer) { written.append(bytes) }
    package func close(_ error: StreamError?) {
        self.error = error
        isEnded = true
        session = nil
    }

    /// The connection breaks.
    package func breakConnection() {
        session?.ended()
        session = nil
        server.context.flush()
        server.run()
    }

    /// Sends one stanza and lets the server do all that it can do about it.
    package func send(_ xml: String) {
        guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no stanza: \(xml)") }
        do {
            try session?.receive(element)
        } catch {
            session?.end(error)
        }
        server.context.flush()
        server.run()
    }

    /// What has come since the last call.
    package func received() -> [TestStanza] {
        defer { written = [] }
        return written.map { bytes in
            guard let element = try? parseElement(bytes, limits: .authenticated) else { preconditionFailure("no stanza: \(bytes)") }
            return TestStanza(element)
        }
    }
}
