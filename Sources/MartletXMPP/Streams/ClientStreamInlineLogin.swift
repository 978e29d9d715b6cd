// MARK: What was asked for inside a log-in (XEP-0388 §2.6.1, XEP-0484, XEP-0386, XEP-0198 §9)

extension ClientStreamMachine {
    /// After `<success/>` no other authentication is possible (XEP-0388 §4.8).
    static let repeated = StreamError(.policyViolation, "The client has logged in.")

    mutating func conclude(_ completion: Completion, _ negotiation: Negotiation) -> Action {
        let tokens = negotiation.login.granted(completion.request.tokens, to: completion.account)
        guard let agent = completion.request.userAgent, tokens != FASTRequest() else { return admit(completion) }
        state = .concluding(completion, negotiation)
        return .conclude(TokenLogin(account: completion.account, userAgent: agent, accepted: completion.accepted, request: tokens))
    }

    private mutating func admit(_ completion: Completion) -> Action {
        state = .completing(completion, .admitting)
        return .admit(completion.account, completion.request.userAgent)
    }

    /// What came of the log-in for the client's tokens: one that it is given, if it is; or why it is refused all the same (XEP-0484).
    public mutating func concluded(_ outcome: Result<IssuedToken?, SASLFailure>) -> Action {
        guard case .concluding(var completion, let negotiation) = state else { return .wait }
        switch outcome {
        case .success(let token):
            completion.token = token
            return admit(completion)
        case .failure(let failure): return fail(failure, .sasl2, negotiation)
        }
    }

    /// The log-in was noted, and goes on: an earlier stream comes first, then a resource.
    public mutating func admitted() -> Action {
        guard case .completing(var completion, .admitting) = state else { return .wait }
        switch completion.request.resumption {
        case .resume(let previous, let handled):
            state = .completing(completion, .resuming)
            return .resume(completion.account, previous: previous, handled: handled)
        case .malformed:
            completion.refusal = .failed(.badRequest, handled: nil)
            return bindInline(completion)
        case nil: return bindInline(completion)
        }
    }

    mutating func bindInline(_ completion: Completion) -> Action {
        guard let bind = completion.request.bind else { return complete(completion) }
        state = .completing(completion, .binding)
        return .bindInline(completion.account, bind)
    }

    /// Without a session: none was asked for, or none could be had, which the missing `<bound/>` says. A resource can be bound as RFC 6120 has it.
    mutating func complete(_ completion: Completion) -> Action {
        state = .awaitingBind(completion.account)
        return .complete(completion.success(completion.refusal))
    }

    mutating func complete(
        _ completion: Completion, _ resumption: StreamManagementAnswer?, _ address: FullJID, _ session: InlineSuccess.Session
    ) -> Action {
        state = .bound(address)
        return .complete(completion.success(resumption, session))
    }
}
