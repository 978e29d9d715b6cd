import NIOConcurrencyHelpers
package import NIOCore
package import NIOHTTP1
package import NIOSSL

/// What is to be fetched, and how much of the server's time and memory it may take.
package struct HTTPRequest: Hashable, Sendable {
    package enum Method: Hashable, Sendable {
        case get
        /// With that content, of that media type.
        case post([UInt8], type: String)
    }

    package var url: HTTPURL
    package var method: Method
    /// Media types that are asked for (RFC 9110 §12.5.1).
    package var accept = "*/*"
    /// Further fields, or others than are usual.
    package var fields: [String: String] = [:]
    /// Longest content of an answer, in bytes.
    package var bytesMax: Int
    /// For all of it: names, connections, redirects, and the last byte of the answer.
    package var deadline: TimeAmount
    /// How often an answer may send on to another place. What is posted is not sent on.
    package var redirectsMax = 0

    package init(_ url: HTTPURL, _ method: Method = .get, bytesMax: Int, deadline: TimeAmount) {
        (self.url, self.method, self.bytesMax, self.deadline) = (url, method, bytesMax, deadline)
    }
}

/// What was fetched: the content of an answer with status 200.
package struct HTTPAnswer: Hashable, Sendable {
    /// The last one, where there were redirects.
    package let url: HTTPURL
    /// The media type as it was given (RFC 9110 §8.3).
    package let type: String?
    package let bytes: [UInt8]

    package init(url: HTTPURL, type: String?, bytes: [UInt8]) { (self.url, self.type, self.bytes) = (url, type, bytes) }
}

/// A whole answer, whatever its status.
package struct HTTPResponse: Sendable {
    package let status: Int
    package let headers: HTTPHeaders
    package let bytes: [UInt8]
}

/// Why something was not fetched, in words for operators.
package enum HTTPFetchError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The host is none of those that may be asked.
    case notAllowed(HTTPURL)
    case unreachable(DialError)
    /// The same of a host that the operator has named; in words.
    case notConnected(String)
    /// TLS was in the way; the library's words, or ours.
    case insecure(String)
    /// The connection broke, or what came is not HTTP.
    case broken(String)
    case status(Int)
    /// Bytes that would have been taken.
    case tooLong(Int)
    /// To where; `nil` if that is not said, or cannot be understood. There have been too many redirects, or there may be none.
    case redirected(HTTPURL?)
    /// From an encrypted connection to one in the clear.
    case downgraded(HTTPURL)
    case timedOut(TimeAmount)

    package var description: String {
        switch self {
        case .notAllowed(let url): "\(url): nothing may be fetched from there"
        case .unreachable(let error): error.failures.isEmpty ? "it could not be reached" : error.failures.map(\.description).joined(separator: "; ")
        case .notConnected(let why): "it could not be reached: \(why)"
        case .insecure(let why): "no TLS: \(why)"
        case .broken(let why): "the connection broke: \(why)"
        case .status(let status): "it answered with status \(status)"
        case .tooLong(let bytesMax): "its answer is longer than \(bytesMax) bytes"
        case .redirected(let url): "it sends on to \(url.map(\.description) ?? "nowhere"), where it is not followed"
        case .downgraded(let url): "it sends on to \(url), which is not encrypted"
        case .timedOut(let deadline): "no answer within \(deadline.nanoseconds / 1_000_000) ms"
        }
    }
}

