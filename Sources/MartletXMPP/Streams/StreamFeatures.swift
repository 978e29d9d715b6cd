public import MartletXML

extension Namespace {
    public static let startTLS: Namespace = "urn:ietf:params:xml:ns:xmpp-tls"
    public static let sasl: Namespace = "urn:ietf:params:xml:ns:xmpp-sasl"
    public static let bind: Namespace = "urn:ietf:params:xml:ns:xmpp-bind"
    /// RFC 3921 §3, which RFC 6121 made an optional no-op.
    public static let legacySession: Namespace = "urn:ietf:params:xml:ns:xmpp-session"
    /// XEP-0440.
    public static let saslChannelBinding: Namespace = "urn:xmpp:sasl-cb:0"
    /// XEP-0233.
    public static let domainBasedName: Namespace = "urn:xmpp:domain-based-name:1"
    /// XEP-0077.
    public static let register: Namespace = "jabber:iq:register"
    /// XEP-0379, XEP-0445.
    public static let preAuthentication: Namespace = "urn:xmpp:pars:0"
}

/// What the server offers on a stream that has just been opened (RFC 6120 §4.3.2).
public enum StreamFeatures: Hashable, Sendable {
    /// Before authentication.
    ///
    /// - startTLS: nothing is offered beside a required one.
    /// - mechanisms: in the order they are written, the strongest first.
    /// - bindings: written by XEP-0440 when a mechanism with channel binding is offered.
    /// - offersRegistration: whether the host's features have something for those who have no account (XEP-0077).
    /// - inline: what may be asked for inside a log-in of XEP-0388, which is offered with the same mechanisms.
    /// - kerberosHost: of the principal that clients get a ticket for, if GSSAPI is offered (XEP-0233).
    case negotiation(
        startTLS: StartTLS, mechanisms: [SASLMechanism], bindings: [ChannelBinding.Kind], offersRegistration: Bool = false,
        inline: InlineOffer = InlineOffer(), kerberosHost: String? = nil)
    /// After authentication: resource binding, and what the host's features announce.
    case binding
    /// After authentication, when a resource was bound with it (XEP-0386): what the host's features announce.
    case bound

    public enum StartTLS: Hashable, Sendable { case absent, offered, required }

    /// - Parameter extras: writes what the features of the host announce to those who have logged in, or who have no account yet.
    public func write(to writer: inout XMLWriter, extras: (inout XMLWriter) -> Void) {
        writer.element("features", .streams) { writer in
            switch self {
            case .negotiation(let startTLS, let mechanisms, let bindings, let offersRegistration, let inline, let kerberosHost):
                Self.write(startTLS, to: &writer)
                Self.write(mechanisms, bindings, inline, kerberosHost, to: &writer)
                if offersRegistration { extras(&writer) }
            case .binding:
                writer.element("bind", .bind)
                writer.element("session", .legacySession) { $0.element("optional", .legacySession) }
                extras(&writer)
            case .bound: extras(&writer)
            }
        }
    }

    private static func write(_ startTLS: StartTLS, to writer: inout XMLWriter) {
        switch startTLS {
        case .absent: break
        case .offered: writer.element("starttls", .startTLS)
        case .required: writer.element("starttls", .startTLS) { $0.element("required", .startTLS) }
        }
    }

    private static func write(
        _ mechanisms: [SASLMechanism], _ bindings: [ChannelBinding.Kind], _ inline: InlineOffer, _ kerberosHost: String?, to writer: inout XMLWriter
    ) {
        if !mechanisms.isEmpty {
            writer.element("mechanisms", .sasl) { writer in
                for mechanism in mechanisms { writer.element("mechanism", .sasl, text: mechanism.name) }
                if let kerberosHost { writer.element("hostname", .domainBasedName, text: kerberosHost) }
            }
            writer.element("authentication", .sasl2) { writer in
                for mechanism in mechanisms { writer.element("mechanism", .sasl2, text: mechanism.name) }
                inline.write(to: &writer)
            }
        }
        if !bindings.isEmpty {
            writer.element("sasl-channel-binding", .saslChannelBinding) { writer in
                for binding in bindings { writer.element("channel-binding", .saslChannelBinding, ["type": binding.name]) }
            }
        }
    }
}
