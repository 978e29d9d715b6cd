/// The attributes of others that Martlet deals with: RFC 4519, 4524, 2798, 2307 and 4512, and what OpenLDAP, 389 Directory Server and Active
/// Directory add.
enum StandardAttributes {
    /// Superiors before what is a kind of them.
    static let all: [AttributeType] = names + texts + people + addresses + references + secrets + numbers + kept

    /// Kinds of `name` (RFC 4519 §2.18), and of other texts.
    private static let names: [AttributeType] = [
        text("2.5.4.41", ["name"]),
        text("2.5.4.3", ["cn", "commonName"], kindOf: "name"),
        text("2.5.4.4", ["sn", "surname"], kindOf: "name"),
        text("2.5.4.42", ["givenName", "gn"], kindOf: "name"),
        text("2.5.4.43", ["initials"], kindOf: "name"),
        text("2.5.4.44", ["generationQualifier"], kindOf: "name"),
        text("2.5.4.6", ["c", "countryName"], .countryString, kindOf: "name", isSingleValued: true),
        text("2.5.4.7", ["l", "localityName"], kindOf: "name"),
        text("2.5.4.8", ["st", "stateOrProvinceName"], kindOf: "name"),
        text("2.5.4.10", ["o", "organizationName"], kindOf: "name"),
        text("2.5.4.11", ["ou", "organizationalUnitName"], kindOf: "name"),
        text("2.5.4.12", ["title"], kindOf: "name"),
    ]

    private static let texts: [AttributeType] = [
        AttributeType("2.5.4.0", "objectClass", equality: .objectIdentifier, syntax: .objectIdentifier),
        text("2.5.4.5", ["serialNumber"], .printableString),
        text("2.5.4.9", ["street", "streetAddress"]),
        text("2.5.4.13", ["description"]),
        text("2.5.4.15", ["businessCategory"]),
        text("2.5.4.17", ["postalCode"]),
        text("2.5.4.18", ["postOfficeBox"]),
        text("2.5.4.19", ["physicalDeliveryOfficeName"]),
        text("2.5.4.46", ["dnQualifier"], .printableString),
        text("0.9.2342.19200300.100.1.25", ["dc", "domainComponent"], .ia5String, isSingleValued: true),
        text("0.9.2342.19200300.100.1.37", ["associatedDomain"], .ia5String),
        text("0.9.2342.19200300.100.1.43", ["co", "friendlyCountryName"]),
        exact("1.3.6.1.4.1.250.1.57", ["labeledURI"], .directoryString),
        exact("2.16.840.1.113730.3.1.198", ["memberURL"], .ia5String),
        octets("2.5.4.55", ["clearance"]),
    ]

    private static let people: [AttributeType] = [
        text("0.9.2342.19200300.100.1.1", ["uid", "userid"]),
        text("0.9.2342.19200300.100.1.6", ["roomNumber"]),
        text("2.16.840.1.113730.3.1.1", ["carLicense"]),
        text("2.16.840.1.113730.3.1.2", ["departmentNumber"]),
        text("2.16.840.1.113730.3.1.3", ["employeeNumber"], isSingleValued: true),
        text("2.16.840.1.113730.3.1.4", ["employeeType"]),
        text("2.16.840.1.113730.3.1.39", ["preferredLanguage"], isSingleValued: true),
        text("2.16.840.1.113730.3.1.241", ["displayName"], isSingleValued: true),
        text("1.2.840.113556.1.4.221", ["sAMAccountName"], isSingleValued: true),
        text("1.2.840.113556.1.4.656", ["userPrincipalName"], isSingleValued: true),
        octets("0.9.2342.19200300.100.1.60", ["jpegPhoto"], .jpeg, nil),
    ]

    private static let addresses: [AttributeType] = [
        text("0.9.2342.19200300.100.1.3", ["mail", "rfc822Mailbox"], .ia5String),
        text("2.16.840.1.113730.3.1.13", ["mailLocalAddress"], .ia5String),
        text("2.16.840.1.113730.3.1.18", ["mailHost"], .ia5String, isSingleValued: true),
        text("2.16.840.1.113730.3.1.47", ["mailRoutingAddress"], .ia5String, isSingleValued: true),
        telephone("2.5.4.20", ["telephoneNumber"]),
        telephone("0.9.2342.19200300.100.1.20", ["homePhone", "homeTelephoneNumber"]),
        telephone("0.9.2342.19200300.100.1.41", ["mobile", "mobileTelephoneNumber"]),
        telephone("0.9.2342.19200300.100.1.42", ["pager", "pagerTelephoneNumber"]),
        // The standard has no rule for it, since it may have parameters; people look for the number.
        telephone("2.5.4.23", ["facsimileTelephoneNumber", "fax"], .facsimileTelephoneNumber),
        postal("2.5.4.16", ["postalAddress"]),
        postal("0.9.2342.19200300.100.1.39", ["homePostalAddress"]),
    ]