/// Fetches small things over HTTP/1.1 that other people name: each with a connection of its own, to addresses that may be dialled, within one
/// deadline and so many bytes.
package struct HTTPFetch: Sendable {
    /// Longest head of an answer, in bytes.
    package static let headBytesMax = 65_536

    let dialler: Dialler
    private let group: any EventLoopGroup
    /// Hosts that may be asked, and all below them; empty: all may.
    private let hosts: Set<DNSName>
    private let tls: ClientContext

    /// - Parameters:
    ///   - dialler: with the policy that says which addresses may be dialled.
    ///   - hosts: those that may be asked, and all below them. Empty: all may.
    ///   - trustRoots: who is believed about hosts that are asked over `https:`.
    package init(_ dialler: Dialler, on group: any EventLoopGroup, hosts: Set<DNSName> = [], trustRoots: NIOSSLTrustRoots = .default) {
        self.dialler = dialler
        self.group = group
        self.hosts = hosts
        tls = ClientContext(trustRoots)
    }

    /// The same, from these hosts only.
    package func restricted(to hosts: Set<DNSName>) -> HTTPFetch { HTTPFetch(self, hosts) }

    private init(_ other: HTTPFetch, _ hosts: Set<DNSName>) {
        (dialler, group, tls) = (other.dialler, other.group, other.tls)
        self.hosts = hosts
    }

    /// Whether the URL's host is one of those that may be asked. Whether its address may be dialled is another question.
    package func mayAsk(_ url: HTTPURL) -> Bool {
        guard !hosts.isEmpty else { return true }
        guard case .name(let name) = url.host else { return false }
        return hosts.contains { name == $0 || name.description.hasSuffix(".\($0)") }
    }

    /// Fetches. Whoever does not want to wait so long waits less; the fetch itself goes on to its deadline.
    package func answer(to request: HTTPRequest) async throws(HTTPFetchError) -> HTTPAnswer {
        let end = NIODeadline.now() + request.deadline
        var request = request
        while true {
            guard mayAsk(request.url) else { throw .notAllowed(request.url) }
            switch try await exchange(request, until: end) {
            case .answer(let answer): return answer
            case .redirect(let url):
                guard let url, request.redirectsMax > 0, request.method == .get else { throw .redirected(url) }
                if request.url.scheme == .https, url.scheme == .http { throw .downgraded(url) }
                request.url = url
                request.redirectsMax -= 1
            case .other(let head), .whole(let head, _): throw .status(Int(head.status.code))
            }
        }
    }

    /// The head of an answer that is neither a content nor a redirect, such as a refusal; `nil` if it is one of these.
    func otherAnswer(to request: HTTPRequest) async throws(HTTPFetchError) -> HTTPResponseHead? {
        guard mayAsk(request.url) else { throw .notAllowed(request.url) }
        guard case .other(let head) = try await exchange(request, until: NIODeadline.now() + request.deadline) else { return nil }
        return head
    }

    /// An answer as it comes, with its content: for protocols that say more than what is asked for. Redirects are answers like others.
    package func response(to request: HTTPRequest) async throws(HTTPFetchError) -> HTTPResponse {
        guard mayAsk(request.url) else { throw .notAllowed(request.url) }
        let end = NIODeadline.now() + request.deadline
        guard case .whole(let head, let bytes) = try await exchange(request, until: end, isWhole: true) else { throw .broken("what came is no answer") }
        return HTTPResponse(status: Int(head.status.code), headers: head.headers, bytes: bytes)
    }

    private func exchange(
        _ request: HTTPRequest, until end: NIODeadline, isWhole: Bool = false
    ) async throws(HTTPFetchError) -> HTTPExchange.Outcome {
        let context = request.url.scheme == .https ? try tls.context() : nil
        let (loop, dialler) = (group.next(), dialler)
        do {
            return try await loop.flatSubmit { HTTPExchange.begin(request, isWhole: isWhole, dialler, context, on: loop, until: end) }.get()
        } catch {
            throw error as? HTTPFetchError ?? .broken("\(error)")
        }
    }
}

/// What a client needs for TLS. Reading the system's authorities takes a while, and most never need them.
final class ClientContext: Sendable {
    private let trustRoots: NIOSSLTrustRoots
    // Held while it is made: the others would have to wait anyway.
    private let made = NIOLockedValueBox<NIOSSLContext?>(nil)

    init(_ trustRoots: NIOSSLTrustRoots) { self.trustRoots = trustRoots }

    func context() throws(HTTPFetchError) -> NIOSSLContext {
        do {
            return try made.withLockedValue { made in
                if let made { return made }
                var configuration = TLSConfiguration.makeClientConfiguration()
                configuration.minimumTLSVersion = .tlsv12
                configuration.verifySignatureAlgorithms = TLSProfile.signatures
                configuration.trustRoots = trustRoots
                configuration.applicationProtocols = ["http/1.1"]
                let context = try NIOSSLContext(configuration: configuration)
                made = context
                return context
            }
        } catch {
            throw .insecure("\(error)")
        }
    }
}
