import MartletCore
import MartletXMPP

extension AccountSource {
    /// Answers what an exchange asks.
    func answer(_ question: SASLQuestion, about account: BareJID) async -> SASLAnswer {
        switch question {
        case .scramKeys(let hash):
            switch await scramKeys(of: account, hash) {
            case .keys(let keys, let standing, let others): .scramKeys(keys, refusal: SASLFailure(standing), others: others)
            case .refused(let verdict): .refused(SASLFailure(verdict) ?? .temporaryAuthFailure)
            }
        // Who knows that has the connection.
        case .certificate: .refused(.temporaryAuthFailure)
        case .passwordVerdict(let password): SASLAnswer(await verify(password, of: account))
        case .standing: .standing(SASLFailure(await standing(of: account)))
        // Tokens are devices', not accounts', and are looked up where the device is known.
        case .hashedTokens: .hashedTokens([])
        }
    }

    /// The tokens of a device, each with what keeps its account from coming in, which only a client hears that has the token.
    func answer(_ mechanism: HashedTokenMechanism, of account: BareJID, on device: DeviceID, _ tokens: DeviceTokens) async -> SASLAnswer {
        let (answer, identity) = await tokens.answer(mechanism, of: account, on: device)
        let refusal = SASLFailure(await standing(of: account, as: identity))
        guard let refusal, case .hashedTokens(let candidates) = answer else { return answer }
        return .hashedTokens(candidates.map { HashedTokenCandidate($0.token, $0.slot, refusal: $0.refusal ?? refusal) })
    }
}

extension SASLAnswer {
    fileprivate init(_ answer: PasswordVerdict) {
        switch answer.verdict {
        case .ok: self = .passwordVerdict(true, application: answer.application)
        case .badCredentials: self = .passwordVerdict(false)
        case .disabled: self = .refused(.accountDisabled)
        case .expired: self = .refused(.credentialsExpired)
        case .mechanismTooWeak: self = .refused(.mechanismTooWeak)
        case .unavailable: self = .refused(.temporaryAuthFailure)
        }
    }
}

extension SASLFailure {
    /// What a verdict is on the wire; `nil` for the one that lets in.
    init?(_ verdict: AccountVerdict) {
        switch verdict {
        case .ok: return nil
        case .badCredentials: self = .notAuthorized
        case .disabled: self = .accountDisabled
        case .expired: self = .credentialsExpired
        case .mechanismTooWeak: self = .mechanismTooWeak
        case .unavailable: self = .temporaryAuthFailure
        }
    }

    /// The verdict behind a failure, for the record.
    var verdict: AccountVerdict {
        switch condition {
        case .accountDisabled: .disabled
        case .credentialsExpired: .expired
        case .mechanismTooWeak, .encryptionRequired: .mechanismTooWeak
        case .temporaryAuthFailure: .unavailable
        case .aborted, .incorrectEncoding, .invalidAuthzid, .invalidMechanism, .malformedRequest, .notAuthorized: .badCredentials
        }
    }
}
