package import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore
import Synchronization

extension Namespace {
    static let search: Namespace = "jabber:iq:search"
}

/// Finds accounts of a domain by what they say of themselves in their cards (XEP-0054), which everybody may read: at an address of its own, where
/// clients look for it.
///
/// Every word that is searched for begins a word of the card, whatever the case and the accents. Whoever has blocked the one who searches is not there
/// for him. Who says nothing in a card is found only where the operator wants that.
package struct UserSearch: RequestService {
    package static let specification = Specification.xep(55, "Jabber Search", version: "1.3", note: "of cards that everybody may read, for accounts of the server")

    package struct Settings: Sendable {
        /// Whose accounts are found.
        package var domain: BareJID
        package var name = "People"
        /// The domains whose accounts may search.
        package var askers: Set<String>
        /// Whether accounts are found, by their names, whose cards say nothing.
        package var findsEmpty = false
        /// Most accounts that one search shows.
        package var resultsMax = 50
        /// Most searches of an account within a minute.
        package var perMinuteMax = 30

        package init(domain: BareJID) {
            self.domain = domain
            askers = [domain.domainpart]
        }
    }

    /// Longest value of a field, in bytes.
    package static let valueBytesMax = 256

    private let settings: Settings
    private let searches: RecentSearches

    package init(_ settings: Settings, time: any TimeSource) {
        self.settings = settings
        searches = RecentSearches(time)
    }

    // MARK: The service

    package var identity: DiscoIdentity { DiscoIdentity("directory", "user", name: settings.name) }
    package let disco = DiscoFeatures(host: [.discoInfo, .discoItems, .search, .dataForms])

    package var routes: [IQRoute] {
        discovery + [
            .immediate(.get, "query", .search, at: .host) { request, _ throws(StanzaError) in
                try check(request.actor)
                return Self.form
            },
            // One at a time for each session: whoever asks for many waits for them.
            .suspending(.set, "query", .search, at: .host) { request, router async throws(StanzaError) in try await search(request, router) },
        ]
    }

    private func check(_ actor: JID) throws(StanzaError) {
        guard settings.askers.contains(actor.bare.domainpart), !actor.bare.isDomain else { throw .forbidden("only accounts of this server may search") }
    }

    // MARK: The form (§2.1, §3)

    /// What can be searched in; the first four are the XEP's own.
    fileprivate enum Field: String, CaseIterable {
        case first, last, nick, email
        case organisation = "x-organisation"
        case anything = "x-anything"

        var label: String {
            switch self {
            case .first: "Given name"
            case .last: "Family name"
            case .nick: "Nickname"
            case .email: "Email address"
            case .organisation: "Organisation"
            case .anything: "Any of these, or the name of the account"
            }
        }

        var fields: CardFields {
            switch self {
            case .first: .first
            case .last: .last
            case .nick: .nick
            case .email: .email
            case .organisation: .organisation
            case .anything: .all
            }
        }
    }

    private static let instructions = "Give one or more words, or the beginnings of words. Who has all of them is found."

    private static let form = IQReply { writer in
        writer.element("query", .search) { writer in
            writer.element("instructions", .search, text: instructions)
            writer.element("first", .search)
            writer.element("last", .search)
            writer.element("nick", .search)
            writer.element("email", .search)
            var form = DataForm(.form, type: Namespace.search.name)
            form.title = "Search for people"
            form.instructions = [instructions]
            form.fields += ([.anything] + Field.allCases.filter { $0 != .anything }).map { DataForm.Field($0.rawValue, .textSingle, $0.label, []) }
            form.write(to: &writer)
        }
    }

    // MARK: The search (§2.1, §3)

    private func search(_ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        try check(request.actor)
        let form = try request.child.firstChild("x", .dataForms).map { x throws(StanzaError) in try DataForm(x) }
        if form?.kind == .cancel { return .empty }
        let terms = try Self.terms(form, request.child)
        guard searches.takes(request.actor.bare, most: settings.perMinuteMax) else {
            throw .resourceConstraint("an account may search \(settings.perMinuteMax) times a minute")
        }
        // One more than is shown, to know whether there are more.
        var search = CardSearch(at: settings.domain.domainpart, for: terms, by: request.actor, limit: settings.resultsMax + 1)
        search.findsEmpty = settings.findsEmpty
        do throws(StoreError) {
            let found = try await router.store.cards(search).sorted { $0.precedes($1) }
            return answer(found, withForm: form != nil)
        } catch {
            throw StanzaError(.internalServerError, .wait)
        }
    }

    private static func terms(_ form: DataForm?, _ query: ElementView) throws(StanzaError) -> [CardSearch.Term] {
        var submission = try form.map { form throws(StanzaError) in try FormSubmission(form, type: Namespace.search.name) }
        var terms: [CardSearch.Term] = []
        for field in Field.allCases {
            let value = submission == nil ? field.value(in: query) : try submission?.text(field.rawValue)
            guard let value else { continue }
            guard value.utf8.count <= valueBytesMax else { throw .notAcceptable("a field may have \(valueBytesMax) bytes") }
            terms += SearchWords.words(value).sorted().map { CardSearch.Term($0, in: field.fields) }
        }
        guard !terms.isEmpty else { throw .badRequest("a search has a word of letters or digits") }
        guard terms.count <= CardSearch.termsMax else { throw .notAcceptable("a search may have \(CardSearch.termsMax) words") }
        return terms
    }

    /// Without anybody it is empty, whichever way it was asked for (§2.1).
    private func answer(_ found: [FoundCard], withForm: Bool) -> IQReply {
        let shown = found.prefix(settings.resultsMax)
        return IQReply { writer in
            writer.element("query", .search) { writer in
                guard !shown.isEmpty else { return }
                if withForm {
                    result(shown, isAll: shown.count == found.count).write(to: &writer)
                } else {
                    for account in shown { Self.write(account, to: &writer) }
                }
            }
        }
    }

    private static func write(_ found: FoundCard, to writer: inout XMLWriter) {
        writer.element("item", .search, ["jid": found.address.description]) { writer in
            let (first, last) = found.card.parts
            writer.element("first", .search, text: first)
            writer.element("last", .search, text: last)
            writer.element("nick", .search, text: found.card.nick)
            writer.element("email", .search, text: found.card.email)
        }
    }

    private func result(_ shown: ArraySlice<FoundCard>, isAll: Bool) -> DataForm {
        var form = DataForm(.result, type: Namespace.search.name)
        if !isAll { form.instructions = ["There are more. These are \(settings.resultsMax) of them."] }
        form.reported = [.init("jid", .jidSingle, "Address", []), .init("x-name", .textSingle, "Name", [])]
            + Field.allCases.filter { $0 != .anything }.map { DataForm.Field($0.rawValue, .textSingle, $0.label, []) }
        form.items = shown.map { found in
            let (card, address) = (found.card, found.address.description)
            let values = [
                ("jid", address), ("x-name", card.name), ("first", card.first), ("last", card.last), ("nick", card.nick), ("email", card.email),
                (Field.organisation.rawValue, card.organisation),
            ]
            return values.map { DataForm.Field($0.0, nil, [$0.1]) }
        }
        return form
    }
}

