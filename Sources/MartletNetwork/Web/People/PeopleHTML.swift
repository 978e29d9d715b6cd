import MartletCore
package import MartletXMPP

/// Somebody in the white pages.
package struct Person: Hashable, Sendable {
    package var address: BareJID
    package var card: PersonCard
    /// Where the photo is, if there is one.
    package var photo: String?
    /// `nil` if the viewer may see nothing of it.
    package var presence: PersonPresence?

    package init(_ address: BareJID, _ card: PersonCard, photo: String? = nil, presence: PersonPresence? = nil) {
        self.address = address
        self.card = card
        self.photo = photo
        self.presence = presence
    }

    /// What they are called here.
    var name: String {
        let name = ShownText.line(card.name)
        return name.isEmpty ? ShownText.line(address.localpart ?? "") : name
    }
}

/// One page of those who were found.
package struct PeopleList: Hashable, Sendable {
    package var people: [Person]
    package var pageCount: Int
    /// Whether there are more than are shown on all pages.
    package var isCut: Bool

    package init(_ people: [Person], pageCount: Int = 1, isCut: Bool = false) {
        self.people = people
        self.pageCount = pageCount
        self.isCut = isCut
    }
}

/// Who looks at the white pages.
package enum PeopleViewer: Hashable, Sendable {
    case anonymous
    case account(BareJID, formToken: String)

    package var account: BareJID? {
        switch self {
        case .anonymous: nil
        case .account(let account, _): account
        }
    }
}

