package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let ping: Namespace = "urn:xmpp:ping"
}

/// The server answers pings to itself and, on behalf of every address, to accounts, whether there is such an account or not.
package struct Ping: IQResponder {
    package static let specification = Specification.xep(199, "XMPP Ping", version: "2.0.1")
    package let disco = DiscoFeatures.everywhere(.ping)
    package init() {}

    package var routes: [IQRoute] {
        [
            .immediate(.get, "ping", .ping, at: .host) { _, _ throws(StanzaError) in .empty },
            .immediate(.get, "ping", .ping, at: .account) { _, _ throws(StanzaError) in .empty },
        ]
    }
}
