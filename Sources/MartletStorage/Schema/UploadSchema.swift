extension Schema {
    /// Files that accounts have uploaded, and slots for them; what is in the files is elsewhere. They go with their account. `size` is in bytes, times
    /// are in milliseconds since 1970. A slot has a token and an end, a file the time since when it is kept and its SHA-256.
    static let uploads: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE upload (
                name \(d.text) PRIMARY KEY NOT NULL, account \(d.integer) NOT NULL REFERENCES account(id) ON DELETE CASCADE,
                file_name \(d.text) NOT NULL, type \(d.text), size \(d.integer) NOT NULL, purpose \(d.integer) NOT NULL,
                created \(d.integer) NOT NULL, last_moment \(d.integer), slot_end \(d.integer), token \(d.bytes), kept \(d.integer),
                sha256 \(d.bytes),
                CHECK ((token IS NULL) = (slot_end IS NULL) AND (sha256 IS NULL) = (kept IS NULL) AND (token IS NULL) <> (kept IS NULL)))
                \(d.tableOptions)
            """,
            // With all that usage is made of.
            "CREATE INDEX upload_of_account ON upload (account, name, slot_end, size, created)",
            "CREATE INDEX upload_kept ON upload (purpose, kept) WHERE kept IS NOT NULL",
            "CREATE INDEX upload_slot ON upload (slot_end) WHERE slot_end IS NOT NULL",
            "CREATE INDEX upload_last_moment ON upload (last_moment) WHERE last_moment IS NOT NULL",
        ]
    }
}
