import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore

/// Somebody's wish to be told of what happens at a node (§4.2).
package struct NodeSubscription: Hashable, Sendable {
    /// Nothing is ever `unconfigured` here: a subscription counts at once, with the options it has by default.
    package enum State: String, Hashable, Sendable { case pending, subscribed }

    /// Its `subid`, made by the service.
    package let id: String
    package let address: JID
    package var state: State
    package var options: NodeSubscriptionOptions

    package init(id: String, address: JID, state: State, options: NodeSubscriptionOptions = NodeSubscriptionOptions()) {
        self.id = id
        self.address = address
        self.state = state
        self.options = options
    }

    func isOver(at now: Int64) -> Bool { options.expires.map { $0 <= now } ?? false }
}

/// What a subscriber decides about a subscription (§6.3, §16.4.2).
package struct NodeSubscriptionOptions: Hashable, Sendable {
    /// In which presence one wants to be told (`pubsub#show-values`).
    package enum Show: String, Hashable, Sendable, CaseIterable { case chat, online, away, xa, dnd }

    package var delivers = true
    /// Whether messages are to have a body where the payload gives one (§12.7).
    package var includesBody = false
    /// When the subscription ends by itself (§12.21), in milliseconds since 1970.
    package var expires: Int64?
    /// `nil` is in any.
    package var shows: Set<Show>?
    package init() {}
}

/// The form of the options.
extension NodeSubscriptionOptions {
    static let formType = "http://jabber.org/protocol/pubsub#subscribe_options"

    func form(_ kind: DataForm.Kind) -> DataForm {
        var form = DataForm(kind, type: Self.formType, fields: [
            .flag("pubsub#deliver", "Events are sent", delivers),
            .flag("pubsub#include_body", "With a body, where there can be one", includesBody),
            .text("pubsub#expire", "When the subscription ends; empty is never", expires.map { DateTime.text(milliseconds: $0) } ?? ""),
            showField,
        ])
        if kind == .form { form.title = "Options of the subscription" } else { form.fields = form.fields.map(\.submitted) }
        return form
    }

    private var showField: DataForm.Field {
        var field = DataForm.Field(
            "pubsub#show-values", .listMulti, "Only while I am", Show.allCases.filter { shows?.contains($0) ?? true }.map(\.rawValue))
        field.options = [
            .init("chat", label: "free to chat"), .init("online", label: "online"), .init("away", label: "away"), .init("xa", label: "away for long"),
            .init("dnd", label: "busy"),
        ]
        return field
    }

    /// Takes over a submission (§6.3.5).
    ///
    /// Throws `bad-request` with `invalid-options` (§6.3.6.2), and says of digests that they are not supported.
    mutating func take(_ form: DataForm, at now: Int64) throws(PubSubError) {
        var options = self
        var isDigest = false
        do throws(StanzaError) {
            var fields = try FormSubmission(form, type: Self.formType)
            options.delivers = try fields.boolean("pubsub#deliver") ?? delivers
            options.includesBody = try fields.boolean("pubsub#include_body") ?? includesBody
            isDigest = try fields.boolean("pubsub#digest") ?? false
            if fields.has("pubsub#expire") { options.expires = try fields.end(after: now) }
            if let shows = try fields.textsIfAny("pubsub#show-values") { options.shows = try Self.shows(shows) }
        } catch {
            throw .invalidOptions(error.text)
        }
        guard !isDigest else { throw .unsupported("digest") }
        self = options
    }

    private static func shows(_ names: [String]) throws(StanzaError) -> Set<Show>? {
        let shows = Set(names.compactMap(Show.init(rawValue:)))
        guard shows.count == Set(names).count else { throw .badRequest("pubsub#show-values has an unknown value") }
        return shows.count == Show.allCases.count ? nil : shows
    }
}

extension FormSubmission {
    /// `nil` for an empty value, which is never.
    fileprivate mutating func end(after now: Int64) throws(StanzaError) -> Int64? {
        guard let text = try text("pubsub#expire"), !text.isEmpty else { return nil }
        guard let end = DateTime.milliseconds(of: text), end > now else {
            throw .badRequest("pubsub#expire is a date and time of XEP-0082 that is to come")
        }
        return end
    }
}

// MARK: All of a node

/// The subscriptions to a node: one for each address.
package struct NodeSubscriptions: Sendable {
    private var byAccount: [BareJID: [NodeSubscription]] = [:]
    /// Those included that wait for approval.
    private(set) var count = 0
    /// Those that wait for approval.
    private(set) var pendingCount = 0
    /// Whether some end by themselves.
    private(set) var haveEnds = false

    /// In no order.
    var all: some Sequence<NodeSubscription> { byAccount.values.lazy.joined() }
    /// The same, those of an account together.
    var byAccounts: some Sequence<[NodeSubscription]> { byAccount.values }
    /// In the order of addresses.
    func of(_ account: BareJID) -> [NodeSubscription] { byAccount[account] ?? [] }
    subscript(address: JID) -> NodeSubscription? { byAccount[address.bare]?.first { $0.address == address } }

    /// Whether an account is subscribed in any way, and approved.
    func isSubscribed(_ account: BareJID) -> Bool { byAccount[account]?.contains { $0.state == .subscribed } ?? false }

    mutating func set(_ subscription: NodeSubscription) {
        remove(subscription.address)
        var own = byAccount[subscription.address.bare] ?? []
        own.insert(subscription, at: own.firstIndex { subscription.address.precedes($0.address) } ?? own.count)
        byAccount[subscription.address.bare] = own
        count += 1
        if subscription.state == .pending { pendingCount += 1 }
        if subscription.options.expires != nil { haveEnds = true }
    }

    mutating func remove(_ address: JID) {
        let account = address.bare
        guard var own = byAccount[account], let index = own.firstIndex(where: { $0.address == address }) else { return }
        if own.remove(at: index).state == .pending { pendingCount -= 1 }
        byAccount[account] = own.isEmpty ? nil : own
        count -= 1
    }
}

// MARK: As it is stored

extension NodeSubscription {
    private static let namespace: Namespace = "urn:x-martlet:node"

    /// What cannot be read waits for approval, and is told nothing.
    init(_ stored: StoredNodeSubscription) {
        self.init(id: stored.id, address: stored.address, state: .pending)
        guard let element = try? parseElement(stored.content, limits: .ownWriting) else { return }
        state = element.attribute("state").flatMap(State.init(rawValue:)) ?? .pending
        options.delivers = element.attribute("deliver") != "0"
        options.includesBody = element.attribute("body") == "1"
        options.expires = element.attribute("expires").flatMap { Int64($0) }
        options.shows = element.attribute("shows").map { text in
            Set(text.split(separator: " ").compactMap { NodeSubscriptionOptions.Show(rawValue: String($0)) })
        }
    }

    var stored: StoredNodeSubscription {
        var writer = XMLWriter()
        writer.element(
            "subscription", Self.namespace,
            [
                "state": state.rawValue, "deliver": options.delivers ? nil : "0", "body": options.includesBody ? "1" : nil,
                "expires": options.expires.map(String.init), "shows": options.shows.map { $0.map(\.rawValue).sorted().joined(separator: " ") },
            ])
        return StoredNodeSubscription(id: id, address: address, content: writer.buffer)
    }
}
