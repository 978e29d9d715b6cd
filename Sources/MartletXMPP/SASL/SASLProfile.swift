public import MartletXML

extension Namespace {
    /// XEP-0388.
    public static let sasl2: Namespace = "urn:xmpp:sasl:2"
}

/// The form in which an exchange travels. What is exchanged is the same (``SASLServerExchange``).
public enum SASLProfile: Hashable, Sendable {
    /// RFC 6120 §6: the stream begins anew after it, and a resource is bound then.
    case rfc6120
    /// XEP-0388: the stream goes on, with what the client asked for inside its log-in.
    case sasl2

    /// The profile that an element belongs to; `nil` for one of neither.
    init?(of element: FlatElement) {
        if element.root.isIn(.sasl) {
            self = .rfc6120
        } else if element.root.isIn(.sasl2) {
            self = .sasl2
        } else {
            return nil
        }
    }

    var namespace: Namespace {
        switch self {
        case .rfc6120: .sasl
        case .sasl2: .sasl2
        }
    }

    /// Reads the text of `<response/>` in an exchange of that mechanism.
    func payload(_ text: String, of mechanism: SASLMechanism) throws(SASLFailure) -> [UInt8]? {
        switch self {
        case .rfc6120: try SASLPayload.decode(text.utf8, bytesMax: mechanism.messageBytesMax)
        case .sasl2: try SASLPayload.decodePresent(text.utf8, bytesMax: mechanism.messageBytesMax)
        }
    }

    /// The text of `<challenge/>`; `nil` for an empty element.
    func text(_ payload: [UInt8]) -> String? {
        switch self {
        case .rfc6120: SASLPayload.encode(payload)
        case .sasl2: payload.isEmpty ? nil : Base64.encode(payload)
        }
    }
}
