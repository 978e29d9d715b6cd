package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

extension Namespace {
    package static let avatarData: Namespace = "urn:xmpp:avatar:data"
    package static let avatarMetadata: Namespace = "urn:xmpp:avatar:metadata"
}

extension DocumentKey {
    /// The digest of the account's avatar, in hexadecimal digits, as its presence has it; empty if it has none any more.
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

    /// What presence says of an avatar that there is not (XEP-0153 §3.1), so that nobody goes on showing the one that was there.
    private static let none = ""

    // MARK: Presence (§5)

    /// Who says that he has none is believed.
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
    static func published(_ nodes: OwnNodes, _ account: AccountID, bytesMax: Int) async throws(StanzaError) {
        guard let metadata = try await nodes.items(of: Namespace.avatarMetadata.name).last,
            let element = try? parseElement(metadata.payload, limits: .ownWriting, defaultNamespace: .none)
        else { return }
        let infos = element.root.children.filter { $0.isNamed("info", .avatarMetadata) }
        if infos.isEmpty { return try await keep(nil, nodes, account, bytesMax: bytesMax) }
        guard let photo = try await openPhoto(of: infos, nodes) else { return }
        try await keep(photo, nodes, account, bytesMax: bytesMax)
    }

    struct Photo {
        let type: String
        let text: String
        let digest: String

        func write(to writer: inout XMLWriter) {
            writer.element("PHOTO", .vCard) { writer in
                writer.element("TYPE", .vCard, text: type)
                writer.element("BINVAL", .vCard, text: text)
            }
        }
    }

    /// The picture that the elements of a `<metadata/>` name, if it is published for everybody.
    static func openPhoto(of infos: [ElementView], _ nodes: OwnNodes) async throws(StanzaError) -> Photo? {
        guard let info = infos.first(where: { !$0.hasAttribute("url") }), let digest = info.attribute("id"),
            try await nodes.field("pubsub#access_model", of: Namespace.avatarData.name) == NodeConfiguration.AccessModel.open.rawValue,
            let item = try await nodes.item(digest, of: Namespace.avatarData.name), let text = text(ofData: item.payload),
            let picture = Base64.decode(text), hexadecimal(ScramHash.sha1.digest(picture)) == digest
        else { return nil }
        return Photo(type: info.attribute("type") ?? "image/png", text: text, digest: digest)
    }

    /// The picture that is published as data (XEP-0084 §4.2.1), in base64.
    static func text(ofData payload: ByteBuffer) -> String? {
        guard let data = try? parseElement(payload, limits: .ownWriting, defaultNamespace: .none), data.root.isNamed("data", .avatarData) else { return nil }
        return data.root.text.filter { !$0.isWhitespace }
    }

    /// A card that is set meanwhile stays as it is, but for its picture; if it has one of its own, that is the newer one, and is published.
    private static func keep(_ photo: Photo?, _ nodes: OwnNodes, _ account: AccountID, bytesMax: Int) async throws(StanzaError) {
        let mark = ByteBuffer(string: photo?.digest ?? none)
        for _ in 0..<CardConversions.attemptsMax {
            let old = try await nodes.document(VCardTemp.key)
            if nodes.owes(.temp, after: .avatar), let own = digest(ofStored: old), own != photo?.digest {
                if try await nodes.isCard(old) { return }
                continue
            }
            guard let new = try await nodes.profiled(card(old, with: photo), replacing: old, bytesMax: bytesMax) else { return }
            guard try await nodes.replaceCard(old, by: new.card, beside: [.document(account, .avatar, mark)] + new.beside) else { continue }
            note(mark, nodes.account, nodes.router)
            // Whoever has none of his own has the directory's again.
            if nodes.profile != nil, digest(ofStored: new.card) != photo?.digest { nodes.eventing.conversions.note(.temp, of: account, nodes, bytesMax: bytesMax) }
            return
        }
    }

