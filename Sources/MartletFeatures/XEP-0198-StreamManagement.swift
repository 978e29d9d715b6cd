package import MartletCore
package import MartletXML
import MartletXMPP

/// Acknowledgements that wait until what a stanza wrote is on disk, and sessions that outlive their connections. What is said on the
/// wire is `StreamManagement.swift`'s, what it does `SessionManagement.swift`'s and `SessionResumption.swift`'s.
package struct StreamManagement: StreamFeatureProvider {
    package static let specification = Specification.xep(
        198, "Stream Management", version: "1.6.2", note: "after a crash the client is told how far it had come; no location")
    package init() {}

    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) { writer.element("sm", .streamManagement) }
}
