import Crypto
package import MartletXMPP

extension ChannelBinding {
    /// `tls-exporter` (RFC 9266 §2) of a connection with TLS 1.3: 32 bytes of keying material that both ends export under a label of its own.
    ///
    /// - Parameter secret: the connection's `exporter_master_secret` (RFC 8446 §7.1), which is as long as a hash of its cipher suite. `nil` if that is
    ///   no length that we know.
    package static func tlsExporter(_ secret: [UInt8]) -> ChannelBinding? {
        switch secret.count {
        case SHA256.byteCount: ChannelBinding(.tlsExporter, data: ExportedKeys<SHA256>.exported(secret, Self.exporterLabel, byteCount: 32))
        case SHA384.byteCount: ChannelBinding(.tlsExporter, data: ExportedKeys<SHA384>.exported(secret, Self.exporterLabel, byteCount: 32))
        default: nil
        }
    }

    private static let exporterLabel = "EXPORTER-Channel-Binding"
}

/// The exporter of TLS 1.3 (RFC 8446 §7.5) with the hash of a cipher suite.
private enum ExportedKeys<Hash: HashFunction> {
    /// `TLS-Exporter(label, "", byteCount)`
    static func exported(_ secret: [UInt8], _ label: String, byteCount: Int) -> [UInt8] {
        let derived = expanded(secret, label, byteCount: Hash.Digest.byteCount)
        return expanded(derived, "exporter", byteCount: byteCount)
    }

    /// `HKDF-Expand-Label(secret, label, Hash(""), byteCount)` (§7.1)
    private static func expanded(_ secret: [UInt8], _ label: String, byteCount: Int) -> [UInt8] {
        let label = Array("tls13 \(label)".utf8)
        let context = Array(Hash.hash(data: [UInt8]()))
        let info = [UInt8(byteCount >> 8), UInt8(byteCount & 0xFF), UInt8(label.count)] + label + [UInt8(context.count)] + context
        return HKDF<Hash>.expand(pseudoRandomKey: secret, info: info, outputByteCount: byteCount).withUnsafeBytes { Array($0) }
    }
}
