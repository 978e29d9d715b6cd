public import MartletXML

extension ClientStreamMachine.Action {
    /// Writes what the action puts on the wire of a TCP stream (RFC 6120); nothing for those that only say what to do.
    ///
    /// - Parameter extras: writes what the features of the host announce to those who have logged in.
    public func write(to writer: inout XMLWriter, extras: (inout XMLWriter) -> Void = { _ in }) {
        switch self {
        case .wait, .lookUp, .lookUpTokens, .conclude, .register, .admit, .bind, .bindInline, .resume, .manage, .indicate, .deliver: break
        case .open(let header, let features):
            header.write(to: &writer)
            features.write(to: &writer, extras: extras)
        case .proceed: writer.element("proceed", .startTLS)
        case .refuseTLS:
            writer.element("failure", .startTLS)
            writer.streamEnd()
        case .challenge(let message, let profile): writer.element("challenge", profile.namespace, text: profile.text(message))
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
