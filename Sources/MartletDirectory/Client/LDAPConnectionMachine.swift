package import MartletLDAP

/// A client's side of one connection (RFC 4511 §4, §5.1), as a machine without I/O.
///
///     open ⇄ binding ⇄ negotiating       a bind has the connection for itself, up to the last step of a SASL exchange
///       ⇅
///     securing ─▶ handshaking ─▶ open    StartTLS, once nothing else is under way
///
/// and from everywhere to `closed`. Operations are told apart by their identifiers, which count up: one that is under way is never given to another, and
/// one that was given up (whose answers may still come) not before all the others have been used.
package struct LDAPConnectionMachine: Sendable {
    /// Most operations at once. More than are ever meant: it is the bound on what a server that answers nothing makes us remember.
    package static let operationsMax = 256

    /// What has to be done, in this order.
    package enum Effect: Hashable, Sendable {
        case send(LDAPMessage)
        /// A part of an answer that goes on.
        case part(Int32, LDAPMessage)
        /// The last of an answer: the operation is over.
        case answer(Int32, LDAPMessage)
        /// The operation is over without an answer.
        case fail(Int32, DirectoryFailure)
        /// The server is ready for a handshake (RFC 4511 §4.14.2). ``secured()`` when that is done.
        case beginTLS
        case close
    }

    /// What an operation is answered with at last (RFC 4511 §4.1.1).
    fileprivate enum Awaited: Hashable, Sendable { case bind, search, modify, add, delete, modifyDN, compare, extended }

    private enum State {
        case open([Int32: Awaited])
        /// Nothing else may be said before the answer (RFC 4511 §4.2.1).
        case binding(Int32)
        /// Between two steps of a SASL bind: the next step, or a bind anew.
        case negotiating
        case securing(Int32)
        /// The answer to StartTLS, which is given to who asked when it is true.
        case handshaking(LDAPMessage)
        case closed(DirectoryFailure)
    }

    private var state = State.open([:])
    /// The identifier that was given last.
    package var lastID: Int32 = 0
    /// Messages about operations that are not under way: late ones mostly, which are nobody's fault (RFC 4511 §4.11).
    package private(set) var ignoredCount = 0
    /// Answers and parts of answers that point to another server, where nobody goes.
    package private(set) var referralCount = 0

    package init() {}

    /// Why it is closed; `nil` while it is not.
    package var closure: DirectoryFailure? { if case .closed(let why) = state { why } else { nil } }

    /// Operations under way.
    package var operationCount: Int {
        switch state {
        case .open(let operations): operations.count
        case .binding, .securing, .handshaking: 1
        case .negotiating, .closed: 0
        }
    }
}

// MARK: What is asked

extension LDAPConnectionMachine {
    /// - Returns: what is to be sent; its identifier is the operation's.
    package mutating func begin(_ request: LDAPOperation, controls: [LDAPControl] = []) throws(DirectoryFailure) -> LDAPMessage {
        if case .bindRequest(let bind) = request { try Self.check(bind) }
        guard let awaited = request.awaited else { preconditionFailure("only a request that is answered begins an operation") }
        switch (state, awaited) {
        case (.closed(let why), _): throw why
        case (.negotiating, .bind): break
        case (.open(let operations), .bind) where operations.isEmpty: break
        case (.open(let operations), _) where request.isStartTLS && operations.isEmpty: break
        case (.open, .bind): throw .occupied
        case (.open, _) where request.isStartTLS: throw .occupied
        case (.open(let operations), _): guard operations.count < Self.operationsMax else { throw .tooMany }
        case (.binding, _), (.negotiating, _), (.securing, _), (.handshaking, _): throw .occupied
        }
        let id = takeID()
        enter(id, awaited, isStartTLS: request.isStartTLS)
        return LDAPMessage(id, request, controls: controls)
    }

    /// A password without a name, or a name without a password, is as good as neither to some servers, which then say success (RFC 4513 §5.1.2).
    private static func check(_ bind: BindRequest) throws(DirectoryFailure) {
        guard case .simple(let password) = bind.authentication else { return }
        if password.isEmpty, !bind.name.isEmpty { throw .emptyPassword }
        if bind.name.isEmpty, !password.isEmpty { throw .emptyName }
    }

