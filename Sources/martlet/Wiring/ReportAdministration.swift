import MartletCore
import MartletFeatures
import MartletStorage
import MartletXMPP

/// What operators do with reports (XEP-0377), and how block lists that others share are doing: the same in a running server and on the data of one that
/// does not run.
struct ReportAdministration: Sendable {
    private let core: ServerCore
    private let configuration: ServerConfiguration

    init(_ core: ServerCore, _ configuration: ServerConfiguration) {
        self.core = core
        self.configuration = configuration
    }

    private var folder: String { configuration.server.dataFolder }

    func answer(_ order: ReportOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .list(let before): return .reports(try await page(before).map(ReportLine.init))
        case .show(let id): return .reports([ReportLine(try await report(id))])
        case .delete(let ids): return .deleted(try await delete(ids, by: by))
        case .blockLists: return .blockLists(try await blockLists())
        }
    }

    private func page(_ before: Int64?) async throws(CommandFailure) -> [StoredReport] {
        do throws(StoreError) {
            return try await core.store.reports(before: before, limit: ControlProtocol.reportsMax)
        } catch { throw CommandFailure(error, in: folder) }
    }

    private func report(_ id: Int64) async throws(CommandFailure) -> StoredReport {
        do throws(StoreError) {
            if let report = try await core.store.report(id) { return report }
        } catch { throw CommandFailure(error, in: folder) }
        throw CommandFailure(.data, "there is no report \(id)", hint: "'martlet report list' lists them")
    }

    private func delete(_ ids: [Int64], by: String) async throws(CommandFailure) -> Int {
        guard ids.count <= ControlProtocol.reportsMax else { throw CommandFailure(.usage, "more than \(ControlProtocol.reportsMax) reports at once") }
        for id in ids { _ = try await report(id) }
        do throws(StoreError) { try await core.store.commit([.report(.remove(ids))]) } catch { throw CommandFailure(error, in: folder) }
        core.router.audit.record(.reportsDeleted(ids, by: by))
        return ids.count
    }

    // MARK: Block lists

    /// Those of the configuration in force, in its order.
    private func blockLists() async throws(CommandFailure) -> [BlockListLine] {
        let names = configuration.sharedLists
        let followed = Dictionary(core.sharedLists.reports.map { ($0.name, $0) }) { first, _ in first }
        if !followed.isEmpty { return names.compactMap { followed[$0].map(BlockListLine.init) } }
        do throws(StoreError) {
            let stored = Dictionary(try await core.store.sharedLists().map { ($0.name, $0) }) { first, _ in first }
            return names.map { name in
                BlockListLine(
                    service: name.service.description, node: name.node, state: "stopped", entries: stored[name]?.entries.count ?? 0,
                    fetched: stored[name]?.fetched)
            }
        } catch { throw CommandFailure(error, in: folder) }
    }
}

extension ReportLine {
    fileprivate init(_ stored: StoredReport) {
        self.init(
            id: stored.id, time: stored.time, reporter: stored.reporter.description, reported: stored.reported.description, reason: stored.reason)
        guard let report = SpamReport(stored: stored.content) else { return }
        texts = report.texts.map { Text(language: $0.language, text: $0.text) }
        messages = report.messages.map { Message(id: $0.id, archive: $0.archive.description) }
        (mayGoToOrigin, mayGoToOthers) = (report.mayGoToOrigin, report.mayGoToOthers)
    }
}

extension BlockListLine {
    fileprivate init(_ report: SharedListKeeper.Report) {
        self.init(
            service: report.name.service.description, node: report.name.node, state: report.state.rawValue, entries: report.entries, fetched: report.fetched,
            trouble: report.trouble)
    }
}

extension ServerConfiguration {
    /// The block lists of others that the server goes by.
    var sharedLists: [SharedListName] {
        blockLists.compactMap { list in (try? BareJID(parsing: list.service)).map { SharedListName(service: $0, node: list.node) } }
    }
}

extension SharedListKeeper {
    /// At the start, and after a reload.
    func follow(_ configuration: ServerConfiguration, _ core: ServerCore) {
        guard let domain = configuration.domains.first.flatMap({ try? BareJID(parsing: $0.name) }) else { return }
        let own = Set(configuration.allDomains + configuration.components.map(\.name))
        follow(configuration.sharedLists, as: domain, own: own, core.router, on: core.mailbox)
    }
}
