import MartletCore
import MartletLDAP
import MartletXMPP

/// Presence as attributes of an entry: the object class `xmppPresentity` of ``MartletSchema``.
enum PresenceAttributes {
    static let objectClass = "xmppPresentity"

    /// In small letters, as ``AttributeDescription/type`` has them.
    static let types: Set<String> = [
        "xmpppresence", "xmppshow", "xmppstatus", "xmpppriority", "xmpplastactivity", "xmppidlesince", "xmppresource", "xmpppresencetext",
        "xmppactivity", "xmpplocation",
    ]
    /// Of which those who are not there have no value, or always the same.
    static let typesOfThoseOnline: Set<String> = ["xmpppriority", "xmppidlesince", "xmppresource", "xmppactivity", "xmpplocation"]

    static func isPresence(_ description: String) -> Bool { AttributeDescription(description).map { types.contains($0.type) } ?? false }

    static func attributes(of presence: PresenceSummary) -> [LDAPAttribute] {
        var attributes = [
            LDAPAttribute("xmppPresence", presence.isOnline ? "online" : "offline"), LDAPAttribute("xmppShow", presence.show.rawValue),
            LDAPAttribute("xmppPresenceText", presence.text),
        ]
        attributes += statuses(of: presence)
        if let priority = presence.priority { attributes.append(LDAPAttribute("xmppPriority", String(priority))) }
        if let since = presence.since { attributes.append(LDAPAttribute("xmppLastActivity", GeneralizedTime.text(milliseconds: since))) }
        if let idle = presence.idleSince { attributes.append(LDAPAttribute("xmppIdleSince", GeneralizedTime.text(milliseconds: idle))) }
        if !presence.resources.isEmpty { attributes.append(LDAPAttribute("xmppResource", strings: presence.resources.map(\.line))) }
        return attributes
    }

    /// One without a language, which every client understands: nearly all that write one say it for the whole of their stream. With several, each by its own
    /// as well (RFC 3866).
    private static func statuses(of presence: PresenceSummary) -> [LDAPAttribute] {
        guard let status = presence.statuses.first(where: { $0.language == nil }) ?? presence.statuses.first else { return [] }
        let tagged = presence.statuses.count < 2 ? [] : presence.statuses.compactMap { one in one.language.map { LDAPAttribute("xmppStatus;lang-\($0)", one.text) } }
        return [LDAPAttribute("xmppStatus", status.text)] + tagged
    }

    /// The line for people, among attributes of a presence.
    static func text(_ attributes: [LDAPAttribute]?) -> String? {
        attributes?.first { $0.description == "xmppPresenceText" }?.values.first.map { String(decoding: $0, as: UTF8.self) }
    }

    /// Where one can write to an account (RFC 5122).
    static func uri(of address: BareJID) -> String {
        let localpart = address.localpart.map { "\(PercentEncoding.encoded($0))@" } ?? ""
        return "xmpp:\(localpart)\(address.domainpart)?message"
    }
}

/// What of presence a search wants in the entries that it finds.
struct PresenceWanted: Hashable, Sendable {
    let selection: AttributeSelection
    let typesOnly: Bool
    let decorations: [FrontEndSettings.Decoration]
    /// The attribute with the account's address, if it is to be taken away again.
    let stripped: String?

    /// - Returns: `nil` if it wants none.
    init?(_ request: SearchRequest, _ settings: FrontEndSettings) {
        selection = AttributeSelection(request.attributes)
        decorations = settings.decorations.filter { [selection] in selection.names($0.attribute) }
        let wantsPresence =
            selection.names(class: PresenceAttributes.objectClass) || PresenceAttributes.types.contains { [selection] in selection.mayInclude(type: $0) }
        guard wantsPresence || !decorations.isEmpty else { return nil }
        typesOnly = request.typesOnly
        stripped = selection.includes(settings.addressAttribute) ? nil : settings.addressAttribute
    }

    /// The entry with what `presence` has to say, or without all that; and as the client has asked for it.
    func decorate(_ entry: LDAPEntry, of address: BareJID?, _ presence: PresenceSummary?) -> LDAPEntry {
        var entry = entry
        // What somebody has written there is not the presence of anybody.
        entry.attributes.removeAll { PresenceAttributes.isPresence($0.description) }
        if let presence {
            entry.attributes += PresenceAttributes.attributes(of: presence).filter { isWanted($0.description) }
            if selection.hasAllUserAttributes { addObjectClass(&entry) }
        }
        if let address { addDecorations(to: &entry, of: address, presenceText: presence?.text) }
        if let stripped { entry.attributes.removeAll { AttributeDescription($0.description)?.type == AttributeDescription(stripped)?.type } }
        if typesOnly { for index in entry.attributes.indices { entry.attributes[index].values = [] } }
        return entry
    }

    private func isWanted(_ description: String) -> Bool { selection.includes(description) || selection.names(class: PresenceAttributes.objectClass) }

    private func addObjectClass(_ entry: inout LDAPEntry) {
        let value = Array(PresenceAttributes.objectClass.utf8)
        guard let index = entry.attributes.firstIndex(where: { AttributeDescription($0.description)?.type == "objectclass" }) else { return }
        let isThere = entry.attributes[index].values.contains { String(decoding: $0, as: UTF8.self).lowercased() == PresenceAttributes.objectClass.lowercased() }
        if !isThere { entry.attributes[index].values.append(value) }
    }

    /// - Parameter presenceText: the line for people, if it may be seen.
    func addDecorations(to entry: inout LDAPEntry, of address: BareJID, presenceText: String?) {
        for decoration in decorations { add(decoration, to: &entry, of: address, presenceText) }
    }

    private func add(_ decoration: FrontEndSettings.Decoration, to entry: inout LDAPEntry, of address: BareJID, _ presenceText: String?) {
        guard let type = AttributeDescription(decoration.attribute)?.type,
            !entry.attributes.contains(where: { AttributeDescription($0.description)?.type == type })
        else { return }
        switch decoration.source {
        case .presenceText: if let presenceText { entry.attributes.append(LDAPAttribute(decoration.attribute, presenceText)) }
        case .xmppURI: entry.attributes.append(LDAPAttribute(decoration.attribute, PresenceAttributes.uri(of: address)))
        }
    }
}
