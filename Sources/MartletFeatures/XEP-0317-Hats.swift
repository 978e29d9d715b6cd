import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let hats: Namespace = "urn:xmpp:hats:0"
}

/// What somebody is in a room besides role and affiliation, such as a teacher. Administrators keep a list of hats and give them to accounts, by
/// commands (XEP-0050); whoever wears one shows it in every presence.
enum Hats {
    static let specification = Specification.xep(317, "Hats", version: "0.3.1")
    static let namespaces: [Namespace] = [.hats]
    static let formType = "urn:xmpp:hats:commands"

    /// Hats in the list of one room.
    static let countMax = 64
    /// Hats of one account.
    static let accountMax = 8
    /// Hats that are worn in one room, of all accounts together.
    static let wornMax = 512
    /// Of a title, and of a URI.
    static let textBytesMax = 255

    static let commands: [RoomCommand] = [
        RoomCommand("\(formType):create", "Create or change a hat", for: .manageHats) { call, room, effects throws(StanzaError) in
            guard let answer = call.answers.first else { return .ask(creationForm, isLast: true) }
            try room.put(try Hat(answer), &effects)
            return .done()
        },
        RoomCommand("\(formType):destroy", "Destroy a hat", for: .manageHats) { call, room, effects throws(StanzaError) in
            guard let answer = call.answers.first else { return .ask(room.form("Destroying a hat", [room.hatField]), isLast: true) }
            var fields = try FormSubmission(answer, type: formType)
            // The form of §3.3 has one name for the field, its submission another.
            let (submitted, listed) = (try fields.text("hats#uri"), try fields.text("hat"))
            guard let uri = submitted ?? listed else { throw .badRequest("which hat?") }
            try room.destroyHat(uri, &effects)
            return .done()
        },
        RoomCommand("\(formType):list", "List hats", for: .seeOccupants) { _, room, _ throws(StanzaError) in
            .done(list("Hats", ["hats#title", "hats#uri", "hats#hue"], room.hats.map { [$0.title, $0.uri, $0.hue] }))
        },
        RoomCommand("\(formType):assign", "Give somebody a hat", for: .manageHats) { call, room, effects throws(StanzaError) in
            guard let answer = call.answers.first else { return .ask(room.form("Giving somebody a hat", [jidField, room.hatField]), isLast: true) }
            let (account, uri) = try wearer(answer)
            try room.give(uri, to: account, call.moment.limits, &effects)
            return .done()
        },
        RoomCommand("\(formType):unassign", "Take a hat from somebody", for: .manageHats) { call, room, effects throws(StanzaError) in
            guard let answer = call.answers.first else { return .ask(room.form("Taking a hat from somebody", [jidField, room.hatField]), isLast: true) }
            let (account, uri) = try wearer(answer)
            try room.take(uri, from: account, &effects)
            return .done()
        },
        // Who wears what is a list of addresses.
        RoomCommand("\(formType):list-assigned", "List who wears which hat", for: .listAffiliation(.member)) { _, room, _ throws(StanzaError) in
            let worn = room.affiliations.wearers.sorted { $0.precedes($1) }.flatMap { address -> [[String?]] in
                room.hats(of: address.bare).map { [address.description, $0.uri, $0.title, $0.hue] }
            }
            return .done(list("Who wears which hat", ["hats#jid", "hats#uri", "hats#title", "hats#hue"], worn))
        },
    ]

    // MARK: Forms

    private static let creationForm: DataForm = {
        let title = DataForm.Field("hats#title", .textSingle).labeled("Title").required
        let uri = DataForm.Field("hats#uri", .textSingle).labeled("URI, which names the hat").required
        let hue = DataForm.Field("hats#hue", .textSingle).labeled("Colour, as an angle from 0 to 360")
        return RoomForm.request(formType, title: "Creating a hat", [title, uri, hue])
    }()

    fileprivate static var jidField: DataForm.Field { DataForm.Field("hats#jid", .jidSingle).labeled("Address").required }

    private static func wearer(_ answer: DataForm) throws(StanzaError) -> (BareJID, uri: String) {
        var fields = try FormSubmission(answer, type: formType)
        guard let address = try fields.address("hats#jid"), !address.bare.isDomain else { throw .badRequest("whose hat?") }
        guard let uri = try fields.text("hats#uri") else { throw .badRequest("which hat?") }
        return (address.bare, uri)
    }

    private static func list(_ title: String, _ names: [String], _ rows: [[String?]]) -> DataForm {
        let items = rows.map { row in zip(names, row).map { name, value in DataForm.Field(name, nil, value.map { [$0] } ?? []) } }
        return DataForm(.result, title: title, reported: names.map { DataForm.Field($0, nil) }, items: items)
    }
}

