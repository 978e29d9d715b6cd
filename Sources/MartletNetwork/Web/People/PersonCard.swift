import Crypto
import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore

/// What the white pages show of somebody's card (XEP-0054), which everybody may read. What is not said is empty.
package struct PersonCard: Hashable, Sendable {
    package var name = ""
    package var title = ""
    package var organisation = ""
    package var telephone = ""
    package var mail = ""
    package var photo: PersonPhoto?

    package init() {}

    /// Reads a card as it is stored; one that is none says nothing.
    package init(stored card: ByteBuffer?) {
        if let card, let element = try? parseElement(card, limits: .ownWriting, defaultNamespace: .none), element.root.isNamed("vCard", .vCard) {
            self.init(element.root)
        } else {
            self.init()
        }
    }

    private init(_ card: ElementView) {
        let found = PublicCard(card)
        name = found.shownName
        organisation = found.organisation
        mail = found.email
        title = ["TITLE", "ROLE"].lazy.map { ShownText.line(card.firstChild($0, .vCard)?.text ?? "") }.first { !$0.isEmpty } ?? ""
        telephone = Self.telephone(in: card)
        photo = card.firstChild("PHOTO", .vCard).flatMap { PersonPhoto($0) }
    }

    /// The first that somebody answers at work; else the first that somebody answers.
    private static func telephone(in card: ElementView) -> String {
        let numbers = card.children.filter { number in
            number.isNamed("TEL", .vCard) && !["FAX", "PAGER", "MODEM", "BBS"].contains { number.firstChild($0, .vCard) != nil }
        }
        let first = numbers.first { $0.firstChild("WORK", .vCard) != nil } ?? numbers.first
        return ShownText.line(first?.firstChild("NUMBER", .vCard)?.text ?? "")
    }
}

extension PublicCard {
    /// In one piece, or made of the parts.
    var shownName: String {
        if !name.isEmpty { return name }
        let parts = [first, last].filter { !$0.isEmpty }
        return parts.isEmpty ? nick : parts.joined(separator: " ")
    }
}

/// A picture in a card. Of kinds only in which nothing can act, whatever the card says that it is.
package struct PersonPhoto: Hashable, Sendable {
    package let type: String
    package let bytes: [UInt8]
    /// Names what is in it, in hexadecimal digits.
    package let digest: String

    /// Longest picture that is shown, in bytes.
    package static let bytesMax = 1 << 20

    init?(_ photo: ElementView) {
        guard let text = photo.firstChild("BINVAL", .vCard)?.text, text.utf8.count <= Self.bytesMax / 3 * 4 + Self.bytesMax / 8 else { return nil }
        guard let bytes = Base64.decode(text.filter { !$0.isWhitespace }) else { return nil }
        self.init(bytes)
    }

    package init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.bytesMax, let type = Self.type(of: bytes) else { return nil }
        self.type = type
        self.bytes = bytes
        digest = Self.hexadecimal(SHA256.hash(data: bytes).prefix(20))
    }

    private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }

    /// By the first bytes.
    private static func type(of bytes: [UInt8]) -> String? {
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) { return "image/jpeg" }
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return "image/png" }
        if bytes.starts(with: Array("GIF87a".utf8)) || bytes.starts(with: Array("GIF89a".utf8)) { return "image/gif" }
        if bytes.starts(with: Array("RIFF".utf8)), bytes.dropFirst(8).starts(with: Array("WEBP".utf8)) { return "image/webp" }
        return nil
    }
}

/// Where a photo is: `/people/photo/`, what is in it, a seal, and whose it is. What is under such a path never changes.
package struct PeoplePhotoPath: Hashable, Sendable {
    package static let prefix = "/people/photo/"

    package let localpart: String
    package let digest: String

    package init(localpart: String, digest: String) {
        self.localpart = localpart
        self.digest = digest
    }

    /// - Returns: with the seal, which is not looked at.
    package static func read(_ path: String) -> (photo: PeoplePhotoPath, seal: String)? {
        guard path.hasPrefix(prefix) else { return nil }
        let parts = path.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty }), let bytes = PercentEncoding.decoded(parts[2].utf8),
            let localpart = String(validating: bytes, as: UTF8.self)
        else { return nil }
        return (PeoplePhotoPath(localpart: localpart, digest: String(parts[0])), String(parts[1]))
    }

    package func path(sealed seal: String) -> String { "\(Self.prefix)\(digest)/\(seal)/\(PercentEncoding.encoded(localpart))" }
}
