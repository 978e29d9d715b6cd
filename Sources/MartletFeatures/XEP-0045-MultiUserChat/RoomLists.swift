import MartletCore
import MartletXMPP

/// Administrators and owners as fields of the form by which owners configure a room (§10.2, §15.5.3): each field is the whole list, and who is not
/// in it any more is a member. Long lists are not for forms (``RoomLimits/listedMax``), but for pages (§10.5, §10.8).
extension Room {
    private static let lists: [(name: String, affiliation: RoomAffiliation, label: String)] = [
        ("muc#roomconfig_roomadmins", .admin, "Administrators"), ("muc#roomconfig_roomowners", .owner, "Owners"),
    ]

    /// Whether both lists are short enough to be shown, and taken.
    private var hasShortLists: Bool { Self.lists.allSatisfy { affiliations.count(of: $0.affiliation) <= RoomLimits.listedMax } }

    var listFields: [DataForm.Field] {
        guard hasShortLists else { return [] }
        return Self.lists.map { list in
            DataForm.Field(list.name, .jidMulti, affiliations.all(list.affiliation).map(\.description)).labeled(list.label)
        }
    }

    /// What a submission makes of the lists that it has; whoever is in both is an owner. Checked as what is asked for by way of
    /// `muc#admin` (§10.3 to §10.7).
    func listChanges(_ form: DataForm, by actor: RoomStanding, _ limits: RoomLimits) throws(StanzaError) -> [RoomStandingChange] {
        guard hasShortLists else { return [] }
        var fields = try FormSubmission(form, type: RoomConfiguration.formType)
        var wanted: [JID: RoomAffiliation] = [:]
        for list in Self.lists where fields.has(list.name) {
            for address in affiliations.all(list.affiliation) where wanted[address] == nil { wanted[address] = .member }
            for address in try Self.addresses(try fields.texts(list.name)) { wanted[address] = list.affiliation }
        }
        let hasOwners = form.fields.contains { $0.name == "muc#roomconfig_roomowners" }
        var changes: [RoomStandingChange] = []
        for (address, affiliation) in wanted.sorted(by: { $0.key.precedes($1.key) }) {
            let old = affiliations.affiliation(of: address)
            guard affiliation != old, hasOwners || old != .owner else { continue }
            if let refusal = configuration.refusal(of: .setAffiliation(old, to: affiliation), by: actor) { throw refusal }
            changes.append(.affiliation(address, affiliation, nickname: nil, nil))
        }
        try checkAffiliationsFit(changes, limits)
        try checkOwnersRemain(after: changes)
        return changes
    }

    private static func addresses(_ texts: [String]) throws(StanzaError) -> [JID] {
        let texts = texts.filter { !$0.isEmpty }
        guard texts.count <= RoomLimits.listedMax else { throw .notAcceptable("a form has at most \(RoomLimits.listedMax) addresses in a list") }
        var addresses: [JID] = []
        for text in texts {
            guard let address = try? JID(text) else { throw .jidMalformed }
            guard !address.bare.isDomain else { throw .notAllowed }
            addresses.append(.bare(address.bare))
        }
        return addresses
    }
}

extension RoomLimits {
    /// Administrators, and owners, that the configuration form has.
    package static let listedMax = 100
}
