package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let externalServices: Namespace = "urn:xmpp:extdisco:2"
}

/// STUN and TURN servers for calls, and whatever else belongs to the domain without speaking XMPP. Accounts of the domain get what they need to use
/// them; nobody else gets anything.
///
/// A TURN server that shares a secret with this one is given a name that ends and a password that proves it (coturn's `use-auth-secret`, as
/// draft-uberti-behave-turn-rest has it): nothing is kept here, and nothing that was given out is good for longer.
package struct ExternalServices: IQResponder {
    package static let specification = Specification.xep(215, "External Service Discovery", version: "1.0.0", note: "without pushes")
    package let disco = DiscoFeatures(host: [.externalServices])

    package struct Service: Hashable, Sendable {
        package enum Credentials: Hashable, Sendable {
            case none
            case fixed(username: String, password: String)
            /// Made for whoever asks, from a secret that the service knows too.
            case made(secret: [UInt8], lifetime: Duration)
        }
        package var host: String
        package var port: Int?
        /// Such as `stun`, `turn`, `turns`.
        package var type: String
        /// `udp` or `tcp`.
        package var transport: String?
        package var name: String?
        package var credentials: Credentials

        package init(
            host: String, port: Int? = nil, type: String, transport: String? = nil, name: String? = nil, credentials: Credentials = .none
        ) {
            self.host = host
            self.port = port
            self.type = type
            self.transport = transport
            self.name = name
            self.credentials = credentials
        }
    }

    private let services: [Service]
    private let time: any TimeSource

    package init(_ services: [Service], time: any TimeSource) {
        self.services = services
        self.time = time
    }

    package var routes: [IQRoute] {
        [
            .immediate(.get, "services", .externalServices, at: .host) { request, host throws(StanzaError) in
                try Self.checkIsOurs(request, host)
                let type = request.child.attribute("type")
                return reply("services", services.filter { type == nil || $0.type == type }, to: request, ["type": type])
            },
            .immediate(.get, "credentials", .externalServices, at: .host) { request, host throws(StanzaError) in
                try Self.checkIsOurs(request, host)
                return reply("credentials", try asked(for: request), to: request)
            },
        ]
    }

    /// TURN servers carry anything anywhere: not for strangers.
    private static func checkIsOurs(_ request: IQRequest, _ host: Host) throws(StanzaError) {
        guard request.actor.bare.domainpart == host.domain.domainpart, !request.actor.bare.isDomain else { throw StanzaError(.forbidden) }
    }

    /// §5: the one service, or those of one host and type where a port is not given.
    private func asked(for request: IQRequest) throws(StanzaError) -> [Service] {
        guard let element = request.child.firstChild("service", .externalServices), let host = element.attribute("host"),
            let type = element.attribute("type")
        else { throw .badRequest("a service has a host and a type") }
        let port = element.attribute("port").map { Int($0) }
        let found = services.filter { $0.host == host && $0.type == type && (port == nil || port == $0.port) }
        guard !found.isEmpty else { throw .itemNotFound() }
        return found
    }

    private func reply(_ element: StaticString, _ services: [Service], to request: IQRequest, _ attributes: KeyValuePairs<StaticString, String?> = [:]) -> IQReply {
        IQReply { writer in
            writer.element(element, .externalServices, attributes) { writer in
                for service in services { write(service, for: request.actor.bare, to: &writer) }
            }
        }
    }

    private func write(_ service: Service, for account: BareJID, to writer: inout XMLWriter) {
        writer.open("service", .externalServices)
        writer.attribute("host", service.host)
        writer.attribute("name", service.name)
        writer.attribute("port", service.port.map(String.init))
        writer.attribute("transport", service.transport)
        writer.attribute("type", service.type)
        switch service.credentials {
        case .none: break
        case .fixed(let username, let password):
            writer.attribute("restricted", "1")
            writer.attribute("username", username)
            writer.attribute("password", password)
        case .made(let secret, let lifetime):
            let ends = time.wallMilliseconds / 1_000 + lifetime.components.seconds
            let username = "\(ends):\(Self.pseudonym(of: account, secret))"
            writer.attribute("restricted", "1")
            writer.attribute("username", username)
            writer.attribute("password", Base64.encode(ScramHash.sha1.authenticationCode(Array(username.utf8), key: secret)))
            writer.attribute("expires", DateTime.text(milliseconds: ends * 1_000))
        }
        writer.close()
    }

    /// The service need not know who calls, only that it is the same one.
    private static func pseudonym(of account: BareJID, _ secret: [UInt8]) -> String {
        let digest = ScramHash.sha256.authenticationCode(Array("account \(account)".utf8), key: secret)
        return digest.prefix(8).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }
}
