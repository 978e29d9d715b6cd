import MartletCore
package import MartletLDAP
package import MartletXMPP

/// This server's accounts as a tree of entries, where there is no directory besides: `uid=alice,ou=people,dc=example,dc=org`.
package struct EmbeddedTree: Hashable, Sendable {
    package var domains: [BareJID]
    /// Under which name the only domain is, if not under one that is made of its own (RFC 2247).
    package var base: DistinguishedName?
    /// Whether whoever has not said who he is sees who has an account.
    package var allowsAnonymous: Bool

    package init(_ domains: [BareJID], under base: DistinguishedName? = nil, allowsAnonymous: Bool = false) {
        precondition(base == nil || domains.count == 1, "one name is that of one domain")
        self.domains = domains
        self.base = base
        self.allowsAnonymous = allowsAnonymous
    }

    static let subschema = DistinguishedName([RelativeDistinguishedName("cn", "subschema")])

    func suffix(of domain: BareJID) -> DistinguishedName {
        base ?? DistinguishedName(domain.domainpart.split(separator: ".").map { RelativeDistinguishedName("dc", String($0)) })
    }

    func people(of domain: BareJID) -> DistinguishedName { suffix(of: domain).child(RelativeDistinguishedName("ou", "people")) }

    package func name(of account: BareJID) -> DistinguishedName {
        people(of: account.domain).child(RelativeDistinguishedName("uid", account.localpart ?? ""))
    }

    /// Whose entry that would be, whether there is one or not.
    package func address(of name: DistinguishedName) -> BareJID? {
        guard let attributes = name.relativeName?.ordered, attributes.count == 1, attributes[0].type == "uid", let parent = name.parent,
            let domain = domains.first(where: { people(of: $0) == parent })
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

    /// What the first part of ``base`` may be: an entry has the attributes of its name.
    package static let baseTypes = ["dc", "o", "ou"]

    package func container(_ domain: BareJID) -> LDAPEntry {
        let name = suffix(of: domain)
        let first = name.relativeName?.ordered.first
        let value = String(decoding: first?.value ?? [], as: UTF8.self)
        let attributes =
            switch first?.type {
            case "o": [LDAPAttribute("objectClass", strings: ["top", "organization"]), LDAPAttribute("o", value)]
            case "ou": [LDAPAttribute("objectClass", strings: ["top", "organizationalUnit"]), LDAPAttribute("ou", value)]
            default:
                [LDAPAttribute("objectClass", strings: ["top", "dcObject", "organization"]), LDAPAttribute("dc", value), LDAPAttribute("o", domain.domainpart)]
            }
        return LDAPEntry(name.description, attributes)
    }

    func peopleContainer(_ domain: BareJID) -> LDAPEntry {
        LDAPEntry(people(of: domain).description, [LDAPAttribute("objectClass", strings: ["top", "organizationalUnit"]), LDAPAttribute("ou", "people")])
    }

    /// RFC 4512 §5.1.
    func rootDSE(offersTLS: Bool) -> LDAPEntry {
        LDAPEntry(
            "",
            [
                LDAPAttribute("objectClass", strings: ["top"]),
                LDAPAttribute("namingContexts", strings: domains.map { suffix(of: $0).description }),
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
