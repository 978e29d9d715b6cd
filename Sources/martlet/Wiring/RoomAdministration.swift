import MartletCore
import MartletFeatures
import MartletStorage
import MartletXMPP

/// What operators do to rooms: the same in a running server and on the data of one that does not run. Whatever changes a room goes through the
/// room itself, so that whoever is in it sees it.
struct RoomAdministration: Sendable {
    /// Bytes of the messages of one answer.
    static let historyBytesMax = 16 << 20

    let core: ServerCore
    private let configuration: ServerConfiguration
    private var folder: String { configuration.server.dataFolder }
    private var addresses: RoomAddress { RoomAddress(configuration) }
    private var limits: RoomLimits { RoomLimits(configuration.rooms) }

    init(_ core: ServerCore, _ configuration: ServerConfiguration) {
        self.core = core
        self.configuration = configuration
    }

    func answer(_ order: RoomOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .list(let listing): return .rooms(try await list(listing))
        case .info(let address): return .room(try await report(on: try addresses.parse(address)))
        case .affiliations(let address, let name, let after):
            return .affiliations(try await affiliations(of: try addresses.parse(address), try Self.affiliation(name), after))
        case .history(let address, let last): return .history(try await history(of: try addresses.parse(address), last, by: by))
        case .create(let room): try await create(room, by: by)
        case .destroy(let address, let venue, let reason): try await destroy(try addresses.parse(address), venue, reason, by: by)
        case .setAffiliation(let change): try await set(change, by: by)
        }
        return .done
    }

    // MARK: Looking

    private func list(_ listing: RoomOrder.Listing) async throws(CommandFailure) -> [RoomLine] {
        let after = try listing.after.map(addresses.parse)
        let domains = try listing.domain.map { text throws(CommandFailure) in [try addresses.domain(text)] } ?? addresses.domains
        var lines: [RoomLine] = []
        for domain in domains where after.map({ $0.domainpart <= domain }) ?? true {
            let request = RoomListRequest(
                domain: domain, isPublic: listing.isPublic, text: listing.words, after: after?.domainpart == domain ? after : nil,
                limit: ControlProtocol.roomsMax - lines.count)
            guard request.limit > 0 else { break }
            do throws(StoreError) { lines += try await core.store.rooms(request).rooms.map(line) } catch { throw CommandFailure(error, in: folder) }
        }
        return lines
    }

    private func line(_ room: RoomSummary) -> RoomLine {
        RoomLine(
            address: room.address.description, name: room.name, isPersistent: room.isPersistent, isPublic: room.isPublic, created: room.created,
            occupants: MultiUserChat.occupantCount(of: room.address, core.router))
    }

    private func report(on address: BareJID) async throws(CommandFailure) -> RoomReport {
        let (id, report) = try await inRoom(address) { room, _, _ in (room.id, RoomReport(room)) }
        return try await reading { () throws(StoreError) in
            var report = report
            let ends = try await core.store.archiveEnds(of: id)
            (report.archiveFirst, report.archiveLast) = (ends?.first.time, ends?.last.time)
            return report
        }
    }

    private func affiliations(
        of address: BareJID, _ affiliation: RoomAffiliation, _ after: String?
    ) async throws(CommandFailure) -> [AffiliationLine] {
        try await inRoom(address) { room, _, _ in
            let page = room.affiliations.page(of: affiliation, after.map { .after($0) } ?? .first, limit: ControlProtocol.roomsMax)
            return page.addresses.map { address in
                let entry = room.affiliations[address]
                return AffiliationLine(jid: address.description, affiliation: affiliation.name, nickname: entry?.nickname, reason: entry?.reason)
            }
        }
    }

    private func history(of address: BareJID, _ last: Int, by: String) async throws(CommandFailure) -> [UtteranceLine] {
        guard (1...ControlProtocol.messagesMax).contains(last) else {
            throw CommandFailure(.usage, "from 1 to \(ControlProtocol.messagesMax) messages", hint: "'martlet archive export' writes all of them")
        }
        let id = try await number(of: address)
        core.router.audit.record(.roomRead(address, by: by))
        return try await reading { () throws(StoreError) in
            var request = ArchiveRequest(limit: last)
            request.isBackwards = true
            request.bytesMax = Self.historyBytesMax
            return try await core.store.archive(of: id, request)?.messages.compactMap { RoomUtterance($0).map(UtteranceLine.init) } ?? []
        }
    }

    /// Under which a room owns its archive.
    func number(of address: BareJID) async throws(CommandFailure) -> AccountID {
        try await inRoom(address) { room, _, _ in room.id }
    }

    func isRoom(_ address: BareJID) -> Bool { addresses.isRoom(address) }

    // MARK: Changing

    private func create(_ new: NewRoom, by: String) async throws(CommandFailure) {
        let address = try addresses.parse(new.address)
        let owners = try await owners(new.owners)
        let room = try Self.configuration(new.settings, of: RoomConfiguration(configuration.rooms.standard), limits)
        try await settle(address) { rooms, context, done in rooms.createRoom(address, room, owners: owners, core.router, context, done) }
        core.router.audit.record(.roomCreated(address, owners: owners, by: by))
    }

    /// Of this server's domains only accounts that there are: a misspelt owner leaves a room without one.
    private func owners(_ texts: [String]) async throws(CommandFailure) -> [BareJID] {
        var owners: [BareJID] = []
        for text in texts {
            let address = try AccountAddress.parse(text)
            if configuration.domains.contains(where: { $0.name == address.domainpart }) {
                let known = try await reading { () throws(StoreError) in try await core.store.credentials(of: address) }
                if known == nil { throw CommandFailure(.noAccount, "there is no account \(address)") }
            }
            if !owners.contains(address) { owners.append(address) }
        }
        guard !owners.isEmpty else { throw Self.ownerMissing }
        return owners
    }

    static var ownerMissing: CommandFailure {
        CommandFailure(.usage, "a room needs an owner", hint: "name one with --owner, such as --owner juliet@example.org")
    }

    private static func configuration(
        _ settings: [String: String], of standard: RoomConfiguration, _ limits: RoomLimits
    ) throws(CommandFailure) -> RoomConfiguration {
        var configuration = standard
        let fields = settings.sorted { $0.key < $1.key }.map { DataForm.Field($0.key, .textSingle, [$0.value]) }
        do throws(StanzaError) {
            try configuration.take(DataForm(.submit, type: RoomConfiguration.formType, fields: fields), limits: limits)
        } catch {
            throw CommandFailure(.data, "the room cannot be that way: \(error.text ?? error.condition.rawValue)")
        }
        return configuration
    }

    private func destroy(_ address: BareJID, _ venue: String?, _ reason: String?, by: String) async throws(CommandFailure) {
        let elsewhere = try venue.map { text throws(CommandFailure) in
            guard let venue = try? BareJID(parsing: text) else { throw CommandFailure(.data, "\(ConfigurationProblem.printable(text.prefix(200))) is not an address") }
            return venue
        }
        let bytesMax = limits.descriptionBytesMax
        if let reason, reason.utf8.count > bytesMax { throw CommandFailure(.data, "a reason may have \(bytesMax) bytes") }
        try await inRoom(address) { room, _, effects in room.destroy(venue: elsewhere, reason: reason, &effects) }
        core.router.audit.record(.roomDestroyed(address, by: by))
    }

    private func set(_ change: NewAffiliation, by: String) async throws(CommandFailure) {
        let room = try addresses.parse(change.room)
        let affiliation = try Self.affiliation(change.affiliation)
        guard let address = try? JID(change.jid) else {
            throw CommandFailure(.data, "\(ConfigurationProblem.printable(change.jid.prefix(200))) is not an address", hint: "write it like juliet@example.org")
        }
        try await inRoom(room) { room, moment, effects throws(RoomOrderFailure) in
            try room.setAffiliation(of: address, to: affiliation, reason: change.reason, nickname: change.nickname, moment, &effects)
        }
        core.router.audit.record(.roomAffiliationSet(room, address, affiliation: affiliation.name, by: by))
    }

    private static func affiliation(_ name: String) throws(CommandFailure) -> RoomAffiliation {
        if let affiliation = RoomAffiliation(named: name) { return affiliation }
        throw CommandFailure(
            .data, "there is no affiliation \(ConfigurationProblem.printable(name.prefix(40)))",
            hint: "there are \(RoomAffiliation.allCases.reversed().map(\.name).joined(separator: ", "))")
    }

    // MARK: Steps

    @discardableResult
    func inRoom<Value: Sendable>(
        _ address: BareJID, _ work: @escaping @Sendable (inout Room, RoomMoment, inout RoomEffects) throws(RoomOrderFailure) -> Value
    ) async throws(CommandFailure) -> Value {
        try await settle(address) { rooms, context, done in rooms.withRoom(address, core.router, context, work, done) }
    }

    private func settle<Value: Sendable>(
        _ address: BareJID,
        _ act: @escaping @Sendable (MultiUserChat, LoopContext, @escaping @Sendable (Result<Value, RoomOrderFailure>) -> Void) -> Void
    ) async throws(CommandFailure) -> Value {
        let outcome: Result<Value, RoomOrderFailure> = await withCheckedContinuation { continuation in
            core.mailbox.run { context in
                guard let rooms = context.hosts.service(of: address)?.service as? MultiUserChat else {
                    return continuation.resume(returning: .failure(.absent))
                }
                act(rooms, context) { continuation.resume(returning: $0) }
            }
        }
        do throws(RoomOrderFailure) { return try outcome.get() } catch { throw CommandFailure(error, address, in: folder) }
    }

    private func reading<Value>(_ body: () async throws(StoreError) -> Value) async throws(CommandFailure) -> Value {
        do throws(StoreError) { return try await body() } catch { throw CommandFailure(error, in: folder) }
    }
}

