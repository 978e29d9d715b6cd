package import MartletCore
package import MartletLDAP

/// An item of a roster as far as a directory has it: an `xmppRosterItem`. Two that the directory cannot tell from each other are equal.
///
/// A request of a stranger, which the user has not answered and does not see in the roster, is an entry without `xmppSubscription`.
package struct CopiedRosterItem: Hashable, Sendable {
    package let name: String?
    /// Each once, as the directory compares them; a set has no order, so that this one has the order of octets.
    package let groups: [String]
    package let state: SubscriptionState

    package init(name: String?, groups: [String], state: SubscriptionState) {
        self.name = name.flatMap { $0.isEmpty ? nil : $0 }
        self.groups = Self.distinct(groups)
        self.state = SubscriptionState.none.joined(with: state)
    }

    package init(_ item: RosterItem) { self.init(name: item.name, groups: item.groups, state: item.subscription) }

    /// An attribute cannot have two values that its matching rule takes for the same.
    private static func distinct(_ groups: [String]) -> [String] {
        var known: Set<[UInt8]> = []
        return groups.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.filter { group in
            let octets = Array(group.utf8)
            return known.insert(ValuePreparation.caseExact.prepared(octets) ?? octets).inserted
        }
    }
}

// MARK: As an entry

extension CopiedRosterItem {
    private enum Attribute {
        static let name = "xmppContactName"
        static let group = "xmppContactGroup"
        static let subscription = "xmppSubscription"
        static let pending = "xmppPending"
    }

    package static let objectClass = "xmppRosterItem"

    /// The attributes of an entry that say something of an item.
    package static let attributeNames = [Attribute.name, Attribute.group, Attribute.subscription, Attribute.pending]

    /// Why an entry is no item.
    package enum Fault: Error, Hashable, Sendable {
        /// No text that XML can carry, too long, or empty.
        case value(String)
        /// None of the values that there are.
        case unknown(String)
    }

    /// What an entry says.
    package init(_ entry: LDAPEntry) throws(Fault) {
        let subscription = try Self.texts(entry, Attribute.subscription).first?.lowercased()
        let pending = Set(try Self.texts(entry, Attribute.pending).map { $0.lowercased() })
        var state = SubscriptionState()
        switch subscription {
        case nil, "none": break
        case "to": state.to = true
        case "from": state.from = true
        case "both": (state.to, state.from) = (true, true)
        default: throw .unknown(Attribute.subscription)
        }
        guard pending.isSubset(of: ["out", "in", "approved"]) else { throw .unknown(Attribute.pending) }
        (state.pendingOut, state.pendingIn, state.approved) = (pending.contains("out"), pending.contains("in"), pending.contains("approved"))
        let (name, groups) = (try Self.texts(entry, Attribute.name).first, try Self.texts(entry, Attribute.group))
        let isOnlyAsked = subscription == nil && pending == ["in"] && name == nil && groups.isEmpty
        state.isInRoster = !isOnlyAsked
        self.init(name: name, groups: groups, state: state)
    }

    private static func texts(_ entry: LDAPEntry, _ attribute: String) throws(Fault) -> [String] {
        let wanted = attribute.lowercased()
        var texts: [String] = []
        for value in entry.attributes.lazy.filter({ $0.description.lowercased() == wanted }).flatMap(\.values) {
            guard (1...Roster.nameBytesMax).contains(value.count), let text = String(validating: value, as: UTF8.self), isText(text) else {
                throw .value(attribute)
            }
            texts.append(text)
        }
        return texts
    }

    /// XML 1.0 §2.2.
    private static func isText(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { scalar in
            scalar.value >= 0x20 ? scalar.value & 0xFFFF_FFFE != 0xFFFE : scalar == "\t" || scalar == "\n" || scalar == "\r"
        }
    }

    /// Those that say something; the others have no values.
    package var attributes: [LDAPAttribute] {
        let pending = [(state.pendingOut, "out"), (state.pendingIn, "in"), (state.approved, "approved")].filter(\.0).map(\.1)
        return [
            LDAPAttribute(Attribute.name, strings: [name].compactMap(\.self)), LDAPAttribute(Attribute.group, strings: groups),
            LDAPAttribute(Attribute.subscription, strings: state.isInRoster ? [state.name.description] : []),
            LDAPAttribute(Attribute.pending, strings: pending),
        ]
    }
}
