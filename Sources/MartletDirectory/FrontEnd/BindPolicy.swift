import MartletLDAP

extension BindRequest.Authentication {
    /// What a log calls it.
    var mechanism: String {
        switch self {
        case .simple: "simple"
        case .sasl(let mechanism, _): mechanism.uppercased()
        }
    }
}

/// Which binds are taken, before anybody looks at what they say.
struct BindPolicy: Hashable, Sendable {
    /// Others may put a layer of their own over the connection, so that nobody in between reads what follows, or are tied to the connection behind.
    static let mechanisms: Set<String> = [
        "ANONYMOUS", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-224", "SCRAM-SHA-256", "SCRAM-SHA-384", "SCRAM-SHA-512", "SCRAM-SHA3-512",
        "OAUTHBEARER", "XOAUTH2",
    ]
    /// Of which, those that show a secret to whoever listens.
    private static let showing: Set<String> = ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]

    /// - Parameter isProtected: whether nobody listens: there is TLS, or the client is on this machine.
    /// - Returns: `nil` if the bind may go on.
    static func refusal(of request: BindRequest, isProtected: Bool) -> LDAPResult? {
        guard request.version == 3 else { return LDAPResult(.protocolError, "only version 3 is spoken") }
        switch request.authentication {
        case .simple(let password):
            if password.isEmpty { return request.name.isEmpty ? nil : LDAPResult(.unwillingToPerform, "a bind with a name needs a password (RFC 4513 §5.1.2)") }
            return isProtected ? nil : LDAPResult(.confidentialityRequired, "passwords need TLS")
        case .sasl(let mechanism, _):
            let mechanism = mechanism.uppercased()
            guard mechanisms.contains(mechanism) else { return LDAPResult(.authMethodNotSupported, "\(mechanism) is not possible here") }
            return !isProtected && showing.contains(mechanism) ? LDAPResult(.confidentialityRequired, "\(mechanism) needs TLS") : nil
        }
    }
}
