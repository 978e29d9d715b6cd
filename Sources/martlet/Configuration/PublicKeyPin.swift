#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A public key by its SHA-256, as in RFC 7469 §2.4: of `subjectPublicKeyInfo` in DER.
package struct PublicKeyPin: Hashable, Sendable, CustomStringConvertible {
    package static let byteCount = 32

    package let bytes: [UInt8]

    /// Reads base64 with its padding (RFC 4648 §4), as `openssl base64` writes it.
    package init?(_ text: String) {
        guard let data = Data(base64Encoded: text), data.count == Self.byteCount else { return nil }
        bytes = Array(data)
        // One text for one pin: bits that are left over are zero.
        guard description == text else { return nil }
    }

    package var description: String { Data(bytes).base64EncodedString() }
}

extension ValueType where Value == PublicKeyPin {
    static var publicKeyPin: Self {
        ValueType(expected: "the SHA-256 of a public key in base64, 44 characters") { text, _ throws(ValueFault) in
            guard let pin = PublicKeyPin(text) else { throw .unexpected() }
            return pin
        } write: {
            $0.description
        }
    }
}
