package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

/// Makes of the pieces of an account what is written, within the limits that its owner would have had. What cannot be taken is left out and
/// told; nothing else is lost by it.
///
/// The account is there already, disabled, and empty but for what earlier pieces have left. Pieces may come in any order but for messages: those
/// of the archive come first, from the oldest on.
package struct PortableImport {
    /// What it depends on besides the account.
    package struct Surroundings: Sendable {
        package var limits: HostLimits
        package var eventing: PersonalEventingSettings
        package var ids: StanzaIDSource
        package var random: any RandomSource
        /// Milliseconds since 1970.
        package var now: Int64

        package init(limits: HostLimits, eventing: PersonalEventingSettings, ids: StanzaIDSource, random: any RandomSource, now: Int64) {
            self.limits = limits
            self.eventing = eventing
            self.ids = ids
            self.random = random
            self.now = now
        }
    }

    /// What the account has so far.
    package struct Contents {
        var account: StoredAccount
        var nodes: [StoredNode]
        var index: PrivateIndex

        /// `nil` if there is no such account.
        package static func load(_ address: BareJID, _ store: any Store) async throws(StoreError) -> Contents? {
            let loaded: Result<StoredAccount?, StoreError> = await withCheckedContinuation { continuation in
                store.loadAccount(address) { continuation.resume(returning: $0) }
            }
            guard let account = try loaded.get() else { return nil }
            let nodes: Result<[StoredNode], StoreError> = await withCheckedContinuation { continuation in
                store.loadNodes(of: .account(account.id)) { continuation.resume(returning: $0) }
            }
            return Contents(account: account, nodes: try nodes.get(), index: try await PrivateStorage.index(of: account.id, store))
        }

        /// Of an account that is not there yet.
        package static func empty(_ id: AccountID) -> Contents { Contents(account: StoredAccount(id: id), nodes: [], index: PrivateIndex(sizes: [:])) }
    }

    private let address: BareJID
    private let id: AccountID
    private let surroundings: Surroundings
    private var roster: [BareJID: RosterItem]
    private var rosterVersion: UInt64
    private var changedContacts: Set<BareJID> = []
    /// Items that clients see, and those who wait for an answer.
    private var shownCount: Int
    private var waitingCount: Int
    private var blockedCount: Int
    private var index: PrivateIndex
    private var hasIndexChanged = false
    private var nodes: PortableNodes
    private var offline: (count: Int, bytes: Int)
    /// The last name given to a message.
    package private(set) var lastView: UInt64
    private var changes: [Write] = []
    package private(set) var report = PortableReport()

    /// - Parameter lastView: the last name that an earlier piece was given.
    package init(_ address: BareJID, _ contents: Contents, lastView: UInt64, _ surroundings: Surroundings) {
        self.address = address
        self.surroundings = surroundings
        self.lastView = lastView
        let account = contents.account
        id = account.id
        roster = Dictionary(account.roster.map { ($0.contact, $0) }, uniquingKeysWith: { first, _ in first })
        rosterVersion = account.rosterVersion
        shownCount = account.roster.count { $0.subscription.isInRoster }
        waitingCount = account.roster.count { $0.subscription.pendingIn }
        blockedCount = account.blocked.count
        index = contents.index
        offline = (account.undelivered, account.undeliveredBytes)
        nodes = PortableNodes(of: address, id, contents.nodes, surroundings)
    }

    /// What is to be written for the pieces so far, as one commit.
    package consuming func writes() -> [Write] {
        var writes = changes + nodes.writes
        for contact in changedContacts.sorted(by: { $0.precedes($1) }) {
            if let item = roster[contact] { writes.append(.rosterItem(id, item)) }
        }
        if hasIndexChanged { writes.append(.document(id, PrivateIndex.key, index.encoded)) }
        return writes
    }

    package mutating func take(_ piece: PortablePiece) {
        guard let element = try? piece.element() else { return report.skip("what is no XML") }
        let root = element.root
        switch piece.place {
        case .account: takeData(root)
        case .roster: takeContact(root)
        case .privateStorage: takePrivate(root)
        case .nodeOwnership: nodes.takeOwnership(root, &report)
        case .nodeItems: nodes.takeItem(root, of: piece.node ?? "", &report)
        case .archive: takeArchived(root, awaitsDelivery: piece.awaitsDelivery)
        case .offlineMessages: takeOffline(element)
        }
    }

    // MARK: Data

    private mutating func takeData(_ element: ElementView) {
        if element.isNamed("vCard", .vCard) { return takeCard(element) }
        if element.isNamed("presence", .client) { return takeRequest(element) }
        if element.isNamed("query", .privacyLists) { return takePrivacyLists(element) }
        if element.isNamed("blocklist", .blocking) {
            for item in element.children where item.isNamed("item", .blocking) { block(item.attribute("jid")) }
            return
        }
        if element.isNamed("prefs", .archive) { return takePreferences(element) }
        report.skip("what is no part of an account")
    }

    private mutating func takeCard(_ element: ElementView) {
        var writer = XMLWriter(contentNamespace: .none)
        writer.append(element)
        guard writer.buffer.readableBytes <= surroundings.limits.vCardBytesMax else { return report.skip("cards past the limit of \(surroundings.limits.vCardBytesMax) bytes") }
        changes.append(.document(id, VCardTemp.key, writer.buffer))
        // All of it is his own until a directory says something.
        changes.append(.document(id, .profile, nil))
        if let digest = AvatarConversion.digest(ofCard: element) { changes.append(.document(id, .avatar, ByteBuffer(string: digest))) }
        report.take("cards")
    }

    private mutating func takePreferences(_ element: ElementView) {
        guard let preferences = try? ArchivePreferences(element) else { return report.skip("archive preferences that say nothing") }
        changes.append(.document(id, .archivePreferences, preferences.document))
        report.take("preferences")
    }

    // MARK: Blocked addresses

    /// What is denied altogether is blocked. Other rules have no match here (XEP-0191 §5).
    private mutating func takePrivacyLists(_ query: ElementView) {
        let lists = query.children.filter { $0.isNamed("list", .privacyLists) }
        let name = query.firstChild("default", .privacyLists)?.attribute("name")
        let chosen = name.map { name in lists.first { $0.attribute("name") == name } } ?? (lists.count == 1 ? lists.first : nil)
        report.skip("privacy lists that are not the default", lists.count - (chosen == nil ? 0 : 1))
        for item in chosen?.children.filter({ $0.isNamed("item", .privacyLists) }) ?? [] {
            let isWhole = item.attributeEquals("type", "jid") && item.attributeEquals("action", "deny") && item.firstChild == nil
            if isWhole { block(item.attribute("value")) } else { report.skip("privacy rules other than that an address is blocked") }
        }
    }

    private mutating func block(_ text: String?) {
        guard let blocked = text.flatMap({ try? JID($0) }) else { return report.skip("blocked addresses that are none") }
        guard blockedCount < surroundings.limits.blockedMax else { return report.skip("blocked addresses past the limit of \(surroundings.limits.blockedMax)") }
        blockedCount += 1
        changes.append(.document(id, DocumentKey(blocking: blocked), ByteBuffer()))
        report.take("blocked addresses")
    }

    // MARK: Private storage

    private mutating func takePrivate(_ element: ElementView) {
        if Bookmarks.isList(element) {
            if let rest = Bookmarks.rest(of: element) { changes.append(.document(id, BookmarkList.restKey, rest)) }
            return nodes.takeBookmarks(element, &report)
        }
        guard !element.isIn(.none), !element.isIn(.client), !element.isIn(.privateStorage) else { return report.skip("private elements without a namespace") }
        guard let write = PrivateStorage.write(keeping: element, in: &index, of: id, surroundings.limits) else {
            return report.skip("private elements past the limits of private storage")
        }
        hasIndexChanged = true
        changes.append(write)
        report.take("private elements")
    }
}

