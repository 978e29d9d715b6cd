package import Logging
package import MartletCore
import MartletLDAP
import NIOConcurrencyHelpers
import NIOCore

/// The servers of one directory, in the operator's order, and what is known of each: shared by all who connect to them.
package final class DirectoryServers: Sendable {
    /// A connection, what was made of it, and whose it is.
    package struct Opened<Value: Sendable>: Sendable {
        package let connection: LDAPConnection
        package let value: Value
        /// Its place in the order.
        package let server: Int
    }

    package let addresses: [DirectoryAddress]
    private let dial: LDAPDial
    private let time: any TimeSource
    private let random: any RandomSource
    private let log: Logger
    // Short: numbers are looked at, from loops and tasks.
    private let selection: NIOLockedValueBox<ServerSelection>

    package init(
        _ addresses: [DirectoryAddress], _ dial: LDAPDial, _ settings: ServerSelection.Settings = ServerSelection.Settings(), time: any TimeSource,
        random: any RandomSource = SystemRandom(), log: Logger
    ) {
        self.addresses = addresses
        self.dial = dial
        self.time = time
        self.random = random
        self.log = log
        selection = NIOLockedValueBox(ServerSelection(servers: addresses.count, settings))
    }

    var now: NIODeadline { time.monotonic }

    /// Whether at least one server has nothing against it.
    package var isWell: Bool { selection.withLockedValue { selection in selection.servers.contains { selection.isWell($0) } } }

    /// Opens a connection to the first server that is well, and makes it what it is to be: bound, looked at.
    ///
    /// - Parameters:
    ///   - count: how many servers, from the first, are tried.
    ///   - prepare: if it fails the connection is closed, and the next server is tried.
    /// - Throws: what the last one said; ``DirectoryFailure/resting`` if all are left alone.
    package func open<Value: Sendable>(
        first count: Int = .max, _ prepare: @Sendable (LDAPConnection) async throws(DirectoryFailure) -> Value
    ) async throws(DirectoryFailure) -> Opened<Value> {
        var failure = DirectoryFailure.resting
        for server in addresses.indices.prefix(count) where admits(server) {
            do throws(DirectoryFailure) {
                return try await open(server, prepare)
            } catch {
                failed(server, error)
                failure = error
            }
        }
        throw failure
    }

    private func open<Value: Sendable>(
        _ server: Int, _ prepare: @Sendable (LDAPConnection) async throws(DirectoryFailure) -> Value
    ) async throws(DirectoryFailure) -> Opened<Value> {
        let connection = try await dial.open(addresses[server], watch: watch(server))
        do throws(DirectoryFailure) {
            return Opened(connection: connection, value: try await prepare(connection), server: server)
        } catch {
            connection.unbind()
            throw error
        }
    }

    private func admits(_ server: Int) -> Bool {
        let now = time.monotonic
        return selection.withLockedValue { $0.admits(server, at: now) }
    }

    private func failed(_ server: Int, _ why: DirectoryFailure) {
        let (now, jitter) = (time.monotonic, Double(random.bytes(1)[0]) / 255)
        selection.withLockedValue { selection in
            if why.isLasting { selection.refused(server, at: now) } else { selection.failed(server, at: now, jitter: jitter) }
        }
        log.warning("The directory's server cannot be used", metadata: ["server": "\(addresses[server])", "reason": "\(why)"])
    }

    private func watch(_ server: Int) -> LDAPConnection.Watch {
        LDAPConnection.Watch {
            self.selection.withLockedValue { $0.answered(server) }
        } timedOut: {
            self.timedOut(server)
        }
    }

    /// - Returns: whether the connection is of no use any more.
    private func timedOut(_ server: Int) -> Bool {
        let now = time.monotonic
        let (wasWell, isLeftAlone) = selection.withLockedValue { ($0.isWell(server), $0.timedOut(server, at: now)) }
        if wasWell, isLeftAlone {
            log.warning("The directory's server does not answer, and is left alone", metadata: ["server": "\(addresses[server])"])
        }
        return isLeftAlone
    }
}

extension DirectoryFailure {
    /// Whether the server has said no, and will say it again.
    fileprivate var isLasting: Bool {
        guard case .refused(let result) = self else { return false }
        return result.code != .busy && result.code != .unavailable
    }
}
