import MartletXML
package import MartletXMPP

/// What answers at a domain that has no accounts, such as rooms (XEP-0045). A ``Host`` with a service is such a domain.
///
/// Each bare address of the domain has its home in a shard, as accounts have. What the service decides there, it decides under the shard's
/// lock: memory only; posts and writes are queued under the lock, which fixes their order, and everything else comes after.
package protocol DomainService: Sendable {
    /// Takes a stanza for one of the domain's addresses, but for requests to the domain itself, which are the features' (``IQResponder``)
    /// unless ``actsAsServer``.
    ///
    /// Called on the loop of whoever sent it, with no lock held. A request is answered, whatever comes of it.
    func receive(_ arrival: Arrival, _ router: Router, _ context: LoopContext) -> Progress

    /// An account of this server goes: what one of the service's addresses has given it ends, so that the account's successor does not have it.
    /// With no lock held.
    ///
    /// - Parameter done: runs once that is submitted, or with `false` if it cannot be.
    func withdraw(
        from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext,
        _ done: @escaping @Sendable (_ isWithdrawn: Bool, LoopContext) -> Void)

    /// The server stops in order: whoever is told of that is told now. Called once, on some loop.
    func stop(_ router: Router, _ context: LoopContext)

    /// Takes what an address of this server has for one of the domain's, where nobody is answered if that cannot be: answers, and what a room
    /// tells its occupants. Memory only: may be called under a shard's lock, which fixes the order.
    ///
    /// - Parameter stanza: with `to`.
    func take(_ stanza: EncodedStanza, to address: JID, _ router: Router, _ context: LoopContext)

    /// Whether it answers for the domain itself as well, and is to the rest of the server what another server is.
    var actsAsServer: Bool { get }
}

extension DomainService {
    package func take(_ stanza: EncodedStanza, to address: JID, _ router: Router, _ context: LoopContext) {}
    package var actsAsServer: Bool { false }
}

/// A stanza that has come for a service.
package struct Arrival: Sendable {
    package let stanza: Stanza
    /// The sender: a session, or anything that another server vouches for.
    package var from: JID { stanza.from }
    package let to: JID
    /// The session that sent it, if it is one of this server's.
    package let origin: SessionRef?
    package let completion: Completion?
    /// Where the sender's stream stands with it, if that can be resumed.
    package var position: StreamPosition?
    /// Whether the sender has the admin role in the domain of the service, as far as that is known on the way here.
    package var isByAdmin = false

    package init(_ stanza: Stanza, to: JID, origin: SessionRef?, _ completion: Completion? = nil) {
        self.stanza = stanza
        self.to = to
        self.origin = origin
        self.completion = completion
    }
}

/// The state of one address of a service that is in use. Touched with its shard's lock held only.
package protocol ServiceHome: AnyObject {
    var address: BareJID { get }
    /// Whether it may leave memory: nobody needs it, and everything that it wrote is on disk.
    func isIdle(settled: CommitTicket) -> Bool
}