    private static let references: [AttributeType] = [
        name("2.5.4.49", ["distinguishedName"]),
        name("2.5.4.31", ["member"], kindOf: "distinguishedName"),
        name("2.5.4.32", ["owner"], kindOf: "distinguishedName"),
        name("2.5.4.33", ["roleOccupant"], kindOf: "distinguishedName"),
        name("2.5.4.34", ["seeAlso"], kindOf: "distinguishedName"),
        name("0.9.2342.19200300.100.1.10", ["manager"]),
        name("0.9.2342.19200300.100.1.21", ["secretary"]),
        name("0.9.2342.19200300.100.1.38", ["associatedName"]),
        name("1.2.840.113556.1.2.102", ["memberOf"], isOperational: true),
        AttributeType("2.5.4.50", "uniqueMember", equality: .uniqueMember, syntax: .nameAndOptionalUID),
        exact("1.3.6.1.1.1.1.12", ["memberUid"], .ia5String),
    ]

    private static let secrets: [AttributeType] = [
        octets("2.5.4.35", ["userPassword"]),
        AttributeType("2.5.4.36", "userCertificate", equality: .certificateExact, syntax: .certificate),
        AttributeType("2.5.4.37", "cACertificate", equality: .certificateExact, syntax: .certificate),
        octets("2.5.4.38", ["authorityRevocationList"], .certificateList, nil),
        octets("2.5.4.39", ["certificateRevocationList"], .certificateList, nil),
        octets("2.16.840.1.113730.3.1.40", ["userSMIMECertificate"], nil, nil),
    ]

    private static let numbers: [AttributeType] = [
        integer("1.3.6.1.1.1.1.0", ["uidNumber"]),
        integer("1.3.6.1.1.1.1.1", ["gidNumber"]),
        integer("1.2.840.113556.1.4.8", ["userAccountControl"]),
        integer("1.2.840.113556.1.4.159", ["accountExpires"]),
    ]

    /// What the directory itself keeps.
    private static let kept: [AttributeType] = [
        time("2.5.18.1", ["createTimestamp"], isOperational: true),
        time("2.5.18.2", ["modifyTimestamp"], isOperational: true),
        time("1.2.840.113556.1.2.3", ["whenChanged"], isOperational: true),
        time("1.3.6.1.4.1.42.2.27.8.1.16", ["pwdChangedTime"], isOperational: true),
        time("1.3.6.1.4.1.42.2.27.8.1.17", ["pwdAccountLockedTime"]),
        time("1.3.6.1.4.1.42.2.27.8.1.27", ["pwdStartTime"]),
        time("1.3.6.1.4.1.42.2.27.8.1.28", ["pwdEndTime"]),
        boolean("1.3.6.1.4.1.42.2.27.8.1.22", ["pwdReset"]),
        text("2.16.840.1.113730.3.1.610", ["nsAccountLock"]),
        operational(name("2.5.18.3", ["creatorsName"])),
        operational(name("2.5.18.4", ["modifiersName"])),
        operational(name("2.5.18.10", ["subschemaSubentry"])),
        operational(name("1.3.6.1.1.20", ["entryDN"])),
        boolean("2.5.18.9", ["hasSubordinates"], isOperational: true),
        operational(AttributeType("2.5.21.9", "structuralObjectClass", equality: .objectIdentifier, syntax: .objectIdentifier)),
        operational(AttributeType("1.3.6.1.1.16.4", "entryUUID", equality: .uuid, syntax: .uuid), ordering: .uuidOrdering),
        operational(exact("1.3.6.1.4.1.4203.666.1.7", ["entryCSN"], .octetString), ordering: .caseExactOrdering),
        operational(exact("1.3.6.1.4.1.4203.666.1.25", ["contextCSN"], .octetString), ordering: .caseExactOrdering, isSingleValued: false),
        operational(text("2.16.840.1.113730.3.1.542", ["nsUniqueId"])),
        operational(octets("1.2.840.113556.1.4.2", ["objectGUID"])),
        operational(integer("1.2.840.113556.1.2.120", ["uSNChanged"])),
    ]

