public import MartletXML

extension Namespace {
    /// The content namespace of a component's stream (XEP-0114); stanzas on it read as those in ``client``.
    public static let componentAccept: Namespace = "jabber:component:accept"
}

/// What the machine asks of the server.
public protocol ComponentStreamEnvironment {
    /// What a component of that name has in common with the server; `nil` if there is none.
    func secret(of component: String) -> [UInt8]?
    /// A name for a stream that nobody can guess.
    func streamID() -> String
}

/// The server's side of a component's stream (XEP-0114): header, handshake, then stanzas until either side ends it. Pure.
public struct ComponentStreamMachine: Sendable {
    private enum State: Hashable {
        case awaitingHeader
        case awaitingHandshake(Header, secret: [UInt8])
        /// The handshake has come, and is answered when the server wants to.
        case deciding(Header, isProved: Bool)
        case open(Header)
        /// Our end of the stream is sent, the component's is awaited.
        case closing
        case closed
    }

    /// The header with which the server answers.
    public struct Header: Hashable, Sendable {
        /// The component, prepared.
        public let name: String
        public let id: String
    }

    public enum Action: Hashable, Sendable {
        case wait
        case open(Header)
        /// The handshake has come: ``decided()`` says what comes of it.
        case decide(component: String)
        /// The component may send.
        case accept(component: String)
        /// The element is a stanza, or whatever a component takes for one.
        case deliver
        /// - Parameter header: ours, if the component has not had it (RFC 6120 §4.9.1.2).
        case close(StreamError?, Header?)
        /// The component has ended its side as well, or first.
        case finish(sendsEnd: Bool)
    }

    private var state = State.awaitingHeader

    public init() {}

    /// The component, once it has proved who it is.
    public var component: String? { if case .open(let header) = state { header.name } else { nil } }
    /// Nothing of the component is looked at until it is decided.
    public var isDeciding: Bool { if case .deciding = state { true } else { false } }
    /// Our end of the stream has been sent.
    public var isEnding: Bool { state == .closing || state == .closed }

    // MARK: From the component

    public mutating func opened(_ element: FlatElement, _ environment: some ComponentStreamEnvironment) -> Action {
        guard state == .awaitingHeader else { return end(StreamError(.badFormat, "A stream has one header."), environment) }
        do throws(StreamError) {
            let name = try Self.name(in: element)
            guard let secret = environment.secret(of: name) else {
                throw StreamError(.hostUnknown, "This server has no component \(name).")
            }
            let header = Header(name: name, id: environment.streamID())
            state = .awaitingHandshake(header, secret: secret)
            return .open(header)
        } catch {
            return end(error, environment)
        }
    }

    /// Whom the header says it is from: the name stands in `to` (§3).
    private static func name(in element: FlatElement) throws(StreamError) -> String {
        let root = element.root
        guard root.isNamed("stream", .streams) else {
            throw root.localName == "stream"
                ? StreamError(.invalidNamespace, "A stream header is in the namespace http://etherx.jabber.org/streams.")
                : StreamError(.badFormat, "A stream begins with <stream:stream>.")
        }
        guard root.declaredDefaultNamespace == Namespace.componentAccept.name else {
            throw StreamError(.invalidNamespace, "This port is for components: the content namespace is jabber:component:accept.")
        }
        guard let to = root.attribute("to") else { throw StreamError(.improperAddressing, "The stream header has no 'to'.") }
        guard let address = try? BareJID(parsing: to), address.isDomain else {
            throw StreamError(.hostUnknown, "The name of a component is a domain.")
        }
        return address.domainpart
    }

    public mutating func received(_ element: FlatElement, _ environment: some ComponentStreamEnvironment) -> Action {
        switch state {
        case .open: return .deliver
        case .awaitingHandshake(let header, let secret):
            guard element.root.isNamed("handshake", .client) else {
                return end(StreamError(.notAuthorized, "A handshake comes before everything else."), environment)
            }
            let isProved = ComponentHandshake.isProved(element.root.text, streamID: header.id, secret: secret)
            state = .deciding(header, isProved: isProved)
            return .decide(component: header.name)
        case .deciding, .awaitingHeader, .closing, .closed: return .wait
        }
    }

    /// The server has waited long enough with its answer to the handshake.
    public mutating func decided() -> Action {
        guard case .deciding(let header, let isProved) = state else { return .wait }
        guard isProved else { return close(StreamError(.notAuthorized, "The secret is not that of \(header.name)."), nil) }
        state = .open(header)
        return .accept(component: header.name)
    }

    public mutating func failed(_ error: XMLError, _ environment: some ComponentStreamEnvironment) -> Action {
        end(StreamError(reporting: error), environment)
    }

    public mutating func peerClosed() -> Action {
        defer { state = .closed }
        return .finish(sendsEnd: !isEnding)
    }

    // MARK: From the server

    /// Ends the stream.
    public mutating func end(_ error: StreamError?, _ environment: some ComponentStreamEnvironment) -> Action {
        switch state {
        case .closing, .closed: return .wait
        case .awaitingHeader: return close(error, Header(name: "", id: environment.streamID()))
        case .awaitingHandshake, .deciding, .open: return close(error, nil)
        }
    }

    private mutating func close(_ error: StreamError?, _ header: Header?) -> Action {
        state = .closing
        return .close(error, header)
    }

    public mutating func transportLost() { state = .closed }
}

extension ComponentStreamMachine.Action {
    /// Writes what the action puts on the wire; nothing for those that only say what to do.
    public func write(to writer: inout XMLWriter) {
        switch self {
        case .wait, .decide, .deliver: break
        case .open(let header): header.write(to: &writer)
        case .accept: writer.element("handshake", .client)
        case .close(let error, let header):
            header?.write(to: &writer)
            error?.write(to: &writer)
            writer.streamEnd()
        case .finish(let sendsEnd): if sendsEnd { writer.streamEnd() }
        }
    }
}

extension ComponentStreamMachine.Header {
    fileprivate func write(to writer: inout XMLWriter) {
        writer.streamHeader(contentNamespace: .componentAccept, ["from": name.isEmpty ? nil : name, "id": id])
    }
}
