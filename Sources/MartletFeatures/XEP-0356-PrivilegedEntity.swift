package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let privilege: Namespace = "urn:xmpp:privilege:2"
}

/// What components may do with accounts, as the operator says: read and change rosters, send messages and make requests in accounts' names, and
/// hear of presence.
///
/// Whatever is done so goes the way on which the account's own clients do it, and can do no more than those. Only the component's own address is
/// privileged, not the others of its domain. What is refused is `forbidden`, and is in the audit log.
package struct PrivilegedEntity: Feature {
    package static let specification = Specification.xep(356, "Privileged Entity", version: "0.4.1", note: "for components")
    private let grants: [ComponentGrant]

    package init(_ grants: [ComponentGrant] = []) { self.grants = grants.filter { $0.privileges != ComponentPrivileges() } }
}

// MARK: What they may do (§4.2, §5.2, §6.2, §7.2, §7.5)

extension PrivilegedEntity: ComponentStage {
    package func greet(_ session: ComponentSession, replacing former: ComponentPowers) {
        let powers = session.component.settings?.powers ?? ComponentPowers()
        for domain in powers.domains.union(former.domains).sorted(by: { $0.domainpart < $1.domainpart }) {
            let (privileges, before) = (powers.privileges(over: domain), former.privileges(over: domain))
            guard privileges != before, session.context.hosts.host(of: domain) != nil else { continue }
            session.send(Self.announcement(of: privileges, replacing: before, from: domain, to: session))
            guard privileges.presence != .none, privileges.presence != before.presence else { continue }
            session.router.showEverybody(of: domain, to: session, withContacts: privileges.hearsContacts, session.context)
        }
    }

    private static func announcement(
        of privileges: ComponentPrivileges, replacing former: ComponentPrivileges, from domain: BareJID, to session: ComponentSession
    ) -> EncodedStanza {
        StanzaBuilder.message(.normal, from: .bare(domain), to: .bare(session.component.name), id: session.context.random.token()) { writer in
            writer.element("privilege", .privilege) { write(privileges, replacing: former, to: &$0) }
        }
    }

    /// What was told before and is not so any more is told as `none`.
    private static func write(_ privileges: ComponentPrivileges, replacing former: ComponentPrivileges, to writer: inout XMLWriter) {
        func permission(_ access: String, _ type: String, _ formerType: String, push: String? = nil) {
            guard type != "none" || formerType != "none" else { return }
            writer.element("perm", .privilege, ["access": access, "type": type, "push": push])
        }
        let push = privileges.roster.allows(.get) ? (privileges.pushesRoster ? "true" : "false") : nil
        permission("roster", privileges.roster.rawValue, former.roster.rawValue, push: push)
        permission("message", privileges.message.rawValue, former.message.rawValue)
        let namespaces = Set(privileges.requests.keys).union(former.requests.keys).sorted()
        if !namespaces.isEmpty {
            writer.element("perm", .privilege, ["access": "iq"]) { writer in
                for name in namespaces {
                    writer.element("namespace", .privilege, ["ns": name, "type": (privileges.requests[name] ?? .none).rawValue])
                }
            }
        }
        permission("presence", privileges.presence.rawValue, former.presence.rawValue)
    }

    package func take(_ stanza: Stanza, to: JID, of session: ComponentSession, _ completion: Completion) -> Progress? {
        switch stanza.kind {
        case .iq(.get): request(stanza, .get, to, session, completion)
        case .iq(.set): request(stanza, .set, to, session, completion)
        case .message(.error), .presence, .iq(.result), .iq(.error): nil
        case .message: message(stanza, to, session, completion)
        }
    }

    private func request(
        _ stanza: Stanza, _ kind: IQRequest.Kind, _ to: JID, _ session: ComponentSession, _ completion: Completion
    ) -> Progress? {
        guard let child = stanza.element.root.firstChild else { return nil }
        if child.isNamed("privileged_iq", .privilege) { return privileged(child, stanza, kind, to, session) }
        guard child.isNamed("query", .roster), case .bare(let account) = to, Self.isAccount(account, session) else { return nil }
        return roster(stanza, kind, of: account, session, completion)
    }

