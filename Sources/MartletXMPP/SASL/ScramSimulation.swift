/// Keys for accounts that do not exist, so that a stranger cannot ask which ones do.
///
/// They depend on the name and on a secret of the server only: the salt of a made-up name is the same today and next
/// year, as that of an account would be. No password gives them, so the exchange fails at its end with the failure and
/// after the work that a wrong password gets. An account whose keys were imported with another iteration count or salt
/// length than the defaults can still be told from a made-up one.
public struct ScramSimulation: Sendable {
    /// Fewest bytes of the secret.
    public static let secretBytesMin = 32

    private let secret: [UInt8]
    private let iterations: Int

    /// - Parameters:
    ///   - secret: kept with the server's data, so that answers stay the same across restarts and on every node.
    ///   - iterations: what new accounts get.
    public init(secret: [UInt8], iterations: Int = ScramKeys.iterationsDefault) throws(ScramKeysError) {
        precondition(secret.count >= Self.secretBytesMin, "a secret that can be guessed tells which accounts exist")
        guard ScramKeys.iterationRange.contains(iterations) else { throw .iterations(iterations) }
        self.secret = secret
        self.iterations = iterations
    }

    /// The keys that the account would have.
    public func keys(for account: BareJID, hash: ScramHash) throws(ScramKeysError) -> ScramKeys {
        let salt = derive("salt", account, hash, byteCount: ScramKeys.saltBytesDefault)
        return try ScramKeys(
            hash: hash, salt: salt, iterations: iterations,
            storedKey: derive("StoredKey", account, hash, byteCount: hash.byteCount),
            serverKey: derive("ServerKey", account, hash, byteCount: hash.byteCount))
    }

    /// HMAC-SHA-512 over the purpose, the mechanism and the address; no part has a NUL, so that none runs into the next.
    private func derive(_ purpose: String, _ account: BareJID, _ hash: ScramHash, byteCount: Int) -> [UInt8] {
        var message = Array(purpose.utf8) + [0] + Array(hash.mechanismName.utf8) + [0]
        account.withUTF8 { message.append(contentsOf: $0) }
        return Array(ScramHash.sha512.authenticationCode(message, key: secret).prefix(byteCount))
    }
}
