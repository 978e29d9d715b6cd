package import MartletCore
package import MartletXML
import MartletXMPP
package import NIOCore

extension Namespace {
    package static let vCard4: Namespace = "urn:ietf:params:xml:ns:vcard-4.0"
}

/// One card in two forms: vCard 4 in XML (RFC 6351), which is published at a node, and the older one of vcard-temp. What both can say is the same
/// in both (§11); what only one of them can say stays where it is. Pictures are another matter (XEP-0398).
package enum VCard4 {
    package static let specification = Specification.xep(292, "vCard4 Over XMPP", version: "0.12.0", note: "as a node, in step with vcard-temp")
    static let node = "urn:xmpp:vcard4"

    /// What is one text: its name in either form, and of what kind it is in vCard 4.
    private static let texts: [(temp: StaticString, card: StaticString, value: StaticString)] = [
        ("FN", "fn", "text"), ("URL", "url", "uri"), ("BDAY", "bday", "date"), ("TITLE", "title", "text"), ("ROLE", "role", "text"),
        ("DESC", "note", "text"),
    ]
    private static let nameParts: [(temp: StaticString, card: StaticString)] = [
        ("FAMILY", "surname"), ("GIVEN", "given"), ("MIDDLE", "additional"), ("PREFIX", "prefix"), ("SUFFIX", "suffix"),
    ]
    private static let addressParts: [(temp: StaticString, card: StaticString)] = [
        ("POBOX", "pobox"), ("EXTADD", "ext"), ("STREET", "street"), ("LOCALITY", "locality"), ("REGION", "region"), ("PCODE", "code"), ("CTRY", "country"),
    ]
    private static let types: [(temp: StaticString, card: StaticString)] = [
        ("HOME", "home"), ("WORK", "work"), ("VOICE", "voice"), ("FAX", "fax"), ("CELL", "cell"), ("VIDEO", "video"), ("PAGER", "pager"), ("MSG", "text"),
    ]
    private static let tempNames: [StaticString] = texts.map(\.temp) + ["NICKNAME", "N", "ADR", "TEL", "EMAIL", "ORG", "JABBERID", "NOTE"]
    private static let cardNames: [StaticString] = texts.map(\.card) + ["nickname", "n", "adr", "tel", "email", "org", "impp"]

    // MARK: To vCard 4

    /// - Parameter old: the card as it was, whose other properties stay.
    package static func card(of temp: ElementView, keeping old: ElementView?) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vcard", .vCard4) { writer in
            for text in texts { write(temp, text.temp, as: text.card, text.value, to: &writer) }
            write(temp, "NOTE", as: "note", "text", to: &writer)
            write(temp, "NICKNAME", as: "nickname", "text", to: &writer)
            for name in temp.all("N", .vCard) { write(name, nameParts, as: "n", to: &writer) }
            for address in temp.all("ADR", .vCard) { write(address, addressParts, as: "adr", to: &writer) }
            for phone in temp.all("TEL", .vCard) { write(phone: phone, to: &writer) }
            for mail in temp.all("EMAIL", .vCard) {
                guard let address = mail.value("USERID", .vCard) else { continue }
                writer.element("email", .vCard4) { writer in
                    writeTypes(of: mail, to: &writer)
                    writer.element("text", .vCard4, text: address)
                }
            }
            for chat in temp.all("JABBERID", .vCard) where !chat.text.isEmpty {
                writer.element("impp", .vCard4) { $0.element("uri", .vCard4, text: "xmpp:" + chat.text) }
            }
            for organisation in temp.all("ORG", .vCard) {
                let parts = (organisation.all("ORGNAME", .vCard) + organisation.all("ORGUNIT", .vCard)).map(\.text)
                guard parts.contains(where: { !$0.isEmpty }) else { continue }
                writer.element("org", .vCard4) { writer in for part in parts { writer.element("text", .vCard4, text: part) } }
            }
            if let old { for child in old.children where !cardNames.contains(where: { child.isNamed($0, .vCard4) }) { writer.append(child) } }
        }
        return writer.buffer
    }

    private static func write(_ temp: ElementView, _ name: StaticString, as card: StaticString, _ value: StaticString, to writer: inout XMLWriter) {
        for property in temp.all(name, .vCard) where !property.text.isEmpty {
            writer.element(card, .vCard4) { $0.element(value, .vCard4, text: property.text) }
        }
    }

    /// A structured property; one that says nothing is left out.
    private static func write(
        _ property: ElementView, _ parts: [(temp: StaticString, card: StaticString)], as card: StaticString, to writer: inout XMLWriter
    ) {
        guard parts.contains(where: { property.value($0.temp, .vCard) != nil }) else { return }
        writer.element(card, .vCard4) { writer in
            writeTypes(of: property, to: &writer)
            for part in parts { writer.element(part.card, .vCard4, text: property.value(part.temp, .vCard) ?? "") }
        }
    }

    /// A number that can be one is a `tel:` URI (RFC 3966).
    private static func write(phone: ElementView, to writer: inout XMLWriter) {
        guard let number = phone.value("NUMBER", .vCard) else { return }
        writer.element("tel", .vCard4) { writer in
            writeTypes(of: phone, to: &writer)
            let isNumber = number.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || "+-. ()".utf8.contains($0) }
            if isNumber {
                writer.element("uri", .vCard4, text: "tel:" + number.filter { $0 != "(" && $0 != ")" }.replacing(" ", with: "-"))
            } else {
                writer.element("text", .vCard4, text: number)
            }
        }
    }

    private static func writeTypes(of property: ElementView, to writer: inout XMLWriter) {
        let known = types.filter { property.hasChild($0.temp, .vCard) }
        let isPreferred = property.hasChild("PREF", .vCard)
        guard isPreferred || !known.isEmpty else { return }
        writer.element("parameters", .vCard4) { writer in
            if !known.isEmpty {
                writer.element("type", .vCard4) { writer in for type in known { writer.element("text", .vCard4, text: "\(type.card)") } }
            }
            if isPreferred { writer.element("pref", .vCard4) { $0.element("integer", .vCard4, text: "1") } }
        }
    }

    // MARK: To vcard-temp

    /// - Parameter old: the card as it was, whose other elements stay: its picture among them.
    package static func temp(of card: ElementView, keeping old: ElementView?) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vCard", .vCard) { writer in
            for text in texts { writeOlder(card, text.card, as: text.temp, to: &writer) }
            let nicknames = card.all("nickname", .vCard4).compactMap(\.cardValue).filter { !$0.isEmpty }
            if !nicknames.isEmpty { writer.element("NICKNAME", .vCard, text: nicknames.joined(separator: ",")) }
            for name in card.all("n", .vCard4) { writeOlder(name, nameParts, as: "N", to: &writer) }
            for address in card.all("adr", .vCard4) { writeOlder(address, addressParts, as: "ADR", to: &writer) }
            writeOlder(card, "tel", as: "TEL", "NUMBER", without: "tel:", to: &writer)
            writeOlder(card, "email", as: "EMAIL", "USERID", without: "mailto:", to: &writer)
            for chat in card.all("impp", .vCard4) {
                guard let uri = chat.cardValue, uri.hasPrefix("xmpp:") else { continue }
                writer.element("JABBERID", .vCard, text: String(uri.dropFirst(5)))
            }
            for organisation in card.all("org", .vCard4) {
                let parts = organisation.all("text", .vCard4).map(\.text)
                guard let name = parts.first else { continue }
                writer.element("ORG", .vCard) { writer in
                    writer.element("ORGNAME", .vCard, text: name)
                    for unit in parts.dropFirst() { writer.element("ORGUNIT", .vCard, text: unit) }
                }
            }
            if let old { for child in old.children where !tempNames.contains(where: { child.isNamed($0, .vCard) }) { writer.append(child) } }
        }
        return writer.buffer
    }

    /// The older form has each of them once: the first counts.
    private static func writeOlder(_ card: ElementView, _ name: StaticString, as temp: StaticString, to writer: inout XMLWriter) {
        guard let value = card.all(name, .vCard4).lazy.compactMap(\.cardValue).first(where: { !$0.isEmpty }) else { return }
        writer.element(temp, .vCard, text: value)
    }

    private static func writeOlder(
        _ property: ElementView, _ parts: [(temp: StaticString, card: StaticString)], as temp: StaticString, to writer: inout XMLWriter
    ) {
        writer.element(temp, .vCard) { writer in
            writeOlderTypes(of: property, to: &writer)
            for part in parts {
                if let value = property.value(part.card, .vCard4) { writer.element(part.temp, .vCard, text: value) }
            }
        }
    }

    private static func writeOlder(
        _ card: ElementView, _ name: StaticString, as temp: StaticString, _ value: StaticString, without prefix: String, to writer: inout XMLWriter
    ) {
        for property in card.all(name, .vCard4) {
            guard let text = property.cardValue, !text.isEmpty else { continue }
            writer.element(temp, .vCard) { writer in
                writeOlderTypes(of: property, to: &writer)
                writer.element(value, .vCard, text: text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text)
            }
        }
    }

    private static func writeOlderTypes(of property: ElementView, to writer: inout XMLWriter) {
        guard let parameters = property.firstChild("parameters", .vCard4) else { return }
        let said = parameters.firstChild("type", .vCard4)?.all("text", .vCard4).map { $0.text.lowercased() } ?? []
        for type in types where said.contains("\(type.card)") { writer.emptyElement(type.temp, .vCard) { _ in } }
        if parameters.hasChild("pref", .vCard4) { writer.emptyElement("PREF", .vCard) { _ in } }
    }
}

