import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let moderation: Namespace = "urn:xmpp:message-moderate:1"
}

/// Moderators take messages out of a room: everybody is told, and the archive keeps a tombstone in their place (§5, §6).
enum MessageModeration {
    static let specification = Specification.xep(425, "Moderated Message Retraction", version: "0.3.0")
    static let namespaces: [Namespace] = [.moderation]
}

/// What a moderator asks for.
struct ModerationRequest: Sendable {
    let message: UInt64
    let reason: String?

    init(_ element: ElementView) throws(StanzaError) {
        guard element.hasChild("retract", .retraction) else { throw StanzaError(.featureNotImplemented) }
        guard let message = element.attribute("id").flatMap({ StanzaIDs.id(of: $0) }) else { throw .itemNotFound() }
        self.message = message
        reason = element.firstChild("reason", .moderation)?.text
    }
}

extension Room {
    /// - Parameter original: as the archive has it; without one the message must be among the last that were said.
    mutating func moderate(
        _ request: ModerationRequest, _ original: EncodedStanza?, by actor: JID, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) throws(StanzaError) {
        guard request.reason?.utf8.count ?? 0 <= moment.limits.reasonBytesMax else {
            throw .notAcceptable("a reason may have \(moment.limits.reasonBytesMax) bytes")
        }
        if let refusal = configuration.refusal(of: .moderateMessages, by: standing(of: actor)) { throw refusal }
        guard case .full(let session) = actor, let moderator = occupants.occupant(ofSession: session) else { throw .forbidden() }
        guard history.contains(request.message) || original != nil else { throw .itemNotFound() }
        history.remove(request.message)
        let tombstone = original.flatMap { RoomTombstone(of: .moderator(moderator, reason: request.reason), time: moment.now).encode(insteadOf: $0) }
        if let tombstone { effects.writes.append(.replaceStanza(id, view: request.message, tombstone)) }
        announce(request.message, by: moderator, request.reason, moment, &effects)
    }

    /// The announcement is a message of the room's, in the archive too: whoever was away learns of it.
    private mutating func announce(
        _ message: UInt64, by moderator: RoomOccupant, _ reason: String?, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        lastViewID = moment.ids.next(after: lastViewID, wallMilliseconds: moment.now)
        let encoded = StanzaBuilder.message(.groupchat, from: .bare(address), to: nil, id: moment.random.token()) { writer in
            writer.element("retract", .retraction, ["id": StanzaIDs.text(of: message)]) { writer in
                writer.moderated(by: moderator)
                if let reason { writer.element("reason", .retraction, text: reason) }
            }
        }
        var stanza = encoded.asStanza
        if configuration.isArchived(within: moment.limits) {
            let view = LogEntry.View(owner: id, id: lastViewID, awaitsDelivery: false, archived: ArchiveMark(with: address, isSent: false))
            effects.entries.append(LogEntry(stanza: encoded, views: [view], time: moment.now))
        }
        stanza.add { writer in address.withUTF8 { writer.emptyElement("stanza-id", .stanzaIDs, ("id", lastViewID), ("by", $0)) } }
        tellAll(SharedStanza(stanza), &effects)
    }
}

/// What the archive has in place of a message that was taken out (§6) or back (XEP-0424 §4).
struct RoomTombstone {
    enum Hand {
        case moderator(RoomOccupant, reason: String?)
        /// The `id` of the message that takes it back.
        case author(retraction: String?)
    }
    let hand: Hand
    /// Milliseconds since 1970.
    let time: Int64

    init(of hand: Hand, time: Int64) {
        self.hand = hand
        self.time = time
    }

    /// What is left of a message: who said it, and that it is gone.
    func encode(insteadOf message: EncodedStanza) -> EncodedStanza? {
        guard let stanza = Stanza(sent: message) else { return nil }
        return StanzaBuilder.message(.groupchat, from: stanza.from, to: nil, id: stanza.id) { writer in
            for child in stanza.element.root.children where child.isIn(.occupantIDs) || child.isNamed("x", .mucUser) { writer.append(child) }
            let stamp = DateTime.text(milliseconds: time)
            switch hand {
            case .author(let retraction): writer.element("retracted", .retraction, ["id": retraction, "stamp": stamp])
            case .moderator(let moderator, let reason):
                writer.element("retracted", .retraction, ["stamp": stamp]) { writer in
                    writer.moderated(by: moderator)
                    if let reason { writer.element("reason", .retraction, text: reason) }
                }
            }
        }
    }
}

extension XMLWriter {
    fileprivate mutating func moderated(by moderator: RoomOccupant) {
        element("moderated", .moderation, ["by": moderator.address.description]) { OccupantIDs.write(moderator.id, to: &$0) }
    }
}
