import MartletCore
import MartletLDAP
import MartletXMPP

/// Writes rosters to a directory, on one of our connections to it. Each step may be repeated.
struct RosterEntries {
    let connection: LDAPConnection
    let tree: RosterTree

    /// What an entry is afterwards.
    struct Written {
        var change: EntryChange
        var uuid: EntryUUID?
    }

    private static let afterwards = PostReadRequestControl(EntryChange.attributeNames + ["entryUUID"]).control(isCritical: false)

    /// - Parameter isThere: as far as is known.
    func put(_ item: CopiedRosterItem, at place: RosterPlace, isThere: Bool) async throws(DirectoryFailure) -> Written {
        do throws(DirectoryFailure) {
            return isThere ? try await modify(item, place) : try await add(item, place)
        } catch {
            switch error.code {
            case .noSuchObject where isThere: return try await add(item, place)
            case .entryAlreadyExists where !isThere: return try await modify(item, place)
            default: throw error
            }
        }
    }

    private func modify(_ item: CopiedRosterItem, _ place: RosterPlace) async throws(DirectoryFailure) -> Written {
        let request = ModifyRequest(tree.name(of: place).description, item.attributes.map { .init(.replace, $0) })
        return written(try await connection.modify(request, controls: [Self.afterwards]))
    }

    private func add(_ item: CopiedRosterItem, _ place: RosterPlace) async throws(DirectoryFailure) -> Written {
        let named = [LDAPAttribute("objectClass", CopiedRosterItem.objectClass), LDAPAttribute("xmppContact", place.contact.description)]
        let entry = LDAPEntry(tree.name(of: place).description, named + item.attributes.filter { !$0.values.isEmpty })
        do throws(DirectoryFailure) {
            return written(try await connection.add(entry, controls: [Self.afterwards]))
        } catch {
            guard error.code == .noSuchObject else { throw error }
            try await addContainer(of: place.account)
            return written(try await connection.add(entry, controls: [Self.afterwards]))
        }
    }

    private func addContainer(of account: BareJID) async throws(DirectoryFailure) {
        let attributes = [LDAPAttribute("objectClass", "martletConfigEntry"), LDAPAttribute("cn", account.description)]
        try await passing(.entryAlreadyExists) { () async throws(DirectoryFailure) in
            try await connection.add(LDAPEntry(tree.name(of: account).description, attributes))
        }
    }

    func remove(_ place: RosterPlace) async throws(DirectoryFailure) {
        try await passing(.noSuchObject) { () async throws(DirectoryFailure) in try await connection.delete(tree.name(of: place).description) }
    }

    /// Says which version of the roster this is. Nothing is said of an account that has no entries.
    func setVersion(_ version: UInt64, of account: BareJID) async throws(DirectoryFailure) {
        let change = ModifyRequest.Change(.replace, LDAPAttribute("description", String(version)))
        try await passing(.noSuchObject) { () async throws(DirectoryFailure) in
            try await connection.modify(ModifyRequest(tree.name(of: account).description, [change]))
        }
    }

    /// Everything that there is of an account's roster.
    func removeAll(of account: BareJID) async throws(DirectoryFailure) {
        let container = tree.name(of: account).description
        let request = SearchRequest(container, .wholeSubtree, .present("objectClass"), attributes: ["1.1"])
        var names: [String] = []
        do throws(DirectoryFailure) {
            for try await entry in connection.pages(of: request) { names.append(entry.name) }
        } catch {
            guard error.code == .noSuchObject else { throw error }
            return
        }
        // What lies below others first.
        let ordered = names.compactMap { try? DistinguishedName($0) }.sorted { $1.isOrdered(before: $0) }
        for name in ordered { try await passing(.noSuchObject) { () async throws(DirectoryFailure) in try await connection.delete(name.description) } }
    }

    private func passing(
        _ code: LDAPResultCode, _ body: () async throws(DirectoryFailure) -> [LDAPControl]
    ) async throws(DirectoryFailure) {
        do throws(DirectoryFailure) {
            _ = try await body()
        } catch {
            guard error.code == code else { throw error }
        }
    }

    /// Servers that do not say what an entry is afterwards are believed to have done what they were asked for.
    private func written(_ controls: [LDAPControl]) -> Written {
        guard let entry = try? controls.first(of: PostReadResponseControl.self)?.entry else { return Written(change: EntryChange()) }
        return Written(change: EntryChange(entry), uuid: entry.strings("entryUUID").first.flatMap { EntryUUID(text: $0) })
    }
}

extension DirectoryFailure {
    /// The directory's own word.
    var code: LDAPResultCode? { if case .refused(let result) = self { result.code } else { nil } }

    /// Whether it is said of one entry, and others may be written nevertheless.
    var isAboutOneEntry: Bool {
        switch code {
        case nil, .busy, .unavailable, .unwillingToPerform, .timeLimitExceeded, .adminLimitExceeded, .noSuchObject, .referral, .strongerAuthRequired,
            .confidentialityRequired:
            false
        default: true
        }
    }
}
