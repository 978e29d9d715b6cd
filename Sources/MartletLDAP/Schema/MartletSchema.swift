/// The attributes and object classes that Martlet adds to a directory. It needs none of them: a directory whose schema stays as it is has its own
/// attributes mapped.
///
/// Their OIDs are in the arc that ITU-T X.667 gives to whoever has a UUID, 6f1d2a54-8c0e-4b7a-9d35-3e5f0b6a7c21: no registration is needed. The names
/// are what others rely on.
public enum MartletSchema {
    public static let arc = "2.25.147695742700737359237692067388437724193"

    public static let attributeTypes: [AttributeType] = foreign + account + presence + groups + rosters + roles + configuration

    /// Of others, which not every directory has. OpenLDAP knows no syntax of authentication passwords, so that they are octets.
    private static let foreign: [AttributeType] = [
        described(
            AttributeType("1.3.6.1.4.1.4203.1.3.4", "authPassword", equality: .octetString, syntax: .octetString),
            "RFC 3112 password authentication information (RFC 5803 SCRAM values)"),
        described(
            with(
                AttributeType("1.3.6.1.4.1.25178.1.2.12", "schacUserPresenceID", equality: .caseExact, syntax: .directoryString), .caseExactSubstrings),
            "presence URIs"),
    ]

    private static let account: [AttributeType] = [
        described(with(text(1, "xmppAddress", 3_071), .caseIgnoreSubstrings), "bare JID"),
        single(boolean(2, "xmppEnabled")),
        described(single(text(3, "xmppAuthPolicy", 32)), "any|scram|strong"),
        described(text(4, "xmppClearance", 1_024), "security clearance"),
        single(boolean(5, "xmppMailMonitor")),
    ]

    private static let presence: [AttributeType] = [
        described(single(text(20, "xmppPresence", 16)), "online|offline"),
        described(single(text(21, "xmppShow", 16)), "chat|available|away|xa|dnd|offline"),
        with(text(22, "xmppStatus", 1_024), .caseIgnoreSubstrings),
        single(time(23, "xmppLastActivity")),
        single(time(24, "xmppIdleSince")),
        described(text(25, "xmppResource", 2_048, .caseExact), "resource show priority"),
        single(integer(26, "xmppPriority", ordering: .integerOrdering)),
        described(single(text(27, "xmppPresenceText", 1_024)), "one human readable line"),
        text(28, "xmppActivity", 256),
        text(29, "xmppLocation", 256),
    ]

    private static let groups: [AttributeType] = [
        single(text(40, "xmppGroupName", 256)),
        described(single(text(41, "xmppGroupShare", 16)), "members|all|groups"),
        kindOf(own(42, "xmppGroupVisibleTo", nil, nil), "distinguishedName"),
    ]

    private static let rosters: [AttributeType] = [
        described(with(single(text(50, "xmppContact", 3_071)), .caseIgnoreSubstrings), "contact JID"),
        single(text(51, "xmppContactName", 1_024)),
        text(52, "xmppContactGroup", 1_024, .caseExact),
        described(single(text(53, "xmppSubscription", 8)), "none|to|from|both"),
        described(text(54, "xmppPending", 16), "out|in|approved"),
    ]

    private static let roles: [AttributeType] = [
        described(text(60, "xmppRoleCandidate", 3_071), "preference SP JID-or-mail"),
        ia5(61, "xmppRoleFallback", 256),
        described(ia5(62, "xmppRoleCurrent", 256), "mail of the recipient chosen now"),
        single(text(63, "xmppRolePolicy", 32)),
    ]

    private static let configuration: [AttributeType] = [
        described(with(text(80, "martletSetting", nil, .caseExact), .caseExactSubstrings), "name=value"),
        single(integer(81, "martletConfigVersion")),
        single(boolean(82, "martletEnabled")),
    ]

