public import MartletXML
public import NIOCore

extension Namespace {
    /// The defined conditions of stanza errors (RFC 6120 §8.3.2).
    public static let stanzaErrors: Namespace = "urn:ietf:params:xml:ns:xmpp-stanzas"
}

/// A stanza error as it goes on the wire (RFC 6120 §8.3).
public struct StanzaError: Error, Hashable, Sendable {
    /// The defined conditions (RFC 6120 §8.3.3).
    public enum Condition: String, Hashable, Sendable, CaseIterable {
        case badRequest = "bad-request"
        case conflict
        case featureNotImplemented = "feature-not-implemented"
        case forbidden
        case gone
        case internalServerError = "internal-server-error"
        case itemNotFound = "item-not-found"
        case jidMalformed = "jid-malformed"
        case notAcceptable = "not-acceptable"
        case notAllowed = "not-allowed"
        case notAuthorized = "not-authorized"
        case policyViolation = "policy-violation"
        case recipientUnavailable = "recipient-unavailable"
        case redirect
        case registrationRequired = "registration-required"
        case remoteServerNotFound = "remote-server-not-found"
        case remoteServerTimeout = "remote-server-timeout"
        case resourceConstraint = "resource-constraint"
        case serviceUnavailable = "service-unavailable"
        case subscriptionRequired = "subscription-required"
        case undefinedCondition = "undefined-condition"
        case unexpectedRequest = "unexpected-request"
    }

    /// What the sender can do about it (RFC 6120 §8.3.2).
    public enum Kind: String, Hashable, Sendable { case auth, cancel, `continue`, modify, wait }

    public var condition: Condition
    public var kind: Kind
    public var text: String?
    /// Where else to go, as `gone` and `redirect` have it in them: a URI (RFC 6120 §8.3.3.5, §8.3.3.16).
    public var alternative: String?
    /// An application-specific condition (RFC 6120 §8.3.4), an empty element.
    public var application: QName?
    /// What the application-specific condition says is not supported: its attribute `feature` (XEP-0060 §12).
    public var feature: String?
    /// An application-specific condition that is more than an empty element, as it is written.
    public var detail: ByteBuffer?

    public init(_ condition: Condition, _ kind: Kind? = nil, text: String? = nil, application: QName? = nil) {
        self.condition = condition
        self.kind = kind ?? condition.usualKind
        self.text = text
        self.application = application
    }
}

extension StanzaError.Condition {
    /// The error type that RFC 6120 §8.3.3 recommends for the condition.
    public var usualKind: StanzaError.Kind {
        switch self {
        case .badRequest, .gone, .jidMalformed, .notAcceptable, .policyViolation, .redirect: .modify
        case .conflict, .featureNotImplemented, .internalServerError, .itemNotFound, .notAllowed,
            .remoteServerNotFound, .serviceUnavailable, .undefinedCondition: .cancel
        case .forbidden, .notAuthorized, .registrationRequired, .subscriptionRequired: .auth
        case .recipientUnavailable, .remoteServerTimeout, .resourceConstraint, .unexpectedRequest: .wait
        }
    }
}

extension StanzaError {
    public static func badRequest(_ text: String? = nil) -> StanzaError { StanzaError(.badRequest, text: text) }
    public static func forbidden(_ text: String? = nil) -> StanzaError { StanzaError(.forbidden, text: text) }
    public static func itemNotFound(_ text: String? = nil) -> StanzaError { StanzaError(.itemNotFound, text: text) }
    public static func notAcceptable(_ text: String? = nil) -> StanzaError { StanzaError(.notAcceptable, text: text) }
    public static func resourceConstraint(_ text: String? = nil) -> StanzaError { StanzaError(.resourceConstraint, text: text) }
    public static func policyViolation(_ text: String? = nil) -> StanzaError { StanzaError(.policyViolation, text: text) }
    public static let jidMalformed = StanzaError(.jidMalformed)
    public static let notAllowed = StanzaError(.notAllowed)
    public static let serviceUnavailable = StanzaError(.serviceUnavailable)
    public static let internalServerError = StanzaError(.internalServerError)

    /// Writes `<error type=…>…</error>`.
    public func write(to writer: inout XMLWriter) {
        writer.element("error", .client, ["type": kind.rawValue]) { writer in
            writer.open(condition.rawValue, .stanzaErrors)
            if let alternative { writer.text(alternative) }
            writer.close()
            if let text { writer.element("text", .stanzaErrors, text: text) }
            if let application {
                writer.open(application.local, application.namespace)
                writer.attribute("feature", feature)
                writer.close()
            }
            if let detail { writer.raw(detail) }
        }
    }
}
