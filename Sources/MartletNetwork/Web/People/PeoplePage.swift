import MartletCore
import MartletXMPP
import NIOCore
import NIOHTTP1

/// The white pages of a domain: who is there, how to reach them, and whether they can be reached, as much of it as whoever looks may see.
///
/// They work without scripts. Whoever has to say who he is does so with his account's password and is known by a cookie after that. Which page belongs to which
/// domain is said by the name by which the server was asked.
struct PeoplePage: WebResource {
    enum Part {
        case list, events, login, logout, photo
    }

    let part: Part
    let isForScripts = false
    /// A name and a password, each byte written as three.
    let bodyBytesMax = 16_384
    var contentPolicy: String { PeopleHTML.policy }

    var methods: [HTTPMethod] {
        switch part {
        case .list, .events, .photo: [.GET]
        case .login: [.GET, .POST]
        case .logout: [.POST]
        }
    }

    /// For how long a form can be filled in that was shown.
    static let formLifetime = TimeAmount.hours(1)

    func answer(_ request: WebRequest, on connection: WebConnection) {
        guard let visit = PeopleVisit(request, on: connection) else { return connection.answer(WebAnswer(.notFound, "there is nothing here")) }
        guard request.isSecure || connection.listener.policy.allowsPlaintext else {
            return connection.answer(Self.page(.forbidden, "This page needs encryption", "Use a link that begins with https."))
        }
        guard visit.desk.takes(from: request.sender, at: visit.time.monotonic) else {
            return connection.answer(Self.page(.tooManyRequests, "Too many questions", "Try again in a minute."))
        }
        switch part {
        case .list: list(request, visit, connection)
        case .events: follow(request, visit, connection)
        case .photo: photo(request, visit, connection)
        case .login: request.head.method == .POST ? logIn(request, visit, connection) : showLogin(request, visit, connection)
        case .logout: logOut(request, visit, connection)
        }
    }

    /// Answers later, away from the loop: stores are asked, and cards are read.
    private func answerLater(_ connection: WebConnection, _ answer: @escaping @Sendable () async -> WebAnswer) {
        let (loop, bound) = (connection.loop.loop, NIOLoopBound(connection, eventLoop: connection.loop.loop))
        Task {
            let answer = await answer()
            loop.execute { bound.value.answer(answer) }
        }
    }

    // MARK: People

    private func list(_ request: WebRequest, _ visit: PeopleVisit, _ connection: WebConnection) {
        guard let query = PeopleQuery(uri: request.head.uri) else {
            return connection.answer(Self.page(.badRequest, "This cannot be read", "Use the form of this page, or one of its links."))
        }
        let form = Self.formToken(request, connection)
        answerLater(connection) {
            switch await visit.entry() {
            case .closed: return WebAnswer(.notFound, "there is nothing here")
            case .unavailable: return Self.unavailable
            case .login: return Self.login(.ok, visit, form)
            case .viewer(let viewer): return await Self.list(query, for: viewer, visit)
            }
        }
    }

    private static func list(_ query: PeopleQuery, for viewer: PeopleViewer, _ visit: PeopleVisit) async -> WebAnswer {
        guard query.whom != .nobody else { return html(.ok, PeopleHTML.people(at: visit.domain, query, nil, for: viewer)) }
        guard visit.desk.beginSearch() else { return unavailable }
        defer { visit.desk.endSearch() }
        do throws(StoreError) {
            return html(.ok, PeopleHTML.people(at: visit.domain, query, try await visit.people(query, for: viewer), for: viewer))
        } catch {
            return unavailable
        }
    }

    private func photo(_ request: WebRequest, _ visit: PeopleVisit, _ connection: WebConnection) {
        let path = request.path
        answerLater(connection) {
            guard case .viewer(let viewer) = await visit.entry() else { return WebAnswer(.notFound, "there is nothing here") }
            guard visit.desk.beginPhoto() else { return Self.unavailable }
            defer { visit.desk.endPhoto() }
            do throws(StoreError) {
                guard let photo = try await visit.photo(at: path, for: viewer) else { return WebAnswer(.notFound, "there is nothing here") }
                return WebAnswer(.ok, type: photo.type, ByteBuffer(bytes: photo.bytes), ["Cache-Control": "private, max-age=604800, immutable"])
            } catch {
                return Self.unavailable
            }
        }
    }

    // MARK: Presence as it goes on

    private func follow(_ request: WebRequest, _ visit: PeopleVisit, _ connection: WebConnection) {
        guard let localparts = PeopleEvents.localparts(uri: request.head.uri) else {
            return connection.answer(WebAnswer(.badRequest, "at least one and at most \(PeopleEvents.peopleMax) names are asked for, each once"))
        }
        guard request.head.version.minor >= 1 else { return connection.answer(WebAnswer(.httpVersionNotSupported, "HTTP/1.1 is needed")) }
        // Nothing is followed for whoever asks what it would be.
        guard request.head.method == .GET else { return connection.answer(WebAnswer(.ok, type: PeopleEvents.type, ByteBuffer())) }
        let (loop, bound) = (connection.loop.loop, NIOLoopBound(connection, eventLoop: connection.loop.loop))
        // The accounts are asked.
        Task {
            let entry = await visit.entry()
            loop.execute { Self.follow(localparts, visit, entry, bound.value) }
        }
    }