extension CommandFailure {
    fileprivate init(_ failure: RoomOrderFailure, _ room: BareJID, in folder: String) {
        switch failure {
        case .absent: self.init(.noAccount, "there is no room \(room)", hint: "'martlet room list' says which there are")
        case .exists: self.init(.data, "the room exists: \(room)")
        case .busy: self.init(.temporary, "too much waits for \(room)", hint: "try again")
        case .refused(let why): self.init(.data, "\(room): \(why)")
        case .store(let error): self.init(error, in: folder)
        }
    }
}

extension RoomReport {
    fileprivate init(_ room: Room) {
        let fields = room.configuration.form(.submit, limits: RoomLimits()).fields
        let named = fields.compactMap { field in field.name.map { ($0, field.values) } }
            .filter { $0.0 != DataForm.typeName && $0.0 != "muc#roomconfig_roomsecret" }
        let affiliations = RoomAffiliation.allCases.filter { $0 != .none }.map { ($0.name, room.affiliations.count(of: $0)) }
        let occupants = room.occupants.all.sorted { $0.nickname < $1.nickname }.map { occupant in
            Occupant(
                nickname: occupant.nickname, affiliation: occupant.affiliation.name, role: occupant.role.name,
                addresses: occupant.sessions.map(\.address.description))
        }
        self.init(
            address: room.address.description, name: room.configuration.name, description: room.configuration.description, created: room.created,
            isLocked: room.isLocked, types: room.configuration.types, configuration: Dictionary(named) { first, _ in first },
            affiliations: Dictionary(affiliations) { first, _ in first }, occupants: occupants, archiveFirst: nil, archiveLast: nil)
    }
}

extension UtteranceLine {
    fileprivate init(_ utterance: RoomUtterance) {
        self.init(
            id: String(utterance.id), time: utterance.time, nickname: utterance.nickname, jid: utterance.author?.description,
            subject: utterance.subject, body: utterance.body)
    }
}
