package import MartletLDAP
package import MartletXMPP

/// Where the item of a contact is, in the roster of an account.
package struct RosterPlace: Hashable, Sendable {
    package var account: BareJID
    package var contact: BareJID

    package init(_ account: BareJID, _ contact: BareJID) {
        self.account = account
        self.contact = contact
    }
}

/// Where rosters are in a directory: below one entry, `cn=alice@example.org` for each account, and `xmppContact=bob@example.org` below that for each
/// contact. Addresses are values of names, whatever characters they have.
package struct RosterTree: Hashable, Sendable {
    package let base: DistinguishedName
    package let domain: BareJID

    package init(base: DistinguishedName, domain: BareJID) {
        self.base = base
        self.domain = domain
    }

    package func name(of account: BareJID) -> DistinguishedName { base.child(RelativeDistinguishedName("cn", account.description)) }

    package func name(of place: RosterPlace) -> DistinguishedName {
        name(of: place.account).child(RelativeDistinguishedName("xmppContact", place.contact.description))
    }

    /// - Returns: `nil` if the entry of that name is no item of an account of the domain.
    package func place(of name: String) -> RosterPlace? {
        guard let steps = (try? DistinguishedName(name))?.relative(to: base)?.relativeNames, steps.count == 2,
            let contact = Self.address(steps[0], "xmppcontact"), let account = Self.address(steps[1], "cn"), domain.isDomain(of: account)
        else { return nil }
        return RosterPlace(account, contact)
    }

    private static func address(_ step: RelativeDistinguishedName, _ type: String) -> BareJID? {
        guard step.ordered.count == 1, let attribute = step.ordered.first, attribute.type == type, !attribute.isEncoded,
            let text = String(validating: attribute.value, as: UTF8.self)
        else { return nil }
        return try? BareJID(parsing: text)
    }
}

extension BareJID {
    fileprivate func isDomain(of account: BareJID) -> Bool { !account.isDomain && account.domainpart == domainpart }
}
