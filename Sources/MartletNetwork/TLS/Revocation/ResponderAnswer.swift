import Crypto
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// How one certificate is named to an OCSP responder (RFC 6960 §4.1.1): by SHA-1 of the issuer's name and key, which is what all responders
/// understand (RFC 5019 §2.1.1), and its number. Nothing depends on that hash: the answer is signed for an issuer that we have.
package struct ResponderRequest: Hashable, Sendable {
    private let nameHash: [UInt8]
    private let keyHash: [UInt8]
    private let serialNumber: [UInt8]

    package init(_ question: RevocationQuestion) {
        nameHash = Array(Insecure.SHA1.hash(data: question.issuerName))
        keyHash = Array(Insecure.SHA1.hash(data: question.issuer.keyBits))
        serialNumber = question.serialNumber
    }

    /// AlgorithmIdentifier with SHA-1 and NULL.
    private static let sha1: [UInt8] = [0x30, 0x09, 0x06, 0x05, 0x2B, 0x0E, 0x03, 0x02, 0x1A, 0x05, 0x00]

    /// An OCSPRequest in DER. It has no nonce: few responders would answer with it, and answers are remembered.
    package var bytes: [UInt8] {
        let octets = { (bytes: [UInt8]) in Self.element(DERReader.Tag.octetString, bytes) }
        let identifier = Self.sequence(Self.sha1 + octets(nameHash) + octets(keyHash) + Self.element(DERReader.Tag.integer, serialNumber))
        return Self.sequence(Self.sequence(Self.sequence(Self.sequence(identifier))))
    }

    private static func sequence(_ content: [UInt8]) -> [UInt8] { element(DERReader.Tag.sequence, content) }

    /// The parts of a request are shorter than 64 KiB: hashes, and a serial number out of a certificate that TLS has carried.
    private static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        let (high, low) = (UInt8(truncatingIfNeeded: content.count >> 8), UInt8(truncatingIfNeeded: content.count))
        let length: [UInt8] = content.count < 0x80 ? [low] : content.count < 0x100 ? [0x81, low] : [0x82, high, low]
        return [tag] + length + content
    }

    /// Whether a CertID's content is this one.
    fileprivate func isNamed(by content: ArraySlice<UInt8>) throws(DERReader.Malformed) -> Bool {
        var identifier = DERReader(content)
        var algorithm = DERReader(try identifier.content(DERReader.Tag.sequence))
        let isSHA1 = Array(try algorithm.content(DERReader.Tag.objectIdentifier)) == [0x2B, 0x0E, 0x03, 0x02, 0x1A]
        let (name, key) = (try identifier.content(DERReader.Tag.octetString), try identifier.content(DERReader.Tag.octetString))
        let number = try identifier.integer()
        try identifier.end()
        return isSHA1 && nameHash == Array(name) && keyHash == Array(key) && serialNumber == Array(number)
    }
}

