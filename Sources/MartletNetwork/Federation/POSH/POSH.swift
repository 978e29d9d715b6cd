import Crypto
package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

/// Asks the web servers of domains which certificates their XMPP servers have (POSH, RFC 7711), and remembers what they say. The web server's own
/// certificate has to be one that this machine trusts.
package final class POSH: Sendable {
    package typealias Fetch = @Sendable (HTTPRequest) async throws(HTTPFetchError) -> HTTPAnswer

    /// For all that is asked about one domain: so long may somebody have to wait for it.
    package static let deadline = TimeAmount.seconds(3)
    /// How often a web server may send on to another place, for each document.
    package static let redirectsMax = 3

    private struct State {
        var memory = POSHMemory()
        /// Whoever else wants to know waits for the same answer.
        var underWay: [String: Task<Set<[UInt8]>, Never>] = [:]
    }
    // Held for look-ups.
    private let state = NIOLockedValueBox(State())
    private let fetch: Fetch
    private let now: @Sendable () -> NIODeadline

    /// - Parameters:
    ///   - fetch: as ``HTTPFetch`` does it.
    ///   - now: the time, by which answers are forgotten.
    package init(_ fetch: @escaping Fetch, now: @escaping @Sendable () -> NIODeadline = { .now() }) {
        self.fetch = fetch
        self.now = now
    }

    /// Whether the domain says that its server has this certificate. What cannot be found out is not said.
    ///
    /// - Parameter certificate: in DER.
    package func allows(_ certificate: [UInt8], of domain: BareJID) async -> Bool {
        guard domain.addressDomainpart == nil, let name = DNSName(domain.asciiDomainpart) else { return false }
        return await fingerprints(of: name.description).contains(Array(SHA256.hash(data: certificate)))
    }

    private enum Source {
        case memory(Set<[UInt8]>)
        case question(Task<Set<[UInt8]>, Never>)
    }

    private func fingerprints(of domain: String) async -> Set<[UInt8]> {
        let source: Source = state.withLockedValue { state in
            if let known = state.memory.fingerprints(of: domain, now()) { return .memory(known) }
            if let task = state.underWay[domain] { return .question(task) }
            // A task of its own: whoever wanted to know first may have gone when the answer comes.
            let task = Task { await self.ask(domain) }
            state.underWay[domain] = task
            return .question(task)
        }
        switch source {
        case .memory(let known): return known
        case .question(let task): return await task.value
        }
    }

    private func ask(_ domain: String) async -> Set<[UInt8]> {
        let said = await documents(of: domain)
        return state.withLockedValue { state in
            state.memory.remember(said?.fingerprints ?? [], of: domain, expires: said?.expires, now())
            state.underWay[domain] = nil
            return said?.fingerprints ?? []
        }
    }

    /// What a domain says, and for how many seconds; `nil` if it says nothing. What it refers to is no reference again (RFC 7711 §3.2).
    private func documents(of domain: String) async -> (fingerprints: Set<[UInt8]>, expires: Int)? {
        let end = now() + Self.deadline
        guard let place = HTTPURL("https://\(domain)/.well-known/posh/xmpp-server.json"), let document = await document(at: place, until: end)
        else { return nil }
        switch document.content {
        case .fingerprints(let fingerprints): return (fingerprints, document.expires)
        case .reference(let url):
            guard let other = await self.document(at: url, until: end), case .fingerprints(let fingerprints) = other.content else { return nil }
            return (fingerprints, min(document.expires, other.expires))
        }
    }

    private func document(at url: HTTPURL, until end: NIODeadline) async -> POSHDocument? {
        let left = end - now()
        guard left > .nanoseconds(0) else { return nil }
        var request = HTTPRequest(url, bytesMax: POSHDocument.bytesMax, deadline: left)
        request.accept = "application/json"
        request.redirectsMax = Self.redirectsMax
        return (try? await fetch(request)).flatMap { POSHDocument($0.bytes) }
    }
}
