import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import NIOHTTP1

/// Where else than over TCP a domain's clients connect (XEP-0156, RFC 6415).
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

    func answer(_ request: WebRequest, on connection: WebConnection) {
        let hosts = connection.loop.context.hosts
        guard let domain = try? BareJID(parsing: request.authority.host), hosts.host(ofDomain: domain.domainpart) != nil else {
            return connection.answer(WebAnswer(.notFound, "no XMPP domain of that name is served here"))
        }
        let body = Self.document(form, Self.links(url ?? Self.url(of: request)))
        connection.answer(WebAnswer(.ok, type: form.type, body, ["Cache-Control": "max-age=3600"]))
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

extension HostMeta {
    static func document(_ form: Form, _ links: [Link]) -> ByteBuffer {
        switch form {
        case .xml: xml(links)
        case .json: json(links)
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
        let entries = links.map { "{\"rel\":\(quoted($0.relation)),\"href\":\(quoted($0.url))}" }
        return ByteBuffer(string: "{\"links\":[\(entries.joined(separator: ","))]}")
    }

    /// A string of JSON (RFC 8259 §7).
    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\u{0}"..."\u{1F}": quoted += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

extension Namespace {
    /// Extensible Resource Descriptor 1.0.
    static let xrd: Namespace = "http://docs.oasis-open.org/ns/xri/xrd-1.0"
}
