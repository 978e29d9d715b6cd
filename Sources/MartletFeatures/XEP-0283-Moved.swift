package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

extension Namespace {
    package static let moved: Namespace = "urn:xmpp:moved:1"
}

/// Contacts that have moved to another account keep their place in rosters (§4.4). The statement by which somebody says so is an item of a node
/// of the old account's (XEP-0163), which is published and read as any other; whoever may see the old account's presence may read it.
///
/// Statements are verified for requests of all servers, this one included. A request that cannot be verified is one like others, with everything
/// that is in it.
package struct Moved: MovingStage {
    package static let specification = Specification.xep(
        283, "Moved", version: "0.2.0", note: "requests of contacts that have moved are verified and answered by the server")
    package let disco = DiscoFeatures()
    /// The one item of the node (§4.1).
    private static let item = "current"
    package init() {}

    /// It must be a bare JID (§4.3).
    package func formerAddress(in request: borrowing Stanza) -> BareJID? {
        guard let text = request.element.root.firstChild("moved", .moved)?.firstChild("old-jid", .moved)?.text, let address = try? JID(text),
            case .bare(let old) = address, !old.isDomain
        else { return nil }
        return old
    }

    package func question() -> ByteBuffer {
        var writer = XMLWriter()
        writer.element("pubsub", .pubsub) { writer in
            writer.element("items", .pubsub, ["node": Namespace.moved.name]) { $0.element("item", .pubsub, ["id": Self.item]) }
        }
        return writer.buffer
    }

    package func isConfirmed(_ outcome: RequestOutcome, _ answer: ElementView?, as address: BareJID) -> Bool {
        switch outcome {
        case .result: Self.stated(answer) == address
        case .error(let error): error.condition == .gone && Self.gone(answer) == address
        case .noAnswer: false
        }
    }

    private static func stated(_ pubsub: ElementView?) -> BareJID? {
        guard let items = pubsub?.firstChild("items", .pubsub), items.attributeEquals("node", "urn:xmpp:moved:1"),
            let item = items.children.first(where: { $0.isNamed("item", .pubsub) && $0.attributeEquals("id", "current") }),
            let text = item.firstChild("moved", .moved)?.firstChild("new-jid", .moved)?.text
        else { return nil }
        return (try? JID(text))?.bare
    }

    /// An account that is gone may say where to, by an address of RFC 5122 (§4.3).
    private static func gone(_ answer: ElementView?) -> BareJID? {
        guard let text = answer?.flat.firstChild("error", .client)?.firstChild("gone", .stanzaErrors)?.text, text.hasPrefix("xmpp:") else { return nil }
        return (try? JID(String(text.dropFirst("xmpp:".count))))?.bare
    }
}
