import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore

/// A room without a server: what goes in is text, what comes out is kept for each session.
struct RoomOnPaper {
    var room: Room
    var now: Int64 = ManualTime.start
    let ids = StanzaIDSource(floor: 0, secret: 1)
    let random = SeededRandom(seed: 7)
    var limits = RoomLimits()
    private(set) var inboxes: [String: [TestStanza]] = [:]
    /// What the store was asked to do.
    private(set) var writes: [Write] = []
    private(set) var entries: [LogEntry] = []
    private(set) var audits: [AuditEvent] = []
    private(set) var isDestroyed = false
    let identities = OccupantIDs(secret: Array("occupants".utf8))

    init(owner: String = "crone1@shakespeare.lit", _ configure: (inout RoomConfiguration) -> Void = { _ in }) {
        var configuration = RoomConfiguration()
        configure(&configuration)
        let stored = StoredRoom(
            id: AccountID(raw: 1), record: RoomRecord(isPersistent: configuration.isPersistent, isPublic: true), created: 0,
            affiliations: [StoredAffiliation(address: Self.jid(owner), affiliation: RoomAffiliation.owner.rawValue, version: 1)])
        room = Room(Self.address, stored, usedNames: 0)
        var effects = RoomEffects()
        room.apply(configuration, moment, &effects)
    }

    static let address = bare("darkcave@chat.shakespeare.lit")
    static func bare(_ text: String) -> BareJID {
        guard let address = try? BareJID(parsing: text) else { preconditionFailure("no address: \(text)") }
        return address
    }
    static func jid(_ text: String) -> JID {
        guard let address = try? JID(text) else { preconditionFailure("no address: \(text)") }
        return address
    }
    static func session(_ text: String) -> RoomSession {
        guard case .full(let full) = jid(text) else { preconditionFailure("no session: \(text)") }
        return RoomSession(full, nil)
    }

    var moment: RoomMoment { RoomMoment(now: now, ids: ids, random: random, limits: limits, identities: identities) }

    // MARK: In

    /// A stanza of `sender`, such as `hag66@shakespeare.lit/pda`, to the room or, with a nickname, to an occupant.
    mutating func send(_ xml: String, from sender: String, to nickname: String? = nil) {
        guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no stanza: \(xml)") }
        let session = Self.session(sender)
        var effects = RoomEffects()
        let to = nickname.flatMap { try? Self.address.with(resourcepart: $0) }.map { JID.full($0) } ?? .bare(Self.address)
        switch element.localName {
        case "presence":
            let type = PresenceType(of: element.root) ?? .available
            let stanza = Stanza(element, kind: .presence(type), from: .full(session.address), to: to)
            room.presence(stanza, type, to: nickname, from: session, moment, &effects)
        case "message":
            let type = MessageType(of: element.root)
            let stanza = Stanza(element, kind: .message(type), from: .full(session.address), to: to)
            room.message(stanza, type, to: nickname, from: session, nil, moment, &effects)
        default:
            let type = IQType(of: element.root) ?? .get
            let stanza = Stanza(element, kind: .iq(type), from: .full(session.address), to: to)
            if let nickname { room.pass(stanza, type, to: nickname, from: session, moment, &effects) }
            else if type == .result || type == .error { room.answered(stanza, type, by: session.address, moment, &effects) }
            else { room.request(stanza, type, from: .full(session.address), moment, &effects) }
        }
        take(effects, by: sender)
    }

    /// What an account, and not a session, answers to a request of an occupant's.
    mutating func answer(_ xml: String, from account: String, to nickname: String) {
        guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no stanza: \(xml)") }
        let type = IQType(of: element.root) ?? .result
        var effects = RoomEffects()
        let to = try? Self.address.with(resourcepart: nickname)
        room.answered(
            Stanza(element, kind: .iq(type), from: Self.jid(account), to: to.map { .full($0) }), type, to: nickname, by: Self.bare(account), &effects)
        take(effects, by: account)
    }

    mutating func enter(_ sender: String, as nickname: String) {
        send("<presence><x xmlns='http://jabber.org/protocol/muc'/></presence>", from: sender, to: nickname)
    }

    mutating func leave(_ sender: String, as nickname: String) { send("<presence type='unavailable'/>", from: sender, to: nickname) }

    mutating func lookForGhosts() {
        var effects = RoomEffects()
        room.lookForGhosts(moment, &effects)
        take(effects, by: "nobody@shakespeare.lit/x")
    }

    mutating func administer(_ items: String, by sender: String) {
        send("<iq type='set' id='a'><query xmlns='http://jabber.org/protocol/muc#admin'>\(items)</query></iq>", from: sender)
    }

    // MARK: Out

    private mutating func take(_ effects: RoomEffects, by sender: String) {
        writes += effects.writes
        entries += effects.entries
        audits += effects.audits
        if effects.isDestroyed { isDestroyed = true }
        for action in effects.actions {
            switch action {
            case .send(let stanza, let session): deliver(stanza, to: session.address)
            case .sendAll(let stanzas, let session): for stanza in stanzas { deliver(stanza.addressed(to: session.address), to: session.address) }
            case .multicast(let stanza, let audience): for address in audience.remote { deliver(stanza.addressed(to: address), to: address) }
            case .answer(let stanza): deliver(stanza, to: Self.session(sender).address)
            case .refuse(let error):
                let refused = Stanza.refusedBy(Self.address, to: Self.session(sender).address)
                deliver(StanzaBuilder.error(error, answering: refused), to: Self.session(sender).address)
            case .deliver(let stanza, _, let address):
                if case .full(let full) = address { deliver(stanza.encoded(to: address), to: full) }
                else { inboxes[address.description, default: []].append(Self.parse(stanza.encoded(to: address))) }
            case .notify(let stanza, let account):
                inboxes[account.description, default: []].append(Self.parse(stanza.encoded(to: .bare(account))))
            case .pass(let stanza, _, let address):
                if case .full(let full) = address { deliver(stanza.encoded(to: address), to: full) }
                else { inboxes[address.description, default: []].append(Self.parse(stanza.encoded(to: address))) }
            }
        }
    }

    private mutating func deliver(_ stanza: EncodedStanza, to address: FullJID) {
        inboxes[address.description, default: []].append(Self.parse(stanza))
    }

    private static func parse(_ stanza: EncodedStanza) -> TestStanza {
        guard let element = try? parseElement(stanza.bytes, limits: .authenticated) else { preconditionFailure("no stanza") }
        return TestStanza(element)
    }

    /// What came for a session since the last call, in order.
    mutating func received(by session: String) -> [TestStanza] { inboxes.removeValue(forKey: session) ?? [] }

    /// The same, which stays.
    func peek(_ session: String) -> [TestStanza] { inboxes[session] ?? [] }

    mutating func forget() { inboxes = [:] }
}

extension Stanza {
    fileprivate static func refusedBy(_ room: BareJID, to sender: FullJID) -> Stanza {
        guard let element = try? parseElement(ByteBuffer(string: "<message/>"), limits: .authenticated) else { preconditionFailure("no stanza") }
        return Stanza(element, kind: .message(.normal), from: .full(sender), to: .bare(room))
    }
}

extension TestStanza {
    var statuses: [Int] {
        child("x")?.children.filter { $0.localName == "status" }.compactMap { $0.attribute("code").flatMap { Int($0) } } ?? []
    }
    var item: ElementView? { child("x")?.children.first { $0.localName == "item" } }
    var from: String { element.attribute("from") ?? "" }
    var type: String? { element.attribute("type") }
}
