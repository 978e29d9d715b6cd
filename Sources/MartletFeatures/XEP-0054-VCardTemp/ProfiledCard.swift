import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// A card of which a directory says a part (``Profile``): what of it is the directory's, and what is his whose card it is.
///
/// What his is is kept beside the card that everybody sees (``ProfileNote``), elements included that the directory takes the place of: they come back when it
/// says nothing of that kind any more. A profile that says nothing leaves him his card.
struct ProfiledCard: Sendable {
    private enum Authority { case directory, writable, preset, own }

    private let profile: Profile
    /// What the directory says, as far as it counts.
    private let elements: [Entry]

    private struct Entry: Sendable {
        let name: String
        /// `nil` for a picture of which only the digest is known.
        let element: ElementView?
        let statement: CardStatement

        init(_ element: ElementView) {
            name = element.localName
            self.element = element
            statement = CardStatement(element)
        }

        /// A picture.
        init(_ digest: String, _ picture: CardPicture?) {
            name = CardPicture.name
            element = picture.flatMap { $0.digest == digest ? $0.element : nil }
            statement = CardStatement(pictureDigest: digest)
        }
    }

    /// - Parameter picture: the one that the profile names (``Profile/picture``), if it is there.
    init(_ profile: Profile, _ picture: CardPicture? = nil) {
        self.profile = profile
        var bytes = 0
        elements = Self.entries(of: Self.parse(profile.card)).filter { entry in
            guard let element = entry.element else { return false }
            if entry.name == CardPicture.name { return profile.picture == nil && CardPicture(element)?.isFitForDirectories ?? false }
            bytes += element.byteRange.count
            return bytes <= Profile.textBytesMax && !entry.statement.isEmpty
        } + (profile.picture.map { [Entry($0, picture)] } ?? [])
    }

