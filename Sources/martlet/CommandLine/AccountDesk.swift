import Foundation
import MartletCore

/// Carries out orders about accounts and rooms: through the server if it runs, else on its data. The data folder's lock keeps the two apart.
final class AccountDesk {
    private enum Way {
        case unknown
        case running
        case offline(ServerCore, AccountAdministration)
    }

    private let configuration: ServerConfiguration
    private let client: ControlClient
    private let creates: Bool
    private var way = Way.unknown

    /// - Parameter creates: whether a data folder that is not there is made.
    init(_ configuration: ServerConfiguration, creates: Bool = false) {
        self.configuration = configuration
        self.creates = creates
        client = ControlClient(path: configuration.controlSocketPath)
    }

    func ask(_ order: ControlOrder) async throws(CommandFailure) -> ControlResponse {
        switch way {
        case .running: return try client.askRunning(order)
        case .offline(_, let administration): return try await Self.carryOut(order, administration)
        case .unknown: break
        }
        if let response = try client.ask(order) {
            way = .running
            return response
        }
        let core = try await open()
        let administration = AccountAdministration(core, configuration)
        way = .offline(core, administration)
        return try await Self.carryOut(order, administration)
    }

    /// Every account, or those of a domain, a page at a time.
    func forEachPage(domain: String? = nil, _ body: ([AccountLine]) -> Void) async throws(CommandFailure) {
        var last: String?
        while case .accounts(let page) = try await ask(.accounts(domain: domain, after: last)), let end = page.last {
            body(page)
            last = end.address
        }
    }

    /// Commits what was done and lets go of the data folder.
    func close() async {
        guard case .offline(let core, _) = way else { return }
        await core.close()
        way = .unknown
    }

    private static func carryOut(_ order: ControlOrder, _ administration: AccountAdministration) async throws(CommandFailure) -> ControlResponse {
        guard let response = try await administration.answer(order, by: NSUserName()) else {
            throw CommandFailure(.software, "the order needs a running server")
        }
        return response
    }

    private func open() async throws(CommandFailure) -> ServerCore {
        let time = SystemClock()
        let logs = try ServerLogs.quiet(time)
        do throws(CommandFailure) {
            return try await ServerCore.open(
                configuration,
                .init(
                    holder: "martlet account", creates: creates, loops: 1, time: time, audit: logs.audit, log: logs.server,
                    onFatal: { error in
                        Terminal.complain("martlet: \(CommandFailure(error, in: "the data folder"))")
                        exit(ExitStatus.io.rawValue)
                    }))
        } catch {
            guard error.status == .temporary else { throw error }
            throw CommandFailure(
                .temporary, error.message, hint: "if that is a server, it is starting or stopping, or has its control socket elsewhere; try again")
        }
    }
}
