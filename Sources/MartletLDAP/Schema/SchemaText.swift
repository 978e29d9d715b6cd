/// What an operator loads into a directory, so that it takes ``MartletSchema``'s attributes and object classes.
public enum SchemaText {
    public enum Format: String, Hashable, Sendable, CaseIterable {
        /// A file for `include` in OpenLDAP's slapd.conf.
        case slapd
        /// An entry for `ldapadd`, where OpenLDAP's configuration is a directory itself.
        case olc
        /// Changes for `ldapmodify` to 389 Directory Server.
        case ds389 = "389"
    }

    public static func text(_ format: Format) -> String {
        switch format {
        case .slapd: slapd
        case .olc: olc
        case .ds389: ds389
        }
    }

    // MARK: Formats

    private static let attributes = MartletSchema.attributeTypes.map { definition(of: $0) }
    private static let classes = MartletSchema.objectClasses.map { definition(of: $0) }

    private static var slapd: String {
        let macros = "objectIdentifier martlet \(MartletSchema.arc)\nobjectIdentifier martletAttr martlet:1\nobjectIdentifier martletOC martlet:2\n"
        let definitions = attributes.map { "attributetype \($0)" } + classes.map { "objectclass \($0)" }
        return macros + "\n" + definitions.map { folded($0) + "\n" }.joined()
    }

    private static var olc: String {
        var entry = LDAPEntry("cn=martlet,cn=schema,cn=config")
        entry.attributes = [
            LDAPAttribute("objectClass", "olcSchemaConfig"), LDAPAttribute("cn", "martlet"),
            LDAPAttribute("olcAttributeTypes", strings: attributes), LDAPAttribute("olcObjectClasses", strings: classes),
        ]
        return LDIFWriter.text([LDIFRecord(.entry(entry))], hasVersion: false)
    }

    private static var ds389: String {
        let changes = [LDAPAttribute("attributeTypes", strings: attributes), LDAPAttribute("objectClasses", strings: classes)]
        return LDIFWriter.text([LDIFRecord(.modify(ModifyRequest("cn=schema", changes.map { .init(.add, $0) })))], hasVersion: false)
    }

    // MARK: Definitions

    /// RFC 4512 §4.1.2.
    public static func definition(of type: AttributeType) -> String {
        var parts = [type.oid, "NAME \(quoted(type.names))"]
        if let description = type.description { parts.append("DESC '\(description)'") }
        if let superior = type.superior { parts.append("SUP \(superior)") }
        if let rule = type.equality { parts.append("EQUALITY \(rule.name)") }
        if let rule = type.ordering { parts.append("ORDERING \(rule.name)") }
        if let rule = type.substrings { parts.append("SUBSTR \(rule.name)") }
        if let syntax = type.syntax { parts.append("SYNTAX \(syntax.rawValue)\(type.lengthMin.map { "{\($0)}" } ?? "")") }
        if type.isSingleValued { parts.append("SINGLE-VALUE") }
        return "( \(parts.joined(separator: " ")) )"
    }

    /// RFC 4512 §4.1.1.
    public static func definition(of objectClass: ObjectClass) -> String {
        var parts = [objectClass.oid, "NAME '\(objectClass.name)'"]
        if let description = objectClass.description { parts.append("DESC '\(description)'") }
        parts += ["SUP \(objectClass.superior)", objectClass.kind.rawValue]
        if !objectClass.must.isEmpty { parts.append("MUST \(list(objectClass.must))") }
        if !objectClass.may.isEmpty { parts.append("MAY \(list(objectClass.may))") }
        return "( \(parts.joined(separator: " ")) )"
    }

    private static func quoted(_ names: [String]) -> String {
        let quoted = names.map { "'\($0)'" }
        return quoted.count == 1 ? quoted[0] : "( \(quoted.joined(separator: " ")) )"
    }

    private static func list(_ names: [String]) -> String { names.count == 1 ? names[0] : "( \(names.joined(separator: " $ ")) )" }

    /// Broken between words; slapd.conf continues a line where the next begins with a space. OIDs are written with the macros.
    private static func folded(_ definition: String) -> String {
        var lines: [String] = []
        var line = ""
        for word in short(definition).split(separator: " ") {
            if !line.isEmpty, line.utf8.count + 1 + word.utf8.count > 100 {
                lines.append(line)
                line = " "
            }
            line += line.isEmpty ? "\(word)" : " \(word)"
        }
        return (lines + [line]).joined(separator: "\n")
    }

    private static func short(_ definition: String) -> String {
        definition.replacing("\(MartletSchema.arc).1.", with: "martletAttr:").replacing("\(MartletSchema.arc).2.", with: "martletOC:")
    }
}
