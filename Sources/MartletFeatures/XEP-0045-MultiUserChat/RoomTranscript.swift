package import MartletCore
import MartletXML
package import MartletXMPP

/// What was said in a room, read from its archive for people.
package struct RoomUtterance: Hashable, Sendable {
    /// The room's name for the message (XEP-0359).
    package var id: UInt64
    /// Milliseconds since 1970.
    package var time: Int64
    /// Of whoever said it; empty for the room itself.
    package var nickname: String
    /// Whose nickname that was.
    package var author: JID?
    package var subject: String?
    /// Absent where nothing was said that has a body, such as a reaction, and where a moderator took it out (XEP-0425).
    package var body: String?

    package init?(_ logged: LoggedMessage) {
        guard let stanza = Stanza(sent: logged.stanza) else { return nil }
        id = logged.view
        time = logged.time
        if case .full(let occupant) = stanza.from { nickname = occupant.resourcepart } else { nickname = "" }
        author = ArchivedRoomMessage.author(of: stanza)
        subject = stanza.element.root.firstChild("subject", .client)?.text
        body = stanza.element.root.firstChild("body", .client)?.text
    }
}
