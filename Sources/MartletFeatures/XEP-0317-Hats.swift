package import MartletXML
import NIOCore

extension Namespace {
    package static let hats: Namespace = "urn:xmpp:hats:0"
}

extension XMLWriter {
    /// What somebody is besides role and affiliation, if he is anything.
    ///
    /// - Parameter details: `<hats/>` as it is stored.
    mutating func hats(of details: ByteBuffer?) {
        guard let details, details.readableBytes > 0 else { return }
        raw(details)
    }
}
