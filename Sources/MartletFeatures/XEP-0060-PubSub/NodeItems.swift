package import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore

/// Items are deleted (§7.2) and read (§6.5).
extension PubSubNodes {
    // MARK: Retraction

    mutating func retract(
        _ items: [String], from name: String, notifies: Bool, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let node = try node(name)
        guard affiliation(of: actor, at: node, audience).mayRetract else { throw .forbidden }
        guard node.configuration.persistsItems else { throw .unsupported("persistent-items") }
        guard let known = marks[node.id] else { return effects.needsMarks = node.id }
        // §12.9: all of them or none.
        guard items.allSatisfy({ known.place(of: $0) != nil }) else { throw .itemNotFound }
        changeMarks(of: node.id) { marks in
            for item in items { marks.remove(item) }
        }
        effects.writes.append(.retract(node.id, names: items))
        guard node.configuration.deliversNotifications, notifies || node.configuration.notifiesRetraction else { return }
        effects.notices.append(retractionNotice(items, node, actor))
    }

    // MARK: Retrieval

    func read(
        _ query: PubSubRequest.ItemsQuery, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let node = try node(query.node)
        if let refusal = access(to: node).refusal(ofReading: actor.bare, affiliation(of: actor, at: node, audience), audience) { throw refusal }
        if let id = query.subscriptionID { try checkSubscription(id, of: actor, at: node) }
        guard node.configuration.persistsItems else { throw .unsupported("persistent-items") }
        guard query.names.count <= settings.pageItemsMax else {
            throw PubSubError(.policyViolation, text: "\(settings.pageItemsMax) items may be asked for")
        }
        var reading = ItemsReading(
            node: node.id, name: node.name, which: .names(query.names), total: node.itemCount, bytesMax: settings.pageBytesMax,
            start: node.configuration.expiry(at: moment.now), style: style(of: node, hasPayload: true))
        if query.names.isEmpty {
            if query.page != nil || reading.start != nil, marks[node.id] == nil { return effects.needsMarks = node.id }
            reading.which = .page(try page(query, node, reading.start))
            reading.wanted = min(query.latest ?? .max, node.itemCount)
            reading.isPage = query.page != nil
            if reading.isPage { reading.places = marks[node.id] }
        }
        effects.answer = .read(reading)
    }

    /// A subscription that is named is one of who asks (§6.5.9.2).
    private func checkSubscription(_ id: String, of actor: JID, at node: PubSubNode) throws(PubSubError) {
        guard node.subscriptions.of(actor.bare).contains(where: { $0.id == id }) else { throw .invalidSubID }
    }

    private func page(_ query: PubSubRequest.ItemsQuery, _ node: PubSubNode, _ start: Int64?) throws(PubSubError) -> NodeItemsRequest {
        let asked = query.page ?? ResultSetRequest()
        let usual = min(query.latest ?? .max, settings.pageItemsMax)
        var request = NodeItemsRequest(limit: asked.limit(usual: usual, most: usual))
        request.start = start
        switch asked.page {
        // §6.5.7: of so many, the latest.
        case .first: request.isBackwards = query.latest != nil && query.page == nil
        case .last: request.isBackwards = true
        case .after(let name): request.after = try place(of: name, node)
        case .before(let name):
            request.before = try place(of: name, node)
            request.isBackwards = true
        case .index(let index):
            guard let known = marks[node.id] else { break }
            request.after = index == 0 ? 0 : index <= known.count ? known.inOrder[index - 1].place : .max
        }
        return request
    }

    /// Items are named by their identifiers (XEP-0059 §2.2).
    private func place(of name: String, _ node: PubSubNode) throws(PubSubError) -> UInt64 {
        guard let place = marks[node.id]?.place(of: name) else { throw .itemNotFound }
        return place
    }

    func access(to node: PubSubNode) -> NodeAccess { node.access(account) }

    func style(of node: PubSubNode, hasPayload: Bool) -> ItemStyle {
        ItemStyle(hasPayload: hasPayload, namesPublisher: node.configuration.itemReply == .publisher)
    }