    static func parse(_ card: ByteBuffer?) -> ElementView? {
        guard let root = card.flatMap({ try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) })?.root, root.isNamed("vCard", .vCard) else { return nil }
        return root
    }

    /// Of other namespaces nothing counts.
    private static func entries(of card: ElementView?) -> [Entry] {
        card?.children.filter { $0.isIn(.vCard) }.map(Entry.init) ?? []
    }

    private func authority(over name: String) -> Authority {
        if profile.writable.contains(name) { return .writable }
        if profile.owned.contains(name) { return .directory }
        return profile.preset.contains(name) || elements.contains { $0.name == name } ? .preset : .own
    }

    /// Whether the directory alone says what there is of an element.
    func owns(_ name: String) -> Bool { authority(over: name) == .directory }
    func isWritable(_ name: String) -> Bool { authority(over: name) == .writable }
    /// Of the directory's picture.
    var pictureDigest: String? { profile.picture ?? elements.first { $0.name == CardPicture.name }?.element.flatMap { CardPicture($0)?.digest } }

    // MARK: What somebody wants it to be

    /// What the directory is to say otherwise if a card is to be this one. What the card says nothing of stays as it is: clients leave out what they do not
    /// know. An element without content takes back what was said.
    ///
    /// Throws `not-allowed` where it says something else than the directory does.
    func changes(in card: ElementView) throws(StanzaError) -> [ProfileChange] {
        var said: [String: [Entry]] = [:]
        var names: [String] = []
        for entry in Self.entries(of: card) {
            switch authority(over: entry.name) {
            case .own, .preset: continue
            case .directory:
                guard entry.statement.isEmpty || elements.contains(where: { $0.name == entry.name && entry.statement.saysNoMore(than: $0.statement) }) else {
                    throw Self.notAllowed(entry.name)
                }
            case .writable:
                if said[entry.name] == nil { names.append(entry.name) }
                said[entry.name, default: []].append(entry)
            }
        }
        var changes: [ProfileChange] = []
        for name in names { if let change = try change(of: name, to: said[name] ?? []) { changes.append(change) } }
        // What is longer would not be shown.
        guard Self.textBytes(of: changes) <= Profile.textBytesMax else { throw .policyViolation("the directory takes \(Profile.textBytesMax) bytes") }
        return changes
    }

    /// Pictures have a limit of their own.
    static func textBytes(of changes: [ProfileChange]) -> Int {
        changes.reduce(0) { bytes, change in change.name == CardPicture.name ? bytes : change.elements.reduce(bytes) { $0 + $1.readableBytes } }
    }

    static func notAllowed(_ name: String) -> StanzaError { StanzaError(.notAllowed, text: "\(name) is what the directory says") }

    private func change(of name: String, to said: [Entry]) throws(StanzaError) -> ProfileChange? {
        let (new, old) = (said.filter { !$0.statement.isEmpty }, elements.filter { $0.name == name })
        let isKnown = new.allSatisfy { entry in old.contains { entry.statement.isSame(as: $0.statement) } }
        if isKnown, old.allSatisfy({ entry in new.contains { $0.statement.isSame(as: entry.statement) } }) { return nil }
        guard new.count <= ProfileChange.elementsMax else { throw .policyViolation("there may be \(ProfileChange.elementsMax) of \(name)") }
        for entry in new where name == CardPicture.name {
            guard entry.element.flatMap({ CardPicture($0) })?.isFitForDirectories ?? false else {
                throw .notAcceptable("the directory takes pictures that are JPEG of at most \(Profile.pictureBytesMax) bytes")
            }
        }
        return ProfileChange(name, new.compactMap(\.element).map { element in
            var writer = XMLWriter(contentNamespace: .none)
            writer.append(element)
            return writer.buffer
        })
    }

    /// What of a card is his whose it is.
    ///
    /// - Parameter known: what was his before: what the directory takes the place of stays his.
    func own(in card: ElementView, besides known: ElementView?) -> ByteBuffer {
        let preset = namesSaidOtherwise(in: card)
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vCard", .vCard) { writer in
            for child in card.children {
                guard child.isIn(.vCard) else { writer.append(child); continue }
                switch authority(over: child.localName) {
                case .own: writer.append(child)
                case .preset: if preset.contains(child.localName), !CardStatement(child).isEmpty { writer.append(child) }
                case .directory, .writable: continue
                }
            }
            for entry in Self.entries(of: known) where owns(entry.name) || isWritable(entry.name) { if let element = entry.element { writer.append(element) } }
        }
        return writer.buffer
    }

    /// Of those that count unless he says something himself: where he does. A client sends all that it has read.
    private func namesSaidOtherwise(in card: ElementView) -> Set<String> {
        var said: [String: [CardStatement]] = [:]
        for entry in Self.entries(of: card) where !entry.statement.isEmpty && authority(over: entry.name) == .preset {
            said[entry.name, default: []].append(entry.statement)
        }
        return Set(said.filter { name, new in
            let old = elements.filter { $0.name == name }.map(\.statement)
            return !new.allSatisfy { one in old.contains { one.isSame(as: $0) } } || !old.allSatisfy { one in new.contains { $0.isSame(as: one) } }
        }.keys)
    }

    // MARK: What it is

    /// Of what the directory says, what is in the card.
    private func shown(besides own: ElementView?) -> [Entry] {
        let said = Set(Self.entries(of: own).filter { !$0.statement.isEmpty }.map(\.name))
        return elements.filter { authority(over: $0.name) != .preset || !said.contains($0.name) }
    }

    /// Whether the picture is to be in the card, and is not there.
    func lacksPicture(besides own: ElementView?) -> Bool { shown(besides: own).contains { $0.element == nil } }

    /// The card that everybody sees: what the directory says first.
    ///
    /// - Returns: `nil` if there is nothing in it.
    func card(with own: ElementView?) -> ByteBuffer? {
        let shown = shown(besides: own).compactMap(\.element)
        let rest = own?.children.filter { !$0.isIn(.vCard) || [.own, .preset].contains(authority(over: $0.localName)) } ?? []
        if shown.isEmpty, rest.isEmpty { return nil }
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vCard", .vCard) { writer in
            for element in shown { writer.append(element) }
            for child in rest { writer.append(child) }
        }
        return writer.buffer
    }
}

/// What an element of a card says, however it is written: clients write what they have read anew, leave out what they do not know, and lose marks.
struct CardStatement: Hashable, Sendable {
    /// Marks that make something else of a number or an address. What is not marked at all is the same as what is.
    private static let kinds: Set<String> = ["HOME", "WORK", "CELL", "FAX", "PAGER"]

    private var values: Set<String> = []
    private var marks: Set<String> = []

    init(_ element: ElementView) { read(element, at: "") }

    /// Of a `<PHOTO/>` with that picture.
    init(pictureDigest digest: String) { values = ["/BINVAL=\(digest)"] }

