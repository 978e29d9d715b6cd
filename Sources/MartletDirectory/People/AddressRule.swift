package import MartletXMPP

/// From which attributes a person's address comes, the first that the entry has: `xmppAddress | mail | uid@%d`.
package struct AddressRule: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
        /// The value is the address, perhaps as a URI (`xmpp:alice@example.org`).
        case address(String)
        /// The value is the localpart, in the domain of the directory.
        case localpart(String)

        /// In lower case.
        var attribute: String {
            switch self {
            case .address(let name), .localpart(let name): name
            }
        }
    }

    package let sources: [Source]

    /// - Throws: with the part that is no source.
    package init(parsing text: String) throws(AddressRuleError) {
        var sources: [Source] = []
        for part in text.split(separator: "|", omittingEmptySubsequences: false) {
            let name = String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
            let isLocalpart = name.hasSuffix(Self.inDomain)
            let attribute = (isLocalpart ? String(name.dropLast(Self.inDomain.count)) : name).lowercased()
            guard Self.isName(attribute) else { throw .notASource(name) }
            sources.append(isLocalpart ? .localpart(attribute) : .address(attribute))
        }
        self.sources = sources
    }

    package var attributes: [String] { sources.map(\.attribute) }

    private static let inDomain = "@%d"

    /// A short name of an attribute (RFC 4512 §1.4, `keystring`).
    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first) else { return false }
        return text.utf8.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
        }
    }

    /// What an entry says its address is, in the server's order: of those in the domain there is at least one.
    func addresses(of reader: EntryReader, in domain: BareJID) throws(PersonFault) -> [BareJID] {
        guard let source = sources.first(where: { !reader.texts($0.attribute).isEmpty }) else { throw .noAddress }
        var fault = PersonFault.noAddress
        var found: [BareJID] = []
        for text in reader.texts(source.attribute) {
            guard let address = Self.address(text, source, domain) else {
                fault = .invalidAddress(String(text.prefix(Self.shownCharactersMax)))
                continue
            }
            guard address.isInDomain(of: domain) else {
                fault = .otherDomain(address)
                continue
            }
            found.append(address)
        }
        guard !found.isEmpty else { throw fault }
        return found
    }

    /// Of a text that is no address.
    private static let shownCharactersMax = 100

    private static func address(_ text: String, _ source: Source, _ domain: BareJID) -> BareJID? {
        let address: BareJID? =
            switch source {
            case .address: try? BareJID(parsing: text.hasPrefix("xmpp:") ? String(text.dropFirst(5)) : text)
            case .localpart: try? BareJID(localpart: text, domainpart: domain.domainpart)
            }
        return address.flatMap { $0.isDomain ? nil : $0.compacted() }
    }
}

package enum AddressRuleError: Error, Hashable, Sendable { case notASource(String) }

/// Why an entry is no account.
package enum PersonFault: Error, Hashable, Sendable {
    case noAddress
    /// RFC 7622 allows no such address.
    case invalidAddress(String)
    /// Of a domain that this directory says nothing about.
    case otherDomain(BareJID)
    /// In none of the groups whose members have accounts.
    case notAllowed
}
