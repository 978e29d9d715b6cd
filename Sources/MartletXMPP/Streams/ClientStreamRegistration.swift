import MartletXML

// MARK: Registration (XEP-0077)

extension ClientStreamMachine {
    /// A request that may come before authentication.
    static func registrationRequest(_ element: FlatElement, _ negotiation: Negotiation) -> StrangersQuestion? {
        guard negotiation.offersRegistration, element.isNamed("iq", .client), let child = element.root.firstChild,
            child.isNamed("query", .register) || child.isNamed("preauth", .preAuthentication), let id = element.attribute("id"), !id.isEmpty,
            element.attribute("to") == nil || element.attribute("to") == negotiation.domain
        else { return nil }
        guard IQType(of: element.root) == .get || IQType(of: element.root) == .set else { return nil }
        return StrangersQuestion(id: id, to: element.attribute("to"))
    }

    /// By what the account would log in that is asked for, while such a request is answered.
    public var waysInOfStranger: WaysIn {
        guard case .registering(_, let negotiation) = state else { return WaysIn([]) }
        return WaysIn([negotiation.login])
    }

    /// What came of a request before authentication. What is refused counts as a failed authentication does.
    public mutating func registered(_ answer: RegistrationAnswer) -> Action {
        guard case .registering(let question, var negotiation) = state else { return .wait }
        switch answer {
        case .form, .registered: break
        case .admitted(let token): negotiation.token = token
        case .refused: negotiation.attemptsLeft -= 1
        }
        guard negotiation.attemptsLeft > 0 else { return end(StreamError(.policyViolation, "Too many refused requests.")) }
        state = .negotiating(negotiation)
        return .answerStranger(id: question.id, from: question.to, answer)
    }
}
