import MartletCore
import MartletNetwork
import MartletXMPP

/// Answers what commands ask about other servers.
struct FederationControl: Sendable {
    /// `nil` where there is no federation.
    let service: FederationService?
    let audit: any AuditSink

    func answer(_ order: FederationOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        guard let service else { throw Self.disabled }
        switch order {
        case .report(nil): return .federation(await service.report())
        case .report(let peer?): return .federation(await service.report().about(try Self.domain(peer)))
        case .close(let peer):
            let domain = try Self.domain(peer)
            let count = await service.close(domain)
            audit.record(.peerStreamsClosed(domain, count: count, by: by))
            return .closed(count)
        }
    }

    static let disabled = CommandFailure(.unavailable, "this server has no streams with others", hint: "federation.enabled is false")

    /// As streams name it.
    static func domain(_ text: String) throws(CommandFailure) -> String {
        guard let address = try? BareJID(parsing: text), address.isDomain else {
            throw CommandFailure(.data, "not a domain: \(ConfigurationProblem.printable(text.prefix(200)))")
        }
        return address.domainpart
    }
}
