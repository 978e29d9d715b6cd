internal import MartletCore
internal import MartletXMPP

/// The tables of devices and their tokens (XEP-0494, XEP-0484), which go with the account. Of a token there is what it is made of, besides a secret that
/// is not in the database.
enum DeviceTables {
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE device (
                account \(d.integer) NOT NULL REFERENCES account(id) ON DELETE CASCADE, id \(d.integer) NOT NULL, software \(d.text), name \(d.text), label \(d.text),
                first_seen \(d.integer) NOT NULL, last_seen \(d.integer) NOT NULL, proofs \(d.integer) NOT NULL,
                PRIMARY KEY (account, id)) \(d.clusteredTableOptions)
            """,
            "CREATE INDEX device_last_seen ON device (last_seen)",
            """
            CREATE TABLE device_token (
                account \(d.integer) NOT NULL, device \(d.integer) NOT NULL, slot \(d.integer) NOT NULL, mechanism \(d.text) NOT NULL,
                seed \(d.bytes) NOT NULL, issued \(d.integer) NOT NULL, expires \(d.integer) NOT NULL, count \(d.integer) NOT NULL,
                PRIMARY KEY (account, device, slot),
                FOREIGN KEY (account, device) REFERENCES device(account, id) ON DELETE CASCADE) \(d.clusteredTableOptions)
            """,
            "CREATE INDEX device_token_expires ON device_token (expires)",
        ]
    }
}

/// A reader's statements about devices.
final class DeviceReads {
    private let all, one, tokens, tokensOfOne: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        let device = "SELECT id, software, name, first_seen, last_seen, proofs, label, application_password FROM device WHERE account = $1"
        all = try connection.prepare("\(device) ORDER BY id")
        one = try connection.prepare("\(device) AND id = $2")
        let token = "SELECT device, slot, mechanism, seed, issued, expires, count FROM device_token WHERE account = $1"
        tokens = try connection.prepare(token)
        tokensOfOne = try connection.prepare("\(token) AND device = $2")
    }

    func devices(of account: AccountID) throws(SQLError) -> [StoredDevice] {
        var devices = try all.rows({ $0.bind(account.raw, at: 1) }, Self.device)
        let tokens = Dictionary(grouping: try tokens.rows({ $0.bind(account.raw, at: 1) }, Self.token), by: \.device)
        for index in devices.indices { devices[index].take(tokens[devices[index].id] ?? []) }
        return devices
    }

    func device(_ id: DeviceID, of account: AccountID) throws(SQLError) -> StoredDevice? {
        guard var device = try one.first({ $0.bind(id, of: account.raw) }, Self.device) else { return nil }
        device.take(try tokensOfOne.rows({ $0.bind(id, of: account.raw) }, Self.token))
        return device
    }

    /// The same without their tokens, as each was seen last.
    func sightings(of account: AccountID) throws(SQLError) -> [DeviceSighting] {
        try all.rows({ $0.bind(account.raw, at: 1) }) { row throws(SQLError) in DeviceSighting(try Self.device(row)) }
    }

    private static func device(_ row: any SQLStatement) throws(SQLError) -> StoredDevice {
        var device = StoredDevice(
            id: DeviceID(raw: row.integer(0)), software: row.optionalText(1), name: row.optionalText(2), label: row.optionalText(6),
            firstSeen: row.integer(3), lastSeen: row.integer(4), proofs: DeviceProofs(rawValue: row.integer(5)))
        device.applicationPasswords = UsedApplicationPasswords(line: row.optionalText(7))
        return device
    }

    private static func token(_ row: any SQLStatement) throws(SQLError) -> TokenRow {
        guard let slot = TokenSlot(rawValue: Int(clamping: row.integer(1))), let mechanism = HashedTokenMechanism(rawValue: row.text(2)) else {
            throw SQLError(.corrupt, "a token of a device")
        }
        let token = StoredToken(mechanism: mechanism, seed: row.bytes(3), issued: row.integer(4), expires: row.integer(5), count: row.integer(6))
        return TokenRow(device: DeviceID(raw: row.integer(0)), slot: slot, token: token)
    }
}

private struct TokenRow {
    var device: DeviceID
    var slot: TokenSlot
    var token: StoredToken
}

extension StoredDevice {
    fileprivate mutating func take(_ rows: [TokenRow]) {
        for row in rows { tokens[row.slot] = row.token }
    }
}

/// The writer's statements about devices. Called within a transaction.
final class DeviceWrites {
    private let connection: any SQLConnection
    private let see, insert, makeRoom, leave, prove, label, give, find, takeCurrent, makeCurrent, withdraw, withdrawAll, remove, forgetProofs, removeUnseen,
        removeOldTokens, usedPasswords, setUsedPasswords: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        see = try connection.prepare(
            """
            UPDATE device SET software = $3, name = $4, last_seen = CASE WHEN last_seen < $5 THEN $5 ELSE last_seen END, proofs = proofs | $6
            WHERE account = $1 AND id = $2
            """)
        insert = try connection.prepare(
            """
            INSERT INTO device (account, id, software, name, first_seen, last_seen, proofs)
            SELECT $1, $2, $3, $4, $5, $5, $6 FROM account WHERE id = $1
            """)
        makeRoom = try connection.prepare(
            """
            DELETE FROM device WHERE account = $1 AND id IN (
                SELECT d.id FROM device d WHERE d.account = $1 AND d.id <> $2
                ORDER BY EXISTS (SELECT 1 FROM device_token t WHERE t.account = d.account AND t.device = d.id) DESC, d.last_seen DESC, d.id
                LIMIT 1000000 OFFSET $3)
            """)
        leave = try connection.prepare("UPDATE device SET last_seen = $3 WHERE account = $1 AND id = $2 AND last_seen < $3")
        prove = try connection.prepare("UPDATE device SET proofs = proofs | $3 WHERE account = $1 AND id = $2")
        label = try connection.prepare("UPDATE device SET label = $3 WHERE account = $1 AND id = $2")
        give = try connection.prepare(
            """
            INSERT INTO device_token (account, device, slot, mechanism, seed, issued, expires, count)
            SELECT $1, $2, 0, $3, $4, $5, $6, $7 FROM device WHERE account = $1 AND id = $2
            ON CONFLICT (account, device, slot) DO UPDATE SET mechanism = excluded.mechanism, seed = excluded.seed, issued = excluded.issued,
                expires = excluded.expires, count = excluded.count
            """)
        find = try connection.prepare("SELECT slot, count FROM device_token WHERE account = $1 AND device = $2 AND seed = $3")
        takeCurrent = try connection.prepare("DELETE FROM device_token WHERE account = $1 AND device = $2 AND slot = 1 AND seed <> $3")
        makeCurrent = try connection.prepare("UPDATE device_token SET slot = 1, count = $4 WHERE account = $1 AND device = $2 AND seed = $3")
        withdraw = try connection.prepare("DELETE FROM device_token WHERE account = $1 AND device = $2")
        withdrawAll = try connection.prepare("DELETE FROM device_token WHERE account = $1")
        remove = try connection.prepare("DELETE FROM device WHERE account = $1 AND id = $2")
        forgetProofs = try connection.prepare(
            "UPDATE device SET proofs = proofs & ~\(DeviceProofs.password.rawValue), application_password = NULL WHERE account = $1")
        usedPasswords = try connection.prepare("SELECT id, application_password FROM device WHERE account = $1 AND application_password IS NOT NULL")
        setUsedPasswords = try connection.prepare("UPDATE device SET application_password = $3 WHERE account = $1 AND id = $2")
        removeUnseen = try connection.prepare("DELETE FROM device WHERE last_seen < $1")
        removeOldTokens = try connection.prepare("DELETE FROM device_token WHERE expires < $1")
    }

    func apply(_ change: DeviceChange) throws(SQLError) {
        switch change {
        case .seen(let account, let sighting, let devicesMax): try note(sighting, of: account.raw, devicesMax)
        case .left(let account, let device, let time):
            try leave.run {
                $0.bind(device, of: account.raw)
                $0.bind(time, at: 3)
            }
        case .proved(let account, let device, let proofs):
            try prove.run {
                $0.bind(device, of: account.raw)
                $0.bind(proofs.rawValue, at: 3)
            }
        case .label(let account, let device, let text):
            try label.run {
                $0.bind(device, of: account.raw)
                $0.bind(text, at: 3)
            }
            guard connection.changes > 0 else { throw SQLError(.constraint, "there is no such device") }
        case .give(let account, let device, let token): try put(token, of: device, account.raw)
        case .use(let account, let device, let seed, let count): try use(seed, of: device, account.raw, count)
        case .withdrawTokens(let account, let device): try withdraw.run { $0.bind(device, of: account.raw) }
        case .remove(let account, let device): try remove.run { $0.bind(device, of: account.raw) }
        case .removeUnseen(let time):
            for statement in [removeUnseen, removeOldTokens] { try statement.run { $0.bind(time, at: 1) } }
        }
    }

    /// The account's password is another one.
    func credentialsChanged(of account: Int64) throws(SQLError) {
        for statement in [withdrawAll, forgetProofs] { try statement.run { $0.bind(account, at: 1) } }
    }

    private func note(_ sighting: DeviceSighting, of account: Int64, _ devicesMax: Int) throws(SQLError) {
        func bind(_ statement: any SQLStatement) {
            statement.bind(sighting.id, of: account)
            statement.bind(sighting.software, at: 3)
            statement.bind(sighting.name, at: 4)
            statement.bind(sighting.time, at: 5)
            statement.bind(sighting.proofs.rawValue, at: 6)
        }
        try see.run(bind)
        guard connection.changes == 0 else { return try noteApplicationPassword(of: sighting, account) }
        try insert.run(bind)
        try makeRoom.run {
            $0.bind(sighting.id, of: account)
            $0.bind(Int64(max(0, devicesMax - 1)), at: 3)
        }
        try noteApplicationPassword(of: sighting, account)
    }

    private func noteApplicationPassword(of sighting: DeviceSighting, _ account: Int64) throws(SQLError) {
        try changeUsedPasswords(of: account) { used in
            if let name = sighting.applicationPassword {
                for device in used.keys where device != sighting.id { used[device]?.anotherDeviceLogsIn(by: name) }
            }
            used[sighting.id, default: UsedApplicationPasswords()].logIn(by: sighting.applicationPassword)
        }
    }

    /// One of the account's passwords for applications is gone.
    func applicationPasswordEnded(_ name: String, of account: Int64) throws(SQLError) {
        try changeUsedPasswords(of: account) { used in
            for device in used.keys { used[device]?.end(name) }
        }
    }

    /// Of an account's devices there are few (``StoredDevice/perAccountMax``), and mostly none that has used any.
    private func changeUsedPasswords(of account: Int64, _ change: (inout [DeviceID: UsedApplicationPasswords]) -> Void) throws(SQLError) {
        let rows = try usedPasswords.rows({ $0.bind(account, at: 1) }) { (DeviceID(raw: $0.integer(0)), UsedApplicationPasswords(line: $0.text(1))) }
        let before = Dictionary(uniqueKeysWithValues: rows)
        var after = before
        change(&after)
        for (device, used) in after where used != before[device] ?? UsedApplicationPasswords() {
            try setUsedPasswords.run {
                $0.bind(device, of: account)
                $0.bind(used.line, at: 3)
            }
        }
    }

    private func put(_ token: StoredToken, of device: DeviceID, _ account: Int64) throws(SQLError) {
        try give.run {
            $0.bind(device, of: account)
            $0.bind(token.mechanism.name, at: 3)
            $0.bind(token.seed, at: 4)
            $0.bind(token.issued, at: 5)
            $0.bind(token.expires, at: 6)
            $0.bind(token.count, at: 7)
        }
        guard connection.changes > 0 else { throw SQLError(.constraint, "there is no such device") }
    }

    private func use(_ seed: [UInt8], of device: DeviceID, _ account: Int64, _ count: Int64?) throws(SQLError) {
        func bind(_ statement: any SQLStatement) {
            statement.bind(device, of: account)
            statement.bind(seed, at: 3)
        }
        guard let before = try find.first(bind, { $0.integer(1) }) else { throw SQLError(.constraint, "the device has no such token") }
        guard count.map({ $0 > before }) ?? true else { throw SQLError(.constraint, "the token was used with that count before") }
        try takeCurrent.run(bind)
        try makeCurrent.run {
            bind($0)
            $0.bind(count ?? before, at: 4)
        }
    }
}

extension SQLStatement {
    fileprivate func bind(_ device: DeviceID, of account: Int64) {
        bind(account, at: 1)
        bind(device.raw, at: 2)
    }
}
