import MartletCore
import MartletXMPP

extension AccountSource {
    /// Answers what an exchange asks.
    func answer(_ question: SASLQuestion, about account: BareJID) async -> SASLAnswer {
        switch question {
        case .scramKeys(let hash):
            switch await scramKeys(of: account, hash) {
            case .keys(let keys, let standing): .scramKeys(keys, refusal: SASLFailure(standing))
            case .refused(let verdict): .refused(SASLFailure(verdict) ?? .temporaryAuthFailure)
            }
        // Who knows that has the connection.
        case .certificate: .refused(.temporaryAuthFailure)
        case .passwordVerdict(let password):
            switch await verify(password, of: account) {
            case .ok: .passwordVerdict(true)
            case .badCredentials: .passwordVerdict(false)
            case .disabled: .refused(.accountDisabled)
            case .expired: .refused(.credentialsExpired)
            case .mechanismTooWeak: .refused(.mechanismTooWeak)
            case .unavailable: .refused(.temporaryAuthFailure)
            }
        case .standing: .standing(SASLFailure(await standing(of: account)))
        // Tokens are devices', not accounts', and are looked up where the device is known.
        case .hashedTokens: .hashedTokens([])
        }
    }

    /// The tokens of a device, each with what keeps its account from coming in, which only a client hears that has the token.
    func answer(_ mechanism: HashedTokenMechanism, of account: BareJID, on device: DeviceID, _ tokens: DeviceTokens) async -> SASLAnswer {
        let answer = await tokens.answer(mechanism, of: account, on: device)
        let refusal = SASLFailure(await standing(of: account))
        guard let refusal, case .hashedTokens(let candidates) = answer else { return answer }
        return .hashedTokens(candidates.map { HashedTokenCandidate($0.token, $0.slot, refusal: $0.refusal ?? refusal) })
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
