import MartletCore
import MartletXML
import NIOCore

/// What a room knows of an account besides its affiliation.
package struct RoomMemberDetails: Hashable, Sendable {
    /// The URIs of the hats that it wears (XEP-0317).
    package var hats: [String] = []
    /// What it wants to be told of while it is not in the room; `nil`: as the room has it.
    package var notices: RoomConfiguration.MemberNotices?

    package init() {}

    package var isEmpty: Bool { hats.isEmpty && notices == nil }
}

/// As it is stored: a little XML.
extension RoomMemberDetails {
    private static let namespace: Namespace = "urn:x-martlet:room"

    /// What cannot be read is not there.
    init(_ stored: ByteBuffer?) {
        self.init()
        guard let stored, let element = try? parseElement(stored, limits: .ownWriting) else { return }
        notices = element.attribute("notices").flatMap(RoomConfiguration.MemberNotices.init(rawValue:))
        hats = element.children.filter { $0.isNamed("hat", Self.namespace) }.compactMap { $0.attribute("uri") }
    }

    /// `nil` if there is nothing to store.
    var stored: ByteBuffer? {
        guard !isEmpty else { return nil }
        var writer = XMLWriter()
        writer.element("details", Self.namespace, ["notices": notices?.rawValue]) { writer in
            for uri in hats { writer.element("hat", Self.namespace, ["uri": uri]) }
        }
        return writer.buffer
    }
}