    private mutating func read(_ element: ElementView, at path: String) {
        let name = element.localName
        let value = Self.value(of: element, name)
        if !value.isEmpty { values.insert("\(path)=\(value)") }
        var hasChildren = false
        for child in element.children {
            hasChildren = true
            // Of what type a picture is it says itself.
            if !child.isNamed("TYPE", .vCard) { read(child, at: "\(path)/\(child.localName)") }
        }
        if !hasChildren, value.isEmpty, !path.isEmpty, Self.kinds.contains(name) { marks.insert(name) }
    }

    /// Numbers for telephones are written in many ways (RFC 3966 §3).
    private static func value(of element: ElementView, _ name: String) -> String {
        let text = element.text
        if name == "BINVAL" { return CardPicture.digest(ofDigits: CardPicture.digits(text)) }
        let words = text.split(whereSeparator: \.isWhitespace)
        return switch name {
        case "NUMBER": words.joined().filter { !"-.()".contains($0) }
        default: words.joined(separator: " ")
        }
    }

    var isEmpty: Bool { values.isEmpty }

    func isSame(as other: CardStatement) -> Bool { values == other.values && hasMarks(of: other) }
    /// Whether it is the other one, or a part of it.
    func saysNoMore(than other: CardStatement) -> Bool { values.isSubset(of: other.values) && hasMarks(of: other) }
    private func hasMarks(of other: CardStatement) -> Bool { marks.isEmpty || marks == other.marks }
}

/// A picture in a card.
struct CardPicture: Sendable {
    static let name = "PHOTO"
    let bytes: [UInt8]
    let element: ElementView

    /// - Parameter photo: of a card.
    init?(_ photo: ElementView) {
        guard let text = photo.firstChild("BINVAL", .vCard)?.text, let bytes = Base64.decode(Self.digits(text)), !bytes.isEmpty else { return nil }
        self.bytes = bytes
        element = photo
    }

    /// A picture as a directory has it.
    init?(jpeg bytes: [UInt8]) {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("PHOTO", .vCard) { writer in
            writer.element("TYPE", .vCard, text: "image/jpeg")
            writer.element("BINVAL", .vCard, text: Base64.encode(bytes))
        }
        guard let root = (try? parseElement(writer.buffer, limits: .ownWriting, defaultNamespace: .none))?.root else { return nil }
        self.init(root)
        guard isFitForDirectories else { return nil }
    }

    /// The one of a card that is named.
    init?(_ digest: String, in card: ElementView?) {
        let all = card?.children.filter { $0.isNamed("PHOTO", .vCard) }.lazy.compactMap { CardPicture($0) }
        guard let picture = all?.first(where: { $0.digest == digest }) else { return nil }
        self = picture
    }

    /// Of base64, without what it is folded with.
    static func digits(_ text: String) -> [UInt8] { text.utf8.filter { $0 > 0x20 } }

    /// What is no base64 stands for itself.
    static func digest(ofDigits digits: [UInt8]) -> String {
        guard !digits.isEmpty else { return "" }
        return Base64.decode(digits).map { RoomAvatars.hexadecimal(ScramHash.sha1.digest($0)) } ?? String(decoding: digits, as: UTF8.self)
    }

    /// The name of the picture where it is published (XEP-0084 §4.2), and in presence (XEP-0153).
    var digest: String { RoomAvatars.hexadecimal(ScramHash.sha1.digest(bytes)) }
    var isFitForDirectories: Bool { bytes.count <= Profile.pictureBytesMax && bytes.starts(with: [0xFF, 0xD8, 0xFF]) }
}

/// What is kept beside a card of which a directory says a part: what is his whose card it is, and of which profile the rest is.
struct ProfileNote {
    let digest: String
    let own: ElementView

    init?(_ document: ByteBuffer?) {
        guard let root = document.flatMap({ try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) })?.root,
            let digest = root.attribute("digest"), let own = root.firstChild("vCard", .vCard)
        else { return nil }
        self.digest = digest
        self.own = own
    }

    /// - Parameter own: a card.
    static func document(_ digest: String, _ own: ByteBuffer) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("profile", .profile, ["digest": digest]) { $0.raw(own) }
        return writer.buffer
    }
}

extension Profile {
    /// Changes with whatever the directory says, and with what of it is whose.
    var digest: String {
        var bytes = Array(card.readableBytesView)
        for names in [owned, preset, writable] { bytes += Array("\n\(names.sorted().joined(separator: " "))".utf8) }
        if let picture { bytes += Array("\n\(picture)".utf8) }
        return RoomAvatars.hexadecimal(ScramHash.sha1.digest(bytes))
    }
}

extension Namespace {
    fileprivate static let profile: Namespace = "urn:x-martlet:profile"
}
