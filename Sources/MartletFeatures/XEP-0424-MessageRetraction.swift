import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let retraction: Namespace = "urn:xmpp:message-retract:1"
}

/// Who has said something in a room takes it back: everybody is told by his own message, who enters later is not shown what he said, and the
/// archive keeps a tombstone in its place (§4, §5).
enum MessageRetraction {
    static let specification = Specification.xep(
        424, "Message Retraction", version: "0.4.2", note: "in rooms, whose archives keep tombstones; between accounts it is passed on")
    static let namespaces: [Namespace] = [.retraction, "urn:xmpp:message-retract:1#tombstone"]
}

/// What somebody takes back.
package struct RoomRetraction: Sendable {
    /// By the room's name for it.
    let message: UInt64
    /// Of the message that takes it back, in which the tombstone has it too (§4).
    let id: String?
    /// Who takes it back, by the name of XEP-0421: only what the same account has said.
    let occupant: String
    /// Milliseconds since 1970.
    let time: Int64

    /// What the archive has from then on; `nil` where the message stays as it is: somebody else said it, it is a tombstone already, or itself
    /// takes something back, which everybody who was away is still to learn (§5).
    func tombstone(insteadOf original: EncodedStanza) -> EncodedStanza? {
        guard let root = Stanza(sent: original)?.element.root, !root.hasChild("retract", .retraction), !root.hasChild("retracted", .retraction),
            root.firstChild("occupant-id", .occupantIDs)?.attribute("id") == occupant
        else { return nil }
        return RoomTombstone(of: .author(retraction: id), time: time).encode(insteadOf: original)
    }
}

extension Room {
    /// The message itself goes to everybody as any other.
    mutating func retract(
        _ retraction: ElementView, _ id: String?, by occupant: RoomOccupant, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        guard let message = retraction.attribute("id").flatMap({ StanzaIDs.id(of: $0) }) else { return }
        if history.isMessage(message, by: occupant.id) { history.remove(message) }
        effects.retractions.append(RoomRetraction(message: message, id: id, occupant: occupant.id, time: moment.now))
    }
}

extension MultiUserChat {
    /// Looks up in the archive what was taken back, and puts a tombstone there, one after the other. Nobody but who reads the
    /// archive waits for that (``RoomHome/burial``): after a crash in between the message stays, and the retraction behind it.
    func bury(_ retractions: [RoomRetraction], of home: RoomHome, _ router: Router) {
        guard !retractions.isEmpty, let room = home.room?.id else { return }
        // A task, because it waits for the disk.
        home.burial = Task(executorPreference: router.executor) { [last = home.burial] in
            await last?.value
            for retraction in retractions {
                var search = ArchiveRequest(limit: 1)
                search.ids = [retraction.message]
                let original = (try? await router.store.archive(of: room, search))?.messages.first?.stanza
                guard let tombstone = original.flatMap(retraction.tombstone) else { continue }
                _ = router.store.submit([.replaceStanza(room, view: retraction.message, tombstone)])
            }
        }
    }
}