/// What an OCSP responder says about one certificate (RFC 6960 §4.2).
package struct ResponderAnswer: Hashable, Sendable {
    /// Longest one, in bytes.
    package static let bytesMax = 65_536
    /// For how long an answer counts that does not say so itself, in seconds: newer ones are to be had at any time (§4.2.2.1).
    package static let lifetimeDefault = 300
    /// Most certificates beside it that may be the responder's.
    package static let certificatesMax = 4

    package let isRevoked: Bool
    /// Seconds since 1970.
    package let thisUpdate: Int
    package let nextUpdate: Int

    /// Reads an answer, and sees that the issuer has signed it, or whom the issuer lets do that (§4.2.2.2). Whether that one's own certificate is
    /// revoked is not asked.
    ///
    /// - Parameters:
    ///   - bytes: an OCSPResponse in DER.
    ///   - now: seconds since 1970.
    package init(_ bytes: [UInt8], to request: ResponderRequest, by issuer: RevocationIssuer, now: Int) throws(RevocationFault) {
        guard bytes.count <= Self.bytesMax else { throw .tooLong(Self.bytesMax) }
        do {
            self = try Self(reading: bytes[...], request, issuer, now)
        } catch let fault as RevocationFault {
            throw fault
        } catch {
            throw .malformed
        }
    }

    private init(reading bytes: ArraySlice<UInt8>, _ request: ResponderRequest, _ issuer: RevocationIssuer, _ now: Int) throws {
        var basic = try Self.basic(bytes)
        let signed = try SignedBytes(&basic)
        let certificates = try basic.optional(DERReader.Tag.context(0, isConstructed: true))
        try basic.end()
        guard try Self.isSigned(signed, by: issuer, certificates, now) else { throw RevocationFault.forged }
        self = try Self(in: signed.content, request, now)
    }

    private static let names: [UInt8: String] = [
        1: "malformedRequest", 2: "internalError", 3: "tryLater", 5: "sigRequired", 6: "unauthorized",
    ]

    /// A BasicOCSPResponse's content; there is no other kind.
    private static func basic(_ bytes: ArraySlice<UInt8>) throws -> DERReader {
        var response = try DERReader(only: DERReader.Tag.sequence, in: bytes)
        let status = Array(try response.content(DERReader.Tag.enumerated))
        guard status == [0] else { throw RevocationFault.unanswered(status.first.flatMap { names[$0] } ?? "status \(status)") }
        var holder = try DERReader(only: DERReader.Tag.sequence, in: try response.content(DERReader.Tag.context(0, isConstructed: true)))
        try response.end()
        guard Array(try holder.content(DERReader.Tag.objectIdentifier)) == [0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01] else {
            throw RevocationFault.unsupported("its form is not known here")
        }
        let octets = try holder.content(DERReader.Tag.octetString)
        try holder.end()
        return try DERReader(only: DERReader.Tag.sequence, in: octets)
    }

    private init(in content: ArraySlice<UInt8>, _ request: ResponderRequest, _ now: Int) throws {
        var data = try DERReader(only: DERReader.Tag.sequence, in: content)
        guard data.nextTag != DERReader.Tag.context(0, isConstructed: true) else { throw RevocationFault.unsupported("its version is not known here") }
        // By name or key: whoever has signed it is known.
        _ = try data.element()
        _ = try data.time()
        var answers = DERReader(try data.content(DERReader.Tag.sequence))
        if let extensions = try data.optional(DERReader.Tag.context(1, isConstructed: true)) { try Self.check(extensions) }
        try data.end()
        while !answers.isAtEnd {
            if let answer = try Self(one: try answers.content(DERReader.Tag.sequence), request) {
                try answer.check(now)
                self = answer
                return
            }
        }
        throw RevocationFault.unknownCertificate
    }

    /// `nil` if it is about another certificate.
    private init?(one content: ArraySlice<UInt8>, _ request: ResponderRequest) throws {
        var one = DERReader(content)
        let isMeant = try request.isNamed(by: try one.content(DERReader.Tag.sequence))
        let status = try one.element()
        thisUpdate = try one.time()
        if let time = try one.optional(DERReader.Tag.context(0, isConstructed: true)) {
            var reader = DERReader(time)
            nextUpdate = try reader.time()
            try reader.end()
        } else {
            nextUpdate = thisUpdate + Self.lifetimeDefault
        }
        let extensions = try one.optional(DERReader.Tag.context(1, isConstructed: true))
        try one.end()
        guard isMeant else { return nil }
        if let extensions { try Self.check(extensions) }
        switch status.tag {
        case DERReader.Tag.context(0, isConstructed: false): isRevoked = false
        case DERReader.Tag.context(1, isConstructed: true): isRevoked = true
        case DERReader.Tag.context(2, isConstructed: false): throw RevocationFault.unknownCertificate
        default: throw RevocationFault.malformed
        }
    }

    private static func check(_ extensions: ArraySlice<UInt8>) throws {
        try DERReader.extensions(try DERReader(only: DERReader.Tag.sequence, in: extensions).rest, RevocationFault.malformed) { (_, isCritical, _) throws(RevocationFault) in
            if isCritical { throw .unsupported("it has a critical extension that is not known here") }
        }
    }

    package func check(_ now: Int) throws(RevocationFault) {
        if thisUpdate > now + RevocationList.clockDifferenceMax { throw .notYetValid(until: thisUpdate) }
        if nextUpdate < now - RevocationList.clockDifferenceMax { throw .outdated(since: nextUpdate) }
    }

    // MARK: Whose it is

    private static func isSigned(_ signed: SignedBytes, by issuer: RevocationIssuer, _ certificates: ArraySlice<UInt8>?, _ now: Int) throws -> Bool {
        // A key of another kind than the signature's says no, and does not throw.
        if try signed.isSigned(by: issuer.key) { return true }
        guard let certificates else { return false }
        var all = try DERReader(only: DERReader.Tag.sequence, in: certificates)
        for _ in 0..<certificatesMax where !all.isAtEnd {
            guard let responder = try? Certificate(derEncoded: Array(try all.whole(DERReader.Tag.sequence))) else { continue }
            if isEntitled(responder, by: issuer, now), try signed.isSigned(by: responder.publicKey) { return true }
        }
        return false
    }

    /// Whether the issuer has given a certificate for answering in its name, itself and with no one in between.
    private static func isEntitled(_ responder: Certificate, by issuer: RevocationIssuer, _ now: Int) -> Bool {
        guard let fields = CertificateFields(responder), Array(fields.issuer) == issuer.name else { return false }
        guard let usages = try? responder.extensions.extendedKeyUsage, usages.contains(.ocspSigning) else { return false }
        let time = Date(timeIntervalSince1970: Double(now))
        guard responder.notValidBefore <= time, time <= responder.notValidAfter else { return false }
        return responder.signatureAlgorithm != .sha1WithRSAEncryption && issuer.key.isValidSignature(responder.signature, for: responder)
    }
}
