import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Synchronization
import Testing

@Suite("Accounts that do not exist")
struct MissingAccountTests {
    @Test("the database is asked as much about an account that does not exist as about one that does (rule 23)")
    func statements() async throws {
        let (folder, count) = (TemporaryFolder(), CountingDriver.Count())
        let store = try SQLiteStore.open(
            folder: folder.path, options: options(FatalErrors()) { $0.driver = { CountingDriver(base: SQLiteDriver(file: $0), count: count) } })
        defer { store.close() }
        _ = try await store.create(juliet)
        // The first question prepares statements.
        _ = try await store.load(juliet)
        var steps: [Int] = []
        for address in [juliet, romeo] {
            let before = count.value
            let account = try await store.load(address)
            #expect((account != nil) == (address == juliet))
            steps.append(count.value - before)
        }
        // A row that is there takes a step more only where there may be several.
        #expect(steps[0] > 5 && abs(steps[0] - steps[1]) <= 2)
        withExtendedLifetime(folder) {}
    }
}

/// A driver that counts the steps of what is read.
private struct CountingDriver: SQLDriver {
    final class Count: Sendable {
        private let steps = Atomic<Int>(0)
        var value: Int { steps.load(ordering: .sequentiallyConsistent) }
        func add() { steps.add(1, ordering: .sequentiallyConsistent) }
    }

    var base: SQLiteDriver
    var count: Count
    var dialect: SQLDialect { base.dialect }
    func openReader() throws(SQLError) -> any SQLConnection { Connection(base: try base.openReader(), count: count) }
    func openWriter() throws(SQLError) -> any SQLConnection { try base.openWriter() }

    private final class Connection: SQLConnection {
        let base: any SQLConnection
        let count: Count
        init(base: any SQLConnection, count: Count) {
            self.base = base
            self.count = count
        }
        func execute(_ sql: String) throws(SQLError) { try base.execute(sql) }
        func prepare(_ sql: String) throws(SQLError) -> any SQLStatement { Statement(base: try base.prepare(sql), count: count) }
        func tidy() throws(SQLError) { try base.tidy() }
        var changes: Int { base.changes }
        var promise: String { base.promise }
        func close() { base.close() }
    }

    private final class Statement: SQLStatement {
        let base: any SQLStatement
        let count: Count
        init(base: any SQLStatement, count: Count) {
            self.base = base
            self.count = count
        }
        func bind(_ value: Int64, at parameter: Int) { base.bind(value, at: parameter) }
        func bind(text: UnsafeRawBufferPointer, at parameter: Int) { base.bind(text: text, at: parameter) }
        func bind(bytes: UnsafeRawBufferPointer, at parameter: Int) { base.bind(bytes: bytes, at: parameter) }
        func bindNull(at parameter: Int) { base.bindNull(at: parameter) }
        func step() throws(SQLError) -> Bool {
            count.add()
            return try base.step()
        }
        func reset() { base.reset() }
        func integer(_ column: Int) -> Int64 { base.integer(column) }
        func isNull(_ column: Int) -> Bool { base.isNull(column) }
        func withBytes<Result, Failure: Error>(
            _ column: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
        ) throws(Failure) -> Result { try base.withBytes(column, body) }
    }
}
