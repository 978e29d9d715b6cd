package import MartletXMPP

/// Carries the bytes of two clients that cannot reach each other (XEP-0065 §6). Both have connected and named their stream before it is activated.
package protocol BytestreamRelay: Sendable {
    /// Where clients connect.
    var port: Int { get }

    /// From here on what one sends the other gets.
    ///
    /// - Parameters:
    ///   - stream: the name that both have given.
    ///   - account: who asks for it, and for whom it counts.
    func activate(_ stream: String, for account: BareJID) async -> BytestreamActivation
}

package enum BytestreamActivation: Hashable, Sendable {
    case active
    /// One of the two has not connected, or not both any more.
    case incomplete
    /// The account has too many already, or all together have.
    case tooMany
}
