package import MartletXML
package import MartletXMPP
package import NIOCore

/// One account's view of one stanza. A message between two local users passes twice: sent, then received.
package struct Route: Sendable {
    package enum Direction: Hashable, Sendable { case sent, received }
    package let account: BareJID
    package let direction: Direction
    /// The session that sent the stanza, if it is one of ours.
    package let origin: SessionRef?
    /// The address of the other party.
    package let peer: JID

    package init(account: BareJID, direction: Direction, origin: SessionRef?, peer: JID) {
        self.account = account
        self.direction = direction
        self.origin = origin
        self.peer = peer
    }
}

package enum Verdict: Hashable, Sendable { case pass, drop, bounce(StanzaError) }

/// May refuse a stanza of any kind. Sees it and the account's state, cannot change them, cannot fail: refusing is the only
/// other outcome.
package protocol ScreeningStage: Feature {
    /// Whether there is anything to refuse by, as the domain is configured: who never does is not asked, which saves 250 instructions for each that
    /// is asked of.
    var isScreening: Bool { get }
    func screen(_ stanza: borrowing Stanza, _ home: AccountHome, _ route: borrowing Route) -> Verdict
}

extension ScreeningStage {
    package var isScreening: Bool { true }
}

/// Corrects marks that only we may make, such as a forged `<stanza-id/>` (`reliability.md` rule 19).
package protocol AnnotatingStage: Feature {
    /// As a message enters an account.
    func annotate(_ message: inout Stanza, _ route: borrowing Route)
    /// As a presence enters the server, once for all whom it reaches: nothing in it may be in the name of one of our domains.
    func annotate(_ presence: inout Stanza, of hosts: HostTable)
}

/// Adds to an available presence what the account has to say besides its client.
package protocol PresentingStage: Feature {
    /// Under the lock of the account's shard.
    func present(_ presence: inout Stanza, _ home: AccountHome)
}

/// Sessions of one account, by their place in ``AccountHome/sessions``; an account has at most 64.
package struct SessionSet: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(_ index: Int) { rawValue = index < 64 ? 1 << UInt64(index) : 0 }
    package func contains(index: Int) -> Bool { contains(SessionSet(index)) }
}

/// Adds sessions of the same account that also get a message, wrapped in something.
package protocol FanOutStage: Feature {
    /// - Parameter recipients: who gets the message itself already.
    func copies(of message: borrowing Stanza, _ home: AccountHome, _ route: borrowing Route, besides recipients: SessionSet) -> SessionSet
    func encodeCopy(of message: borrowing Stanza, for session: borrowing SessionEntry, _ route: borrowing Route) -> EncodedStanza
}

/// Takes away, as a message leaves the account, what the other side must not see.
package protocol RedactingStage: Feature {
    func redact(_ message: inout Stanza, _ route: borrowing Route)
}

/// What becomes of a message that no session of the account takes (RFC 6121 §8.5.2.2).
package enum FallBack: Hashable, Sendable { case keep, refuse(StanzaError), ignore }

package protocol FallBackStage: Feature {
    /// Whether the message would be kept if there were nobody to take it, and room for it.
    func isWorthKeeping(_ message: borrowing Stanza) -> Bool
    func fallBack(_ message: borrowing Stanza, _ home: AccountHome, _ limits: HostLimits) -> FallBack
}

/// Writes an account's own name for a message, to be added to the message (XEP-0359).
package protocol NamingStage: Feature {
    func name(_ id: UInt64, by account: BareJID, to writer: inout XMLWriter)
}

/// Says which messages an account's archive keeps (XEP-0313). A domain has one, or no archives.
package protocol ArchivingStage: Feature {
    /// Whether somebody may want to read the message again, whoever it is between.
    func isWorthArchiving(_ message: borrowing Stanza) -> Bool
    /// Whether the account wants what it exchanges with `peer` kept.
    func archives(with peer: JID, _ home: AccountHome) -> Bool
    /// What an account is told of its archive as it logs in (XEP-0313 §5): an element that declares its namespace.
    ///
    /// - Parameter view: what has come later is not told of.
    func metadata(of account: AccountID, upTo view: UInt64, _ router: Router) async throws(StoreError) -> ByteBuffer?
}

/// Takes up something that a client asks for inside its log-in (XEP-0388, XEP-0386).
package protocol InlineStage: Feature {
    /// Adds what can be asked for.
    func offer(_ offer: inout InlineOffer)
    /// Does what a client asks for, if that is this stage's, as its session begins. On the session's loop, with no lock held; nothing has been
    /// sent to the client yet.
    ///
    /// - Returns: what the client is told of it: an element that declares its namespace.
    func begin(_ request: ElementView, _ session: ClientSession) -> ByteBuffer?
}

