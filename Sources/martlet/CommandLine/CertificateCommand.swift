import ArgumentParser
import MartletNetwork
import MartletXMPP

struct CertificateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificate", abstract: "Ask for, make, renew and check the certificates of this server's domains.",
        discussion: "But for renew, these commands need no running server. 'martlet config reload' puts what they have made to use.",
        subcommands: [Request.self, SelfSign.self, Renew.self, Check.self])

    /// A domain of accounts, of the configuration.
    fileprivate static func domain(_ text: String, _ configuration: ServerConfiguration) throws(CommandFailure) -> ServerConfiguration.Domain {
        let name = try FederationControl.domain(text)
        if let domain = configuration.domains.first(where: { $0.name == name }) { return domain }
        let hosted = configuration.domains.map(\.name)
        let owner = configuration.domains.first { configuration.services(of: $0).contains { $0.domainpart == name } }
        throw CommandFailure(
            .data, "\(name) is none of this server's domains",
            hint: owner.map { "it is a service of \($0.name), whose certificate is for it as well" } ?? "there are \(hosted.joined(separator: ", "))")
    }

    struct Request: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a request that an authority can be asked with, and the key for it.",
            discussion: """
                The request (PKCS #10) names the domain and all its services. It lies in a folder with the key, which is used again if it is there already: \
                so a certificate can be renewed for the same key, as pins and TLSA records want it. A key that the configuration uses is never replaced: for another one \
                name another folder (--out), and change the configuration once the certificate for it is there. Send DOMAIN.csr to the authority, put what it answers \
                beside the key, name both in the configuration (domains: certificate and key), and run 'martlet config reload'. \
                'martlet certificate check' says whether they go together.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The domain, as in the configuration.") var domain: String
        @Option(
            help: ArgumentHelp("The folder for both files; by default certificates/requests in the data folder.", valueName: "folder"), completion: .directory)
        var out: String?
        @Option(help: "The kind of a new key: p256, p384 or rsa.") var keyType: CertificateKey.Kind?
        @Flag(help: "Make a new key, also if one is there that is not in use, in its place.") var newKey = false
        @Flag(help: "Ask for SRV-IDs and XMPP addresses as well (RFC 6120 §13.7.1): for an authority of one's own. Public ones leave them out, or refuse.")
        var xmppNames = false

        func run() async throws {
            let configuration = try options.load().configuration
            let domain = try CertificateCommand.domain(domain, configuration)
            let certificates = DomainCertificates(configuration: configuration)
            guard let names = certificates.names(of: domain) else { throw CommandFailure(.data, "\(domain.name) is no domain") }
            let folder = out.map { FilePath.resolve($0, against: Terminal.folder) } ?? certificates.folder + "/requests"
            let (keyFile, requestFile) = ("\(folder)/\(domain.name).key", "\(folder)/\(domain.name).csr")
            if out == nil { for folder in [configuration.server.dataFolder, certificates.folder] { try PrivateFiles.makeFolder(folder) } }
            if out == nil || !PrivateFiles.exists(folder) { try PrivateFiles.makeFolder(folder) }
            if newKey { try Self.checkUnused(keyFile, certificates) }
            let isNew = newKey || !PrivateFiles.exists(keyFile)
            let key = try isNew ? Self.make(keyType ?? .p256) : read(keyFile)
            let request: CertificateRequest
            do { request = try CertificateRequest(names, key, hasXMPPNames: xmppNames) } catch {
                throw CommandFailure(.software, "no request can be made for \(domain.name): \(error)")
            }
            if isNew { try PrivateFiles.write(key.pem.utf8, to: keyFile) }
            try PrivateFiles.write(request.pem.utf8, to: requestFile, mode: 0o644)
            Terminal.say(
                """
                request   \(requestFile)
                key       \(keyFile) (\(isNew ? "made" : "found"))
                names     \(names.domains.map(\.asciiDomainpart).joined(separator: ", "))
                """)
        }

        /// A key that is lost makes its certificate worthless, and the next start of the server fail.
        private static func checkUnused(_ keyFile: String, _ certificates: DomainCertificates) throws(CommandFailure) {
            let files = certificates.configuration.domains.map { certificates.files(of: $0) }
            guard files.flatMap({ [$0.key, $0.second?.key].compactMap(\.self) }).contains(where: { PrivateFiles.isSame($0, keyFile) }) else { return }
            throw CommandFailure(
                .cannotCreate, "\(keyFile) is the key of a certificate that the server shows",
                hint: "add --out with another folder, and name the new key in the configuration when its certificate is there")
        }

        private static func make(_ kind: CertificateKey.Kind) throws(CommandFailure) -> CertificateKey {
            do { return try CertificateKey(kind) } catch { throw CommandFailure(.software, "no key can be made: \(error)") }
        }

        private func read(_ file: String) throws(CommandFailure) -> CertificateKey {
            guard keyType == nil else { throw CommandFailure(.cannotCreate, "there is a key already: \(file)", hint: "leave out --key-type, or add --new-key") }
            let bytes = try PrivateFiles.read(file, bytesMax: 1 << 20)
            do { return try CertificateKey(pem: String(decoding: bytes, as: UTF8.self)) } catch {
                throw CommandFailure(.data, "\(file) holds no private key in PEM form without a password", hint: "add --new-key to make another one in its place")
            }
        }
    }

    struct SelfSign: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "self-sign", abstract: "Make a new certificate that nobody vouches for, with a new key.",
            discussion: """
                The server makes one by itself for a domain that the configuration names none for, and renews it. This makes another one at once, \
                for example because the key was seen by others or services have been added. Clients have to be told to trust it anew.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The domain, as in the configuration.") var domain: String
        @Option(help: "For how many days it is good, 36 to 825.") var days: Int = Int(SelfSignedCertificate.validity.components.seconds / 86_400)

        func validate() throws {
            guard (36...825).contains(days) else {
                throw ValidationError("--days is from 36, since the last 35 are for renewing it, to 825, which some systems insist on")
            }
        }

        func run() async throws {
            let configuration = try options.load().configuration
            let domain = try CertificateCommand.domain(domain, configuration)
            if let chain = domain.certificate {
                throw CommandFailure(
                    .cannotCreate, "the configuration names another certificate for \(domain.name): \(chain)",
                    hint: "take the lines certificate: and key: out first")
            }
            let certificates = DomainCertificates(configuration: configuration)
            guard let names = certificates.names(of: domain) else { throw CommandFailure(.data, "\(domain.name) is no domain") }
            let own = try SelfSignedCertificate(names, nowSeconds: SystemClock().wallSeconds, validity: .seconds(days * 86_400))
            let files = certificates.ownFiles(of: domain.name)
            try certificates.put(own, at: files)
            Terminal.say(
                """
                certificate   \(files.chain)
                fingerprint   \(CertificateFingerprint(pem: own.certificate)?.sha256 ?? "")
                names         \(names.domains.map(\.asciiDomainpart).joined(separator: ", "))
                """)
        }
    }

    struct Renew: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have the running server ask its authority for a new certificate at once (ACME).",
            discussion: """
                The server renews certificates by itself in time, and after a failure asks again later and later; this asks now, and says what becomes of it, \
                step by step. What there is stays in use until there is another one. Authorities limit how often they are asked for the same names. Ends with \
                0 if there is a new certificate and it is in use, 69 otherwise.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The domain, as in the configuration.") var domain: String
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            let loaded = try options.load(serves: true)
            let path = loaded.configuration.controlSocketPath
            let response = try ControlClient(path: path).ask(.certificate(.renew(domain))) { Terminal.say($0, asJSON: json, else: $0.line) }
            guard let response else { throw ControlClient.notRunning(path) }
            guard case .done = response else { throw ServerReach.unexpected }
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Look at certificates: chain, names, time, key, and whether they are revoked.",
            discussion: """
                Without an argument those of all domains; with a domain that domain's; with a file (anything with a slash or that ends in .pem or .crt) that one. \
                A line with !! is wrong, and the one after it says what to do: chains that do not lead to an authority that is trusted (that of \
                federation.trust-anchors, or this machine's), names that are missing, less than 30 days left (or a sixth of a life that is short), keys \
                that do not match or that others than their owner may read. Authorities and responders that the certificate names are asked whether it is \
                revoked, over the network. Ends with 0 if all is well, 65 if something is wrong, 66 if a file is not there, 77 if it may not be read.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("A domain of the configuration, or a PEM file.", valueName: "domain or file"), completion: .file()) var subject: String?
        @Option(help: ArgumentHelp("The key of the file's certificate.", valueName: "file"), completion: .file()) var key: String?
        @Flag(help: "Ask nobody whether it is revoked.") var offline = false
        @Flag(help: "One JSON object per line.") var json = false

        private var isFile: Bool { subject.map { $0.contains("/") || $0.hasSuffix(".pem") || $0.hasSuffix(".crt") } ?? false }

        func validate() throws {
            if key != nil, !isFile { throw ValidationError("--key goes with a file: the keys of domains are those of the configuration") }
        }

        func run() async throws {
            let configuration = try options.load().configuration
            let subjects = try subjects(configuration)
            let examiner = try CertificateExaminer(configuration, asks: !offline)
            var isWell = true
            for (name, subject) in subjects {
                if !json { Terminal.say(name) }
                let json = json
                let isGood = await examiner.look(at: subject) { step in
                    Terminal.say(CertificateLine(subject: name, step: step), asJSON: json, else: step.finding)
                }
                isWell = isWell && isGood
            }
            await examiner.close()
            if !isWell { throw ExitCode(ExitStatus.data.rawValue) }
        }

        private func subjects(_ configuration: ServerConfiguration) throws(CommandFailure) -> [(String, CertificateCheckup.Subject)] {
            if let subject, isFile {
                let file = FilePath.resolve(subject, against: Terminal.folder)
                let key = try key.map { name throws(CommandFailure) in try Self.present(FilePath.resolve(name, against: Terminal.folder)) }
                return [(file, .init(chain: try Self.present(file), key: key, domains: []))]
            }
            let domains = try subject.map { text throws(CommandFailure) in [try CertificateCommand.domain(text, configuration)] } ?? configuration.domains
            let certificates = DomainCertificates(configuration: configuration)
            var subjects: [(String, CertificateCheckup.Subject)] = []
            for domain in domains {
                let files = certificates.files(of: domain)
                let chain = try Self.present(files.chain, "the server makes one at its first start, and 'martlet certificate self-sign' at once")
                let names = certificates.names(of: domain)?.domains ?? []
                subjects.append((domain.name, .init(chain: chain, key: files.key, domains: names)))
                guard let second = files.second else { continue }
                subjects.append((domain.name, .init(chain: try Self.present(second.chain), key: second.key, domains: names)))
            }
            return subjects
        }

        private static func present(_ file: String, _ hint: String? = nil) throws(CommandFailure) -> String {
            guard !PrivateFiles.exists(file) else { return file }
            let error = SystemError.last
            guard error.statusOfWriting == .noPermission else { throw CommandFailure(.noInput, "\(file) is not there", hint: hint) }
            throw CommandFailure(.noPermission, "\(file) cannot be looked at: \(error)", hint: "ask as the server's user, or as root")
        }
    }
}

extension CertificateKey.Kind: ExpressibleByArgument {}

/// What was found out about a certificate.
private struct CertificateLine: Encodable {
    var subject: String
    var step: DiagnosisStep
}
