import MartletCore
import MartletNetwork
import MartletXMPP

/// Answers what commands ask about other servers.
struct FederationControl: Sendable {
    /// `nil` where there is no federation.
    let service: FederationService?
    /// Ours, with those of services, as ``ServerConfiguration/allDomains`` has them.
    let domains: [String]
    let audit: any AuditSink

    func answer(
        _ order: FederationOrder, by: String, _ tell: @escaping @Sendable (DiagnosisStep) -> Void
    ) async throws(CommandFailure) -> ControlResponse {
        guard let service else { throw Self.disabled }
        switch order {
        case .report(nil): return .federation(await service.report())
        case .report(let peer?): return .federation(await service.report().about(try Self.domain(peer)))
        case .close(let peer):
            let domain = try Self.domain(peer)
            let count = await service.close(domain)
            audit.record(.peerStreamsClosed(domain, count: count, by: by))
            return .closed(count)
        case .test(let peer, let from): return .diagnosed(await service.diagnose(try Self.pair(peer, from: from, of: domains), tell))
        }
    }

    static let disabled = CommandFailure(.unavailable, "this server has no streams with others", hint: "federation.enabled is false")

    /// The domains between which a stream is looked for.
    static func pair(_ peer: String, from: String?, of domains: [String]) throws(CommandFailure) -> DomainPair {
        let remote = try domain(peer)
        let local = try from.map { text throws(CommandFailure) in try domain(text) } ?? domains.first ?? ""
        guard domains.contains(local) else {
            throw CommandFailure(.data, "\(local) is none of this server's domains", hint: "there are \(domains.joined(separator: ", "))")
        }
        guard !domains.contains(remote) else {
            throw CommandFailure(.data, "\(remote) is a domain of this server", hint: "'martlet doctor' looks at the server's own domains")
        }
        return DomainPair(remote: remote, local: local)
    }

    /// As streams name it.
    static func domain(_ text: String) throws(CommandFailure) -> String {
        guard let address = try? BareJID(parsing: text), address.isDomain else {
            throw CommandFailure(.data, "not a domain: \(ConfigurationProblem.printable(text.prefix(200)))")
        }
        return address.domainpart
    }
}

extension ServerConfiguration {
    /// Every domain that is served: the accounts' in the order of the configuration, each followed by those of its services.
    var allDomains: [String] { domains.flatMap { domain in [domain.name] + services(of: domain).map(\.domainpart) } }
}
