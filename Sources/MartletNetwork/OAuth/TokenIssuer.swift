import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// How something is asked of an authorization server.
package struct TokenIssuerFetch: Sendable {
    package typealias Fetch = @Sendable (HTTPRequest) async throws(HTTPFetchError) -> HTTPAnswer

    /// At places that the operator has named.
    package var named: Fetch
    /// At places that an answer names.
    package var found: Fetch

    package init(named: @escaping Fetch, found: @escaping Fetch) { (self.named, self.found) = (named, found) }

    package static let nothing = TokenIssuerFetch(
        named: { request throws(HTTPFetchError) in throw .notAllowed(request.url) }, found: { request throws(HTTPFetchError) in throw .notAllowed(request.url) })
}

/// An authorization server, as far as it is known here: its keys, or what it has said of tokens.
///
/// Nothing is fetched while anybody waits, unless a token names a key that is not known: then the keys are fetched once for all who wait, and for a bounded
/// time. What cannot be found out is neither good nor bad, and the client may try again.
package final class TokenIssuer: Sendable {
    /// For keys, with the description that says where they are: so long may a log-in have to wait for them.
    package static let fetchDeadline = TimeAmount.seconds(5)
    /// For what is asked about one token.
    package static let questionDeadline = TimeAmount.seconds(5)
    /// Most tokens that are asked about at a time. Further ones are refused for the moment.
    package static let questionsMax = 64
    /// How often an authorization server may send on to another place for its keys.
    static let redirectsMax = 2

    package let settings: TokenIssuerSettings

    private struct State {
        var keys: SigningKeys?
        var refresh = KeyRefresh()
        /// Whoever else needs keys waits for the same.
        var fetching: Task<Void, Never>?
        /// Why the last fetch failed.
        var fault: String?
        var memory = TokenMemory()
        var questions = 0
    }
    // Held for look-ups, once or twice in a log-in.
    private let state: NIOLockedValueBox<State>
    private let fetch: TokenIssuerFetch
    private let now: @Sendable () -> NIODeadline

    /// - Parameter old: the same issuer before a reload: what is known of it stays known.
    package init(
        _ settings: TokenIssuerSettings, _ fetch: TokenIssuerFetch, after old: TokenIssuer? = nil, now: @escaping @Sendable () -> NIODeadline = { .now() }
    ) {
        self.settings = settings
        self.fetch = fetch
        self.now = now
        var state = State()
        if let known = old?.state.withLockedValue({ $0 }) { (state.keys, state.refresh, state.memory) = (known.keys, known.refresh, known.memory) }
        self.state = NIOLockedValueBox(state)
    }

    /// Whose token it is.
    ///
    /// - Parameters:
    ///   - domain: whose accounts are meant.
    ///   - wall: seconds since 1970.
    package func grant(of token: BearerToken, at domain: String, wall: Int) async throws(TokenFault) -> TokenGrant {
        switch settings.proof {
        case .signature:
            return try await claims(of: try SignedToken(token)).grant(settings, at: domain, now: wall)
        case .introspection(let introspection):
            return try await claims(of: token, introspection, wall).grant(settings, at: domain, now: wall, isIntrospected: true)
        }
    }

    // MARK: Signatures

    private func claims(of token: SignedToken) async throws(TokenFault) -> TokenClaims {
        if let claims = try knownClaims(of: token) { return claims }
        await refreshKeys { $0.mayTry($1) }
        if let claims = try knownClaims(of: token) { return claims }
        guard usableKeys != nil, isCurrent else { throw .unavailable(fault ?? "there are no keys") }
        throw .unknownKey
    }

    /// `nil` if it is signed by a key that is not known.
    private func knownClaims(of token: SignedToken) throws(TokenFault) -> TokenClaims? {
        do throws(TokenFault) { return try usableKeys?.claims(of: token) } catch .unknownKey { return nil } catch { throw error }
    }

    private var usableKeys: SigningKeys? {
        let moment = now()
        return state.withLockedValue { $0.refresh.isUsable(moment) ? $0.keys : nil }
    }

    private var isCurrent: Bool { state.withLockedValue { $0.refresh.isCurrent } }
    private var fault: String? { state.withLockedValue { $0.fault } }

    /// Fetches keys that will be out of date.
    ///
    /// - Returns: why that could not be done, if it was tried.
    package func keepUp() async -> String? {
        guard case .signature = settings.proof, await refreshKeys({ $0.isDue($1) }) else { return nil }
        return fault
    }

    /// - Returns: whether anything was fetched, or tried.
    @discardableResult
    private func refreshKeys(_ mayTry: (KeyRefresh, NIODeadline) -> Bool) async -> Bool {
        let moment = now()
        let task: Task<Void, Never>? = state.withLockedValue { state in
            if let task = state.fetching { return task }
            guard mayTry(state.refresh, moment) else { return nil }
            state.refresh.begin(moment)
            // A task of its own: whoever wanted the keys first may have gone when they come.
            let task = Task { await self.fetchKeys() }
            state.fetching = task
            return task
        }
        await task?.value
        return task != nil
    }

    private func fetchKeys() async {
        let outcome = await newKeys()
        let moment = now()
        state.withLockedValue { state in
            state.fetching = nil
            switch outcome {
            case .success(let keys):
                (state.keys, state.fault) = (keys, nil)
                state.refresh.end(moment, succeeded: true)
            case .failure(let error):
                state.fault = error.why
                state.refresh.end(moment, succeeded: false)
            }
        }
    }

    private struct Failure: Error { let why: String }

    private func newKeys() async -> Result<SigningKeys, Failure> {
        let end = now() + Self.fetchDeadline
        do throws(Failure) {
            let (place, isNamed) = try await keyPlace(until: end)
            guard let keys = await SigningKeys(try await document(at: place, isNamed, SigningKeys.bytesMax, until: end)), !keys.isEmpty else {
                throw Failure(why: "\(place): there are no keys that can be used")
            }
            return .success(keys)
        } catch {
            return .failure(error)
        }
    }

    /// As it is in JSON (RFC 8414 §2).
    private struct Description: Decodable {
        enum CodingKeys: String, CodingKey {
            case issuer
            case keys = "jwks_uri"
        }
        var issuer: String
        var keys: String
    }

    /// Where the keys are. What describes the issuer has to be of this issuer (RFC 8414 §3.3); and who is encrypted does not send to where nothing is.
    private func keyPlace(until end: NIODeadline) async throws(Failure) -> (HTTPURL, isNamed: Bool) {
        if case .signature(let keys?) = settings.proof { return (keys, true) }
        let bytes = try await document(at: settings.discovery, true, TokenClaims.bytesMax, until: end)
        guard let description = try? JSONDecoder().decode(Description.self, from: Data(bytes)), let place = HTTPURL(description.keys) else {
            throw Failure(why: "\(settings.discovery): it does not say where the keys are")
        }
        guard description.issuer == settings.issuer else { throw Failure(why: "\(settings.discovery): it is of another issuer") }
        guard place.scheme == .https || settings.discovery.scheme == .http else { throw Failure(why: "\(place): it is not encrypted") }
        return (place, place.authority == settings.discovery.authority)
    }

    private func document(at url: HTTPURL, _ isNamed: Bool, _ bytesMax: Int, until end: NIODeadline) async throws(Failure) -> [UInt8] {
        let left = end - now()
        guard left > .zero else { throw Failure(why: "\(url): there was no time left") }
        var request = HTTPRequest(url, bytesMax: bytesMax, deadline: left)
        request.accept = "application/json"
        request.redirectsMax = isNamed ? 0 : Self.redirectsMax
        do throws(HTTPFetchError) {
            return try await (isNamed ? fetch.named : fetch.found)(request).bytes
        } catch {
            throw Failure(why: "\(url): \(error)")
        }
    }

    // MARK: Introspection (RFC 7662)

    private func claims(of token: BearerToken, _ introspection: TokenIssuerSettings.Introspection, _ wall: Int) async throws(TokenFault) -> TokenClaims {
        if let known = state.withLockedValue({ $0.memory.claims(of: token, now: wall) }) { return known }
        guard begin() else { throw .unavailable("too many tokens are being asked about") }
        defer { state.withLockedValue { $0.questions -= 1 } }
        let answer: HTTPAnswer
        do throws(HTTPFetchError) { answer = try await fetch.named(Self.question(token, introspection)) } catch {
            throw .unavailable("\(introspection.url): \(error)")
        }
        guard let claims = TokenClaims(answer.bytes), let isActive = claims.boolean("active") else {
            throw .unavailable("\(introspection.url): what came is no answer")
        }
        guard isActive else { throw .inactive }
        state.withLockedValue { $0.memory.remember(claims, of: token, until: wall + introspection.rememberedFor, now: wall) }
        return claims
    }

    private func begin() -> Bool {
        state.withLockedValue { state in
            guard state.questions < Self.questionsMax else { return false }
            state.questions += 1
            return true
        }
    }

    /// The token is in the content and nowhere else (RFC 7662 §4); this server proves who it is as RFC 6749 §2.3.1 has it.
    private static func question(_ token: BearerToken, _ introspection: TokenIssuerSettings.Introspection) -> HTTPRequest {
        let content = "token=\(PercentEncoding.encoded(token.text))&token_type_hint=access_token"
        let credentials = "\(PercentEncoding.encoded(introspection.clientID)):\(PercentEncoding.encoded(introspection.secret.text))"
        var request = HTTPRequest(
            introspection.url, .post(Array(content.utf8), type: "application/x-www-form-urlencoded"), bytesMax: TokenClaims.bytesMax, deadline: questionDeadline)
        request.accept = "application/json"
        request.fields = ["Authorization": "Basic \(Base64.encode(credentials.utf8))"]
        return request
    }
}
