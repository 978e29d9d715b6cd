package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let occupantIDs: Namespace = "urn:xmpp:occupant-id:0"
}

/// An occupant's name in one room that stays the same whatever he calls himself, and says nothing about who he is elsewhere (§3).
package struct OccupantIDs: Sendable {
    package static let specification = Specification.xep(421, "Occupant identifiers for semi-anonymous MUCs", version: "1.0.1")
    private let secret: [UInt8]

    /// - Parameter secret: the same for as long as the server lives, and known to nobody.
    package init(secret: [UInt8]) { self.secret = secret }

    /// The HMAC of room and account under the server's secret; no part has a NUL, so that none runs into the next.
    package func id(of account: BareJID, in room: BareJID) -> String {
        let bytes = Array(room.description.utf8) + [0] + Array(account.description.utf8)
        return String(decoding: Base64.encodeToBytes(ScramHash.sha256.authenticationCode(bytes, key: secret)), as: UTF8.self)
    }

    package static func write(_ id: String, to writer: inout XMLWriter) {
        writer.element("occupant-id", .occupantIDs, ["id": id])
    }
}
