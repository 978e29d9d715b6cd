import MartletCore
import MartletXMPP
import NIOCore
import NIOHTTP1

/// What a browser is shown that follows an invitation's link (XEP-0401 §4.2): who invites, the link for a client, and, where one may make an
/// account, a form for that.
///
/// There is nothing to log in to and no cookie: whoever has the address has the invitation, and the form is sent to that same address. So nobody
/// can have another's browser use what he does not have himself. No script runs, and the address is not told to where links lead.
struct InvitationPage: WebResource {
    static let prefix = "/invite/"
    /// Longest token that is looked for, in bytes; ours are shorter.
    static let tokenBytesMax = 64

    let methods = [HTTPMethod.GET, .POST]
    /// A name and a password twice, each byte written as three.
    let bodyBytesMax = 16_384
    let isForScripts = false
    let token: String

    /// - Parameter path: begins with ``prefix``.
    init?(path: String) {
        let token = path.dropFirst(Self.prefix.count)
        guard path.hasPrefix(Self.prefix), (1...Self.tokenBytesMax).contains(token.utf8.count), token.utf8.allSatisfy(Self.isTokenByte) else { return nil }
        self.token = String(token)
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        default: false
        }
    }

    func answer(_ request: WebRequest, on connection: WebConnection) {
        // Passwords are sent from here.
        guard request.isSecure || connection.listener.policy.allowsPlaintext else {
            return connection.answer(InvitationHTML.page(.forbidden, "This page needs encryption", "Use a link that begins with https."))
        }
        let wish: InvitationForm?
        if request.head.method == .POST {
            guard let read = InvitationForm(request.body) else { return connection.answer(Self.malformed) }
            guard connection.listener.service.takesRegistration(request.sender, at: connection.loop.context.time.monotonic) else {
                return connection.answer(Self.tooMany)
            }
            wish = read
        } else {
            wish = nil
        }
        let visit = Visit(token: token, wish: wish, sender: request.sender, remoteAddress: connection.remoteAddress, listeners: connection.listeners)
        let stages = connection.loop.context.hosts.hosts.compactMap { host in host.registering.map { (host.domain, $0) } }
        let (router, mailbox) = (connection.listener.service.router, connection.loop.context.mailbox)
        let reply = NIOLoopBound(connection, eventLoop: connection.loop.loop)
        // It waits for the disk, and for a key derivation.
        Task(executorPreference: connection.loop.executor) {
            let answer = await visit.answer(stages, router, on: mailbox)
            mailbox.run { _ in reply.value.answer(answer) }
        }
    }

    private static let malformed = InvitationHTML.page(.badRequest, "This cannot be read", "The form was not sent as a browser sends it.")
    private static let tooMany = InvitationHTML.page(.tooManyRequests, "Too many tries", "Try again in an hour.")

    /// Somebody has followed a link, and perhaps filled in the form.
    private struct Visit: Sendable {
        let token: String
        let wish: InvitationForm?
        let sender: NetworkAddress?
        let remoteAddress: String
        /// Where clients connect.
        let listeners: [ClientListener]

        private var address: String { sender.map { "\($0)" } ?? remoteAddress }

        func answer(_ stages: [(BareJID, any RegisteringStage)], _ router: Router, on mailbox: LoopMailbox) async -> WebAnswer {
            let offer: InvitationOffer?
            do throws(StoreError) { offer = try await stages.first?.1.offer(of: token, router) } catch { return InvitationHTML.unavailable }
            guard let offer, let stage = stages.first(where: { $0.0 == offer.domain })?.1 else { return InvitationHTML.gone }
            guard offer.makesAccounts else { return InvitationHTML.invitation(offer) }
            // The account would have a password and nothing else.
            let ways = WaysIn(listeners.compactMap { $0.login(at: offer.domain.domainpart, from: sender) })
            guard takes(offer, ways) else { return InvitationHTML.passwordless(offer, wish == nil ? .ok : .forbidden) }
            guard let wish else { return InvitationHTML.invitation(offer) }
            guard wish.password == wish.again else { return InvitationHTML.invitation(offer, wish, "The two passwords are not the same.") }
            let name = offer.localpart ?? wish.name
            switch await stage.register(name, wish.password, by: token, at: offer.domain, ways, from: address, router, on: mailbox) {
            case .registered:
                // As the account is called, which may not be as it was typed.
                return InvitationHTML.welcome(offer, (try? BareJID(localpart: name, domainpart: offer.domain.domainpart))?.localpart ?? name)
            case .refused(let error): return InvitationHTML.invitation(offer, wish, InvitationHTML.explanation(of: error))
            case .form, .admitted: return InvitationHTML.unavailable
            }
        }

        /// Whoever chooses his name may choose one that rules name, which is found out when he has.
        private func takes(_ offer: InvitationOffer, _ ways: WaysIn) -> Bool {
            guard let name = offer.localpart else { return ways.takeStrangers }
            return (try? BareJID(localpart: name, domainpart: offer.domain.domainpart)).map(ways.takePassword) ?? false
        }
    }
}

extension ClientListener {
    /// What holds for log-ins of somebody who comes to it from an address, with TLS as it usually is; `nil` if nobody logs in here.
    fileprivate func login(at domain: String, from address: NetworkAddress?) -> LoginPolicy? {
        guard configuration.kind != .challenge else { return nil }
        let bindings = configuration.kind == .http ? [] : [ChannelBinding(.tlsExporter, data: []), ChannelBinding(.tlsServerEndPoint, data: [])]
        let origin = LoginOrigin(listener: configuration.name, address: address?.octets)
        let certification: ClientCertification = service.clientCertificates.demand(of: domain) == .require ? .required(nil) : .none
        return LoginPolicy(policy, on: LoginConnection(at: domain, from: origin, isSecure: true, bindings: bindings, certification))
    }
}
