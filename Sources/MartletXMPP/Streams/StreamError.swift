public import MartletXML

extension Namespace {
    public static let streamErrors: Namespace = "urn:ietf:params:xml:ns:xmpp-streams"
}

/// What ends a stream (RFC 6120 §4.9).
public struct StreamError: Error, Hashable, Sendable {
    /// The defined conditions (RFC 6120 §4.9.3).
    public enum Condition: String, Hashable, Sendable, CaseIterable {
        case badFormat = "bad-format"
        case badNamespacePrefix = "bad-namespace-prefix"
        case conflict
        case connectionTimeout = "connection-timeout"
        case hostGone = "host-gone"
        case hostUnknown = "host-unknown"
        case improperAddressing = "improper-addressing"
        case internalServerError = "internal-server-error"
        case invalidFrom = "invalid-from"
        case invalidNamespace = "invalid-namespace"
        case invalidXML = "invalid-xml"
        case notAuthorized = "not-authorized"
        case notWellFormed = "not-well-formed"
        case policyViolation = "policy-violation"
        case remoteConnectionFailed = "remote-connection-failed"
        case reset
        case resourceConstraint = "resource-constraint"
        case restrictedXML = "restricted-xml"
        case seeOtherHost = "see-other-host"
        case systemShutdown = "system-shutdown"
        case undefinedCondition = "undefined-condition"
        case unsupportedEncoding = "unsupported-encoding"
        case unsupportedFeature = "unsupported-feature"
        case unsupportedStanzaType = "unsupported-stanza-type"
        case unsupportedVersion = "unsupported-version"
    }

    public var condition: Condition
    public var text: String?
    /// Where the client should go instead, `host` or `host:port`: the content of `<see-other-host/>` (§4.9.3.19).
    public var otherHost: String?
    /// A condition that an extension defines, beside `undefined-condition`.
    public var application: Application?

    public enum Application: Hashable, Sendable {
        /// The client acknowledged what it was never sent (XEP-0198 §6).
        case handledCountTooHigh(handled: UInt32, sent: UInt32)
    }

    public init(_ condition: Condition, _ text: String? = nil) {
        self.condition = condition
        self.text = text
    }

    /// Sends the client to another host: a name or an address, IPv6 ones in brackets, with a port or without.
    public static func seeOtherHost(_ host: String) -> StreamError {
        var error = StreamError(.seeOtherHost)
        error.otherHost = host
        return error
    }

    /// Writes `<stream:error>…</stream:error>`, the prefix being bound on the stream's header.
    public func write(to writer: inout XMLWriter) {
        writer.element("error", .streams) { writer in
            writer.open(condition.rawValue, .streamErrors)
            if let otherHost { writer.text(otherHost) }
            writer.close()
            if let text { writer.element("text", .streamErrors, ["xml:lang": "en"], text: text) }
            switch application {
            case .handledCountTooHigh(let handled, let sent)?:
                writer.element("handled-count-too-high", .streamManagement, ["h": String(handled), "send-count": String(sent)])
            case nil: break
            }
        }
    }

    public static func handledCountTooHigh(handled: UInt32, sent: UInt32) -> StreamError {
        var error = StreamError(.undefinedCondition, "You acknowledged \(handled) stanzas, but were sent \(sent).")
        error.application = .handledCountTooHigh(handled: handled, sent: sent)
        return error
    }
}

extension StreamError {
    /// What a peer is told whose bytes were not taken.
    public init(reporting error: XMLError) {
        self =
            switch error {
            case .notWellFormed: StreamError(.notWellFormed)
            case .restrictedXML: StreamError(.restrictedXML)
            case .unsupportedEncoding: StreamError(.unsupportedEncoding)
            case .badNamespacePrefix: StreamError(.badNamespacePrefix)
            case .textBetweenStanzas: StreamError(.badFormat, "There is text between stanzas.")
            case .secondHeader: StreamError(.badFormat, "A stream has one header.")
            case .limitExceeded(let limit): StreamError(.policyViolation, "The limit of \(limit.name) was exceeded.")
            }
    }
}

extension XMLError.Limit {
    /// For people who look for the fault.
    fileprivate var name: String {
        switch self {
        case .stanzaBytes: "bytes in a stanza"
        case .headerBytes: "bytes in a stream header"
        case .depth: "nested elements"
        case .attributes: "attributes of an element"
        case .elements: "elements in a stanza"
        case .nodes: "elements, attributes and pieces of text in a stanza"
        case .namespaces: "namespace declarations"
        case .nameBytes: "bytes in a name"
        }
    }
}
