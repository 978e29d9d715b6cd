package import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore
import NIOHTTP1

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Looks at what a domain of this server's own offers by HTTP, as a client does that knows nothing but the domain: host-meta, what that names, and
/// where files are uploaded. What clients believe in TLS is what this machine believes.
package struct WebCheckup: Sendable {
    /// What is looked at.
    package struct Subject: Hashable, Sendable {
        /// In ASCII.
        package var domain: String
        /// Where the server's own listeners should be reached: URLs without a slash at the end.
        package var places: [String]
        /// Where files are; `nil` if none are taken.
        package var uploads: String?

        package init(domain: String, places: [String], uploads: String?) { (self.domain, self.places, self.uploads) = (domain, places, uploads) }
    }

    /// For each question.
    package static let deadline = TimeAmount.seconds(10)
    /// Longest host-meta.json that is looked at, in bytes, and most places in it.
    package static let bytesMax = 65_536
    package static let linksMax = 16

    private let fetch: HTTPFetch
    private let subject: Subject
    private let random: any RandomSource
    private let began = NIODeadline.now()
    private let tell: @Sendable (DiagnosisStep) -> Void

    package init(_ fetch: HTTPFetch, _ subject: Subject, random: any RandomSource = SystemRandom(), _ tell: @escaping @Sendable (DiagnosisStep) -> Void) {
        self.fetch = fetch
        self.subject = subject
        self.random = random
        self.tell = tell
    }

    /// - Returns: whether everything that is named answers.
    package func run() async -> Bool {
        var (isWell, links) = (true, await discovered())
        for place in subject.places {
            guard let found = await hostMeta(of: place) else {
                isWell = false
                continue
            }
            links += found
        }
        var seen: Set<WebLink> = []
        for link in links where seen.insert(link).inserted {
            if await !answers(link) { isWell = false }
        }
        if let uploads = subject.uploads, await !takesFiles(uploads) { isWell = false }
        return isWell
    }

    // MARK: What is said

    private func say(_ topic: DiagnosisStep.Topic, _ verdict: DiagnosisStep.Verdict, _ text: String) {
        tell(DiagnosisStep(topic, verdict, text, milliseconds: (NIODeadline.now() - began).nanoseconds / 1_000_000))
    }

    private func isBad(_ topic: DiagnosisStep.Topic, _ place: String, _ why: String, advice: String) -> Bool {
        say(topic, .bad, "\(place): \(why)")
        say(.advice, .bad, advice)
        return false
    }

    private func isBad(_ topic: DiagnosisStep.Topic, _ url: HTTPURL, _ error: HTTPFetchError) -> Bool {
        isBad(topic, url.description, error.description, advice: error.advice(about: url))
    }

    // MARK: host-meta

    /// What clients find that ask where all clients do (XEP-0156 §3). That there is nothing is no fault: who is told the address needs none of it.
    private func discovered() async -> [WebLink] {
        guard let url = HTTPURL("https://\(subject.domain)\(HostMeta.Form.json.path)") else { return [] }
        do throws(HTTPFetchError) {
            let links = try await links(at: url)
            say(.web, links.isEmpty ? .neutral : .good, "\(url): names \(links.count) \(links.count == 1 ? "place" : "places")")
            return links
        } catch {
            say(.web, .neutral, "\(url): \(error)")
            let paths = "\(HostMeta.Form.json.path) and \(HostMeta.Form.xml.path)"
            say(.advice, .neutral, "browsers that know the domain only look there: listen on port 443, or have the domain's web server pass \(paths) on")
            return []
        }
    }

    /// What a listener of ours says; `nil` after saying what is wrong.
    private func hostMeta(of place: String) async -> [WebLink]? {
        guard let url = HTTPURL("\(place)\(HostMeta.Form.json.path)") else {
            _ = isBad(.web, place, "this is no address", advice: "correct web.url")
            return nil
        }
        do throws(HTTPFetchError) {
            let links = try await links(at: url)
            say(.certificate, .good, "\(place): this machine trusts the certificate that is shown")
            say(.web, .good, "\(url): names \(links.count) places")
            return links
        } catch {
            _ = isBad(.web, url, error)
            return nil
        }
    }

    private func links(at url: HTTPURL) async throws(HTTPFetchError) -> [WebLink] {
        var request = HTTPRequest(url, bytesMax: Self.bytesMax, deadline: Self.deadline)
        request.redirectsMax = 3
        guard let links = WebLink.links(in: try await fetch.answer(to: request).bytes) else { throw .broken("what came is no host-meta.json") }
        return Array(links.prefix(Self.linksMax))
    }

    // MARK: What it names

    private func answers(_ link: WebLink) async -> Bool {
        do throws(HTTPFetchError) {
            switch link {
            case .webSocket(let url): return try await opens(url)
            case .bosh(let url): return try await speaksBOSH(url)
            }
        } catch {
            return isBad(.web, link.url, error)
        }
    }

    /// Shakes hands (RFC 6455 §4.1, RFC 7395 §3.1), and leaves.
    private func opens(_ url: HTTPURL) async throws(HTTPFetchError) -> Bool {
        let key = Base64.encode(random.bytes(16))
        var request = HTTPRequest(url, bytesMax: Self.bytesMax, deadline: Self.deadline)
        request.fields = [
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Protocol": WebSocketFraming.subprotocol,
        ]
        let head = try await fetch.otherAnswer(to: request)
        let isOpen = head?.status == .switchingProtocols && head?.headers.first(name: "Sec-WebSocket-Accept") == WebSocketResource.accept(key)
            && head?.headers.first(name: "Sec-WebSocket-Protocol") == WebSocketFraming.subprotocol
        guard isOpen else {
            let why = head.map { "no WebSocket for XMPP: it answered with status \($0.status.code)" } ?? "there is something else than a WebSocket"
            return isBad(.web, url.description, why, advice: Self.elsewhere(WebSite.webSocketPath))
        }
        say(.web, .good, "\(url): opens a WebSocket")
        return true
    }

    /// Asks for a session that is not there, which is answered at once and leaves nothing behind (XEP-0124 §17.2).
    private func speaksBOSH(_ url: HTTPURL) async throws(HTTPFetchError) -> Bool {
        let body = Array("<body rid='1' sid='none' xmlns='http://jabber.org/protocol/httpbind'/>".utf8)
        let request = HTTPRequest(url, .post(body, type: "text/xml; charset=utf-8"), bytesMax: Self.bytesMax, deadline: Self.deadline)
        let answer = try await fetch.answer(to: request)
        let element = try? parseElement(ByteBuffer(bytes: answer.bytes), limits: .unauthenticated)
        guard element?.root.localName == "body", element?.root.attribute("type") == "terminate" else {
            return isBad(.web, url.description, "what answers there is not BOSH", advice: Self.elsewhere(WebSite.boshPath))
        }
        say(.web, .good, "\(url): speaks BOSH")
        return true
    }

    /// Asks for a file that is not there: whoever says so in the way of this server takes files as well.
    private func takesFiles(_ place: String) async -> Bool {
        let path = UploadPath.path(String(repeating: "0", count: 32), label: "none")
        guard let url = HTTPURL(place + path) else { return isBad(.web, place, "this is no address", advice: "correct web.url") }
        do throws(HTTPFetchError) {
            let head = try await fetch.otherAnswer(to: HTTPRequest(url, bytesMax: Self.bytesMax, deadline: Self.deadline))
            let isOurs = head?.status == .notFound && head?.headers.first(name: "Content-Security-Policy")?.contains("sandbox") == true
            guard isOurs else {
                let why = head.map { "it answered with status \($0.status.code), as this server does not" } ?? "something else is there"
                return isBad(.web, "\(place)\(UploadPath.prefix)", why, advice: Self.elsewhere(UploadPath.prefix))
            }
            say(.web, .good, "\(place)\(UploadPath.prefix): takes files")
            return true
        } catch {
            return isBad(.web, url, error)
        }
    }

    private static func elsewhere(_ path: String) -> String {
        "see that \(path) leads to a listener of this server's of kind https or http, and that a proxy before it passes on what it should (web.url)"
    }
}

