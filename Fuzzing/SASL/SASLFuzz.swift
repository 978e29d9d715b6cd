import MartletXMPP

/// Feeds one stream's authentications: the first byte chooses the mechanism, the rest are the texts of `<auth/>` and
/// `<response/>`, a line each.
///
/// Beyond not trapping: base64 has one spelling per value, keys come back from their text, an identity is the account
/// itself, and nobody gets in by SCRAM or raises a suspicion, since the input cannot know the password.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSASL(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    guard let choice = input.first else { return 0 }
    let lines = input.dropFirst().split(separator: UInt8(ascii: "\n"), maxSplits: 8, omittingEmptySubsequences: false)
    fuzzBase64(lines)
    fuzzKeys(lines)
    fuzzClient(lines)
    fuzzBearer(lines)
    fuzzSecurityLayer(lines)
    let mechanism = SASLMechanism.allCases[Int(choice) % SASLMechanism.allCases.count]
    // Base64 hides the grammar from the mutations, so that the same lines also come in bare.
    fuzzExchange(mechanism, lines) { try? SASLPayload.decode($0) }
    fuzzExchange(mechanism, lines) { Array($0) }
    return 0
}

private enum Fixed {
    static let domain = "verona.example"
    static let nonce = ScramNonce(random: [UInt8](0..<18))
    static let offer = SASLOffer(
        domain: domain, mechanisms: SASLMechanism.allCases, bindings: [ChannelBinding(.tlsServerEndPoint, data: [UInt8](0..<32))], tls: .tls13,
        nonce: nonce, realms: [realm])
    static let simulation = try? ScramSimulation(secret: [UInt8](0..<32))
    static let password = PreparedPassword("pencil")
    static let realm = "VERONA.REALM"
}

private func fuzzExchange(
    _ mechanism: SASLMechanism, _ lines: [ArraySlice<UInt8>], _ payload: (ArraySlice<UInt8>) -> [UInt8]?
) {
    var exchange = SASLServerExchange(mechanism, offer: Fixed.offer)
    for line in lines {
        switch exchange.step(payload(line)) {
        case .challenge: break
        case .lookUp(let identity, let question):
            precondition(!identity.account.isDomain && identity.account.domainpart == Fixed.domain)
            guard case .challenge = exchange.provide(answer(question, identity)) else { return }
        case .consult(.bearerToken(let token, let domain)):
            precondition(domain == Fixed.domain && !token.text.isEmpty)
            guard case .challenge = exchange.provide(.bearerVerdict(.refused(.invalidToken))) else {
                preconditionFailure("a token that is nobody's is answered before the exchange ends")
            }
        case .consult(.gssapi(let request)):
            guard case .challenge = exchange.provide(answer(request)) else { return }
        case .success: preconditionFailure("nobody has proved anything")
        case .failure(let failure):
            precondition(failure.suspicion == nil, "nobody has proved anything")
            return
        }
    }
}

private func answer(_ question: SASLQuestion, _ identity: SASLIdentity) -> SASLAnswer {
    switch question {
    case .scramKeys(let hash):
        guard let keys = try? Fixed.simulation?.keys(for: identity.account, hash: hash) else {
            preconditionFailure("every account has keys")
        }
        return .scramKeys(keys)
    case .passwordVerdict(let password):
        precondition(!password.bytes.isEmpty)
        return .passwordVerdict(false)
    case .certificate:
        preconditionFailure("EXTERNAL is not offered")
    case .hashedTokens:
        return .hashedTokens([HashedTokenCandidate(HashedToken("nobody knows this one"), .new)])
    case .standing:
        return .standing(.notAuthorized)
    }
}

/// As if whatever came were a good token of whoever it names, or a message that was protected.
private func answer(_ request: GSSAPIRequest) -> SASLAnswer {
    switch request {
    case .accept(let token, _):
        let text = String(decoding: token, as: UTF8.self)
        guard let principal = KerberosPrincipal(text) ?? KerberosPrincipal("\(text)@\(Fixed.realm)") else { return .gssapi(.continues(token: token)) }
        precondition(KerberosPrincipal(principal.description) == principal)
        return .gssapi(.established(principal, token: Array(token.dropLast())))
    case .wrap(let message): return .gssapi(.wrapped(message))
    case .unwrap(let message): return .gssapi(.unwrapped(message))
    }
}

private func fuzzSecurityLayer(_ lines: [ArraySlice<UInt8>]) {
    for line in lines {
        guard let choice = try? SecurityLayerChoice(parsing: Array(line)) else { continue }
        precondition(line.count - 4 == choice.authzid?.utf8.count ?? 0 && line.dropFirst().prefix(3).allSatisfy { $0 == 0 })
    }
}

private func fuzzBase64(_ lines: [ArraySlice<UInt8>]) {
    for line in lines {
        precondition(Base64.decode(Base64.encodeToBytes(line)) == Array(line))
        guard let bytes = Base64.decode(line) else { continue }
        precondition(Base64.encodeToBytes(bytes) == Array(line))
    }
}

private func fuzzKeys(_ lines: [ArraySlice<UInt8>]) {
    for line in lines {
        guard let keys = try? ScramKeys(parsing: String(decoding: line, as: UTF8.self)) else { continue }
        precondition((try? ScramKeys(parsing: keys.text)) == keys)
    }
}

/// Escapes hide the grammar of OAUTHBEARER from the mutations: `|` stands for its separator, too.
private func fuzzBearer(_ lines: [ArraySlice<UInt8>]) {
    for line in lines {
        let bytes = line.map { $0 == UInt8(ascii: "|") ? 0x01 : $0 }
        guard let message = try? BearerMessage(parsing: bytes), let token = message.token else { continue }
        let again = try? BearerMessage(parsing: BearerMessage.bytes(authzid: message.authzid, token: token.text))
        precondition(again == message)
    }
}

private func fuzzClient(_ lines: [ArraySlice<UInt8>]) {
    guard let password = Fixed.password, let challenge = lines.first else { return }
    var client = ScramClient(hash: .sha1, username: "user", password: password, nonce: Fixed.nonce)
    guard (try? client.final(answering: Array(challenge))) != nil else { return }
    precondition((try? client.verify(Array(lines.last ?? []))) == nil)
}