// MARK: In step

extension VCard4 {
    /// Somebody has published his card. Only what everybody may read becomes the older card, which everybody reads.
    /// If there is a newer one of the older form, that becomes the published one instead.
    static func published(_ nodes: OwnNodes, _ account: AccountID, bytesMax: Int) async throws(StanzaError) {
        if nodes.owes(.temp, after: .card) { return }
        guard try await nodes.field("pubsub#access_model", of: node) == NodeConfiguration.AccessModel.open.rawValue,
            let item = try await nodes.items(of: node).last,
            let card = try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none), card.root.isNamed("vcard", .vCard4)
        else { return }
        let old = try await nodes.document(VCardTemp.key)
        let temp = temp(of: card.root, keeping: old.flatMap { try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) }?.root)
        guard let new = try await nodes.profiled(temp, replacing: old, bytesMax: bytesMax), new.card != old else { return }
        _ = try await nodes.replaceCard(old, by: new.card, beside: new.beside)
    }

    /// Somebody has a new card of the older form. One that is published for few only is left as it is.
    static func changed(_ temp: ElementView, _ nodes: OwnNodes) async throws(StanzaError) {
        let model = try await nodes.field("pubsub#access_model", of: node)
        guard model == nil || model == NodeConfiguration.AccessModel.open.rawValue else { return }
        let old = try await nodes.items(of: node).last
        if old == nil, temp.firstChild == nil { return }
        let known = old.flatMap { try? parseElement($0.payload, limits: .ownWriting, defaultNamespace: .none) }
        let card = card(of: temp, keeping: known?.root)
        guard card != old?.payload else { return }
        let configuration = ["pubsub#access_model": NodeConfiguration.AccessModel.open.rawValue]
        try await nodes.publish(old?.name ?? "current", card, at: node, configuration, unless: (.card, after: .temp))
    }
}

