import MartletXMPP
import Testing

/// A `client-final-message` of SCRAM-SHA-256 for `pencil` with a right proof over whatever it says: from a client that
/// knows the password and breaks a rule.
struct ForgedFinal {
    let first: String
    let challenge: String
    let binding: [UInt8]
    let nonce: String
    let extensions: String

    /// - Parameters:
    ///   - first: `client-first-message-bare`.
    ///   - nonce: what `r=` says, if not what the challenge says.
    init(first: String, challenge: String, binding: [UInt8], nonce: String? = nil, extensions: String = "") throws {
        self.first = first
        self.challenge = challenge
        self.binding = binding
        self.nonce = try nonce ?? String(#require(challenge.split(separator: ",").first).dropFirst(2))
        self.extensions = extensions
    }

    func bytes() throws -> [UInt8] {
        let hash = ScramHash.sha256
        let salt = try #require(Base64.decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
        let salted = try #require(hash.saltedPassword(Verona.password(), salt: salt, iterations: 4096))
        let withoutProof = "c=\(Base64.encode(binding)),r=\(nonce)\(extensions)"
        let clientKey = hash.authenticationCode(Array("Client Key".utf8), key: salted)
        let authMessage = Array("\(first),\(challenge),\(withoutProof)".utf8)
        let signature = hash.authenticationCode(authMessage, key: hash.digest(clientKey))
        return Array("\(withoutProof),p=\(Base64.encode(zip(clientKey, signature).map { $0 ^ $1 }))".utf8)
    }
}
