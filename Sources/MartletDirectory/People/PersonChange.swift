package import MartletCore
package import MartletXMPP

/// What of a person has changed.
package struct PersonAspects: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// What others are shown, the picture and the display name included.
    package static let profile = PersonAspects(rawValue: 1)
    package static let photo = PersonAspects(rawValue: 2)
    package static let displayName = PersonAspects(rawValue: 4)
    /// Passwords and keys: tokens that stand for a log-in are worth nothing any more.
    package static let credentials = PersonAspects(rawValue: 8)
    /// Whether, and how, the account may be used.
    package static let standing = PersonAspects(rawValue: 16)
    package static let certificates = PersonAspects(rawValue: 32)
    /// The entry has another name; groups may have it under that one.
    package static let name = PersonAspects(rawValue: 64)

    /// All but the credentials, of which a start does not know what they were.
    init(_ before: EntryReader, _ after: EntryReader, _ mapping: PersonMapping) {
        func differs(_ names: [String]) -> Bool { names.contains { before.values($0) != after.values($0) } }
        var aspects: PersonAspects = []
        if differs(PersonAttributes.profile) { aspects.insert(.profile) }
        if differs([PersonAttributes.photo]) { aspects.insert(.photo) }
        if differs(PersonAttributes.displayNames) { aspects.insert(.displayName) }
        if differs(PersonAttributes.standing) || mapping.isEnabled.map({ $0(before) != $0(after) }) == true { aspects.insert(.standing) }
        if differs([PersonAttributes.certificate]) { aspects.insert(.certificates) }
        if before.entry.name != after.entry.name { aspects.insert(.name) }
        self = aspects
    }
}

/// What has become of accounts. Of one that has appeared, succeeded or was renamed nothing is known yet: its aspects are not told besides.
package enum PersonChange: Hashable, Sendable {
    /// The address has an account now: a new one, or one that was there before and is its owner's again.
    case appeared(BareJID, EntryUUID)
    case changed(BareJID, EntryUUID, PersonAspects)
    /// The address has no account any more: its sessions end, its data stay for a while.
    case vanished(BareJID, EntryUUID)
    /// The same person has another address. What belongs to the old one stays there; only an operator moves it.
    case renamed(from: BareJID, to: BareJID, EntryUUID)
    /// The address has an account, and had another one's before: nothing of that may come to the new one, which nobody gets into until
    /// ``People/predecessorIsGone(_:)``.
    case succeeded(BareJID, EntryUUID, previous: EntryUUID)
    /// Several claim the address, so that it is nobody's: not even whose it was.
    case contested(BareJID, [EntryUUID])
    /// The entry is no account.
    case unusable(EntryUUID, name: String, PersonFault)
    /// The keys of the account are of an older password (``CredentialMark``).
    case keysBecameStale(BareJID, EntryUUID)
}
