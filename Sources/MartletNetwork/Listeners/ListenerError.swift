import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Why a port could not be opened, in words for whoever configured it.
package struct ListenerError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        case portInUse, permissionDenied, noSuchAddress, notAnAddress
        case other(String)
    }

    package let address: String
    package let port: Int
    package let reason: Reason

    init(_ address: String, _ port: Int, _ error: any Error) {
        self.address = address
        self.port = port
        switch error {
        case let error as IOError:
            switch error.errnoCode {
            case EADDRINUSE: reason = .portInUse
            case EACCES, EPERM: reason = .permissionDenied
            case EADDRNOTAVAIL, EAFNOSUPPORT: reason = .noSuchAddress
            default: reason = .other(FileContents.describe(error.errnoCode))
            }
        case is SocketAddressError: reason = .notAnAddress
        default: reason = .other("\(error)")
        }
    }

    package var description: String {
        switch reason {
        case .portInUse: "port \(port) on \(address) is in use by another program; stop that one or configure another port"
        case .permissionDenied: "no permission to open port \(port) on \(address); ports below 1024 need CAP_NET_BIND_SERVICE"
        case .noSuchAddress: "this machine has no address \(address) to open port \(port) on"
        case .notAnAddress: "\(address) is no IP address"
        case .other(let why): "port \(port) on \(address) cannot be opened: \(why)"
        }
    }
}
