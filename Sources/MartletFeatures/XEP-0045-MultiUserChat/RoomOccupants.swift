package import MartletCore
package import MartletXMPP

/// A session that is in a room.
package struct RoomSession: Hashable, Sendable {
    package let address: FullJID
    /// If it is one of this server's.
    package var ref: SessionRef?
    package init(_ address: FullJID, _ ref: SessionRef?) {
        self.address = address
        self.ref = ref
    }
}

/// Who is in a room under one nickname: one account, with one session or several (§7.2.9).
package struct RoomOccupant: Sendable {
    package fileprivate(set) var nickname: String
    /// `room@service/nickname`.
    package fileprivate(set) var address: FullJID
    package let account: BareJID
    /// XEP-0421.
    package let id: String
    package var affiliation: RoomAffiliation
    package var role: RoomRole
    /// In the order in which they came.
    package fileprivate(set) var sessions: [RoomSession]
    /// The last presence of each, in the order of ``sessions``.
    fileprivate var presences: [Stanza]
    /// Which of the sessions others see.
    fileprivate(set) var shown = 0
    /// Occupants see him (`muc#roomconfig_presencebroadcast`).
    package var isAnnounced = false
    /// His presence as others get it, without and with his address, once somebody got it.
    fileprivate var encoded: (hidden: SharedStanza?, open: SharedStanza?)

    package var standing: RoomStanding { RoomStanding(affiliation, role) }
    package var presence: Stanza { presences[shown] }
    package var shownSession: RoomSession { sessions[shown] }

    package init(
        nickname: String, address: FullJID, id: String, _ standing: RoomStanding, _ session: RoomSession, _ presence: Stanza
    ) {
        self.nickname = nickname
        self.address = address
        self.id = id
        account = session.address.bare.compacted()
        affiliation = standing.affiliation
        role = standing.role
        sessions = [session]
        presences = [presence]
    }

    package func index(of session: FullJID) -> Int? { sessions.firstIndex { $0.address == session } }
    func session(at address: FullJID) -> RoomSession? { sessions.first { $0.address == address } }

    /// What is known of his presence is not as it is.
    mutating func forgetEncoded() { encoded = (nil, nil) }
}

