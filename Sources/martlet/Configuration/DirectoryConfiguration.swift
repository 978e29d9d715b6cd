import MartletDirectory
import MartletLDAP

extension ServerConfiguration {
    /// A directory that says who the people of a domain are (RFC 4511).
    package struct Directory: ConfigurationSection {
        package var domain = ""
        package var servers: [String] = []
        package var startTLS = StartTLS.required
        /// PEM file; without it, the authorities that the machine trusts.
        package var trustAnchors: String?
        package var certificate: String?
        package var key: String?
        package var logIn = LogIn()
        package var people = People()
        package var groups = Groups()
        package var allowGroup: String?
        package var rosters = Rosters()
        package var rooms: [Room] = []
        package var passwords: [Verifier] = [.pbkdf2, .scram, .bind]
        package var hashes: [Hash] = [.sha256]
        package var iterations = 10_000
        package var following = Following.automatic
        package var connectTimeout = Duration.seconds(3)
        package var operationTimeout = Duration.seconds(5)
        package var staleAfter = Duration.seconds(24 * 3_600)
        /// `nil`: until the directory takes the lock away.
        package var lockDuration: Duration?
        package var adoptsAccounts = true
        package var keepsGone = Duration.seconds(30 * 24 * 3_600)
        package var removalsMax = 20
        package var vCard = VCard()
        package var passwordChange = PasswordChange.off

        package init() {}
    }
}

extension ServerConfiguration {
    /// Whether a directory says who has an account at a domain.
    package func isInDirectory(_ domain: String) -> Bool { directories.contains { $0.domain == domain } }
}

extension ServerConfiguration.Directory {
    /// Whether a connection that begins in the clear is encrypted.
    package enum StartTLS: String, CaseIterable, Sendable { case required, off }

    /// How the server proves to the directory who it is.
    package enum Mechanism: String, CaseIterable, Sendable {
        case simple, external, plain
        case scramSHA1 = "scram-sha-1"
        case scramSHA256 = "scram-sha-256"
        case scramSHA512 = "scram-sha-512"

        var needsPassword: Bool { self != .external }
    }

    /// By what a password is found right.
    package enum Verifier: String, CaseIterable, Hashable, Sendable { case pbkdf2, scram, bind }

    /// What passwords are hashed with.
    package enum Hash: String, CaseIterable, Hashable, Sendable {
        case sha1 = "SCRAM-SHA-1"
        case sha256 = "SCRAM-SHA-256"
        case sha512 = "SCRAM-SHA-512"
    }

    /// How it is learnt what changes.
    package enum Following: String, CaseIterable, Sendable { case automatic, sync, poll }

    package struct LogIn: ConfigurationSection {
        package var mechanism = Mechanism.simple
        package var name: String?
        package var passwordFile: String?

        package init() {}
    }

    package struct People: ConfigurationSection {
        package var base: String?
        package var filter = "(objectClass=inetOrgPerson)"
        package var address = ["xmppAddress", "mail"]

        package init() {}
    }
}

extension ServerConfiguration.Directory {
    /// Where the rosters of its people are kept.
    package enum RosterStore: String, CaseIterable, Sendable { case local, directory }

    package struct Rosters: ConfigurationSection {
        package var store = RosterStore.local
        package var base: String?

        package init() {}
    }
}

extension ConfigurationSchema {
    static let directory = ConfigurationMapping<ServerConfiguration.Directory>([
        .value(
            "domain", \.domain, .domain, .restart, isRequired: true, example: "example.org",
            "The domain of this server whose accounts are in it, all of them and no others."),
        .section("people", \.people, directoryPeople, "Which entries are people with an account."),
        .section("groups", \.groups, directoryGroups, "Groups, whose members are contacts of each other, or of others, without having asked."),
        .value(
            "allow-group", \.allowGroup, .optional(.distinguishedName), .restart, example: "cn=xmpp-users,ou=groups,dc=example,dc=org",
            """
            The name of a group whose members have an account, also those of groups in it, and nobody else. Without it, everybody whom people.filter matches. \
            Whoever leaves it is out within seconds.
            """),
        .section("rosters", \.rosters, directoryRosters, "Whether the contacts of these people are in the directory as well."),
        .entries(
            "rooms", \.rooms, directoryRoom, .restart, counts: 1...directoryRoomsMax, identity: { $0.address },
            """
            Rooms in which people of the directory are what groups make them: owners, admins or members, as long as they are in the group. Who is in none of a \
            room's groups has none of these affiliations for which there is a group. Bans, and people of other domains, stay as they are.
            """),
        .list(
            "passwords", \.passwords, of: .choice, .restart, counts: 1...3,
            """
            By what a password is found right, the first that an entry has: pbkdf2 is a {PBKDF2-SHA256} or {PBKDF2-SHA512} userPassword, which serves SCRAM as well; \
            scram an authPassword (RFC 5803); bind asks a server of the directory, for clients that send the password itself (PLAIN).
            """),
        .list(
            "hashes", \.hashes, of: .choice, .restart, counts: 1...3,
            "What its passwords are hashed with, where pbkdf2 or scram is among passwords: clients are offered SCRAM with these hashes only."),
        .value(
            "iterations", \.iterations, .integer(1...10_000_000), .restart,
            "The iterations of these hashes. People that there are not are said to have as many, so that nobody can tell who is in the directory."),
        .value(
            "follow", \.following, .choice, .restart,
            """
            How changes are learnt. sync is content synchronization (RFC 4533), poll asks every 15 seconds. automatic takes sync if the server has it, else \
            persistent search, else poll.
            """),
        .value(
            "stale-after", \.staleAfter, .duration(.seconds(60)...(.seconds(90 * 24 * 3_600))), .restart,
            "How long nobody is kept out although no server of the directory can be reached. After that nobody logs in; who is there stays."),
        .value(
            "lock-duration", \.lockDuration, .optional(.duration(.seconds(1)...(.seconds(366 * 24 * 3_600)))), .restart, example: "10m",
            """
            How long nobody comes in whom the directory has locked after wrong passwords (pwdLockoutDuration of its policy). It takes such a lock away when its person binds, \
            which who logs in by SCRAM never does. Without it, that is waited for.
            """),
        .value(
            "adopt-accounts", \.adoptsAccounts, .boolean, .restart,
            "Whether an account that was here before belongs to the entry with its address, with all that it has. Otherwise it is in the way, and its person is kept out."),
        .value(
            "keep-gone", \.keepsGone, .duration(.seconds(3_600)...(.seconds(10 * 365 * 24 * 3_600))), .restart,
            "How long an account is kept, disabled, whose entry is gone; then it is deleted with all that it has."),
        .value(
            "removals-max", \.removalsMax, .integer(1...100), .restart,
            """
            Most accounts, in percent of all and at least ten, that one look at the directory may take away. If it would be more, nobody is taken away until \
            martlet directory sync --confirm, or until the next look says the same: it may be a mistake.
            """),
        .value(
            "password-change", \.passwordChange, .choice, .restart,
            """
            Whether people change their passwords in the directory by their clients (RFC 3062). proxied: the directory is asked in the person's name (RFC 4370), \
            and has to let the server act for people; as-service: the server's own account there may set everybody's password. The directory's password \
            policy decides either way.
            """),
        .section("vcard", \.vCard, directoryVCard, "Who says what of people's cards (XEP-0054), and with that of their pictures and of what they are found by."),
    ]).with(
        reach(
            logIn: """
                How this server proves to the directory who it is. Its account there reads people and groups, and writes nothing but rosters, if they are there, and \
                passwords, if it may.
                """), behind: "domain")

