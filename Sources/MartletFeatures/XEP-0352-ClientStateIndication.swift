package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

/// A client says that nobody looks at it, and gets presence and chat states later: together with the next thing that matters. What the
/// client says is `ClientStateIndication.swift`'s, what can wait `ClientStateQueue.swift`'s, what a session does about it
/// `SessionClientState.swift`'s.
package struct ClientState: StreamFeatureProvider, InlineStage {
    package static let specification = Specification.xep(352, "Client State Indication", version: "1.0.0")
    package init() {}

    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) { writer.element("csi", .clientState) }
    package func offer(_ offer: inout InlineOffer) { offer.features.append(Namespace.clientState.name) }

    /// The session begins in the state that the client says (XEP-0386 §3.2).
    package func begin(_ request: ElementView, _ session: ClientSession) -> ByteBuffer? {
        if let indication = ClientStateIndication(request) { session.indicate(indication) }
        return nil
    }
}
