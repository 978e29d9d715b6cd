import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Invitations (XEP-0401, XEP-0445, XEP-0379)")
struct InvitationTests {
    private static func server(
        _ offer: RegistrationSettings.Offer = .invited, domains: [String] = ["capulet.example"], _ change: (inout InvitationSettings) -> Void = { _ in }
    ) throws -> TestServer {
        var (registration, invitations) = (RegistrationSettings(), InvitationSettings())
        registration.offer = offer
        registration.reservedNames = ["admin"]
        invitations.accountsInvite = true
        invitations.url = "https://chat.example"
        change(&invitations)
        let chief = try BareJID(parsing: "chief@capulet.example")
        return TestServer(domains: domains, policy: AccessPolicy(admins: [chief]), registration: registration, invitations: invitations)
    }

    private func execute(_ node: String, _ fields: [(String, String)]? = nil, by client: TestClient) -> TestStanza? {
        let form = fields.map { fields in
            let inner = fields.map { "<field var='\($0)'><value>\($1)</value></field>" }.joined()
            return "<x xmlns='jabber:x:data' type='submit'>\(inner)</x>"
        }
        client.forget()
        client.send("""
            <iq type='set' id='c' to='capulet.example'><command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#\(node)' action='execute'>\
            \(form ?? "")</command></iq>
            """)
        return client.received().last { $0.element.localName == "iq" }
    }

    private func field(_ name: String, in answer: TestStanza?) -> String? {
        answer?.child("command")?.firstChild("x", .dataForms)?.children.first { $0.attribute("var") == name }?.firstChild?.text
    }

    /// The token of an invitation that was just made.
    private func newToken(_ answer: TestStanza?) -> String? {
        guard let uri = field("uri", in: answer), let rest = uri.split(separator: "preauth=").last else { return nil }
        return String(rest.prefix { $0 != ";" })
    }

    private func preauth(_ token: String) -> String { "<iq type='set' id='p'><preauth xmlns='urn:xmpp:pars:0' token='\(token)'/></iq>" }
    private func wish(_ name: String) -> String {
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>\(name)</username><password>secret</password></query></iq>"
    }

    private func outcome(_ answer: RegistrationAnswer?) -> String {
        switch answer {
        case nil: "nobody listens"
        case .form: "form"
        case .admitted: "admitted"
        case .registered: "registered"
        case .refused(let error): error.condition.rawValue
        }
    }

    private func subscription(of client: TestClient, to contact: String) -> String? {
        client.forget()
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        let query = client.received().last { $0.element.localName == "iq" }?.child("query")
        return query?.children.first { $0.attribute("jid") == contact }?.attribute("subscription")
    }

    @Test("an invitation for a name that no password lets in gives neither a form nor an account (XEP-0445)")
    func passwordless() throws {
        let server = try Self.server()
        let token = try #require(newToken(execute("create-account", [("username", "juliet")], by: server.online("chief/desk"))))
        var rule = LoginRule(number: 1)
        rule.isStrong = true
        rule.accounts = [server.address("juliet")]
        let form = "<iq type='get' id='f'><query xmlns='jabber:iq:register'/></iq>"
        for request in [form, wish("juliet")] {
            #expect(outcome(server.stranger(request, token: token, [rule])) == "not-allowed")
            #expect(outcome(server.stranger(request, token: token)) == (request == form ? "form" : "registered"))
        }
    }

    // MARK: Making (XEP-0401 §4)

    @Test("an account invites where the operator lets it, an administrator always", arguments: [true, false])
    func audience(accountsInvite: Bool) throws {
        let server = try Self.server { $0.accountsInvite = accountsInvite }
        let (juliet, chief) = (server.online("juliet/balcony"), server.online("chief/desk"))
        #expect(execute("invite", by: juliet)?.error == (accountsInvite ? nil : "auth/forbidden"))
        #expect(execute("invite", by: chief)?.error == nil)
        #expect(execute("create-account", by: juliet)?.error == "auth/forbidden")
        #expect(execute("create-account", by: chief)?.child("command")?.attribute("status") == "executing")
    }

    @Test("what an invitation says: the links, and until when they are good (§4.1)")
    func result() throws {
        let server = try Self.server()
        let answer = execute("invite", by: server.online("juliet/balcony"))
        let token = try #require(newToken(answer))
        #expect(token.count == 32)
        #expect(field("FORM_TYPE", in: answer) == "urn:xmpp:invite#invitation")
        #expect(field("uri", in: answer) == "xmpp:juliet@capulet.example?roster;preauth=\(token);ibr=y")
        #expect(field("landing-url", in: answer) == "https://chat.example/invite/\(token)")
        #expect(field("expire", in: answer)?.hasSuffix("Z") == true)
        let closed = try Self.server(.closed)
        #expect(field("uri", in: execute("invite", by: closed.online("juliet/balcony")))?.hasSuffix("ibr=y") == false)
    }

