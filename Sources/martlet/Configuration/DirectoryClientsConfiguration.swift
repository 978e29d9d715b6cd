package import MartletDirectory
import MartletLDAP

extension ServerConfiguration {
    /// What directory clients find (RFC 4511), where there are listeners for them.
    package struct DirectoryClients: ConfigurationSection {
        /// The domain whose directory stands behind; `nil`: this server's own accounts are the entries.
        package var directory: String?
        /// Of which domains; all that are in no directory, if none is named.
        package var domains: [String] = []
        package var base: String?
        package var allowsAnonymous = false
        package var decorations: [FrontEndSettings.Decoration] = []
        package var userDomain: String?
        package var connectionsMax = 1_024
        package var connectionsPerAddressMax = 256
        package var operationsMax = 256
        package var idleTimeout = Duration.seconds(600)

        package init() {}
    }

    package var servesDirectoryClients: Bool { listeners.contains(where: \.kind.isForDirectoryClients) }

    /// Domains whose people directory clients find.
    package var directoryClientDomains: [String] {
        guard servesDirectoryClients else { return [] }
        if let directory = directoryClients.directory { return [directory] }
        return directoryClients.domains.isEmpty ? domains.map(\.name).filter { !isInDirectory($0) } : directoryClients.domains
    }
}

extension ConfigurationSchema {
    static let directoryClients = ConfigurationMapping<ServerConfiguration.DirectoryClients>([
        .value(
            "directory", \.directory, .optional(.domain), .restart, example: "example.org",
            """
            The domain of an entry of directories, whose servers stand behind: clients bind, search and change there as ever, and entries of accounts get their \
            presence. Without it, accounts of this server's own are entries that can be read, with what their cards say.
            """),
        .list(
            "domains", \.domains, of: .domain, .restart, counts: 0...64, example: "example.org",
            "Without directory: the domains whose accounts are entries, each seen by its own accounts. All that are in no directory, if none is named."),
        .value(
            "base", \.base, .optional(.distinguishedName), .restart, example: "o=Example",
            """
            Without directory, and for one domain: the name of the entry above ou=people, in which the accounts are; it begins with dc, o or ou. Without it, it is \
            made of the domain: dc=example,dc=org (RFC 2247).
            """),
        .value(
            "anonymous", \.allowsAnonymous, .boolean, .restart,
            "Without directory: whether clients that have not bound see who has an account, and what the cards say. They see no presence."),
        .list(
            "decorations", \.decorations, of: .directoryDecoration, .restart, counts: 0...16, example: "mozillaCustom1=presenceText",
            """
            For clients that cannot be told to ask for presence: an attribute that gets the line for people (presenceText) or the address for chat (xmppURI) of \
            whoever asks for it by name, where the entry has no such attribute.
            """),
        .value(
            "user-domain", \.userDomain, .optional(.directoryText), .restart, example: "EXAMPLE",
            "With directory: the domain's short name, by which Active Directory calls people who have bound (EXAMPLE\\alice). Others' are no accounts here."),
        .value("connections", \.connectionsMax, .integer(1...100_000), .restart, "Most connections of directory clients at a time."),
        .value("connections-per-address", \.connectionsPerAddressMax, .integer(1...100_000), .restart, "The same from one address."),
        .value(
            "operations", \.operationsMax, .integer(1...10_000), .restart,
            "Most operations that one connection may have under way; more are answered with busy. Where there is no directory, 16 are the most."),
        .value(
            "idle-timeout", \.idleTimeout, .duration(.seconds(10)...(.seconds(24 * 3_600))), .restart,
            "How long a connection may be silent, on which somebody has bound. One on which nobody has is ended after a minute."),
    ])
}

extension ValueType where Value == FrontEndSettings.Decoration {
    static var directoryDecoration: Self {
        let sources = FrontEndSettings.Decoration.Source.allCases.map(\.rawValue).joined(separator: " or ")
        return ValueType(expected: "an attribute with = and \(sources), such as mozillaCustom1=presenceText") { text, _ throws(ValueFault) in
            let parts = text.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, let source = FrontEndSettings.Decoration.Source(rawValue: parts[1]), FrontEndSettings.Decoration.mayBe(parts[0]) else {
                throw .unexpected()
            }
            return FrontEndSettings.Decoration(parts[0], source)
        } write: {
            "\($0.attribute)=\($0.source.rawValue)"
        }
    }
}
