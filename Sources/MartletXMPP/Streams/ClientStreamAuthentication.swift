import MartletXML

// MARK: SASL (RFC 6120 §6)

extension ClientStreamMachine {
    mutating func receive(
        _ element: FlatElement, _ profile: SASLProfile, _ negotiation: Negotiation, _ environment: some ClientStreamEnvironment
    ) -> Action {
        if element.isNamed("auth", .sasl) || element.isNamed("authenticate", .sasl2) {
            return authenticate(element, profile, negotiation, environment)
        }
        if element.isNamed("abort", profile.namespace) || element.isNamed("response", profile.namespace) {
            return fail(.malformedRequest("No exchange is under way."), profile, negotiation)
        }
        return end(StreamError(.notAuthorized))
    }

    private mutating func authenticate(
        _ element: FlatElement, _ profile: SASLProfile, _ negotiation: Negotiation, _ environment: some ClientStreamEnvironment
    ) -> Action {
        guard let mechanism = SASLMechanism(name: element.attribute("mechanism") ?? ""), negotiation.offers(mechanism, profile) else {
            let needsTLS = negotiation.mechanisms.isEmpty && negotiation.startTLS == .required
            return fail(needsTLS ? .encryptionRequired : .invalidMechanism, profile, negotiation)
        }
        let bindsChannel = negotiation.mechanisms.contains { $0.bindsChannel }
        let offer = SASLOffer(
            domain: negotiation.domain, mechanisms: negotiation.mechanisms, bindings: bindsChannel ? negotiation.security.bindings : [],
            tls: negotiation.security.version, nonce: environment.nonce(), certified: negotiation.certified,
            bearer: negotiation.login.connection.bearer, realms: negotiation.login.connection.kerberos?.realms ?? [],
            isJudged: negotiation.login.judges)
        let exchange = SASLServerExchange(mechanism, offer: offer)
        do throws(SASLFailure) {
            switch profile {
            case .rfc6120:
                let payload = try profile.payload(element.text, of: mechanism)
                return step(Attempt(mechanism: mechanism, exchange: exchange, wish: .newHeader), payload, negotiation)
            case .sasl2:
                let request = try AuthenticationRequest(
                    element, mechanism, negotiation.tokens, negotiation.upgrades, givesTokens: negotiation.givesTokens(after: mechanism))
                return step(Attempt(mechanism: mechanism, exchange: exchange, wish: .inline(request)), request.initialResponse, negotiation)
            }
        } catch {
            return fail(error, profile, negotiation)
        }
    }

    /// During an exchange nothing is taken but what belongs to it: of XEP-0388 everything else ends the stream (§2.4).
    mutating func receive(_ element: FlatElement, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        let profile = attempt.profile
        if element.isNamed("abort", profile.namespace) { return fail(.aborted, profile, negotiation) }
        if profile == .rfc6120, element.isNamed("auth", .sasl) { return fail(.malformedRequest("An exchange is under way."), profile, negotiation) }
        guard element.isNamed("response", profile.namespace) else { return end(StreamError(.notAuthorized)) }
        do throws(SASLFailure) {
            return step(attempt, try profile.payload(element.text, of: attempt.mechanism), negotiation)
        } catch {
            return fail(error, profile, negotiation)
        }
    }

    private mutating func step(_ attempt: Attempt, _ payload: [UInt8]?, _ negotiation: Negotiation) -> Action {
        var attempt = attempt
        return perform(attempt.exchange.step(payload), attempt, negotiation)
    }

    /// What the account source found out. Nobody may wait for it any more: the stream may have ended.
    public mutating func answered(_ answer: SASLAnswer) -> Action {
        guard case .lookingUp(var attempt, let negotiation) = state else { return .wait }
        return perform(attempt.exchange.provide(answer), attempt, negotiation)
    }

    private mutating func perform(_ step: SASLStep, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        switch negotiation.login.judged(step, attempt.mechanism, of: attempt.account) {
        case .challenge(let message):
            state = .authenticating(attempt, negotiation)
            return .challenge(message, attempt.profile)
        case .lookUp(let identity, let question):
            if let failure = Self.contradiction(identity, attempt, negotiation) { return fail(failure, .sasl2, negotiation) }
            var attempt = attempt
            attempt.account = identity.account
            state = .lookingUp(attempt, negotiation)
            if case .hashedTokens(let mechanism) = question, let agent = attempt.userAgent { return .lookUpTokens(mechanism, identity, agent) }
            return .lookUp(attempt.mechanism, identity, question)
        case .consult(let consultation):
            state = .lookingUp(attempt, negotiation)
            return .consult(attempt.mechanism, consultation)
        case .success(let identity, let additionalData):
            // Who it is may have come out only now.
            if let failure = Self.contradiction(identity, attempt, negotiation) { return fail(failure, .sasl2, negotiation) }
            application = attempt.exchange.application
            return succeed(identity.account, additionalData, attempt, negotiation)
        case .failure(let failure):
            return fail(failure, attempt.profile, negotiation)
        }
    }

    /// Whether the stream is from somebody else. With RFC 6120 the second header says it, and is held to it.
    private static func contradiction(_ identity: SASLIdentity, _ attempt: Attempt, _ negotiation: Negotiation) -> SASLFailure? {
        guard attempt.profile == .sasl2, let from = negotiation.from, from != identity.account else { return nil }
        return .invalidAuthzid("The stream is from another account.")
    }

    private mutating func succeed(_ account: BareJID, _ additionalData: [UInt8]?, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        switch attempt.wish {
        case .newHeader:
            state = .authenticated(account)
            return .succeed(account, additionalData: additionalData)
        case .inline(let request):
            let completion = Completion(
                account: account, additionalData: additionalData, request: request, accepted: attempt.exchange.acceptedToken)
            guard !request.upgrades.isEmpty, let proved = attempt.exchange.provedKeys else { return conclude(completion, negotiation) }
            return seekUpgrades(completion, provedBy: proved, negotiation)
        }
    }

    mutating func fail(_ failure: SASLFailure, _ profile: SASLProfile, _ negotiation: Negotiation) -> Action {
        var negotiation = negotiation
        negotiation.attemptsLeft -= 1
        guard negotiation.attemptsLeft > 0 else {
            state = .closing
            return .failFinally(failure, StreamError(.policyViolation, "Too many failed authentications."), profile)
        }
        state = .negotiating(negotiation)
        return .fail(failure, profile)
    }
}
