/// Bounds of what is read. What is longer, deeper or more is refused, whoever says it.
public enum LDAPLimits {
    /// Longest message, tag and length included, in octets, of somebody who has not bound yet.
    public static let unauthenticatedMessageBytesMax = 64 << 10
    /// Longest message, tag and length included, in octets, unless it is set otherwise.
    public static let messageBytesMax = 1 << 20
    /// Levels of a filter. One that looks at a single attribute has one.
    public static let filterDepthMax = 32
    /// Parts of a filter, those that only join others included.
    public static let filterNodesMax = 2000
    /// Longest name of an entry or of a step of one, in octets.
    public static let nameBytesMax = 8192
    /// Longest name of an attribute with its options, of a matching rule or of a SASL mechanism, in octets.
    public static let descriptionBytesMax = 1024
    /// Longest dotted OID, in octets.
    public static let identifierBytesMax = 256
    /// Attributes of an entry, or asked for.
    public static let attributesMax = 2048
    /// Values of one attribute: a group may have a hundred thousand members. How many there are in all, a message's length bounds.
    public static let valuesMax = 131_072
    /// Changes of one entry in one request.
    public static let changesMax = 2048
    /// Controls of a message.
    public static let controlsMax = 32
    /// Places that a referral or a reference names.
    public static let referralsMax = 64
    /// UUIDs in one message of a synchronisation (RFC 4533 §2.5).
    public static let syncUUIDsMax = 65_536
}
