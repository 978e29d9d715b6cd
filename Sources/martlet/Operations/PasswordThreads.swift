package import MartletCore
package import MartletXMPP
import NIOPosix
import Synchronization

/// Checks and hashes passwords on a few threads of their own, with a bound on how many wait (`reliability.md` rule 15).
package final class PasswordThreads: PasswordWork, KeyDerivation {
    private let pool: NIOThreadPool
    private let waitingMax: Int
    /// Running or waiting.
    private let open = Atomic<Int>(0)
    private let threads: Int

    /// - Parameters:
    ///   - threads: passwords that are hashed at the same time.
    ///   - waitingMax: passwords that may wait for a thread.
    package init(threads: Int, waitingMax: Int) {
        self.threads = threads
        self.waitingMax = waitingMax
        pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
    }

    package var openCount: Int { open.load(ordering: .relaxed) }

    package func verify(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) async -> PasswordCheck? {
        await run { PasswordCheck(password, keys, others) }
    }

    package func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) async -> ScramKeys? {
        await run { try? ScramKeys.derive(password: password, salt: wanted.salt, iterations: wanted.iterations, hash: wanted.hash) } ?? nil
    }

    package func keys(of password: PreparedPassword, _ policy: KeyPolicy) async -> [ScramKeys]? {
        await run { try? policy.keys(of: password) } ?? nil
    }

    package func keys(of password: PreparedPassword, like keys: [ScramKeys]) async -> [ScramKeys]? {
        await run { try? keys.remade(of: password) } ?? nil
    }

    /// `nil` when too many wait already.
    private func run<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async -> Result? {
        guard open.wrappingAdd(1, ordering: .relaxed).newValue <= threads + waitingMax else {
            open.wrappingSubtract(1, ordering: .relaxed)
            return nil
        }
        defer { open.wrappingSubtract(1, ordering: .relaxed) }
        return try? await pool.runIfActive(work)
    }

    package func stop() async { try? await pool.shutdownGracefully() }
}
