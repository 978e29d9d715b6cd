import MartletCore
package import MartletLDAP

/// Whom the URLs of groups find (`groupOfURLs`), as far as it can be said from what is mirrored of people.
///
/// Nobody is found by a filter that asks for something else: it might as well find everybody.
package struct MemberURLs: Sendable {
    private let attributes: MirroredAttributes

    /// - Parameter attributes: of people.
    package init(_ attributes: MirroredAttributes) { self.attributes = attributes }

    package func evaluation(of text: String) -> (@Sendable (LDAPEntry) -> Bool)? {
        guard let url = try? LDAPURL(text), url.filter.map(isAnswered) ?? true else { return nil }
        let filter = url.filter.map { PreparedLDAPFilter($0) }
        return { entry in
            guard let name = try? DistinguishedName(entry.name), name.isInScope(url.scope, of: url.base) else { return false }
            return filter.map { $0.truth(of: entry) == .holds } ?? true
        }
    }

    private func isAnswered(_ filter: LDAPFilter) -> Bool {
        switch filter {
        case .and(let filters), .or(let filters): filters.allSatisfy(isAnswered)
        case .not(let filter): isAnswered(filter)
        case .equality, .substrings, .greaterOrEqual, .lessOrEqual, .present, .approximate, .extensible: filter.attribute.map(isMirrored) ?? false
        }
    }

    private func isMirrored(_ description: String) -> Bool {
        guard let attribute = AttributeDescription(description), attribute.options.isEmpty, let place = attributes.place(of: attribute.type) else { return false }
        return attributes.form(place) == .whole
    }
}
