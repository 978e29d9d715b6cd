import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// What may be published where the card of an account is as well, if a directory says a part of it: the picture (XEP-0084) and the card (XEP-0292).
struct ProfiledNodes: Sendable {
    enum Place: Sendable {
        case data, metadata, card

        /// `nil` if the request changes no items of such a node.
        init?(_ request: PubSubRequest) {
            switch request {
            case .publish, .retract, .purge, .delete: break
            default: return nil
            }
            switch request.node {
            case Namespace.avatarData.name: self = .data
            case Namespace.avatarMetadata.name: self = .metadata
            case VCard4.node: self = .card
            default: return nil
            }
        }
    }

    /// Asks the directory.
    ///
    /// - Returns: the request that is to be carried out.
    typealias Question = @Sendable () async throws(StanzaError) -> PubSubRequest

    enum Review {
        case carry(PubSubRequest)
        case ask(Question)
    }

    let place: Place
    let source: any ProfileSource
    let card: ProfiledCard
    let profile: Profile
    let nodes: OwnNodes

    /// Throws `forbidden` for pictures other than the directory's, and `not-allowed` for a card that says something else than it does.
    func review(_ request: PubSubRequest) throws(StanzaError) -> Review {
        guard case .publish(let publication) = request else {
            guard place == .card ? profile.owned.subtracting(profile.writable).isEmpty : !card.owns(CardPicture.name) else {
                throw .forbidden("it is the directory's")
            }
            return .carry(request)
        }
        switch place {
        case .data: return try review(data: publication)
        case .metadata: return try review(metadata: publication)
        case .card: return try review(card: publication)
        }
    }

    // MARK: The picture

    private static let notThePicture = StanzaError.forbidden("the picture is the directory's")

    private func review(data publication: PubSubRequest.Publication) throws(StanzaError) -> Review {
        for item in publication.items where card.owns(CardPicture.name) {
            guard let digest = card.pictureDigest, let picture = AvatarConversion.text(ofData: item.payload).flatMap({ Base64.decode($0) }),
                RoomAvatars.hexadecimal(ScramHash.sha1.digest(picture)) == digest
            else { throw Self.notThePicture }
        }
        return .carry(.publish(publication))
    }

    private func review(metadata publication: PubSubRequest.Publication) throws(StanzaError) -> Review {
        if card.owns(CardPicture.name) {
            guard publication.items.allSatisfy({ names(ownPictureIn: Self.infos(of: $0)) }) else { throw Self.notThePicture }
        }
        guard card.isWritable(CardPicture.name), let item = publication.items.last else { return .carry(.publish(publication)) }
        return .ask { () async throws(StanzaError) in
            let changes = try await changes(for: Self.infos(of: item))
            if !changes.isEmpty { _ = try await source.change(nodes.account, changes) }
            return .publish(publication)
        }
    }

    /// The elements of a `<metadata/>` (XEP-0084 §4.2.2).
    private static func infos(of item: PubSubRequest.Publication.Item) -> [ElementView] {
        let metadata = try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none)
        return metadata?.root.children.filter { $0.isNamed("info", .avatarMetadata) } ?? []
    }

    private func names(ownPictureIn infos: [ElementView]) -> Bool {
        guard let digest = card.pictureDigest else { return infos.isEmpty }
        return !infos.isEmpty && infos.allSatisfy { $0.attribute("id") == digest && !$0.hasAttribute("url") }
    }

    /// Only a picture for everybody is the directory's affair, as it is the card's (XEP-0398 §8).
    private func changes(for infos: [ElementView]) async throws(StanzaError) -> [ProfileChange] {
        let photo = try await AvatarConversion.openPhoto(of: infos, nodes)
        guard photo != nil || infos.isEmpty else { return [] }
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vCard", .vCard) { writer in
            if let photo { photo.write(to: &writer) } else { writer.element("PHOTO", .vCard) }
        }
        return try ProfiledCard.parse(writer.buffer).map { root throws(StanzaError) in try card.changes(in: root) } ?? []
    }

    // MARK: The card

    private func review(card publication: PubSubRequest.Publication) throws(StanzaError) -> Review {
        var changes: [ProfileChange] = []
        for item in publication.items {
            guard let root = Self.root(of: item) else { continue }
            let saysPicture = root.children.contains { $0.isNamed("photo", .vCard4) && !CardStatement($0).isEmpty }
            if saysPicture, card.owns(CardPicture.name) || card.isWritable(CardPicture.name) { throw ProfiledCard.notAllowed("photo") }
            changes = try ProfiledCard.parse(VCard4.temp(of: root, keeping: nil)).map { temp throws(StanzaError) in try card.changes(in: temp) } ?? []
        }
        guard !changes.isEmpty else { return .carry(.publish(Self.merged(publication, profile))) }
        return .ask { [changes] () async throws(StanzaError) in
            let own = publication.options?.fields.first { $0.name == Self.accessModel }?.values.first
            let model = if let own { own } else { try await nodes.field(Self.accessModel, of: publication.node) ?? "" }
            // A card for few is no affair of the directory's.
            guard model == NodeConfiguration.AccessModel.open.rawValue else { return .publish(publication) }
            return .publish(Self.merged(publication, try await source.change(nodes.account, changes)))
        }
    }

    private static let accessModel = "pubsub#access_model"

    private static func root(of item: PubSubRequest.Publication.Item) -> ElementView? {
        guard let root = (try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none))?.root, root.isNamed("vcard", .vCard4) else { return nil }
        return root
    }

    /// With what the directory says besides.
    private static func merged(_ publication: PubSubRequest.Publication, _ profile: Profile) -> PubSubRequest.Publication {
        var publication = publication
        for index in publication.items.indices {
            guard let root = root(of: publication.items[index]), let temp = ProfiledCard.parse(VCard4.temp(of: root, keeping: nil)),
                let card = ProfiledCard.parse(KeptCard(profile, ProfiledCard(profile).own(in: temp, besides: nil)).card)
            else { continue }
            publication.items[index].payload = VCard4.card(of: card, keeping: root)
        }
        return publication
    }
}
