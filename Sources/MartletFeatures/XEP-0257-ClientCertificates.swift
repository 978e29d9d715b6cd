package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let certificates: Namespace = "urn:xmpp:saslcert:1"
}

/// An account has a list of certificates by which clients log in to it (SASL EXTERNAL) without anybody having vouched for them.
///
/// What is kept is public: who shows a certificate in a handshake has its key as well. Other accounts may have the same certificate; whoever logs in with
/// it says then which one is meant. To say that somebody has it already would tell an account about others. A certificate that names accounts
/// (`id-on-xmppAddr`) can be added by those alone. The session that revokes the certificate by which it came in is answered, and then ends like the others.
///
/// §2.1 has the server refuse all this where the stream is not encrypted. Where clients may log in in clear at all, which only the operator can allow,
/// they may do this as well. Of a full address in a certificate (§3) the resource is not looked at.
package struct ClientCertificateManagement: IQResponder {
    package static let specification = Specification.xep(
        257, "Client Certificate Management for SASL EXTERNAL", version: "0.3",
        note: "where client-certificates.user-managed allows it; the resource in a certificate's address is not looked at")

    /// Where certificates are looked at before they are kept; `nil` where accounts cannot add any.
    private let inspection: (any CertificateInspection)?
    private let time: any TimeSource

    package init(_ inspection: (any CertificateInspection)?, time: any TimeSource) {
        self.inspection = inspection
        self.time = time
    }

    package var disco: DiscoFeatures { inspection == nil ? DiscoFeatures() : DiscoFeatures(host: [.certificates]) }

    package var routes: [IQRoute] {
        guard let inspection else { return [] }
        return [
            .suspending(.set, "append", .certificates) { request, router async throws(StanzaError) in try await append(request, inspection, router) },
            .concurrent(.get, "items", .certificates) { request, router async throws(StanzaError) in try await Self.items(request, router) },
            .suspending(.set, "disable", .certificates) { request, router async throws(StanzaError) in
                _ = try await Self.remove(request, endsSessions: false, router)
                return .empty
            },
            .held(.set, "revoke", .certificates, at: .ownAccount) { held, context in Self.revoke(held, context) },
        ]
    }

    // MARK: Adding (§2.1)

    private func append(_ request: IQRequest, _ inspection: any CertificateInspection, _ router: Router) async throws(StanzaError) -> IQReply {
        let wish = try CertificateWish(request.child)
        let present = try await Self.certificates(of: request, router)
        try Self.checkManagement(request, present, router)
        let expires: Int64
        do throws(UnfitCertificate) {
            expires = try inspection.expiry(of: wish.content, for: request.owner, at: time.wallMilliseconds)
        } catch { throw .notAcceptable(error.reason) }
        let certificate = AccountCertificate(
            name: wish.name, content: wish.content, managesCertificates: wish.managesCertificates, added: time.wallMilliseconds, expires: expires)
        if let refusal = Self.refusal(of: certificate, beside: present) { throw refusal }
        do throws(CertificateRefusal) { try await router.add(certificate, to: request.owner, by: request.actor.description) } catch {
            throw StanzaError(error)
        }
        return .empty
    }

    private static func refusal(of certificate: AccountCertificate, beside present: [AccountCertificate]) -> StanzaError? {
        if present.contains(where: { $0.name.utf8.elementsEqual(certificate.name.utf8) }) {
            return StanzaError(.conflict, text: "there is a certificate of that name")
        }
        if present.contains(where: { $0.fingerprint == certificate.fingerprint }) {
            return StanzaError(.conflict, text: "the certificate is there under another name")
        }
        guard present.count < AccountCertificate.perAccountMax else {
            return .resourceConstraint("an account has at most \(AccountCertificate.perAccountMax) certificates")
        }
        return nil
    }

    /// Whoever came in by a certificate that may not manage others cannot (§2.1), and neither can who came by one that is gone: it is not known any more
    /// what that was allowed. Nor whoever came by a password for an application
    /// or by a token of an authorization server: both would let themselves in for good.
    private static func checkManagement(_ request: IQRequest, _ present: [AccountCertificate], _ router: Router) throws(StanzaError) {
        guard !request.isByApplication else { throw .byApplication }
        guard !router.hasGrant(request.actor) else { throw .byGrant }
        guard let used = router.certificate(of: request.actor) else { return }
        guard present.contains(where: { $0.fingerprint == used && $0.managesCertificates }) else {
            throw .forbidden("the certificate of this session may not manage certificates")
        }
    }

    private static func certificates(of request: IQRequest, _ router: Router) async throws(StanzaError) -> [AccountCertificate] {
        guard let account = request.account else { throw .serviceUnavailable }
        do throws(StoreError) { return try await router.store.certificates(of: account) } catch { throw StanzaError(refusal: error) }
    }

    // MARK: Looking (§2.2)

    private static func items(_ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        let certificates = try await certificates(of: request, router)
        let users = router.certifiedResources(of: request.owner)
        return IQReply { writer in
            writer.element("items", .certificates) { writer in
                for certificate in certificates { certificate.write(usedBy: users[certificate.fingerprint] ?? [], to: &writer) }
            }
        }
    }

    // MARK: Removing (§2.3, §2.4)

    private static func revoke(_ held: HeldRequest, _ context: LoopContext) {
        let mailbox = context.mailbox
        // A task, because the store answers when it can; on the router's threads, as all handlers that wait.
        Task(executorPreference: held.router.executor) {
            let outcome: Result<CertificateFingerprint, StanzaError>
            do throws(StanzaError) { outcome = .success(try await remove(held.request, endsSessions: true, held.router)) } catch { outcome = .failure(error) }
            let result = outcome
            mailbox.run { context in
                switch result {
                case .success(let certificate):
                    held.answer(.empty, after: .none, context)
                    if held.isCertified(by: certificate) { held.endAsker(Router.certificateRevoked, context) }
                case .failure(let error): held.refuse(error, context)
                }
                context.runEffects()
            }
        }
    }

    private static func remove(_ request: IQRequest, endsSessions: Bool, _ router: Router) async throws(StanzaError) -> CertificateFingerprint {
        let name = try CertificateWish.name(in: request.child)
        try checkManagement(request, try await certificates(of: request, router), router)
        let asker: FullJID? = if case .full(let address) = request.actor, address.bare == request.owner { address } else { nil }
        do throws(CertificateRefusal) {
            return try await router.removeCertificate(
                named: name, of: request.owner, endsSessions: endsSessions, sparing: asker, by: request.actor.description)
        } catch { throw StanzaError(error) }
    }
}

