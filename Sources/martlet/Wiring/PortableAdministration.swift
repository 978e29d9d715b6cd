import MartletCore
import MartletFeatures
import MartletStorage
import MartletXMPP
import NIOCore

/// Moves accounts out and in (XEP-0227): the same in a running server and on the data of one that does not run. Both are audited: it is all that
/// people have.
struct PortableAdministration: Sendable {
    let core: ServerCore
    let folder: String
    /// The domains that are hosted.
    let domains: Set<String>
    let limits: HostLimits
    let eventing: PersonalEventingSettings

    init(_ core: ServerCore, _ configuration: ServerConfiguration) {
        self.core = core
        folder = configuration.server.dataFolder
        domains = Set(configuration.domains.map(\.name))
        limits = HostLimits(configuration)
        eventing = PersonalEventingSettings(configuration.pubsub)
    }

    func answer(_ order: PortableOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .page(let text, let place, let hasArchive): return .portable(try await page(of: text, at: place, hasArchive, by: by))
        case .isFree(let text): try await checkIsFree(try AccountAddress.hosted(text, domains))
        case .begin(let text, let replacing): try await begin(try AccountAddress.hosted(text, domains), replacing, by: by)
        case .take(let text, let pieces, let lastView): return try await take(pieces, of: try AccountAddress.parse(text), after: lastView)
        case .finish(let text, let keys, let isEnabled): try await finish(try AccountAddress.parse(text), keys, isEnabled, by: by)
        }
        return .done
    }

    // MARK: Out

    private func page(of text: String, at place: PortableExport.Place, _ hasArchive: Bool, by: String) async throws(CommandFailure) -> PortablePage {
        let address = try AccountAddress.parse(text)
        let export = PortableExport(core.router, eventing: eventing, hasArchive: hasArchive)
        let found: PortableExport.Page?
        do throws(StoreError) { found = try await export.page(of: address, at: place) } catch { throw CommandFailure(error, in: folder) }
        guard let page = found else { throw CommandFailure(.noAccount, "there is no account \(address)") }
        if place == .account { core.router.audit.record(.accountExported(address, by: by)) }
        return PortablePage(lines: page.lines.map { String(buffer: $0) }, next: page.next)
    }

    // MARK: In

    private func identity(of address: BareJID) async throws(CommandFailure) -> StoredIdentity? {
        do throws(StoreError) { return try await core.store.credentials(of: address) } catch { throw CommandFailure(error, in: folder) }
    }

    /// Nobody has an account like this but who is being imported (``Router/beginImport(of:replacing:by:on:)``).
    private static func isUnfinished(_ identity: StoredIdentity) -> Bool { !identity.isEnabled && identity.credentials.isEmpty }

    private func checkIsFree(_ address: BareJID) async throws(CommandFailure) {
        guard let identity = try await identity(of: address), !Self.isUnfinished(identity) else { return }
        throw CommandFailure(.data, "\(address) exists already")
    }

    private func begin(_ address: BareJID, _ replacing: Bool, by: String) async throws(CommandFailure) {
        let known = try await identity(of: address)
        if let known, !replacing, !Self.isUnfinished(known) { throw CommandFailure(.data, "\(address) exists already") }
        do throws(AccountRefusal) {
            try await core.router.beginImport(of: address, replacing: known != nil, by: by, on: core.mailbox)
        } catch {
            throw CommandFailure(error, in: folder)
        }
        if let known {
            core.uploads.accountDeleted(known.id, executor: nil)
            await core.uploads.removal(of: known.id)
        }
    }

    private func take(_ pieces: [PortablePiece], of address: BareJID, after lastView: UInt64) async throws(CommandFailure) -> ControlResponse {
        guard let identity = try await identity(of: address), Self.isUnfinished(identity) else {
            throw CommandFailure(.data, "\(address) is not being imported")
        }
        do throws(StoreError) {
            // An import may take hours, and without a server nobody else sees to it.
            try await core.router.ids.reserve(in: core.store, core.time)
            guard let contents = try await PortableImport.Contents.load(address, core.store) else {
                throw StoreError.constraint("\(address) went while it was imported")
            }
            let surroundings = PortableImport.Surroundings(
                limits: limits, eventing: eventing, ids: core.router.ids, random: SystemRandom(), now: core.time.wallMilliseconds)
            var account = PortableImport(address, contents, lastView: lastView, surroundings)
            for piece in pieces { account.take(piece) }
            let (report, last) = (account.report, account.lastView)
            let writes = account.writes()
            if !writes.isEmpty { try await core.store.commit(writes) }
            return .imported(report, lastView: last)
        } catch {
            throw CommandFailure(error, in: folder)
        }
    }

    private func finish(_ address: BareJID, _ texts: [String], _ isEnabled: Bool, by: String) async throws(CommandFailure) {
        let keys = try ScramKeys.parsed(texts)
        do throws(AccountRefusal) {
            try await core.router.finishImport(of: address, keys, isEnabled: isEnabled, by: by, on: core.mailbox)
        } catch {
            throw CommandFailure(error, in: folder)
        }
    }
}
