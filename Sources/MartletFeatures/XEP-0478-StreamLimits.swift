package import MartletCore
package import MartletXML
package import MartletXMPP

/// Tells clients that have logged in how large a stanza may be, and after which silence they are asked for a sign of life. What other servers
/// are told is in ``PeerFeatures``.
package struct StreamLimits: StreamFeatureProvider {
    package static let specification = Specification.xep(478, "Stream Limits Advertisement", version: "0.2.0", note: "after the log-in, and between servers")
    private let limits: PeerFeatures.Limits?

    /// - Parameter limits: `nil` where nothing is said.
    package init(_ limits: PeerFeatures.Limits?) { self.limits = limits }

    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) { limits?.write(to: &writer) }
}
