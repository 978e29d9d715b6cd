import MartletXML
package import MartletXMPP
package import NIOCore
import Synchronization

/// Requests that wait for their answers and that the server makes in the name of one of its domains, for what its operator wants to know.
///
/// An answer counts as with requests of accounts: only from whom was asked, under an identifier that nobody else can guess, and once.
final class DomainRequests: Sendable {
    /// Requests that wait at a time, of all domains; a further one fails at once.
    static let countMax = 64

    typealias Answered = @Sendable (Stanza?) -> Void

    private struct Pending {
        let domain: BareJID
        let peer: BareJID
        let answered: Answered
    }
    // A few times in a minute, on whatever loop the answer comes in.
    private let pending = Mutex<[String: Pending]>([:])

    /// - Returns: whether there is room for it.
    func begin(_ id: String, by domain: BareJID, of peer: BareJID, _ answered: @escaping Answered) -> Bool {
        pending.withLock { pending in
            guard pending.count < Self.countMax else { return false }
            pending[id] = Pending(domain: domain, peer: peer, answered: answered)
            return true
        }
    }

    /// - Parameter answer: a result; `nil` if there is none.
    /// - Returns: whether it was waited for.
    @discardableResult
    func conclude(_ id: String, by domain: BareJID, from peer: JID, _ answer: Stanza?) -> Bool {
        let found = pending.withLock { pending -> Pending? in
            guard let found = pending[id], found.domain == domain, peer == .bare(found.peer) else { return nil }
            pending[id] = nil
            return found
        }
        found?.answered(answer)
        return found != nil
    }
}

extension Router {
    /// Asks another server's domain something in the name of one of ours.
    ///
    /// - Parameters:
    ///   - content: of a request of type `get`.
    ///   - mailbox: of the loop on which it is asked.
    /// - Returns: the result; `nil` if there is none within ``answerWithin``, or an error.
    package func ask(_ peer: BareJID, by domain: BareJID, _ content: ByteBuffer, on mailbox: LoopMailbox) async -> Stanza? {
        await withCheckedContinuation { continuation in
            mailbox.run { [self] context in
                let id = context.random.token()
                guard !context.hosts.isOurs(peer), domainRequests.begin(id, by: domain, of: peer, { continuation.resume(returning: $0) }) else {
                    return continuation.resume(returning: nil)
                }
                // Where the answer has come there is nothing left to conclude.
                mailbox.loop.scheduleTask(in: Self.answerWithin) { [self] in domainRequests.conclude(id, by: domain, from: .bare(peer), nil) }
                let request = StanzaBuilder.iq(.get, from: .bare(domain), to: .bare(peer), id: id) { $0.raw(content) }
                if case .refused = remote.deliver(request, from: domain, to: peer, context) {
                    domainRequests.conclude(id, by: domain, from: .bare(peer), nil)
                }
                context.runEffects()
            }
        }
    }
}

/// Requests in the name of one of our domains, and what comes for it (``DomainStage``).
extension Router {
    /// Asks a service, of this server or of another. Who asks sees to it that the identifier cannot be guessed, that an answer counts only from whom was
    /// asked, and that none is waited for without end. With no lock held.
    ///
    /// - Parameters:
    ///   - domain: one that has accounts.
    ///   - payload: the one child element.
    /// - Returns: why it is not sent.
    package func request(
        _ kind: IQRequest.Kind, id: String, from domain: BareJID, to address: BareJID, _ payload: ByteBuffer, _ context: LoopContext
    ) -> StanzaError? {
        let type: IQType = kind == .get ? .get : .set
        let encoded = StanzaBuilder.iq(type, from: .bare(domain), to: .bare(address), id: id) { $0.raw(payload) }
        if context.hosts.service(of: address) != nil {
            guard let stanza = Stanza(sent: encoded) else { return .internalServerError }
            _ = iq(stanza, type, to: .bare(address), byPeer: Asker(origin: nil, nil), context)
            return nil
        }
        guard context.hosts.host(of: address) == nil else { return .serviceUnavailable }
        if case .refused(let error) = remote.deliver(encoded, from: domain, to: address, context) { return error }
        return nil
    }

    /// - Returns: whether the domain had expected it. With no lock held.
    func isHeard(_ stanza: Stanza, by host: Host, _ context: LoopContext) -> Bool {
        guard let listening = host.listening, stanza.to == .bare(host.domain) else { return false }
        return listening.heard(stanza, self, context)
    }

    /// What a service of this server has for one of its domains. May be called under a shard's lock.
    func pass(_ encoded: EncodedStanza, to host: Host, _ context: LoopContext) {
        guard host.listening != nil, let stanza = Stanza(sent: encoded) else { return }
        context.after { [self] context in _ = isHeard(stanza, by: host, context) }
    }
}
