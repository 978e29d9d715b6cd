import Foundation
import MartletNetwork
import MartletXMPP

/// Which certificate each domain shows: the configured one, or one that the server makes and keeps in its data folder.
struct DomainCertificates {
    let configuration: ServerConfiguration

    /// Where the server's own certificates lie.
    var folder: String { configuration.server.dataFolder + "/certificates" }

    /// The files of every domain, the own ones made or renewed where that is due.
    ///
    /// - Returns: also the domains whose own certificate is new.
    func files(nowSeconds: Int) throws(CommandFailure) -> (files: [CertificateFiles], made: [String]) {
        var files: [CertificateFiles] = []
        var made: [String] = []
        for domain in configuration.domains {
            let pair: CertificateFiles
            if hasOthers(domain) {
                pair = self.files(of: domain)
            } else {
                pair = ownFiles(of: domain.name)
                if try makeIfDue(pair, domain, nowSeconds) { made.append(domain.name) }
            }
            var asking = pair
            asking.asksClients = domain.clientCertificates != .off
            files.append(asking)
            // Other servers call the domains of services by their own names.
            for service in configuration.services(of: domain) {
                files.append(CertificateFiles(domain: service.domainpart, chain: pair.chain, key: pair.key, second: pair.second))
            }
        }
        return (files, made)
    }

    /// The same without making any: those that are there.
    var presentFiles: [CertificateFiles] {
        configuration.domains.flatMap { domain in
            let files = files(of: domain)
            guard PrivateFiles.exists(files.chain) else { return [CertificateFiles]() }
            let names = [domain.name] + configuration.services(of: domain).map(\.domainpart)
            return names.map { CertificateFiles(domain: $0, chain: files.chain, key: files.key, second: files.second) }
        }
    }

    /// What an authority has issued for a domain that it is asked for: key and chain in one file.
    func issuedFile(of domain: String) -> String { "\(folder)/\(domain).acme.pem" }

    /// Whether a domain has others than those that the server makes itself.
    private func hasOthers(_ domain: ServerConfiguration.Domain) -> Bool {
        (domain.certificate != nil && domain.key != nil) || isIssued(domain)
    }

    private func isIssued(_ domain: ServerConfiguration.Domain) -> Bool {
        domain.certificate == nil && configuration.issuedDomains.contains(domain.name) && PrivateFiles.exists(issuedFile(of: domain.name))
    }

    /// Where a domain's are, whether they are there or not.
    func files(of domain: ServerConfiguration.Domain) -> CertificateFiles {
        if isIssued(domain) { return CertificateFiles(domain: domain.name, chain: issuedFile(of: domain.name), key: issuedFile(of: domain.name)) }
        let own = ownFiles(of: domain.name)
        guard let chain = domain.certificate, let key = domain.key else { return own }
        var files = CertificateFiles(domain: domain.name, chain: chain, key: key)
        if let chain = domain.secondCertificate, let key = domain.secondKey { files.second = .init(chain: chain, key: key) }
        return files
    }

    func ownFiles(of domain: String) -> CertificateFiles {
        CertificateFiles(domain: domain, chain: "\(folder)/\(domain).pem", key: "\(folder)/\(domain).key")
    }

    /// What a certificate of a domain is to be for.
    func names(of domain: ServerConfiguration.Domain) -> CertificateNames? {
        (try? BareJID(parsing: domain.name)).map { CertificateNames($0, services: configuration.services(of: domain)) }
    }

    /// Whether a certificate was made.
    private func makeIfDue(_ files: CertificateFiles, _ domain: ServerConfiguration.Domain, _ nowSeconds: Int) throws(CommandFailure) -> Bool {
        guard try isDue(files, nowSeconds), let names = names(of: domain) else { return false }
        try put(SelfSignedCertificate(names, nowSeconds: nowSeconds), at: files)
        return true
    }

    /// Puts one that the server has made in the place of its own.
    func put(_ own: SelfSignedCertificate, at files: CertificateFiles) throws(CommandFailure) {
        try PrivateFiles.makeFolder(configuration.server.dataFolder)
        try PrivateFiles.makeFolder(folder)
        // The key first: a certificate without its key would be taken for a damaged pair. A new key goes with an old certificate for a
        // moment; the next start makes both anew if it ends here.
        if PrivateFiles.exists(files.chain) { unlink(files.chain) }
        try PrivateFiles.write(own.key.utf8, to: files.key)
        try PrivateFiles.write(own.certificate.utf8, to: files.chain)
    }

    private func isDue(_ files: CertificateFiles, _ nowSeconds: Int) throws(CommandFailure) -> Bool {
        guard PrivateFiles.exists(files.chain), PrivateFiles.exists(files.key) else { return true }
        let pem = try PrivateFiles.read(files.chain, bytesMax: 1 << 20)
        // What cannot be read as a certificate was not made by us: whoever put it there hears what is wrong with it.
        guard let fingerprint = CertificateFingerprint(pem: String(decoding: pem, as: UTF8.self)), fingerprint.isSelfSigned else { return false }
        let left = fingerprint.ends.timeIntervalSince1970 - Double(nowSeconds)
        return left < Double(SelfSignedCertificate.renewalBefore.components.seconds)
    }
}

extension CommandFailure {
    init(_ error: CertificateError) {
        switch error.reason {
        case .unreadable: self.init(.noInput, error.description, hint: "give the server's user the right to read it, or correct the path in the configuration")
        case .keyDoesNotMatch:
            self.init(.data, error.description, hint: "name the key for which the certificate was asked, or have a certificate issued for this one")
        case .notPEM, .keyNotPEM, .refused: self.init(.data, error.description)
        }
    }
}
