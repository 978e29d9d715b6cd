import Foundation
package import MartletNetwork
import MartletXMPP

/// Makes of the configuration how clients log in with certificates.
package struct ClientCertificateAssembly {
    /// Most files in the folder of published certificates.
    package static let publishedFilesMax = 10_000

    private let configuration: ServerConfiguration
    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    private var section: ServerConfiguration.ClientCertificates { configuration.clientCertificates }

    package var isNeeded: Bool { !demands.isEmpty }

    /// Who finds out whether certificates are revoked.
    package func checker() throws(CommandFailure) -> RevocationChecker {
        let policy = AddressPolicy(allowed: configuration.federation.privateNetworks.compactMap { NetworkBlock($0.description) })
        let dialler = Dialler(try FederationAssembly(configuration: configuration).resolver, policy: policy)
        return RevocationChecker(revocation, dialler, try revocationFiles())
    }

    private var demands: [String: ClientCertificateSettings.Demand] {
        let demands = configuration.domains.map { domain -> (String, ClientCertificateSettings.Demand) in
            switch domain.clientCertificates {
            case .off: (domain.name, .off)
            case .request: (domain.name, .request)
            case .require: (domain.name, .require)
            }
        }
        return Dictionary(demands.filter { $0.1 != .off }) { $1 }
    }

    /// What is read from files is read anew.
    ///
    /// - Throws: what is wrong with it; without it, the server would not start.
    package func settings() throws(CommandFailure) -> ClientCertificateSettings {
        var settings = ClientCertificateSettings()
        settings.demands = demands
        guard !demands.isEmpty else { return settings }
        settings.anchors = try section.trustAnchors.map { (file) throws(CommandFailure) in try Self.anchors(file) } ?? settings.anchors
        settings.know(try certificates(section.authorities, "authorities"))
        settings.rules.policies = PolicyDemand(Set(section.policies.compactMap { PolicyDemand.identifier($0) }))
        settings.mapping.rules = rules
        settings.mapping.mailAuthorities = Set(try certificates(section.mailAuthorities, "mail-authorities"))
        settings.mapping.needsPublished = section.needsPublished
        settings.published = try published()
        settings.takesOwn = section.isUserManaged
        return settings
    }

    private var rules: [AccountMapping.Rule] {
        section.mapping.compactMap { rule in
            switch rule {
            case .xmppAddress: .xmppAddress
            case .published: .published
            case .mail: .mailbox
            case .upn: .principal
            case .subject: section.subject.flatMap { try? SubjectTemplate($0) }.map { .subject($0) }
            }
        }
    }

    package var revocation: RevocationSettings {
        var settings = RevocationSettings()
        settings.mode =
            switch section.revocation.mode {
            case .off: .off
            case .prefer: .prefer
            case .require: .require
            }
        let hosts = section.revocation.fetchHosts.compactMap { try? BareJID(parsing: $0) }
        settings.hosts = Set(hosts.compactMap { DNSName($0.asciiDomainpart) })
        return settings
    }

    package func revocationFiles() throws(CommandFailure) -> RevocationFiles {
        guard !demands.isEmpty else { return RevocationFiles() }
        do throws(RevocationFileError) { return try RevocationFiles(section.revocation.lists) } catch {
            throw CommandFailure(.configuration, "\(error)", hint: "it is named by client-certificates.revocation.lists")
        }
    }

    // MARK: Files

    private static func anchors(_ file: String) throws(CommandFailure) -> TrustAnchors {
        do throws(CertificateError) { return try TrustAnchors(file: file) } catch { throw failure(error, "trust-anchors") }
    }

    private func certificates(_ file: String?, _ key: String) throws(CommandFailure) -> [[UInt8]] {
        guard let file else { return [] }
        do throws(CertificateError) { return try CertificateStore.chain(in: file) } catch { throw Self.failure(error, key) }
    }

    private static func failure(_ error: CertificateError, _ key: String) -> CommandFailure {
        let failure = CommandFailure(error)
        return CommandFailure(failure.status, failure.message, hint: "it is named by client-certificates.\(key)")
    }

    /// Files that are no certificates of accounts are an error: somebody would be kept out.
    private func published() throws(CommandFailure) -> PublishedCertificates {
        var published = PublishedCertificates()
        guard let folder = section.published else { return published }
        let hint = "it is named by client-certificates.published"
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
            throw CommandFailure(.noInput, "\(folder) cannot be read as a folder", hint: hint)
        }
        let files = names.filter { $0.hasSuffix(".pem") && !$0.hasPrefix(".") }.sorted()
        guard files.count <= Self.publishedFilesMax else {
            throw CommandFailure(.configuration, "\(folder) has more than \(Self.publishedFilesMax) files", hint: hint)
        }
        for file in files {
            guard let account = try? BareJID(parsing: String(file.dropLast(4))), !account.isDomain else {
                throw CommandFailure(.configuration, "\(folder)/\(file) is not named after an account, such as juliet@example.org.pem", hint: hint)
            }
            for certificate in try certificates("\(folder)/\(file)", "published") { published.publish(certificate, of: account) }
        }
        return published
    }
}
