import Foundation
package import Logging
import MartletCore
package import MartletNetwork
import MartletXML
import MartletXMPP

/// Tells operators of certificates that end soon: by a line in the log and a message to the admins, once at each of ``ExpiryWatch/thresholds``, whatever
/// restarts there are between them. What was told is in the data folder.
package struct CertificateExpiry: Sendable {
    private static let name = "/expiry-warnings.json"
    /// Longest file, in bytes.
    private static let bytesMax = 1 << 20

    private let folder: String
    private var watch: ExpiryWatch
    /// What ends soon is in the log of every run.
    private var isFirstLook = true

    /// - Parameter folder: the data folder. What cannot be read there is as if nothing had been told.
    package init(folder: String) {
        self.folder = folder
        let bytes = try? PrivateFiles.read(folder + Self.name, bytesMax: Self.bytesMax)
        watch = bytes.flatMap { try? JSONDecoder().decode(ExpiryWatch.self, from: Data($0)) } ?? ExpiryWatch()
    }

    /// - Returns: what is to be in the log, and what admins are to be told.
    package mutating func look(at certificates: [ExpiringCertificate], now: Int) -> (logged: [ExpiringCertificate], told: [ExpiringCertificate]) {
        let told = watch.look(at: certificates, now: now)
        defer { isFirstLook = false }
        return (isFirstLook ? certificates.filter { $0.threshold(now: now) != nil } : told, told)
    }

    /// After it was told: of a server that dies in between it is told twice.
    package func save() throws(CommandFailure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        guard let data = try? encoder.encode(watch) else { return }
        try PrivateFiles.write(data, to: folder + Self.name)
    }

    /// Everything that ends some day: what each domain of accounts shows, those of services being the same, and authorities that the operator names.
    static func all(_ configuration: ServerConfiguration, _ certificates: CertificateStore, now: Int) -> [ExpiringCertificate] {
        let files = DomainCertificates(configuration: configuration)
        let shown = configuration.domains.flatMap { domain -> [ExpiringCertificate] in
            guard let served = certificates.certificate(of: domain.name) else { return [] }
            let isRenewed = served.file == files.issuedFile(of: domain.name) && !isOverdue(served, now: now)
            return isRenewed ? [] : served.allExpiring
        }
        return shown + authorities(configuration).flatMap { CertificateStore.expiringAnchors(in: $0.file, of: $0.setting) }
    }

    /// The files of those that are believed, about other servers, about people and about authorization servers, where anybody is asked.
    package static func authorities(_ configuration: ServerConfiguration) -> [(file: String, setting: String)] {
        var named: [(file: String?, setting: String)] = []
        if configuration.federation.isEnabled {
            named += configuration.peers.map { (file: $0.trustAnchors, setting: "trust-anchors of the peer \($0.domain)") }
            named.append((configuration.federation.trustAnchors, "federation.trust-anchors"))
        }
        if configuration.domains.contains(where: { $0.clientCertificates != .off }) {
            named.append((configuration.clientCertificates.trustAnchors, "client-certificates.trust-anchors"))
            named.append((configuration.clientCertificates.authorities, "client-certificates.authorities"))
            named.append((configuration.clientCertificates.mailAuthorities, "client-certificates.mail-authorities"))
        }
        named += configuration.oauth.map { (file: $0.trustAnchors, setting: "trust-anchors of the issuer \($0.issuer)") }
        return named.compactMap { named in named.file.map { ($0, named.setting) } }
    }

    /// Whether another one should have been issued in the place of one that an authority has issued: half of the time for that is over.
    private static func isOverdue(_ served: ServedCertificate, now: Int) -> Bool { (served.notAfter - now) * 6 < served.notAfter - served.notBefore }
}

extension ExpiringCertificate {
    package var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = ["ends": "\(Timestamp.text(Int64(notAfter) * 1000))", "file": "\(file)"]
        switch use {
        case .shown(let domain): metadata["domain"] = "\(domain)"
        case .believed(let setting): metadata["authority"] = "\(fingerprint)"; metadata["setting"] = "\(setting)"
        }
        return metadata
    }

    /// For people: what ends when, and what to do.
    package func words(now: Int) -> String {
        let what: String
        let advice: String
        switch use {
        case .shown(let domain):
            what = "The certificate of \(domain) in \(file)"
            advice = "Put a new one in its place and run 'martlet config reload'; 'martlet certificate check \(domain)' says what is there."
        case .believed(let setting):
            what = "An authority of \(setting), in \(file), with the SHA-256 \(fingerprint)"
            advice = "Whoever shows certificates of it is not believed any more then: put what follows it into the file."
        }
        let days = daysLeft(now: now)
        let time = Timestamp.text(Int64(notAfter) * 1000)
        if days < 0 { return "\(what) ended at \(time). \(advice)" }
        return "\(what) ends in \(days) day\(days == 1 ? "" : "s"), at \(time). \(advice)"
    }
}

extension ServerCore {
    /// Tells the admins who have to do with it, those that are not there when they come: of a domain's certificate those of the domain, of authorities
    /// those of the whole server.
    func tellAdmins(of certificates: [ExpiringCertificate], _ configuration: ServerConfiguration, now: Int) {
        guard let first = configuration.domains.first?.name else { return }
        for certificate in certificates {
            let (domain, admins): (String, Set<String>) =
                switch certificate.use {
                case .shown(let domain): (domain, configuration.admins(of: domain))
                case .believed: (first, Set(configuration.access.admins))
                }
            tell(admins.sorted().compactMap { try? BareJID(parsing: $0) }, certificate.words(now: now), from: domain)
        }
    }

    /// A message in the name of a domain.
    private func tell(_ accounts: [BareJID], _ text: String, from domain: String) {
        guard let sender = try? BareJID(parsing: domain) else { return }
        for account in accounts {
            let encoded = StanzaBuilder.message(.normal, from: .bare(sender), to: .bare(account)) { $0.element("body", .client, text: text) }
            guard let stanza = Stanza(sent: encoded) else { continue }
            mailbox.run { [router] context in router.notify(stanza, to: account, context) }
        }
    }
}
