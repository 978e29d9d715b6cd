/// How much XML a peer may send before it is turned away with `policy-violation` (RFC 6120 §4.9.3.14).
///
/// Each is counted before the memory it guards grows. A value above what a tape can number is lowered to that.
public struct XMLLimits: Sendable, Hashable {
    /// Longest stanza, in bytes from `<` to `>`. RFC 6120 §13.12 asks for at least 10 000. What has to be written anew may not be longer then
    /// either (``FlatElement/isTooLongRewritten``).
    public var stanzaBytesMax: Int
    /// Longest stream header, in bytes from `<` to `>`.
    public var headerBytesMax: Int
    /// Deepest nesting in a stanza; the stanza itself is 1.
    public var depthMax: Int
    /// Most attributes on one element, namespace declarations included.
    public var attributesMax: Int
    /// Most elements in one stanza, itself included.
    public var elementsMax: Int
    /// Most elements, attributes and pieces of text in one stanza together: 32 bytes of memory each.
    public var nodesMax: Int
    /// Most namespace declarations in scope at one place in a stanza.
    public var namespacesMax: Int
    /// Longest qualified name, in bytes.
    public var nameBytesMax: Int

    public init(
        stanzaBytesMax: Int = 262_144, headerBytesMax: Int = 16_384, depthMax: Int = 64, attributesMax: Int = 64,
        elementsMax: Int = 8192, nodesMax: Int = 32_768, namespacesMax: Int = 64, nameBytesMax: Int = 256
    ) {
        self.stanzaBytesMax = stanzaBytesMax
        self.headerBytesMax = headerBytesMax
        self.depthMax = depthMax
        self.attributesMax = attributesMax
        self.elementsMax = elementsMax
        self.nodesMax = nodesMax
        self.namespacesMax = namespacesMax
        self.nameBytesMax = nameBytesMax
    }

    /// For a peer that has proved who it is.
    public static let authenticated = XMLLimits()

    /// For anybody: what a start of TLS, a SASL exchange or dialback needs, and little more.
    public static let unauthenticated = XMLLimits(
        stanzaBytesMax: 16_384, depthMax: 32, attributesMax: 32, elementsMax: 256, nodesMax: 1024, namespacesMax: 32)

    /// For what this server wrote itself: its parts were counted when they came in, and it may be longer as it is written now than it
    /// was then. Whatever was kept must be read again.
    public static let ownWriting = XMLLimits(
        stanzaBytesMax: .max, headerBytesMax: .max, depthMax: .max, attributesMax: .max, elementsMax: .max, nodesMax: .max,
        namespacesMax: .max, nameBytesMax: .max)

    /// Where the limits of the tape's own fields come first.
    var clamped: XMLLimits {
        var limits = self
        limits.stanzaBytesMax = min(max(stanzaBytesMax, 0), Self.bytesCeiling)
        limits.headerBytesMax = min(max(headerBytesMax, 0), Self.bytesCeiling)
        limits.depthMax = min(depthMax, 32_767)
        limits.nodesMax = min(nodesMax, Self.bytesCeiling)
        limits.nameBytesMax = min(nameBytesMax, 32_767)
        return limits
    }

    /// No element is ever longer than this, whatever is configured: offsets are 32 bits wide.
    private static let bytesCeiling = 1 << 28
}
