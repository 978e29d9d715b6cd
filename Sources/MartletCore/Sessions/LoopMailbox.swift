package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore
import Synchronization

/// What one loop asks of another.
package enum Post: Sendable {
    /// `view`: under which the message log has it for the account to take delivery of; 0 for what is not there, or one of the two below.
    case deliver(EncodedStanza, to: SessionRef, view: UInt64)
    /// A message that was read from the log.
    case deliverStored(EncodedStanza, to: SessionRef, view: UInt64)
    /// One stanza to many sessions, such as the occupants of a room (XEP-0045): nobody keeps it for them.
    case deliverShared(SharedStanza, to: [SessionRef])
    /// Many stanzas to one session, such as the presence of a room's occupants.
    case deliverAll([SharedStanza], to: SessionRef)
    case end(SessionRef, StreamError)
    /// Everything the store took up to a ticket is settled; look at what waits for it.
    case settled
    case complete(Completion, CommitTicket)
    /// The same, to a session that has taken over from the one that the stanza came from.
    case completeInherited(Completion, CommitTicket, SessionRef)
    /// A stanza to another server, to where the stream to it lives.
    case forward(PeerQueue.Item, to: any RemoteLink)
    /// For what is rare: loads, the control plane.
    case run(@Sendable (LoopContext) -> Void)

    /// An archive keeps it, and nobody waits for it.
    static let archivedOnly = UInt64.max
    /// Nobody keeps it, and another session of the account has it as well: whoever loses it is not given it again.
    static let shared = UInt64.max - 1

    /// Whether the message log keeps it until it is delivered.
    static func awaitsDelivery(_ view: UInt64) -> Bool { view != 0 && view < shared }
    /// Whether nobody keeps it.
    static func isUnkept(_ view: UInt64) -> Bool { view == 0 || view == shared }
}

/// What other threads have for one event loop. One wake-up per batch, however many posts.
///
/// A loop posts to its own sessions through its own mailbox too, so that nothing overtakes.
package final class LoopMailbox: @unchecked Sendable {
    package let loop: any EventLoop
    private let lock = NIOLock()
    // The lock is what keeps it exclusive.
    @exclusivity(unchecked) private var waiting: [Post] = []
    /// Bytes of stanzas that wait.
    @exclusivity(unchecked) private var waitingBytes = 0
    /// Bytes of stanzas that may wait before the loops that post here read no more from their clients, see ``LoopContext/isCongested``.
    package static let waitingBytesMax = 16 * 1024 * 1024
    /// Set once before the loop serves anything; used on the loop only.
    private unowned var context: LoopContext?

    package init(loop: any EventLoop) { self.loop = loop }

    func attach(_ context: LoopContext) { self.context = context }

    /// - Returns: whether the mailbox was empty: then whoever posts sees to it that the loop is woken; and bytes of stanzas that wait.
    func post(_ post: Post) -> (wasEmpty: Bool, waitingBytes: Int) {
        let bytes = post.byteCount
        return lock.withLock {
            waiting.append(post)
            waitingBytes += bytes
            return (waiting.count == 1, waitingBytes)
        }
    }

    /// Whether so much has been taken that there is room again.
    var hasRoom: Bool { lock.withLock { waitingBytes <= Self.waitingBytesMax / 2 } }

    /// Posts from a thread that is no event loop.
    package func postAndWake(_ post: Post) { if self.post(post).wasEmpty { wake() } }

    package func wake() {
        loop.execute { [self] in context?.flush() }
    }

    /// Runs something on the loop, in order with everything else that was posted.
    package func run(_ work: @escaping @Sendable (LoopContext) -> Void) { postAndWake(.run(work)) }

    func take(into batch: inout [Post]) {
        lock.withLock {
            swap(&waiting, &batch)
            waitingBytes = 0
        }
    }
}

extension Post {
    /// Of the stanza in it.
    fileprivate var byteCount: Int {
        switch self {
        case .deliver(let stanza, _, _), .deliverStored(let stanza, _, _): stanza.bytes.readableBytes
        // Its bytes are there once; each copy is made where it is written.
        case .deliverShared(let stanza, let sessions): stanza.byteCount + sessions.count * MemoryLayout<SessionRef>.stride
        case .deliverAll(let stanzas, _): stanzas.reduce(0) { $0 + $1.byteCount }
        case .forward(let item, _): item.byteCount
        case .end, .settled, .complete, .completeInherited, .run: 0
        }
    }
}

/// The address of a session that any thread may hold. Posting to it is all one can do.
package final class SessionRef: @unchecked Sendable, Hashable {
    package let id: UInt64
    package let mailbox: LoopMailbox
    /// Touched on the mailbox's loop only; `nil` before the session starts and after it ended. Session and address hold each other until
    /// the session has ended, which every connection sees to: a weak reference would cost three atomic operations for each stanza.
    @exclusivity(unchecked) package var session: ClientSession?
    /// Who has taken over from the session (XEP-0198 §5). Touched on the mailbox's loop only.
    var successor: SessionRef?
    /// Who sees to it that what still comes for a session that has ended is not lost. Touched on the mailbox's loop only.
    var remains: SessionRemains?
    /// Whether the account has a block list: what comes past its home, such as from rooms, is looked at by it.
    let isScreened: Synchronization.Atomic<Bool>
    /// What the client has said of itself as it logged in (XEP-0388 §2.3).
    package let userAgent: UserAgent?
    /// Of which application the password is by which it has come in; `nil` for whoever has proved to be the account's owner. It is a session as any other,
    /// but has no say about who comes in, nor the account's admin role.
    package let application: String?

    package init(id: UInt64, mailbox: LoopMailbox, isScreened: Bool = false, userAgent: UserAgent? = nil, application: String? = nil) {
        self.userAgent = userAgent
        self.application = application
        self.id = id
        self.mailbox = mailbox
        self.isScreened = .init(isScreened)
    }

    package static func == (a: SessionRef, b: SessionRef) -> Bool { a === b }
    package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
