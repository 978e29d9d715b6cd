import MartletXMPP
package import NIOCore
import NIOHTTP1

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Gets certificates from an authority (RFC 8555), which looks by HTTP whether names are ours.
///
/// Everything an authority says is bounded and checked, and nothing is asked of another host than its own: whoever is in its place can keep a
/// certificate from being renewed, and no more.
package struct ACMEClient: Sendable {
    package struct Settings: Sendable {
        package var directory: HTTPURL
        /// URIs, `mailto:` as a rule.
        package var contacts: [String] = []
        package var binding: ACMEBinding?
        /// For a request and its answer.
        package var requestDeadline = TimeAmount.seconds(30)
        /// Times that it is asked whether something has come to its end.
        package var pollsMax = 30
        /// Between two of them, in seconds, whatever the authority says.
        package var pollSeconds = 1...30

        package init(directory: HTTPURL) { self.directory = directory }
    }

    /// Longest answer, in bytes.
    package static let answerBytesMax = 256 * 1024
    /// Names of one certificate.
    package static let namesMax = 100
    /// Times that a request is made again since its nonce was not taken (RFC 8555 §6.5).
    package static let noncesMax = 4

    private let fetch: HTTPFetch
    private let settings: Settings
    private let key: ACMEKey
    private let challenges: ACMEChallenges
    private let wait: @Sendable (Duration) async -> Void

    /// - Parameter wait: between two questions; returns early when nobody wants to know any more.
    package init(
        _ fetch: HTTPFetch, _ settings: Settings, _ key: ACMEKey, _ challenges: ACMEChallenges,
        wait: @escaping @Sendable (Duration) async -> Void = { try? await Task.sleep(for: $0) }
    ) {
        (self.fetch, self.settings, self.key, self.challenges, self.wait) = (fetch, settings, key, challenges, wait)
    }

    /// - Parameter tell: told of what has been done, in words for the operator.
    /// - Returns: the chain, in PEM, the certificate first. What is in it has not been looked at.
    package func certificate(
        _ names: CertificateNames, _ request: CertificateRequest, _ tell: @Sendable (String) -> Void = { _ in }
    ) async throws(ACMEError) -> String {
        guard names.domains.count <= Self.namesMax else { throw .malformed("more than \(Self.namesMax) names would be in the certificate") }
        var exchange = ACMEExchange(fetch, settings, key)
        try await exchange.begin()
        tell("\(settings.directory) knows the account")
        let identifiers = names.domains.map { "{\"type\":\"dns\",\"value\":\(JSONText.quoted($0.asciiDomainpart.lowercased()))}" }
        let made = try await exchange.post("{\"identifiers\":[\(identifiers.joined(separator: ","))]}", to: exchange.newOrder)
        let place = try exchange.location(of: made)
        var order: ACMEOrder = try made.decoded("an order")
        guard order.authorizations.count <= Self.namesMax else { throw .malformed("it wants to see more than it was asked for") }
        if order.status == .pending {
            try await prove(order.authorizations, &exchange, tell)
            order = try await poll(place, "the order", &exchange) { $0.status != .pending }
        }
        if order.status == .ready {
            tell("all names are proved; it is asked for the certificate")
            let finalize = try exchange.place(order.finalize)
            order = try await exchange.post("{\"csr\":\"\(Base64URL.encoded(request.der))\"}", to: finalize).decoded("an order")
        }
        if order.status == .processing || order.status == .ready {
            order = try await poll(place, "the certificate", &exchange) { $0.status == .valid || $0.status == .invalid }
        }
        guard order.status == .valid, let certificate = order.certificate else { throw .failed(order.error) }
        let chain = try await exchange.post("", to: exchange.place(certificate), accept: "application/pem-certificate-chain")
        return String(decoding: chain.bytes, as: UTF8.self)
    }

    /// When the authority would like to be asked for another certificate in the place of one; `nil` if it does not say.
    package func renewalWindow(of certificate: IssuedCertificate) async throws(ACMEError) -> RenewalWindow? {
        guard let identifier = certificate.renewalIdentifier else { return nil }
        return try await ACMEExchange(fetch, settings, key).renewalWindow(of: identifier)
    }

    /// A name that the authority is looking at.
    private struct Look {
        let place: HTTPURL
        let name: String
    }

    /// Lets the authority see that all names are ours: it looks at all of them before it is asked about the first.
    private func prove(_ authorizations: [String], _ exchange: inout ACMEExchange, _ tell: @Sendable (String) -> Void) async throws(ACMEError) {
        var tokens: [String] = []
        defer { for token in tokens { challenges.close(token) } }
        var looks: [Look] = []
        for text in authorizations {
            if let look = try await begin(exchange.place(text), &tokens, &exchange) { looks.append(look) }
        }
        for look in looks {
            tell("it looks whether \(look.name) is ours")
            let outcome: ACMEAuthorization = try await poll(look.place, "the look at \(look.name)", &exchange) { $0.status != .pending }
            guard outcome.status == .valid else { throw .unproved(look.name, outcome.byHTTP?.error) }
        }
    }

    /// - Parameter tokens: gets the one that is open from then on.
    /// - Returns: `nil` if it has looked before.
    private func begin(_ place: HTTPURL, _ tokens: inout [String], _ exchange: inout ACMEExchange) async throws(ACMEError) -> Look? {
        let authorization: ACMEAuthorization = try await exchange.post("", to: place).decoded("an authorization")
        let name = PeerCertificate.Name.printable(authorization.identifier.value)
        guard authorization.status == .pending else {
            if authorization.status == .valid { return nil }
            throw .unproved(name, authorization.byHTTP?.error)
        }
        guard let challenge = authorization.byHTTP, let token = challenge.token else { throw .noChallenge(name) }
        guard challenges.open(token, key.authorization(of: token)) else { throw .malformed("the token of a challenge") }
        tokens.append(token)
        _ = try await exchange.post("{}", to: exchange.place(challenge.url))
        return Look(place: place, name: name)
    }

    private func poll<Value: Decodable>(
        _ place: HTTPURL, _ what: String, _ exchange: inout ACMEExchange, until isDone: (Value) -> Bool
    ) async throws(ACMEError) -> Value {
        for _ in 0..<settings.pollsMax {
            let answer = try await exchange.post("", to: place)
            let value: Value = try answer.decoded("what it says of \(what)")
            if isDone(value) { return value }
            let seconds = min(max(answer.retryAfter ?? settings.pollSeconds.lowerBound, settings.pollSeconds.lowerBound), settings.pollSeconds.upperBound)
            await wait(.seconds(seconds))
            if Task.isCancelled { break }
        }
        throw .unfinished(what)
    }
}

