package import MartletLDAP
package import MartletXMPP

/// What there is to say of the people that a search finds, before any of them has an account. Pure.
package struct PeopleExamination: Sendable {
    /// Entries of one kind that are named.
    static let namedMax = 5

    /// Why entries are no accounts, each with the names of the first ones.
    package struct Problem: Hashable, Sendable {
        package private(set) var count = 0
        package private(set) var names: [String] = []

        mutating func add(_ name: String) {
            count += 1
            if names.count < PeopleExamination.namedMax { names.append(name) }
        }
    }

    package enum Fault: String, Hashable, Sendable, CaseIterable {
        case noAddress, invalidAddress, otherDomain, sharedAddress, noUUID
    }

    package private(set) var count = 0
    package private(set) var problems: [Fault: Problem] = [:]
    /// Entries by the scheme of their password, `PBKDF2-SHA256`; those in the clear have none.
    package private(set) var schemes: [String: Int] = [:]
    /// Entries with keys (RFC 5803).
    package private(set) var keys = 0
    /// Entries that have a key or hash by which SCRAM goes.
    package private(set) var scram = 0
    /// Entries of which no password is seen.
    package private(set) var withoutPassword = 0
    package private(set) var photos = 0
    private var holders: [BareJID: String] = [:]

    private let rule: AddressRule
    private let domain: BareJID
    private let attributes: MirroredAttributes
    private let identifier: String

    /// - Parameter identifier: the attribute that names an entry for as long as it exists.
    package init(_ rule: AddressRule, in domain: BareJID, identifier: String) {
        self.rule = rule
        self.domain = domain
        self.identifier = identifier
        attributes = PersonAttributes.mirrored(others: rule.attributes + [identifier])
    }

    /// What is to be asked for.
    package var wanted: [String] { attributes.names }
    /// People who would have an account.
    package var usable: Int { holders.count - shared.count }
    /// Addresses that several entries have.
    private var shared: Set<BareJID> = []

    package mutating func add(_ entry: LDAPEntry) {
        count += 1
        guard let mirrored = MirroredEntry(entry, attributes) else { return }
        let reader = EntryReader(mirrored, attributes)
        if reader.values(identifier).isEmpty { problems[.noUUID, default: Problem()].add(entry.name) }
        addAddress(reader, entry.name)
        addPassword(reader)
        if reader.photo(PersonAttributes.photo) != nil { photos += 1 }
    }

    private mutating func addAddress(_ reader: EntryReader, _ name: String) {
        do throws(PersonFault) {
            let address = try rule.addresses(of: reader, in: domain)[0]
            guard holders.updateValue(name, forKey: address) != nil else { return }
            shared.insert(address)
            problems[.sharedAddress, default: Problem()].add(name)
        } catch {
            let fault: Fault =
                switch error {
                // What groups allow is not looked at here.
                case .noAddress, .notAllowed: .noAddress
                case .invalidAddress: .invalidAddress
                case .otherDomain: .otherDomain
                }
            problems[fault, default: Problem()].add(name)
        }
    }

    private mutating func addPassword(_ reader: EntryReader) {
        let passwords = reader.texts(PersonAttributes.password)
        for scheme in Set(passwords.map(Self.scheme)) { schemes[scheme, default: 0] += 1 }
        let credentials = PersonCredentials(reader, nil)
        if !credentials.published.isEmpty { keys += 1 }
        if !credentials.published.isEmpty || !credentials.derived.isEmpty { scram += 1 }
        if passwords.isEmpty && reader.values(PersonAttributes.keys).isEmpty { withoutPassword += 1 }
    }

    /// Longest name of a scheme that is shown, in characters.
    private static let schemeCharactersMax = 32

    /// Of `{SSHA}…`. Never a part of a password that is in the clear.
    private static func scheme(_ password: String) -> String {
        guard password.hasPrefix("{"), let end = password.firstIndex(of: "}") else { return "" }
        let name = password[password.index(after: password.startIndex)..<end]
        guard !name.isEmpty, name.count <= schemeCharactersMax, name.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return "" }
        return name.uppercased()
    }
}
