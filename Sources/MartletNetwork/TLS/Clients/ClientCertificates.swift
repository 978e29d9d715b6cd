import Crypto
import Logging
import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import X509

/// A client's certificate as far as it has been believed: it leads to an anchor, and was not known to be revoked, or it is an account's own.
struct ClientCertificate: Sendable {
    /// What a client has to show for the same, in DER.
    let shown: [[UInt8]]
    /// For whom it stands, at which domain.
    let certified: CertifiedAccount
    let domain: String
    /// Its name, if nobody speaks for it but the account itself (XEP-0257).
    let own: CertificateFingerprint?
    /// Until when all of the path is valid, in seconds since 1970.
    let notAfter: Int
    /// What was found out about whether one of them is revoked.
    let revocation: RevocationFinding
    /// What was known when it was looked at.
    fileprivate let version: Int
}

/// Finds out whose certificates are that clients show. One for the process.
///
/// Nothing is fetched while anybody waits: what is known of revocation counts, and what is missing is fetched for the next time.
package final class ClientCertificates: Sendable {
    /// Most chains, of ``ShownCertificateFault/bytesMax`` at most, that are remembered for clients that go on with an earlier TLS session.
    package static let rememberedMax = 1_024

    private struct State {
        var settings: ClientCertificateSettings
        var revocation: RevocationChecker?
        /// One more with each reload.
        var generation = 0
        /// What was shown, by the SHA-256 of the client's own certificate, and when it was used last.
        var shown: [[UInt8]: (chain: [[UInt8]], use: Int)] = [:]
        var uses = 0
    }

    // Taken once for a handshake that shows a certificate, and once for each log-in with it.
    private let state: NIOLockedValueBox<State>

    /// - Parameter revocation: `nil`: nothing is asked until there is one.
    package init(_ settings: ClientCertificateSettings, _ revocation: RevocationChecker?) {
        state = NIOLockedValueBox(State(settings: settings, revocation: revocation))
    }

    package var settings: ClientCertificateSettings { state.withLockedValue { $0.settings } }

    package func apply(_ settings: ClientCertificateSettings) {
        state.withLockedValue { state in
            guard settings != state.settings else { return }
            state.settings = settings
            state.generation += 1
        }
    }

    private var revocation: RevocationChecker? { state.withLockedValue { $0.revocation } }
    var checksRevocation: Bool { revocation != nil }

    /// - Parameter checker: if there was none.
    func apply(_ settings: ClientCertificateSettings, _ revocation: RevocationSettings, _ files: RevocationFiles, _ checker: RevocationChecker?) {
        let known = state.withLockedValue { state in
            state.revocation = state.revocation ?? checker
            return state.revocation
        }
        known?.apply(revocation, files)
        apply(settings)
        // A mode that is stricter than before is asked of those that are there.
        state.withLockedValue { $0.generation += 1 }
    }

    func demand(of domain: String) -> ClientCertificateSettings.Demand { state.withLockedValue { $0.settings.demand(of: domain) } }

    // MARK: TLS sessions that go on

    /// A client has shown a chain that is believed: what others show takes no memory.
    package func remember(_ shown: [[UInt8]]) {
        guard let own = shown.first, shown.count > 1 else { return }
        let key = Array(SHA256.hash(data: own))
        state.withLockedValue { state in
            state.uses += 1
            state.shown[key] = (shown, state.uses)
            guard state.shown.count > Self.rememberedMax, let oldest = state.shown.min(by: { $0.value.use < $1.value.use }) else { return }
            state.shown[oldest.key] = nil
        }
    }

    /// What a client showed in the handshake of the TLS session with which it goes on: that handshake says only which certificate was its own.
    package func recall(_ own: [UInt8]) -> [[UInt8]] {
        let key = Array(SHA256.hash(data: own))
        return state.withLockedValue { state in
            guard let remembered = state.shown[key]?.chain else { return [own] }
            state.uses += 1
            state.shown[key]?.use = state.uses
            return remembered
        }
    }

    // MARK: Whose it is

    /// Looks at a certificate from the beginning: its path, whether it is revoked, whose it is.
    ///
    /// - Parameters:
    ///   - shown: in DER, the client's own first.
    ///   - domain: which has asked for it; accounts are of this domain.
    ///   - account: who the client says that it is, if that is known.
    ///   - now: seconds since 1970.
    ///   - loop: where is fetched what is not known, for later.
    func examine(
        _ shown: [[UInt8]], at domain: String, as account: BareJID?, _ holders: CertificateHolders, now: Int, on loop: any EventLoop
    ) async throws(ClientCertificateFault) -> ClientCertificate {
        let (settings, version) = (self.settings, version)
        do throws(ClientCertificateFault) {
            return try await examinePath(shown, at: domain, settings, holders.accounts, version, now: now, on: loop)
        } catch {
            guard error.isNobodysWord, settings.takesOwn(at: domain) else { throw error }
            guard let own = try await examineOwn(shown, at: domain, as: account, holders, version, now: now) else { throw error }
            return own
        }
    }

    /// Those that accounts have added for themselves (XEP-0257).
    ///
    /// - Returns: `nil` if nobody has added it, or that account has not.
    private func examineOwn(
        _ shown: [[UInt8]], at domain: String, as account: BareJID?, _ holders: CertificateHolders, _ version: Int, now: Int
    ) async throws(ClientCertificateFault) -> ClientCertificate? {
        guard let content = shown.first else { return nil }
        let fingerprint = CertificateFingerprint(of: content)
        let certified: CertifiedAccount
        do throws(MappingFault) {
            if let account {
                guard account.domainpart == domain, try await holders.holds(account, fingerprint) else { return nil }
                certified = .account(account)
            } else {
                guard let found = try await holders.certified(by: fingerprint, at: domain) else { return nil }
                certified = found
            }
        } catch {
            throw .unmapped(error)
        }
        let own: OwnCertificate
        do throws(CertificateFault) { own = try OwnCertificate(content, now: now) } catch { throw .refused(error) }
        return ClientCertificate(
            shown: [content], certified: certified, domain: domain, own: fingerprint, notAfter: own.notAfter, revocation: .notAsked, version: version)
    }

    /// Those that authorities have issued.
    private func examinePath(
        _ shown: [[UInt8]], at domain: String, _ settings: ClientCertificateSettings, _ accounts: any AccountSource, _ version: Int, now: Int,
        on loop: any EventLoop
    ) async throws(ClientCertificateFault) -> ClientCertificate {
        let (trusted, revocation): (TrustedCertificate, RevocationFinding)
        do throws(CertificateFault) {
            trusted = try await CertificatePath(to: settings.anchors, settings.rules, others: settings.authorities).verify(shown, now: now)
            revocation = try await findRevocation(of: trusted, now: now, on: loop)
        } catch {
            throw .refused(error)
        }
        do throws(MappingFault) {
            let account = try await Self.account(of: trusted, at: domain, settings, accounts)
            return ClientCertificate(
                shown: trusted.shown, certified: .account(account), domain: domain, own: nil, notAfter: trusted.notAfter, revocation: revocation,
                version: version)
        } catch {
            throw .unmapped(error)
        }
    }

    private func findRevocation(
        of trusted: TrustedCertificate, now: Int, on loop: any EventLoop
    ) async throws(CertificateFault) -> RevocationFinding {
        guard let revocation else { return .notAsked }
        let finding = await revocation.finding(about: trusted.chain, now: now, on: loop, until: .now(), fetchesForLater: true)
        if let fault = finding.fault(revocation.settings.mode) { throw fault }
        return finding
    }

    private static func account(
        of trusted: TrustedCertificate, at domain: String, _ settings: ClientCertificateSettings, _ source: any AccountSource
    ) async throws(MappingFault) -> BareJID {
        guard let domain = try? BareJID(parsing: domain) else { throw .namesNobody }
        let proposals = settings.mapping.proposals(trusted, at: domain, settings.published)
        var standings: [BareJID: AccountMapping.Standing] = [:]
        let named = proposals.lazy.filter { $0.accounts.count <= AccountMapping.accountsMax }.flatMap(\.accounts)
        for account in named where standings[account] == nil {
            standings[account] = AccountMapping.Standing(await source.standing(of: account))
        }
        return try settings.mapping.account(proposals, of: trusted, settings.published) { standings[$0] ?? .absent }
    }

    // MARK: Later

    /// Another number whenever a certificate might be judged differently than before.
    private var version: Int { state.withLockedValue { $0.generation } &+ (revocation?.changes ?? 0) }

    /// Whether it has to be looked at anew.
    func isDue(_ certificate: ClientCertificate, now: Int) -> Bool { certificate.version != version || certificate.notAfter < now }

    /// Reads lists of revoked certificates that have changed, and fetches those that will be out of date. Once a minute.
    func keepUp(now: Int, on loop: any EventLoop) async -> [RevocationFileError] { await revocation?.keepUp(now: now, on: loop) ?? [] }
}

