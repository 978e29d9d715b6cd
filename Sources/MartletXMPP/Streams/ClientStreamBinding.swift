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
        if case .completing(let completion, .binding) = state { return complete(completion, completion.refusal, address, .bound(address, content)) }
        guard case .binding(_, let id) = state else { return .wait }
        state = .bound(address)
        return .confirmBind(address, id: id)
    }

    /// The resource cannot be had; the client may ask for another (RFC 6120 §7.7.2).
    public mutating func refusedBind(_ error: StanzaError) -> Action {
        if case .completing(let completion, .binding) = state { return complete(completion) }
        guard case .binding(let account, let id) = state else { return .wait }
        state = .awaitingBind(account)
        return .answer(id: id, error)
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
        let answer = StreamManagementAnswer.resumed(previous: previous, handled: handled)
        if case .completing(let completion, .resuming) = state { return complete(completion, answer, address, .resumed(address)) }
        guard case .resuming = state else { return .wait }
        state = .bound(address)
        return .managed(answer)
    }

    /// The earlier stream is gone; the client may bind a resource (§5).
    public mutating func refusedResumption(_ condition: StanzaError.Condition, handled: UInt32?) -> Action {
        let answer = StreamManagementAnswer.failed(condition, handled: handled)
        if case .completing(var completion, .resuming) = state {
            completion.refusal = answer
            return bindInline(completion)
        }
        guard case .resuming(let account) = state else { return .wait }
        state = .awaitingBind(account)
        return .managed(answer)
    }
}
