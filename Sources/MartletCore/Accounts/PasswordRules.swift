package import MartletXMPP

/// What passwords must be that people, or operators for them, choose. What another server has kept of a password is taken as it is.
package struct PasswordRules: Hashable, Sendable {
    /// Shortest password, in characters.
    package var charactersMin: Int
    package var refused: RefusedPasswords

    /// - Parameter charactersMin: 1, unless given: whatever can be a password.
    package init(charactersMin: Int = 1, refused: RefusedPasswords = RefusedPasswords()) {
        self.charactersMin = charactersMin
        self.refused = refused
    }

    /// The rule that a password breaks.
    package enum Fault: Error, Hashable, Sendable {
        /// Not what RFC 8265 §4.2 lets through, or too long.
        case unusable
        case tooShort(charactersMin: Int)
        /// The account's name, its domain or its address: tried first by whoever guesses.
        case name
        /// On the operator's list.
        case refused

        package var text: String {
            switch self {
            case .unusable: "this cannot be a password: it is empty, longer than \(PreparedPassword.bytesMax) bytes, or has control characters"
            case .tooShort(let charactersMin): "a password needs at least \(charactersMin) characters"
            case .name: "the account's own name is no password"
            case .refused: "this password is known to whoever guesses passwords"
            }
        }
    }

    /// The password as it is hashed.
    package func checked(_ text: String, for account: BareJID) throws(Fault) -> PreparedPassword {
        guard let password = PreparedPassword(text) else { throw .unusable }
        try check(password, for: account)
        return password
    }

    package func check(_ password: PreparedPassword, for account: BareJID) throws(Fault) {
        let text = String(decoding: password.bytes, as: UTF8.self)
        guard text.count >= charactersMin else { throw .tooShort(charactersMin: charactersMin) }
        let folded = text.lowercased()
        guard ![account.localpart ?? "", account.domainpart, account.description].contains(folded) else { throw .name }
        guard !refused.contains(text) else { throw .refused }
    }
}

/// Passwords that nobody gets, of a list of them, whatever the case of their letters: 64 bits of a digest of each, in order. A million of them are 8 MB,
/// and of ten million million passwords that are not on such a list one is taken for one that is.
package struct RefusedPasswords: Hashable, Sendable {
    /// Most lines of a list.
    package static let countMax = 5_000_000
    /// Longest list, in bytes.
    package static let bytesMax = 128 << 20

    private var digests: [UInt64] = []

    package init() {}

    /// One a line; empty lines are none, and a byte order mark is no part of the first.
    ///
    /// - Returns: `nil` for a list of more than `countMax`.
    package init?(lines: [UInt8], countMax: Int = countMax) {
        for line in lines.dropFirst(lines.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0).split(whereSeparator: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
            guard digests.count < countMax else { return nil }
            digests.append(Self.digest(line))
        }
        digests.sort()
    }

    package var count: Int { digests.count }

    package func contains(_ text: String) -> Bool {
        let wanted = Self.digest(text.utf8)
        var (low, high) = (0, digests.count)
        while low < high {
            let middle = (low + high) / 2
            if digests[middle] < wanted { low = middle + 1 } else { high = middle }
        }
        return low < digests.count && digests[low] == wanted
    }

    private static func digest(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var folded = bytes.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
        if folded.contains(where: { $0 >= 0x80 }) { folded = Array(String(decoding: folded, as: UTF8.self).lowercased().utf8) }
        return ScramHash.sha256.digest(folded).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
