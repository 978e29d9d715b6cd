package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

extension Namespace {
    package static let serverInformation: Namespace = "urn:xmpp:serverinfo:0"
}

/// Which other servers a domain has streams with, at a node that everybody reads, if the operator wants it known. Other domains are named only if they
/// say that they publish the same of themselves (§7).
///
/// What is published is put together here; whoever has the streams asks the other domains, and has it published.
package struct ServerInformation: Feature {
    package static let specification = Specification.xep(
        485, "PubSub Server Information", version: "1.0.0", note: "where the operator allows it; of streams of the domain itself")
    package static let node = "serverinfo"
    private static let item = "current"
    /// Other domains that are told of; of further ones nothing is said.
    package static let remotesMax = 1_000

    package let disco: DiscoFeatures

    /// - Parameter service: the service that has the node; `nil`: nothing is published, and nothing announced (§3).
    package init(at service: BareJID?) {
        disco = service.map { service in
            let field = DiscoForm.Field("serverinfo-pubsub-node", ["xmpp:\(service)?;node=\(Self.node)"])
            return DiscoFeatures(host: [.serverInformation], hostForms: [.init(type: "http://jabber.org/network/serverinfo", fields: [field])])
        } ?? DiscoFeatures()
    }

    /// A stream with another server (§4).
    package struct Connection: Hashable, Sendable {
        package enum Kind: String, Hashable, Sendable { case bidi, incoming, outgoing }
        package var remote: String
        package var kind: Kind
        package init(_ remote: String, _ kind: Kind) {
            self.remote = remote
            self.kind = kind
        }
    }

    /// What is published of a domain (§4).
    ///
    /// - Parameter named: domains that agree to be named. Neither names nor the order in which they come say who the others are.
    package static func content(of domain: BareJID, _ connections: [Connection], named: Set<String>) -> ByteBuffer {
        let remotes = Dictionary(grouping: connections, by: \.remote).mapValues { $0.map(\.kind.rawValue).sorted() }
        let known = remotes.filter { named.contains($0.key) }.sorted { $0.key < $1.key }.map { (name: String?.some($0.key), kinds: $0.value) }
        let others = remotes.filter { !named.contains($0.key) }.map(\.value).sorted { $0.lexicographicallyPrecedes($1) }.map { (name: String?.none, kinds: $0) }
        var writer = XMLWriter()
        writer.element("serverinfo", .serverInformation) { writer in
            writer.element("domain", .serverInformation, ["name": domain.description]) { writer in
                writer.element("federation", .serverInformation) { writer in
                    for (name, kinds) in (known + others).prefix(remotesMax) {
                        writer.element("remote-domain", .serverInformation, ["name": name]) { writer in
                            for kind in kinds { writer.element("connection", .serverInformation, ["type": kind]) }
                        }
                    }
                }
            }
        }
        return writer.buffer
    }

    // MARK: The node (§5)

    /// Publishes what ``content(of:_:named:)`` has made, at the node, which is made if it is not there.
    ///
    /// - Parameters:
    ///   - isNews: otherwise it was published already, and is published again only if an administrator has taken it away.
    ///   - domain: in whose name.
    ///   - mailbox: of the loop on which it is done.
    package static func publish(
        _ content: ByteBuffer, isNews: Bool = true, of domain: BareJID, by service: PubSubService, at address: BareJID, _ router: Router,
        _ mailbox: LoopMailbox
    ) async throws(StanzaError) {
        let publication = PubSubRequest.Publication(node: node, items: [.init(name: item, payload: content)])
        do throws(PubSubError) {
            try await service.carryOut(at: address, router, mailbox) { nodes, audience, moment, effects throws(PubSubError) in
                guard isNews || !nodes.hasItems(node) else { return }
                if nodes.creator(of: node) == nil { try nodes.take(.create(node: node, form), by: .bare(domain), audience, moment, &effects) }
                try nodes.take(.publish(publication), by: .bare(domain), audience, moment, &effects)
            }
        } catch {
            throw error.stanza
        }
    }

    private static var form: DataForm {
        DataForm(.submit, type: NodeConfiguration.formType, fields: [
            .init("pubsub#access_model", nil, ["open"]), .init("pubsub#max_items", nil, ["1"]), .init("pubsub#title", nil, ["Server information"]),
        ])
    }

    /// Takes away what was published while the operator wanted it. A node that somebody else has made stays.
    package static func withdraw(
        of domain: BareJID, by service: PubSubService, at address: BareJID, _ router: Router, _ mailbox: LoopMailbox
    ) async throws(StanzaError) {
        do throws(PubSubError) {
            try await service.carryOut(at: address, router, mailbox) { nodes, audience, moment, effects throws(PubSubError) in
                guard nodes.creator(of: node) == domain else { return }
                try nodes.take(.delete(node: node, redirect: nil), by: .bare(domain), audience, moment, &effects)
            }
        } catch {
            throw error.stanza
        }
    }

    // MARK: Who agrees (§7)

    /// What other domains are asked.
    package static var question: ByteBuffer {
        var writer = XMLWriter()
        writer.element("query", .discoInfo)
        return writer.buffer
    }

    /// Whether the answer announces that the domain takes part. That it has such a node counts for nothing.
    package static func isAgreement(_ answer: Stanza?) -> Bool {
        answer?.element.root.firstChild("query", .discoInfo)?.children.contains { child in
            child.isNamed("feature", .discoInfo) && child.attribute("var") == Namespace.serverInformation.name
        } ?? false
    }

    /// Which domains agree to be named, as they have said lately.
    package struct Agreements: Sendable {
        /// For how long an answer is believed, in milliseconds. After half of that time the domain is asked again.
        package static let lifetime: Int64 = 6 * 3_600_000
        /// Domains that are remembered. Others are not named until there is room.
        package static let countMax = 4_096
        /// Domains that are asked in one turn.
        package static let questionsMax = 32

        private var answers: [String: (agrees: Bool, time: Int64)] = [:]

        package init() {}

        /// - Parameter now: in milliseconds since 1970, as everywhere here.
        package func agreeing(at now: Int64) -> Set<String> {
            Set(answers.filter { $0.value.agrees && Self.isFresh($0.value.time, Self.lifetime, now) }.keys)
        }

        /// Whom to ask in this turn, of those that there are streams with: those of whom nothing is known first, then those who were asked longest ago.
        package mutating func questions(about domains: Set<String>, at now: Int64) -> [String] {
            answers = answers.filter { Self.isFresh($0.value.time, Self.lifetime, now) }
            let due = domains.filter { !Self.isFresh(answers[$0]?.time ?? .min, Self.lifetime / 2, now) }
            let inOrder = due.sorted { (answers[$0]?.time ?? .min, $0) < (answers[$1]?.time ?? .min, $1) }
            let room = Self.countMax - answers.count
            let (new, known) = (inOrder.filter { answers[$0] == nil }.prefix(room), inOrder.filter { answers[$0] != nil })
            return Array((Array(new) + known).prefix(Self.questionsMax))
        }

        package mutating func note(_ domain: String, agrees: Bool, at now: Int64) { answers[domain] = (agrees, now) }

        /// A clock that was set back makes everything old.
        private static func isFresh(_ time: Int64, _ lifetime: Int64, _ now: Int64) -> Bool { time <= now && time > now - lifetime }
    }
}

extension PubSubNodes {
    /// Who has made a node; `nil` if there is none, the owner of the nodes if that is not known.
    fileprivate func creator(of name: String) -> BareJID? { nodes[OctetName(name)].map { $0.creator ?? address } }
    fileprivate func hasItems(_ name: String) -> Bool { nodes[OctetName(name)].map { $0.itemCount > 0 } ?? false }
}