    static let directoryLogIn = ConfigurationMapping<ServerConfiguration.Directory.LogIn>([
        .value(
            "mechanism", \.mechanism, .choice, .restart,
            """
            simple is a name and a password; external, the certificate, or over ldapi the user that the server runs as; the others are SASL mechanisms. \
            A password is sent over TLS or within this machine only.
            """),
        .value(
            "name", \.name, .optional(.directoryText), .restart, example: "cn=martlet,ou=services,dc=example,dc=org",
            "The name of this server's entry, for simple; else what the mechanism calls it."),
        .value(
            "password-file", \.passwordFile, .optional(.path), .restart, example: "/etc/martlet/ldap.password",
            "File with its password, on one line. Relative to this file."),
    ])

    static let directoryRosters = ConfigurationMapping<ServerConfiguration.Directory.Rosters>([
        .value(
            "store", \.store, .choice, .restart,
            """
            local: in this server's database alone. directory: in both. What changes here is written to the directory, and what others change there is taken over; \
            nobody waits for the directory, and nothing is lost while it is away.
            """),
        .value(
            "base", \.base, .optional(.distinguishedName), .restart, example: "ou=rosters,dc=example,dc=org",
            "The entry below which they are. It has to be there, and this server's account there has to be allowed to write below it."),
    ])

    static let directoryPeople = ConfigurationMapping<ServerConfiguration.Directory.People>([
        .value(
            "base", \.base, .optional(.distinguishedName), .restart, isRequired: true, example: "ou=people,dc=example,dc=org", "Below which entry they are."),
        .value(
            "filter", \.filter, .directoryFilter, .restart, example: "(&(objectClass=xmppUser)(xmppEnabled=TRUE))",
            "Who of them has an account. Whoever matches no longer is out within seconds, so that this is the place to say who is disabled."),
        .list(
            "address", \.address, of: .directoryAddress, .restart, counts: 1...8,
            """
            Attributes that say the address, of which the first counts that the entry has. uid@%d is the value of uid at the domain. \
            Who has an address of another domain has no account.
            """),
    ])
}

extension ValueType where Value == String {
    /// Longest of these, in bytes.
    private static var directoryTextBytesMax: Int { 4_096 }

    private static func directoryText(_ expected: String, _ isValid: @escaping @Sendable (String) -> Bool) -> Self {
        ValueType(expected: expected) { text, _ throws(ValueFault) in
            guard (1...directoryTextBytesMax).contains(text.utf8.count), isValid(text) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }

    static var directoryText: Self {
        directoryText("a text without control characters") { $0.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control } }
    }
    static var directoryURL: Self { directoryText("an address such as ldaps://ldap.example.org") { (try? LDAPURL($0))?.isServer == true } }
    static var distinguishedName: Self { directoryText("a name such as ou=people,dc=example,dc=org (RFC 4514)") { (try? DistinguishedName($0)) != nil } }
    static var directoryFilter: Self { directoryText("a filter such as (objectClass=person) (RFC 4515)") { (try? LDAPFilter($0)) != nil } }
    static var directoryAddress: Self { directoryText("an attribute, or uid@%d") { (try? AddressRule(parsing: $0)) != nil } }
}

extension LDAPURL {
    /// Whether it names a server and nothing in it.
    var isServer: Bool { base.relativeNames.isEmpty && attributes.isEmpty && filter == nil && extensions.isEmpty }
}
