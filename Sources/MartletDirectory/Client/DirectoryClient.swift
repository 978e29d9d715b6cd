package import Logging
import MartletLDAP
import MartletXMPP
package import NIOCore

/// The connection on which the server itself asks the directory, bound as the service. There is one at a time, opened when it is wanted.
///
/// An actor: what is asked here is asked by nobody's stanza.
package actor DirectoryClient {
    package struct Settings: Sendable {
        package var identity = DirectoryIdentity.anonymous
        /// How often, while another server than the first is used, it is looked whether one before it is back.
        package var returnInterval = TimeAmount.seconds(60)

        package init() {}
    }

    /// A connection that is bound, and what its server can do.
    package struct Service: Sendable {
        package let connection: LDAPConnection
        package let root: RootDSE
        /// Its place in the order of servers.
        package let server: Int
    }

    private enum State {
        case idle
        /// For all who want one now.
        case opening(Task<Result<Service, DirectoryFailure>, Never>)
        case open(Service)
        case closed
    }

    private let servers: DirectoryServers
    private let settings: Settings
    private let log: Logger
    private var state = State.idle

    package init(_ servers: DirectoryServers, _ settings: Settings = Settings(), log: Logger) {
        self.servers = servers
        self.settings = settings
        self.log = log
    }

    /// The connection there is, or a new one.
    package func service() async throws(DirectoryFailure) -> Service {
        if case .open(let service) = state {
            if await service.connection.isOpen { return service }
            // Somebody else may have seen that in the meantime.
            if case .open(let other) = state, other.connection === service.connection { state = .idle }
        }
        switch state {
        case .open(let service): return service
        case .closed: throw .closed
        case .opening(let task): return try await task.value.get()
        case .idle: return try await open()
        }
    }

    private func open() async throws(DirectoryFailure) -> Service {
        let task = Task { await self.opened(first: .max) }
        state = .opening(task)
        let result = await task.value
        guard case .opening = state else {
            if case .success(let service) = result { service.connection.unbind() }
            throw .closed
        }
        switch result {
        case .success(let service): use(service)
        case .failure: state = .idle
        }
        return try result.get()
    }

    /// As a result, since a task keeps only that with its type.
    private nonisolated func opened(first count: Int) async -> Result<Service, DirectoryFailure> {
        let identity = settings.identity
        do throws(DirectoryFailure) {
            let opened = try await servers.open(first: count) { connection throws(DirectoryFailure) in
                let answer = try await connection.bind(as: identity)
                guard answer.result.code == .success else { throw .refused(answer.result) }
                return try await connection.rootDSE()
            }
            return .success(Service(connection: opened.connection, root: opened.value, server: opened.server))
        } catch {
            return .failure(error)
        }
    }

    private func use(_ service: Service) {
        state = .open(service)
        log.info("The directory is asked", metadata: ["server": "\(service.connection.address)", "vendor": "\(service.root.vendorName ?? "-")"])
        lookForBetter(than: service)
    }

    // MARK: The way back to the first

    private func lookForBetter(than service: Service) {
        guard service.server > 0 else { return }
        service.connection.loop.scheduleTask(in: settings.returnInterval) { Task { await self.returnToBetter(than: service) } }
    }

    private func returnToBetter(than service: Service) async {
        guard isUsed(service) else { return }
        let result = await opened(first: service.server)
        switch result {
        case .failure: if isUsed(service) { lookForBetter(than: service) }
        case .success(let better):
            guard isUsed(service) else { return better.connection.unbind() }
            use(better)
            service.connection.retire()
        }
    }

    private func isUsed(_ service: Service) -> Bool { if case .open(let used) = state { used.connection === service.connection } else { false } }

    /// For good.
    package func close() {
        if case .open(let service) = state { service.connection.unbind() }
        state = .closed
    }
}