/// Who has searched within the present minute, and how often. In memory only.
private final class RecentSearches: Sendable {
    private struct State {
        var minute: UInt64 = 0
        /// Of accounts of this server: there are no more than those.
        var counts: [BareJID: Int] = [:]
    }
    // Between loops: a client's sessions are on any of them.
    private let state = Mutex(State())
    private let time: any TimeSource

    init(_ time: any TimeSource) { self.time = time }

    /// - Returns: whether an account may search once more.
    func takes(_ account: BareJID, most: Int) -> Bool {
        let minute = time.monotonic.uptimeNanoseconds / 60_000_000_000
        return state.withLock { state in
            if state.minute != minute { state = State(minute: minute) }
            guard state.counts[account, default: 0] < most else { return false }
            state.counts[account, default: 0] += 1
            return true
        }
    }
}

extension UserSearch.Field {
    /// What the schema has of it (§7); the others are asked for in forms only.
    fileprivate func value(in query: ElementView) -> String? {
        switch self {
        case .first: query.firstChild("first", .search)?.text
        case .last: query.firstChild("last", .search)?.text
        case .nick: query.firstChild("nick", .search)?.text
        case .email: query.firstChild("email", .search)?.text
        case .organisation, .anything: nil
        }
    }
}

extension PublicCard {
    /// Given and family name for those who know no other. A name in one piece is shown as the given one.
    fileprivate var parts: (first: String, last: String) { first.isEmpty && last.isEmpty ? (name, "") : (first, last) }
}
