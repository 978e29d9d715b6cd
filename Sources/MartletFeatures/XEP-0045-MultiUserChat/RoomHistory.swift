import MartletCore
import MartletXML
import MartletXMPP

/// The last messages of a room, for those who enter (§7.2.13).
package struct RoomHistory: Sendable {
    struct Message: Sendable {
        /// As occupants got it.
        var stanza: Stanza
        /// Milliseconds since 1970.
        var time: Int64
        /// The room's name for it.
        var id: UInt64
        /// Marked as an old one, once somebody has entered.
        var delayed: SharedStanza?
    }
    private(set) var messages: [Message] = []
    private var bytes = 0

    /// - Parameter logged: the last of the room's archive, in order.
    init(_ logged: [LoggedMessage] = [], of room: BareJID, _ limits: RoomLimits) {
        for message in logged {
            guard let stanza = ArchivedRoomMessage.public(message, of: room), !stanza.element.root.isSubject else { continue }
            // What was taken back, or taken out, is not shown again.
            if stanza.element.root.hasChild("retracted", .retraction) { continue }
            append(stanza, id: message.view, at: message.time, countMax: limits.historyMax, bytesMax: limits.historyBytesMax)
        }
    }

    mutating func append(_ stanza: Stanza, id: UInt64, at time: Int64, countMax: Int, bytesMax: Int) {
        guard countMax > 0 else { return }
        messages.append(Message(stanza: stanza, time: time, id: id))
        bytes += stanza.element.byteCount
        var excess = 0
        while messages.count - excess > countMax || (bytes > bytesMax && messages.count - excess > 1) {
            bytes -= messages[excess].stanza.element.byteCount
            excess += 1
        }
        messages.removeFirst(excess)
    }

    /// What has this name or an earlier one.
    mutating func forget(upTo id: UInt64) {
        let count = messages.prefix { $0.id <= id }.count
        bytes -= messages.prefix(count).reduce(0) { $0 + $1.stanza.element.byteCount }
        messages.removeFirst(count)
    }

    func contains(_ id: UInt64) -> Bool { messages.contains { $0.id == id } }

    /// - Parameter occupant: by the name of XEP-0421.
    func isMessage(_ id: UInt64, by occupant: String) -> Bool {
        guard let message = messages.first(where: { $0.id == id }), let encoded = Stanza(sent: message.stanza.encoded(to: nil)) else { return false }
        return encoded.element.root.firstChild("occupant-id", .occupantIDs)?.attribute("id") == occupant
    }

    /// A message was taken out of the room (XEP-0425).
    mutating func remove(_ id: UInt64) {
        messages.removeAll {
            guard $0.id == id else { return false }
            bytes -= $0.stanza.element.byteCount
            return true
        }
    }

    /// What somebody gets who enters.
    mutating func selection(_ wish: RoomHistoryWish, countMax: Int, of room: BareJID, now: Int64) -> [SharedStanza] {
        var selected: [SharedStanza] = []
        var characters = 0
        for index in messages.indices.reversed() {
            guard selected.count < min(wish.stanzasMax ?? .max, countMax) else { break }
            if let since = wish.since, messages[index].time < since { break }
            if let seconds = wish.seconds, messages[index].time < now - seconds { break }
            let stanza = delayed(index, of: room)
            characters += stanza.byteCount
            if let charactersMax = wish.charactersMax, characters > charactersMax { break }
            selected.append(stanza)
        }
        return selected.reversed()
    }

    private mutating func delayed(_ index: Int, of room: BareJID) -> SharedStanza {
        if let known = messages[index].delayed { return known }
        var stanza = messages[index].stanza
        stanza.addDelay(from: room, at: messages[index].time)
        let delayed = SharedStanza(stanza)
        messages[index].delayed = delayed
        return delayed
    }
}

/// How much of a room's history somebody wants who enters (§7.2.14).
package struct RoomHistoryWish: Hashable, Sendable {
    /// Of the complete stanzas, in bytes.
    package var charactersMax: Int?
    package var stanzasMax: Int?
    /// How old messages may be, in milliseconds.
    package var seconds: Int64?
    /// Milliseconds since 1970.
    package var since: Int64?

    package init() {}

    /// Reads `<history/>`; what is no number or time there counts as not said.
    init(_ element: ElementView) {
        charactersMax = element.attribute("maxchars").flatMap { Int($0) }.map { max(0, $0) }
        stanzasMax = element.attribute("maxstanzas").flatMap { Int($0) }.map { max(0, $0) }
        seconds = element.attribute("seconds").flatMap { Int64($0) }.map { min(max(0, $0), 1 << 40) * 1_000 }
        since = element.attribute("since").flatMap { DateTime.milliseconds(of: $0) }
    }
}

extension Stanza {
    /// When the room got it (XEP-0203).
    mutating func addDelay(from room: BareJID, at time: Int64) {
        add { writer in
            writer.emptyElement("delay", .delay) {
                $0.attribute("from", room)
                $0.attribute("stamp", DateTime.text(milliseconds: time))
            }
        }
    }
}