/// Everybody who is in a room, by nickname, by session and by account.
package struct RoomOccupants: Sendable {
    /// Names an occupant for as long as he is there.
    package struct Key: Hashable, Sendable {
        fileprivate let number: Int
    }

    private var occupants: [Key: RoomOccupant] = [:]
    private var byNickname: [String: Key] = [:]
    private var bySession: [FullJID: Key] = [:]
    private var byAccount: [BareJID: [Key]] = [:]
    private var lastNumber = 0
    /// Who sees addresses, and who does not.
    package private(set) var open = RoomAudience()
    package private(set) var hidden = RoomAudience()
    private(set) var absentees = RoomAbsentees()

    package init() {}

    package var count: Int { occupants.count }
    package var sessionCount: Int { bySession.count }
    package var isEmpty: Bool { occupants.isEmpty }
    /// In no order.
    package var all: [RoomOccupant] { Array(occupants.values) }
    package var keys: [Key] { Array(occupants.keys) }

    package subscript(key: Key) -> RoomOccupant? { occupants[key] }
    package func key(ofNickname nickname: String) -> Key? { byNickname[RoomNickname.folded(nickname)] }
    package func key(ofSession session: FullJID) -> Key? { bySession[session] }
    package func occupant(ofNickname nickname: String) -> RoomOccupant? { key(ofNickname: nickname).flatMap { occupants[$0] } }
    package func occupant(ofSession session: FullJID) -> RoomOccupant? { bySession[session].flatMap { occupants[$0] } }
    package func keys(ofAccount account: BareJID) -> [Key] { byAccount[account] ?? [] }

    /// What others get of somebody's presence, once that has been written.
    func encodedPresence(of key: Key, isOpen: Bool) -> SharedStanza? {
        isOpen ? occupants[key]?.encoded.open : occupants[key]?.encoded.hidden
    }

    mutating func keep(_ presence: SharedStanza, of key: Key, isOpen: Bool) {
        update(key) { if isOpen { $0.encoded.open = presence } else { $0.encoded.hidden = presence } }
    }

    // MARK: Changes

    package mutating func add(_ occupant: RoomOccupant, seesAddresses: Bool) -> Key {
        lastNumber += 1
        let key = Key(number: lastNumber)
        occupants[key] = occupant
        byNickname[RoomNickname.folded(occupant.nickname)] = key
        if byAccount[occupant.account] == nil { absentees.came(occupant.account) }
        byAccount[occupant.account, default: []].append(key)
        for session in occupant.sessions { admit(session, key, seesAddresses) }
        return key
    }

    /// A further session of who is there already.
    package mutating func add(_ session: RoomSession, _ presence: Stanza, to key: Key, seesAddresses: Bool) {
        guard occupants[key] != nil else { return }
        occupants[key]?.sessions.append(session)
        occupants[key]?.presences.append(presence)
        show(session.address, of: key)
        admit(session, key, seesAddresses)
    }

    private mutating func admit(_ session: RoomSession, _ key: Key, _ seesAddresses: Bool) {
        bySession[session.address] = key
        if seesAddresses { open.add(session) } else { hidden.add(session) }
    }

    package mutating func setPresence(_ presence: Stanza, of session: FullJID, _ key: Key) {
        guard let index = occupants[key]?.index(of: session) else { return }
        occupants[key]?.presences[index] = presence
        show(session, of: key)
    }

    private mutating func show(_ session: FullJID, of key: Key) {
        guard let index = occupants[key]?.index(of: session) else { return }
        occupants[key]?.shown = index
        occupants[key]?.forgetEncoded()
    }

    package mutating func rename(_ key: Key, to nickname: String, _ address: FullJID) {
        guard let old = occupants[key] else { return }
        byNickname[RoomNickname.folded(old.nickname)] = nil
        byNickname[RoomNickname.folded(nickname)] = key
        occupants[key]?.nickname = nickname
        occupants[key]?.address = address
        occupants[key]?.forgetEncoded()
    }

    package mutating func setStanding(_ standing: RoomStanding, of key: Key, seesAddresses: Bool) {
        guard let occupant = occupants[key] else { return }
        occupants[key]?.affiliation = standing.affiliation
        occupants[key]?.role = standing.role
        occupants[key]?.forgetEncoded()
        for session in occupant.sessions {
            open.remove(session)
            hidden.remove(session)
            if seesAddresses { open.add(session) } else { hidden.add(session) }
        }
    }

    package mutating func update(_ key: Key, _ change: (inout RoomOccupant) -> Void) {
        guard let index = occupants.index(forKey: key) else { return }
        change(&occupants.values[index])
    }

    /// Everybody sees addresses now, or only who `sees`.
    package mutating func regroup(_ sees: (RoomOccupant) -> Bool) {
        (open, hidden) = (RoomAudience(), RoomAudience())
        for key in occupants.keys {
            occupants[key]?.forgetEncoded()
            guard let occupant = occupants[key] else { continue }
            for session in occupant.sessions {
                if sees(occupant) { open.add(session) } else { hidden.add(session) }
            }
        }
    }

    /// One session leaves; the occupant leaves with his last one.
    ///
    /// - Returns: whether that was the last one.
    package mutating func remove(_ session: FullJID, of key: Key) -> Bool {
        guard let occupant = occupants[key], let index = occupant.index(of: session) else { return false }
        dismiss(occupant.sessions[index])
        guard occupant.sessions.count > 1 else {
            forget(key, occupant)
            return true
        }
        occupants[key]?.sessions.remove(at: index)
        occupants[key]?.presences.remove(at: index)
        occupants[key]?.shown = max(0, occupant.sessions.count - 2)
        occupants[key]?.forgetEncoded()
        return false
    }

    package mutating func removeAll(of key: Key) {
        guard let occupant = occupants[key] else { return }
        for session in occupant.sessions { dismiss(session) }
        forget(key, occupant)
    }

    private mutating func dismiss(_ session: RoomSession) {
        bySession[session.address] = nil
        open.remove(session)
        hidden.remove(session)
    }

    private mutating func forget(_ key: Key, _ occupant: RoomOccupant) {
        occupants[key] = nil
        byNickname[RoomNickname.folded(occupant.nickname)] = nil
        byAccount[occupant.account]?.removeAll { $0 == key }
        guard byAccount[occupant.account]?.isEmpty == true else { return }
        byAccount[occupant.account] = nil
        absentees.went(occupant.account)
    }

    /// What an account wants to be told of while it is not here.
    mutating func setWish(_ wish: RoomAbsentees.Wish, of account: BareJID) {
        absentees.set(wish, of: account.compacted(), isHere: byAccount[account] != nil)
    }

    /// The same for everybody; all others want nothing.
    mutating func setWishes(_ wishes: [(BareJID, RoomAbsentees.Wish)]) {
        absentees = RoomAbsentees()
        absentees.reserveCapacity(wishes.count)
        for (account, wish) in wishes { absentees.set(wish, of: account, isHere: byAccount[account] != nil) }
    }

    /// The session is another one now: it was resumed (XEP-0198).
    package mutating func setRef(_ ref: SessionRef, of session: FullJID, _ key: Key) {
        guard let index = occupants[key]?.index(of: session), let old = occupants[key]?.sessions[index], old.ref !== ref else { return }
        let new = RoomSession(old.address, ref)
        occupants[key]?.sessions[index] = new
        if open.remove(old) { open.add(new) } else if hidden.remove(old) { hidden.add(new) }
    }
}

/// Sessions that get the same: a message is handed to each loop once, however many they are.
package struct RoomAudience: Sendable {
    package private(set) var local = SessionsByLoop()
    /// Those of other servers.
    package private(set) var remote: [FullJID] = []

    package init() {}

    package var isEmpty: Bool { remote.isEmpty && local.isEmpty }
    package var count: Int { remote.count + local.count }

    mutating func add(_ session: RoomSession) {
        if let ref = session.ref { local.append(ref) } else { remote.append(session.address) }
    }

    /// - Returns: whether it was there.
    @discardableResult
    mutating func remove(_ session: RoomSession) -> Bool {
        if let ref = session.ref { return local.remove(ref) }
        guard let index = remote.firstIndex(of: session.address) else { return false }
        remote.swapAt(index, remote.count - 1)
        remote.removeLast()
        return true
    }
}
