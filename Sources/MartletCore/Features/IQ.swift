package import MartletXML
package import MartletXMPP
package import NIOCore

/// An IQ request on its way to the handler that answers it (RFC 6120 §8.2.3).
package struct IQRequest: Sendable {
    package enum Kind: Hashable, Sendable { case get, set }
    package let kind: Kind
    package let stanza: Stanza
    /// Who asks: as authenticated, never as claimed.
    package let actor: JID
    /// Whose data is asked for: the account in `to`, or the host. Never taken from the actor (`reliability.md` rule 22).
    package let owner: BareJID
    /// The one child element of the request.
    package let child: ElementView
    /// The domain that is asked, or that the owner's account is at; set by the router.
    package var host: Host?
    /// The owner's number, where the owner is an account that exists.
    package var account: AccountID?
    /// Whether who asks has the admin role in the owner's domain.
    package var isByAdmin = false
    /// Whether who asks has come in by the password of an application, and so has no say about who comes in; set by the router.
    package var isByApplication = false
    /// Whether the operator lets who asks do what the owner may (XEP-0356 §4); set by the router.
    package var isForOwner = false
    /// Of the loop on which it is answered; set by the router.
    package var mailbox: LoopMailbox?

    package init(kind: Kind, stanza: Stanza, actor: JID, owner: BareJID, child: ElementView) {
        self.kind = kind
        self.stanza = stanza
        self.actor = actor
        self.owner = owner
        self.child = child
    }

    package var isByOwner: Bool { actor.bare == owner || isForOwner }
}

/// The payload of a result; empty where the protocol wants only the acknowledgement.
package struct IQReply: Hashable, Sendable {
    package var payload: ByteBuffer?
    /// Sent to who asked before the reply: results of a query that come one by one.
    package var before: [EncodedStanza] = []
    package static let empty = IQReply(payload: nil)
    package init(payload: ByteBuffer?) { self.payload = payload }

    /// A result with what `content` writes.
    package init(_ content: (inout XMLWriter) -> Void) {
        var writer = XMLWriter()
        content(&writer)
        payload = writer.buffer
    }

    package func encoded(answering stanza: Stanza) -> EncodedStanza {
        StanzaBuilder.iq(.result, from: stanza.to, to: stanza.from, id: stanza.id ?? "") { writer in
            if let payload { writer.raw(payload) }
        }
    }
}

/// What a handler decided in an account's home. Nothing of it is told to anybody before the writes are on disk (P7).
package struct HomeDecision {
    package var reply: IQReply
    package var writes: [Write]
    /// The change of the roster among the writes: pushed to every interested session, in the order of versions.
    package var rosterChange: RosterChange?
    /// Sent to who asked right behind the reply, before anything else can get between.
    package var pushes: [EncodedStanza]
    /// Told once the writes are on disk: pushes to the account's sessions, stanzas to others. Runs without a lock.
    package var committed: ((Router, LoopContext) -> Void)?

    package init(
        _ reply: IQReply, writes: [Write] = [], rosterChange: RosterChange? = nil, pushes: [EncodedStanza] = [], committed: ((Router, LoopContext) -> Void)? = nil
    ) {
        self.reply = reply
        self.rosterChange = rosterChange
        self.writes = writes
        self.pushes = pushes
        self.committed = committed
    }
}

/// One kind of IQ request and who answers it. Two features that claim the same one stop the server at start.
package struct IQRoute: Sendable {
    /// `ownAccount`: only the account's owner may ask, others get `service-unavailable`, whether the account exists or not.
    /// `account`: anybody may ask, and the handler decides what he learns. `host`: addressed to the domain itself.
    package enum Scope: Hashable, Sendable { case ownAccount, account, host }

    package enum Handler: Sendable {
        /// Switches something in the sender's own session.
        case session(@Sendable (IQRequest, inout SessionEntry) throws(StanzaError) -> IQReply)
        /// Decides in the owner's home, under its shard's lock; the reply waits for the commit of the writes.
        case home(@Sendable (IQRequest, AccountHome, LoopContext) throws(StanzaError) -> HomeDecision)
        /// Answers from the request alone, before the next stanza is looked at.
        case immediate(@Sendable (IQRequest, Host) throws(StanzaError) -> IQReply)
        /// May wait; what the same sender sent later waits too (RFC 6120 §10.1).
        case suspending(@Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply)
        /// May wait, and later stanzas overtake it: for requests that change nothing.
        case concurrent(@Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply)
        /// Answers when it can, from whatever loop, once (``HeldRequest``); later stanzas overtake it. Called with no lock held.
        case held(@Sendable (HeldRequest, LoopContext) -> Void)
        /// One of the others, by what is known of the owner at once. It chooses none of its own kind.
        case chosen(@Sendable (IQRequest) -> Handler)

        func resolved(for request: IQRequest) -> Handler {
            if case .chosen(let choose) = self { return choose(request) }
            return self
        }
    }

    package var kind: IQRequest.Kind
    package var local: StaticString
    package var namespace: Namespace
    package var scope: Scope
    package var handler: Handler

    package static func session(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace,
        _ handler: @escaping @Sendable (IQRequest, inout SessionEntry) throws(StanzaError) -> IQReply
    ) -> IQRoute {
        IQRoute(kind: kind, local: local, namespace: namespace, scope: .ownAccount, handler: .session(handler))
    }

    package static func home(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace, at scope: Scope = .ownAccount,
        _ handler: @escaping @Sendable (IQRequest, AccountHome, LoopContext) throws(StanzaError) -> HomeDecision
    ) -> IQRoute {
        IQRoute(kind: kind, local: local, namespace: namespace, scope: scope, handler: .home(handler))
    }

    package static func immediate(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace, at scope: Scope,
        _ handler: @escaping @Sendable (IQRequest, Host) throws(StanzaError) -> IQReply
    ) -> IQRoute {
        IQRoute(kind: kind, local: local, namespace: namespace, scope: scope, handler: .immediate(handler))
    }

    package static func suspending(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace, at scope: Scope = .ownAccount,
        _ handler: @escaping @Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply
    ) -> IQRoute {
        IQRoute(kind: kind, local: local, namespace: namespace, scope: scope, handler: .suspending(handler))
    }

    package static func held(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace, at scope: Scope,
        _ handler: @escaping @Sendable (HeldRequest, LoopContext) -> Void
    ) -> IQRoute {
        IQRoute(kind: kind, local: local, namespace: namespace, scope: scope, handler: .held(handler))
    }

    package static func concurrent(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace, at scope: Scope = .ownAccount,
        _ handler: @escaping @Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply
    ) -> IQRoute {
        IQRoute(kind: kind, local: local, namespace: namespace, scope: scope, handler: .concurrent(handler))
    }

    package static func chosen(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace, at scope: Scope = .ownAccount,
        _ choose: @escaping @Sendable (IQRequest) -> Handler
    ) -> IQRoute {
        IQRoute(kind: kind, local: local, namespace: namespace, scope: scope, handler: .chosen(choose))
    }
}

package protocol IQResponder: Feature { var routes: [IQRoute] { get } }
