import MartletXMPP
import NIOCore
import NIOHTTP1

/// What can be asked for at a path.
protocol WebResource: Sendable {
    /// Besides `OPTIONS`, and `HEAD` where there is `GET`.
    var methods: [HTTPMethod] { get }
    /// Longest body of a request, in bytes; of `GET`, `HEAD` and `OPTIONS` there is none.
    var bodyBytesMax: Int { get }
    /// Whether scripts of any origin may ask: so with all that is for XMPP clients.
    var isForScripts: Bool { get }
    /// Answers, at once or later, by ``WebConnection/answer(_:)`` or by taking the connection over. On the connection's loop.
    func answer(_ request: WebRequest, on connection: WebConnection)
    /// Takes the body of a request, whose ``WebRequest/body`` is empty, as it comes, and answers; `nil` where the body is to be whole. On the
    /// connection's loop.
    func reader(of request: WebRequest, on connection: WebConnection) -> (any WebBodyReader)?
    /// Fields that scripts of other origins may send along.
    var requestHeaders: String { get }
    /// What browsers may do with an answer (`Content-Security-Policy`).
    var contentPolicy: String { get }
}

extension WebResource {
    func reader(of request: WebRequest, on connection: WebConnection) -> (any WebBodyReader)? { nil }
    var requestHeaders: String { "Content-Type" }
    var contentPolicy: String { WebSite.contentPolicy }
}

extension WebResource {
    var isForScripts: Bool { true }
}

/// A whole request.
struct WebRequest {
    var head: HTTPRequestHead
    /// Of ``head``, without a query.
    var path: String
    /// What `Host` says, in lower case.
    var authority: WebAuthority
    var body: ByteBuffer
    /// Who sent it: the peer of the connection, or whom a proxy that is trusted names.
    var sender: NetworkAddress?
    /// Whether nobody on the way could read it: as this server sees it, or a proxy that is trusted says.
    var isSecure: Bool
}

/// A name and, if it was given, a port (RFC 9110 §7.2).
struct WebAuthority: Hashable, Sendable {
    /// In lower case; an IPv6 address in brackets.
    let host: String
    let port: Int?

    /// Longest name, in bytes: as in DNS.
    static let hostBytesMax = 255

    init?(_ text: String) {
        let (name, rest): (Substring, Substring)
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            (name, rest) = (text[...end], text[text.index(after: end)...])
        } else {
            let end = text.firstIndex(of: ":") ?? text.endIndex
            (name, rest) = (text[..<end], text[end...])
        }
        guard !name.isEmpty, name.utf8.count <= Self.hostBytesMax, name.utf8.allSatisfy(Self.isNameByte) else { return nil }
        host = name.lowercased()
        if rest.isEmpty {
            port = nil
        } else {
            let digits = rest.dropFirst()
            guard rest.first == ":", digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = Int(digits),
                (1...65_535).contains(number)
            else { return nil }
            port = number
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: ":"):
            true
        default: false
        }
    }
}

/// What is answered. Headers that every answer has are added when it is sent.
struct WebAnswer: Sendable {
    var status: HTTPResponseStatus
    var headers: HTTPHeaders
    var body: ByteBuffer

    init(_ status: HTTPResponseStatus, type: String, _ body: ByteBuffer, _ headers: HTTPHeaders = HTTPHeaders()) {
        self.status = status
        self.body = body
        self.headers = headers
        self.headers.replaceOrAdd(name: "Content-Type", value: type)
    }

    /// A line for people.
    init(_ status: HTTPResponseStatus, _ text: String, _ headers: HTTPHeaders = HTTPHeaders()) {
        self.init(status, type: "text/plain; charset=utf-8", ByteBuffer(string: text + "\n"), headers)
    }
}
