/// The client's side of one SCRAM authentication (RFC 5802 §3), as a machine without I/O.
///
/// ``first()`` goes out, ``final(answering:)`` answers the challenge, ``verify(_:)`` checks the server's signature.
/// Whoever skips the last has not authenticated the server.
public struct ScramClient: Sendable {
    /// What the client says about channel binding (RFC 5802 §6).
    public enum Binding: Hashable, Sendable {
        /// `n`: the client cannot bind.
        case unsupported
        /// `y`: the client could, but was not offered a -PLUS mechanism.
        case unadvertised
        /// `p=…`: with a -PLUS mechanism.
        case bound(ChannelBinding)
    }

    /// Why the client gives up. Nothing was proved to it, so it must not go on.
    public enum Fault: Error, Hashable, Sendable {
        /// A message is not what RFC 5802 §7 says.
        case syntax
        /// The server's nonce does not begin with ours, or adds nothing to it.
        case nonce
        /// The iteration count is outside ``ScramClient/iterationRange``.
        case iterations(Int)
        /// Keys could not be derived.
        case derivation
        /// The server does not know the password's keys.
        case serverSignature
        /// The messages came in another order.
        case order
    }

    /// Iteration counts that are accepted: fewer give the password away to whoever sees the exchange, more is a way to
    /// keep a client busy.
    public static let iterationRange = 4096...1_000_000

    private enum State {
        case awaitingChallenge
        case awaitingSignature([UInt8])
        case over
    }

    private let hash: ScramHash
    private let header: [UInt8]
    private let bindingData: [UInt8]
    private let bare: [UInt8]
    private let nonce: [UInt8]
    private let password: PreparedPassword
    private var state = State.awaitingChallenge

    /// - Parameters:
    ///   - username: a localpart.
    ///   - authzid: a bare JID; best left out.
    ///   - nonce: another one for every exchange.
    public init(
        hash: ScramHash, binding: Binding = .unsupported, username: String, authzid: String? = nil,
        password: PreparedPassword, nonce: ScramNonce
    ) {
        self.hash = hash
        self.password = password
        self.nonce = nonce.bytes
        let flag: String
        switch binding {
        case .unsupported: (flag, bindingData) = ("n", [])
        case .unadvertised: (flag, bindingData) = ("y", [])
        case .bound(let binding): (flag, bindingData) = ("p=\(binding.kind.name)", binding.data)
        }
        let authzid = authzid.map { Array("a=".utf8) + ScramGrammar.escapedName($0) } ?? []
        header = Array("\(flag),".utf8) + authzid + [ScramGrammar.comma]
        bare = Array("n=".utf8) + ScramGrammar.escapedName(username) + Array(",r=".utf8) + nonce.bytes
    }

    /// `client-first-message`, the initial response.
    public func first() -> [UInt8] { header + bare }

    /// `client-final-message`. Takes milliseconds of one core: never on an event loop.
    public mutating func final(answering challenge: [UInt8]) throws(Fault) -> [UInt8] {
        guard case .awaitingChallenge = state else { throw .order }
        state = .over
        guard let server = try? ScramServerFirst(parsing: challenge) else { throw .syntax }
        guard server.nonce.starts(with: nonce), server.nonce.count > nonce.count else { throw .nonce }
        guard Self.iterationRange.contains(server.iterations) else { throw .iterations(server.iterations) }
        guard let salted = hash.saltedPassword(password, salt: server.salt, iterations: server.iterations) else {
            throw .derivation
        }
        let withoutProof =
            Array("c=".utf8) + Base64.encodeToBytes(header + bindingData) + Array(",r=".utf8) + server.nonce
        let authMessage = bare + [ScramGrammar.comma] + challenge + [ScramGrammar.comma] + withoutProof
        state = .awaitingSignature(
            hash.authenticationCode(authMessage, key: hash.authenticationCode(Array("Server Key".utf8), key: salted)))
        return withoutProof + Array(",p=".utf8) + Base64.encodeToBytes(proof(salted, authMessage))
    }

    /// Checks `server-final-message`, the additional data with success.
    public mutating func verify(_ serverFinal: [UInt8]) throws(Fault) {
        guard case .awaitingSignature(let expected) = state else { throw .order }
        state = .over
        guard let final = try? ScramServerFinal(parsing: serverFinal) else { throw .syntax }
        guard equalInConstantTime(final.signature, expected) else { throw .serverSignature }
    }

    private func proof(_ salted: [UInt8], _ authMessage: [UInt8]) -> [UInt8] {
        let clientKey = hash.authenticationCode(Array("Client Key".utf8), key: salted)
        let signature = hash.authenticationCode(authMessage, key: hash.digest(clientKey))
        return zip(clientKey, signature).map { $0 ^ $1 }
    }
}
