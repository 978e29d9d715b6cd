/// The GS2 header's statement about channel binding (RFC 5802 §6).
enum ScramBindingFlag: Hashable, Sendable {
    /// `n`: the client cannot bind.
    case unsupported
    /// `y`: the client could, and believes that the server cannot.
    case unadvertised
    /// `p=name`: the client binds with that type.
    case bound(String)

    init(_ bytes: ArraySlice<UInt8>) throws(ScramSyntaxError) {
        switch (bytes.first, bytes.dropFirst()) {
        case (UInt8(ascii: "n"), []): self = .unsupported
        case (UInt8(ascii: "y"), []): self = .unadvertised
        case (UInt8(ascii: "p"), let rest) where rest.first == ScramGrammar.equals:
            guard ScramGrammar.isBindingName(rest.dropFirst()) else { throw .header }
            self = .bound(String(decoding: rest.dropFirst(), as: UTF8.self))
        default: throw .header
        }
    }
}

/// `client-first-message`: `n,a=authzid,n=name,r=nonce`.
struct ScramClientFirst: Hashable, Sendable {
    let flag: ScramBindingFlag
    let authzid: String?
    let username: String
    let nonce: [UInt8]
    /// `gs2-header`, with both of its commas.
    let header: [UInt8]
    /// `client-first-message-bare`: everything behind the header.
    let bare: [UInt8]

    init(parsing message: [UInt8]) throws(ScramSyntaxError) {
        guard ScramGrammar.isText(message[...]) else { throw .notText }
        let fields = message.split(separator: ScramGrammar.comma, maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3 else { throw .header }
        flag = try ScramBindingFlag(fields[0])
        authzid = try Self.authzid(fields[1])
        header = Array(message[..<fields[2].startIndex])
        bare = Array(fields[2])
        let values = try ScramGrammar.values(of: fields[2], leading: "nr")
        username = try ScramGrammar.unescapedName(values[0])
        guard let nonce = ScramNonce(values[1]) else { throw .nonce }
        self.nonce = nonce.bytes
    }

    private static func authzid(_ field: ArraySlice<UInt8>) throws(ScramSyntaxError) -> String? {
        guard !field.isEmpty else { return nil }
        guard field.starts(with: "a=".utf8) else { throw .header }
        return try ScramGrammar.unescapedName(field.dropFirst(2))
    }
}

/// `server-first-message`: `r=nonce,s=salt,i=iterations`.
struct ScramServerFirst: Hashable, Sendable {
    let nonce: [UInt8]
    let salt: [UInt8]
    let iterations: Int

    init(parsing message: [UInt8]) throws(ScramSyntaxError) {
        let values = try ScramGrammar.values(of: message[...], leading: "rsi")
        guard values[0].count <= 2 * ScramNonce.bytesMax, values[0].allSatisfy(ScramNonce.isPrintable) else {
            throw .nonce
        }
        guard let salt = Base64.decode(values[1]), !salt.isEmpty else { throw .base64 }
        guard let iterations = ScramGrammar.positiveNumber(values[2]) else { throw .number }
        nonce = Array(values[0])
        self.salt = salt
        self.iterations = iterations
    }
}

/// `client-final-message`: `c=binding,r=nonce,p=proof`.
struct ScramClientFinal: Hashable, Sendable {
    let channelBinding: [UInt8]
    let nonce: [UInt8]
    let proof: [UInt8]
    /// `client-final-message-without-proof`.
    let withoutProof: [UInt8]

    init(parsing message: [UInt8]) throws(ScramSyntaxError) {
        let values = try ScramGrammar.values(of: message[...], leading: "cr", trailing: "p")
        guard let channelBinding = Base64.decode(values[0]), let proof = Base64.decode(values[2]) else { throw .base64 }
        self.channelBinding = channelBinding
        self.proof = proof
        nonce = Array(values[1])
        withoutProof = Array(message.dropLast(values[2].count + ",p=".utf8.count))
    }
}

/// `server-final-message`: `v=signature` or `e=error`.
struct ScramServerFinal: Hashable, Sendable {
    let signature: [UInt8]

    init(parsing message: [UInt8]) throws(ScramSyntaxError) {
        let values = try ScramGrammar.values(of: message[...], leading: "v")
        guard let signature = Base64.decode(values[0]) else { throw .base64 }
        self.signature = signature
    }
}
