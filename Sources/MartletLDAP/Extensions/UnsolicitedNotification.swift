/// What a server says unasked (RFC 4511 §4.4).
public enum UnsolicitedNotification: Hashable, Sendable {
    /// The server ends the connection, and why (§4.4.1). No outstanding operation is answered any more.
    case disconnection(LDAPResult)
    /// A transaction was ended by the server, of this identifier (RFC 5805 §2.4).
    case abortedTransaction(LDAPResult, identifier: [UInt8])
    /// One that is not known, and may be ignored.
    case other(ExtendedResponse)

    /// - Returns: `nil` if it is the answer to something.
    public init?(_ message: LDAPMessage) {
        guard message.id == 0, case .extendedResponse(let response) = message.operation else { return nil }
        switch response.name {
        case LDAPExtension.noticeOfDisconnection: self = .disconnection(response.result)
        case LDAPExtension.abortedTransaction: self = .abortedTransaction(response.result, identifier: response.value ?? [])
        default: self = .other(response)
        }
    }

    public var message: LDAPMessage {
        switch self {
        case .disconnection(let result): LDAPMessage(0, .extendedResponse(ExtendedResponse(result, name: LDAPExtension.noticeOfDisconnection)))
        case .abortedTransaction(let result, let identifier):
            LDAPMessage(0, .extendedResponse(ExtendedResponse(result, name: LDAPExtension.abortedTransaction, value: identifier)))
        case .other(let response): LDAPMessage(0, .extendedResponse(response))
        }
    }
}
