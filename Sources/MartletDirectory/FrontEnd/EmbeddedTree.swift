import MartletCore
package import MartletLDAP
package import MartletXMPP

/// This server's accounts as a tree of entries, where there is no directory besides: `uid=alice,ou=people,dc=example,dc=org`.
package struct EmbeddedTree: Hashable, Sendable {
    package var domains: [BareJID]
    /// Whether whoever has not said who he is sees who has an account.
    package var allowsAnonymous: Bool

    package init(_ domains: [BareJID], allowsAnonymous: Bool = false) {
        self.domains = domains
        self.allowsAnonymous = allowsAnonymous
    }

    static let subschema = DistinguishedName([RelativeDistinguishedName("cn", "subschema")])

    /// RFC 2247.
    static func suffix(of domain: BareJID) -> DistinguishedName {
        DistinguishedName(domain.domainpart.split(separator: ".").map { RelativeDistinguishedName("dc", String($0)) })
    }

    static func people(of domain: BareJID) -> DistinguishedName { suffix(of: domain).child(RelativeDistinguishedName("ou", "people")) }

    package static func name(of account: BareJID) -> DistinguishedName {
        people(of: account.domain).child(RelativeDistinguishedName("uid", account.localpart ?? ""))
    }

    /// Whose entry that would be, whether there is one or not.
    package func address(of name: DistinguishedName) -> BareJID? {
        guard let attributes = name.relativeName?.ordered, attributes.count == 1, attributes[0].type == "uid", let parent = name.parent,
            let domain = domains.first(where: { Self.people(of: $0) == parent })
        else { return nil }
        return try? BareJID(localpart: String(decoding: attributes[0].value, as: UTF8.self), domainpart: domain.domainpart)
    }

    /// As whom somebody wants to bind: by the name of his entry, or by his address.
    func address(bindingAs name: String) -> BareJID? {
        if let name = try? DistinguishedName(name), !name.relativeNames.isEmpty { return address(of: name) }
        guard let address = try? BareJID(parsing: name), !address.isDomain, domains.contains(where: { $0.isInDomain(of: address) }) else { return nil }
        return address
    }

    /// Accounts see the people of their own domain.
    func visibleDomains(to viewer: PresenceViewer) -> [BareJID] {
        switch viewer {
        case .anonymous: allowsAnonymous ? domains : []
        case .account(let account): domains.filter { $0.isInDomain(of: account) }
        case .service: []
        }
    }

    // MARK: Entries that are always there

    static func container(_ domain: BareJID) -> LDAPEntry {
        let first = domain.domainpart.split(separator: ".").first.map(String.init) ?? domain.domainpart
        return LDAPEntry(
            suffix(of: domain).description,
            [LDAPAttribute("objectClass", strings: ["top", "dcObject", "organization"]), LDAPAttribute("dc", first), LDAPAttribute("o", domain.domainpart)])
    }

    static func peopleContainer(_ domain: BareJID) -> LDAPEntry {
        LDAPEntry(people(of: domain).description, [LDAPAttribute("objectClass", strings: ["top", "organizationalUnit"]), LDAPAttribute("ou", "people")])
    }

    /// RFC 4512 §5.1.
    func rootDSE(offersTLS: Bool) -> LDAPEntry {
        LDAPEntry(
            "",
            [
                LDAPAttribute("objectClass", strings: ["top"]),
                LDAPAttribute("namingContexts", strings: domains.map { Self.suffix(of: $0).description }),
                LDAPAttribute("supportedLDAPVersion", "3"), LDAPAttribute("supportedControl", strings: [LDAPControlType.pagedResults]),
                LDAPAttribute("supportedExtension", strings: [LDAPExtension.whoAmI] + (offersTLS ? [LDAPExtension.startTLS] : [])),
                LDAPAttribute("supportedFeatures", strings: ["1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.3"]),
                LDAPAttribute("subschemaSubentry", Self.subschema.description), LDAPAttribute("vendorName", "Martlet"),
            ])
    }

    /// RFC 4512 §4.2: what the entries here have.
    static func subschemaEntry() -> LDAPEntry {
        let types = EmbeddedPerson.attributes.compactMap { Schema.standard.attributeType($0) } + OwnSubschema.attributeTypes
        return LDAPEntry(
            subschema.description,
            [
                LDAPAttribute("objectClass", strings: ["top", "subentry", "subschema"]), LDAPAttribute("cn", "subschema"),
                LDAPAttribute("attributeTypes", strings: types.map(SchemaText.definition)),
                LDAPAttribute("objectClasses", strings: EmbeddedPerson.classDefinitions + OwnSubschema.objectClasses.map(SchemaText.definition)),
            ])
    }

    /// Attributes that only those get who ask for them.
    static let operational: Set<String> = [
        "namingcontexts", "supportedldapversion", "supportedcontrol", "supportedextension", "supportedfeatures", "subschemasubentry", "vendorname",
        "attributetypes", "objectclasses",
    ]
}