    private static func isAccount(_ address: BareJID, _ session: ComponentSession) -> Bool {
        !address.isDomain && session.context.hosts.host(of: address) != nil
    }

    /// What whoever sent a stanza may do with a domain's accounts.
    private static func privileges(of stanza: Stanza, over domain: BareJID, _ session: ComponentSession) -> ComponentPrivileges {
        guard stanza.from.bare == session.component.name else { return ComponentPrivileges() }
        return session.component.settings?.powers.privileges(over: domain) ?? ComponentPrivileges()
    }

    private static func forbid(_ stanza: Stanza, _ action: String, at domain: BareJID, _ session: ComponentSession, _ text: String? = nil) -> Progress {
        session.context.hosts.host(of: domain)?.policy.refused(component: stanza.from.bare, action)
        return session.refuse(stanza, .forbidden(text))
    }
}

// MARK: Rosters (§4)

extension PrivilegedEntity {
    private func roster(
        _ stanza: Stanza, _ kind: IQRequest.Kind, of account: BareJID, _ session: ComponentSession, _ completion: Completion
    ) -> Progress {
        guard Self.privileges(of: stanza, over: account.domain, session).roster.allows(kind) else {
            return Self.forbid(stanza, "roster \(kind) of \(account)", at: account.domain, session)
        }
        return session.router.iq(forOwner: stanza, kind, of: account, completion, session.context)
    }
}

// MARK: Messages (§5)

extension PrivilegedEntity {
    private func message(_ stanza: Stanza, _ to: JID, _ session: ComponentSession, _ completion: Completion) -> Progress? {
        guard let privilege = stanza.element.firstChild("privilege", .privilege), session.context.hosts.host(of: to.bare) != nil else { return nil }
        guard let forwarded = privilege.firstChild("forwarded", .forwarding)?.firstChild("message", .client) else {
            return session.refuse(stanza, .badRequest("a message is forwarded (XEP-0297)"))
        }
        guard let text = forwarded.attribute("from"), let sender = try? JID(text) else {
            return session.refuse(stanza, .badRequest("the forwarded message is from nobody"))
        }
        let domain = sender.bare.domain
        guard Self.privileges(of: stanza, over: domain, session).message == .outgoing else {
            return Self.forbid(stanza, "message from \(sender)", at: to.bare.domain, session)
        }
        guard case .bare(let account) = sender else {
            return Self.forbid(stanza, "message from \(sender)", at: domain, session, "the forwarded message has to be from a bare address")
        }
        return send(forwarded, from: account, for: stanza, session, completion)
    }

    private func send(
        _ forwarded: ElementView, from account: BareJID, for stanza: Stanza, _ session: ComponentSession, _ completion: Completion
    ) -> Progress {
        // Without 'to' it is for the sender's own account (RFC 6120 §10.3); the server has none.
        let address = forwarded.attribute("to") ?? (account.isDomain ? "" : account.description)
        guard let to = try? JID(address) else { return session.refuse(stanza, .jidMalformed) }
        var writer = XMLWriter()
        writer.open(copying: forwarded, setting: ["from": account.description, "to": to.description])
        writer.appendContent(of: forwarded)
        writer.close()
        guard let message = Stanza(sent: EncodedStanza(writer.buffer)), case .message(let type) = message.kind else {
            return session.refuse(stanza, .internalServerError)
        }
        if account.isDomain { return session.router.message(ofServer: message, type, to: to, completion, session.context) }
        let component = session.component
        return session.router.message(inName: message, type, to: to, completion, session.context) { error, context in
            _ = component.deliver(StanzaBuilder.error(error, answering: stanza), context)
        }
    }
}

// MARK: Requests (§6)

