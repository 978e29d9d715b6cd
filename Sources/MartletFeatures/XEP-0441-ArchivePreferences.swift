package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

/// Lets an account say with whom it wants its messages kept. What is said holds from then on; what is in the archive stays.
package struct ArchivePreferenceManagement: IQResponder {
    package static let specification = Specification.xep(441, "Message Archive Management Preferences", version: "0.2.0")
    private let `default`: ArchivePreferences.Default

    /// - Parameter default: for accounts that have not said what they want.
    package init(default: ArchivePreferences.Default) { self.default = `default` }

    package var routes: [IQRoute] {
        [
            .home(.get, "prefs", .archive) { [self] _, home, _ throws(StanzaError) in
                HomeDecision(IQReply { home.archivePreferences(default: `default`).write(to: &$0) })
            },
            .home(.set, "prefs", .archive) { request, home, _ throws(StanzaError) in
                let preferences = try ArchivePreferences(request.child)
                home.documents[.archivePreferences] = preferences.document
                return HomeDecision(
                    IQReply { preferences.write(to: &$0) }, writes: [.document(home.id, .archivePreferences, preferences.document)])
            },
        ]
    }
}

extension AccountHome {
    /// Whether the account's archive keeps what is exchanged with `peer`.
    func archives(with peer: JID, default: ArchivePreferences.Default) -> Bool {
        // Most accounts have said nothing.
        if documents.isEmpty { return `default`.keeps(isContact: roster.state(of: peer.bare).isInRoster) }
        return archivePreferences(default: `default`).keeps(with: peer, isContact: roster.state(of: peer.bare).isInRoster)
    }

    /// What the account has said, or what holds for those that have said nothing. Of what cannot be read nothing is kept: to guess would
    /// keep what is to be forgotten.
    func archivePreferences(default: ArchivePreferences.Default) -> ArchivePreferences {
        documents.value(.archivePreferences) { (try? ArchivePreferences(document: $0)) ?? ArchivePreferences(.never) }
            ?? ArchivePreferences(`default`)
    }
}

/// With whom an account wants its messages kept (XEP-0441).
package struct ArchivePreferences: Hashable, Sendable {
    /// Addresses in `always` and `never` together.
    package static let addressesMax = 1_000

    package enum Default: String, Hashable, Sendable, CaseIterable {
        case always, never
        /// With those in the roster.
        case roster

        func keeps(isContact: @autoclosure () -> Bool) -> Bool {
            switch self {
            case .always: true
            case .never: false
            case .roster: isContact()
            }
        }
    }

    /// For those in neither list.
    package var `default`: Default
    package var always: Set<JID>
    package var never: Set<JID>

    package init(_ default: Default = .always, always: Set<JID> = [], never: Set<JID> = []) {
        self.default = `default`
        self.always = always
        self.never = never
    }

    /// Whether what is exchanged with `peer` is kept: the more exact of the listed addresses counts (§2.3).
    ///
    /// - Parameter isContact: whether the peer's bare address is in the roster.
    package func keeps(with peer: JID, isContact: @autoclosure () -> Bool) -> Bool {
        if !always.isEmpty || !never.isEmpty {
            for address in [peer, .bare(peer.bare)] {
                if always.contains(address) { return true }
                if never.contains(address) { return false }
            }
        }
        return `default`.keeps(isContact: isContact())
    }
}

extension ArchivePreferences {
    /// Reads `<prefs/>`. Throws `bad-request` where something is missing or contradicts itself, `jid-malformed` for what is no address,
    /// and `policy-violation` for too many.
    package init(_ element: ElementView) throws(StanzaError) {
        guard let `default` = element.attribute("default").flatMap(Default.init(rawValue:)) else {
            throw .badRequest("the default is always, never or roster")
        }
        self.init(`default`, always: try Self.addresses("always", element), never: try Self.addresses("never", element))
        guard always.count + never.count <= Self.addressesMax else {
            throw .policyViolation("preferences may list \(Self.addressesMax) addresses")
        }
        guard always.isDisjoint(with: never) else { throw .badRequest("an address is in both lists") }
    }

    private static func addresses(_ name: StaticString, _ element: ElementView) throws(StanzaError) -> Set<JID> {
        guard let list = element.firstChild(name, .archive) else { return [] }
        var addresses: Set<JID> = []
        for child in list.children where child.isNamed("jid", .archive) {
            guard let address = try? JID(child.text) else { throw .jidMalformed }
            addresses.insert(address)
        }
        return addresses
    }

    /// `<prefs/>`, both lists always in it (§2.1), in the order of the addresses' bytes.
    package func write(to writer: inout XMLWriter) {
        writer.element("prefs", .archive, ["default": `default`.rawValue]) { writer in
            Self.write("always", always, to: &writer)
            Self.write("never", never, to: &writer)
        }
    }

    private static func write(_ name: StaticString, _ addresses: Set<JID>, to writer: inout XMLWriter) {
        writer.element(name, .archive) { writer in
            let texts = addresses.map(\.description).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            for text in texts { writer.element("jid", .archive, text: text) }
        }
    }

    // MARK: The document

    /// As it is stored.
    package var document: ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        write(to: &writer)
        return writer.buffer
    }

    /// Throws `internal-server-error` for a document that is none: to guess would keep what is to be forgotten, or the other way
    /// round.
    package init(document: ByteBuffer) throws(StanzaError) {
        guard let element = try? parseElement(document, limits: .ownWriting, defaultNamespace: .none),
            element.root.isNamed("prefs", .archive), let preferences = try? ArchivePreferences(element.root)
        else { throw .internalServerError }
        self = preferences
    }
}
