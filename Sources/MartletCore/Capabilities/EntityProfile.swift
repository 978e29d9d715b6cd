/// What is known of a client from its answer to disco#info. Shared by all that have given the same answer.
package final class EntityProfile: Sendable {
    /// Names of nodes that it wants to be told of: its features that end in `+notify`, without that (XEP-0163 §4.2).
    package let interests: Set<String>
    /// Most nodes that somebody may want to hear of, and bytes of a name: what goes beyond is as if it was not said.
    package static let interestsMax = 200
    package static let nameBytesMax = 256

    package init(interests: Set<String>) {
        let short = interests.filter { $0.utf8.count <= Self.nameBytesMax }
        self.interests = short.count <= Self.interestsMax ? short : Set(short.sorted().prefix(Self.interestsMax))
    }
    /// Of whom nothing is known.
    package static let none = EntityProfile(interests: [])
}

/// What a client says in its presence that its answer to disco#info would be: a digest of it (XEP-0115 §4, XEP-0390 §5.1).
package struct CapabilityKey: Hashable, Sendable {
    /// Of disco#info under which the answer is asked for; it names the digest and its algorithm.
    package let node: String
    package init(node: String) { self.node = node }
}

/// A client's digest, and what it stands for as far as that is known.
package struct Capabilities: Sendable {
    package let key: CapabilityKey
    /// `nil` until it has answered.
    package var profile: EntityProfile?
    /// Whether it has been asked.
    package var isAsked = false
    package init(key: CapabilityKey, profile: EntityProfile? = nil) {
        self.key = key
        self.profile = profile
    }
}
