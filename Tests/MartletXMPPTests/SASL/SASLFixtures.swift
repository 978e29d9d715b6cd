import MartletXMPP
import Testing

extension SeededNumbers {
    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &self) }
    }
}

/// The account and the exchange of RFC 7677 §3, for tests that break it at one place.
enum Verona {
    static let domain = "verona.example"
    static let clientNonce = "rOprNGfwEbeRWgbNEkqO"
    static let serverNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    static let endPoint = ChannelBinding(.tlsServerEndPoint, data: [UInt8](0..<32))
    static let exporter = ChannelBinding(.tlsExporter, data: [UInt8](100..<132))

    static func password(_ text: String = "pencil") throws -> PreparedPassword { try #require(PreparedPassword(text)) }

    static func nonce(_ text: String) throws -> ScramNonce { try #require(ScramNonce(Array(text.utf8))) }

    static func keys(_ hash: ScramHash = .sha256, salt: String = "W22ZaJ0SNY7soEsUEjb6gQ==") throws -> ScramKeys {
        try ScramKeys.derive(
            password: password(), salt: #require(Base64.decode(salt)), iterations: 4096, hash: hash)
    }

    static func offer(bindings: [ChannelBinding] = [], nonce: String = serverNonce) throws -> SASLOffer {
        try SASLOffer(domain: domain, bindings: bindings, nonce: self.nonce(nonce))
    }

    static func exchange(
        _ mechanism: SASLMechanism = .scram(.sha256), bindings: [ChannelBinding] = []
    ) throws -> SASLServerExchange {
        SASLServerExchange(mechanism, offer: try offer(bindings: bindings))
    }

    static func client(
        _ hash: ScramHash = .sha256, _ binding: ScramClient.Binding = .unsupported, username: String = "user",
        authzid: String? = nil, password: String = "pencil"
    ) throws -> ScramClient {
        try ScramClient(
            hash: hash, binding: binding, username: username, authzid: authzid, password: self.password(password),
            nonce: nonce(clientNonce))
    }
}

extension SASLServerExchange {
    mutating func step(_ text: String) -> SASLStep { step(Array(text.utf8)) }
}

extension SASLStep {
    var condition: SASLFailure.Condition? {
        if case .failure(let failure) = self { failure.condition } else { nil }
    }

    var failureText: String? {
        if case .failure(let failure) = self { failure.text } else { nil }
    }

    /// The account in question.
    var identity: SASLIdentity? {
        if case .lookUp(let identity, _) = self { identity } else { nil }
    }

    /// The challenge or the additional data, as text.
    var text: String? {
        switch self {
        case .challenge(let bytes), .success(_, let bytes?): String(decoding: bytes, as: UTF8.self)
        case .success(_, nil), .lookUp, .consult, .failure: nil
        }
    }

    var succeeded: Bool {
        if case .success = self { true } else { false }
    }
}

/// One whole SCRAM login of the test client; whether both ends are satisfied.
func login(_ client: ScramClient, _ exchange: SASLServerExchange, keys: ScramKeys) throws -> Bool {
    var client = client
    var exchange = exchange
    guard case .lookUp = exchange.step(client.first()) else { return false }
    guard case .challenge(let challenge) = exchange.provide(.scramKeys(keys)) else { return false }
    guard case .success(_, let data?) = exchange.step(try client.final(answering: challenge)) else { return false }
    try client.verify(data)
    return true
}
