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
    func conclude(_ id: String, by domain: BareJID, from peer: JID, _ answer: Stanza?) {
        let found = pending.withLock { pending -> Pending? in
            guard let found = pending[id], found.domain == domain, peer == .bare(found.peer) else { return nil }
            pending[id] = nil
            return found
        }
        found?.answered(answer)
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
