package import MartletCore
import MartletXML
package import MartletXMPP

/// What is said to everybody (§7.4, §8.1).
extension Room {
    /// - Parameters:
    ///   - nickname: the resource that the message is for; without one it is for the room.
    ///   - position: where the sender's stream stands with it, if that can be resumed.
    package mutating func message(
        _ stanza: Stanza, _ type: MessageType, to nickname: String?, from session: RoomSession, _ position: StreamPosition?,
        _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        let key = occupants.key(ofSession: session.address)
        if let key, let ref = session.ref { occupants.setRef(ref, of: session.address, key) }
        switch (type, nickname) {
        case (.error, _): failed(stanza, nickname, key, session, &effects)
        case (.groupchat, nil): say(stanza, key, position, moment, &effects)
        case (.groupchat, _?): effects.actions.append(.refuse(.badRequest("what is for everybody goes to the room itself")))
        case (.chat, let nickname?), (.normal, let nickname?), (.headline, let nickname?): sayPrivately(stanza, type, to: nickname, key, &effects)
        case (.normal, nil): letter(stanza, key, session, moment, &effects)
        case (.chat, nil), (.headline, nil): effects.actions.append(.refuse(.badRequest("what is for everybody is of type groupchat")))
        }
    }

    private mutating func say(
        _ stanza: Stanza, _ key: RoomOccupants.Key?, _ position: StreamPosition?, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        guard let key, let occupant = occupants[key] else {
            return effects.actions.append(.refuse(isLocked ? .itemNotFound() : .notAcceptable("only occupants")))
        }
        let root = stanza.element.root
        let isSubject = root.isSubject
        let deed: RoomDeed = isSubject ? .changeSubject : .speak
        if let refusal = configuration.refusal(of: deed, by: occupant.standing) ?? slowness(of: occupant, root, moment) {
            return effects.actions.append(.refuse(refusal))
        }
        if isSubject, let refusal = setSubject(root, by: occupant, moment, &effects) { return effects.actions.append(.refuse(refusal)) }
        if configuration.slowModeSeconds > 0, root.hasChild("body", .client) { slowMode.note(occupant.account, moment.now, seconds: configuration.slowModeSeconds) }
        if let retraction = root.firstChild("retract", .retraction) { retract(retraction, stanza.id, by: occupant, moment, &effects) }
        publish(stanza, of: occupant, isSubject: isSubject, position, moment, &effects)
    }

    /// XEP-0500 §4: administrators and owners are not slowed down, and neither is what has no body.
    private func slowness(of occupant: RoomOccupant, _ root: ElementView, _ moment: RoomMoment) -> StanzaError? {
        let seconds = configuration.slowModeSeconds
        guard seconds > 0, occupant.affiliation < .admin, let last = slowMode.last(of: occupant.account), root.hasChild("body", .client) else { return nil }
        guard moment.now - last < Int64(seconds) * 1_000 else { return nil }
        return StanzaError(.policyViolation, .wait, text: "in this room there are \(seconds) seconds between two messages")
    }

    private mutating func setSubject(
        _ root: ElementView, by occupant: RoomOccupant, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) -> StanzaError? {
        let text = root.firstChild("subject", .client)?.text ?? ""
        guard text.utf8.count <= moment.limits.subjectBytesMax else {
            return .notAcceptable("a subject may have \(moment.limits.subjectBytesMax) bytes")
        }
        subject = RoomSubject(text: text, nickname: occupant.nickname, time: moment.now)
        store(&effects)
        return nil
    }

