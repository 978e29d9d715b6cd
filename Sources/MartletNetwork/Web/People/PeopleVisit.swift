import MartletCore
import MartletXMPP
import NIOCore
import NIOHTTP1

/// Somebody asks for something of the white pages of a domain.
struct PeopleVisit: Sendable {
    let domain: BareJID
    let listener: ClientListener
    let sender: NetworkAddress?
    let remoteAddress: String
    let isSecure: Bool
    /// By which he has logged in.
    let token: String?
    let time: any TimeSource
    /// Of the loop that looks at presence.
    let mailbox: LoopMailbox

    /// - Returns: `nil` where there are none.
    init?(_ request: WebRequest, on connection: WebConnection) {
        let service = connection.listener.service
        guard let domain = Self.domain(request.authority, service, connection.loop.context.hosts) else { return nil }
        self.domain = domain
        listener = connection.listener
        sender = request.sender
        remoteAddress = request.sender.map { "\($0)" } ?? connection.remoteAddress
        isSecure = request.isSecure
        token = PeopleCookie.session.value(in: request.head.headers)
        time = connection.loop.context.time
        mailbox = connection.loop.context.mailbox
    }

    /// The one by whose name the server was asked, or the only one that has white pages if it was asked by its public name.
    private static func domain(_ authority: WebAuthority, _ service: ClientService, _ hosts: HostTable) -> BareJID? {
        let access = service.people.settings.access
        if let named = try? BareJID(parsing: authority.host), hosts.host(ofDomain: named.domainpart) != nil {
            return access[named.domainpart] == nil ? nil : named
        }
        guard access.count == 1, let only = access.keys.first, let url = service.settings.web.url,
            WebAuthority(String(url.dropFirst("https://".count)))?.host == authority.host
        else { return nil }
        return hosts.host(ofDomain: only)?.domain
    }

    var desk: PeopleDesk { listener.service.people }
    private var access: PeopleAccess? { desk.settings.access[domain.domainpart] }

    // MARK: Who looks

    enum Entry: Sendable {
        case viewer(PeopleViewer)
        /// He has to log in first.
        case login
        /// Nobody can say whether he may.
        case unavailable
        /// There are no white pages any more.
        case closed
    }

    /// As who he may look, as far as memory knows.
    private var session: PeopleSessions.Session? {
        guard let token, let session = desk.session(token, now: time.monotonic), domain.isInDomain(of: session.account),
            !listener.service.router.credentials(of: session.account, haveChangedSince: session.moment), permits(session.account)
        else { return nil }
        return session
    }

    /// The same, by what the accounts say as well.
    func entry() async -> Entry {
        guard let access else { return .closed }
        let outside: Entry = access == .everyone ? .viewer(.anonymous) : .login
        guard let session else { return outside }
        switch await listener.service.accounts.standing(of: session.account) {
        case .ok: return .viewer(.account(session.account, formToken: session.formToken))
        case .unavailable: return .unavailable
        case .badCredentials, .disabled, .expired, .mechanismTooWeak:
            if let token { desk.end(token) }
            return outside
        }
    }

    /// Whether somebody who has been let in as an account still is.
    var isStillIn: Bool { access != nil && session != nil }

    // MARK: Log-in

    /// Whether an account may come in by a password that it tells, as by PLAIN.
    func permits(_ account: BareJID) -> Bool { login.permits(account) }

    private var login: PasswordLogin {
        PasswordLogin(
            listener.service, listener.configuration, from: sender, remoteAddress, isProtected: isSecure || listener.policy.allowsPlaintext,
            called: Self.mechanism)
    }

