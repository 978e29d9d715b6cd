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
        let wish: Wish?
        if request.head.method == .POST {
            guard let read = Wish(request.body) else { return connection.answer(Self.malformed) }
            guard connection.listener.service.takesRegistration(request.sender, at: connection.loop.context.time.monotonic) else {
                return connection.answer(Self.tooMany)
            }
            wish = read
        } else {
            wish = nil
        }
        let visit = Visit(token: token, wish: wish, address: request.sender.map { "\($0)" } ?? connection.remoteAddress)
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

    /// What was filled in.
    struct Wish: Hashable {
        let name: String
        let password: String
        let again: String

        /// Reads `application/x-www-form-urlencoded`.
        init?(_ body: ByteBuffer) {
            var fields: [String: String] = [:]
            for pair in body.readableBytesView.split(separator: UInt8(ascii: "&")) {
                let halves = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
                guard halves.count == 2, let name = Self.decoded(halves[0]), let value = Self.decoded(halves[1]), fields[name] == nil else { return nil }
                fields[name] = value
            }
            guard let name = fields["username"], let password = fields["password"], let again = fields["again"] else { return nil }
            (self.name, self.password, self.again) = (name, password, again)
        }

        private static func decoded(_ bytes: ByteBufferView) -> String? {
            var result: [UInt8] = []
            var rest = bytes[...]
            while let byte = rest.popFirst() {
                switch byte {
                case UInt8(ascii: "+"): result.append(0x20)
                case UInt8(ascii: "%"):
                    guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else { return nil }
                    result.append(high << 4 | low)
                default: result.append(byte)
                }
            }
            return String(validating: result, as: UTF8.self)
        }

        private static func hexValue(_ digit: UInt8) -> UInt8? {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
            default: nil
            }
        }
    }

    /// Somebody has followed a link, and perhaps filled in the form.
    private struct Visit: Sendable {
        let token: String
        let wish: Wish?
        let address: String

        func answer(_ stages: [(BareJID, any RegisteringStage)], _ router: Router, on mailbox: LoopMailbox) async -> WebAnswer {
            let offer: InvitationOffer?
            do throws(StoreError) { offer = try await stages.first?.1.offer(of: token, router) } catch { return InvitationHTML.unavailable }
            guard let offer, let stage = stages.first(where: { $0.0 == offer.domain })?.1 else { return InvitationHTML.gone }
            guard let wish, offer.makesAccounts else { return InvitationHTML.invitation(offer) }
            guard wish.password == wish.again else { return InvitationHTML.invitation(offer, wish, "The two passwords are not the same.") }
            let name = offer.localpart ?? wish.name
            switch await stage.register(name, wish.password, by: token, at: offer.domain, from: address, router, on: mailbox) {
            case .registered: return InvitationHTML.welcome(offer, name)
            case .refused(let error): return InvitationHTML.invitation(offer, wish, InvitationHTML.explanation(of: error))
            case .form, .admitted: return InvitationHTML.unavailable
            }
        }
    }
}
