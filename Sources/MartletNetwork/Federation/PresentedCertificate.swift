import Crypto
import MartletXMPP

/// What another server has shown in the handshake, and what came of looking at it. For which domains it is good is asked later.
struct PresentedCertificate: Sendable {
    /// SHA-256 of the public key; `nil` if that cannot be found.
    private let pin: [UInt8]?
    private typealias Followed = Result<TrustedCertificate, CertificateFault>

    /// To the general authorities, and to each set of those that some servers have of their own.
    private let followed: Followed
    private let followedByOwn: [PeerTrust: Followed]
    /// What DNS says about one domain, if it does: that there is no fault, or which.
    private let listed: (domain: BareJID, fault: CertificateFault?)?

    /// - Parameters:
    ///   - chain: in DER, the peer's own certificate first.
    ///   - own: who else may turn out to be asked about the peer.
    ///   - now: seconds since 1970.
    init(_ chain: [[UInt8]], _ trust: PeerTrust, own: Set<PeerTrust>, _ dane: DANE?, now: Int) async {
        pin = chain.first.flatMap { PeerCertificate.publicKey(in: $0) }.map { Array(SHA256.hash(data: $0)) }
        followed = await Self.follow(chain, trust, now)
        var followedByOwn: [PeerTrust: Followed] = [:]
        for trust in own { followedByOwn[trust] = await Self.follow(chain, trust, now) }
        self.followedByOwn = followedByOwn
        guard let dane else {
            listed = nil
            return
        }
        do throws(CertificateFault) {
            try await dane.verify(chain, trust, now: now)
            listed = (dane.domain, nil)
        } catch {
            listed = (dane.domain, error)
        }
    }

    private static func follow(_ chain: [[UInt8]], _ trust: PeerTrust, _ now: Int) async -> Followed {
        do throws(CertificateFault) { return .success(try await trust.verify(chain, now: now)) } catch { return .failure(error) }
    }

    /// Why it does not prove that the peer is that domain's server; `nil` if it does.
    ///
    /// - Parameter proof: what the operator says about the domain's server. It comes before what DNS says, and that before the authorities.
    func fault(for domain: BareJID, _ proof: PeerProof?) -> CertificateFault? {
        if let pins = proof?.pins, !pins.isEmpty { return pin.map(pins.contains) == true ? nil : .notPinned }
        if let trust = proof?.trust {
            // They may have changed since the handshake.
            return Self.fault(for: domain, followedByOwn[trust] ?? .failure(.refused("other authorities are believed about it by now")))
        }
        if let listed, listed.domain == domain { return listed.fault }
        return Self.fault(for: domain, followed)
    }

    private static func fault(for domain: BareJID, _ followed: Followed) -> CertificateFault? {
        switch followed {
        case .failure(let fault): fault
        case .success(let trusted): trusted.fault(for: domain)
        }
    }
}