/// Requests to an authority, one after the other: with its nonces, and in the name of an account.
struct ACMEExchange {
    private let fetch: HTTPFetch
    private let settings: ACMEClient.Settings
    private let key: ACMEKey
    private var signer = ACMEKey.Signer.bearer
    private var nonce: String?
    private var newNonce: HTTPURL
    private(set) var newOrder: HTTPURL

    /// Longest nonce, in bytes.
    private static let nonceBytesMax = 512

    init(_ fetch: HTTPFetch, _ settings: ACMEClient.Settings, _ key: ACMEKey) {
        (self.fetch, self.settings, self.key) = (fetch, settings, key)
        (newNonce, newOrder) = (settings.directory, settings.directory)
    }

    /// Reads the directory, and finds or makes the account (RFC 8555 §7.3: who has one with that key gets it).
    mutating func begin() async throws(ACMEError) {
        let directory = try await directory()
        newNonce = try place(directory.newNonce)
        newOrder = try place(directory.newOrder)
        let newAccount = try place(directory.newAccount)
        var members = ["\"termsOfServiceAgreed\":true"]
        if !settings.contacts.isEmpty { members.append("\"contact\":\(JSONText.list(settings.contacts))") }
        if let binding = settings.binding { members.append("\"externalAccountBinding\":\(key.bound(to: binding, at: newAccount))") }
        let answer = try await post("{\(members.joined(separator: ","))}", to: newAccount)
        let account: ACMEAccount = try answer.decoded("an account")
        guard account.status == "valid" else { throw .malformed("the account is \(PeerCertificate.Name.printable(account.status))") }
        let url = try location(of: answer)
        signer = .account(url.description)
        // An account that was there keeps what it had.
        if answer.status == 200, account.contact ?? [] != settings.contacts {
            _ = try await post("{\"contact\":\(JSONText.list(settings.contacts))}", to: url)
        }
    }

