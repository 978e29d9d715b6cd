package import MartletXMPP

/// Where a stream to another server can be begun.
package struct DialTarget: Hashable, Sendable, CustomStringConvertible {
    package enum Host: Hashable, Sendable {
        case name(DNSName)
        case address(NetworkAddress)
    }

    package enum TLS: Hashable, Sendable {
        /// The stream begins in the clear, and `<starttls/>` comes first (RFC 6120 §5).
        case startTLS
        /// TLS comes first, with ``alpn`` (XEP-0368).
        case direct

        /// What is negotiated with direct TLS (RFC 7301, XEP-0368 §3).
        package static let alpn = "xmpp-server"
    }

    package let host: Host
    package let port: UInt16
    package let tls: TLS
    /// Whether signatures, or the operator, say that the domain is served there. Only then can TLSA records of the host speak for the
    /// domain (RFC 7673 §3.1).
    package let isSecure: Bool

    package init(_ host: Host, port: UInt16 = Self.port, _ tls: TLS = .startTLS, isSecure: Bool = false) {
        self.host = host
        self.port = port
        self.tls = tls
        self.isSecure = isSecure
    }

    /// `xmpp-server` (RFC 6120 §14.7).
    package static let port: UInt16 = 5269

    package var description: String {
        switch host {
        case .name(let name): "\(name):\(port)"
        case .address(let address): address.description(port: port)
        }
    }
}

/// Why it is not known where a domain is served.
package enum ServiceLookupError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The domain is no name that DNS could have.
    case notAHost
    /// The domain says that it has no server (RFC 2782: the target is the root), or names none that could be dialled.
    case noService
    case unanswered(DNSError)

    package var description: String {
        switch self {
        case .notAHost: "its name cannot be looked up"
        case .noService: "its SRV records say that it has no XMPP server"
        case .unanswered(let error): error.description
        }
    }

    /// For whoever has written to the domain (RFC 6120 §8.3.3.16, §8.3.3.17).
    package var stanzaError: StanzaError.Condition {
        switch self {
        case .notAHost, .noService: .remoteServerNotFound
        case .unanswered: .remoteServerTimeout
        }
    }
}

/// Finds out where other domains are served.
package struct ServiceLookup: Sendable {
    private let resolver: any Resolver
    /// The operator's own word, in the order in which they are tried; DNS is not asked for these domains.
    private let overrides: [BareJID: [DialTarget]]

    package init(_ resolver: any Resolver, overrides: [BareJID: [DialTarget]] = [:]) {
        self.resolver = resolver
        self.overrides = overrides
    }

    /// Where to dial, in order; never empty.
    package func targets(of domain: BareJID) async throws(ServiceLookupError) -> [DialTarget] {
        if let targets = overrides[domain], !targets.isEmpty { return targets }
        if let address = domain.addressDomainpart { return [DialTarget(.address(address))] }
        guard let name = DNSName(domain.asciiDomainpart) else { throw .notAHost }
        async let direct = answer("_xmpps-server._tcp", of: name)
        let startTLS = await answer("_xmpp-server._tcp", of: name)
        return try await ServicePlan.targets(of: name, startTLS: startTLS, direct: direct) { Int.random(in: $0) }
    }

    /// What DNS says about the certificate of a host that was found securely; `nil` if it has no name about which something could be said.
    ///
    /// The name may be an alias, although an SRV record should not name one (RFC 2782): then the records are where it leads, or, if there are
    /// none, below the alias itself (RFC 7671 §7). That the records' own name is an alias the resolver follows.
    ///
    /// - Parameter canonicalHost: where the name leads, if signatures prove that it is an alias.
    /// - Throws: where there is no answer: that there are no records would have to be proved (RFC 7671 §2.1).
    package func certificates(
        of target: DialTarget, leadingTo canonicalHost: DNSName? = nil, for domain: BareJID
    ) async throws(DNSError) -> CertificateRecords? {
        guard case .name(let host) = target.host else { return nil }
        if let canonicalHost, let records = try await certificates(at: canonicalHost, target.port, for: domain), records.areThere { return records }
        return try await certificates(at: host, target.port, for: domain)
    }

    private func certificates(at host: DNSName, _ port: UInt16, for domain: BareJID) async throws(DNSError) -> CertificateRecords? {
        guard let name = host.service("_\(port)._tcp") else { return nil }
        return CertificateRecords(name, try await resolver.answer(to: DNSQuestion(name, .tlsa)), of: host, port: port, for: domain)
    }

    /// Where the name of a host leads, if signatures prove that it is an alias.
    func canonicalHost(of target: DialTarget) async -> DNSName? {
        guard case .name(let host) = target.host else { return nil }
        for type in [RecordType.a, .aaaa] {
            if let answer = try? await resolver.answer(to: DNSQuestion(host, type)), !answer.addresses.isEmpty {
                return answer.isSecure ? answer.canonicalName : nil
            }
        }
        return nil
    }

    private func answer(_ service: String, of name: DNSName) async -> Result<DNSAnswer, DNSError> {
        // Below a name that is so long there can be nothing.
        guard let name = name.service(service) else { return .success(DNSAnswer(.noSuchName)) }
        do throws(DNSError) {
            return .success(try await resolver.answer(to: DNSQuestion(name, .srv)))
        } catch {
            return .failure(error)
        }
    }
}

