import Crypto
import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// Looks at a domain of this server's own as another server does: DNS, addresses, ports, TLS, certificate, what is offered.
package struct DomainCheckup: Sendable {
    private let service: FederationService
    private let loop: NetworkLoop
    private let domain: String
    private let stranger: String
    private let machine: Set<NetworkAddress>
    private let began = NIODeadline.now()
    private let tell: @Sendable (DiagnosisStep) -> Void

    /// - Parameters:
    ///   - loop: as for ``PeerDiagnosis``.
    ///   - stranger: the domain that the other server says it is; it need not exist.
    ///   - machine: the addresses of this machine.
    package init(
        _ service: FederationService, on loop: NetworkLoop, _ domain: String, as stranger: String, machine: Set<NetworkAddress>,
        _ tell: @escaping @Sendable (DiagnosisStep) -> Void
    ) {
        self.service = service
        self.loop = loop
        self.domain = domain
        self.stranger = stranger
        self.machine = machine
        self.tell = tell
    }

    /// - Returns: whether another server would find everything well at each place where it may call.
    package func run() async -> Bool {
        guard let address = try? BareJID(parsing: domain), let name = DNSName(address.asciiDomainpart) else {
            say(.records, .bad, "\(domain) is no name that DNS could have")
            return false
        }
        let startTLS = await answer("_xmpp-server._tcp", of: name)
        let direct = await answer("_xmpps-server._tcp", of: name)
        let targets: [DialTarget]
        do throws(ServiceLookupError) {
            targets = try ServicePlan.targets(of: name, startTLS: startTLS, direct: direct) { $0.lowerBound }
        } catch {
            say(.records, .bad, "\(domain): \(error)")
            say(.advice, .bad, "publish records such as '_xmpp-server._tcp.\(name). IN SRV 0 5 5269 HOST.', with the name of this machine")
            return false
        }
        if [startTLS, direct].allSatisfy({ (try? $0.get())?.services.isEmpty ?? true }) {
            say(.records, .neutral, "others try \(domain) itself: records such as '_xmpp-server._tcp.\(name). IN SRV 0 5 5269 HOST.' would say where it is served")
        }
        var isWell = [startTLS, direct].allSatisfy { if case .success = $0 { true } else { false } }
        if !isWell { sayUnanswered() }
        for target in targets where await !check(target) { isWell = false }
        return isWell
    }

    private func sayUnanswered() {
        say(.advice, .bad, "see that the domain's name servers answer this, if only that there is nothing: some servers go no further without an answer")
    }

    private func say(_ topic: DiagnosisStep.Topic, _ verdict: DiagnosisStep.Verdict, _ text: String) {
        tell(DiagnosisStep(topic, verdict, text, milliseconds: (NIODeadline.now() - began).nanoseconds / 1_000_000))
    }

    private func answer(_ prefix: String, of name: DNSName) async -> Result<DNSAnswer, DNSError> {
        let (result, step) = await PeerDiagnosis.services(prefix, of: name, service.resolver)
        if let step { say(.records, step.0, step.1) }
        return result
    }

    // MARK: One place

    private func check(_ target: DialTarget) async -> Bool {
        let (addresses, canonicalHost, isAnswered) = await addresses(of: target)
        guard !addresses.isEmpty else {
            say(.address, .bad, "\(target): it has no address")
            say(.advice, .bad, "publish an A or AAAA record for it, or take it out of the SRV records")
            return false
        }
        if !isAnswered { sayUnanswered() }
        let (records, isTold) = await certificates(of: target, leadingTo: canonicalHost)
        var isWell = isAnswered && isTold
        for address in addresses {
            if let refusal = service.dialler.policy.refusal(of: address) {
                say(.address, .bad, "\(target) (\(address)): \(refusal), which others do not call")
                say(.advice, .bad, "publish the address by which this machine is reached from outside")
                isWell = false
            }
            let isHere = machine.contains(address) || AddressPolicy().refusal(of: address) == .loopback
            say(.address, .neutral, "\(target) (\(address)): \(isHere ? "this machine" : "no address of this machine, which may be behind a router")")
            if await !greet(DialTarget(.address(address), port: target.port, target.tls), records) { isWell = false }
        }
        return isWell
    }

    /// What DNS says about the certificate at a place, if others who look at that find the place securely; and whether they are told.
    private func certificates(of target: DialTarget, leadingTo canonicalHost: DNSName?) async -> (DANE?, isTold: Bool) {
        guard let address = try? BareJID(parsing: domain) else { return (nil, true) }
        do throws(DNSError) {
            let found = try await service.lookup.certificates(of: target, leadingTo: canonicalHost, for: address)
            guard let records = found else { return (nil, true) }
            say(.tlsa, records.words.0, records.words.1)
            guard records.dane != nil, !target.isSecure else { return (records.dane, true) }
            say(.tlsa, .neutral, "nobody looks at them: the SRV records are not secured by DNSSEC")
            return (nil, true)
        } catch {
            say(.tlsa, target.isSecure ? .bad : .neutral, "TLSA records of \(target): \(error)")
            if target.isSecure { sayUnanswered() }
            return (nil, isTold: !target.isSecure)
        }
    }

    /// Its addresses, where its name leads if that is proved to be an alias, and whether DNS has said of both kinds which there are.
    private func addresses(of target: DialTarget) async -> ([NetworkAddress], canonicalHost: DNSName?, isAnswered: Bool) {
        switch target.host {
        case .address(let address): return ([address], nil, true)
        case .name(let name):
            let (six, four) = await (found(name, .aaaa), found(name, .a))
            let canonicalHost = [six, four].compactMap { $0 }.first { $0.isSecure && !$0.addresses.isEmpty }?.canonicalName
            return ((six?.addresses ?? []) + (four?.addresses ?? []), canonicalHost, six != nil && four != nil)
        }
    }

    private func found(_ name: DNSName, _ type: RecordType) async -> DNSAnswer? {
        do throws(DNSError) { return try await service.resolver.answer(to: DNSQuestion(name, type)) } catch {
            say(.address, .bad, "\(name) (\(type == .aaaa ? "AAAA" : "A")): \(error)")
            return nil
        }
    }

    /// Calls as a stranger does, who looks at the authorities, and as one who looks at what DNS says.
    private func greet(_ target: DialTarget, _ records: DANE?) async -> Bool {
        let (tell, domain, began) = (tell, domain, began)
        let pair = DomainPair(remote: domain, local: stranger)
        let shown = NIOLockedValueBox<[[UInt8]]>([])
        let isWell = await PeerDiagnosis(service, on: loop, pair, .greeting(target), shown: { chain in shown.withLockedValue { $0 = chain } }) { step in
            var step = step
            step.milliseconds = (NIODeadline.now() - began).nanoseconds / 1_000_000
            tell(step)
        }.run()
        guard let records, case let chain = shown.withLockedValue({ $0 }), !chain.isEmpty else { return isWell }
        return await compare(chain, with: records) && isWell
    }

    private func compare(_ chain: [[UInt8]], with records: DANE) async -> Bool {
        do throws(CertificateFault) {
            try await records.verify(chain, service.trust, now: Int(loop.context.time.wallMilliseconds / 1_000))
            say(.tlsa, .good, "they allow the certificate")
            return true
        } catch {
            say(.tlsa, .bad, "others who look at them refuse the certificate: \(error)")
            let key = PeerCertificate.publicKey(in: chain[0]).map { " '\(records.name). IN TLSA 3 1 1 \(Self.hash($0))'" } ?? " one"
            say(.advice, .bad, "publish\(key) for the key that is in use, and take those out that are for others")
            return false
        }
    }

    private static func hash(_ key: [UInt8]) -> String { CertificateRecords.hexadecimal(SHA256.hash(data: key)) }
}

