package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let roster: Namespace = "jabber:iq:roster"
}

/// Roster items as XML (RFC 6121 §2.1).
package enum RosterPush {
    /// One change, as it is sent to one interested session (RFC 6121 §2.1.6).
    package static func encode(_ change: RosterChange, _ roster: Roster, to session: FullJID, id: String) -> EncodedStanza {
        encode(change, roster, from: nil, to: .full(session), id: id)
    }

    /// The same for somebody else, who has to be told whose roster it is (XEP-0356 §4.4).
    package static func encode(_ change: RosterChange, _ roster: Roster, from account: BareJID?, to address: JID, id: String) -> EncodedStanza {
        StanzaBuilder.iq(.set, from: account.map(JID.bare), to: address, id: id) { writer in
            writer.element("query", .roster, ["ver": roster.versionName(of: change.version)]) { writer in
                switch roster.shown(change) {
                case .item(let item): write(item, to: &writer)
                case .removal(let removal):
                    writer.element("item", .roster, ["jid": removal.contact.description, "subscription": "remove"])
                }
            }
        }
    }

    package static func write(_ item: RosterItem, to writer: inout XMLWriter) {
        let state = item.subscription
        let attributes: KeyValuePairs<StaticString, String?> = [
            "jid": item.contact.description, "name": item.name, "subscription": state.name.description,
            "ask": state.pendingOut ? "subscribe" : nil, "approved": state.approved ? "true" : nil,
        ]
        writer.element("item", .roster, attributes) { writer in
            for group in item.groups { writer.element("group", .roster, text: group) }
        }
    }
}
