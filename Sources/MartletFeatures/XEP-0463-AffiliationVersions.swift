import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let affiliationVersions: Namespace = "urn:xmpp:muc:affiliations:1"
}

/// Who enters a room learns what has changed in its affiliations since he was there.
extension Room {
    /// Tells a session that enters what it does not know yet, if it asks for that, before any presence (§5.2). A version that there never was, or
    /// of which too much is forgotten, counts as none.
    func tellAffiliations(_ entry: RoomEntry, to session: RoomSession, _ standing: RoomStanding, _ effects: inout RoomEffects) {
        guard entry.wantsAffiliations else { return }
        guard configuration.permits(.listAffiliation(.member), by: standing) else {
            let refusal = StanzaBuilder.message(.error, from: .bare(address), to: .full(session.address)) { StanzaError(.forbidden, .auth).write(to: &$0) }
            return effects.actions.append(.send(refusal, to: session))
        }
        let known = entry.since.flatMap { UInt64($0) }.flatMap { affiliations.knowsChanges(since: $0) ? $0 : nil }
        guard known != affiliations.version else { return }
        let versions = AffiliationVersions(since: known, until: affiliations.version)
        let changes = visibleChanges(since: known, to: standing)
        for start in stride(from: 0, to: max(changes.count, 1), by: Self.itemsPerMessage) {
            let part = changes[start..<min(start + Self.itemsPerMessage, changes.count)]
            let message = StanzaBuilder.message(.normal, from: .bare(address), to: .full(session.address)) { writer in
                writer.element("x", .mucUser) { writer in
                    for change in part {
                        writer.element("item", .mucUser, ["affiliation": change.entry.affiliation.name, "jid": change.address.description])
                    }
                    writer.versions(versions)
                }
            }
            effects.actions.append(.send(message, to: session))
        }
    }

    /// Of each list those see the changes who may ask for it.
    private func visibleChanges(since known: UInt64?, to standing: RoomStanding) -> [(address: JID, entry: RoomAffiliations.Entry)] {
        let visible = RoomAffiliation.allCases.filter { $0 == .none ? known != nil : configuration.permits(.listAffiliation($0), by: standing) }
        return (affiliations.changes(since: known ?? 0) ?? []).filter { visible.contains($0.entry.affiliation) }
    }

    /// Affiliations in one message.
    private static let itemsPerMessage = 500
}

/// From which version of a room's affiliations to which something leads.
struct AffiliationVersions: Hashable, Sendable {
    var since: UInt64?
    var until: UInt64
}

extension XMLWriter {
    mutating func versions(_ versions: AffiliationVersions) {
        element("mav", .affiliationVersions, ["since": versions.since.map { String($0) }, "until": String(versions.until)])
    }
}
