import MartletCore
import MartletXMPP
import NIOCore

/// The nodes of one owner that are in use, in its shard: what waits while they are read, and what is told once it is on disk.
///
/// `@unchecked`: touched with its shard's lock held only.
final class PubSubHome: ServiceHome, @unchecked Sendable {
    /// `nil`: the nodes cannot be read, or too much waits for them already.
    typealias Work = @Sendable (PubSubHome?, LoopContext) -> Void

    let address: BareJID
    let owner: NodeOwner
    unowned let shard: Shard
    /// While they are being read, arrivals wait. Nodes that are in memory already were ahead of the disk.
    var isReading = true
    var nodes: PubSubNodes
    private(set) var waiting: [Work] = []
    private var waitingBytes = 0
    /// Items' marks of a node are being read; these wait for them.
    var waitingForMarks: [NodeID: [Work]] = [:]
    /// What waits for the disk, and what must not be told before it; in order.
    var tellings: [Telling] = []
    var lastTicket = CommitTicket.none
    /// The last items of nodes, as far as they have been asked for and are small: a contact who comes online is sent them.
    private var lastItems: [NodeID: NodeItem] = [:]

    struct Telling {
        let ticket: CommitTicket
        let effects: NodeEffects
    }

    /// Requests that may wait for an owner's nodes; past it, and past ``waitingBytesMax``, they are refused.
    static let waitingMax = 1_000
    static let waitingBytesMax = 4 * 1024 * 1024
    /// Bytes of a payload up to which a last item stays in memory.
    static let keptItemBytesMax = 4_096

    init(_ address: BareJID, _ owner: NodeOwner, _ nodes: PubSubNodes, shard: Shard) {
        self.address = address
        self.owner = owner
        self.nodes = nodes
        self.shard = shard
    }

    func isIdle(settled: CommitTicket) -> Bool {
        !isReading && waiting.isEmpty && waitingForMarks.isEmpty && tellings.isEmpty && lastTicket <= settled
    }

    // MARK: Waiting

    /// - Returns: whether there is room for it.
    func park(bytes: Int, _ work: @escaping Work) -> Bool {
        guard waiting.count < Self.waitingMax, waitingBytes + bytes <= Self.waitingBytesMax else { return false }
        waiting.append(work)
        waitingBytes += bytes
        return true
    }

    func takeWaiting() -> [Work] {
        defer { (waiting, waitingBytes) = ([], 0) }
        return waiting
    }

    // MARK: Last items

    func lastItem(of node: NodeID) -> NodeItem? { lastItems[node] }

    func keep(_ item: NodeItem, of node: NodeID) {
        lastItems[node] = item.payload.readableBytes <= Self.keptItemBytesMax ? item : nil
    }

    /// What is in memory follows what is on disk: nobody is told of what a crash may take back.
    func note(_ writes: [NodeChange]) {
        for write in writes {
            switch write {
            case .publish(let node, let item): keep(item, of: node)
            case .delete(let node), .retract(let node, _), .setRecord(let node, _): lastItems[node] = nil
            case .forget(let node, let place): if let last = lastItems[node], last.place <= place { lastItems[node] = nil }
            case .create, .setAffiliation, .setSubscription, .removeSubscription, .expire: break
            }
        }
    }
}
