package import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore

/// Writes an account as `<user/>` (§4.2), a page at a time: what is in memory is one page, and what changes meanwhile is in the document as it was
/// or as it is.
package struct PortableExport: Sendable {
    /// Where the next page begins. What is open there is closed by it.
    package enum Place: Hashable, Sendable, Codable {
        case account
        /// Contacts after this one.
        case roster(after: String?)
        /// Configurations of nodes after this one.
        case nodes(after: String?)
        /// Items of the nodes after `node`, or of that one after `place`.
        case items(node: String?, place: UInt64)
        case archive(after: UInt64)
        case offline(after: UInt64)
    }

    package struct Page: Sendable {
        package var lines: [ByteBuffer] = []
        /// `nil`: the account is complete.
        package var next: Place?
    }

    /// Contacts, messages, or nodes of one page.
    package static let entriesMax = 500
    /// Items of one page.
    package static let itemsMax = 50
    /// Bytes of a page; one entry is on it in any case.
    package static let bytesMax = 4 << 20

    private let router: Router
    private var store: any Store { router.store }
    private let eventing: PersonalEventingSettings
    private let hasArchive: Bool

    /// - Parameter hasArchive: whether archived messages are written (§4.10), which is most of what most accounts have.
    package init(_ router: Router, eventing: PersonalEventingSettings, hasArchive: Bool) {
        self.router = router
        self.eventing = eventing
        self.hasArchive = hasArchive
    }

    /// - Returns: `nil` if there is no such account at the beginning. If it goes later, what was open is closed.
    package func page(of address: BareJID, at place: Place) async throws(StoreError) -> Page? {
        guard let identity = try await store.credentials(of: address) else { return place == .account ? nil : Page(lines: Self.ends(of: place)) }
        switch place {
        case .account: return try await beginning(address, identity)
        case .roster(let contact): return try await roster(address, after: contact)
        case .nodes(let name): return try await nodes(identity.id, after: name)
        case .items(let node, let place): return try await items(identity.id, node, after: place)
        case .archive(let view): return try await archive(address, identity.id, after: view)
        case .offline(let view): return try await offline(address, identity.id, after: view)
        }
    }

    // MARK: Parts

    private func beginning(_ address: BareJID, _ identity: StoredIdentity) async throws(StoreError) -> Page {
        var page = Page(next: .roster(after: nil))
        page.lines.append(Self.startTag("user", .portable, ["name": address.localpart]))
        if !identity.isEnabled { page.write { $0.element("account", .accountState, ["disabled": "true"]) } }
        for keys in identity.credentials { page.write { PortableAccounts.write(keys, to: &$0) } }
        if let card = try await store.document(identity.id, VCardTemp.key) { page.lines.append(card) }
        if let preferences = try await store.document(identity.id, .archivePreferences) { page.lines.append(preferences) }
        let rest = try await store.document(identity.id, BookmarkList.restKey).flatMap(BookmarkList.portable)
        let elements = try await PrivateStorage.all(of: identity.id, store) + (rest.map { [$0] } ?? [])
        if !elements.isEmpty {
            page.write(in: .privateStorage, around: "query") { writer in
                for element in elements { writer.raw(element) }
            }
        }
        return page
    }

    private func roster(_ address: BareJID, after last: String?) async throws(StoreError) -> Page {
        guard let account = try await account(address) else { return Page(lines: Self.ends(of: .roster(after: last))) }
        var page = Page()
        if last == nil { page.lines.append(Self.startTag("query", .roster)) }
        let from = last.flatMap { try? BareJID(parsing: $0) }
        let rest = account.roster.filter { item in item.subscription.isInRoster && (from.map { $0.precedes(item.contact) } ?? true) }
            .sorted { $0.contact.precedes($1.contact) }
        for item in rest.prefix(Self.entriesMax) { page.write(in: .roster) { RosterPush.write(item, to: &$0) } }
        if rest.count > Self.entriesMax {
            page.next = .roster(after: rest[Self.entriesMax - 1].contact.description)
            return page
        }
        page.lines.append(Self.query)
        for item in account.roster.sorted(by: { $0.contact.precedes($1.contact) }) where item.subscription.pendingIn {
            page.write { Self.write(requestOf: item, to: address, &$0) }
        }
        if !account.blocked.isEmpty { page.write { Self.write(blocked: account.blocked, to: &$0) } }
        page.next = .nodes(after: nil)
        return page
    }

    private static func write(requestOf item: RosterItem, to address: BareJID, _ writer: inout XMLWriter) {
        let request = item.request ?? StanzaBuilder.presence(.subscribe, from: .bare(item.contact), to: .bare(address))
        if let element = try? parseElement(request.bytes, limits: .ownWriting) { writer.append(element) }
    }

    /// As the default list (§4.7): nothing else is denied by it.
    private static func write(blocked addresses: [JID], to writer: inout XMLWriter) {
        writer.element("query", .privacyLists) { writer in
            writer.element("default", .privacyLists, ["name": PortableAccounts.blockListName])
            writer.element("list", .privacyLists, ["name": PortableAccounts.blockListName]) { writer in
                for (index, address) in addresses.map(\.description).sorted().enumerated() {
                    writer.element("item", .privacyLists, ["type": "jid", "value": address, "action": "deny", "order": String(index + 1)])
                }
            }
        }
    }

    // MARK: Nodes

    private func nodes(_ account: AccountID, after last: String?) async throws(StoreError) -> Page {
        let (rest, settings) = (try await storedNodes(of: account, after: last), eventing.nodes(of: account))
        var page = Page()
        if last == nil {
            guard !rest.isEmpty else { return Page(next: hasArchive ? .archive(after: 0) : .offline(after: 0)) }
            page.lines.append(Self.startTag("pubsub", .pubsubOwner))
        }
        for (count, stored) in rest.enumerated() {
            if count == Self.entriesMax || page.byteCount > Self.bytesMax {
                page.next = .nodes(after: rest[count - 1].name)
                return page
            }
            let node = PubSubNode(stored, settings)
            page.write(in: .pubsubOwner) { writer in
                writer.element("configure", .pubsubOwner, ["node": node.name]) { node.configuration.form(.submit, settings).write(to: &$0) }
            }
            if !stored.affiliations.isEmpty { page.write(in: .pubsubOwner) { Self.write(affiliationsOf: node, to: &$0) } }
            if !stored.subscriptions.isEmpty { page.write(in: .pubsubOwner) { Self.write(subscriptionsOf: node, to: &$0) } }
        }
        page.lines += [Self.pubsub, Self.startTag("pubsub", .pubsub)]
        page.next = .items(node: nil, place: 0)
        return page
    }

    private static func write(affiliationsOf node: PubSubNode, to writer: inout XMLWriter) {
        writer.element("affiliations", .pubsubOwner, ["node": node.name]) { writer in
            for (address, affiliation) in node.affiliations.sorted(by: { $0.key.precedes($1.key) }) {
                writer.element("affiliation", .pubsubOwner, ["jid": address.description, "affiliation": affiliation.name])
            }
        }
    }

    private static func write(subscriptionsOf node: PubSubNode, to writer: inout XMLWriter) {
        writer.element("subscriptions", .pubsubOwner, ["node": node.name]) { writer in
            for one in node.subscriptions.all.sorted(by: { $0.address.precedes($1.address) }) {
                writer.element(
                    "subscription", .pubsubOwner, ["jid": one.address.description, "subscription": one.state.rawValue, "subid": one.id]
                ) { writer in
                    guard one.options != NodeSubscriptionOptions() else { return }
                    writer.element("options", .pubsubOwner) { one.options.form(.submit).write(to: &$0) }
                }
            }
        }
    }

    private func items(_ account: AccountID, _ current: String?, after place: UInt64) async throws(StoreError) -> Page {
        let all = try await storedNodes(of: account, after: nil)
        var page = Page()
        let known = current.flatMap { name in all.first { OctetName($0.name) == OctetName(name) } }
        if let known, place > 0 { return try await items(of: known, after: place) }
        guard let next = all.first(where: { node in current.map { OctetName($0) < OctetName(node.name) } ?? true }) else {
            page.lines.append(Self.pubsub)
            page.next = hasArchive ? .archive(after: 0) : .offline(after: 0)
            return page
        }
        page = try await items(of: next, after: 0)
        page.lines.insert(Self.startTag("items", .pubsub, ["node": next.name], in: .pubsub), at: 0)
        return page
    }

    private func items(of node: StoredNode, after place: UInt64) async throws(StoreError) -> Page {
        var (page, request) = (Page(), NodeItemsRequest(limit: Self.itemsMax))
        request.after = place
        let items = try await store.items(of: node.id, request)
        for item in items {
            page.write(in: .pubsub) { Self.write(item, to: &$0) }
            if page.byteCount > Self.bytesMax {
                page.next = .items(node: node.name, place: item.place)
                return page
            }
        }
        if items.count == Self.itemsMax, let last = items.last {
            page.next = .items(node: node.name, place: last.place)
        } else {
            page.lines.append(Self.items)
            page.next = .items(node: node.name, place: 0)
        }
        return page
    }

    private static func write(_ item: NodeItem, to writer: inout XMLWriter) {
        writer.element("item", .pubsub, ["id": item.name, "publisher": item.publisher?.description]) { writer in
            if item.payload.readableBytes > 0 { writer.raw(item.payload) }
        }
    }

    // MARK: Messages

    private func archive(_ address: BareJID, _ account: AccountID, after view: UInt64) async throws(StoreError) -> Page {
        var request = ArchiveRequest(limit: Self.entriesMax)
        request.after = view
        request.bytesMax = Self.bytesMax
        let found = try await router.archive(of: address, account, request)
        let messages = found?.messages ?? []
        var page = Page()
        if view == 0, messages.isEmpty { return Page(next: .offline(after: 0)) }
        if view == 0 { page.lines.append(Self.startTag("archive", .portableArchive)) }
        page.lines += messages.compactMap(ArchiveAnswers.record)
        if found?.isComplete == false, let last = messages.last {
            page.next = .archive(after: last.view)
        } else {
            page.lines.append(Self.archive)
            page.next = .offline(after: 0)
        }
        return page
    }

    private func offline(_ address: BareJID, _ account: AccountID, after view: UInt64) async throws(StoreError) -> Page {
        let found: Result<[LoggedMessage], StoreError> = await withCheckedContinuation { continuation in
            store.messages(of: account, after: view, limit: Self.entriesMax) { continuation.resume(returning: $0) }
        }
        let messages = try found.get()
        var page = Page()
        if view == 0, messages.isEmpty { return Page(lines: [Self.user]) }
        if view == 0 { page.lines.append(Self.startTag("offline-messages", .portable)) }
        for message in messages {
            page.write { Self.write(offline: message, of: address, to: &$0) }
            guard page.byteCount > Self.bytesMax else { continue }
            page.next = .offline(after: message.view)
            return page
        }
        if messages.count == Self.entriesMax, let last = messages.last {
            page.next = .offline(after: last.view)
        } else {
            page.lines += [Self.offlineMessages, Self.user]
        }
        return page
    }

    /// With when it came and the account's name for it, as its client would get it (XEP-0203, XEP-0359).
    private static func write(offline message: LoggedMessage, of address: BareJID, to writer: inout XMLWriter) {
        guard var stanza = Stanza(sent: message.stanza) else { return }
        if stanza.to == nil { stanza.to = .bare(address) }
        stanza.add { StanzaIDs().name(message.view, by: address, to: &$0) }
        DelayedDelivery().delay(&stanza, by: address.domain, since: message.time)
        stanza.write(to: &writer, recipient: stanza.to)
    }

    // MARK: Steps

    private func account(_ address: BareJID) async throws(StoreError) -> StoredAccount? {
        let loaded: Result<StoredAccount?, StoreError> = await withCheckedContinuation { continuation in
            store.loadAccount(address) { continuation.resume(returning: $0) }
        }
        return try loaded.get()
    }

    private func storedNodes(of account: AccountID, after name: String?) async throws(StoreError) -> [StoredNode] {
        let loaded: Result<[StoredNode], StoreError> = await withCheckedContinuation { continuation in
            store.loadNodes(of: .account(account)) { continuation.resume(returning: $0) }
        }
        let nodes = try loaded.get()
        guard let name else { return nodes }
        return nodes.filter { OctetName(name) < OctetName($0.name) }
    }

    // MARK: Tags

    /// What begins the document, a domain in it, and what ends them.
    package static func documentStart() -> ByteBuffer {
        var writer = XMLWriter(ByteBuffer(staticString: "<?xml version='1.0' encoding='UTF-8'?>\n"), contentNamespace: .none)
        writer.open("server-data", .portable)
        writer.raw(ByteBuffer())
        return writer.buffer
    }

    package static func hostStart(_ domain: String) -> ByteBuffer { startTag("host", .portable, ["jid": domain]) }
    package static let hostEnd = ByteBuffer(staticString: "</host>")
    package static let documentEnd = ByteBuffer(staticString: "</server-data>")

    private static let user = ByteBuffer(staticString: "</user>")
    private static let query = ByteBuffer(staticString: "</query>")
    private static let pubsub = ByteBuffer(staticString: "</pubsub>")
    private static let items = ByteBuffer(staticString: "</items>")
    private static let archive = ByteBuffer(staticString: "</archive>")
    private static let offlineMessages = ByteBuffer(staticString: "</offline-messages>")

    /// What is open at a place.
    private static func ends(of place: Place) -> [ByteBuffer] {
        switch place {
        case .account: []
        case .roster(let contact): contact == nil ? [user] : [query, user]
        case .nodes(let name): name == nil ? [user] : [pubsub, user]
        case .items(_, let place): place == 0 ? [pubsub, user] : [items, pubsub, user]
        case .archive(let view): view == 0 ? [user] : [archive, user]
        case .offline(let view): view == 0 ? [user] : [offlineMessages, user]
        }
    }

    /// - Parameter scope: what is around it.
    private static func startTag(
        _ local: StaticString, _ namespace: Namespace, _ attributes: KeyValuePairs<StaticString, String?> = [:], in scope: Namespace = .portable
    ) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: scope)
        writer.open(local, namespace)
        for (name, value) in attributes { writer.attribute(name, value) }
        // Ends the tag.
        writer.raw(ByteBuffer())
        return writer.buffer
    }
}

extension PortableExport.Page {
    fileprivate var byteCount: Int { lines.reduce(0) { $0 + $1.readableBytes } }

    /// A line of its own.
    fileprivate mutating func write(in namespace: Namespace = .portable, _ write: (inout XMLWriter) -> Void) {
        var writer = XMLWriter(contentNamespace: namespace)
        write(&writer)
        lines.append(writer.buffer)
    }

    fileprivate mutating func write(in namespace: Namespace, around local: StaticString, _ write: (inout XMLWriter) -> Void) {
        var writer = XMLWriter(contentNamespace: .portable)
        writer.element(local, namespace) { write(&$0) }
        lines.append(writer.buffer)
    }
}
