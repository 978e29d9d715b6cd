package import MartletXMPP
package import NIOCore

/// What a directory says of somebody, as a part of his card (XEP-0054), and what of it he may say otherwise.
///
/// A name that is in none of the sets, and that the directory says something for, counts as ``preset``.
package struct Profile: Hashable, Sendable {
    /// Longest of all elements but the picture together, in bytes; those after it are left out.
    package static let textBytesMax = 64 * 1024
    /// Largest picture, in bytes; a larger one is left out, and so is one that is no JPEG, which is what directories have (RFC 2798 §2.6).
    package static let pictureBytesMax = 128 * 1024

    /// A `<vCard xmlns='vcard-temp'>` with no other elements than the directory's.
    package var card: ByteBuffer
    /// Names of elements that are the directory's alone, also where it says nothing.
    package var owned: Set<String>
    /// Of those that count unless he says something himself.
    package var preset: Set<String>
    /// Of those that he may change, which changes them in the directory. They are the directory's otherwise, whatever else is said of them.
    package var writable: Set<String>
    /// The SHA-1 of the picture in lower-case hexadecimal, if there is one that is not in ``card``: whoever has it not yet asks for it
    /// (``ProfileSource/picture(_:of:)``).
    package var picture: String?

    package init(card: ByteBuffer, owned: Set<String> = [], preset: Set<String> = [], writable: Set<String> = [], picture: String? = nil) {
        self.card = card
        self.owned = owned
        self.preset = preset
        self.writable = writable
        self.picture = picture
    }
}

/// Something that the directory is to say otherwise.
package struct ProfileChange: Hashable, Sendable {
    /// Elements of one name at most; whoever has more is refused.
    package static let elementsMax = 16

    package var name: String
    /// All elements of that name from now on, each declaring its namespace; none if there is nothing to say any more.
    package var elements: [ByteBuffer]

    package init(_ name: String, _ elements: [ByteBuffer]) {
        self.name = name
        self.elements = elements
    }
}

/// Knows what a directory says of people.
package protocol ProfileSource: Sendable {
    /// `nil` if the directory does not know him. From memory, at once: it may be asked under the lock of an account's shard.
    func profile(of account: BareJID) -> Profile?
    /// The picture that a profile names (``Profile/picture``): a JPEG. `nil` if it cannot be had now: then the rest of the profile counts, and all is put
    /// again when it can.
    func picture(_ digest: String, of account: BareJID) async -> [UInt8]?
    /// Changes the directory in somebody's name, whose request it is. Whether he may the directory decides as well.
    ///
    /// - Parameter changes: of writable names, each once.
    /// - Returns: what the directory says from now on.
    func change(_ account: BareJID, _ changes: [ProfileChange]) async throws(StanzaError) -> Profile
}

/// Makes what a directory says a part of people's cards.
package protocol ProfileStage: Feature {
    /// The directory says something else of these accounts than before; the source says it already. `nil` if it does not know them any more: what they
    /// have said themselves stays.
    ///
    /// What is in their cards already is not written again. If it fails, all may be put again.
    ///
    /// - Parameter mailbox: of any loop.
    func put(_ profiles: [(account: BareJID, profile: Profile?)], _ router: Router, on mailbox: LoopMailbox) async throws(StoreError)
}

extension DocumentKey {
    /// Where it is kept what somebody has said in his card himself, if a directory says a part of it.
    package static let profile = DocumentKey(namespace: "urn:x-martlet:profile")
}
