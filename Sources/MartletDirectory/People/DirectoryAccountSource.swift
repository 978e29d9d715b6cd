package import MartletCore
package import MartletXMPP

/// How a password is checked, as an operator orders it for a domain.
package enum PasswordVerifier: Hashable, Sendable, CaseIterable {
    /// The directory is asked: a simple bind as the person (RFC 4513 §5.1.3).
    case bind
    /// By `authPassword` (RFC 5803).
    case publishedKeys
    /// By a `userPassword` that is hashed with PBKDF2.
    case passwordHash
}

/// Asks a directory whether a password is an entry's.
package protocol DirectoryBinding: Sendable {
    /// A simple bind: `unavailable` if no answer is to be had, `disabled` and `expired` as the directory's password policy says.
    func bind(as name: String, _ password: PreparedPassword) async -> AccountVerdict
}

/// Accounts from a directory: all but a bind is answered from its mirror.
///
/// The first verifier that can say something about an account decides: an old key in second place lets nobody in whom the first has refused. Only of a bind without
/// an answer the next is asked, for whoever could not bind would come in by SCRAM with the same keys. While passwords and keys are not known, after a start without the
/// directory, only a bind says anything of anybody, and nobody is told that his password is wrong because it is not there.
package struct DirectoryAccountSource: AccountSource {
    private let people: PeopleDirectory
    private let verifiers: [PasswordVerifier]
    private let binding: any DirectoryBinding
    private let work: any PasswordWork
    private let simulation: ScramSimulation
    private let simulatedHash: ScramHash
    private let decoyName: String

    /// - Parameters:
    ///   - verifiers: in order.
    ///   - simulation: makes the keys of accounts that do not exist; with the iterations that the directory's own hashes have, or it shows which do.
    ///   - simulatedHash: that the directory's hashes have, for the same reason.
    ///   - decoyName: a name of no entry, below where people are: by a bind with it those who do not exist are refused as slowly as others, and are refused by
    ///     nobody while the directory is away.
    package init(
        _ people: PeopleDirectory, verifiers: [PasswordVerifier], binding: any DirectoryBinding, work: any PasswordWork, simulation: ScramSimulation,
        simulatedHash: ScramHash = .sha256, decoyName: String
    ) {
        self.people = people
        self.verifiers = verifiers
        self.binding = binding
        self.work = work
        self.simulation = simulation
        self.simulatedHash = simulatedHash
        self.decoyName = decoyName
    }

    package func scramKeys(of account: BareJID, _ hash: ScramHash) async -> ScramAnswer {
        guard people.knowsSecrets else { return .refused(.unavailable) }
        switch people.person(account) {
        case .unavailable: return .refused(.unavailable)
        case .person(let person):
            guard let keys = verifiers.lazy.compactMap({ $0.keys(of: person)?.first { $0.hash == hash } }).first else { return simulated(account, hash) }
            return .keys(keys, standing: standing(person, byPassword: true, overWire: false))
        case .nobody: return simulated(account, hash)
        }
    }

    private func simulated(_ account: BareJID, _ hash: ScramHash) -> ScramAnswer {
        guard let keys = try? simulation.keys(for: account, hash: hash) else { return .refused(.unavailable) }
        return .keys(keys, standing: .badCredentials)
    }

    package func standing(of account: BareJID) async -> AccountVerdict {
        switch people.person(account) {
        case .unavailable: .unavailable
        case .nobody: .badCredentials
        case .person(let person): standing(person, byPassword: false, overWire: false)
        }
    }

    package func verify(_ password: PreparedPassword, of account: BareJID) async -> PasswordVerdict {
        switch people.person(account) {
        case .unavailable: return PasswordVerdict(.unavailable)
        case .nobody: return PasswordVerdict(await refuse(password, account))
        case .person(let person):
            let verdict = await check(password, person)
            return PasswordVerdict(verdict == .ok ? standing(person, byPassword: true, overWire: true) : verdict)
        }
    }

    private func check(_ password: PreparedPassword, _ person: Person) async -> AccountVerdict {
        var wasAsked = false
        for verifier in usableVerifiers {
            switch verifier {
            case .bind:
                wasAsked = true
                let verdict = await binding.bind(as: person.name, password)
                if verdict != .unavailable { return verdict }
            case .publishedKeys, .passwordHash:
                guard let keys = verifier.keys(of: person)?.max(by: { $0.hash.byteCount < $1.hash.byteCount }) else { continue }
                return await check(password, keys)
            }
        }
        return wasAsked ? .unavailable : await refuse(password, person.address)
    }

    private var usableVerifiers: [PasswordVerifier] { people.knowsSecrets ? verifiers : verifiers.filter { $0 == .bind } }

    private func check(_ password: PreparedPassword, _ keys: ScramKeys) async -> AccountVerdict {
        switch await work.verify(password, keys, []) {
        case .right: .ok
        case .wrong: .badCredentials
        case nil: .unavailable
        }
    }

    /// With as much work as for somebody of whom the first verifier can say something, and, while the directory is away, as the others of the verifiers would.
    private func refuse(_ password: PreparedPassword, _ account: BareJID) async -> AccountVerdict {
        let verifiers = usableVerifiers
        if verifiers.first == .bind, await binding.bind(as: decoyName, password) != .unavailable { return .badCredentials }
        if verifiers.allSatisfy({ $0 == .bind }) { return .unavailable }
        guard let keys = try? simulation.keys(for: account, hash: simulatedHash), await work.verify(password, keys, []) != nil else { return .unavailable }
        return .badCredentials
    }

    /// Of who has proved who he is.
    private func standing(_ person: Person, byPassword: Bool, overWire: Bool) -> AccountVerdict {
        let isTooWeak =
            switch person.standing.policy {
            case .any: false
            case .scram: overWire
            case .strong: byPassword
            }
        return isTooWeak ? .mechanismTooWeak : people.verdict(person)
    }
}

extension PasswordVerifier {
    /// `nil` if it has none of the person.
    fileprivate func keys(of person: Person) -> [ScramKeys]? {
        let keys: [ScramKeys] =
            switch self {
            case .bind: []
            case .publishedKeys: person.credentials.published
            case .passwordHash: person.credentials.derived
            }
        return keys.isEmpty ? nil : keys
    }
}