// MARK: Contacts

extension PortableImport {
    /// RFC 6121 §2.1.2, as a server would give the item to its client.
    private mutating func takeContact(_ element: ElementView) {
        guard element.isNamed("item", .roster), let contact = element.attribute("jid").flatMap({ try? JID($0) })?.bare else {
            return report.skip("contacts without an address")
        }
        guard contact != address else { return report.skip("contacts that are the account itself") }
        let limits = surroundings.limits
        var item = roster[contact] ?? RosterItem(contact: contact)
        guard item.subscription.isInRoster || shownCount < limits.rosterItemsMax else {
            return report.skip("contacts past the limit of \(limits.rosterItemsMax)")
        }
        item.name = element.attribute("name").flatMap { $0.isEmpty || $0.utf8.count > Roster.nameBytesMax ? nil : $0 }
        item.groups = groups(of: element)
        item.subscription = subscription(of: element, item.subscription)
        if !item.subscription.pendingIn { item.request = nil }
        put(item)
        report.take("contacts")
    }

    private mutating func groups(of element: ElementView) -> [String] {
        var groups: [String] = []
        for child in element.children where child.isNamed("group", .roster) {
            let group = child.text
            guard !group.isEmpty, group.utf8.count <= Roster.nameBytesMax, groups.count < surroundings.limits.rosterGroupsMax else {
                report.skip("groups without a name, or past limits")
                continue
            }
            if !groups.contains(group) { groups.append(group) }
        }
        return groups
    }

