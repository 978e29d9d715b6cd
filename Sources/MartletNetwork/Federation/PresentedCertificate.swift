import Crypto
import MartletXMPP
import NIOCore

/// What another server has shown in the handshake, and what came of looking at it. For which domains it is good is asked later.
struct PresentedCertificate: Sendable {
    /// What came of following it to some authorities, and of asking whether it is revoked.
    private struct Followed: Sendable {
        let result: Result<TrustedCertificate, CertificateFault>
        var finding = RevocationFinding.notAsked
    }

    /// SHA-256 of the public key; `nil` if that cannot be found.
    private let pin: [UInt8]?
    /// To the general authorities, and to each set of those that some servers have of their own.
    private var followed: Followed
    private var followedByOwn: [PeerTrust: Followed]
    /// What DNS says about one domain, if it does: that there is no fault, or which; and what is known of the authorities that DNS names.
    private var listed: (domain: BareJID, fault: CertificateFault?, chain: Followed?)?
    private let mode: RevocationSettings.Mode

    /// - Parameters:
    ///   - chain: in DER, the peer's own certificate first.
    ///   - own: who else may turn out to be asked about the peer.
    ///   - inquiry: how it is found out whether certificates are revoked.
    init(_ chain: [[UInt8]], _ trust: PeerTrust, own: Set<PeerTrust>, _ dane: DANE?, _ inquiry: RevocationInquiry) async {
        let now = inquiry.now
        pin = chain.first.flatMap { PeerCertificate.publicKey(in: $0) }.map { Array(SHA256.hash(data: $0)) }
        mode = inquiry.mode
        followed = await Self.follow(chain, trust, inquiry)
        var followedByOwn: [PeerTrust: Followed] = [:]
        for trust in own { followedByOwn[trust] = await Self.follow(chain, trust, inquiry) }
        self.followedByOwn = followedByOwn
        guard let dane else {
            listed = nil
            return
        }
        do throws(CertificateFault) {
            let trusted = try await dane.verify(chain, trust, now: now)
            var chain: Followed?
            if let trusted { chain = await Self.ask(trusted, inquiry) }
            listed = (dane.domain, nil, chain)
        } catch {
            listed = (dane.domain, error, nil)
        }
    }

    private static func follow(_ chain: [[UInt8]], _ trust: PeerTrust, _ inquiry: RevocationInquiry) async -> Followed {
        do throws(CertificateFault) { return await ask(try await trust.verify(chain, now: inquiry.now), inquiry) } catch {
            return Followed(result: .failure(error))
        }
    }

    private static func ask(_ trusted: TrustedCertificate, _ inquiry: RevocationInquiry) async -> Followed {
        Followed(result: .success(trusted), finding: await inquiry.finding(about: trusted))
    }
}

// MARK: What it proves

extension PresentedCertificate {
    /// The same, once it has turned out that DNS or the web allow it for a domain.
    func allowed(for domain: BareJID) -> PresentedCertificate {
        var allowed = self
        allowed.listed = (domain, nil, nil)
        return allowed
    }

    /// Whether it is refused for what is known, or not known, of its revocation: then nobody else may speak for it.
    func isRefusedAsRevoked(for domain: BareJID, _ proof: PeerProof?) -> Bool { finding(for: domain, proof).fault(mode) != nil }

    /// Whether DNS or the web have said that it is the domain's.
    func isListed(for domain: BareJID) -> Bool { listed.map { $0.domain == domain && $0.fault == nil } ?? false }

    /// Why it does not prove that the peer is that domain's server; `nil` if it does.
    ///
    /// - Parameter proof: what the operator says about the domain's server. It comes before what DNS says, and that before the authorities.
    func fault(for domain: BareJID, _ proof: PeerProof?) -> CertificateFault? {
        if let pins = proof?.pins, !pins.isEmpty { return pin.map(pins.contains) == true ? nil : .notPinned }
        if let listed, proof?.trust == nil, listed.domain == domain { return listed.fault ?? listed.chain?.finding.fault(mode) }
        let followed = authorities(proof)
        switch followed.result {
        case .failure(let fault): return fault
        case .success(let trusted): return trusted.fault(for: domain) ?? followed.finding.fault(mode)
        }
    }

    /// What was found out about revocation, where that counts for the domain.
    func finding(for domain: BareJID, _ proof: PeerProof?) -> RevocationFinding {
        if proof?.pins.isEmpty == false { return .notAsked }
        if let listed, proof?.trust == nil, listed.domain == domain { return listed.chain?.finding ?? .notAsked }
        return authorities(proof).finding
    }

    /// Whatever is worth telling of what was found out about revocation.
    var mostTelling: RevocationFinding {
        let findings = [followed.finding, listed?.chain?.finding ?? .notAsked] + followedByOwn.values.map(\.finding)
        return findings.first { if case .revoked = $0 { true } else { false } } ?? findings.first { if case .unknown = $0 { true } else { false } } ?? .notAsked
    }

    private func authorities(_ proof: PeerProof?) -> Followed {
        guard let trust = proof?.trust else { return followed }
        // They may have changed since the handshake.
        return followedByOwn[trust] ?? Followed(result: .failure(.refused("other authorities are believed about it by now")))
    }

    // MARK: Later

    /// The same, with what has become known since (RFC 6120 §13.7.2.3). What cannot be found out any more stays as it was.
    func asked(again inquiry: RevocationInquiry) async -> PresentedCertificate {
        var presented = self
        presented.followed = await Self.again(followed, inquiry)
        for (trust, followed) in followedByOwn { presented.followedByOwn[trust] = await Self.again(followed, inquiry) }
        if let chain = listed?.chain { presented.listed?.chain = await Self.again(chain, inquiry) }
        return presented
    }

    private static func again(_ followed: Followed, _ inquiry: RevocationInquiry) async -> Followed {
        guard case .success(let trusted) = followed.result else { return followed }
        let finding = await inquiry.finding(about: trusted)
        guard case .revoked = finding else { return followed }
        return Followed(result: followed.result, finding: finding)
    }
}

/// How it is found out whether the certificates of one connection are revoked.
struct RevocationInquiry: Sendable {
    /// `nil`: nothing is asked.
    let checker: RevocationChecker?
    let mode: RevocationSettings.Mode
    let loop: any EventLoop
    /// Seconds since 1970.
    let now: Int
    private let end: NIODeadline

    /// - Parameter waits: whether what is not known is fetched and waited for, as long as the settings say, in all.
    init(_ checker: RevocationChecker?, on loop: any EventLoop, now: Int, waits: Bool) {
        let settings = checker?.settings
        self.checker = checker
        mode = settings?.mode ?? .off
        self.loop = loop
        self.now = now
        end = .now() + (waits ? settings?.wait ?? .zero : .zero)
    }

    func finding(about trusted: TrustedCertificate) async -> RevocationFinding {
        await checker?.finding(about: trusted.chain, now: now, on: loop, until: end) ?? .notAsked
    }
}
