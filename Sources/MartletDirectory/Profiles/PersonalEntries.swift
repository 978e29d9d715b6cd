package import MartletLDAP
import MartletXMPP

/// The entries of a directory, one at a time: read as the server, changed as the person.
package protocol PersonalEntries: Sendable {
    /// Of one attribute; none if there is no such entry.
    func values(of attribute: String, at name: String) async throws(DirectoryFailure) -> [[UInt8]]
    /// Changes an entry as whom it is about (RFC 4370), so that the directory's own rules decide.
    ///
    /// - Returns: the entry as it is then, with these attributes.
    func modify(_ request: ModifyRequest, reading attributes: [String]) async throws(DirectoryFailure) -> LDAPEntry
}

/// The same by a connection of its own: on the one that follows the directory an answer may wait behind all entries.
extension DirectoryClient: PersonalEntries {
    package func values(of attribute: String, at name: String) async throws(DirectoryFailure) -> [[UInt8]] {
        let entry = try await service().connection.entry(named: name, attributes: [attribute])
        return entry?.attributes.first { $0.description.lowercased().hasPrefix(attribute.lowercased()) }?.values ?? []
    }

    package func modify(_ request: ModifyRequest, reading attributes: [String]) async throws(DirectoryFailure) -> LDAPEntry {
        let service = try await service()
        var controls = [ProxiedAuthorizationControl(.name(request.name)).control(isCritical: true)]
        // Else it is read afterwards, which is nearly the same.
        if service.root.controls.contains(LDAPControlType.postRead) { controls.append(PostReadRequestControl(attributes).control(isCritical: false)) }
        let answer = try await service.connection.modify(request, controls: controls)
        if let read = try? answer.first(of: PostReadResponseControl.self) { return read.entry }
        guard let entry = try await service.connection.entry(named: request.name, attributes: attributes) else {
            throw .refused(LDAPResult(.noSuchObject))
        }
        return entry
    }
}
