/// What has to be changed about entries to make others of them: what an import would do.
public enum LDIFDifference {
    /// New entries first, parents before children; then changes; then what goes, children before parents. Attributes that the directory keeps itself
    /// are left alone, so that a dump of a server compares as well as what somebody has written.
    ///
    /// - Throws: if the name of an entry is none, with where in the name.
    public static func changes(
        from old: [LDAPEntry], to new: [LDAPEntry], schema: Schema = .standard
    ) throws(LDAPTextError) -> [LDIFRecord] {
        let (oldEntries, newEntries) = (try named(old), try named(new))
        let added = newEntries.keys.filter { oldEntries[$0] == nil }.sorted { $0.isOrdered(before: $1) }
        let kept = newEntries.keys.filter { oldEntries[$0] != nil }.sorted { $0.isOrdered(before: $1) }
        let gone = oldEntries.keys.filter { newEntries[$0] == nil }.sorted { $1.isOrdered(before: $0) }
        var records: [LDIFRecord] = []
        for entry in added.compactMap({ newEntries[$0] }) {
            records.append(LDIFRecord(.add(LDAPEntry(entry.name, entry.attributes.filter { !isKept($0, schema) }))))
        }
        for name in kept {
            guard let old = oldEntries[name], let new = newEntries[name] else { continue }
            let changes = changes(from: old.attributes, to: new.attributes, schema)
            if !changes.isEmpty { records.append(LDIFRecord(.modify(ModifyRequest(old.name, changes)))) }
        }
        return records + gone.compactMap { oldEntries[$0] }.map { LDIFRecord(.delete($0.name)) }
    }

    /// Of two entries of one name the later counts.
    private static func named(_ entries: [LDAPEntry]) throws(LDAPTextError) -> [DistinguishedName: LDAPEntry] {
        var named: [DistinguishedName: LDAPEntry] = [:]
        for entry in entries { named[try DistinguishedName(entry.name)] = entry }
        return named
    }

    /// An attribute by what it is, with its options.
    private struct Key: Hashable, Comparable {
        let type: String
        let options: String

        init?(_ attribute: LDAPAttribute, _ schema: Schema) {
            guard let description = AttributeDescription(attribute.description, schema: schema) else { return nil }
            type = description.type
            options = description.options.sorted().joined(separator: ";")
        }

        static func < (one: Key, other: Key) -> Bool { (one.type, one.options) < (other.type, other.options) }
    }

    private static func changes(from old: [LDAPAttribute], to new: [LDAPAttribute], _ schema: Schema) -> [ModifyRequest.Change] {
        let (old, new) = (attributes(old, schema), attributes(new, schema))
        return Set(old.keys).union(new.keys).sorted().flatMap { key in changes(old[key], new[key], schema.attributeType(key.type)) }
    }

    private static func attributes(_ attributes: [LDAPAttribute], _ schema: Schema) -> [Key: LDAPAttribute] {
        var result: [Key: LDAPAttribute] = [:]
        for attribute in attributes where !isKept(attribute, schema) && !attribute.values.isEmpty {
            guard let key = Key(attribute, schema) else { continue }
            result[key] = LDAPAttribute(result[key]?.description ?? attribute.description, (result[key]?.values ?? []) + attribute.values)
        }
        return result
    }

    private static func changes(_ old: LDAPAttribute?, _ new: LDAPAttribute?, _ type: AttributeType?) -> [ModifyRequest.Change] {
        guard let old else { return new.map { [ModifyRequest.Change(.add, $0)] } ?? [] }
        guard let new else { return [ModifyRequest.Change(.delete, LDAPAttribute(old.description, []))] }
        let (oldValues, newValues) = (Set(old.values.map { compared($0, type) }), Set(new.values.map { compared($0, type) }))
        let gone = old.values.filter { !newValues.contains(compared($0, type)) }
        let added = new.values.filter { !oldValues.contains(compared($0, type)) }
        if gone.isEmpty, added.isEmpty { return [] }
        // Values that no rule compares, such as photos, cannot be taken away one by one.
        let isReplaced = gone.count == old.values.count || type?.isSingleValued == true || (type != nil && type?.equality == nil)
        if isReplaced { return [ModifyRequest.Change(.replace, new)] }
        let changes = [ModifyRequest.Change(.delete, LDAPAttribute(old.description, gone)), .init(.add, LDAPAttribute(old.description, added))]
        return changes.filter { !$0.attribute.values.isEmpty }
    }

    /// Names and object classes are the same however they are written. Of anything else people want to see changed how it is written.
    private static func compared(_ value: [UInt8], _ type: AttributeType?) -> [UInt8] {
        switch type?.equality?.preparation {
        case .distinguishedName, .objectIdentifier, .boolean, .integer: type?.equality?.preparation.prepared(value) ?? value
        default: value
        }
    }

    private static func isKept(_ attribute: LDAPAttribute, _ schema: Schema) -> Bool {
        guard let description = AttributeDescription(attribute.description, schema: schema) else { return false }
        return schema.attributeType(description.type)?.isOperational == true
    }
}