    /// What was in the card besides stays as it was.
    private static func card(_ old: ByteBuffer?, with photo: Photo?) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vCard", .vCard) { writer in
            if let old, let element = try? parseElement(old, limits: .ownWriting, defaultNamespace: .none) {
                for child in element.root.children where !child.isNamed("PHOTO", .vCard) { writer.append(child) }
            }
            photo?.write(to: &writer)
        }
        return writer.buffer
    }

    private static func note(_ mark: ByteBuffer, _ account: BareJID, _ router: Router) {
        _ = router.withResidentHome(account) { $0.documents[.avatar] = mark }
    }

    // MARK: From the card to nodes (§4.2)

    /// Somebody has a new card, which is on disk: its picture is published, or that there is none any more. What he has published himself since stays.
    static func changed(_ card: ElementView, _ nodes: OwnNodes, _ account: AccountID) async throws(StanzaError) {
        let known = try await nodes.document(.avatar).map { String(buffer: $0) }
        let digest = digest(ofCard: card)
        guard digest ?? none != known ?? none else { return }
        do throws(StanzaError) {
            if let digest { try await publish(card, digest, nodes) } else { try await withdraw(known ?? none, nodes) }
        } catch {
            // What nodes refuse is the picture in the card all the same.
            if error.condition == .internalServerError { throw error }
        }
        let mark = ByteBuffer(string: digest ?? none)
        // Also if there is a newer card by now: its turn comes, and goes by what was put at the nodes.
        do throws(StoreError) { try await nodes.router.store.commit([.document(account, .avatar, mark)]) }
        catch { throw StanzaError(.internalServerError, .wait) }
        note(mark, nodes.account, nodes.router)
    }

    /// The card is for everybody to read, and so are these.
    private static func publish(_ card: ElementView, _ digest: String, _ nodes: OwnNodes) async throws(StanzaError) {
        guard let photo = card.firstChild("PHOTO", .vCard), let text = binary(of: card), let picture = Base64.decode(text) else { return }
        guard try await giveWay(nodes) else { return }
        let configuration = ["pubsub#access_model": NodeConfiguration.AccessModel.open.rawValue]
        var data = XMLWriter(contentNamespace: .none)
        data.element("data", .avatarData, text: text)
        try await nodes.publish(digest, data.buffer, at: Namespace.avatarData.name, configuration, unless: (.avatar, after: .temp))
        var metadata = XMLWriter(contentNamespace: .none)
        metadata.element("metadata", .avatarMetadata) { writer in
            let type = photo.firstChild("TYPE", .vCard)?.text ?? "image/png"
            writer.element("info", .avatarMetadata, ["bytes": String(picture.count), "id": digest, "type": type])
        }
        try await nodes.publish(digest, metadata.buffer, at: Namespace.avatarMetadata.name, configuration, unless: (.avatar, after: .temp))
    }

    /// Whether nodes take a picture for everybody. One that is there for few gives way to a directory's only where there may be none but the directory's, and is
    /// not shown to others by that.
    private static func giveWay(_ nodes: OwnNodes) async throws(StanzaError) -> Bool {
        guard let profile = nodes.profile else { return true }
        for node in [Namespace.avatarData.name, Namespace.avatarMetadata.name] {
            let model = try await nodes.field("pubsub#access_model", of: node)
            guard let model, model != NodeConfiguration.AccessModel.open.rawValue else { continue }
            guard ProfiledCard(profile).owns(CardPicture.name) else { return false }
            try await nodes.purge(node)
        }
        return true
    }

    /// There is no picture any more (XEP-0084 §4.2.3), nor the one that was in the card; another one that is published is not the card's affair.
    private static func withdraw(_ digest: String, _ nodes: OwnNodes) async throws(StanzaError) {
        guard let item = try await nodes.items(of: Namespace.avatarMetadata.name).last,
            let metadata = try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none),
            metadata.root.children.contains(where: { $0.isNamed("info", .avatarMetadata) && $0.attribute("id") == digest })
        else { return }
        var nothing = XMLWriter(contentNamespace: .none)
        nothing.element("metadata", .avatarMetadata)
        try await nodes.publish(item.name, nothing.buffer, at: Namespace.avatarMetadata.name, [:], unless: (.avatar, after: .temp))
        try await nodes.replace(.init(node: Namespace.avatarData.name, retracted: [digest]))
    }

    /// Of the picture in a card (XEP-0153 §3.1), if there is one.
    static func digest(ofCard card: ElementView) -> String? {
        binary(of: card).flatMap { Base64.decode($0) }.map { hexadecimal(ScramHash.sha1.digest($0)) }
    }

    private static func digest(ofStored card: ByteBuffer?) -> String? {
        card.flatMap { try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) }.flatMap { digest(ofCard: $0.root) }
    }

    /// The picture in base64, without what it is folded with.
    private static func binary(of card: ElementView) -> String? {
        let text = card.firstChild("PHOTO", .vCard)?.firstChild("BINVAL", .vCard)?.text.filter { !$0.isWhitespace }
        return text?.isEmpty == false ? text : nil
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }
}