    /// Serialised once, however many get it, and once for the archive. The room's name for it is told of what is kept, in the archive or at
    /// least in the history, where moderators find it: what nothing answers for has none (XEP-0313 §3).
    private mutating func publish(
        _ sent: Stanza, of occupant: RoomOccupant, isSubject: Bool, _ position: StreamPosition?, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        lastViewID = moment.ids.next(after: lastViewID, wallMilliseconds: moment.now)
        var stanza = sent
        stanza.from = .full(occupant.address)
        stanza.to = nil
        stanza.omitMarks(of: address)
        stanza.add { OccupantIDs.write(occupant.id, to: &$0) }
        let isKept = ArchiveRules.isWorthKeepingInRoom(sent)
        if configuration.isArchived(within: moment.limits), isKept { log(stanza, of: occupant, position, moment, &effects) }
        if isKept { stanza.add { writer in address.withUTF8 { writer.emptyElement("stanza-id", .stanzaIDs, ("id", lastViewID), ("by", $0)) } } }
        tellAll(SharedStanza(stanza), &effects)
        if isKept, !isSubject {
            notifyAbsent(of: stanza, moment, &effects)
            history.append(stanza, id: lastViewID, at: moment.now, countMax: moment.limits.historyMax, bytesMax: moment.limits.historyBytesMax)
        }
    }

    private func log(
        _ stanza: Stanza, of occupant: RoomOccupant, _ position: StreamPosition?, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        let view = LogEntry.View(owner: id, id: lastViewID, awaitsDelivery: false, archived: ArchiveMark(with: address, isSent: false))
        let archived = ArchivedRoomMessage.encode(stanza, by: occupant)
        effects.entries.append(LogEntry(stanza: archived, views: [view], time: moment.now, position: position))
    }

    /// What the room is about, for somebody who has just entered. Without one it is an empty one (§7.2.15).
    var subjectMessage: SharedStanza {
        let from: JID = subject.flatMap { address(of: $0.nickname) }.map { .full($0) } ?? .bare(address)
        let message = StanzaBuilder.message(.groupchat, from: from, to: nil) { writer in
            writer.element("subject", .client, text: subject?.text ?? "")
            guard let subject else { return }
            writer.emptyElement("delay", .delay) {
                $0.attribute("from", address)
                $0.attribute("stamp", DateTime.text(milliseconds: subject.time))
            }
        }
        return SharedStanza(message, kind: .message(.groupchat), from: from)
    }
}

extension ElementView {
    /// A subject with a body is a message with a title (§8.1).
    var isSubject: Bool { hasChild("subject", .client) && !hasChild("body", .client) && !hasChild("thread", .client) }
}

extension Stanza {
    /// Takes away what only the room may say (`reliability.md` rule 19).
    mutating func omitMarks(of room: BareJID) {
        omitChildren("stanza-id", .stanzaIDs, claiming: "by") { $0.bare == room }
        omitChildren("delay", .delay, claiming: "from") { $0.bare == room }
        omitChildren("occupant-id", .occupantIDs)
        omitChildren("x", .mucUser)
    }
}

/// A message as the room's archive keeps it: with who said it, which not everybody sees who reads it (XEP-0313 §5.1.3).
enum ArchivedRoomMessage {
    static func encode(_ message: Stanza, by occupant: RoomOccupant) -> EncodedStanza {
        message.encoded { writer in
            writer.element("x", .mucUser) { writer in
                writer.item(affiliation: occupant.affiliation, role: occupant.role, address: .full(occupant.shownSession.address))
            }
        }
    }

    /// As everybody gets it, with the room's name for it.
    static func `public`(_ message: LoggedMessage, of room: BareJID) -> Stanza? {
        guard var stanza = Stanza(sent: message.stanza) else { return nil }
        stanza.to = nil
        stanza.omitChildren("x", .mucUser)
        stanza.add { writer in room.withUTF8 { writer.emptyElement("stanza-id", .stanzaIDs, ("id", message.view), ("by", $0)) } }
        return stanza
    }

    /// Who said it.
    static func author(of stanza: Stanza) -> JID? {
        stanza.element.root.firstChild("x", .mucUser)?.firstChild("item", .mucUser)?.attribute("jid").flatMap { try? JID($0) }
    }
}