/// Marks a message that comes from the log with when the server took it (XEP-0203).
package protocol DelayStage: Feature {
    func delay(_ message: inout Stanza, by address: BareJID, since milliseconds: Int64)
}

/// Answers those who have no account yet (XEP-0077, XEP-0445, XEP-0401). A domain has one at most.
///
/// How often somebody may ask is the connection's affair, and so is that no client is heard before log-in unless ``takesStrangers``.
package protocol RegisteringStage: Feature {
    /// Whether clients are heard that have not logged in.
    var takesStrangers: Bool { get }
    /// Adds to the stream features that a client sees before authentication.
    func writeOffer(to writer: inout XMLWriter)
    /// - Parameter mailbox: of any loop.
    func answer(_ request: StrangersRequest, _ router: Router, on mailbox: LoopMailbox) async -> RegistrationAnswer
    /// What whoever has a token is invited to, at whatever domain it is; `nil` if it is none, or its time is over.
    func offer(of token: String, _ router: Router) async throws(StoreError) -> InvitationOffer?
    /// Makes an account for whoever has a token.
    ///
    /// - Parameters:
    ///   - ways: by which it could log in.
    ///   - remoteAddress: for the record.
    func register(
        _ name: String, _ password: String, by token: String, at domain: BareJID, _ ways: WaysIn, from remoteAddress: String, _ router: Router,
        on mailbox: LoopMailbox
    ) async -> RegistrationAnswer
}

/// What somebody is invited to (XEP-0401).
package struct InvitationOffer: Hashable, Sendable {
    package let domain: BareJID
    /// Whose contact he becomes.
    package let inviter: BareJID?
    /// The name that his account will have; `nil` lets him choose.
    package let localpart: String?
    package let makesAccounts: Bool
    /// What his client does with the token.
    package let uri: String

    package init(domain: BareJID, inviter: BareJID?, localpart: String?, makesAccounts: Bool, uri: String) {
        self.domain = domain
        self.inviter = inviter
        self.localpart = localpart
        self.makesAccounts = makesAccounts
        self.uri = uri
    }
}

/// A request of a client that has not logged in.
package struct StrangersRequest: Sendable {
    package let kind: IQRequest.Kind
    /// The whole stanza.
    package let element: FlatElement
    /// The domain of ours that the stream was opened for.
    package let domain: BareJID
    /// What has let the client in before, on the same stream (XEP-0445).
    package let token: String?
    /// By what an account of his could log in.
    package let ways: WaysIn
    /// Where it comes from, for the record.
    package let remoteAddress: String

    package init(
        _ kind: IQRequest.Kind, _ element: FlatElement, at domain: BareJID, token: String? = nil, by ways: WaysIn, from remoteAddress: String
    ) {
        self.kind = kind
        self.ways = ways
        self.element = element
        self.domain = domain
        self.token = token
        self.remoteAddress = remoteAddress
    }
}

/// Hears messages that come for a domain itself, such as events of nodes that it has subscribed to. A domain has one at most.
package protocol DomainStage: Feature {
    /// With no lock held. The sender is who it says it is; whatever else it says is not believed yet.
    ///
    /// - Returns: whether it was expected. What was not is answered as where nobody is.
    func heard(_ message: Stanza, _ router: Router, _ context: LoopContext) -> Bool
}

/// Looks on as messages and requests for subscriptions come for an account, and may have somebody told, such as to wake a device that has no connection.
///
/// Only accounts that have the stage's document are looked at; for the others it costs nothing. All is called under the lock of the
/// account's shard: memory only. What comes of it is returned, and done by the router.
package protocol ObservingStage: RequestingStage {
    /// What an account has that is to be looked at (``DocumentKey/resident``).
    var document: DocumentKey { get }

    /// A message has come for the account, and it is decided which sessions get it.
    ///
    /// - Parameter isLogged: whether the account can have it later, from its archive or as a message that waits.
    func arrived(_ message: borrowing Stanza, isLogged: Bool, at home: AccountHome, _ context: LoopContext) -> Consequences
    /// A session has lost its connection, whether it ended with that or not, and its client has not acknowledged these messages of the
    /// log. They are as they were sent to it, in order, and may be copies of what another session got.
    func unacknowledged(_ messages: [Stanza], by session: FullJID, at home: AccountHome, _ context: LoopContext) -> Consequences
    /// Somebody asks for a subscription to the account's presence (RFC 6121 §3.1.3), and that waits in its roster for an answer.
    func asked(at home: AccountHome, _ context: LoopContext) -> Consequences
}