    private mutating func takeID() -> Int32 {
        repeat { lastID = lastID == .max ? 1 : lastID + 1 } while isUnderWay(lastID)
        return lastID
    }

    private func isUnderWay(_ id: Int32) -> Bool { if case .open(let operations) = state { operations[id] != nil } else { false } }

    private mutating func enter(_ id: Int32, _ awaited: Awaited, isStartTLS: Bool) {
        if awaited == .bind { return state = .binding(id) }
        if isStartTLS { return state = .securing(id) }
        guard case .open(var operations) = state else { return }
        operations[id] = awaited
        state = .open(operations)
    }

    /// Nobody waits for the operation any more (RFC 4511 §4.11). A bind or StartTLS cannot be abandoned: without its answer nothing that follows is understood.
    package mutating func giveUp(_ id: Int32, _ why: DirectoryFailure) -> [Effect] {
        switch state {
        case .open(var operations) where operations[id] != nil:
            operations[id] = nil
            state = .open(operations)
            return [.fail(id, why), .send(LDAPMessage(takeID(), .abandonRequest(id)))]
        case .binding(id), .securing(id): return close(why)
        case .handshaking(let answer) where answer.id == id: return close(why)
        case .open, .binding, .negotiating, .securing, .handshaking, .closed: return []
        }
    }

    /// Says goodbye (RFC 4511 §4.3).
    package mutating func unbind() -> [Effect] {
        switch state {
        case .open, .binding, .negotiating: [.send(LDAPMessage(takeID(), .unbindRequest))] + close(.closed)
        // Whatever is said now might be said in the clear.
        case .securing, .handshaking: close(.closed)
        case .closed: []
        }
    }
}

// MARK: What happens

extension LDAPConnectionMachine {
    /// The handshake that ``Effect/beginTLS`` asked for is done.
    package mutating func secured() -> [Effect] {
        guard case .handshaking(let answer) = state else { return [] }
        state = .open([:])
        return [.answer(answer.id, answer)]
    }

    /// The connection has ended, or must.
    package mutating func close(_ why: DirectoryFailure) -> [Effect] {
        let ids: [Int32]
        switch state {
        case .open(let operations): ids = operations.keys.sorted()
        case .binding(let id), .securing(let id): ids = [id]
        case .handshaking(let answer): ids = [answer.id]
        case .negotiating: ids = []
        case .closed: return []
        }
        state = .closed(why)
        return ids.map { .fail($0, why) } + [.close]
    }

    /// - Parameter isLast: whether nothing else has come yet, which matters behind the answer to StartTLS.
    package mutating func receive(_ message: LDAPMessage, isLast: Bool = true) -> [Effect] {
        switch message.operation.role {
        case .request: return close(.violation(.request))
        case .part(let awaited): return part(message, of: awaited)
        case .answer(let awaited) where message.id == 0: return notification(message, awaited)
        case .answer(let awaited): return answer(message, awaited, isLast: isLast)
        }
    }

    private mutating func notification(_ message: LDAPMessage, _ awaited: Awaited) -> [Effect] {
        guard case .extendedResponse(let response) = message.operation else { return close(.violation(.unnamed)) }
        if response.name == LDAPExtension.noticeOfDisconnection { return close(.disconnected(response.result)) }
        // Others are possible, and to be ignored (RFC 4511 §4.4).
        ignoredCount += 1
        return []
    }

    /// - Parameter awaited: what has such parts; `nil` if anything may (RFC 4511 §4.13).
    private mutating func part(_ message: LDAPMessage, of awaited: Awaited?) -> [Effect] {
        guard message.id != 0 else { return close(.violation(.unnamed)) }
        guard case .open(let operations) = state, let operation = operations[message.id] else { return ignore(message.id) }
        if let awaited, awaited != operation { return close(.violation(.wrongAnswer(message.id))) }
        if case .searchResultReference = message.operation {
            referralCount += 1
            return []
        }
        return [.part(message.id, message)]
    }

