package import MartletCore
package import MartletXMPP

/// What is asked of the white pages, behind the question mark. Pure.
package struct PeopleQuery: Hashable, Sendable {
    package enum Whom: Hashable, Sendable {
        case nobody
        /// As it was typed.
        case words(String)
        /// A letter from a to z with which a family name begins.
        case letter(String)
    }

    /// Longest text that is searched for, in bytes.
    package static let wordsBytesMax = 256
    /// People of one page.
    package static let pageSize = 25
    /// Most people that a search shows, on all its pages.
    package static let foundMax = 1_000

    package var whom: Whom
    /// From one.
    package var page: Int

    package init(_ whom: Whom = .nobody, page: Int = 1) {
        self.whom = whom
        self.page = page
    }

    /// - Parameter uri: what the request asks for.
    /// - Returns: `nil` for what no link and no form of ours makes.
    package init?(uri: String) {
        guard let fields = FormFields(uri.utf8.drop { $0 != UInt8(ascii: "?") }.dropFirst()) else { return nil }
        page = 1
        if let text = fields["page"] {
            guard let number = Int(text), (1...Self.foundMax / Self.pageSize).contains(number), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                return nil
            }
            page = number
        }
        let words = fields["q"] ?? ""
        guard words.utf8.count <= Self.wordsBytesMax else { return nil }
        guard let letter = fields["letter"] else {
            whom = words.allSatisfy(\.isWhitespace) ? .nobody : .words(words)
            return
        }
        guard letter.utf8.count == 1, let byte = letter.lowercased().utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) else { return nil }
        whom = .letter(letter.lowercased())
    }

    /// As a path, for a link.
    package var path: String {
        let page = page == 1 ? "" : "page=\(page)"
        let rest = page.isEmpty ? "" : "&" + page
        switch whom {
        case .nobody: return page.isEmpty ? PeoplePath.list : "\(PeoplePath.list)?\(page)"
        case .words(let words): return "\(PeoplePath.list)?q=\(PercentEncoding.encoded(words))\(rest)"
        case .letter(let letter): return "\(PeoplePath.list)?letter=\(letter)\(rest)"
        }
    }

    // MARK: The search

    /// What it is to a store; `nil` if there is nothing that could be found.
    ///
    /// - Parameter findsEmpty: whether accounts are found whose cards say nothing.
    package func search(at domain: String, by asker: JID, findsEmpty: Bool) -> CardSearch? {
        let terms: [CardSearch.Term]
        switch whom {
        case .nobody: return nil
        case .words(let words): terms = SearchWords.words(words).sorted().map { CardSearch.Term($0, in: .all) }
        // An account whose card says nothing has no other name than its own.
        case .letter(let letter): terms = [CardSearch.Term(letter, in: findsEmpty ? [.last, .localpart] : .last)]
        }
        guard (1...CardSearch.termsMax).contains(terms.count) else { return nil }
        var search = CardSearch(at: domain, for: terms, by: asker, limit: Self.foundMax + 1)
        search.findsEmpty = findsEmpty
        return search
    }

    /// Whether somebody whom ``search(at:by:findsEmpty:)`` has found is meant.
    package func means(_ found: FoundCard) -> Bool {
        guard case .letter(let letter) = whom, !found.card.isEmpty else { return true }
        return CardSearch(at: "", for: [CardSearch.Term(letter, in: .last)], by: JID.bare(found.address), limit: 0).finds(found.card.words(at: ""))
    }
}

/// Where the white pages are.
package enum PeoplePath {
    package static let list = "/people"
    package static let events = "/people/events"
    package static let login = "/people/login"
    package static let logout = "/people/logout"
    package static let script = "/people.js"
    package static let style = "/people.css"
}
