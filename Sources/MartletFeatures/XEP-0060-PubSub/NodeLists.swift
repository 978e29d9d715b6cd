import MartletCore
import MartletXML
import MartletXMPP

/// What somebody has at the nodes: his own subscriptions and affiliations (§5.6, §5.7), node by node, by pages of nodes (XEP-0059).
extension PubSubNodes {
    /// Of all addresses of who asks.
    func listOwnSubscriptions(
        _ name: String?, _ request: ResultSetRequest, _ actor: JID, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let page = try page(of: name, request) { !$0.subscriptions.of(actor.bare).isEmpty }
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { writer in
                writer.element("subscriptions", .pubsub, ["node": name]) { writer in
                    for node in page.names {
                        for subscription in nodes[OctetName(node)]?.subscriptions.of(actor.bare) ?? [] {
                            writer.subscription(subscription, subscription.state, node: node, .pubsub)
                        }
                    }
                }
                page.write(to: &writer)
            }
        }
    }

    func listOwnAffiliations(
        _ name: String?, _ request: ResultSetRequest, _ actor: JID, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let page = try page(of: name, request) { access(to: $0).affiliation(of: actor.bare) != .none }
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { writer in
                writer.element("affiliations", .pubsub, ["node": name]) { writer in
                    for case let node? in page.names.map({ nodes[OctetName($0)] }) {
                        writer.element("affiliation", .pubsub, ["node": node.name, "affiliation": access(to: node).affiliation(of: actor.bare).name])
                    }
                }
                page.write(to: &writer)
            }
        }
    }

    /// Of one node that must be there, or of all.
    private func page(
        of name: String?, _ request: ResultSetRequest, where isListed: (PubSubNode) -> Bool
    ) throws(PubSubError) -> NamePage {
        guard let name else { return NamePage(names(where: isListed), request, settings.pageEntriesMax) }
        return NamePage(isListed(try node(name)) ? [OctetName(name)] : [], request, settings.pageEntriesMax)
    }
}
