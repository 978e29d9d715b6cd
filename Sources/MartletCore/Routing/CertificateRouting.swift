package import MartletXMPP

/// Why an order about a certificate of an account's own was not carried out.
package enum CertificateRefusal: Error, Hashable, Sendable {
    case noAccount(BareJID)
    case noCertificate
    case store(StoreError)
}

/// Certificates that accounts have added for themselves (XEP-0257), and the sessions that came by them. No stanza looks at them.
extension Router {
    /// The account's own certificate by which a session was let in; `nil` if it came in otherwise, or is none of this server's.
    package func certificate(of session: JID) -> CertificateFingerprint? { proof(of: session)?.certificate }

    /// Whether a session was let in by a token of an authorization server, which takes it back when it likes: nothing that lasts longer is to come of it.
    package func hasGrant(_ session: JID) -> Bool { proof(of: session)?.hasGrant ?? false }

    /// By what a session was let in; `nil` if there is none of that address.
    package func proof(of session: JID) -> SessionProof? {
        guard case .full(let address) = session else { return nil }
        let shard = placement.shard(of: address.bare)
        return shard.withLock { shard.home(address.bare)?.sessions.first { $0.address == address }?.proof }
    }

    /// The resources of an account that were let in by certificates of its own, those without a connection left out.
    package func certifiedResources(of account: BareJID) -> [CertificateFingerprint: [String]] {
        let shard = placement.shard(of: account)
        let sessions = shard.withLock { shard.home(account)?.sessions.filter { !$0.isDetached && $0.certificate != nil } ?? [] }
        return sessions.reduce(into: [:]) { resources, entry in
            if let certificate = entry.certificate { resources[certificate, default: []].append(entry.address.resourcepart) }
        }
    }

    package func add(_ certificate: AccountCertificate, to address: BareJID, by: String) async throws(CertificateRefusal) {
        let account = try await account(at: address)
        do throws(StoreError) { try await store.commit([.certificate(.add(account, certificate))]) } catch { throw .store(error) }
        audit.record(
            .certificateAdded(
                address, name: certificate.name, fingerprint: certificate.fingerprint.text, managesCertificates: certificate.managesCertificates, by: by))
    }

    /// Takes a certificate away from an account. It is gone from the disk before sessions end, and whoever has been let in by it and has no session yet
    /// gets none.
    ///
    /// - Parameters:
    ///   - endsSessions: whether sessions that came by it end (XEP-0257 §2.4); else they go on (§2.3).
    ///   - survivor: a session that is ended by whoever answers it.
    package func removeCertificate(
        named name: String, of address: BareJID, endsSessions: Bool, sparing survivor: FullJID? = nil, by: String
    ) async throws(CertificateRefusal) -> CertificateFingerprint {
        let account = try await account(at: address)
        let removed: AccountCertificate
        do throws(StoreError) {
            let all = try await store.certificates(of: account)
            guard let found = all.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else { throw StoreError.constraint("there is no such certificate") }
            try await store.commit([.certificate(.remove(account, name: name))])
            removed = found
        } catch {
            if case .constraint = error { throw .noCertificate }
            throw .store(error)
        }
        credentials.changed(address, in: placement)
        if endsSessions { self.endSessions(of: address, with: removed.fingerprint, Self.certificateRevoked, except: survivor) }
        audit.record(.certificateRemoved(address, name: name, fingerprint: removed.fingerprint.text, endsSessions: endsSessions, by: by))
        return removed.fingerprint
    }

    package static let certificateRevoked = StreamError(.notAuthorized, "the certificate was revoked")

    private func account(at address: BareJID) async throws(CertificateRefusal) -> AccountID {
        do throws(StoreError) {
            if let account = try await store.credentials(of: address)?.id { return account }
        } catch { throw .store(error) }
        throw .noAccount(address)
    }
}
