package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let bytestreams: Namespace = "http://jabber.org/protocol/bytestreams"
}

/// Tells accounts of this server where bytes of theirs are relayed, and lets the two ends of a stream go together (§6). Nobody else's are.
package struct BytestreamProxy: RequestService {
    package static let specification = Specification.xep(
        65, "SOCKS5 Bytestreams", version: "1.8.2", note: "a proxy for accounts of this server; not over UDP")
    private static let name = "File transfers"
    private let relay: any BytestreamRelay
    /// A name or an address of this server that clients can reach.
    private let host: String

    package init(_ relay: any BytestreamRelay, host: String) {
        self.relay = relay
        self.host = host
    }

    package var disco: DiscoFeatures { DiscoFeatures(host: [.discoInfo, .discoItems, .bytestreams]) }
    package var identity: DiscoIdentity { DiscoIdentity("proxy", "bytestreams", name: Self.name) }

    package var routes: [IQRoute] {
        discovery + [
            .held(.get, "query", .bytestreams, at: .host) { held, context in
                guard Self.isLocal(held, context) else { return held.refuse(StanzaError(.forbidden), context) }
                held.answer(address(of: held.request.owner), after: .none, context)
            },
            .held(.set, "query", .bytestreams, at: .host) { held, context in
                guard Self.isLocal(held, context) else { return held.refuse(StanzaError(.forbidden), context) }
                activate(held, context)
            },
        ]
    }

    private static func isLocal(_ held: HeldRequest, _ context: LoopContext) -> Bool { context.hosts.host(of: held.request.actor.bare) != nil }

    /// §4.
    private func address(of proxy: BareJID) -> IQReply {
        IQReply { writer in
            writer.element("query", .bytestreams) { writer in
                writer.element("streamhost", .bytestreams, ["jid": proxy.description, "host": host, "port": String(relay.port)])
            }
        }
    }

    /// §6.3.5.
    private func activate(_ held: HeldRequest, _ context: LoopContext) {
        let query = held.request.child
        guard let id = query.attribute("sid"), !id.isEmpty, let target = query.firstChild("activate", .bytestreams).flatMap({ try? JID($0.text) }) else {
            return held.refuse(.badRequest("a stream has a sid, and somebody to activate it for"), context)
        }
        let (requester, relay) = (held.request.actor, relay)
        let stream = Self.stream(id, requester, target)
        held.answer(context) { _ async throws(StanzaError) in
            switch await relay.activate(stream, for: requester.bare) {
            case .active: return .empty
            case .incomplete: throw .itemNotFound("not both have connected")
            case .tooMany: throw .resourceConstraint("there are too many streams: try again")
            }
        }
    }

    /// The name that both ends give (§6.3.2), in hexadecimal digits.
    package static func stream(_ id: String, _ requester: JID, _ target: JID) -> String {
        ScramHash.sha1.digest(Array("\(id)\(requester)\(target)".utf8)).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }
}
