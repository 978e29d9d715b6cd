package import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore

/// What the nodes of an owner need of the world around them to decide.
package struct NodeMoment {
    /// Milliseconds since 1970.
    package var now: Int64
    /// Gives nodes their numbers and items their places.
    package var ids: StanzaIDSource
    package var random: any RandomSource

    package init(now: Int64, ids: StanzaIDSource, random: any RandomSource) {
        self.now = now
        self.ids = ids
        self.random = random
    }

    /// A name that nobody can guess: 128 bits in hexadecimal digits.
    func token() -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: random.bytes(16).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}

/// What comes of a request.
package struct NodeEffects: Sendable {
    package enum Answer: Sendable {
        case reply(IQReply)
        /// Once the items are read.
        case read(any ItemsAnswer)
    }

    /// Nothing is decided before the items of this node are known: they are loaded and installed, and the request is asked again.
    package var needsMarks: NodeID?
    /// On disk before anything is told.
    package var writes: [NodeChange] = []
    /// In the same commit, of others than nodes.
    package var beside: [Write] = []
    package var answer = Answer.reply(.empty)
    /// Told behind the answer, in order.
    package var notices: [NodeNotice] = []
    /// To owners, behind the notices (§8.6).
    package var approvals: [ApprovalRequest] = []
    /// Sent behind everything else to who has subscribed (§6.1.7).
    package var lastItems: [LastItemDelivery] = []

    package init() {}

    mutating func reply(_ content: (inout XMLWriter) -> Void) { answer = .reply(IQReply(content)) }
}

/// Items that somebody has asked for and may have: what is to be read, and how it is answered.
package protocol ItemsAnswer: Sendable {
    var node: NodeID { get }
    var which: ItemsReading.Which { get }
    /// - Parameter items: what was read, in the order in which it was.
    func reply(_ items: [NodeItem]) -> IQReply
}

/// One event, and who is told of it.
package struct NodeNotice: Sendable {
    package enum Kind: Hashable, Sendable { case items, retraction, purge, deletion, configuration, subscription }

    package var kind: Kind
    package var node: NodeID
    package var name: String
    /// `<event/>`, in the content namespace, as all who are told get it.
    package var event: ByteBuffer
    package var type: MessageType
    /// Who did it.
    package var actor: JID
    /// For those who want one (``NodeRecipient/includesBody``), where there can be one (§12.7).
    package var body: String?
    /// Who may be told without having subscribed, if they want to (§9): only at an account's node, and only of what happens there.
    package var implicit: NodeAccess?
    var audience: Audience

    enum Audience: Sendable {
        case addresses([JID])
        /// Those who have subscribed to the node as it was then.
        case subscribers(NodeSubscriptions, withPending: Bool, onlyIfAvailable: Bool)
    }

    /// Who has subscribed and is told, in no order; each address once. Who has several is told with each by which subscription (§7.1.2.4), if it is about
    /// items (§12.16). At an account's node they may be among those who are told without having subscribed, whom the caller tells only once (XEP-0163 §4.3.2).
    ///
    /// Made when it is asked for: there may be thousands, and whoever holds a lock while the node decides has no need of them.
    package var recipients: [NodeRecipient] {
        switch audience {
        case .addresses(let addresses): addresses.map(NodeRecipient.init)
        case .subscribers(let subscriptions, let withPending, let onlyIfAvailable):
            subscriptions.byAccounts.flatMap { own in
                let told = own.filter { isTold($0, withPending: withPending) }
                return told.map { NodeRecipient($0, onlyIfAvailable: onlyIfAvailable, isNamed: told.count > 1 && isAboutItems) }
            }
        }
    }

    private func isTold(_ subscription: NodeSubscription, withPending: Bool) -> Bool {
        switch subscription.state {
        case .subscribed: subscription.options.delivers
        case .pending: withPending
        }
    }

    private var isAboutItems: Bool {
        switch kind {
        case .items, .retraction: true
        case .purge, .deletion, .configuration, .subscription: false
        }
    }
}

package struct NodeRecipient: Hashable, Sendable {
    package var address: JID
    package var includesBody = false
    /// Which of several subscriptions of one account it is.
    package var subscriptionID: String?
    /// Told only while available (`pubsub#presence_based_delivery`).
    package var isOnlyIfAvailable = false
    /// Told only in these presences; `nil` in any (`pubsub#show-values`).
    package var shows: Set<NodeSubscriptionOptions.Show>?

    package init(_ address: JID) { self.address = address }

    init(_ subscription: NodeSubscription, onlyIfAvailable: Bool, isNamed: Bool) {
        address = subscription.address
        subscriptionID = isNamed ? subscription.id : nil
        includesBody = subscription.options.includesBody
        isOnlyIfAvailable = onlyIfAvailable
        shows = subscription.options.shows
    }
}

/// Owners are asked whether somebody may subscribe (§8.6): a message of each.
package struct ApprovalRequest: Sendable {
    package var owners: [BareJID]
    /// The message's `id`.
    package var id: String
    /// `<x/>`, in the content namespace.
    package var form: ByteBuffer
}

/// The last item of a node is to be sent to somebody who has not asked for it (§6.1.7, XEP-0163 §4.3.4).
package struct LastItemDelivery: Sendable {
    package var node: NodeID
    package var name: String
    package var recipient: JID
    package var type: MessageType
    /// Items that were published before count as gone, in milliseconds since 1970.
    var start: Int64?
    var style: ItemStyle

    /// What is in the message, in the content namespace: the event, and when it happened (XEP-0203).
    ///
    /// - Returns: `nil` if the item is too old.
    package func content(_ item: NodeItem) -> ByteBuffer? {
        guard item.time >= start ?? .min else { return nil }
        var writer = XMLWriter()
        writer.event("items", name) { style.write(item, to: &$0, .pubsubEvent) }
        writer.element("delay", .delay, ["stamp": DateTime.text(milliseconds: item.time)])
        return writer.buffer
    }
}

/// How a node's items are shown.
struct ItemStyle: Hashable, Sendable {
    var hasPayload = true
    var namesPublisher = false

    func write(_ item: NodeItem, to writer: inout XMLWriter, _ namespace: Namespace) {
        writer.element("item", namespace, ["id": item.name, "publisher": namesPublisher ? item.publisher?.bare.description : nil]) { writer in
            if hasPayload, item.payload.readableBytes > 0 { writer.raw(item.payload) }
        }
    }
}

extension XMLWriter {
    /// `<event/>` with one element about a node.
    mutating func event(_ local: StaticString, _ node: String, _ content: (inout XMLWriter) -> Void = { _ in }) {
        element("event", .pubsubEvent) { writer in
            writer.element(local, .pubsubEvent, ["node": node]) { content(&$0) }
        }
    }
}