    // MARK: Last items

    /// The nodes whose last item a session is sent when it comes online (XEP-0163 §4.3.4): those that send them, that it wants to know of and
    /// may.
    package func lastItems(
        for session: FullJID, _ audience: some NodeAudience, _ moment: NodeMoment, where isWanted: (_ node: String) -> Bool
    ) -> [LastItemDelivery] {
        nodes.values.compactMap { node in
            let configuration = node.configuration
            guard configuration.lastItem == .onSubscriptionAndPresence, configuration.deliversNotifications, node.itemCount > 0, isWanted(node.name),
                access(to: node).mayReceive(session.bare, audience)
            else { return nil }
            return lastItem(of: node, for: .full(session), moment)
        }
    }

    func lastItem(of node: PubSubNode, for recipient: JID, _ moment: NodeMoment) -> LastItemDelivery {
        LastItemDelivery(
            node: node.id, name: node.name, recipient: recipient, type: type(of: node), start: node.configuration.expiry(at: moment.now),
            style: style(of: node, hasPayload: node.configuration.deliversPayloads))
    }
}

/// Items as they are answered by XEP-0060.
package struct ItemsReading: ItemsAnswer {
    package enum Which: Hashable, Sendable { case page(NodeItemsRequest), names([String]) }

    package let node: NodeID
    let name: String
    package internal(set) var which: Which
    /// Items of the node.
    let total: Int
    let bytesMax: Int
    /// Items that were published before count as gone, in milliseconds since 1970.
    let start: Int64?
    let style: ItemStyle
    /// Whether a page was asked for, and is answered as one even if it is the whole.
    var isPage = false
    /// Items that were asked for; those that were named are as many as there are.
    var wanted = 0
    /// Where each item is in the whole, if that is known.
    var places: NodeItemMarks?

    init(node: NodeID, name: String, which: Which, total: Int, bytesMax: Int, start: Int64?, style: ItemStyle) {
        self.node = node
        self.name = name
        self.which = which
        self.total = total
        self.bytesMax = bytesMax
        self.start = start
        self.style = style
    }

    /// The answer (§6.5.3, §6.5.4): as many of the items as fit, and how many there are if these are not all.
    package func reply(_ items: [NodeItem]) -> IQReply {
        let found = items.filter { $0.time >= start ?? .min }
        let shown = fitting(found)
        let isWhole = shown.count == found.count && shown.count >= wanted
        return IQReply { writer in
            writer.element("pubsub", .pubsub) { writer in
                writer.element("items", .pubsub, ["node": name]) { writer in
                    for item in shown { style.write(item, to: &writer, .pubsub) }
                }
                if isPage || !isWhole { set(shown, of: found).write(to: &writer) }
            }
        }
    }

    private var isBackwards: Bool {
        switch which {
        case .page(let request): request.isBackwards
        case .names: false
        }
    }

    /// A page that is too long loses what is at its end, or at its beginning if it was counted from the end.
    private func fitting(_ items: [NodeItem]) -> [NodeItem] {
        var bytes = 0
        let count = (isBackwards ? items.reversed() : items).prefix { item in
            bytes += item.payload.readableBytes + item.name.utf8.count + Self.markupBytes
            return bytes <= bytesMax
        }.count
        let kept = max(count, min(1, items.count))
        return Array(isBackwards ? items.suffix(kept) : items.prefix(kept))
    }

    /// About what is written of an item besides its name and payload.
    private static let markupBytes = 64

    private func set(_ shown: [NodeItem], of found: [NodeItem]) -> ResultSetPage {
        let index = shown.first.flatMap { first in places.flatMap { $0.place(of: first.name) == nil ? nil : $0.index(from: first.place) } }
        let count = switch which {
        case .page: total
        case .names: found.count
        }
        return ResultSetPage(first: shown.first?.name, last: shown.last?.name, index: index, count: count)
    }
}
