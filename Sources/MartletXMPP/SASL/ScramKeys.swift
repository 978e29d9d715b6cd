/// What a server keeps instead of a password (RFC 5802 §3): enough to check a proof, not enough to make one.
///
/// One value is for one hash; an account has one for each mechanism that it may use.
public struct ScramKeys: Hashable, Sendable {
    /// Iteration counts that are accepted, in what is made here and in what is imported. RFC 7677 §4 asks for at
    /// least 4096; the upper end keeps phones able to log in and one login from holding a core for long.
    public static let iterationRange = 4096...100_000
    /// The iteration count of new keys.
    public static let iterationsDefault = 10_000
    /// Salt lengths that are accepted, in bytes.
    public static let saltBytesRange = 8...128
    /// The salt length of new keys, in bytes.
    public static let saltBytesDefault = 16

    public let hash: ScramHash
    public let salt: [UInt8]
    public let iterations: Int
    /// `H(ClientKey)`: checks the client's proof.
    public let storedKey: [UInt8]
    /// Signs for the server, so that the client knows that we know the password's keys.
    public let serverKey: [UInt8]

    /// Ready-made keys, for instance from another server.
    public init(
        hash: ScramHash, salt: [UInt8], iterations: Int, storedKey: [UInt8], serverKey: [UInt8]
    ) throws(ScramKeysError) {
        try Self.validate(salt: salt, iterations: iterations)
        for key in [storedKey, serverKey] where key.count != hash.byteCount {
            throw .keyBytes(key.count, expected: hash.byteCount)
        }
        self.hash = hash
        self.salt = salt
        self.iterations = iterations
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// Derives keys from a password. Takes milliseconds of one core: never on an event loop.
    public static func derive(
        password: PreparedPassword, salt: [UInt8], iterations: Int = iterationsDefault, hash: ScramHash
    ) throws(ScramKeysError) -> ScramKeys {
        try validate(salt: salt, iterations: iterations)
        guard let salted = hash.saltedPassword(password, salt: salt, iterations: iterations) else { throw .derivation }
        return try ScramKeys(hash: hash, salt: salt, iterations: iterations, saltedPassword: salted)
    }

    /// The keys of a SaltedPassword, which is where the work is.
    public init(hash: ScramHash, salt: [UInt8], iterations: Int, saltedPassword: [UInt8]) throws(ScramKeysError) {
        try self.init(
            hash: hash, salt: salt, iterations: iterations,
            storedKey: hash.digest(hash.authenticationCode(Array("Client Key".utf8), key: saltedPassword)),
            serverKey: hash.authenticationCode(Array("Server Key".utf8), key: saltedPassword))
    }

    /// Whether these keys are of that password. As slow as ``derive(password:salt:iterations:hash:)``, whatever the
    /// answer: never on an event loop.
    public func verify(_ password: PreparedPassword) -> Bool {
        guard let other = try? Self.derive(password: password, salt: salt, iterations: iterations, hash: hash) else {
            return false
        }
        return equalInConstantTime(other.storedKey, storedKey)
    }

    private static func validate(salt: [UInt8], iterations: Int) throws(ScramKeysError) {
        guard iterationRange.contains(iterations) else { throw .iterations(iterations) }
        guard saltBytesRange.contains(salt.count) else { throw .saltBytes(salt.count) }
    }
}

/// Why something is no SCRAM keys.
public enum ScramKeysError: Error, Hashable, Sendable {
    /// Outside ``ScramKeys/iterationRange``.
    case iterations(Int)
    /// Outside ``ScramKeys/saltBytesRange``.
    case saltBytes(Int)
    /// A key is not as long as the hash.
    case keyBytes(Int, expected: Int)
    /// Not of the form `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    case format
    /// No mechanism of ours has that name.
    case mechanism(String)
    /// The library did not derive.
    case derivation
}

extension ScramKeys {
    /// Longest text that is parsed, in bytes; what is written is shorter.
    static let textBytesMax = 1024

    /// Reads `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` with base64 after the colons, which is what RFC 5803
    /// §2 puts into `authPassword` and what PostgreSQL keeps.
    public init(parsing text: String) throws(ScramKeysError) {
        guard text.utf8.count <= Self.textBytesMax else { throw .format }
        let fields = text.split(separator: "$", omittingEmptySubsequences: false)
        guard fields.count == 3 else { throw .format }
        guard let hash = ScramHash(mechanismName: fields[0]) else { throw .mechanism(String(fields[0])) }
        let (iterationDigits, salt) = try Self.pair(fields[1])
        let (storedKey, serverKey) = try Self.pair(fields[2])
        guard let iterations = ScramGrammar.positiveNumber(iterationDigits.utf8), let salt = Base64.decode(salt),
            let storedKey = Base64.decode(storedKey), let serverKey = Base64.decode(serverKey)
        else { throw .format }
        try self.init(hash: hash, salt: salt, iterations: iterations, storedKey: storedKey, serverKey: serverKey)
    }

    /// The text that ``init(parsing:)`` reads.
    public var text: String {
        "\(hash.mechanismName)$\(iterations):\(Base64.encode(salt))$\(Base64.encode(storedKey)):\(Base64.encode(serverKey))"
    }

    private static func pair(_ field: Substring) throws(ScramKeysError) -> (Substring, Substring) {
        let halves = field.split(separator: ":", omittingEmptySubsequences: false)
        guard halves.count == 2 else { throw .format }
        return (halves[0], halves[1])
    }
}

extension ScramKeys: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Names the hash and the cost; the keys do not belong into logs.
    public var description: String { "\(hash.mechanismName) keys, \(iterations) iterations" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
