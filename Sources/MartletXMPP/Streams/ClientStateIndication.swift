public import MartletXML

extension Namespace {
    /// XEP-0352.
    public static let clientState: Namespace = "urn:xmpp:csi:0"
}

/// What a client says about whether somebody looks at it (XEP-0352 §4.2): an element that is no stanza, is not counted (XEP-0198) and is
/// not answered. A stream begins as active, also one that is resumed (§5.2).
public enum ClientStateIndication: Hashable, Sendable {
    case active
    case inactive

    /// - Returns: `nil` for what XEP-0352 does not know: that is no part of a client's stream.
    public init?(_ element: FlatElement) { self.init(element.root) }

    public init?(_ element: ElementView) {
        if element.isNamed("inactive", .clientState) {
            self = .inactive
        } else if element.isNamed("active", .clientState) {
            self = .active
        } else {
            return nil
        }
    }
}
