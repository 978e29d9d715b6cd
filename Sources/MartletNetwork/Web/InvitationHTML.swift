import MartletCore
import MartletXMPP
import NIOCore
import NIOHTTP1

/// The pages of invitations, as browsers without scripts show them.
enum InvitationHTML {
    /// Nothing but the server's own style is loaded, nothing runs, and a form goes nowhere else.
    static let policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

    static let gone = page(
        .notFound, "This invitation cannot be used", "It was used already, is too old, or was taken back. Ask whoever has sent it for another one.")
    static let unavailable = page(.serviceUnavailable, "Not now", "Try again in a minute.")

    /// - Parameters:
    ///   - wish: what was filled in, if that could not be taken.
    ///   - problem: why not.
    static func invitation(_ offer: InvitationOffer, _ wish: InvitationForm? = nil, _ problem: String? = nil) -> WebAnswer {
        let title = title(of: offer)
        var content = "<p>Do you have an app for XMPP on this device? Then open the invitation in it:</p>"
        content += "<p><a class=\"button\" href=\"\(escaped(offer.uri))\">Open the invitation</a></p>"
        content += "<p>If nothing happens, get one first, and come back to this page:</p>\(apps)"
        if offer.makesAccounts { content += form(offer, wish, problem) }
        return page(problem == nil ? .ok : .unprocessableEntity, title, html: content)
    }

    /// Whoever has the account logs in with a certificate, or otherwise, but not with a password that he chooses here.
    static func passwordless(_ offer: InvitationOffer, _ status: HTTPResponseStatus) -> WebAnswer {
        let domain = escaped(offer.domain.domainpart)
        var content = """
            <p class="problem" role="alert">You cannot make an account at \(domain) here: nobody logs in to it with a password. Ask whoever runs \
            \(domain) for an account, and how to log in.</p>
            """
        if offer.inviter != nil {
            content += "<p>If you have an account, open the invitation in your app:</p>"
            content += "<p><a class=\"button\" href=\"\(escaped(offer.uri))\">Open the invitation</a></p>"
        }
        return page(status, title(of: offer), html: content)
    }

    private static func title(of offer: InvitationOffer) -> String {
        offer.inviter.map { "\(escaped($0.description)) invites you to chat" } ?? "You are invited to \(escaped(offer.domain.domainpart))"
    }

    static func welcome(_ offer: InvitationOffer, _ name: String) -> WebAnswer {
        let address = escaped("\(name)@\(offer.domain.domainpart)")
        let contact = offer.inviter.map { "<p>\(escaped($0.description)) is among your contacts.</p>" } ?? ""
        return page(.ok, "Welcome", html: "<p>Your address is <strong>\(address)</strong>.</p>\(contact)<p>Log in with it in any of these apps:</p>\(apps)")
    }

    static func explanation(of error: StanzaError) -> String {
        switch error.condition {
        case .conflict: "That name is taken. Choose another one."
        case .itemNotFound: "This invitation was used already, or is too old."
        case .resourceConstraint: "The server has too much to do. Try again in a minute."
        default: error.text.map { "This was not taken: \($0)." } ?? "This was not taken."
        }
    }

    private static func form(_ offer: InvitationOffer, _ wish: InvitationForm?, _ problem: String?) -> String {
        let name = escaped(offer.localpart ?? wish?.name ?? "")
        let problem = problem.map { "<p class=\"problem\" role=\"alert\">\(escaped($0))</p>" } ?? ""
        return """
            <h2>Make an account at \(escaped(offer.domain.domainpart))</h2>\(problem)
            <form method="post" autocomplete="off">
            <label>Name <span><input name="username" value="\(name)" required\(offer.localpart == nil ? "" : " readonly") autocapitalize="none" \
            autocomplete="username" spellcheck="false">@\(escaped(offer.domain.domainpart))</span></label>
            <label>Password <input type="password" name="password" required autocomplete="new-password"></label>
            <label>The password again <input type="password" name="again" required autocomplete="new-password"></label>
            <button>Make the account</button>
            </form>
            """
    }

    /// Free ones that take invitations, one for each kind of device.
    private static let apps = """
        <ul><li>Android: <a href="https://conversations.im/">Conversations</a>, <a href="https://quicksy.im/">Quicksy</a></li>
        <li>iPhone and iPad: <a href="https://monal-im.org/">Monal</a>, <a href="https://siskin.im/">Siskin</a></li>
        <li>Linux and Windows: <a href="https://gajim.org/">Gajim</a>, <a href="https://dino.im/">Dino</a></li>
        <li>macOS: <a href="https://beagle.im/">Beagle</a>, <a href="https://monal-im.org/">Monal</a></li></ul>
        """

    static func page(_ status: HTTPResponseStatus, _ title: String, _ text: String) -> WebAnswer {
        page(status, escaped(title), html: "<p>\(escaped(text))</p>")
    }

    private static func page(_ status: HTTPResponseStatus, _ title: String, html content: String) -> WebAnswer {
        let document = """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
            <title>\(title)</title><link rel="stylesheet" href="\(InvitationStyle.path)"></head>
            <body><main><h1>\(title)</h1>
            \(content)
            </main></body></html>

            """
        return WebAnswer(
            status, type: "text/html; charset=utf-8", ByteBuffer(string: document),
            ["Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"])
    }

    private static func escaped(_ text: String) -> String { ShownText.escaped(text) }
}

/// How the pages look.
struct InvitationStyle: WebResource {
    static let path = "/invite.css"
    let methods = [HTTPMethod.GET]
    let bodyBytesMax = 0

    func answer(_ request: WebRequest, on connection: WebConnection) {
        connection.answer(WebAnswer(.ok, type: "text/css; charset=utf-8", ByteBuffer(string: Self.text), ["Cache-Control": "max-age=86400"]))
    }

    private static let text = """
        :root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
        main { max-width: 34rem; margin: 2rem auto; padding: 0 1rem }
        label { display: block; margin: 1rem 0 }
        input { display: block; box-sizing: border-box; width: 100%; padding: .5rem; font: inherit }
        span input { display: inline; width: 60% }
        .button, button { display: inline-block; padding: .6rem 1.2rem; border: 0; border-radius: .4rem; background: #1d5b8c; color: #fff; font: inherit; text-decoration: none }
        .problem { border-left: .3rem solid #b3261e; padding-left: .7rem }

        """
}
