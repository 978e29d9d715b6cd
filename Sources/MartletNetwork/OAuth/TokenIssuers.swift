import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers

/// Who is believed at which domain about tokens (RFC 7628). One for the process.
package final class TokenIssuers: Sendable {
    // Taken once by each stream that begins, once or twice by a log-in by token, and by a reload.
    private let issuers: NIOLockedValueBox<[TokenIssuer]>

    package init(_ issuers: [(settings: TokenIssuerSettings, fetch: TokenIssuerFetch)] = []) {
        self.issuers = NIOLockedValueBox(issuers.map { TokenIssuer($0.settings, $0.fetch) })
    }

    package init(_ issuers: [TokenIssuer]) { self.issuers = NIOLockedValueBox(issuers) }

    /// Puts others in force. What is known of those that stay as they are stays known.
    package func apply(_ next: [(settings: TokenIssuerSettings, fetch: TokenIssuerFetch)]) {
        issuers.withLockedValue { issuers in
            issuers = next.map { settings, fetch in TokenIssuer(settings, fetch, after: issuers.first { $0.settings == settings }) }
        }
    }

    private func issuer(at domain: String) -> TokenIssuer? { issuers.withLockedValue { $0.first { $0.settings.domains.contains(domain) } } }

    /// What clients of the domain are told.
    func offer(at domain: String) -> BearerOffer? {
        guard let settings = issuer(at: domain)?.settings else { return nil }
        return BearerOffer(
            configuration: settings.discovery.description, scope: settings.scopes.joined(separator: " "), givesTokens: settings.givesTokens)
    }

    /// What comes of a token.
    struct Outcome: Sendable {
        let answer: SASLAnswer
        /// When the session has to end that it lets in, in seconds since 1970; `nil` if it need not.
        var end: Int?
        /// For the operator.
        var fault: (issuer: String, why: TokenFault)?
    }

    /// Finds out whose token it is. Who has a good one is told what is in the way of his account; who has none is told nothing of any.
    ///
    /// - Parameter wall: seconds since 1970.
    func outcome(of token: BearerToken, at domain: String, _ accounts: any AccountSource, wall: Int) async -> Outcome {
        // A reload may have taken it away.
        guard let issuer = issuer(at: domain) else { return Outcome(answer: .refused(.temporaryAuthFailure)) }
        do throws(TokenFault) {
            let grant = try await issuer.grant(of: token, at: domain, wall: wall)
            let end = issuer.settings.endsSessions ? grant.end : nil
            switch await accounts.standing(of: grant.account) {
            case .ok: return Outcome(answer: .bearerVerdict(.account(grant.account)), end: end)
            case .badCredentials: throw .namesNobody
            case .unavailable: return Outcome(answer: .refused(.temporaryAuthFailure))
            case let verdict: return Outcome(answer: .bearerVerdict(.account(grant.account, refusal: SASLFailure(verdict))))
            }
        } catch {
            let answer = error.status.map { SASLAnswer.bearerVerdict(.refused($0)) } ?? .refused(.temporaryAuthFailure)
            return Outcome(answer: answer, fault: (issuer.settings.issuer, error))
        }
    }

    /// Fetches keys that will be out of date. Once a minute, and at the start, so that nobody's log-in waits for them.
    ///
    /// - Returns: of which issuers that could not be done, and why.
    func keepUp() async -> [(issuer: String, why: String)] {
        let all = issuers.withLockedValue { $0 }
        return await withTaskGroup { group in
            for issuer in all { group.addTask { await issuer.keepUp().map { (issuer.settings.issuer, $0) } } }
            return await group.reduce(into: []) { faults, fault in if let fault { faults.append(fault) } }
        }
    }
}