extension BareJID {
    /// The domainpart as the address that it is in place of a name (RFC 7622 §3.2); `nil` if it is a name.
    var addressDomainpart: NetworkAddress? {
        let domainpart = domainpart
        guard domainpart.hasPrefix("["), domainpart.hasSuffix("]") else { return NetworkAddress(domainpart) }
        return NetworkAddress(String(domainpart.dropFirst().dropLast()))
    }
}

/// What SRV records say about where to dial (RFC 6120 §3.2, XEP-0368 §3). Pure.
package enum ServicePlan {
    /// Most targets that are tried for one domain: more would only make its senders wait longer.
    package static let targetsMax = 8

    private struct Candidate {
        let record: ServiceRecord
        let tls: DialTarget.TLS
        let isSecure: Bool
    }

    /// - Parameters:
    ///   - startTLS: what is known of `_xmpp-server._tcp`.
    ///   - direct: what is known of `_xmpps-server._tcp`.
    ///   - draw: gives a number of the range, each as likely as any other.
    ///
    /// One set is enough; of the other it may then not be known whether it exists. RFC 6120 §3.2.1 has the domain's own address tried when
    /// nothing answers about SRV records; we do not, since who can keep answers away would decide where we dial.
    package static func targets(
        of domain: DNSName, startTLS: Result<DNSAnswer, DNSError>, direct: Result<DNSAnswer, DNSError>, draw: (ClosedRange<Int>) -> Int
    ) throws(ServiceLookupError) -> [DialTarget] {
        let candidates = candidates(startTLS, .startTLS) + candidates(direct, .direct)
        let targets = ordered(candidates, draw).compactMap(target)
        if !targets.isEmpty { return Array(targets.prefix(targetsMax)) }
        let answers = try [startTLS, direct].map { (result) throws(ServiceLookupError) in try answered(result) }
        // Records without a usable target: the domain knows of SRV, and means what it says.
        guard candidates.isEmpty else { throw .noService }
        return [DialTarget(.name(domain), isSecure: answers.allSatisfy(\.isSecure))]
    }

    private static func answered(_ result: Result<DNSAnswer, DNSError>) throws(ServiceLookupError) -> DNSAnswer {
        switch result {
        case .success(let answer): return answer
        case .failure(let error): throw .unanswered(error)
        }
    }

    private static func candidates(_ result: Result<DNSAnswer, DNSError>, _ tls: DialTarget.TLS) -> [Candidate] {
        guard case .success(let answer) = result else { return [] }
        return answer.services.map { Candidate(record: $0, tls: tls, isSecure: answer.isSecure) }
    }

    private static func target(_ candidate: Candidate) -> DialTarget? {
        guard let host = candidate.record.target, candidate.record.port > 0 else { return nil }
        return DialTarget(.name(host), port: candidate.record.port, candidate.tls, isSecure: candidate.isSecure)
    }

    /// By priority, and within one as chance has it, the more likely the heavier (RFC 2782, "Weight").
    private static func ordered(_ candidates: [Candidate], _ draw: (ClosedRange<Int>) -> Int) -> [Candidate] {
        let byPriority = Dictionary(grouping: candidates, by: \.record.priority).sorted { $0.key < $1.key }
        return byPriority.flatMap { weighted($0.value, draw) }
    }

    private static func weighted(_ candidates: [Candidate], _ draw: (ClosedRange<Int>) -> Int) -> [Candidate] {
        // Those without weight stand first, where only a zero finds them.
        var rest = candidates.filter { $0.record.weight == 0 } + candidates.filter { $0.record.weight > 0 }
        var ordered: [Candidate] = []
        while !rest.isEmpty {
            var left = draw(0...rest.reduce(0) { $0 + Int($1.record.weight) })
            let index = rest.firstIndex { candidate in
                left -= Int(candidate.record.weight)
                return left <= 0
            }
            ordered.append(rest.remove(at: index ?? 0))
        }
        return ordered
    }
}