    @Test("an account has so many invitations that are open")
    func openMax() throws {
        let server = try Self.server { $0.openMax = 2 }
        let juliet = server.online("juliet/balcony")
        #expect((1...3).map { _ in execute("invite", by: juliet)?.error } == [nil, nil, "wait/resource-constraint"])
        server.advance(by: .seconds(7 * 86_400))
        #expect(execute("invite", by: juliet)?.error == nil)
    }

    @Test("an administrator may give the name of the account, if it is free (§4.3)")
    func named() throws {
        let server = try Self.server()
        let chief = server.online("chief/desk")
        let answer = execute("create-account", [("username", "Juliet")], by: chief)
        #expect(field("uri", in: answer)?.hasPrefix("xmpp:juliet@capulet.example?register;preauth=") == true)
        #expect(execute("create-account", [("username", "juliet")], by: chief)?.error == "cancel/conflict")
        #expect(execute("create-account", [("username", "chief")], by: chief)?.error == "cancel/conflict")
        #expect(execute("create-account", [("username", "ju liet")], by: chief)?.error == "modify/not-acceptable")
        #expect(field("uri", in: execute("create-account", [], by: chief))?.hasPrefix("xmpp:capulet.example?register;preauth=") == true)
    }

    @Test("a name in a link is written as a URI needs it (RFC 5122 §2.2)")
    func encoding() throws {
        let domain = try BareJID(parsing: "capulet.example")
        let invitation = Invitation(
            at: domain, localpart: "nástěnka;x", makesAccounts: true, by: "chief", InvitationSettings(), now: 0, SeededRandom(seed: 1))
        #expect(invitation.link.uri.hasPrefix("xmpp:n%C3%A1st%C4%9Bnka%3Bx@capulet.example?register;preauth=") && invitation.link.page == nil)
    }

    // MARK: Registration (XEP-0445)

    @Test("whoever has a token makes one account by it, and becomes the inviter's contact, who sees it at once")
    func registered() throws {
        let server = try Self.server()
        let romeo = server.online("romeo/orchard")
        let token = try #require(newToken(execute("invite", by: romeo)))
        #expect(outcome(server.stranger(preauth(token))) == "admitted")
        #expect(outcome(server.stranger(wish("juliet"), token: token)) == "registered")
        #expect(romeo.received().contains { $0.description.contains("jid='juliet@capulet.example'") && $0.description.contains("subscription='both'") })
        #expect(subscription(of: server.online("juliet/balcony"), to: "romeo@capulet.example") == "both")
        #expect(outcome(server.stranger(preauth(token))) == "item-not-found")
        #expect(outcome(server.stranger(wish("rosaline"), token: token)) == "not-allowed")
    }

    @Test("without a token nobody has the form or an account, unless registration is open")
    func needed() throws {
        let server = try Self.server()
        #expect(outcome(server.stranger(wish("juliet"))) == "not-allowed")
        #expect(outcome(server.stranger("<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>")) == "not-allowed")
        #expect(outcome(server.stranger(preauth("x"))) == "item-not-found")
        #expect(outcome(try Self.server(.open).stranger(wish("juliet"))) == "registered")
    }

    @Test("a token is looked at for its time when it is shown, not later (§4)")
    func expiry() throws {
        let server = try Self.server { $0.lifetime = 1_000 }
        let token = try #require(newToken(execute("invite", by: server.online("romeo/orchard"))))
        #expect(outcome(server.stranger(preauth(token))) == "admitted")
        server.advance(by: .seconds(1))
        #expect(outcome(server.stranger(preauth(token))) == "item-not-found")
        #expect(outcome(server.stranger(wish("juliet"), token: token)) == "registered")
    }

    @Test("a refused registration leaves the token as it was, and a name that is given is the only one")
    func refused() throws {
        let server = try Self.server()
        let chief = server.online("chief/desk")
        let token = try #require(newToken(execute("create-account", [("username", "juliet")], by: chief)))
        #expect(outcome(server.stranger(wish("rosaline"), token: token)) == "not-acceptable")
        let other = try #require(newToken(execute("create-account", [], by: chief)))
        #expect(outcome(server.stranger(wish("juliet"), token: other)) == "conflict")
        #expect(outcome(server.stranger(wish("admin"), token: other)) == "conflict")
        #expect(outcome(server.stranger(wish("juliet"), token: token)) == "registered")
        #expect(outcome(server.stranger(wish("rosaline"), token: other)) == "registered")
    }