    private static func follow(_ localparts: [String], _ visit: PeopleVisit, _ entry: PeopleVisit.Entry, _ connection: WebConnection) {
        switch entry {
        case .closed, .login: return connection.answer(WebAnswer(.forbidden, "you are not logged in"))
        case .unavailable: return connection.answer(unavailable)
        // Nobody shows his presence to whoever does not say who he is. With this status a browser does not ask again.
        case .viewer(.anonymous): return connection.answer(WebAnswer(.noContent, type: "text/plain", ByteBuffer()))
        case .viewer(.account(let account, _)):
            guard visit.desk.beginStream(to: visit.sender) else { return connection.answer(WebAnswer(.tooManyRequests, "too many pages are kept up")) }
            guard let watch = visit.watch(localparts, for: account) else {
                visit.desk.endStream(to: visit.sender)
                return connection.answer(unavailable)
            }
            PeopleStream(connection, visit).begin(watch)
        }
    }

    // MARK: Log-in

    private func showLogin(_ request: WebRequest, _ visit: PeopleVisit, _ connection: WebConnection) {
        connection.answer(Self.login(.ok, visit, Self.formToken(request, connection)))
    }

    private func logIn(_ request: WebRequest, _ visit: PeopleVisit, _ connection: WebConnection) {
        let form = Self.formToken(request, connection)
        guard let fields = FormFields(request.body.readableBytesView), let name = fields["username"], let password = fields["password"] else {
            return connection.answer(Self.page(.badRequest, "This cannot be read", "The form was not sent as a browser sends it."))
        }
        guard Self.isOwn(request), let shown = PeopleCookie.form.value(in: request.head.headers), fields["form"] == shown else {
            return connection.answer(Self.login(.forbidden, visit, form, name, "The form was too old. Try again."))
        }
        let account = visit.account(named: name)
        let delay = connection.listener.service.beginLogin(visit.sender, account, at: visit.time.monotonic)
        let random = connection.loop.context.random
        let tokens = (session: PeopleCookie.token(random.bytes(PeopleSessions.tokenBytes)), form: PeopleCookie.token(random.bytes(PeopleSessions.tokenBytes)))
        let bound = NIOLoopBound((self, connection), eventLoop: connection.loop.loop)
        _ = connection.loop.loop.scheduleTask(in: delay) {
            let (page, connection) = bound.value
            page.answerLater(connection) {
                let (verdict, moment) = await visit.verdict(on: password, of: account)
                guard verdict == .ok, let account else { return Self.login(verdict == .unavailable ? .serviceUnavailable : .forbidden, visit, form, name, Self.problem(verdict)) }
                visit.desk.begin(tokens.session, account, at: moment, form: tokens.form, now: visit.time.monotonic)
                return Self.redirect([
                    PeopleCookie.session.set(tokens.session, for: visit.desk.settings.sessionLifetime), PeopleCookie.form.set("", for: .zero),
                ])
            }
        }
    }

    private static func problem(_ verdict: AccountVerdict) -> String {
        switch verdict {
        case .ok, .badCredentials: "The name or the password is wrong."
        case .disabled: "This account is disabled."
        case .expired: "This password has expired. Choose a new one in your chat app, or ask whoever runs this server."
        case .mechanismTooWeak: "You cannot log in here with a password."
        case .unavailable: "Nobody can log in at the moment. Try again in a minute."
        }
    }

    private func logOut(_ request: WebRequest, _ visit: PeopleVisit, _ connection: WebConnection) {
        let form = FormFields(request.body.readableBytesView)?["form"]
        guard let token = visit.token, let session = visit.desk.session(token, now: visit.time.monotonic) else { return connection.answer(Self.redirect([])) }
        guard Self.isOwn(request), form == session.formToken else {
            return connection.answer(Self.page(.forbidden, "Not done", "Go back to the page, and try again."))
        }
        visit.desk.end(token)
        connection.answer(Self.redirect([PeopleCookie.session.set("", for: .zero)]))
    }

    /// Whether a form may have been sent from one of our pages, as far as the browser says. It does not say by `Origin`, since it is told to tell nobody where
    /// it comes from.
    private static func isOwn(_ request: WebRequest) -> Bool {
        request.head.headers.first(name: "Sec-Fetch-Site").map { $0 == "same-origin" } ?? true
    }

    /// What the browser has of the last form, which may still be open beside this one, or another.
    private static func formToken(_ request: WebRequest, _ connection: WebConnection) -> String {
        PeopleCookie.form.value(in: request.head.headers) ?? PeopleCookie.token(connection.loop.context.random.bytes(PeopleSessions.tokenBytes))
    }

    // MARK: Answers

    private static func login(
        _ status: HTTPResponseStatus, _ visit: PeopleVisit, _ form: String, _ name: String = "", _ problem: String? = nil
    ) -> WebAnswer {
        var answer = html(status, PeopleHTML.login(at: visit.domain, formToken: form, name: name, problem: problem))
        answer.headers.add(name: "Set-Cookie", value: PeopleCookie.form.set(form, for: formLifetime))
        return answer
    }

    private static func redirect(_ cookies: [String]) -> WebAnswer {
        var answer = WebAnswer(.seeOther, "go on at \(PeoplePath.list)", ["Location": PeoplePath.list, "Cache-Control": "no-store"])
        for cookie in cookies { answer.headers.add(name: "Set-Cookie", value: cookie) }
        return answer
    }

    private static var unavailable: WebAnswer { page(.serviceUnavailable, "Not now", "Try again in a minute.") }

    private static func page(_ status: HTTPResponseStatus, _ title: String, _ text: String) -> WebAnswer { html(status, PeopleHTML.message(title, text)) }

    private static func html(_ status: HTTPResponseStatus, _ document: String) -> WebAnswer {
        WebAnswer(status, type: "text/html; charset=utf-8", ByteBuffer(string: document), ["Cache-Control": "no-store"])
    }
}
