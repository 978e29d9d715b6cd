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

    package func annotate(_ stanza: inout Stanza, _ route: borrowing Route) {
        stanza.omitChildren("delay", .delay, claiming: "from", of: route.account)
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