    private func subscription(of element: ElementView, _ before: SubscriptionState) -> SubscriptionState {
        let name = element.attribute("subscription") ?? "none"
        var state = SubscriptionState(isInRoster: true)
        state.to = name == "to" || name == "both"
        state.from = name == "from" || name == "both"
        state.pendingOut = !state.to && element.attributeEquals("ask", "subscribe")
        state.pendingIn = before.pendingIn && !state.from
        state.approved = !state.from && (element.attributeEquals("approved", "true") || element.attributeEquals("approved", "1"))
        return state
    }

    /// Somebody waits for an answer (§4.8).
    private mutating func takeRequest(_ element: ElementView) {
        guard element.attributeEquals("type", "subscribe"), let contact = element.attribute("from").flatMap({ try? JID($0) })?.bare, contact != address
        else { return report.skip("requests of nobody") }
        let limits = surroundings.limits
        var item = roster[contact] ?? RosterItem(contact: contact)
        guard !item.subscription.from, !item.subscription.pendingIn else { return report.skip("requests that are answered") }
        guard waitingCount < limits.pendingRequestsMax else { return report.skip("requests past the limit of \(limits.pendingRequestsMax)") }
        item.subscription.pendingIn = true
        item.request = Self.alone(element).map { Stanza($0, kind: .presence(.subscribe), from: .bare(contact), to: .bare(address)).encoded() }
        if item.request?.bytes.readableBytes ?? 0 > limits.subscriptionRequestBytesMax { item.request = nil }
        put(item)
        report.take("requests")
    }

    private mutating func put(_ item: RosterItem) {
        var item = item
        if item.subscription.isInRoster {
            rosterVersion += 1
            item.version = rosterVersion
        }
        let old = roster.updateValue(item, forKey: item.contact)?.subscription ?? .none
        shownCount += (item.subscription.isInRoster ? 1 : 0) - (old.isInRoster ? 1 : 0)
        waitingCount += (item.subscription.pendingIn ? 1 : 0) - (old.pendingIn ? 1 : 0)
        changedContacts.insert(item.contact)
    }
}

// MARK: Messages

extension PortableImport {
    /// `<result/>` of XEP-0313 (§4.10).
    private mutating func takeArchived(_ result: ElementView, awaitsDelivery: Bool) {
        guard result.isNamed("result", .archive), let forwarded = result.firstChild("forwarded", .forwarding),
            let message = forwarded.firstChild("message", .client), let stanza = stanza(message)
        else { return report.skip("archived messages that are none") }
        let isSent = stanza.from.bare == address
        guard isSent || stanza.to?.bare == address else { return report.skip("archived messages of somebody else") }
        let time = forwarded.firstChild("delay", .delay).flatMap(Self.stamp)
        let peer = isSent ? stanza.to?.bare ?? address : stanza.from.bare
        let known = result.attribute("id").flatMap(StanzaIDs.id)
        log(stanza, time, known, awaitsDelivery: awaitsDelivery, ArchiveMark(with: peer, isSent: isSent))
        report.take("archived messages")
    }