    @Test("the form of who is invited under a name has it")
    func form() throws {
        let server = try Self.server()
        let token = try #require(newToken(execute("create-account", [("username", "juliet")], by: server.online("chief/desk"))))
        let answer = server.stranger("<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>", token: token)
        guard case .form(let payload) = answer else {
            Issue.record("no form: \(outcome(answer))")
            return
        }
        #expect(try parseElement(payload, limits: .authenticated).firstChild("username", .register)?.text == "juliet")
    }

    @Test("while whoever has made it, or stands behind it, is disabled, an invitation is as good as none")
    func disabled() throws {
        let server = try Self.server()
        let (romeo, chief, juliet) = (server.online("romeo/orchard"), server.online("chief/desk"), server.online("juliet/balcony"))
        let tokens = [try #require(newToken(execute("invite", by: romeo))), try #require(newToken(execute("create-account", [], by: chief)))]
        let stage = try #require(server.context.hosts.host(of: server.domain)?.registering)
        for (name, token) in zip(["romeo", "chief"], tokens) {
            for isEnabled in [false, true] {
                server.edit(name) { _ in .account(.setEnabled(server.address(name), isEnabled)) }
                #expect(outcome(server.stranger(preauth(token))) == (isEnabled ? "admitted" : "item-not-found"))
                if !isEnabled { #expect(outcome(server.stranger(wish("rosaline"), token: token)) == "not-allowed") }
                let router = server.router
                let isOffered = server.wait { (try? await stage.offer(of: token, router)) != nil }
                #expect(isOffered == isEnabled)
            }
        }
        server.edit("romeo") { _ in .account(.setEnabled(server.address("romeo"), false)) }
        let request = "<presence type='subscribe' to='romeo@capulet.example'><preauth xmlns='urn:xmpp:pars:0' token='\(tokens[0])'/></presence>"
        juliet.send(request)
        #expect(subscription(of: juliet, to: "romeo@capulet.example") == "none")
        #expect(outcome(server.stranger(wish("rosaline"), token: tokens[1])) == "registered")
    }

    @Test("what an administrator has made goes with his account, whoever it was for")
    func deletedCreator() throws {
        let server = try Self.server()
        let token = try #require(newToken(execute("create-account", [], by: server.online("chief/desk"))))
        server.edit("chief") { _ in .account(.delete(server.address("chief"))) }
        #expect(outcome(server.stranger(preauth(token))) == "item-not-found")
    }

    @Test("a token is of one domain")
    func otherDomain() throws {
        let server = try Self.server(domains: ["montague.example", "capulet.example"])
        let token = try #require(newToken(execute("invite", by: server.client("juliet@capulet.example/balcony"))))
        #expect(outcome(server.stranger(preauth(token))) == "item-not-found")
    }

    // MARK: Subscriptions (XEP-0379)

    @Test("a request with a token is approved in the inviter's name, who asks in turn; once (§3.4, §3.5)")
    func subscribed() throws {
        let server = try Self.server()
        let romeo = server.online("romeo/orchard")
        let token = try #require(newToken(execute("invite", by: romeo)))
        let (juliet, rosaline) = (server.online("juliet/balcony"), server.online("rosaline/garden"))
        let request = "<presence type='subscribe' to='romeo@capulet.example'><preauth xmlns='urn:xmpp:pars:0' token='\(token)'/></presence>"
        juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
        juliet.send(request)
        #expect(subscription(of: juliet, to: "romeo@capulet.example") == "both")
        #expect(subscription(of: romeo, to: "juliet@capulet.example") == "both")
        romeo.forget()
        rosaline.send(request)
        #expect(romeo.received().contains { $0.element.attribute("type") == "subscribe" })
        #expect(subscription(of: rosaline, to: "romeo@capulet.example") == "none")
    }

    @Test("a token of somebody else, of nobody, or too old asks like everybody does", arguments: ["tybalt", "nobody", "late"])
    func unwelcome(whose: String) throws {
        let server = try Self.server { $0.lifetime = 1_000 }
        let (romeo, tybalt, juliet) = (server.online("romeo/orchard"), server.online("tybalt/street"), server.online("juliet/balcony"))
        let token = whose == "nobody" ? "x" : try #require(newToken(execute("invite", by: whose == "tybalt" ? tybalt : romeo)))
        if whose == "late" { server.advance(by: .seconds(1)) }
        romeo.forget()
        juliet.send("<presence type='subscribe' to='romeo@capulet.example'><preauth xmlns='urn:xmpp:pars:0' token='\(token)'/></presence>")
        #expect(romeo.received().contains { $0.element.attribute("type") == "subscribe" })
        #expect(subscription(of: juliet, to: "romeo@capulet.example") == "none")
    }
}