    /// The account of a name, with the domain or without.
    func account(named name: String) -> BareJID? {
        let name = String(name.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        let account = name.contains("@") ? try? BareJID(parsing: name) : try? BareJID(localpart: name, domainpart: domain.domainpart)
        return account.flatMap { !$0.isDomain && domain.isInDomain(of: $0) ? $0 : nil }
    }

    /// Asks whether a password is right. The attempt has begun, and has waited for as long as it had to.
    ///
    /// An account that may not come in by its password is asked about all the same: how long that takes tells nothing.
    func verdict(on password: String, of account: BareJID?) async -> (verdict: AccountVerdict, moment: CredentialMoment) {
        let moment = listener.service.router.credentials.now
        return (await login.verdict(on: PreparedPassword(password), of: account, claimed: account?.description ?? "", at: time), moment)
    }

    /// What a log-in at the white pages is called in the audit log, where others have a mechanism.
    private static let mechanism = "people-page"

    // MARK: People

    /// The page of those whom a query means.
    func people(_ query: PeopleQuery, for viewer: PeopleViewer) async throws(StoreError) -> PeopleList {
        let router = listener.service.router
        let search = query.search(at: domain.domainpart, by: JID.bare(viewer.account ?? domain), findsEmpty: desk.settings.findsEmpty)
        guard let search else { return PeopleList([]) }
        let all = try await router.store.cards(search)
        let found = all.filter(query.means).sorted { $0.precedes($1) }.prefix(PeopleQuery.foundMax)
        let shown = found.dropFirst((query.page - 1) * PeopleQuery.pageSize).prefix(PeopleQuery.pageSize).map(\.address)
        let presences = await PresenceView(router, on: mailbox).presence(of: shown, for: viewer.account)
        var people: [Person] = []
        for (address, presence) in zip(shown, presences) {
            let card = try await card(of: address) ?? PersonCard()
            people.append(Person(address, card, photo: path(of: card.photo, address, viewer), presence: presence.map(PersonPresence.init)))
        }
        return PeopleList(people, pageCount: (found.count + PeopleQuery.pageSize - 1) / PeopleQuery.pageSize, isCut: all.count > PeopleQuery.foundMax)
    }

    private func card(of address: BareJID) async throws(StoreError) -> PersonCard? {
        let store = listener.service.router.store
        guard let account = try await store.credentials(of: address), account.isEnabled else { return nil }
        return PersonCard(stored: try await store.document(account.id, .vCard))
    }

    private func path(of photo: PersonPhoto?, _ address: BareJID, _ viewer: PeopleViewer) -> String? {
        guard let photo, let localpart = address.localpart else { return nil }
        let path = PeoplePhotoPath(localpart: localpart, digest: photo.digest)
        return path.path(sealed: desk.seal(path, for: viewer.account, at: domain.domainpart))
    }

    /// A photo that the viewer was shown the address of, if it is still there.
    func photo(at path: String, for viewer: PeopleViewer) async throws(StoreError) -> PersonPhoto? {
        guard let (asked, seal) = PeoplePhotoPath.read(path), desk.isSealed(asked, by: seal, for: viewer.account, at: domain.domainpart),
            let address = try? BareJID(localpart: asked.localpart, domainpart: domain.domainpart)
        else { return nil }
        let photo = try await card(of: address)?.photo
        return photo?.digest == asked.digest ? photo : nil
    }

    /// Follows the presence of people; `nil` if too much is followed.
    func watch(_ localparts: [String], for viewer: BareJID) -> PresenceWatch? {
        let people = localparts.compactMap { try? BareJID(localpart: $0, domainpart: domain.domainpart) }
        return PresenceView(listener.service.router, on: mailbox).watch(Set(people), for: .account(viewer))
    }
}

/// What a browser keeps for the white pages. Only for this host, over TLS, for no script, and sent with nothing that another site begins.
enum PeopleCookie: String {
    case session = "__Host-martlet-people"
    /// Against forms that other sites fill in: whoever has it was shown ours.
    case form = "__Host-martlet-form"

    /// What cannot be one of ours is none.
    func value(in headers: HTTPHeaders) -> String? {
        for pair in headers["Cookie"].flatMap({ $0.split(separator: ";") }) {
            let halves = pair.drop { $0 == " " }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2, halves[0] == rawValue else { continue }
            return Self.isToken(halves[1]) ? String(halves[1]) : nil
        }
        return nil
    }

    private static func isToken(_ text: Substring) -> Bool {
        text.utf8.count == token(Array(repeating: 0, count: PeopleSessions.tokenBytes)).utf8.count
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D || $0 == 0x5F }
    }

    static func token(_ bytes: [UInt8]) -> String { Base64URL.encoded(bytes) }

    /// - Parameter lifetime: zero: it is to be forgotten.
    func set(_ value: String, for lifetime: TimeAmount) -> String {
        "\(rawValue)=\(value); Path=/; Max-Age=\(lifetime.nanoseconds / 1_000_000_000); Secure; HttpOnly; SameSite=Strict"
    }
}