    private mutating func takeOffline(_ element: FlatElement) {
        guard element.isNamed("message", .client), let stanza = stanza(element.root), stanza.to?.bare == address else {
            return report.skip("offline messages that are none")
        }
        let limits = surroundings.limits
        guard offline.count < limits.offlineMessagesMax, offline.bytes + element.byteCount <= limits.offlineBytesMax else {
            return report.skip("offline messages past the limits of \(limits.offlineMessagesMax) and \(limits.offlineBytesMax) bytes")
        }
        offline = (offline.count + 1, offline.bytes + element.byteCount)
        let time = element.root.children.lazy.filter { $0.isNamed("delay", .delay) }.compactMap(Self.stamp).first
        log(stanza, time, Self.name(of: element.root, by: address).flatMap(StanzaIDs.id), awaitsDelivery: true, nil)
        report.take("offline messages")
    }

    /// The name that the account had for a message (XEP-0359).
    package static func name(of message: ElementView, by account: BareJID) -> String? {
        message.children.first { child in
            child.isNamed("stanza-id", .stanzaIDs) && child.attribute("by").flatMap { try? JID($0) } == .bare(account)
        }?.attribute("id")
    }

    /// Without what the server says of a message when it hands it out: that it says anew.
    private func stanza(_ message: ElementView) -> Stanza? {
        guard let from = message.attribute("from").flatMap({ try? JID($0) }) else { return nil }
        let to: JID?
        if let text = message.attribute("to") {
            guard let address = try? JID(text) else { return nil }
            to = address
        } else {
            to = .bare(address)
        }
        guard let element = Self.alone(message) else { return nil }
        var stanza = Stanza(element, kind: .message(MessageType(of: element.root)), from: from, to: to)
        stanza.omitChildren("stanza-id", .stanzaIDs, claiming: "by") { $0.bare == address }
        stanza.omitChildren("delay", .delay, claiming: "from") { $0.bare == address || $0 == .bare(address.domain) }
        return stanza
    }

    /// A stanza as a stream would have it.
    private static func alone(_ stanza: ElementView) -> FlatElement? {
        var writer = XMLWriter()
        writer.append(stanza)
        return try? parseElement(writer.buffer, limits: .ownWriting)
    }

    private static func stamp(_ delay: ElementView) -> Int64? { delay.attribute("stamp").flatMap(DateTime.milliseconds) }

    private mutating func log(_ stanza: Stanza, _ time: Int64?, _ known: UInt64?, awaitsDelivery: Bool, _ mark: ArchiveMark?) {
        let time = min(max(time ?? surroundings.now, 0), surroundings.now)
        lastView = name(time, known)
        let view = LogEntry.View(owner: id, id: lastView, awaitsDelivery: awaitsDelivery, archived: mark)
        changes.append(.log(LogEntry(stanza: stanza.encoded(), views: [view], time: time)))
    }

    /// A name that the message had stays, if it can be one of this server's: clients know it. Another one is as if the server had given it when
    /// the message came (``StanzaIDSource``).
    private func name(_ time: Int64, _ known: UInt64?) -> UInt64 {
        let millisecond = UInt64(clamping: time)
        if let known, known > lastView {
            let stated = Int64(clamping: known >> Self.millisecondBits)
            if abs(stated - time) <= ArchiveRequest.timeSlack, stated <= surroundings.now { return known }
        }
        let random = surroundings.random.bytes(3).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let began = millisecond << Self.millisecondBits | random & (StanzaIDSource.countMask >> 1)
        return began > lastView ? began : lastView + 1 + random & 0xFF
    }

    private static let millisecondBits: UInt64 = 20
}