    /// Superiors before what is a kind of them.
    public static let objectClasses: [ObjectClass] = [
        ObjectClass(
            "1.3.6.1.4.1.4203.1.4.7", "authPasswordObject", .auxiliary, may: ["authPassword"], description: "RFC 3112 authentication password mix-in"),
        own(
            1, "xmppUser", .auxiliary,
            may: [
                "xmppAddress", "xmppEnabled", "xmppAuthPolicy", "xmppClearance", "xmppMailMonitor", "authPassword", "userCertificate",
                "schacUserPresenceID",
            ]),
        own(
            2, "xmppPresentity", .auxiliary,
            may: [
                "xmppPresence", "xmppShow", "xmppStatus", "xmppLastActivity", "xmppIdleSince", "xmppResource", "xmppPriority", "xmppPresenceText",
                "xmppActivity", "xmppLocation",
            ]),
        own(3, "xmppSharedGroup", .auxiliary, may: ["xmppGroupName", "xmppGroupShare", "xmppGroupVisibleTo"]),
        own(
            4, "xmppRosterItem", .structural, must: ["xmppContact"],
            may: ["xmppContactName", "xmppContactGroup", "xmppSubscription", "xmppPending", "description"]),
        own(
            5, "xmppDutyRole", .auxiliary,
            may: ["mail", "xmppAddress", "xmppRoleCandidate", "xmppRoleFallback", "xmppRoleCurrent", "xmppRolePolicy"]),
        own(
            10, "martletConfigEntry", .structural, must: ["cn"], may: ["martletSetting", "martletEnabled", "description", "seeAlso", "labeledURI"]),
        own(11, "martletServer", .structural, kindOf: "martletConfigEntry", may: ["martletConfigVersion"]),
        own(12, "martletDomain", .structural, kindOf: "martletConfigEntry"),
        own(13, "martletPeer", .structural, kindOf: "martletConfigEntry"),
        own(14, "martletRoom", .structural, kindOf: "martletConfigEntry", may: ["member", "owner"]),
        own(15, "martletAlertRule", .structural, kindOf: "martletConfigEntry"),
    ]
}

// MARK: Kinds of rows

extension MartletSchema {
    private static func own(_ number: Int, _ name: String, _ equality: MatchingRule?, _ syntax: AttributeSyntax?) -> AttributeType {
        AttributeType("\(arc).1.\(number)", name, equality: equality, syntax: syntax)
    }

    private static func text(_ number: Int, _ name: String, _ lengthMin: Int?, _ equality: MatchingRule = .caseIgnore) -> AttributeType {
        var type = own(number, name, equality, .directoryString)
        type.lengthMin = lengthMin
        return type
    }

    private static func ia5(_ number: Int, _ name: String, _ lengthMin: Int) -> AttributeType {
        var type = own(number, name, .caseIgnoreIA5, .ia5String)
        type.lengthMin = lengthMin
        return type
    }

    private static func boolean(_ number: Int, _ name: String) -> AttributeType { own(number, name, .boolean, .boolean) }

    private static func integer(_ number: Int, _ name: String, ordering: MatchingRule? = nil) -> AttributeType {
        var type = own(number, name, .integer, .integer)
        type.ordering = ordering
        return type
    }

    private static func time(_ number: Int, _ name: String) -> AttributeType {
        var type = own(number, name, .generalizedTime, .generalizedTime)
        type.ordering = .generalizedTimeOrdering
        return type
    }

    private static func single(_ type: AttributeType) -> AttributeType {
        var type = type
        type.isSingleValued = true
        return type
    }

    private static func with(_ type: AttributeType, _ substrings: MatchingRule) -> AttributeType {
        var type = type
        type.substrings = substrings
        return type
    }

    private static func described(_ type: AttributeType, _ description: String) -> AttributeType {
        var type = type
        type.description = description
        return type
    }

    private static func kindOf(_ type: AttributeType, _ superior: String) -> AttributeType {
        var type = type
        type.superior = superior
        return type
    }

    private static func own(
        _ number: Int, _ name: String, _ kind: ObjectClass.Kind, kindOf superior: String = "top", must: [String] = [], may: [String] = []
    ) -> ObjectClass {
        ObjectClass("\(arc).2.\(number)", name, kind, superior: superior, must: must, may: may)
    }
}
