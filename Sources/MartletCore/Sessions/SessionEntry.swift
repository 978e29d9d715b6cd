package import MartletXMPP

/// What a client switched on and routing must know.
package struct SessionFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Asked for the roster: gets roster pushes (RFC 6121 §2.2).
    package static let interested = SessionFlags(rawValue: 1)
    /// XEP-0280.
    package static let carbons = SessionFlags(rawValue: 2)
    /// Asked for the block list: gets its pushes (XEP-0191 §3.3).
    package static let blockListInterested = SessionFlags(rawValue: 4)
    /// Enabled stream management (XEP-0198): says what it has got.
    static let managed = SessionFlags(rawValue: 8)
}

/// One session as its account's home knows it. The home decides; the connection only carries out.
package struct SessionEntry: Sendable {
    package var ref: SessionRef
    package let address: FullJID
    /// Its place among what sessions have in hand (``Deliveries``): no other session of the account has it while this one lives.
    let slot: UInt8
    /// The last presence without `to`, once the session sent one; `nil` while it is only connected (RFC 6121 §4.7.2).
    package var presence: Stanza?
    /// How often it has said to all contacts how it is: what it said before that is not said any more.
    var announcements: UInt32 = 0
    /// When it sent that, in milliseconds since 1970; `nil` if it did before a restart.
    package internal(set) var presentSince: Int64?
    /// −128…127; means something only with a presence (RFC 6121 §4.7.2.3).
    package var priority: Int8 = 0
    package var flags: SessionFlags = []
    /// By what the session can be resumed (XEP-0198 §5).
    package var resumptionID: String?
    /// When its connection was lost, in milliseconds since 1970; `nil` while it has one.
    package internal(set) var detachedAt: Int64?
    /// What it has said of itself in its presence (XEP-0115); `nil` if nothing.
    package var capabilities: Capabilities?
    /// What is known of it for certain: of what it said before, until it has answered for what it says now.
    package var profile = EntityProfile.none
    /// On what its client runs, once it is known (XEP-0494).
    package internal(set) var device: DeviceID?
    /// By what it was let in.
    package internal(set) var proof = SessionProof()
    /// It was let in by a certificate at which nobody looks any more, because the server was started anew. Whoever resumes it shows one, which is looked at.
    var needsCertificate = false
    /// Whom this session sent directed presence (RFC 6121 §4.6). Bounded by `directedPresenceMax`.
    package var directed: [JID] = []

    /// The list of bookmarks that it has seen last (XEP-0048); `nil` if none yet.
    package var shownBookmarks: ShownList?

    /// Up to this view its client reads in the archive what the account has (XEP-0386 §3.2).
    var readsArchiveUpTo: UInt64 = 0

    package init(ref: SessionRef, address: FullJID, slot: UInt8 = 0) {
        self.ref = ref
        self.address = address
        self.slot = slot
    }

    package var isDetached: Bool { detachedAt != nil }
    package var certificate: CertificateFingerprint? { proof.certificate }
    /// RFC 6121: "available resource".
    package var isAvailable: Bool { presence != nil }
    package var takesMessages: Bool { presence != nil && priority >= 0 }
    var slots: SessionSlots { SessionSlots(slot) }
}

/// A list as a client knows it that writes it as a whole: what it leaves out it wants gone only if it has seen it.
///
/// Hashes, which are others in every process: a list has thousands of bytes, and any session may have seen one.
package struct ShownList: Hashable, Sendable {
    /// Of all its bytes, as they were sent; `nil` if the client has written it itself.
    package var content: Int?
    /// Of what names each of its parts.
    package var parts: Set<Int>

    package init(content: Int?, parts: Set<Int>) {
        self.content = content
        self.parts = parts
    }
}
