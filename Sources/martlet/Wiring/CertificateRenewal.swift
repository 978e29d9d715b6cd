import Crypto
import Foundation
import Logging
import MartletNetwork
import NIOCore
import NIOSSL
import ServiceLifecycle

/// Gets certificates from an authority for the domains for which the configuration wants it, and others in their place in time (RFC 8555). Whatever
/// goes wrong, what there is stays in use, and it is tried again later and later.
actor CertificateRenewal: Service {
    /// Between two looks.
    static let interval = Duration.seconds(60)
    /// Longest file of what was tried, in bytes.
    private static let stateBytesMax = 1 << 20

    private let challenges: ACMEChallenges
    private let group: any EventLoopGroup
    private let log: Logger
    private let time: SystemClock
    private var configuration: ServerConfiguration
    private var backoff: RenewalBackoff
    private var pause: Task<Void, Never>?
    /// Domains for which the authority is being asked.
    private var underWay: Set<String> = []
    private let metrics: ServerMetrics
    /// When a certificate is to be followed by another one, as its authority has said or as is usual, and until when that holds.
    private var moments: [String: (issued: IssuedCertificate, moment: Int, until: Int)] = [:]
    private var putToUse: @Sendable () async -> CommandFailure? = { nil }

    init(_ challenges: ACMEChallenges, on group: any EventLoopGroup, _ logs: ServerLogs, _ time: SystemClock, _ configuration: ServerConfiguration) {
        (self.challenges, self.group, self.time, self.configuration) = (challenges, group, time, configuration)
        (log, metrics) = (logs.server, logs.metrics)
        let bytes = try? PrivateFiles.read(Self.stateFile(configuration), bytesMax: Self.stateBytesMax)
        backoff = bytes.flatMap { try? JSONDecoder().decode(RenewalBackoff.self, from: Data($0)) } ?? RenewalBackoff()
    }

    /// - Parameter putToUse: reads all certificates anew; says why that could not be done.
    func begin(_ putToUse: @escaping @Sendable () async -> CommandFailure?) { self.putToUse = putToUse }

    /// After a reload.
    func apply(_ configuration: ServerConfiguration) {
        // What the operator has changed may be what was wrong.
        if configuration.acme != self.configuration.acme { backoff = RenewalBackoff() }
        self.configuration = configuration
        pause?.cancel()
    }

    nonisolated func run() async throws {
        await cancelWhenGracefulShutdown { [self] in await takeTurns() }
        // A service that returns ends the others; this one stays for as long as they do.
        try? await gracefulShutdown()
    }

    private func takeTurns() async {
        while !Task.isCancelled {
            for domain in configuration.issuedDomains where !Task.isCancelled { await look(at: domain) }
            await rest()
        }
    }

    /// Until the next look is due, or something has changed.
    private func rest() async {
        // A task, so that a reload can end it.
        let pause = Task<Void, Never> { try? await Task.sleep(for: Self.interval) }
        self.pause = pause
        await withTaskCancellationHandler { await pause.value } onCancel: { pause.cancel() }
    }

    private static func folder(_ configuration: ServerConfiguration) -> String { configuration.server.dataFolder + "/acme" }
    private static func stateFile(_ configuration: ServerConfiguration) -> String { folder(configuration) + "/state.json" }

    // MARK: One domain

    private func look(at name: String) async {
        let configuration = configuration
        let now = time.wallSeconds
        let certificates = DomainCertificates(configuration: configuration)
        guard let domain = configuration.domains.first(where: { $0.name == name }), let names = certificates.names(of: domain) else { return }
        let file = certificates.issuedFile(of: name)
        if let issued = try? IssuedCertificate(file: file), issued.isFor(names), now < (await moment(of: issued, at: name, configuration, now: now)) { return }
        guard !backoff.isResting(name, now: now), !underWay.contains(name) else { return }
        try? await attempt(names, file, configuration, of: name) { _ in }
    }

    /// When another one is asked for. What its authority suggests (RFC 9773) is asked a few times a day; where it says nothing, or cannot be reached, it is
    /// done as usual.
    private func moment(of issued: IssuedCertificate, at name: String, _ configuration: ServerConfiguration, now: Int) async -> Int {
        if let known = moments[name], known.issued == issued, now < known.until { return known.moment }
        var (moment, seconds) = (issued.renewal, RenewalWindow.secondsDefault)
        do {
            if let window = try await client(configuration).renewalWindow(of: issued) {
                (moment, seconds) = (issued.renewal(in: window), window.seconds)
                log.debug("when to renew a certificate is known", metadata: ["domain": "\(name)", "at": "\(Timestamp.text(Int64(moment) * 1000))"])
            }
        } catch {
            log.info("the authority does not say when to renew a certificate", metadata: ["domain": "\(name)", "why": "\(error)"])
        }
        moments[name] = (issued, moment, now + seconds)
        return moment
    }

    /// Asks for a certificate at once, whatever there is, and whenever it would be asked for next (`martlet certificate renew`).
    ///
    /// - Parameter tell: told of what has been done, in words for the operator.
    func renewNow(_ name: String, _ tell: @escaping @Sendable (String) -> Void) async throws(CommandFailure) {
        let configuration = configuration
        let certificates = DomainCertificates(configuration: configuration)
        guard configuration.issuedDomains.contains(name), let domain = configuration.domains.first(where: { $0.name == name }),
            let names = certificates.names(of: domain)
        else {
            throw CommandFailure(
                .data, "no authority is asked for certificates of \(name.prefix(255))",
                hint: "acme.enabled and acme.domains say for which domains one is asked")
        }
        guard !underWay.contains(name) else { throw CommandFailure(.temporary, "the authority is being asked for a certificate of \(name) already") }
        do throws(RenewalFailure) {
            try await attempt(names, certificates.issuedFile(of: name), configuration, of: name, tell)
        } catch {
            throw CommandFailure(.unavailable, "no certificate was issued; what there is stays in use: \(error)", hint: error.advice)
        }
    }

    /// Asks once, and remembers what came of it.
    private func attempt(
        _ names: CertificateNames, _ file: String, _ configuration: ServerConfiguration, of name: String, _ tell: @escaping @Sendable (String) -> Void
    ) async throws(RenewalFailure) {
        underWay.insert(name)
        defer { underWay.remove(name) }
        do throws(RenewalFailure) {
            try await renew(names, file, configuration, tell)
            backoff.succeeded(name)
            tell("a certificate was issued, and lies in \(file)")
            if let failure = await putToUse() { throw .local(failure) }
            tell("it is in use")
            log.notice("a certificate was issued", metadata: ["domain": "\(name)", "file": "\(file)", "names": "\(names.domains.count)"])
            metrics.certificateAsked(domain: name, isIssued: true)
        } catch {
            // Who stops is not at fault.
            guard !Task.isCancelled else { throw error }
            metrics.certificateAsked(domain: name, isIssued: false)
            let now = time.wallSeconds
            let until = backoff.failed(name, now: now, said: error.retryAfter, jitter: .random(in: 0...1))
            log.warning(
                "no certificate was issued; what there is stays in use",
                metadata: [
                    "domain": "\(name)", "why": "\(error)", "hint": "\(error.advice)", "again": "\(Timestamp.text(Int64(until) * 1000))",
                    "failures": "\(backoff.failures(of: name))",
                ])
            saveState(configuration)
            throw error
        }
        saveState(configuration)
    }

    private func renew(
        _ names: CertificateNames, _ file: String, _ configuration: ServerConfiguration, _ tell: @escaping @Sendable (String) -> Void
    ) async throws(RenewalFailure) {
        let client: ACMEClient
        let key: CertificateKey
        do throws(CommandFailure) {
            for folder in [configuration.server.dataFolder, DomainCertificates(configuration: configuration).folder, Self.folder(configuration)] {
                try PrivateFiles.makeFolder(folder)
            }
            client = try self.client(configuration)
            key = try Self.key(file, isKept: configuration.acme.keepsKeys)
        } catch { throw .local(error) }
        let request: CertificateRequest
        do { request = try CertificateRequest(names, key) } catch { throw .local(CommandFailure(.software, "no request can be made: \(error)")) }
        let chain: String
        do throws(ACMEError) { chain = try await client.certificate(names, request, tell) } catch { throw .authority(error) }
        try Self.put(key.pem + chain, at: file, for: names, now: time.wallSeconds)
    }

    private func client(_ configuration: ServerConfiguration) throws(CommandFailure) -> ACMEClient {
        let acme = configuration.acme
        guard let text = acme.directory, let directory = HTTPURL(text) else {
            throw CommandFailure(.configuration, "acme.directory is no URL", hint: "run 'martlet config check'")
        }
        var settings = ACMEClient.Settings(directory: directory)
        settings.contacts = acme.contacts
        settings.binding = try Self.binding(acme.externalAccount)
        var dialler = try FederationAssembly(configuration: configuration).dialler
        // The operator has named it.
        dialler.allowEverything()
        let fetch = HTTPFetch(dialler, on: group, trustRoots: acme.trustAnchors.map { NIOSSLTrustRoots.file($0) } ?? .default)
        return ACMEClient(fetch, settings, try Self.accountKey(directory, in: Self.folder(configuration)), challenges)
    }

    private static func binding(_ account: ServerConfiguration.ExternalAccount) throws(CommandFailure) -> ACMEBinding? {
        guard let identifier = account.identifier, let file = account.keyFile else { return nil }
        guard let binding = ACMEBinding(identifier: identifier, text: String(decoding: try SecretFile.read(file), as: UTF8.self)) else {
            throw CommandFailure(.configuration, "\(file) holds no key in Base64", hint: "put the HMAC key there as the authority has given it")
        }
        return binding
    }

    /// Each authority has a key of its own: whoever gets hold of one has nothing of the others.
    private static func accountKey(_ directory: HTTPURL, in folder: String) throws(CommandFailure) -> ACMEKey {
        let name = SHA256.hash(data: Array(directory.description.utf8)).prefix(8).map { String(format: "%02x", $0) }.joined()
        let file = "\(folder)/account-\(name).key"
        guard PrivateFiles.exists(file) else {
            let key = ACMEKey()
            try PrivateFiles.write(key.pem.utf8, to: file)
            return key
        }
        guard let key = ACMEKey(pem: String(decoding: try PrivateFiles.read(file, bytesMax: 1 << 16), as: UTF8.self)) else {
            throw CommandFailure(.data, "\(file) holds no key of an account", hint: "put it back from a backup, or remove it: then there is another account")
        }
        return key
    }

    /// - Parameter isKept: whether the key goes on, as pins and TLSA records want it.
    private static func key(_ file: String, isKept: Bool) throws(CommandFailure) -> CertificateKey {
        if isKept, PrivateFiles.exists(file) {
            let text = String(decoding: try PrivateFiles.read(file, bytesMax: 1 << 20), as: UTF8.self)
            if let end = text.range(of: "-----END PRIVATE KEY-----"), let key = try? CertificateKey(pem: String(text[..<end.upperBound])) { return key }
        }
        do { return try CertificateKey(.p256) } catch { throw CommandFailure(.software, "no key can be made: \(error)") }
    }

    /// One file with both, so that they change in one step; and only if they are of use.
    private static func put(_ pem: String, at file: String, for names: CertificateNames, now: Int) throws(RenewalFailure) {
        let candidate = "\(file).candidate"
        do throws(CommandFailure) { try PrivateFiles.write(pem.utf8, to: candidate) } catch { throw .local(error) }
        defer { unlink(candidate) }
        let issued: IssuedCertificate
        do throws(CertificateError) {
            try CertificateStore.check(CertificateFiles(domain: "", chain: candidate, key: candidate))
            issued = try IssuedCertificate(file: candidate)
        } catch { throw .authority(.wrongCertificate("\(error)")) }
        guard issued.isFor(names) else { throw .authority(.wrongCertificate("it is not for all names")) }
        guard issued.notAfter > now else { throw .authority(.wrongCertificate("it has ended already: one of the two clocks is wrong")) }
        do throws(CommandFailure) { try PrivateFiles.write(pem.utf8, to: file) } catch { throw .local(error) }
    }

    private func saveState(_ configuration: ServerConfiguration) {
        backoff.keep(configuration.issuedDomains)
        guard let data = try? JSONEncoder().encode(backoff) else { return }
        do throws(CommandFailure) { try PrivateFiles.write(data, to: Self.stateFile(configuration)) } catch {
            log.warning("what was tried with the authority cannot be written down", metadata: ["why": "\(error.message)"])
        }
    }
}

/// Why there is no new certificate.
private enum RenewalFailure: Error, CustomStringConvertible {
    case authority(ACMEError)
    /// Something on this machine.
    case local(CommandFailure)

    var description: String {
        switch self {
        case .authority(let error): error.description
        case .local(let failure): failure.message
        }
    }

    var advice: String {
        switch self {
        case .authority(let error): error.advice
        case .local(let failure): failure.hint ?? "see that the data folder can be written"
        }
    }

    var retryAfter: Int? { if case .authority(let error) = self { error.retryAfter } else { nil } }
}