/// One of a room's list (§3.1).
package struct Hat: Hashable, Sendable {
    /// Which hat it is.
    package var uri: String
    package var title: String
    /// An angle in degrees (XEP-0392), as it was written.
    package var hue: String?

    package init(uri: String, title: String, hue: String? = nil) {
        self.uri = uri
        self.title = title
        self.hue = hue
    }

    /// Reads the submission of §3.2.
    init(_ answer: DataForm) throws(StanzaError) {
        var fields = try FormSubmission(answer, type: Hats.formType)
        guard let title = try fields.text("hats#title"), !title.isEmpty, let uri = try fields.text("hats#uri"), Self.isURI(uri) else {
            throw .badRequest("a hat has a title and a URI")
        }
        guard title.utf8.count <= Hats.textBytesMax, uri.utf8.count <= Hats.textBytesMax else {
            throw .notAcceptable("a title or URI may have \(Hats.textBytesMax) bytes")
        }
        let hue = try fields.text("hats#hue").flatMap { $0.isEmpty ? nil : $0 }
        if let hue, !Self.isHue(hue) { throw .badRequest("a hue is an angle from 0 to 360") }
        self.init(uri: uri, title: title, hue: hue)
    }

    private static func isURI(_ text: String) -> Bool {
        guard let first = text.utf8.first, (0x61...0x7A).contains(first | 0x20), let colon = text.firstIndex(of: ":") else { return false }
        return text.index(after: colon) < text.endIndex && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    private static func isHue(_ text: String) -> Bool {
        guard text.utf8.count <= 32, text.utf8.allSatisfy({ $0 == 0x2E || (0x30...0x39).contains($0) }), let angle = Double(text) else { return false }
        return (0...360).contains(angle)
    }
}

// MARK: In the room

extension Room {
    /// In the order in which they were given.
    func hats(of account: BareJID) -> [Hat] {
        guard !hats.isEmpty, let worn = affiliations[.bare(account)]?.details.hats, !worn.isEmpty else { return [] }
        return worn.compactMap { uri in hats.first { $0.uri == uri } }
    }

    /// Changes with the list (§2); `nil` where there is none.
    var hatsHash: String? {
        guard !hats.isEmpty else { return nil }
        // No part has a NUL, so that none runs into the next.
        let text = hats.map { "\($0.uri)\0\($0.title)\0\($0.hue ?? "")\0" }.sorted().joined()
        return RoomAvatars.hexadecimal(ScramHash.sha1.digest(Array(text.utf8)))
    }

    fileprivate func form(_ title: String, _ fields: [DataForm.Field]) -> DataForm { RoomForm.request(Hats.formType, title: title, fields) }

    fileprivate var hatField: DataForm.Field {
        var field = DataForm.Field("hats#uri", .listSingle).labeled("Hat").required
        field.options = hats.map { .init($0.uri, label: $0.title) }
        return field
    }

    /// §3.2.
    fileprivate mutating func put(_ hat: Hat, _ effects: inout RoomEffects) throws(StanzaError) {
        let index = hats.firstIndex { $0.uri == hat.uri }
        if let index, hats[index] == hat { return }
        guard index != nil || hats.count < Hats.countMax else { throw .resourceConstraint("a room may have \(Hats.countMax) hats") }
        if let index { hats[index] = hat } else { hats.append(hat) }
        store(&effects)
        tellStatuses([RoomStatus.configurationChanged], &effects)
        if index != nil { for account in affiliations.wearers(of: hat.uri) { show(account, &effects) } }
    }

    /// §3.3. Nobody wears it any more.
    fileprivate mutating func destroyHat(_ uri: String, _ effects: inout RoomEffects) throws(StanzaError) {
        guard let index = hats.firstIndex(where: { $0.uri == uri }) else { throw .itemNotFound("there is no such hat") }
        hats.remove(at: index)
        store(&effects)
        tellStatuses([RoomStatus.configurationChanged], &effects)
        for account in affiliations.wearers(of: uri) {
            setDetails(of: account, &effects) { $0.hats.removeAll { $0 == uri } }
            show(account, &effects)
        }
    }

    /// §3.5.
    fileprivate mutating func give(_ uri: String, to account: BareJID, _ limits: RoomLimits, _ effects: inout RoomEffects) throws(StanzaError) {
        guard hats.contains(where: { $0.uri == uri }) else { throw .itemNotFound("there is no such hat") }
        let entry = affiliations[.bare(account)]
        let worn = entry?.details.hats ?? []
        if worn.contains(uri) { return }
        if entry?.affiliation == .outcast { throw .notAllowed }
        guard worn.count < Hats.accountMax, affiliations.wornCount < Hats.wornMax, entry != nil || affiliations.count < limits.affiliationsMax else {
            throw .resourceConstraint("an account may wear \(Hats.accountMax) hats, all in a room \(Hats.wornMax)")
        }
        setDetails(of: account, &effects) { $0.hats.append(uri) }
        show(account, &effects)
    }

    /// §3.6.
    fileprivate mutating func take(_ uri: String, from account: BareJID, _ effects: inout RoomEffects) throws(StanzaError) {
        guard affiliations[.bare(account)]?.details.hats.contains(uri) == true else { throw .itemNotFound("the hat is not worn there") }
        setDetails(of: account, &effects) { $0.hats.removeAll { $0 == uri } }
        show(account, &effects)
    }

    /// Everybody sees what an account wears now, where it is in the room.
    private mutating func show(_ account: BareJID, _ effects: inout RoomEffects) {
        for key in occupants.keys(ofAccount: account) {
            occupants.update(key) { $0.forgetEncoded() }
            guard let occupant = occupants[key] else { continue }
            tell(of: occupant, .available, base: occupant.presence, isAnnounced: occupant.isAnnounced, &effects)
        }
    }
}

extension XMLWriter {
    /// §3.1; nothing if there are none.
    mutating func hats(_ hats: [Hat]) {
        guard !hats.isEmpty else { return }
        element("hats", .hats) { writer in
            for hat in hats { writer.element("hat", .hats, ["title": hat.title, "uri": hat.uri, "hue": hat.hue]) }
        }
    }
}

extension DataForm.Field {
    func labeled(_ label: String) -> Self {
        var field = self
        field.label = label
        return field
    }

    fileprivate var required: Self {
        var field = self
        field.isRequired = true
        return field
    }
}
