package import MartletCore
package import MartletLDAP
package import MartletXMPP

/// How directory clients are served (`directory.md` §4).
package struct FrontEndSettings: Sendable {
    /// Connections of clients at a time; further ones are closed at once.
    package var connectionsMax = 1_024
    /// The same from one address.
    package var connectionsPerAddressMax = 256
    /// Operations that a client may have under way; further ones are answered with `busy`.
    package var operationsMax = 256
    /// Searches among this server's own accounts at a time, of all clients together; further ones are answered with `busy`.
    package var searchesMax = 64
    /// Seconds without a word from the client, nor anything under way, after which it is let go.
    package var idleSeconds = 600
    /// The same for who has not bound.
    package var idleSecondsBeforeBind = 60
    /// Seconds that a search by presence, or a bind, may take here, and a connection to the directory behind.
    package var operationSeconds = 10
    /// Seconds from a message's first byte to its last.
    package var messageSeconds = 30
    /// Longest message of a client that has not bound, in bytes.
    package var messageBytesBeforeBind = LDAPLimits.unauthenticatedMessageBytesMax
    /// Longest message of one that has, in bytes.
    package var messageBytesMax = LDAPLimits.messageBytesMax
    /// Longest message of the directory behind, in bytes: an entry with all that is in it.
    package var upstreamMessageBytesMax = 16 << 20
    /// Bytes that may wait for a client to read them before nothing more is read from the directory behind, and the other way round.
    package var waitingBytesMax = 4 << 20
    /// Bytes of a client that has not bound that may wait for the directory behind before nothing more is read from it: anybody may connect.
    package var waitingBytesBeforeBind = 64 << 10
    /// Whether passwords may come in the clear from other machines.
    package var allowsPasswordsInClear = false
    /// What an entry says of whose it is, the most usual first: at least one.
    package var addresses = [AddressKey("xmppAddress")]
    /// What a filter of which nothing can be true is written as.
    package var nothing = Nothing.noObjectClass
    /// What is put into attributes of others for clients that cannot be told of ours: only where they ask for them by name, and the entry has none.
    package var decorations: [Decoration] = []

    package enum Nothing: String, Hashable, Sendable, CaseIterable {
        /// `(!(objectClass=*))`, which all servers know.
        case noObjectClass = "no-object-class"
        /// `(|)` (RFC 4526).
        case absoluteFalse = "absolute-false"

        var filter: LDAPFilter {
            switch self {
            case .noObjectClass: .not(.present("objectClass"))
            case .absoluteFalse: .or([])
            }
        }
    }

    /// An attribute by which an entry is an account's.
    package struct AddressKey: Hashable, Sendable {
        package var attribute: String
        /// Whether its value is the account's localpart, and not its whole address.
        package var isLocalpart: Bool

        package init(_ attribute: String, isLocalpart: Bool = false) {
            self.attribute = attribute
            self.isLocalpart = isLocalpart
        }
    }

    /// - Parameter rule: by which the directory's people have their addresses.
    package mutating func setAddresses(_ rule: AddressRule) {
        addresses = rule.sources.map { source in
            switch source {
            case .address(let attribute): AddressKey(attribute)
            case .localpart(let attribute): AddressKey(attribute, isLocalpart: true)
            }
        }
    }

    package struct Decoration: Hashable, Sendable {
        package enum Source: String, Hashable, Sendable, CaseIterable {
            /// The line for people.
            case presenceText
            /// Where one can write to them (RFC 5122).
            case xmppURI
        }
        package var attribute: String
        package var source: Source

        package init(_ attribute: String, _ source: Source) {
            self.attribute = attribute
            self.source = source
        }

        /// Whether an attribute may be one that others' words are put into.
        package static func mayBe(_ attribute: String) -> Bool {
            guard let description = AttributeDescription(attribute), description.options.isEmpty, description.range == nil else { return false }
            return !PresenceAttributes.types.contains(description.type) && !["objectclass", "userpassword", "authpassword"].contains(description.type)
        }
    }

    package init() {}

    /// What an entry is asked for to know whose it is, where that does not follow from its name.
    var addressAttribute: String { addresses[0].attribute }

    /// Whose an entry is, by its own account.
    func address(of entry: LDAPEntry) -> BareJID? {
        guard !addresses[0].isLocalpart, let text = entry.strings(addressAttribute).first, let address = try? BareJID(parsing: text), !address.isDomain
        else { return nil }
        return address
    }

    /// What the entry of an account is found by, any of them.
    func keys(of account: BareJID) -> [LDAPFilter] {
        addresses.map { .equality($0.attribute, Array(($0.isLocalpart ? account.localpart ?? "" : account.description).utf8)) }
    }
}

/// Who it is that has bound, and whose entries are whose: what the mirror of the directory knows. Memory only: asked on event loops.
package struct FrontEndNames: Sendable {
    /// Who has the identity that the directory says somebody has bound with (RFC 4532).
    package var viewer: @Sendable (AuthorizationIdentity) -> PresenceViewer
    /// Whose entry has that name; `nil` if it is no account's.
    package var address: @Sendable (_ entryNamed: String) -> BareJID?

    package init(
        viewer: @escaping @Sendable (AuthorizationIdentity) -> PresenceViewer, address: @escaping @Sendable (_ entryNamed: String) -> BareJID?
    ) {
        self.viewer = viewer
        self.address = address
    }

    /// An identity that is no account's is a service's, by its normalized name.
    ///
    /// - Parameter userDomain: of Active Directory, which says `DOMAIN\name`; names of other domains are nobody's here, whoever has the same one.
    package init(_ people: PeopleDirectory, userDomain: String? = nil) {
        self.init(
            viewer: { identity in
                switch identity {
                case .anonymous: .anonymous
                case .name(let name): people.address(ofEntryNamed: name).map(PresenceViewer.account) ?? .service(Self.normalized(name))
                case .user(let name):
                    Self.loginName(name, in: userDomain).flatMap { people.address(loggingInAs: $0) }.map(PresenceViewer.account) ?? .service(name)
                }
            }, address: { people.address(ofEntryNamed: $0) })
    }

    private static func normalized(_ name: String) -> String { (try? DistinguishedName(name))?.normalized ?? name }

    /// - Returns: `nil` for a name of another domain.
    package static func loginName(_ name: String, in userDomain: String?) -> String? {
        let parts = name.split(separator: "\\", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return name }
        return parts[0].lowercased() == userDomain?.lowercased() ? String(parts[1]) : nil
    }
}
