package import NIOCore

/// One kind of database: how it is opened and how its dialect differs.
///
/// The statements of this module are written once, for every driver: parameters are `$1`, `$2`, …; what databases spell
/// differently is in ``SQLDialect``; conflicts are `ON CONFLICT`, results of changes are `RETURNING`. What only one database
/// needs done (pragmas, checkpoints) stays behind ``SQLConnection``.
package protocol SQLDriver: Sendable {
    var dialect: SQLDialect { get }
    /// A connection for the one thread that writes.
    func openWriter() throws(SQLError) -> any SQLConnection
    /// A connection that cannot change anything.
    func openReader() throws(SQLError) -> any SQLConnection
}

/// What databases spell differently.
package struct SQLDialect: Sendable {
    /// The type of signed 64-bit integers.
    package var integer: String
    package var bytes: String
    /// Text that is compared octet by octet.
    package var text: String
    /// Ends `CREATE TABLE`.
    package var tableOptions: String
    /// Ends `CREATE TABLE` where rows are to lie in the order of the primary key.
    package var clusteredTableOptions: String

    package init(integer: String, bytes: String, text: String, tableOptions: String, clusteredTableOptions: String) {
        self.integer = integer
        self.bytes = bytes
        self.text = text
        self.tableOptions = tableOptions
        self.clusteredTableOptions = clusteredTableOptions
    }
}

/// A connection to a database. Used by one thread at a time.
package protocol SQLConnection: AnyObject {
    /// Statements without parameters and without results, separated by semicolons.
    func execute(_ sql: String) throws(SQLError)
    func prepare(_ sql: String) throws(SQLError) -> any SQLStatement
    /// Rows that the last change changed.
    var changes: Int { get }
    /// What the database wants done between commits, and may take milliseconds for.
    func tidy() throws(SQLError)
    /// For the operator: which database, and what it promises of a commit.
    var promise: String { get }
    func close()
}

/// A prepared statement, to be used again and again by the thread of its connection: ``bind``, ``step()`` until there is no
/// row, ``reset()``. Parameters and columns count from 1 and 0 as everywhere in SQL interfaces.
package protocol SQLStatement: AnyObject {
    func bind(_ value: Int64, at parameter: Int)
    func bind(text: UnsafeRawBufferPointer, at parameter: Int)
    func bind(bytes: UnsafeRawBufferPointer, at parameter: Int)
    func bindNull(at parameter: Int)
    /// - Returns: whether there is a row; its columns are valid until the next step.
    func step() throws(SQLError) -> Bool
    /// Makes ready for the next use; parameters are forgotten.
    func reset()
    func integer(_ column: Int) -> Int64
    func isNull(_ column: Int) -> Bool
    /// Empty for null.
    func withBytes<Result, Failure: Error>(
        _ column: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result
}

/// Why a database did not do what it was asked.
package struct SQLError: Error, Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// The change contradicts what is there. Only this change is refused.
        case constraint
        /// No space. Nothing was written; may come back.
        case full
        /// Somebody else holds the database.
        case busy
        /// Reading or writing failed: what is on the disk is unknown until the database is opened anew.
        case io
        /// The file contradicts itself.
        case corrupt
        case notADatabase
        case cannotOpen
        case readOnly
        /// A mistake of ours, or out of memory.
        case other
    }

    package var kind: Kind
    /// The database's own number, for the log.
    package var code: Int32
    package var message: String

    package init(_ kind: Kind, code: Int32 = 0, _ message: String) {
        self.kind = kind
        self.code = code
        self.message = message
    }
}

extension SQLConnection {
    /// Runs `body` in a transaction: all or nothing.
    package func transaction<Result>(_ body: () throws(SQLError) -> Result) throws(SQLError) -> Result {
        try execute("BEGIN")
        do throws(SQLError) {
            let result = try body()
            try execute("COMMIT")
            return result
        } catch {
            // Fails where the database has rolled back by itself, as for a full disk.
            try? execute("ROLLBACK")
            throw error
        }
    }

    /// Prepares, runs once and reads every row.
    package func rows<Row>(
        _ sql: String, _ bind: (any SQLStatement) -> Void = { _ in }, _ row: (any SQLStatement) throws(SQLError) -> Row
    ) throws(SQLError) -> [Row] {
        try prepare(sql).rows(bind, row)
    }
}

extension SQLStatement {
    /// Runs a change.
    package func run(_ bind: (any SQLStatement) -> Void = { _ in }) throws(SQLError) {
        defer { reset() }
        bind(self)
        while try step() {}
    }

    /// Reads every row.
    package func rows<Row>(
        _ bind: (any SQLStatement) -> Void = { _ in }, _ row: (any SQLStatement) throws(SQLError) -> Row
    ) throws(SQLError) -> [Row] {
        defer { reset() }
        bind(self)
        var rows: [Row] = []
        while try step() { rows.append(try row(self)) }
        return rows
    }

    /// Reads the first row, if there is one.
    package func first<Row>(
        _ bind: (any SQLStatement) -> Void = { _ in }, _ row: (any SQLStatement) throws(SQLError) -> Row
    ) throws(SQLError) -> Row? {
        defer { reset() }
        bind(self)
        return try step() ? try row(self) : nil
    }

    package func bind(_ text: String, at parameter: Int) {
        var text = text
        text.withUTF8 { bind(text: UnsafeRawBufferPointer($0), at: parameter) }
    }

    package func bind(_ text: String?, at parameter: Int) {
        if let text { bind(text, at: parameter) } else { bindNull(at: parameter) }
    }

    package func bind(_ bytes: ByteBuffer, at parameter: Int) {
        bytes.withUnsafeReadableBytes { bind(bytes: $0, at: parameter) }
    }

    package func bind(_ bytes: [UInt8], at parameter: Int) {
        bytes.withUnsafeBytes { bind(bytes: $0, at: parameter) }
    }

    package func bind(_ flag: Bool, at parameter: Int) { bind(flag ? 1 : 0, at: parameter) }

    package func text(_ column: Int) -> String { withBytes(column) { String(decoding: $0, as: UTF8.self) } }
    package func bytes(_ column: Int) -> [UInt8] { withBytes(column) { Array($0) } }
    package func buffer(_ column: Int) -> ByteBuffer { withBytes(column) { ByteBuffer(bytes: $0) } }
    package func optionalText(_ column: Int) -> String? { isNull(column) ? nil : text(column) }
    package func flag(_ column: Int) -> Bool { integer(column) != 0 }
    /// Numbers that are never negative; a negative one is a broken database and reads as 0.
    package func unsigned(_ column: Int) -> UInt64 { UInt64(clamping: integer(column)) }
}