/// What a client wants to be added.
private struct CertificateWish {
    let name: String
    let content: [UInt8]
    let managesCertificates: Bool

    init(_ append: ElementView) throws(StanzaError) {
        name = try Self.name(in: append)
        managesCertificates = !append.hasChild("no-cert-management", .certificates)
        guard let element = append.firstChild("x509cert", .certificates) else { throw .badRequest("a certificate is needed") }
        let text = element.text.utf8.filter { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        guard text.count <= Base64.encodedCount(of: AccountCertificate.bytesMax) else { throw Self.tooLong }
        guard let bytes = Base64.decode(text), !bytes.isEmpty else { throw .badRequest("a certificate is written in base64") }
        guard bytes.count <= AccountCertificate.bytesMax else { throw Self.tooLong }
        content = bytes
    }

    private static let tooLong = StanzaError.policyViolation("a certificate has at most \(AccountCertificate.bytesMax) bytes")

    /// Without the space around it, on one line.
    static func name(in element: ElementView) throws(StanzaError) -> String {
        let words = element.firstChild("name", .certificates)?.text.split(whereSeparator: \.isWhitespace) ?? []
        let name = words.joined(separator: " ")
        guard !name.isEmpty else { throw .badRequest("a name is needed") }
        guard name.utf8.count <= AccountCertificate.nameBytesMax else {
            throw .policyViolation("a name has at most \(AccountCertificate.nameBytesMax) bytes")
        }
        return name
    }
}

extension AccountCertificate {
    fileprivate func write(usedBy resources: [String], to writer: inout XMLWriter) {
        writer.element("item", .certificates) { writer in
            writer.element("name", .certificates, text: name)
            if !managesCertificates { writer.element("no-cert-management", .certificates) }
            writer.element("x509cert", .certificates, text: Base64.encode(content))
            guard !resources.isEmpty else { return }
            writer.element("users", .certificates) { writer in
                for resource in resources { writer.element("resource", .certificates, text: resource) }
            }
        }
    }
}

extension StanzaError {
    fileprivate init(_ refusal: CertificateRefusal) {
        switch refusal {
        case .noAccount, .noCertificate: self = .itemNotFound("there is no such certificate")
        // Another session was faster.
        case .store(.constraint): self = StanzaError(.conflict)
        case .store(let error): self = StanzaError(refusal: error)
        }
    }
}