extension PrivilegedEntity {
    /// Everything that §6.3 forbids is forbidden; what is no request at all is a bad one.
    private func privileged(
        _ element: ElementView, _ stanza: Stanza, _ kind: IQRequest.Kind, _ to: JID, _ session: ComponentSession
    ) -> Progress? {
        guard session.context.hosts.host(of: to.bare) != nil else { return nil }
        let domain = to.bare.domain
        guard case .bare(let account) = to, !account.isDomain else { return Self.forbid(stanza, "request to \(to)", at: domain, session) }
        guard let request = element.onlyChild, request.localName == "iq", let payload = request.onlyChild, let id = request.attribute("id")
        else { return session.refuse(stanza, .badRequest("a request has an id and exactly one child")) }
        let action = "\(payload.localName) \(kind) in \(payload.namespaceName) for \(account)"
        let access = Self.privileges(of: stanza, over: domain, session).requests[payload.namespaceName] ?? .none
        guard access.allows(kind), request.isIn(.client), IQType(of: request) == (kind == .get ? .get : .set),
            Self.isFrom(account, request.attribute("from"))
        else { return Self.forbid(stanza, action, at: domain, session) }
        guard let target = try? JID(request.attribute("to") ?? account.description) else { return session.refuse(stanza, .jidMalformed) }
        ask(request, kind, id: id, to: target, inNameOf: account, for: stanza, session)
        return .done
    }

    private static func isFrom(_ account: BareJID, _ text: String?) -> Bool {
        guard let text else { return true }
        return (try? JID(text)) == .bare(account)
    }

    /// The answer is given to the component as it came, under the name that the component has given the request. Of an error what it is given in is one
    /// as well, which the XEP does not say; slixmpp takes it so.
    private func ask(
        _ request: ElementView, _ kind: IQRequest.Kind, id: String, to: JID, inNameOf account: BareJID, for stanza: Stanza, _ session: ComponentSession
    ) {
        let component = session.component
        session.router.ask(request, kind, to: to, inNameOf: account, by: component, session.context) { answer, context in
            let error = answer.element.firstChild("error", .client)
            let reply = StanzaBuilder.iq(error == nil ? .result : .error, from: .bare(account), to: stanza.from, id: stanza.id ?? "") { writer in
                writer.open("privilege", .privilege)
                writer.open("forwarded", .forwarding)
                writer.open(copying: answer.element.root, setting: ["from": answer.from.description, "to": answer.to?.description, "id": id])
                writer.appendContent(of: answer.element.root)
                writer.close()
                writer.close()
                writer.close()
                if let error { writer.append(error) }
            }
            _ = component.deliver(reply, context)
        }
    }
}

// MARK: Roster pushes and presence (§4.4, §7)

extension PrivilegedEntity: WatchingStage {
    package var hearsContacts: Bool { grants.contains { $0.privileges.hearsContacts } }

    package func rosterChanged(_ change: RosterChange, of home: AccountHome, _ context: LoopContext) {
        for grant in grants where grant.privileges.pushesRoster && grant.component.isConnected {
            let component = grant.component
            let push = RosterPush.encode(change, home.roster, from: home.address, to: .bare(component.name), id: context.random.token())
            _ = component.deliver(push, context)
        }
    }

    /// Only that a session comes and goes, not what it says in between (§7.1).
    package func presenceChanged(_ presence: borrowing Stanza, of home: AccountHome, _ context: LoopContext) {
        for grant in grants where grant.privileges.presence != .none { grant.component.show(presence, context) }
    }

    package func heard(_ presence: borrowing Stanza, _ context: LoopContext) {
        for grant in grants where grant.privileges.hearsContacts { grant.component.show(presence, context) }
    }

    package func isNews(_ presence: borrowing Stanza, _ context: LoopContext) -> Bool {
        for grant in grants where grant.privileges.hearsContacts && grant.component.isNews(presence, context) { return true }
        return false
    }
}
