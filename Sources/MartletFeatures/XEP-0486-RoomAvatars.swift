import MartletCore
package import MartletXML
import MartletXMPP
import NIOCore

extension Namespace {
    /// XEP-0153.
    package static let vCardUpdate: Namespace = "vcard-temp:x:update"
}

/// A room has a vCard like an account, with a picture. Whoever may look into the room may read it; owners set it.
///
/// The hash of the picture is in the room's information (§3.3), and in a presence from the room itself, as clients expect it that are older
/// than the XEP (§5.2).
enum RoomAvatars {
    static let specification = Specification.xep(486, "MUC Avatars", version: "0.1.0")
    static let namespaces: [Namespace] = [.vCard]
    /// Pictures in one card (§5.1).
    static let photosMax = 8

    /// The SHA-1 of each picture in a card (XEP-0153 §3.2), in hexadecimal digits. A picture that is only named by an address has none.
    ///
    /// Throws `bad-request` for what is no base64; line feeds in it are passed over.
    static func hashes(of card: ElementView) throws(StanzaError) -> [String] {
        var hashes: [String] = []
        for photo in card.children where photo.isNamed("PHOTO", .vCard) {
            guard let text = photo.firstChild("BINVAL", .vCard)?.text.utf8.filter({ !isSpace($0) }), !text.isEmpty else { continue }
            guard let bytes = Base64.decode(text) else { throw .badRequest("a picture is written in base64") }
            guard hashes.count < photosMax else { throw .policyViolation("a card may have \(photosMax) pictures") }
            hashes.append(hexadecimal(ScramHash.sha1.digest(bytes)))
        }
        return hashes
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}

extension Room {
    /// A card without content takes the picture away (§3.2).
    mutating func setCard(_ card: ElementView, by actor: RoomStanding, _ moment: RoomMoment, _ effects: inout RoomEffects) throws(StanzaError) {
        if let refusal = configuration.refusal(of: .configure, by: actor) { throw refusal }
        let limit = moment.limits.vCardBytesMax
        var writer = XMLWriter(contentNamespace: .none)
        writer.append(card)
        guard writer.buffer.readableBytes <= limit else { throw .policyViolation("a card may have \(limit) bytes") }
        let hashes = try RoomAvatars.hashes(of: card)
        let isEmpty = card.children.allSatisfy { _ in false }
        effects.writes.append(.document(id, VCardTemp.key, isEmpty ? nil : writer.buffer))
        if hashes != avatarHashes {
            avatarHashes = hashes
            store(&effects)
            tellAll(avatarPresence, &effects)
        }
        tellStatuses([RoomStatus.configurationChanged], &effects)
    }

    /// Says to who enters which picture the room has, if it has one.
    func tellAvatar(to session: RoomSession, _ effects: inout RoomEffects) {
        if !avatarHashes.isEmpty { effects.actions.append(.sendAll([avatarPresence], to: session)) }
    }

    private var avatarPresence: SharedStanza {
        let presence = StanzaBuilder.presence(.available, from: .bare(address), to: nil) { writer in
            writer.element("x", .vCardUpdate) { $0.element("photo", .vCardUpdate, text: avatarHashes.first ?? "") }
        }
        return SharedStanza(presence, kind: .presence(.available), from: .bare(address))
    }
}
