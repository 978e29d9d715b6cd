import X509

/// What somebody has signed, as lists of revoked certificates and answers of OCSP responders have it: the content, the algorithm, the signature.
struct SignedBytes: Sendable {
    /// With tag and length.
    let content: ArraySlice<UInt8>
    /// The `AlgorithmIdentifier`'s content.
    let algorithm: ArraySlice<UInt8>
    private let signature: ArraySlice<UInt8>

    /// Leaves the reader behind the signature.
    init(_ reader: inout DERReader) throws(DERReader.Malformed) {
        content = try reader.whole(DERReader.Tag.sequence)
        algorithm = try reader.content(DERReader.Tag.sequence)
        signature = try reader.octetsOfBitString()
    }

    /// Whether the key's holder has signed it. Takes as long as hashing all of it.
    func isSigned(by key: Certificate.PublicKey) throws(RevocationFault) -> Bool {
        guard let algorithm = Self.algorithm(algorithm) else { throw .unsupported("its signature's algorithm is not known here") }
        return key.isValidSignature(signature, for: content, signatureAlgorithm: algorithm)
    }

    private static func algorithm(_ content: ArraySlice<UInt8>) -> Certificate.SignatureAlgorithm? {
        var reader = DERReader(content)
        guard let identifier = try? reader.content(DERReader.Tag.objectIdentifier) else { return nil }
        // Parameters are NULL or absent for all of these (RFC 4055 §5, RFC 5758 §3.2, RFC 8410 §3).
        if !reader.isAtEnd, (try? reader.content(DERReader.Tag.null))?.isEmpty != true { return nil }
        return reader.isAtEnd ? known[Array(identifier)] : nil
    }

    /// Not in it: anything with SHA-1 or MD5, which others can forge, and RSASSA-PSS, which the library does not have.
    private static let known: [[UInt8]: Certificate.SignatureAlgorithm] = [
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B]: .sha256WithRSAEncryption,
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0C]: .sha384WithRSAEncryption,
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0D]: .sha512WithRSAEncryption,
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]: .ecdsaWithSHA256,
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03]: .ecdsaWithSHA384,
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x04]: .ecdsaWithSHA512,
        [0x2B, 0x65, 0x70]: .ed25519,
    ]
}

/// Why something says nothing about whether a certificate is revoked, in words for operators.
package enum RevocationFault: Error, Hashable, Sendable, CustomStringConvertible {
    case malformed
    /// Bytes that would have been read.
    case tooLong(Int)
    /// It has a form that is not understood here, and that might change what it means.
    case unsupported(String)
    case otherIssuer
    case forged
    /// The issuer's certificate does not allow it to sign lists (RFC 5280 §4.2.1.3).
    case notEntitled
    /// Seconds since 1970.
    case outdated(since: Int)
    case notYetValid(until: Int)
    /// It is about other certificates of that issuer.
    case otherScope
    /// A responder's own word for not answering (RFC 6960 §4.2.1).
    case unanswered(String)
    /// A responder does not know the certificate.
    case unknownCertificate
    case unfetched(HTTPFetchError)
    case notAsked(String)

    package var description: String {
        switch self {
        case .malformed: "it is malformed"
        case .tooLong(let bytesMax): "it is longer than \(bytesMax) bytes"
        case .unsupported(let why): why
        case .otherIssuer: "it is from somebody else"
        case .forged: "its signature is not the issuer's"
        case .notEntitled: "the issuer may not sign lists"
        case .outdated(let time): "it is out of date since \(RevocationTime(time))"
        case .notYetValid(let time): "it is not valid before \(RevocationTime(time)): one of the two clocks may be wrong"
        case .otherScope: "it is about other certificates"
        case .unanswered(let word): "the responder does not answer (\(word))"
        case .unknownCertificate: "the responder does not know the certificate"
        case .unfetched(let error): error.description
        case .notAsked(let why): why
        }
    }
}

/// A time as operators read it.
struct RevocationTime: CustomStringConvertible {
    private let seconds: Int

    init(_ seconds: Int) { self.seconds = seconds }

    /// RFC 3339, in UTC.
    var description: String {
        let (days, rest) = (seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400, (seconds % 86_400 + 86_400) % 86_400)
        // Years that begin in March, in cycles of four hundred (proleptic Gregorian calendar).
        let shifted = days + 719_468
        let cycle = shifted >= 0 ? shifted / 146_097 : (shifted - 146_096) / 146_097
        let day = shifted - cycle * 146_097
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365
        let dayOfYear = day - (365 * year + year / 4 - year / 100)
        let month = (5 * dayOfYear + 2) / 153
        let civil = (month + 2) % 12 + 1
        let digits = [civil, dayOfYear - (153 * month + 2) / 5 + 1, rest / 3_600, rest / 60 % 60, rest % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }
        return "\(cycle * 400 + year + (civil <= 2 ? 1 : 0))-\(digits[0])-\(digits[1])T\(digits[2]):\(digits[3]):\(digits[4])Z"
    }
}
