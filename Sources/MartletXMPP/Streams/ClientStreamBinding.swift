public import MartletXML
public import NIOCore

// MARK: Resource binding (RFC 6120 §7)

extension ClientStreamMachine {
    mutating func receiveBind(_ element: FlatElement, _ account: BareJID) -> Action {
        guard element.isNamed("iq", .client), let request = element.firstChild("bind", .bind) else {
            return end(StreamError(.notAuthorized, "A resource is to be bound first."))
        }
        let id = element.attribute("id") ?? ""
        guard IQType(of: element.root) == .set, !id.isEmpty else { return .answer(id: id, .badRequest("not a request to bind")) }
        state = .binding(account, id: id)
        let resource = request.firstChild("resource", .bind)?.text ?? ""
        return .bind(account, resource: resource.isEmpty ? nil : resource)
    }

    /// A session has begun. If the answer is ``Action/wait`` the stream ended meanwhile, and so must the session.
    ///
    /// - Parameter content: what `<bound/>` says of it, where it was asked for inside the log-in.
    public mutating func bound(_ address: FullJID, _ content: ByteBuffer = ByteBuffer()) -> Action {
        switch state {
        case .completing(let completion, .binding): return complete(completion, completion.refusal, address, .bound(address, content))
        case .binding(_, let id):
            state = .bound(address)
            return .confirmBind(address, id: id)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .authenticated, .awaitingBind,
            .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    /// The resource cannot be had; the client may ask for another (RFC 6120 §7.7.2).
    public mutating func refusedBind(_ error: StanzaError) -> Action {
        switch state {
        case .completing(let completion, .binding): return complete(completion)
        case .binding(let account, let id):
            state = .awaitingBind(account)
            return .answer(id: id, error)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .authenticated, .awaitingBind,
            .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    /// What ``received(_:_:)`` does once a session has begun, without its detours: a stanza passes here.
    ///
    /// Stanzas are for the session, except the two requests that are about the stream.
    public mutating func receivedBound(_ element: FlatElement) -> Action {
        guard case .bound(let address) = state else { return .wait }
        guard element.root.isIn(.client) else {
            if element.root.isIn(.streamManagement) { return receivedManagement(element) }
            if let indication = ClientStateIndication(element) { return .indicate(indication) }
            if element.root.isIn(.sasl2) { return end(Self.repeated) }
            return end(element.isNamed("error", .streams) ? nil : StreamError(.unsupportedStanzaType))
        }
        guard element.isNamed("iq", .client), let child = element.root.firstChild, let id = element.attribute("id"),
            child.isIn(.legacySession) || child.isIn(.bind), IQType(of: element.root) == .set, Self.isForServer(element, address)
        else { return .deliver }
        return .answer(id: id, child.isNamed("session", .legacySession) ? nil : .notAllowed)
    }

    /// Whether it has no addressee or the server's domain as such.
    private static func isForServer(_ element: FlatElement, _ address: FullJID) -> Bool {
        guard let to = element.attribute("to") else { return true }
        return (try? BareJID(parsing: to)) == address.bare.domain
    }
}

// MARK: Stream management (XEP-0198)

extension ClientStreamMachine {
    /// Before a resource is bound only an earlier stream can be resumed (§3).
    mutating func receiveManagement(_ element: FlatElement, _ account: BareJID) -> Action {
        switch StreamManagementRequest(element) {
        case .resume(let previous, let handled):
            state = .resuming(account)
            return .resume(account, previous: previous, handled: handled)
        case .enable, .request, .acknowledge: return .managed(.failed(.unexpectedRequest, handled: nil))
        case nil: return .managed(.failed(.badRequest, handled: nil))
        }
    }

    private func receivedManagement(_ element: FlatElement) -> Action {
        switch StreamManagementRequest(element) {
        case .resume: .managed(.failed(.unexpectedRequest, handled: nil))
        case let request?: .manage(request)
        case nil: .managed(.failed(.badRequest, handled: nil))
        }
    }

    /// The session of the earlier stream goes on here. If the answer is ``Action/wait`` the stream ended meanwhile.
    public mutating func resumed(_ address: FullJID, previous: String, handled: UInt32) -> Action {
        switch state {
        case .resuming:
            state = .bound(address)
            return .managed(.resumed(previous: previous, handled: handled))
        case .completing(let completion, .resuming):
            return complete(completion, .resumed(previous: previous, handled: handled), address, .resumed(address))
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering, .completing, .authenticated,
            .awaitingBind, .binding, .bound, .closing, .closed:
            return .wait
        }
    }

    /// The earlier stream is gone; the client may bind a resource (§5).
    public mutating func refusedResumption(_ condition: StanzaError.Condition, handled: UInt32?) -> Action {
        switch state {
        case .resuming(let account):
            state = .awaitingBind(account)
            return .managed(.failed(condition, handled: handled))
        case .completing(var completion, .resuming):
            completion.refusal = .failed(condition, handled: handled)
            return bindInline(completion)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering, .completing, .authenticated,
            .awaitingBind, .binding, .bound, .closing, .closed:
            return .wait
        }
    }
}
