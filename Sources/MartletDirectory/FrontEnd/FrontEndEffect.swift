package import MartletCore
package import MartletLDAP
package import MartletXMPP
package import NIOCore

/// What has to be done for a client, in this order. Whatever takes time has a number, by which its answer is given to the machine later.
package enum FrontEndEffect: Hashable, Sendable {
    /// A message to the client.
    case toClient(ByteBuffer)
    /// A message to the directory behind.
    case toUpstream(ByteBuffer)
    /// A connection to the directory behind is needed. ``FrontEndMachine/connected()`` or ``FrontEndMachine/upstreamLost()`` says what comes of it.
    case connect
    /// The client begins TLS now (RFC 4511 §4.14.2).
    case beginTLS
    /// Longer messages of the client are taken from now on, or no longer.
    case bound(Bool)
    /// Who is visible to somebody: ``FrontEndAnswer/visible(_:)``.
    case findVisible(Int, PresenceViewer, online: Bool)
    /// What somebody may see of some accounts: ``FrontEndAnswer/presences(_:_:)``.
    case lookUp(Int, [BareJID], PresenceViewer)
    /// What has come of a bind at the directory behind.
    case heard(FrontEndBind)
    /// Whether a password is an account's: ``FrontEndAnswer/bound(_:_:)``.
    case verify(Int, name: String, password: [UInt8])
    /// What is found among this server's own accounts: ``FrontEndAnswer/messages(_:)``.
    case search(Int, LDAPMessage, PresenceViewer)
    case close
}

/// What has come of something that takes time.
package enum FrontEndAnswer: Sendable {
    case visible(Result<[(address: BareJID, presence: PresenceSummary)], PresenceView.Failure>)
    /// In the order of the accounts.
    case presences([BareJID], [PresenceSummary?])
    case bound(LDAPResult, PresenceViewer)
    case messages([LDAPMessage])
}

/// What is said to one client, as a machine without I/O.
package protocol FrontEndMachine: Sendable {
    /// - Parameters:
    ///   - frame: one message, as ``LDAPFraming`` gives it.
    ///   - isLast: whether nothing has come behind it.
    mutating func fromClient(_ frame: ByteBuffer, isLast: Bool) -> [FrontEndEffect]
    mutating func answered(_ answer: FrontEndAnswer, for question: Int) -> [FrontEndEffect]
    /// The handshake of StartTLS is over.
    mutating func secured() -> [FrontEndEffect]
    mutating func connected() -> [FrontEndEffect]
    mutating func upstreamLost() -> [FrontEndEffect]
    mutating func fromUpstream(_ frame: ByteBuffer) -> [FrontEndEffect]
    /// Whether nothing is under way.
    var isIdle: Bool { get }
    /// Whether it is waited for that the directory behind says who somebody is.
    var isIdentifying: Bool { get }
    /// Bytes of entries that wait for something.
    var waitingBytes: Int { get }
    /// Bytes of what the client said that waits for something.
    var heldBytes: Int { get }
}

extension FrontEndEffect {
    static func answer(_ message: LDAPMessage) -> FrontEndEffect { .toClient(message.bytes) }
    static func ask(_ message: LDAPMessage) -> FrontEndEffect { .toUpstream(message.bytes) }

    /// The server ends the connection, and why (RFC 4511 §4.4.1).
    static func disconnection(_ code: LDAPResultCode, _ words: String) -> [FrontEndEffect] {
        [.answer(UnsolicitedNotification.disconnection(LDAPResult(code, words)).message), .close]
    }
}

extension LDAPMessage {
    var bytes: ByteBuffer {
        var buffer = ByteBuffer()
        encode(into: &buffer)
        return buffer
    }

    /// The answer to a request that says that it has failed; `nil` for what is never answered.
    init?(refusing kind: LDAPOperation.Kind, _ id: Int32, _ result: LDAPResult) {
        let operation: LDAPOperation
        switch kind {
        case .bindRequest: operation = .bindResponse(BindResponse(result))
        case .searchRequest: operation = .searchResultDone(result)
        case .modifyRequest: operation = .modifyResponse(result)
        case .addRequest: operation = .addResponse(result)
        case .delRequest: operation = .delResponse(result)
        case .modifyDNRequest: operation = .modifyDNResponse(result)
        case .compareRequest: operation = .compareResponse(result)
        case .extendedRequest: operation = .extendedResponse(ExtendedResponse(result))
        case .unbindRequest, .abandonRequest, .bindResponse, .searchResultEntry, .searchResultReference, .searchResultDone, .modifyResponse, .addResponse,
            .delResponse, .modifyDNResponse, .compareResponse, .extendedResponse, .intermediateResponse:
            return nil
        }
        self.init(id, operation)
    }
}