    private func directory() async throws(ACMEError) -> ACMEDirectory {
        try await ask(HTTPRequest(settings.directory, bytesMax: ACMEClient.answerBytesMax, deadline: settings.requestDeadline))
            .success().decoded("the directory")
    }

    /// Asked without an account (RFC 9773 §4.1).
    func renewalWindow(of identifier: String) async throws(ACMEError) -> RenewalWindow? {
        guard let base = try await directory().renewalInfo else { return nil }
        let url = try place(base.hasSuffix("/") ? base + identifier : "\(base)/\(identifier)")
        let answer = try await ask(HTTPRequest(url, bytesMax: ACMEClient.answerBytesMax, deadline: settings.requestDeadline)).success()
        let info: ACMERenewalInfo = try answer.decoded("renewal information")
        guard let window = RenewalWindow(info, seconds: answer.retryAfter) else { throw .malformed("the window for a renewal") }
        return window
    }

    /// A request. - Parameter payload: empty for what is only read (RFC 8555 §6.3).
    mutating func post(_ payload: String, to url: HTTPURL, accept: String = "application/json") async throws(ACMEError) -> HTTPResponse {
        for _ in 0..<ACMEClient.noncesMax {
            let nonce = try await takeNonce()
            let message: [UInt8]
            do { message = try key.signed(payload, to: url, nonce: nonce, by: signer) } catch { throw .malformed("nothing can be signed: \(error)") }
            var request = HTTPRequest(
                url, .post(message, type: "application/jose+json"), bytesMax: ACMEClient.answerBytesMax, deadline: settings.requestDeadline)
            request.accept = accept
            let answer = try await ask(request)
            self.nonce = Self.nonce(of: answer)
            do throws(ACMEError) { return try answer.success() } catch {
                guard case .refused(let problem, _, _) = error, problem.name == "badNonce" else { throw error }
            }
        }
        throw .nonces
    }

    private mutating func takeNonce() async throws(ACMEError) -> String {
        if let nonce {
            self.nonce = nil
            return nonce
        }
        let answer = try await ask(HTTPRequest(newNonce, bytesMax: ACMEClient.answerBytesMax, deadline: settings.requestDeadline)).success()
        guard let nonce = Self.nonce(of: answer) else { throw .malformed("there is no nonce") }
        return nonce
    }

    /// RFC 8555 §6.5.1.
    private static func nonce(of answer: HTTPResponse) -> String? {
        guard let nonce = answer.headers.first(name: "Replay-Nonce"), (1...nonceBytesMax).contains(nonce.utf8.count) else { return nil }
        return Base64URL.decoded(nonce) == nil ? nil : nonce
    }

    private func ask(_ request: HTTPRequest) async throws(ACMEError) -> HTTPResponse {
        do throws(HTTPFetchError) { return try await fetch.response(to: request) } catch { throw .unreachable(request.url.description, error) }
    }

    /// A URL that the authority has said: on its own host, by the same scheme.
    func place(_ text: String) throws(ACMEError) -> HTTPURL {
        guard let url = HTTPURL(text), url.host == settings.directory.host, url.scheme == settings.directory.scheme else { throw .elsewhere(text) }
        return url
    }

    func location(of answer: HTTPResponse) throws(ACMEError) -> HTTPURL {
        guard let text = answer.headers.first(name: "Location") else { throw .malformed("it does not say where something is that it has made") }
        return try place(text)
    }
}

extension HTTPResponse {
    /// Itself, if it is not that something is wrong.
    fileprivate func success() throws(ACMEError) -> HTTPResponse {
        guard !(200...299).contains(status) else { return self }
        let problem = try? JSONDecoder().decode(ACMEProblem.self, from: Data(bytes))
        throw .refused(problem ?? ACMEProblem(), status: status, retryAfter: retryAfter)
    }

    fileprivate func decoded<Value: Decodable>(_ what: String) throws(ACMEError) -> Value {
        do { return try JSONDecoder().decode(Value.self, from: Data(bytes)) } catch { throw .malformed(what) }
    }

    /// In seconds (RFC 9110 §10.2.3); a date counts as nothing said.
    fileprivate var retryAfter: Int? {
        headers.first(name: "Retry-After").flatMap { Int($0) }.flatMap { (0...7 * 86_400).contains($0) ? $0 : nil }
    }
}
