/// One port on which clients, other servers, components or directory clients connect.
package struct ListenerConfiguration: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// STARTTLS in the stream (RFC 6120 §5).
        case client
        /// TLS from the first byte (XEP-0368).
        case clientTLS
        /// The same two for other servers.
        case server, serverTLS
        /// HTTP inside TLS: XMPP over WebSocket (RFC 7395), and whatever else is asked for by HTTP.
        case https
        /// The same without TLS, behind a reverse proxy that ends it.
        case http
        /// HTTP for an authority that looks whether a name is ours (RFC 8555 §8.3), and for nothing else.
        case challenge
        /// Components, without TLS (XEP-0114).
        case component
        /// The same with TLS from the first byte.
        case componentTLS
        /// Directory clients, with StartTLS (RFC 4511 §4.14).
        case ldap
        /// The same with TLS from the first byte.
        case ldaps

        var isForServers: Bool {
            switch self {
            case .client, .clientTLS, .https, .http, .challenge, .component, .componentTLS, .ldap, .ldaps: false
            case .server, .serverTLS: true
            }
        }

        var isForComponents: Bool {
            switch self {
            case .client, .clientTLS, .https, .http, .challenge, .server, .serverTLS, .ldap, .ldaps: false
            case .component, .componentTLS: true
            }
        }

        package var isForDirectoryClients: Bool {
            switch self {
            case .client, .clientTLS, .https, .http, .challenge, .server, .serverTLS, .component, .componentTLS: false
            case .ldap, .ldaps: true
            }
        }

        var isForClients: Bool { !isForServers && !isForComponents && !isForDirectoryClients }

        var speaksHTTP: Bool {
            switch self {
            case .client, .clientTLS, .server, .serverTLS, .component, .componentTLS, .ldap, .ldaps: false
            case .https, .http, .challenge: true
            }
        }

        var beginsWithTLS: Bool {
            switch self {
            case .client, .server, .http, .challenge, .component, .ldap: false
            case .clientTLS, .serverTLS, .https, .componentTLS, .ldaps: true
            }
        }
    }

    package var kind: Kind
    /// IPv4 and IPv6 addresses in the usual notation; `0.0.0.0` and `::` are all of a family.
    package var addresses: [String]
    /// Zero lets the system choose, for tests.
    package var port: Int
    /// Peers that begin every connection with a PROXY protocol header, which is believed; for ``Kind/http``, peers whose `X-Forwarded-For` and
    /// `X-Forwarded-Proto` are believed. Nobody else's is.
    package var proxySources: [NetworkBlock]
    /// Whether clients may authenticate without TLS: for tests on loopback, and behind proxies that end TLS.
    package var allowsPlaintext: Bool
    package var tlsProfile: TLSProfile

    package init(
        kind: Kind, addresses: [String] = ["0.0.0.0", "::"], port: Int, proxySources: [NetworkBlock] = [], allowsPlaintext: Bool = false,
        tlsProfile: TLSProfile = .intermediate
    ) {
        self.kind = kind
        self.addresses = addresses
        self.port = port
        self.proxySources = proxySources
        self.allowsPlaintext = allowsPlaintext
        self.tlsProfile = tlsProfile
    }
}
