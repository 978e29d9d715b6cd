package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let stanzaIDs: Namespace = "urn:xmpp:sid:0"
}

/// Each account's own name for a message it got, which nobody else can give in its name (§5). It is told where the archive answers for it.
package struct StanzaIDs: AnnotatingStage, NamingStage {
    package static let specification = Specification.xep(359, "Unique and Stable Stanza IDs", version: "0.7.0")
    package var disco: DiscoFeatures { .everywhere(.stanzaIDs) }
    package init() {}

    /// Takes off what claims to be by the account or its server. Those of others, such as rooms, stay.
    package func annotate(_ message: inout Stanza, _ route: borrowing Route) {
        let account = route.account
        message.omitChildren("stanza-id", .stanzaIDs, claiming: "by") { $0.bare == account || $0 == .bare(account.domain) }
    }

    package func annotate(_ presence: inout Stanza, of hosts: HostTable) {
        presence.omitChildren("stanza-id", .stanzaIDs, claiming: "by") { hosts.host(of: $0.bare) != nil }
    }

    package func name(_ id: UInt64, by account: BareJID, to writer: inout XMLWriter) {
        account.withUTF8 { writer.emptyElement("stanza-id", .stanzaIDs, ("id", id), ("by", $0)) }
    }

    /// A name as clients see it. Opaque to them.
    package static func text(of id: UInt64) -> String { String(id) }

    /// The name that ``text(of:)`` writes so; `nil` for what it never writes.
    package static func id(of text: String) -> UInt64? {
        guard let id = UInt64(text), Int64(exactly: id) != nil, self.text(of: id) == text else { return nil }
        return id
    }
}

extension Stanza {
    /// Takes away the direct children of a name whose address in `attribute` is one of ours, such as the account, one of its resources, or
    /// its domain. Addresses are compared prepared: no way of writing one gets round it (`reliability.md` rule 17).
    mutating func omitChildren(
        _ local: StaticString, _ namespace: Namespace, claiming attribute: StaticString, _ isOurs: (JID) -> Bool
    ) {
        guard element.root.hasChild(local, namespace) else { return }
        for (index, child) in element.root.children.enumerated() where child.isNamed(local, namespace) {
            let isClaimed = child.withAttribute(attribute) { span in
                span.withUnsafeBytes { bytes in (try? JID(parsing: bytes)).map(isOurs) ?? false }
            }
            if isClaimed == true { omitChild(at: index) }
        }
    }
}
