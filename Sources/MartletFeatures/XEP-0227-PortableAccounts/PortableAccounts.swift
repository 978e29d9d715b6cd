package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

extension Namespace {
    package static let portable: Namespace = "urn:xmpp:pie:0"
    package static let portableKeys: Namespace = "urn:xmpp:pie:0#scram"
    package static let portableArchive: Namespace = "urn:xmpp:pie:0#mam"
    package static let xInclude: Namespace = "http://www.w3.org/2001/XInclude"
    package static let privacyLists: Namespace = "jabber:iq:privacy"
    /// What an export says of an account that no specification has a word for.
    package static let accountState: Namespace = "urn:x-martlet:account"
}

/// Accounts as other servers read and write them: one document for any number of domains, accounts and messages, which is written and read part
/// by part (`martlet account export`, `martlet account import`).
///
/// Blocked addresses are a privacy list, which is what the format has for them (§4.7), and are read from there and as XEP-0191 has them. Besides
/// what the format has, exports say what the account wants archived (XEP-0441) and whether it is disabled. Documents that consist of several
/// files (§5) are not read, although the specification wants that: `include` is refused, as everything else that is elsewhere.
package enum PortableAccounts {
    package static let specification = Specification.xep(
        227, "Portable Import/Export Format for XMPP-IM Servers", version: "1.1", note: "one file; without XInclude")

    /// Longest piece of an account, such as a card, an item of a node or a message with what is around it, in bytes.
    package static let pieceBytesMax = 1 << 20
    /// What is read from a document at most: everything in it is bounded before memory grows.
    package static let limits = XMLLimits(stanzaBytesMax: pieceBytesMax, headerBytesMax: 65_536)

    /// Of the list that the blocked addresses are.
    static let blockListName = "blocklist"

    /// The keys of one mechanism (§4.3).
    package static func write(_ keys: ScramKeys, to writer: inout XMLWriter) {
        writer.element("scram-credentials", .portableKeys, ["mechanism": keys.hash.mechanismName]) { writer in
            writer.element("iter-count", .portableKeys, text: String(keys.iterations))
            writer.element("salt", .portableKeys, text: Base64.encode(keys.salt))
            writer.element("server-key", .portableKeys, text: Base64.encode(keys.serverKey))
            writer.element("stored-key", .portableKeys, text: Base64.encode(keys.storedKey))
        }
    }

    /// Throws where it is of a mechanism that is not known here, or of another strength than is accepted.
    package static func keys(_ element: ElementView) throws(ScramKeysError) -> ScramKeys {
        let name = element.attribute("mechanism") ?? ""
        guard let hash = ScramHash(mechanismName: name) else { throw .mechanism(name) }
        func text(_ local: StaticString) throws(ScramKeysError) -> String {
            guard let child = element.firstChild(local, .portableKeys) else { throw .format }
            return child.text.filter { !$0.isWhitespace }
        }
        func bytes(_ local: StaticString) throws(ScramKeysError) -> [UInt8] {
            guard let bytes = Base64.decode(try text(local)) else { throw .format }
            return bytes
        }
        guard let iterations = Int(try text("iter-count")) else { throw .format }
        return try ScramKeys(
            hash: hash, salt: try bytes("salt"), iterations: iterations, storedKey: try bytes("stored-key"), serverKey: try bytes("server-key"))
    }
}

/// One part of an account that is read by itself: a document that stands alone, and where in the account it was.
package struct PortablePiece: Hashable, Sendable, Codable {
    package enum Place: String, Hashable, Sendable, Codable {
        /// Directly in the account: a card, a request for a subscription, blocked addresses, preferences.
        case account
        case roster, privateStorage, nodeOwnership, nodeItems, archive, offlineMessages
    }

    package var place: Place
    /// Whose items, of `nodeItems`.
    package var node: String?
    package var xml: String
    /// Of a message in the archive: whether the account is still to take delivery of it.
    package var awaitsDelivery: Bool

    package init(_ place: Place, node: String? = nil, xml: String, awaitsDelivery: Bool = false) {
        self.place = place
        self.node = node
        self.xml = xml
        self.awaitsDelivery = awaitsDelivery
    }

    /// The element; throws only for what ``PortableReader`` has not made.
    package func element() throws(XMLError) -> FlatElement {
        try parseElement(ByteBuffer(string: xml), limits: .ownWriting, defaultNamespace: .none)
    }
}

/// What came of an import, or would come of it.
package struct PortableReport: Hashable, Sendable, Codable {
    /// Reasons that are counted one by one; what comes of others is counted under ``otherReasons``.
    package static let reasonsMax = 100
    package static let otherReasons = "other"

    /// By what it is, such as `contacts`.
    package private(set) var taken: [String: Int] = [:]
    /// By why it was left out.
    package private(set) var skipped: [String: Int] = [:]

    package init() {}

    package mutating func take(_ kind: String, _ count: Int = 1) {
        if count > 0 { taken[kind, default: 0] += count }
    }

    package mutating func skip(_ reason: String, _ count: Int = 1) {
        guard count > 0 else { return }
        let isCounted = skipped[reason] != nil || skipped.count < Self.reasonsMax
        skipped[isCounted ? reason : Self.otherReasons, default: 0] += count
    }

    package mutating func add(_ other: Self) {
        for (kind, count) in other.taken { take(kind, count) }
        for (reason, count) in other.skipped { skip(reason, count) }
    }
}
