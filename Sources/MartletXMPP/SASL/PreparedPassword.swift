/// A password as PBKDF2 gets it: OpaqueString applied (RFC 8265 §4.2), then UTF-8.
///
/// Never empty, never long. It describes itself without its bytes, so that no log and no failed test shows one.
public struct PreparedPassword: Hashable, Sendable {
    /// Longest password, in bytes of UTF-8 before it is prepared. PBKDF2 hashes a long one down at once, but
    /// preparing and copying what strangers send should cost next to nothing.
    public static let bytesMax = 1024

    /// The prepared password in UTF-8.
    public let bytes: [UInt8]

    /// Prepares a password; `nil` if it is empty, longer than ``bytesMax`` or has characters which OpaqueString leaves
    /// out (controls and the unassigned).
    public init?(_ text: String) {
        guard !text.isEmpty, text.utf8.count <= Self.bytesMax, let prepared = try? PRECIS.opaqueString(text) else {
            return nil
        }
        bytes = Array(prepared.utf8)
        guard !bytes.isEmpty else { return nil }
    }
}

extension PreparedPassword: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "(password)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