/// Has accounts ask something, and hears what comes of it.
package protocol RequestingStage: Feature {
    /// A request of the stage is answered, or will not be. Under the lock of the account's shard.
    ///
    /// - Parameter answer: the child of a result, if it has one.
    func answered(
        _ request: OwnRequest, _ outcome: RequestOutcome, _ answer: ElementView?, at home: AccountHome, _ context: LoopContext
    ) -> Consequences
}

/// Looks on as clients say in their presence what they are able to do and want to hear of (XEP-0115, XEP-0163).
///
/// All is called under the lock of the account's shard: memory only.
package protocol InterestStage: RequestingStage {
    /// Whether a presence says anything of the kind.
    func concerns(_ presence: borrowing Stanza) -> Bool
    /// A session of the account's has broadcast its presence: it is that of `home.sessions[index]`.
    func announced(by index: Int, at home: AccountHome, _ context: LoopContext) -> Consequences
    /// A session of another server's has told the account that it is there. The account's own sessions may all be away.
    func heard(_ presence: borrowing Stanza, of address: FullJID, at home: AccountHome, _ context: LoopContext) -> Consequences
}

/// Knows contacts again that have moved to another address (XEP-0283).
package protocol MovingStage: Feature {
    /// The address that whoever asks for a subscription says to have had before; `nil` if it says nothing of the kind.
    func formerAddress(in request: borrowing Stanza) -> BareJID?
    /// What the former address is asked.
    func question() -> ByteBuffer
    /// Whether the former address says that `address` is its owner's new one.
    ///
    /// - Parameter answer: what came of ``question()``, with the stanza around it.
    func isConfirmed(_ outcome: RequestOutcome, _ answer: ElementView?, as address: BareJID) -> Bool
}

/// Says something to those who come (XEP-0133).
package protocol GreetingStage: Feature {
    /// A session of the account's takes messages from now on. Under the lock of the account's shard: memory only.
    func greeting(for home: AccountHome, _ router: Router, _ context: LoopContext) -> Greeting
}

/// What an account is told at its session, or at all of them.
package struct Greeting: Sendable {
    package var messages: [EncodedStanza]
    /// That it was told; what is in memory already.
    package var writes: [Write]
    package init(messages: [EncodedStanza] = [], writes: [Write] = []) {
        self.messages = messages
        self.writes = writes
    }
}

/// Tells of what an account has published (XEP-0163).
///
/// All is called under the lock of the account's shard, memory only, unless it says otherwise.
package protocol EventingStage: Feature {
    /// It is known of a client that it wants to hear of these nodes, and was not known before.
    func wish(_ wish: NodeWish, at home: AccountHome, _ router: Router, _ context: LoopContext)
    /// The account has come into memory.
    func loaded(_ home: AccountHome, _ router: Router, _ context: LoopContext)
    /// Somebody may see the account's presence from now on.
    func admitted(_ contact: BareJID, at home: AccountHome, _ router: Router, _ context: LoopContext)
    /// Somebody may see it no longer.
    func dismissed(_ contact: BareJID, at home: AccountHome, _ router: Router, _ context: LoopContext)
    /// Whether a message of the account to itself answers who may subscribe (XEP-0060 §8.6).
    func isDecision(_ message: borrowing Stanza) -> Bool
    /// Such a message. Its completion is used. With no lock held.
    func decide(_ arrival: Arrival, _ router: Router, _ context: LoopContext)
    /// An account of this server goes: what nodes of another have given it ends. With no lock held.
    ///
    /// - Parameter done: runs once that is submitted, or with `false` if it cannot be.
    func withdraw(
        from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext,
        _ done: @escaping @Sendable (_ isWithdrawn: Bool, LoopContext) -> Void)
}

/// A client wants to hear of nodes (XEP-0163 §4.2).
package struct NodeWish: Sendable {
    package let nodes: Set<String>
    package let address: FullJID
    /// If it is one of the account's own; then it wants to hear of the account's contacts as well. Else it is another server's.
    package let session: SessionRef?
    package init(_ nodes: Set<String>, _ address: FullJID, _ session: SessionRef?) {
        self.nodes = nodes
        self.address = address
        self.session = session
    }
}

/// What comes of something that a stage has seen.
package struct Consequences: Sendable {
    /// Sent once no lock is held.
    package var requests: [OwnRequest]
    /// What is in memory already.
    package var writes: [Write]
    package var wishes: [NodeWish]
    package init(requests: [OwnRequest] = [], writes: [Write] = [], wishes: [NodeWish] = []) {
        self.requests = requests
        self.writes = writes
        self.wishes = wishes
    }
}
