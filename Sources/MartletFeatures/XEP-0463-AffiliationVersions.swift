import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let affiliationVersions: Namespace = "urn:xmpp:muc:affiliations:1"
}

/// Who enters a room learns what has changed in its affiliations since he was there.
extension Room {
    /// Tells a session that enters what it does not know yet, before its own presence.
    ///
    /// - Parameter since: the version that it knows; a version that there never was counts as none.
    /// - Returns: what its own presence says of it.
    func tellAffiliations(
        since: String?, to session: RoomSession, _ standing: RoomStanding, _ effects: inout RoomEffects
    ) -> AffiliationVersions {
        let current = AffiliationVersions(since: nil, until: affiliations.version)
        guard configuration.permits(.listAffiliation(.member), by: standing) else {
            let refusal = StanzaBuilder.message(.error, from: .bare(address), to: .full(session.address)) { StanzaError(.forbidden, .auth).write(to: &$0) }
            effects.actions.append(.send(refusal, to: session))
            return current
        }
        let known = since.flatMap { UInt64($0) }.flatMap { $0 <= affiliations.version ? $0 : nil }
        guard known != affiliations.version else { return current }
        let changes = affiliations.changes(since: known ?? 0) ?? []
        // Those who are banned are for those to see who may ban.
        let visible = changes.filter { change in
            (known != nil || change.entry.affiliation != .none) && (change.entry.affiliation != .outcast || configuration.permits(.listAffiliation(.outcast), by: standing))
        }
        for start in stride(from: 0, to: max(visible.count, 1), by: Self.itemsPerMessage) {
            let part = visible[start..<min(start + Self.itemsPerMessage, visible.count)]
            let message = StanzaBuilder.message(.normal, from: .bare(address), to: .full(session.address)) { writer in
                writer.element("x", .mucUser) { writer in
                    for change in part {
                        writer.element("item", .mucUser, ["affiliation": change.entry.affiliation.name, "jid": change.address.description])
                    }
                    writer.versions(AffiliationVersions(since: known, until: current.until))
                }
            }
            effects.actions.append(.send(message, to: session))
        }
        return current
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
