import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import NIOHTTP1

/// Where else than over TCP a domain's clients connect (XEP-0156, RFC 6415), and where all connect if the operator has said by which addresses (XEP-0487).
struct HostMeta: WebResource {
    enum Form {
        case xml, json

        var path: String {
            switch self {
            case .xml: "/.well-known/host-meta"
            case .json: "/.well-known/host-meta.json"
            }
        }

        var type: String {
            switch self {
            case .xml: "application/xrd+xml; charset=utf-8"
            case .json: "application/json"
            }
        }
    }

    let methods = [HTTPMethod.GET]
    let bodyBytesMax = 0
    let form: Form
    /// Where clients reach this server from outside; `nil`: as each has asked.
    let url: String?
    /// Where it is reached in other ways; `nil`: that is for DNS to say.
    let ports: PublicPorts?

    /// For how long an answer may be kept, in seconds.
    static let lifetime = 3_600

    func answer(_ request: WebRequest, on connection: WebConnection) {
        let hosts = connection.loop.context.hosts
        guard let domain = try? BareJID(parsing: request.authority.host), hosts.host(ofDomain: domain.domainpart) != nil else {
            return connection.answer(WebAnswer(.notFound, "no XMPP domain of that name is served here"))
        }
        let body = Self.document(form, Self.links(url ?? Self.url(of: request)), ports, domain.asciiDomainpart)
        connection.answer(WebAnswer(.ok, type: form.type, body, ["Cache-Control": "max-age=\(Self.lifetime)"]))
    }

    private static func url(of request: WebRequest) -> String {
        "https://" + request.authority.host + (request.authority.port.map { ":\($0)" } ?? "")
    }

    struct Link: Hashable {
        let relation: String
        let url: String
    }

    /// - Parameter url: begins with `https://`; nobody is sent to where passwords could be read (XEP-0156 §3).
    static func links(_ url: String) -> [Link] {
        let webSocket = "wss://" + url.dropFirst("https://".count) + WebSite.webSocketPath
        return [
            Link(relation: "urn:xmpp:alt-connections:websocket", url: webSocket),
            Link(relation: "urn:xmpp:alt-connections:xbosh", url: url + WebSite.boshPath),
        ]
    }
}

/// How the server is reached from outside besides HTTP, as far as XEP-0487 has words for it. Whoever is told this asks DNS for nothing: it is all
/// there is, or nothing is said.
package struct PublicPorts: Hashable, Sendable {
    /// IPv4 and IPv6 addresses, at least one.
    package var addresses: [String]
    /// Where clients connect with TLS from the first byte.
    package var clients: [Int]
    /// Where other servers do.
    package var servers: [Int]

    package init(addresses: [String], clients: [Int], servers: [Int]) { (self.addresses, self.clients, self.servers) = (addresses, clients, servers) }
}

extension HostMeta {
    static func document(_ form: Form, _ links: [Link], _ ports: PublicPorts?, _ domain: String) -> ByteBuffer {
        switch form {
        case .xml: xml(links)
        case .json: ports.map { json(links, $0, domain) } ?? json(links)
        }
    }

    /// RFC 6415 §3, an XRD.
    private static func xml(_ links: [Link]) -> ByteBuffer {
        var writer = XMLWriter(ByteBuffer(staticString: "<?xml version='1.0' encoding='utf-8'?>"), contentNamespace: .none)
        writer.element("XRD", .xrd) { writer in
            for link in links { writer.element("Link", .xrd, ["rel": link.relation, "href": link.url]) }
        }
        return writer.buffer
    }

    /// RFC 6415 appendix A, a JRD.
    private static func json(_ links: [Link]) -> ByteBuffer {
        let entries = links.map { "{\"rel\":\(JSONText.quoted($0.relation)),\"href\":\(JSONText.quoted($0.url))}" }
        return ByteBuffer(string: "{\"links\":[\(entries.joined(separator: ","))]}")
    }

    /// The same with all that is said of other ways (XEP-0487 §4). Which of them comes first is only a hint: TLS from the first byte costs a client the
    /// least, BOSH the most.
    private static func json(_ links: [Link], _ ports: PublicPorts, _ domain: String) -> ByteBuffer {
        let addresses = ports.addresses.map(JSONText.quoted).joined(separator: ",")
        let entry = { (relation: String, place: String, priority: Int, name: String) in
            """
            {"rel":\(JSONText.quoted(relation)),\(place),"ips":[\(addresses)],"priority":\(priority),"weight":0,"sni":\(JSONText.quoted(name))}
            """
        }
        var entries = ports.clients.map { entry("urn:xmpp:alt-connections:tls", "\"port\":\($0)", 10, domain) }
        for (index, link) in links.enumerated() {
            entries.append(entry(link.relation, "\"href\":\(JSONText.quoted(link.url))", 20 + 10 * index, link.serverName ?? domain))
        }
        entries += ports.servers.map { entry("urn:xmpp:alt-connections:s2s-tls", "\"port\":\($0)", 10, domain) }
        return ByteBuffer(string: "{\"xmpp\":{\"ttl\":\(lifetime)},\"links\":[\(entries.joined(separator: ","))]}")
    }
}

extension HostMeta.Link {
    /// What a client says in TLS; `nil` where there is an address in place of a name, which is not said there (RFC 6066 §3).
    fileprivate var serverName: String? {
        let authority = url.drop { $0 != "/" }.drop { $0 == "/" }.prefix { $0 != "/" }
        guard let host = WebAuthority(String(authority))?.host, !host.hasPrefix("["), NetworkAddress(host) == nil else { return nil }
        return host
    }
}

extension Namespace {
    /// Extensible Resource Descriptor 1.0.
    static let xrd: Namespace = "http://docs.oasis-open.org/ns/xri/xrd-1.0"
}