extension PeerCallFailure {
    /// What to do about a domain of ours that others cannot be served at.
    func advice(about domain: String, at port: UInt16) -> String {
        switch self {
        case .dial, .network, .timedOut:
            "let connections from outside through to port \(port), and have this server listen on it (listeners, of the kinds server and server-tls); or correct the record"
        case .stream(.certificate):
            "give the domain a certificate of an authority that others trust, with the intermediate ones, for \(domain) (domains: certificate and key), and reload"
        case .stream, .refused, .lookup, .tooManyCalls, .unproved: "see that what listens there is this server, and what its log says"
        }
    }
}

// MARK: Certificates

extension FederationService {
    /// What other servers that trust the same authorities think of a certificate in a file.
    ///
    /// - Parameters:
    ///   - file: PEM: the domain's own certificate, then those that lead to a trusted one.
    ///   - key: its key, if that is looked at as well.
    ///   - now: seconds since 1970.
    /// - Returns: whether they accept it, and will for some time (``CertificateStore/warningSeconds(notBefore:notAfter:)``).
    package func checkCertificate(
        _ file: String, key: String? = nil, of domain: String, now: Int, _ tell: @escaping (DiagnosisStep) -> Void
    ) async -> Bool {
        let domains = [domain].compactMap { try? BareJID(parsing: $0) }
        return await CertificateCheckup(trust, now: now, tell).run(.init(chain: file, key: key, domains: domains))
    }
}

extension NetworkAddress {
    /// Those of this machine, as far as it knows them.
    package static var ofThisMachine: Set<NetworkAddress> {
        Set(((try? System.enumerateDevices()) ?? []).compactMap { $0.address.flatMap { NetworkAddress($0) } })
    }
}