/// Why a client's certificate is good for nothing, in words for the operator.
enum ClientCertificateFault: Error, Hashable, Sendable, CustomStringConvertible {
    case refused(CertificateFault)
    /// It is believed, and stands for nobody.
    case unmapped(MappingFault)

    var description: String {
        switch self {
        case .refused(let fault): fault.description
        case .unmapped(let fault): fault.description
        }
    }

    /// Whether no authority that is believed says anything about whose it is. What it says against it counts, also against the account's own word.
    var isNobodysWord: Bool {
        switch self {
        case .refused(.selfSigned), .refused(.unknownIssuer), .unmapped(.namesNobody): true
        case .refused, .unmapped: false
        }
    }

    /// Whether whoever has logged in with it may stay all the same: nothing speaks against it, except that something cannot be found out now.
    var isTemporary: Bool {
        switch self {
        case .refused(.statusUnknown), .unmapped(.unavailable): true
        case .refused, .unmapped: false
        }
    }

    /// What a client is told that wants to log in with it.
    var failure: SASLFailure {
        switch self {
        case .unmapped(.unavailable): .temporaryAuthFailure
        case .refused, .unmapped: .notAuthorized
        }
    }
}

extension AccountMapping.Standing {
    init(_ verdict: AccountVerdict) {
        switch verdict {
        case .ok: self = .enabled
        case .disabled, .expired, .mechanismTooWeak: self = .disabled
        case .badCredentials: self = .absent
        case .unavailable: self = .unavailable
        }
    }
}

extension TrustedCertificate {
    /// What a client has to show for the same path, in DER: everything but the anchor.
    fileprivate var shown: [[UInt8]] { ownBytes.map { [$0] + issuers.dropLast() } ?? [] }
}
