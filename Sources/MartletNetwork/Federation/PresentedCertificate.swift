import Crypto
import MartletXMPP

/// What another server has shown in the handshake, and what came of looking at it. For which domains it is good is asked later.
struct PresentedCertificate: Sendable {
    /// SHA-256 of the public key; `nil` if that cannot be found.
    private let pin: [UInt8]?
    private let followed: Result<TrustedCertificate, CertificateFault>
    /// What DNS says about one domain, if it does: that there is no fault, or which.
    private let listed: (domain: BareJID, fault: CertificateFault?)?

    /// - Parameters:
    ///   - chain: in DER, the peer's own certificate first.
    ///   - now: seconds since 1970.
    init(_ chain: [[UInt8]], _ trust: PeerTrust, _ dane: DANE?, now: Int) async {
        pin = chain.first.flatMap { PeerCertificate.publicKey(in: $0) }.map { Array(SHA256.hash(data: $0)) }
        do throws(CertificateFault) { followed = .success(try await trust.verify(chain, now: now)) } catch { followed = .failure(error) }
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

    /// Why it does not prove that the peer is that domain's server; `nil` if it does.
    ///
    /// - Parameter pins: SHA-256 of the public keys that the domain's server has, if the operator has said so. His word comes before that of DNS,
    ///   and that before the authorities'.
    func fault(for domain: BareJID, pins: Set<[UInt8]>) -> CertificateFault? {
        if !pins.isEmpty { return pin.map(pins.contains) == true ? nil : .notPinned }
        if let listed, listed.domain == domain { return listed.fault }
        switch followed {
        case .failure(let fault): return fault
        case .success(let trusted): return trusted.fault(for: domain)
        }
    }
}
