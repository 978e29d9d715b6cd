/// The keys of a password that an account has beside its own, for one application: for the hash of an exchange.
///
/// They are made with the salt and the iteration count of the account's own keys, so that one exchange tries them all: what a client is told before it has
/// proved anything is the same for each, and the same as without any.
public struct ApplicationKeys: Hashable, Sendable {
    /// Passwords that an account has beside its own, at most: so many are tried with whatever is not the account's own password, whether there are any or not,
    /// so that how long that takes tells nobody how many there are.
    public static let countMax = 8

    /// What the password's owner calls it.
    public let name: String
    public let keys: ScramKeys

    public init(name: String, keys: ScramKeys) {
        self.name = name
        self.keys = keys
    }
}

extension [ApplicationKeys] {
    /// Whether one exchange can try them beside `keys`.
    func fit(_ keys: ScramKeys) -> Bool {
        count <= ApplicationKeys.countMax
            && allSatisfy { $0.keys.hash == keys.hash && $0.keys.salt == keys.salt && $0.keys.iterations == keys.iterations }
    }

    /// What `isRight` says of the account's own keys and of these, asked as often as there can be any, whatever it says of these.
    ///
    /// - Parameter isOwnEnough: whether no other is tried if it is the account's own password, which most log-ins are by: where whoever knows that hears so in
    ///   the answer as well.
    public func proved(beside keys: ScramKeys, isOwnEnough: Bool = false, _ isRight: (ScramKeys) -> Bool) -> ProvedKeys? {
        let isOwn = isRight(keys)
        if isOwn, isOwnEnough { return ProvedKeys(keys: keys, application: nil) }
        var proved: ProvedKeys?
        for place in 0..<ApplicationKeys.countMax {
            let other = place < count ? self[place] : nil
            let isProved = isRight(other?.keys ?? keys)
            if isProved, let other { proved = ProvedKeys(keys: other.keys, application: other.name) }
        }
        return isOwn ? ProvedKeys(keys: keys, application: nil) : proved
    }
}

extension ScramKeys {
    /// Which of these and the others are of that password. As slow as ``derive(password:salt:iterations:hash:)``, whatever the answer: never on an event
    /// loop.
    public func proved(by password: PreparedPassword, _ others: [ApplicationKeys]) -> ProvedKeys? {
        guard others.fit(self), let derived = try? Self.derive(password: password, salt: salt, iterations: iterations, hash: hash) else { return nil }
        return others.proved(beside: self) { equalInConstantTime(derived.storedKey, $0.storedKey) }
    }
}

/// The keys of the password that a client has proved to know.
public struct ProvedKeys: Hashable, Sendable {
    public let keys: ScramKeys
    /// The application's, if it is not the account's own password.
    public let application: String?
}