/// A way to the server that host-meta.json names.
enum WebLink: Hashable {
    case webSocket(HTTPURL)
    case bosh(HTTPURL)

    var url: HTTPURL {
        switch self {
        case .webSocket(let url), .bosh(let url): url
        }
    }

    /// As it is in JSON (RFC 6415 appendix A). What else there is is left alone.
    private struct Written: Decodable {
        struct Link: Decodable {
            var rel: String?
            var href: String?
        }
        var links: [Link]?
    }

    /// Those over TLS; `nil` if the bytes are no such document.
    static func links(in bytes: [UInt8]) -> [WebLink]? {
        guard let links = try? JSONDecoder().decode(Written.self, from: Data(bytes)).links else { return nil }
        return links.compactMap { link in
            switch link.rel {
            case "urn:xmpp:alt-connections:websocket":
                guard let href = link.href, href.hasPrefix("wss://") else { return nil }
                return HTTPURL("https" + href.dropFirst("wss".count)).map { .webSocket($0) }
            case "urn:xmpp:alt-connections:xbosh":
                guard let href = link.href, href.hasPrefix("https://") else { return nil }
                return HTTPURL(href).map { .bosh($0) }
            default: return nil
            }
        }
    }
}

extension HTTPFetchError {
    /// What to do about a place of ours that cannot be asked.
    fileprivate func advice(about url: HTTPURL) -> String {
        switch self {
        case .insecure:
            "give the domain a certificate of an authority that clients trust, for the name \(url.authority), with the intermediate ones (domains: certificate and key), and reload"
        case .unreachable, .notConnected, .timedOut:
            "let connections from outside through to port \(url.port), and have this server, or a proxy before it, listen there (listeners, web.url)"
        case .notAllowed, .broken, .status, .tooLong, .redirected, .downgraded:
            "see that what answers there is this server, or a proxy that passes this path on to it (web.url), and what its log says"
        }
    }
}
