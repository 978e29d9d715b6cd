package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

extension Namespace {
    package static let avatarData: Namespace = "urn:xmpp:avatar:data"
    package static let avatarMetadata: Namespace = "urn:xmpp:avatar:metadata"
}

extension DocumentKey {
    /// The digest of the account's avatar, in hexadecimal digits, as its presence has it.
    static let avatar = DocumentKey.avatarDigest
}

/// An avatar is the same one for clients that know it as nodes (XEP-0084) and for those that know it as part of the card (XEP-0153): what is
/// published at one place is put at the other as well, and its digest is in every presence.
package struct AvatarConversion: PresentingStage {
    package static let specification = Specification.xep(398, "User Avatar to vCard-Based Avatars Conversion", version: "1.0.1")
    package let disco: DiscoFeatures
    package init() {
        var disco = DiscoFeatures()
        disco.accountNames = ["urn:xmpp:pep-vcard-conversion:0"]
        self.disco = disco
    }

    // MARK: Presence (§5)

    /// Who says that he has none, or does not know yet, is believed.
    package func present(_ presence: inout Stanza, _ home: AccountHome) {
        guard let digest = home.documents[.avatar].map({ String(buffer: $0) }) else { return }
        if let photo = presence.element.root.firstChild("x", .vCardUpdate)?.firstChild("photo", .vCardUpdate) {
            let said = photo.text
            if said.isEmpty || said == digest { return }
        }
        presence.omitChildren("x", .vCardUpdate)
        presence.add { writer in
            writer.element("x", .vCardUpdate) { $0.element("photo", .vCardUpdate, text: digest) }
        }
    }

    // MARK: From nodes to the card (§4.1)

    /// Somebody has published what his avatar is. Only what everybody may see goes into the card, which everybody sees (§8).
    static func published(_ nodes: OwnNodes, _ account: AccountID, bytesMax: Int) async {
        guard let metadata = try? await nodes.items(of: Namespace.avatarMetadata.name).last,
            let element = try? parseElement(metadata.payload, limits: .ownWriting, defaultNamespace: .none)
        else { return }
        let infos = element.root.children.filter { $0.isNamed("info", .avatarMetadata) }
        if infos.isEmpty { return await keep(nil, as: nil, nodes, account, bytesMax: bytesMax) }
        guard let info = infos.first(where: { !$0.hasAttribute("url") }), let digest = info.attribute("id"),
            (try? await nodes.field("pubsub#access_model", of: Namespace.avatarData.name)) == NodeConfiguration.AccessModel.open.rawValue,
            let item = try? await nodes.item(digest, of: Namespace.avatarData.name),
            let data = try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none), data.root.isNamed("data", .avatarData)
        else { return }
        let text = data.root.text.filter { !$0.isWhitespace }
        guard let picture = Base64.decode(text), hexadecimal(ScramHash.sha1.digest(picture)) == digest else { return }
        await keep(Photo(type: info.attribute("type") ?? "image/png", text: text), as: digest, nodes, account, bytesMax: bytesMax)
    }

    private struct Photo {
        let type: String
        let text: String
    }

    private static func keep(_ photo: Photo?, as digest: String?, _ nodes: OwnNodes, _ account: AccountID, bytesMax: Int) async {
        let store = nodes.router.store
        let old: ByteBuffer?
        do throws(StoreError) { old = try await store.document(account, VCardTemp.key) } catch { return }
        let card = card(old, with: photo)
        guard card.readableBytes <= bytesMax else { return }
        let mark = digest.map { ByteBuffer(string: $0) }
        guard (try? await store.commit([.document(account, VCardTemp.key, card), .document(account, .avatar, mark)])) != nil else { return }
        note(mark, nodes.account, nodes.router)
    }

    /// What was in the card besides stays as it was.
    private static func card(_ old: ByteBuffer?, with photo: Photo?) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vCard", .vCard) { writer in
            if let old, let element = try? parseElement(old, limits: .ownWriting, defaultNamespace: .none) {
                for child in element.root.children where !child.isNamed("PHOTO", .vCard) { writer.append(child) }
            }
            guard let photo else { return }
            writer.element("PHOTO", .vCard) { writer in
                writer.element("TYPE", .vCard, text: photo.type)
                writer.element("BINVAL", .vCard, text: photo.text)
            }
        }
        return writer.buffer
    }

    private static func note(_ mark: ByteBuffer?, _ account: BareJID, _ router: Router) {
        _ = router.withResidentHome(account) { $0.documents[.avatar] = mark }
    }

    // MARK: From the card to nodes (§4.2)

    /// Somebody has a new card, which is on disk.
    static func changed(_ card: ElementView, _ nodes: OwnNodes, _ account: AccountID) async {
        guard let photo = card.firstChild("PHOTO", .vCard), let binary = photo.firstChild("BINVAL", .vCard) else { return }
        let text = binary.text.filter { !$0.isWhitespace }
        guard !text.isEmpty, let picture = Base64.decode(text) else { return }
        let digest = hexadecimal(ScramHash.sha1.digest(picture))
        if let known = try? await nodes.router.store.document(account, .avatar), String(buffer: known) == digest { return }
        let type = photo.firstChild("TYPE", .vCard)?.text ?? "image/png"
        let isPublished: Void? = try? await publish(text, byteCount: picture.count, type, digest, nodes)
        let mark = ByteBuffer(string: digest)
        guard isPublished != nil, (try? await nodes.router.store.commit([.document(account, .avatar, mark)])) != nil else { return }
        note(mark, nodes.account, nodes.router)
    }

    /// The card is for everybody to read, and so are these.
    private static func publish(_ text: String, byteCount: Int, _ type: String, _ digest: String, _ nodes: OwnNodes) async throws(StanzaError) {
        let configuration = ["pubsub#access_model": NodeConfiguration.AccessModel.open.rawValue]
        var data = XMLWriter(contentNamespace: .none)
        data.element("data", .avatarData, text: text)
        try await nodes.publish(digest, data.buffer, at: Namespace.avatarData.name, configuration)
        var metadata = XMLWriter(contentNamespace: .none)
        metadata.element("metadata", .avatarMetadata) { writer in
            writer.element("info", .avatarMetadata, ["bytes": String(byteCount), "id": digest, "type": type])
        }
        try await nodes.publish(digest, metadata.buffer, at: Namespace.avatarMetadata.name, configuration)
    }

    /// Of the picture in a card (XEP-0153 §3.1), if there is one.
    static func digest(ofCard card: ElementView) -> String? {
        guard let text = card.firstChild("PHOTO", .vCard)?.firstChild("BINVAL", .vCard)?.text.filter({ !$0.isWhitespace }), !text.isEmpty,
            let picture = Base64.decode(text)
        else { return nil }
        return hexadecimal(ScramHash.sha1.digest(picture))
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }
}
