package import MartletXML
package import MartletXMPP
package import NIOCore

extension Namespace {
    package static let vCard: Namespace = "vcard-temp"
}

extension DocumentKey {
    /// Where an account's card is kept, which everybody may read (XEP-0054).
    package static let vCard = DocumentKey(namespace: "vcard-temp")
}

/// Parts of a card that can be searched in, and the account's own name. The bits are on disk.
package struct CardFields: OptionSet, Hashable, Sendable {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }

    package static let name = CardFields(rawValue: 1)
    package static let first = CardFields(rawValue: 2)
    package static let last = CardFields(rawValue: 4)
    package static let nick = CardFields(rawValue: 8)
    package static let email = CardFields(rawValue: 16)
    package static let organisation = CardFields(rawValue: 32)
    /// The localpart of the account's address.
    package static let localpart = CardFields(rawValue: 64)
    package static let all = CardFields(rawValue: 127)
}

/// What of an account's card a search finds and shows. What is not said is empty.
package struct PublicCard: Hashable, Sendable {
    /// Changes with what is read of cards, and how. What was read by other rules is read anew.
    package static let version: Int64 = 1
    /// Longest of the texts, in bytes; the rest of a longer one is left out.
    package static let textBytesMax = 256
    /// Most different words of a card; what comes after them is not found.
    package static let wordsMax = 64

    /// In one piece.
    package var name = ""
    package var first = ""
    package var last = ""
    package var nick = ""
    package var email = ""
    package var organisation = ""

    package init() {}

    /// Whether it says nothing.
    package var isEmpty: Bool { self == PublicCard() }

    /// Reads a card (XEP-0054). Of what is there several times, such as addresses for mail, the first counts.
    package init(_ card: ElementView) {
        name = Self.text(card.firstChild("FN", .vCard))
        let parts = card.firstChild("N", .vCard)
        first = Self.text(parts?.firstChild("GIVEN", .vCard))
        last = Self.text(parts?.firstChild("FAMILY", .vCard))
        nick = Self.text(card.firstChild("NICKNAME", .vCard))
        let mails = card.children.lazy.filter { $0.isNamed("EMAIL", .vCard) }.map { Self.text($0.firstChild("USERID", .vCard)) }
        email = mails.first { !$0.isEmpty } ?? ""
        let units = card.firstChild("ORG", .vCard)?.children.filter { $0.isNamed("ORGNAME", .vCard) || $0.isNamed("ORGUNIT", .vCard) } ?? []
        organisation = Self.cut(units.map { Self.text($0) }.filter { !$0.isEmpty }.joined(separator: ", "))
    }

    /// Reads a card as it is stored; `nil` if there is none, or if it is none.
    package init?(stored card: ByteBuffer?) {
        guard let card, let element = try? parseElement(card, limits: .ownWriting, defaultNamespace: .none), element.root.isNamed("vCard", .vCard) else {
            return nil
        }
        self.init(element.root)
    }

    private static func text(_ element: ElementView?) -> String {
        guard let element else { return "" }
        // In one line, whatever is in it.
        return cut(element.text.split(whereSeparator: \.isWhitespace).joined(separator: " "))
    }

    private static func cut(_ text: String) -> String {
        var bytes = 0
        return String(text.prefix { character in
            bytes += character.utf8.count
            return bytes <= textBytesMax
        })
    }

    /// What can be found of an account with this card, and where.
    ///
    /// Of a name that is said in one piece only, nobody knows which part is which: it is found as either.
    package func words(at localpart: String) -> [String: CardFields] {
        let nameFields: CardFields = first.isEmpty && last.isEmpty ? [.name, .first, .last] : .name
        var words: [String: CardFields] = [:]
        for (text, fields) in [
            (localpart, CardFields.localpart), (name, nameFields), (first, .first), (last, .last), (nick, .nick), (email, .email), (organisation, .organisation),
        ] {
            for word in SearchWords.words(text).sorted() where words[word] != nil || words.count < Self.wordsMax { words[word, default: []].formUnion(fields) }
        }
        return words
    }
}

/// Accounts of a domain that somebody searches for (XEP-0055).
package struct CardSearch: Hashable, Sendable {
    /// A word that begins one of these fields' words, as ``SearchWords`` makes them.
    package struct Term: Hashable, Sendable {
        package var word: String
        package var fields: CardFields
        package init(_ word: String, in fields: CardFields) {
            self.word = word
            self.fields = fields
        }
    }

    /// Most terms of one search.
    package static let termsMax = 8

    package var domain: String
    /// One at least; all of them are found in an account that is.
    package var terms: [Term]
    /// Who searches. Accounts that have blocked him are not there for him (XEP-0191).
    package var asker: JID
    /// Whether accounts are found whose cards say nothing.
    package var findsEmpty = false
    package var limit: Int

    package init(at domain: String, for terms: [Term], by asker: JID, limit: Int) {
        self.domain = domain
        self.terms = terms
        self.asker = asker
        self.limit = limit
    }

    /// What is on a block list that the asker is on (``BlockList``).
    package var names: [String] {
        var names = [asker.description, asker.bare.description, asker.bare.domainpart]
        if let resource = asker.resourcepart { names.append("\(asker.bare.domainpart)/\(resource)") }
        return names
    }

    /// Whether all terms are found in these words. Nothing is found without terms.
    package func finds(_ words: [String: CardFields]) -> Bool {
        !terms.isEmpty && terms.allSatisfy { term in words.contains { word, fields in !fields.isDisjoint(with: term.fields) && word.utf8.starts(with: term.word.utf8) } }
    }
}

/// An account that a search has found.
package struct FoundCard: Hashable, Sendable {
    package var address: BareJID
    package var card: PublicCard
    package init(_ address: BareJID, _ card: PublicCard) {
        self.address = address
        self.card = card
    }

    /// The order in which they are shown: as in a register of names.
    package func precedes(_ other: FoundCard) -> Bool {
        let (a, b) = (key, other.key)
        return a.elementsEqual(b) ? address.precedes(other.address) : a.lexicographicallyPrecedes(b)
    }

    private var key: [String] { [card.last, card.first, card.name].map { $0.lowercased() } }
}

/// Whom searches find. A store derives that from the cards that it keeps: each account that is enabled is found by its localpart, and by the words of
/// its card (``PublicCard/words(at:)``).
package protocol CardStore: Sendable {
    /// At most `limit` of those that are found, including whatever was submitted before the call; in no order, and which of more is not said.
    func cards(_ search: CardSearch) async throws(StoreError) -> [FoundCard]
}