    /// Names of the object classes that are asked for, by OID.
    static let classes: [String: String] = [
        "2.5.6.0": "top", "2.5.6.4": "organization", "2.5.6.5": "organizationalunit", "2.5.6.6": "person", "2.5.6.7": "organizationalperson",
        "2.5.6.8": "organizationalrole", "2.5.6.9": "groupofnames", "2.5.6.17": "groupofuniquenames", "2.5.6.22": "pkica",
        "0.9.2342.19200300.100.4.5": "account", "1.3.6.1.4.1.1466.344": "dcobject", "1.3.6.1.1.1.2.0": "posixaccount", "1.3.6.1.1.1.2.2": "posixgroup",
        "2.16.840.1.113730.3.2.2": "inetorgperson", "2.16.840.1.113730.3.2.33": "groupofurls", "2.16.840.1.113730.3.2.147": "inetlocalmailrecipient",
        "1.3.6.1.4.1.4203.1.4.7": "authpasswordobject",
    ]
}

// MARK: Kinds of rows

extension StandardAttributes {
    private static func type(_ oid: String, _ names: [String], _ equality: MatchingRule?, _ syntax: AttributeSyntax?) -> AttributeType {
        AttributeType(oid, names: names, equality: equality, syntax: syntax)
    }

    private static func text(
        _ oid: String, _ names: [String], _ syntax: AttributeSyntax = .directoryString, kindOf superior: String? = nil, isSingleValued: Bool = false
    ) -> AttributeType {
        let isIA5 = syntax == .ia5String
        var type = type(oid, names, isIA5 ? .caseIgnoreIA5 : .caseIgnore, syntax)
        type.substrings = isIA5 ? .caseIgnoreIA5Substrings : .caseIgnoreSubstrings
        type.superior = superior
        type.isSingleValued = isSingleValued
        return type
    }

    private static func exact(_ oid: String, _ names: [String], _ syntax: AttributeSyntax) -> AttributeType {
        var type = type(oid, names, syntax == .ia5String ? .caseExactIA5 : .caseExact, syntax)
        type.substrings = .caseExactSubstrings
        return type
    }

    private static func telephone(_ oid: String, _ names: [String], _ syntax: AttributeSyntax = .telephoneNumber) -> AttributeType {
        var type = type(oid, names, .telephoneNumber, syntax)
        type.substrings = .telephoneNumberSubstrings
        return type
    }

    private static func postal(_ oid: String, _ names: [String]) -> AttributeType {
        var type = type(oid, names, .caseIgnoreList, .postalAddress)
        type.substrings = .caseIgnoreListSubstrings
        return type
    }

    private static func name(_ oid: String, _ names: [String], kindOf superior: String? = nil, isOperational: Bool = false) -> AttributeType {
        var type = type(oid, names, .distinguishedName, .distinguishedName)
        type.superior = superior
        type.isOperational = isOperational
        return type
    }

    private static func octets(
        _ oid: String, _ names: [String], _ syntax: AttributeSyntax? = .octetString, _ equality: MatchingRule? = .octetString
    ) -> AttributeType {
        type(oid, names, equality, syntax)
    }

    private static func integer(_ oid: String, _ names: [String]) -> AttributeType {
        var type = type(oid, names, .integer, .integer)
        type.ordering = .integerOrdering
        type.isSingleValued = true
        return type
    }

    private static func time(_ oid: String, _ names: [String], isOperational: Bool = false) -> AttributeType {
        var type = type(oid, names, .generalizedTime, .generalizedTime)
        type.ordering = .generalizedTimeOrdering
        type.isSingleValued = true
        type.isOperational = isOperational
        return type
    }

    private static func boolean(_ oid: String, _ names: [String], isOperational: Bool = false) -> AttributeType {
        var type = type(oid, names, .boolean, .boolean)
        type.isSingleValued = true
        type.isOperational = isOperational
        return type
    }

    private static func operational(_ type: AttributeType, ordering: MatchingRule? = nil, isSingleValued: Bool = true) -> AttributeType {
        var type = type
        type.ordering = type.ordering ?? ordering
        type.isOperational = true
        type.isSingleValued = isSingleValued
        return type
    }
}
