package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

/// Acknowledgements that wait until what a stanza wrote is on disk, and sessions that outlive their connections. What is said on the
/// wire is `StreamManagement.swift`'s, what it does `SessionManagement.swift`'s and `SessionResumption.swift`'s.
package struct StreamManagement: StreamFeatureProvider, InlineStage {
    package static let specification = Specification.xep(
        198, "Stream Management", version: "1.6.2", note: "after a crash the client is told how far it had come; no location")
    package init() {}

    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) { writer.element("sm", .streamManagement) }

    // MARK: Inside a log-in (§9)

    package func offer(_ offer: inout InlineOffer) {
        offer.features.append(Namespace.streamManagement.name)
        offer.resumes = true
    }

    package func begin(_ request: ElementView, _ session: ClientSession) -> ByteBuffer? {
        guard request.isNamed("enable", .streamManagement) else { return nil }
        let answer: StreamManagementAnswer =
            if case .enable(let resumes, let secondsMax) = StreamManagementRequest(request) {
                session.beginManagement(resumes: resumes, secondsMax: secondsMax)
            } else {
                .failed(.badRequest, handled: nil)
            }
        var writer = XMLWriter()
        answer.write(to: &writer)
        return writer.buffer
    }
}