extension OwnNodes {
    /// Whether a card that was read is the account's, also after what is on its way to the disk.
    func isCard(_ card: ByteBuffer?) async throws(StanzaError) -> Bool {
        do throws(StoreError) {
            try await router.store.commit([.unchanged(id, VCardTemp.key, card)])
            return true
        } catch .constraint {
            return false
        } catch {
            throw StanzaError(.internalServerError, .wait)
        }
    }

    /// Puts a card in the place of the one that was read.
    ///
    /// - Parameter beside: on disk in the same commit.
    /// - Returns: `false` if there is another one by now, which stays.
    func replaceCard(_ old: ByteBuffer?, by new: ByteBuffer, beside: [Write] = []) async throws(StanzaError) -> Bool {
        do throws(StoreError) {
            try await router.store.commit([.unchanged(id, VCardTemp.key, old), .document(id, VCardTemp.key, new)] + beside)
            return true
        } catch .constraint {
            return false
        } catch {
            throw StanzaError(.internalServerError, .wait)
        }
    }
}

extension ElementView {
    fileprivate func all(_ name: StaticString, _ namespace: Namespace) -> [ElementView] { children.filter { $0.isNamed(name, namespace) } }

    /// `nil` if it is not there, or says nothing.
    fileprivate func value(_ name: StaticString, _ namespace: Namespace) -> String? {
        firstChild(name, namespace).flatMap { $0.text.isEmpty ? nil : $0.text }
    }

    /// The value of a property of vCard 4, of whatever kind.
    fileprivate var cardValue: String? { children.first { !$0.isNamed("parameters", .vCard4) }?.text }
}
