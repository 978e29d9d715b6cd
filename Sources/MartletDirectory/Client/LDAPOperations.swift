package import MartletLDAP

/// What can be asked of a directory (RFC 4511 §4.5-4.12): each with an answer within the connection's time, or a failure. An answer other than success is
/// thrown as ``DirectoryFailure/refused(_:)``.
extension LDAPConnection {
    /// - Returns: the controls of the answer, such as an entry as it is now (RFC 4527).
    @discardableResult
    package func modify(_ request: ModifyRequest, controls: [LDAPControl] = []) async throws(DirectoryFailure) -> [LDAPControl] {
        try await done(.modifyRequest(request), controls)
    }

    @discardableResult
    package func add(_ entry: LDAPEntry, controls: [LDAPControl] = []) async throws(DirectoryFailure) -> [LDAPControl] {
        try await done(.addRequest(entry), controls)
    }

    @discardableResult
    package func delete(_ name: String, controls: [LDAPControl] = []) async throws(DirectoryFailure) -> [LDAPControl] {
        try await done(.delRequest(name), controls)
    }

    @discardableResult
    package func rename(_ request: ModifyDNRequest, controls: [LDAPControl] = []) async throws(DirectoryFailure) -> [LDAPControl] {
        try await done(.modifyDNRequest(request), controls)
    }

    /// Whether the entry has the value.
    package func compare(_ request: CompareRequest, controls: [LDAPControl] = []) async throws(DirectoryFailure) -> Bool {
        let result = try await result(of: .compareRequest(request), controls).result
        switch result.code {
        case .compareTrue: return true
        case .compareFalse: return false
        default: throw .refused(result)
        }
    }

    package func extended(_ request: ExtendedRequest, controls: [LDAPControl] = []) async throws(DirectoryFailure) -> ExtendedResponse {
        let (result, message) = try await result(of: .extendedRequest(request), controls)
        guard result.code == .success, case .extendedResponse(let response) = message.operation else { throw .refused(result) }
        return response
    }

    /// Who the directory takes us for (RFC 4532): `dn:…` or `u:…`; nothing for nobody.
    package func whoAmI() async throws(DirectoryFailure) -> String {
        String(decoding: try await extended(.whoAmI).value ?? [], as: UTF8.self)
    }

    /// Changes a password, which the directory hashes, and holds against its policy (RFC 3062).
    ///
    /// - Returns: the password that the directory has made, if none was given.
    @discardableResult
    package func changePassword(
        _ request: PasswordModifyRequest, controls: [LDAPControl] = []
    ) async throws(DirectoryFailure) -> [UInt8]? {
        // Nothing is said with an old or new password that is empty.
        guard request.newPassword?.isEmpty != true, request.oldPassword?.isEmpty != true else { throw .emptyPassword }
        let response = try await extended(request.request, controls: controls)
        do throws(LDAPFault) {
            return try PasswordModifyResponse(value: response.value).generatedPassword
        } catch {
            throw .violation(.malformed(error))
        }
    }

    // MARK: Reading

    /// The entries of a small search: more than so many are refused, and the search is given up.
    package func entries(
        of request: SearchRequest, max entriesMax: Int, controls: [LDAPControl] = []
    ) async throws(DirectoryFailure) -> [LDAPEntry] {
        let search = try await search(request, controls: controls)
        var entries: [LDAPEntry] = []
        while true {
            for item in try await search.next() {
                switch item {
                case .entry(let entry, _):
                    guard entries.count < entriesMax else { throw .tooMany }
                    entries.append(entry)
                case .intermediate: break
                case .done(let result, _):
                    guard result.code == .success else { throw .refused(result) }
                    return entries
                }
            }
        }
    }

    /// An entry by its name; `nil` if there is none, or none that we may see.
    package func entry(named name: String, attributes: [String] = []) async throws(DirectoryFailure) -> LDAPEntry? {
        do throws(DirectoryFailure) {
            return try await entries(of: SearchRequest(name, .baseObject, .present("objectClass"), attributes: attributes), max: 1).first
        } catch {
            if case .refused(let result) = error, result.code == .noSuchObject { return nil }
            throw error
        }
    }

    /// What the server can do (RFC 4512 §5.1).
    package func rootDSE() async throws(DirectoryFailure) -> RootDSE {
        RootDSE(try await entries(of: RootDSE.search, max: 1).first ?? LDAPEntry(""))
    }

    /// The entry with all values of those attributes of which the server gives only so many at a time.
    package func completed(_ entry: LDAPEntry) async throws(DirectoryFailure) -> LDAPEntry {
        var ranged = RangedEntry(entry)
        while let wanted = ranged.wanted {
            // An entry that is gone has no further values.
            try ranged.add(try await self.entry(named: entry.name, attributes: [wanted]) ?? LDAPEntry(entry.name))
        }
        return ranged.entry
    }

    // MARK: Results

    private func done(_ request: LDAPOperation, _ controls: [LDAPControl]) async throws(DirectoryFailure) -> [LDAPControl] {
        let (result, message) = try await result(of: request, controls)
        guard result.code == .success else { throw .refused(result) }
        return message.controls
    }

    private func result(
        of request: LDAPOperation, _ controls: [LDAPControl]
    ) async throws(DirectoryFailure) -> (result: LDAPResult, message: LDAPMessage) {
        let message = try await answer(to: request, controls: controls)
        // The machine ends an operation with nothing else.
        guard let result = message.operation.result else { preconditionFailure("an answer without a result") }
        return (result, message)
    }
}
