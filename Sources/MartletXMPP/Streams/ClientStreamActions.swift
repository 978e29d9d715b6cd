public import MartletXML

extension ClientStreamMachine {
    /// What whoever runs the machine is to do. ``write(to:extras:)`` says what goes on the wire; the rest is named here.
    public enum Action: Hashable, Sendable {
        case wait
        case open(ServerStreamHeader, StreamFeatures)
        /// Drop every byte that came in clear, then start TLS with the certificate of the domain; if there were any, drop the connection
        /// (CVE-2011-0411).
        case proceed(domain: String)
        /// TLS cannot start now (RFC 6120 §5.4.2.2): the connection closes.
        case refuseTLS
        /// Ask the account source, and come back with ``ClientStreamMachine/answered(_:)``.
        case lookUp(SASLMechanism, SASLIdentity, SASLQuestion)
        /// Ask whoever knows about what the client has shown, and come back with ``ClientStreamMachine/answered(_:)``.
        case consult(SASLMechanism, SASLConsultation)
        /// Look up the tokens that the client may have, by the identifier that it says of itself, and come back with
        /// ``ClientStreamMachine/answered(_:)``.
        case lookUpTokens(HashedTokenMechanism, SASLIdentity, UserAgent)
        case challenge([UInt8], SASLProfile = .rfc6120)
        /// What was given is a request of somebody who has no account: answer it, and come back with ``ClientStreamMachine/registered(_:)``.
        case register(domain: String, token: String?)
        /// Answers a request of such a client, in the name to which it was sent.
        case answerStranger(id: String, from: String?, RegistrationAnswer)
        /// Expect a new header; the limits of an authenticated stream hold from here.
        case succeed(BareJID, additionalData: [UInt8]?)
        case fail(SASLFailure, SASLProfile = .rfc6120)
        /// The last attempt failed: the stream ends.
        case failFinally(SASLFailure, StreamError, SASLProfile = .rfc6120)
        /// The exchange has succeeded: look up of which of these hashes the account has no keys, if those by which the client has proved to know the
        /// password are still its own, and come back with ``ClientStreamMachine/upgradable(_:)`` (XEP-0480).
        case seekUpgrades(BareJID, provedBy: ScramKeys, to: [ScramHash])
        /// Ask the client to make up keys of that hash; `additionalData` of the exchange that has succeeded.
        case requestUpgrade(ScramHash, additionalData: [UInt8]?)
        /// Say of what they are made.
        case describeUpgrade(ScramUpgrade)
        /// Add these keys to the account, if those by which the client has proved to know the password are still its own, and come back with
        /// ``ClientStreamMachine/upgraded(_:)`` when they are on disk.
        case upgrade(BareJID, ScramKeys, provedBy: ScramKeys)
        /// The exchange has succeeded: see to the client's tokens, and come back with ``ClientStreamMachine/concluded(_:)``, which may refuse it.
        case conclude(TokenLogin)
        /// The client has proved who it is, and hears of that when what it asked for is done: the limits of an authenticated stream hold from
        /// here, on the same stream. Come back with ``ClientStreamMachine/admitted()``.
        case admit(BareJID, UserAgent?)
        /// Bind a resource with what goes with it (XEP-0386), and come back with ``ClientStreamMachine/bound(_:_:)`` or
        /// ``ClientStreamMachine/refusedBind(_:)``.
        case bindInline(BareJID, InlineBind)
        /// The log-in is done; a session has begun or goes on, if one was asked for and could be had.
        case complete(InlineSuccess)
        /// Bind a resource and come back with ``ClientStreamMachine/bound(_:_:)`` or ``ClientStreamMachine/refusedBind(_:)``.
        case bind(BareJID, resource: String?)
        /// A session has begun.
        case confirmBind(FullJID, id: String)
        /// Go on with the session of an earlier stream, and come back with ``ClientStreamMachine/resumed(_:previous:handled:)`` or
        /// ``ClientStreamMachine/refusedResumption(_:handled:)``.
        case resume(BareJID, previous: String, handled: UInt32)
        /// What the client says about the stream is for the session.
        case manage(StreamManagementRequest)
        /// Answers what the client says about the stream.
        case managed(StreamManagementAnswer)
        /// What the client says about its state is for the session (XEP-0352).
        case indicate(ClientStateIndication)
        /// Answers a request that never reaches the session.
        case answer(id: String, StanzaError?)
        /// What was given is for the session.
        case deliver
        /// Send the header if there is one, the error if there is one, and the end of the stream; wait for the client's for a bounded time.
        case close(StreamError?, ServerStreamHeader?)
        /// Close the connection, after the end of the stream if it has not been sent.
        case finish(sendsEnd: Bool)
    }
}

