package import MartletXMPP

/// What of an entry makes a person.
package struct PersonMapping: Sendable {
    /// Whose people they are: an address of another domain is none of theirs.
    package var domain: BareJID
    package var addresses: AddressRule
    /// What else somebody may call himself where he logs in by a name: `uid`, `mail`. In lower case.
    package var loginAttributes: [String]
    /// A filter that disables whom it does not match; one in the search makes him vanish instead.
    package var isEnabled: (@Sendable (EntryReader) -> Bool)?
    /// See ``PersonStanding/verdict(at:lockMilliseconds:)``.
    package var lockMilliseconds: Int64?

    package init(
        domain: BareJID, addresses: AddressRule, loginAttributes: [String] = ["uid", "mail"], lockMilliseconds: Int64? = nil,
        isEnabled: (@Sendable (EntryReader) -> Bool)? = nil
    ) {
        self.domain = domain
        self.addresses = addresses
        self.loginAttributes = loginAttributes.map { $0.lowercased() }
        self.lockMilliseconds = lockMilliseconds
        self.isEnabled = isEnabled
    }

    /// Without regard to case, as directories compare them.
    package static func loginKey(_ name: String) -> [UInt8] { Array(name.lowercased().utf8) }

    func loginKeys(of reader: EntryReader) -> Set<[UInt8]> { Set(loginAttributes.flatMap { reader.texts($0) }.map(Self.loginKey)) }
}
