import MartletStorage
import NIOCore
import Synchronization

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// A driver whose writing connection fails, or waits, where a test says so.
struct FaultyDriver: SQLDriver {
    final class Faults: Sendable {
        private struct State {
            var commits = 0
            var failure: (commit: Int, error: SQLError)?
            var isHeld = false
        }
        private let state = Mutex(State())

        /// The `commit`th from now on, counting from 1, fails, and so do all after it until ``clear()``.
        func fail(with error: SQLError, at commit: Int = 1) { state.withLock { $0.failure = ($0.commits + commit, error) } }
        func clear() { state.withLock { $0.failure = nil } }
        /// Commits wait until it is false again.
        var holds: Bool {
            get { state.withLock { $0.isHeld } }
            set { state.withLock { $0.isHeld = newValue } }
        }
        var commits: Int { state.withLock { $0.commits } }

        func willCommit() throws(SQLError) {
            while holds { sched_yield() }
            let error = state.withLock { state -> SQLError? in
                state.commits += 1
                guard let failure = state.failure, state.commits >= failure.commit else { return nil }
                return failure.error
            }
            if let error { throw error }
        }
    }

    var base: SQLiteDriver
    var faults: Faults
    var dialect: SQLDialect { base.dialect }
    func openReader() throws(SQLError) -> any SQLConnection { try base.openReader() }
    func openWriter() throws(SQLError) -> any SQLConnection { Connection(base: try base.openWriter(), faults: faults) }

    private final class Connection: SQLConnection {
        let base: any SQLConnection
        let faults: Faults
        init(base: any SQLConnection, faults: Faults) {
            self.base = base
            self.faults = faults
        }
        func execute(_ sql: String) throws(SQLError) {
            if sql == "COMMIT" { try faults.willCommit() }
            try base.execute(sql)
        }
        func prepare(_ sql: String) throws(SQLError) -> any SQLStatement { try base.prepare(sql) }
        func tidy() throws(SQLError) { try base.tidy() }
        var changes: Int { base.changes }
        var promise: String { base.promise }
        func close() { base.close() }
    }
}
