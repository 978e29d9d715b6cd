package import MartletLDAP
import NIOCore

/// Where a server of the directory is, and whether TLS begins with the connection.
package enum DirectoryAddress: Hashable, Sendable {
    /// `ldap:`, in the clear up to StartTLS.
    case plain(host: String, port: Int)
    /// `ldaps:`, TLS from the first byte.
    case secure(host: String, port: Int)
    /// `ldapi:`, a socket of the same machine: nobody else can listen.
    case local(path: String)

    /// - Returns: `nil` if the URL does not say which host: whoever may be asked for passwords is named.
    package init?(_ url: LDAPURL) {
        switch url.address {
        case .host(let host, let port, let isTLS): self = isTLS ? .secure(host: host, port: port) : .plain(host: host, port: port)
        case .socket(let path): self = .local(path: path)
        case nil: return nil
        }
    }

    /// Whether nothing leaves this machine, so that TLS may be left out.
    package var isLocal: Bool {
        switch self {
        case .local: true
        case .plain(let host, _), .secure(let host, _): host == "localhost" || ((try? SocketAddress(ipAddress: host, port: 0))?.isLoopback ?? false)
        }
    }

    /// What the certificate has to be for; an address has no name of its own (RFC 6066 §3): then the certificate has to be for the address.
    var serverName: String? {
        switch self {
        case .local: nil
        case .plain(let host, _), .secure(let host, _): (try? SocketAddress(ipAddress: host, port: 0)) == nil ? host : nil
        }
    }
}

extension DirectoryAddress: CustomStringConvertible {
    package var description: String {
        switch self {
        case .plain(let host, let port): "ldap://\(Self.authority(host)):\(port)"
        case .secure(let host, let port): "ldaps://\(Self.authority(host)):\(port)"
        case .local(let path): "ldapi://\(path.replacing("/", with: "%2F"))"
        }
    }

    private static func authority(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }
}

extension SocketAddress {
    /// 127.0.0.0/8 or ::1.
    var isLoopback: Bool {
        switch self {
        case .v4: ipAddress?.hasPrefix("127.") ?? false
        case .v6: ipAddress == "::1"
        case .unixDomainSocket: true
        }
    }
}
