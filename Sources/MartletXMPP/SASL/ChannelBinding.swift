/// What ties an authentication to the TLS connection that it runs on (RFC 5056), named and announced by XEP-0440.
public struct ChannelBinding: Hashable, Sendable {
    /// The types that we know.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// The hash of the server's certificate (RFC 5929 §4).
        case tlsServerEndPoint = "tls-server-end-point"
        /// 32 bytes of exported keying material (RFC 9266), TLS 1.3.
        case tlsExporter = "tls-exporter"

        /// The registered name, as it stands in `<channel-binding type=…/>` and after `p=`.
        public var name: String { rawValue }
    }

    public let kind: Kind
    /// The same at both ends if nobody is between them.
    public let data: [UInt8]

    public init(_ kind: Kind, data: [UInt8]) {
        self.kind = kind
        self.data = data
    }
}