/// The white pages as documents. Pure: whatever people say of themselves is text in them, and nothing else.
package enum PeopleHTML {
    /// Nothing but the server's own is loaded and runs, and forms go nowhere else.
    package static let policy = """
        default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
        frame-ancestors 'none'
        """

    // MARK: People

    /// - Parameter list: `nil` if nobody was searched for.
    package static func people(at domain: BareJID, _ query: PeopleQuery, _ list: PeopleList?, for viewer: PeopleViewer) -> String {
        let title = "People at \(ShownText.line(domain.domainpart))"
        var content = account(viewer) + search(query)
        if let list { content += list.people.isEmpty ? nobody : table(list) + pages(query, list) }
        // Nobody's presence is told to whoever has not said who he is.
        return page(title, content, hasScript: viewer.account != nil && !(list?.people.isEmpty ?? true))
    }

    private static let nobody = "<p role=\"status\">Nobody was found.</p>\n"

    private static func search(_ query: PeopleQuery) -> String {
        var words = ""
        if case .words(let text) = query.whom { words = text }
        let letters = "abcdefghijklmnopqrstuvwxyz".map { letter in
            let isCurrent = query.whom == .letter(String(letter))
            return "<a href=\"\(PeopleQuery(.letter(String(letter))).path)\"\(isCurrent ? " aria-current=\"page\"" : "")>\(letter.uppercased())</a>"
        }
        return """
            <form role="search" method="get" action="\(PeoplePath.list)">
            <label for="q">Name, or part of one</label>
            <input id="q" name="q" type="search" maxlength="100" autocomplete="off" value="\(escaped(ShownText.line(words)))">
            <button>Search</button>
            </form>
            <nav class="letters" aria-label="By the first letter of the family name">\(letters.joined(separator: "\n"))</nav>

            """
    }

    /// With roles, because on narrow screens it is laid out as none, which some browsers take for none.
    private static func table(_ list: PeopleList) -> String {
        let more = list.isCut ? "<p role=\"status\">There are more than can be shown. Give more of the name.</p>\n" : ""
        let columns = ["<span class=\"unseen\">Photo</span>", "Name", "Title", "Telephone", "Mail", "Presence", "Chat"]
        let heads = columns.map { "<th scope=\"col\" role=\"columnheader\">\($0)</th>" }.joined()
        return more + """
            <p id="news" class="unseen" role="status" aria-live="polite"></p>
            <table role="table">
            <thead role="rowgroup"><tr role="row">\(heads)</tr></thead>
            <tbody role="rowgroup">
            \(list.people.map(row).joined(separator: "\n"))
            </tbody>
            </table>

            """
    }

    private static func row(_ person: Person) -> String {
        let name = escaped(person.name)
        let photo = person.photo.map { "<img src=\"\(escaped($0))\" alt=\"\" width=\"48\" height=\"48\" loading=\"lazy\">" } ?? ""
        let organisation = ShownText.line(person.card.organisation)
        let place = organisation.isEmpty ? "" : "<br><small><bdi>\(escaped(organisation))</bdi></small>"
        return """
            <tr role="row" data-id="\(escaped(person.address.localpart ?? ""))">
            <td role="cell" class="photo">\(photo)</td>
            <th scope="row" role="rowheader"><bdi>\(name)</bdi>\(place)</th>
            \(cell("Title", "<bdi>\(escaped(ShownText.line(person.card.title)))</bdi>", isEmpty: person.card.title.isEmpty))
            \(cell("Telephone", telephone(person.card.telephone), isEmpty: person.card.telephone.isEmpty))
            \(cell("Mail", mail(person.card.mail), isEmpty: person.card.mail.isEmpty))
            <td role="cell" data-label="Presence">\(presence(person.presence))</td>
            <td role="cell" data-label="Chat"><a href="\(escaped(chat(with: person.address)))">Chat<span class="unseen"> with \(name)</span></a></td>
            </tr>
            """
    }

    private static func cell(_ label: String, _ content: String, isEmpty: Bool) -> String {
        isEmpty ? "<td role=\"cell\" class=\"empty\"></td>" : "<td role=\"cell\" data-label=\"\(label)\">\(content)</td>"
    }

    private static func presence(_ presence: PersonPresence?) -> String {
        let (show, text) = (presence?.show.rawValue ?? "unknown", ShownText.line(presence?.text ?? ""))
        return "<span class=\"presence \(show)\"><span class=\"dot\" aria-hidden=\"true\"></span><bdi class=\"text\">\(escaped(text))</bdi></span>"
    }

    /// RFC 3966; what has no digits is no number to call.
    private static func telephone(_ text: String) -> String {
        let shown = "<bdi>\(escaped(ShownText.line(text)))</bdi>"
        let number = text.unicodeScalars.filter { ("0"..."9").contains($0) || $0 == "+" }.prefix(32).enumerated().filter { $0.offset == 0 || $0.element != "+" }
        let digits = String(String.UnicodeScalarView(number.map(\.element)))
        return digits.contains(where: \.isNumber) ? "<a href=\"tel:\(digits)\">\(shown)</a>" : shown
    }

    /// RFC 6068; only what looks like an address leads anywhere.
    private static func mail(_ text: String) -> String {
        let shown = "<bdi>\(escaped(ShownText.line(text)))</bdi>"
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }), text.utf8.count <= 254, ShownText.line(text) == text, !text.contains(" ") else { return shown }
        return "<a href=\"mailto:\(PercentEncoding.encoded(String(parts[0])))@\(PercentEncoding.encoded(String(parts[1])))\">\(shown)</a>"
    }

    /// RFC 5122 §2.2, with the action of XEP-0147.
    static func chat(with address: BareJID) -> String {
        "xmpp:\(address.localpart.map { PercentEncoding.encoded($0) + "@" } ?? "")\(address.asciiDomainpart)?message"
    }

    private static func pages(_ query: PeopleQuery, _ list: PeopleList) -> String {
        guard list.pageCount > 1 else { return "" }
        func link(_ page: Int, _ text: String, _ relation: String) -> String {
            guard (1...list.pageCount).contains(page) else { return "" }
            return "<a rel=\"\(relation)\" href=\"\(escaped(PeopleQuery(query.whom, page: page).path))\">\(text)</a>\n"
        }
        return """
            <nav class="pages" aria-label="Pages">
            \(link(query.page - 1, "Previous", "prev"))Page \(query.page) of \(list.pageCount)
            \(link(query.page + 1, "Next", "next"))</nav>

            """
    }

    // MARK: Who looks

    private static func account(_ viewer: PeopleViewer) -> String {
        switch viewer {
        case .anonymous: "<p class=\"account\"><a href=\"\(PeoplePath.login)\">Log in</a></p>\n"
        case .account(let account, let formToken):
            """
            <form class="account" method="post" action="\(PeoplePath.logout)"><bdi>\(escaped(ShownText.line(account.description)))</bdi>
            <input type="hidden" name="form" value="\(escaped(formToken))"><button>Log out</button></form>

            """
        }
    }

    /// - Parameters:
    ///   - formToken: what the browser has in a cookie as well.
    ///   - name: as it was typed.
    ///   - problem: why it was not taken.
    package static func login(at domain: BareJID, formToken: String, name: String = "", problem: String? = nil) -> String {
        let said = problem.map { "<p class=\"problem\" role=\"alert\">\(escaped($0))</p>\n" } ?? ""
        let place = escaped(ShownText.line(domain.domainpart))
        let content = """
            <p>Log in with your account at \(place) to look for people.</p>
            \(said)<form method="post" action="\(PeoplePath.login)">
            <input type="hidden" name="form" value="\(escaped(formToken))">
            <label>Name <span><input name="username" value="\(escaped(ShownText.line(name)))" required autocomplete="username" \
            autocapitalize="none" spellcheck="false"> @\(place)</span></label>
            <label>Password <input type="password" name="password" required autocomplete="current-password"></label>
            <button>Log in</button>
            </form>

            """
        return page("People at \(ShownText.line(domain.domainpart))", content)
    }

    package static func message(_ title: String, _ text: String) -> String { page(title, "<p>\(escaped(text))</p>\n") }

    private static func page(_ title: String, _ content: String, hasScript: Bool = false) -> String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
        <title>\(escaped(title))</title><link rel="stylesheet" href="\(PeoplePath.style)">\
        \(hasScript ? "<script src=\"\(PeoplePath.script)\" defer></script>" : "")</head>
        <body><main><h1>\(escaped(title))</h1>
        \(content)</main></body></html>

        """
    }

    private static func escaped(_ text: String) -> String { ShownText.escaped(text) }
}
