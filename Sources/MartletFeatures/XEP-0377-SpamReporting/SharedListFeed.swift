package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

/// How one shared block list is followed: the server subscribes to the node, fetches what is there, and hears of changes. What goes wrong leaves what
/// was known, and is tried again.
///
/// Pure: what it wants done is returned. Items are named by what they stand for (``SharedListEntry``); what is in them is not looked at, and what is named
/// otherwise is left out.
package struct SharedListFeed: Sendable {
    /// How long an answer is waited for.
    static let answerWithin = TimeAmount.seconds(60)
    /// After so long all is fetched again, and the subscription renewed: services may forget both subscriptions and events.
    static let renewalInterval = TimeAmount.hours(6)
    /// Between tries, at first and at most; in between it doubles.
    static let retryMin = TimeAmount.minutes(1)
    static let retryMax = TimeAmount.hours(1)
    /// Items on one page, if the service makes pages (XEP-0060 §6.5.4).
    static let pageItems = 500
    /// Pages of one list. A service that gives more does not come to an end.
    static let pagesMax = 10_000

    package enum State: Hashable, Sendable {
        /// Nothing is under way until then.
        case resting(until: NIODeadline)
        case subscribing(id: String)
        case fetching(Fetch)
        /// Changes come by themselves; all is looked at anew then.
        case following(until: NIODeadline)
    }

    /// What has come of a list so far, and what has happened to it meanwhile.
    package struct Fetch: Hashable, Sendable {
        var id: String
        var found: Set<SharedListEntry> = []
        var pages = 0
        /// Items that have come, whatever they are.
        var items = 0
        var added: Set<SharedListEntry> = []
        var removed: Set<SharedListEntry> = []
    }

    package enum Action: Hashable, Sendable {
        case ask(IQRequest.Kind, id: String, ByteBuffer)
        /// That is the whole list.
        case replace(Set<SharedListEntry>)
        case change(adding: Set<SharedListEntry>, removing: Set<SharedListEntry>)
    }

    package enum Answer: Sendable {
        case result(ElementView?)
        case error(StanzaError)
        /// None came in time.
        case missing
    }

    let node: String
    private(set) package var state: State
    /// What went wrong last, until it goes right.
    private(set) package var trouble: String?
    private var failures = 0

    package init(node: String, at now: NIODeadline) {
        self.node = node
        state = .resting(until: now)
    }

    /// Time has passed.
    package mutating func wake(at now: NIODeadline, _ random: any RandomSource) -> [Action] {
        switch state {
        case .resting(let until), .following(let until): return until <= now ? subscribe(now, random) : []
        case .subscribing, .fetching: return []
        }
    }

    private mutating func subscribe(_ now: NIODeadline, _ random: any RandomSource) -> [Action] {
        let id = random.token()
        state = .subscribing(id: id)
        return [.ask(.set, id: id, ByteBuffer())]
    }

    private mutating func fail(_ why: String, at now: NIODeadline) {
        let wait = min(Self.retryMin.nanoseconds << Int64(min(failures, 10)), Self.retryMax.nanoseconds)
        failures += 1
        trouble = why
        state = .resting(until: now + .nanoseconds(wait))
    }

    // MARK: Answers

    /// Whether something waits for an answer of that name.
    func awaits(_ id: String) -> Bool {
        switch state {
        case .resting, .following: false
        case .subscribing(let own): own == id
        case .fetching(let fetch): fetch.id == id
        }
    }

    /// - Parameter answer: to the request that is waited for.
    package mutating func take(_ answer: Answer, at now: NIODeadline, _ random: any RandomSource) -> [Action] {
        switch (answer, state) {
        case (.error(let error), _):
            fail([error.condition.rawValue, error.text].compactMap { $0 }.joined(separator: ": "), at: now)
            return []
        case (.missing, _):
            fail("no answer", at: now)
            return []
        case (.result, .subscribing): return fetch(Fetch(id: random.token()), after: nil)
        case (.result(let child), .fetching(let fetch)): return take(child, fetch, now, random)
        case (.result, .resting), (.result, .following): return []
        }
    }

    private mutating func fetch(_ fetch: Fetch, after last: String?) -> [Action] {
        state = .fetching(fetch)
        return [.ask(.get, id: fetch.id, Self.itemsRequest(node, after: last))]
    }

    private mutating func take(_ pubsub: ElementView?, _ fetched: Fetch, _ now: NIODeadline, _ random: any RandomSource) -> [Action] {
        guard let pubsub, let items = pubsub.firstChild("items", .pubsub), items.attribute("node") == node else {
            fail("the answer has no items", at: now)
            return []
        }
        var fetch = fetched
        let names = items.children.filter { $0.isNamed("item", .pubsub) }.compactMap { $0.attribute("id") }
        fetch.pages += 1
        fetch.items += names.count
        fetch.found.formUnion(names.compactMap { SharedListEntry(hexadecimal: $0) })
        guard fetch.found.count <= SharedBlockLists.entriesMax, fetch.pages <= Self.pagesMax else {
            fail("the list has more than \(SharedBlockLists.entriesMax) entries", at: now)
            return []
        }
        if let last = Self.nextPage(pubsub, names, fetch) {
            fetch.id = random.token()
            return self.fetch(fetch, after: last)
        }
        (failures, trouble) = (0, nil)
        state = .following(until: now + Self.renewalInterval)
        return [.replace(fetch.found.union(fetch.added).subtracting(fetch.removed))]
    }

    /// The item behind which the next page begins; `nil` if there is none.
    private static func nextPage(_ pubsub: ElementView, _ names: [String], _ fetch: Fetch) -> String? {
        guard let set = pubsub.firstChild("set", .resultSets), !names.isEmpty else { return nil }
        if let count = set.firstChild("count", .resultSets).flatMap({ Int($0.text) }), fetch.items >= count { return nil }
        return set.firstChild("last", .resultSets)?.text
    }

    // MARK: Events

    /// What a service tells of a node that it has been subscribed to (XEP-0060 §7.1.2, §7.2.2, §8.4.2, §8.5.2, §8.8.4).
    mutating func take(event: ElementView, at now: NIODeadline) -> [Action] {
        for child in event.children where child.attribute("node") == node {
            if child.isNamed("items", .pubsubEvent) { return take(items: child) }
            if child.isNamed("purge", .pubsubEvent) { return purge() }
            if child.isNamed("delete", .pubsubEvent) { ended("the node was deleted", at: now) }
            if child.isNamed("subscription", .pubsubEvent), child.attributeEquals("subscription", "none") {
                ended("the subscription was ended", at: now)
            }
        }
        return []
    }

    /// No more events come: of a node that is made anew, or lets the server in again, nothing would be heard. What is known last stays meanwhile.
    private mutating func ended(_ why: String, at now: NIODeadline) {
        if case .following = state { fail(why, at: now) }
    }

    private mutating func take(items: ElementView) -> [Action] {
        var (added, removed): (Set<SharedListEntry>, Set<SharedListEntry>) = ([], [])
        for item in items.children {
            guard let entry = item.attribute("id").flatMap({ SharedListEntry(hexadecimal: $0) }) else { continue }
            if item.isNamed("item", .pubsubEvent) {
                added.insert(entry)
                removed.remove(entry)
            } else if item.isNamed("retract", .pubsubEvent) {
                removed.insert(entry)
                added.remove(entry)
            }
        }
        if added.isEmpty && removed.isEmpty { return [] }
        if case .fetching(var fetch) = state {
            fetch.added = fetch.added.subtracting(removed).union(added)
            fetch.removed = fetch.removed.subtracting(added).union(removed)
            state = .fetching(fetch)
        }
        return [.change(adding: added, removing: removed)]
    }

    private mutating func purge() -> [Action] {
        if case .fetching(let fetch) = state { state = .fetching(Fetch(id: fetch.id)) }
        return [.replace([])]
    }

    // MARK: Requests

    /// §6.1.
    static func subscription(_ node: String, of domain: BareJID) -> ByteBuffer {
        var writer = XMLWriter()
        writer.element("pubsub", .pubsub) { $0.element("subscribe", .pubsub, ["node": node, "jid": domain.description]) }
        return writer.buffer
    }

    /// §6.2: where it is given up.
    static func unsubscription(_ node: String, of domain: BareJID) -> ByteBuffer {
        var writer = XMLWriter()
        writer.element("pubsub", .pubsub) { $0.element("unsubscribe", .pubsub, ["node": node, "jid": domain.description]) }
        return writer.buffer
    }

    /// §6.5.
    private static func itemsRequest(_ node: String, after last: String?) -> ByteBuffer {
        var writer = XMLWriter()
        writer.element("pubsub", .pubsub) { writer in
            writer.element("items", .pubsub, ["node": node])
            writer.element("set", .resultSets) { writer in
                writer.element("max", .resultSets, text: String(pageItems))
                if let last { writer.element("after", .resultSets, text: last) }
            }
        }
        return writer.buffer
    }
}