    /// About nothing that is under way. While a bind or StartTLS is, nothing else can be, but what was given up before may still be answered.
    private mutating func ignore(_ id: Int32) -> [Effect] {
        switch state {
        case .binding(id), .securing(id): return close(.violation(.wrongAnswer(id)))
        // Before the handshake nothing more may come in the clear.
        case .handshaking: return close(.violation(.behindStartTLS))
        case .open, .binding, .negotiating, .securing, .closed:
            ignoredCount += 1
            return []
        }
    }

    private mutating func answer(_ message: LDAPMessage, _ awaited: Awaited, isLast: Bool) -> [Effect] {
        if message.operation.result?.code == .referral { referralCount += 1 }
        switch (state, awaited) {
        case (.binding(message.id), .bind):
            state = message.operation.result?.code == .saslBindInProgress ? .negotiating : .open([:])
            return [.answer(message.id, message)]
        case (.securing(message.id), .extended): return answerToStartTLS(message, isLast: isLast)
        case (.open(var operations), _):
            guard let operation = operations[message.id] else { return ignore(message.id) }
            guard operation == awaited else { return close(.violation(.wrongAnswer(message.id))) }
            operations[message.id] = nil
            state = .open(operations)
            return [.answer(message.id, message)]
        case (.binding, _), (.negotiating, _), (.securing, _), (.handshaking, _), (.closed, _): return ignore(message.id)
        }
    }

    private mutating func answerToStartTLS(_ message: LDAPMessage, isLast: Bool) -> [Effect] {
        guard message.operation.result?.code == .success else {
            state = .open([:])
            return [.answer(message.id, message)]
        }
        guard isLast else { return close(.violation(.behindStartTLS)) }
        state = .handshaking(message)
        return [.beginTLS]
    }
}

// MARK: Which message is what

extension LDAPConnectionMachine {
    fileprivate enum Role {
        case request
        /// Of an answer that goes on; `nil` if it may be of any.
        case part(Awaited?)
        case answer(Awaited)
    }
}

extension LDAPOperation {
    /// What answers it; `nil` unless it is a request that is answered.
    fileprivate var awaited: LDAPConnectionMachine.Awaited? {
        switch self {
        case .bindRequest: .bind
        case .searchRequest: .search
        case .modifyRequest: .modify
        case .addRequest: .add
        case .delRequest: .delete
        case .modifyDNRequest: .modifyDN
        case .compareRequest: .compare
        case .extendedRequest: .extended
        case .unbindRequest, .abandonRequest, .bindResponse, .searchResultEntry, .searchResultReference, .searchResultDone, .modifyResponse, .addResponse,
            .delResponse, .modifyDNResponse, .compareResponse, .extendedResponse, .intermediateResponse:
            nil
        }
    }

    fileprivate var role: LDAPConnectionMachine.Role {
        switch self {
        case .bindResponse: .answer(.bind)
        case .searchResultEntry, .searchResultReference: .part(.search)
        case .searchResultDone: .answer(.search)
        case .modifyResponse: .answer(.modify)
        case .addResponse: .answer(.add)
        case .delResponse: .answer(.delete)
        case .modifyDNResponse: .answer(.modifyDN)
        case .compareResponse: .answer(.compare)
        case .extendedResponse: .answer(.extended)
        case .intermediateResponse: .part(nil)
        case .bindRequest, .unbindRequest, .searchRequest, .modifyRequest, .addRequest, .delRequest, .modifyDNRequest, .compareRequest, .abandonRequest,
            .extendedRequest:
            .request
        }
    }

    /// Of an answer.
    package var result: LDAPResult? {
        switch self {
        case .bindResponse(let response): response.result
        case .extendedResponse(let response): response.result
        case .searchResultDone(let result), .modifyResponse(let result), .addResponse(let result), .delResponse(let result), .modifyDNResponse(let result),
            .compareResponse(let result):
            result
        case .bindRequest, .unbindRequest, .searchRequest, .searchResultEntry, .searchResultReference, .modifyRequest, .addRequest, .delRequest,
            .modifyDNRequest, .compareRequest, .abandonRequest, .extendedRequest, .intermediateResponse:
            nil
        }
    }

    fileprivate var isStartTLS: Bool { if case .extendedRequest(let request) = self { request.name == LDAPExtension.startTLS } else { false } }
}
