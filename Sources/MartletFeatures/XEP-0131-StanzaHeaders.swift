import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let headers: Namespace = "http://jabber.org/protocol/shim"
}

/// Headers of stanzas: those that others write pass as they are, and mean nothing to the server, which writes one itself. Who has subscribed to a node
/// by several addresses is told by which one an event comes (XEP-0060 §7.1.2.4).
enum SubscriptionHeaders {
    static let specification = Specification.xep(131, "Stanza Headers and Internet Metadata", version: "1.2", note: "written by nodes: SubID")
    private static let name = "SubID"

    /// Which headers there are (§2.2).
    static let info = DiscoInfo(identities: [], features: ["\(Namespace.headers.name)#\(name)"]).reply(node: Namespace.headers.name)

    /// - Parameter subscription: its identifier.
    static func write(_ subscription: String, to writer: inout XMLWriter) {
        writer.element("headers", .headers) { $0.element("header", .headers, ["name": name], text: subscription) }
    }
}
