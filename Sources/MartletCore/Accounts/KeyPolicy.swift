package import MartletXMPP

/// With what passwords are stored that are set from now on.
package struct KeyPolicy: Hashable, Sendable {
    package var hashes: [ScramHash]
    package var iterations: Int

    package init(hashes: [ScramHash] = [.sha512, .sha256, .sha1], iterations: Int = ScramKeys.iterationsDefault) {
        self.hashes = hashes
        self.iterations = iterations
    }

    /// One for each hash. Milliseconds of one core for each: never on an event loop.
    package func keys(of password: PreparedPassword, _ random: any RandomSource = SystemRandom()) throws(ScramKeysError) -> [ScramKeys] {
        var keys: [ScramKeys] = []
        for hash in hashes {
            let salt = random.bytes(ScramKeys.saltBytesDefault)
            keys.append(try ScramKeys.derive(password: password, salt: salt, iterations: iterations, hash: hash))
        }
        return keys
    }
}

extension [ScramKeys] {
    /// Keys of another password with the same hashes, salts and iteration counts. As slow.
    package func remade(of password: PreparedPassword) throws(ScramKeysError) -> [ScramKeys] {
        var keys: [ScramKeys] = []
        for own in self {
            keys.append(try ScramKeys.derive(password: password, salt: own.salt, iterations: own.iterations, hash: own.hash))
        }
        return keys
    }
}

/// Makes keys of passwords away from the event loops (`reliability.md` rule 15).
package protocol KeyDerivation: Sendable {
    /// `nil` when too many passwords wait already, or the library failed: then nothing was changed.
    func keys(of password: PreparedPassword, _ policy: KeyPolicy) async -> [ScramKeys]?
    /// The same with the hashes, salts and iteration counts of keys that are there.
    func keys(of password: PreparedPassword, like keys: [ScramKeys]) async -> [ScramKeys]?
}

/// Makes none: for commands on the data of a server that does not run, where nobody asks for it.
package struct NoKeyDerivation: KeyDerivation {
    package init() {}
    package func keys(of password: PreparedPassword, _ policy: KeyPolicy) async -> [ScramKeys]? { nil }
    package func keys(of password: PreparedPassword, like keys: [ScramKeys]) async -> [ScramKeys]? { nil }
}
