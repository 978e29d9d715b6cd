package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let delay: Namespace = "urn:xmpp:delay"
}

/// When the server took a message that it delivers late. A mark in the server's own name that comes from outside is taken off
/// (§5).
package struct DelayedDelivery: AnnotatingStage, DelayStage {
    package static let specification = Specification.xep(203, "Delayed Delivery", version: "2.0")
    package var disco: DiscoFeatures { DiscoFeatures(host: [.delay]) }
    package init() {}

    package func annotate(_ message: inout Stanza, _ route: borrowing Route) {
        let account = route.account
        message.omitChildren("delay", .delay, claiming: "from") { $0.bare == account || $0 == .bare(account.domain) }
    }

    package func annotate(_ presence: inout Stanza, of hosts: HostTable) {
        presence.omitChildren("delay", .delay, claiming: "from") { hosts.host(of: $0.bare) != nil }
    }

    package func delay(_ message: inout Stanza, by address: BareJID, since milliseconds: Int64) {
        message.add { writer in
            writer.emptyElement("delay", .delay) {
                $0.attribute("from", address)
                $0.attribute("stamp", DateTime.text(milliseconds: milliseconds))
            }
        }
    }
}