extension ClientStreamMachine.Action {
    /// Writes what the action puts on the wire of a TCP stream (RFC 6120); nothing for those that only say what to do.
    ///
    /// - Parameter extras: writes what the features of the host announce to those who have logged in.
    public func write(to writer: inout XMLWriter, extras: (inout XMLWriter) -> Void = { _ in }) {
        switch self {
        case .wait, .lookUp, .consult, .lookUpTokens, .seekUpgrades, .upgrade, .conclude, .register, .admit, .bind, .bindInline, .resume, .manage, .indicate, .deliver: break
        case .open(let header, let features):
            header.write(to: &writer)
            features.write(to: &writer, extras: extras)
        case .proceed: writer.element("proceed", .startTLS)
        case .refuseTLS:
            writer.element("failure", .startTLS)
            writer.streamEnd()
        case .challenge(let message, let profile): writer.element("challenge", profile.namespace, text: profile.text(message))
        case .requestUpgrade(let hash, let data): hash.writeContinue(data, to: &writer)
        case .describeUpgrade(let upgrade): upgrade.write(to: &writer)
        case .succeed(_, let data): writer.element("success", .sasl, text: data.map(SASLPayload.encode))
        case .complete(let success):
            success.write(to: &writer)
            success.features?.write(to: &writer, extras: extras)
        case .fail(let failure, let profile): failure.write(to: &writer, profile)
        case .failFinally(let failure, let error, let profile):
            failure.write(to: &writer, profile)
            error.write(to: &writer)
            writer.streamEnd()
        case .confirmBind(let address, let id):
            writer.element("iq", .client, ["type": "result", "id": id]) { writer in
                writer.element("bind", .bind) { $0.element("jid", .bind, text: address.description) }
            }
        case .managed(let answer): answer.write(to: &writer)
        case .answer(let id, let error):
            writer.element("iq", .client, ["type": error == nil ? "result" : "error", "id": id]) { error?.write(to: &$0) }
        case .answerStranger(let id, let from, let answer): answer.write(from: from, id: id, to: &writer)
        case .close(let error, let header):
            header?.write(to: &writer)
            error?.write(to: &writer)
            writer.streamEnd()
        case .finish(let sendsEnd):
            if sendsEnd { writer.streamEnd() }
        }
    }
}

extension RegistrationAnswer {
    /// Clients match an answer by its sender, too.
    fileprivate func write(from: String?, id: String, to writer: inout XMLWriter) {
        switch self {
        case .form(let payload): writer.element("iq", .client, ["from": from, "type": "result", "id": id]) { $0.raw(payload) }
        case .admitted, .registered: writer.element("iq", .client, ["from": from, "type": "result", "id": id])
        case .refused(let error): writer.element("iq", .client, ["from": from, "type": "error", "id": id]) { error.write(to: &$0) }
        }
    }
}

extension SASLFailure {
    /// Writes `<failure>…</failure>` (RFC 6120 §6.4.5, XEP-0388 §2.6.2).
    public func write(to writer: inout XMLWriter, _ profile: SASLProfile = .rfc6120) {
        writer.element("failure", profile.namespace) { writer in
            writer.open(condition.rawValue, .sasl)
            writer.close()
            if let text { writer.element("text", profile.namespace, ["xml:lang": "en"], text: text) }
        }
    }
}
