package import MartletCore
package import MartletXML
import MartletXMPP

/// A client says that nobody looks at it, and gets presence and chat states later: together with the next thing that matters. What the
/// client says is `ClientStateIndication.swift`'s, what can wait `ClientStateQueue.swift`'s, what a session does about it
/// `SessionClientState.swift`'s.
package struct ClientState: StreamFeatureProvider {
    package static let specification = Specification.xep(352, "Client State Indication", version: "1.0.0")
    package init() {}

    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) { writer.element("csi", .clientState) }
}
