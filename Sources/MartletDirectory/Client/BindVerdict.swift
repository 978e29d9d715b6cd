package import MartletCore
import MartletLDAP

/// What a directory says of a password, when somebody is bound with it.
///
/// Whatever says neither yes nor no is ``unavailable(_:)``: never wrong, never allowed.
package enum BindVerdict: Hashable, Sendable {
    case accepted(Advice)
    /// Or the entry is not there, or has no password.
    case invalidCredentials
    /// After too many wrong ones; whether this one was right is not said.
    case locked
    /// By an administrator, or because the account has ended.
    case disabled
    case expired
    /// The password is right, and has to be another one first.
    case mustChange
    case unavailable(DirectoryFailure)

    /// What is to be said to whom the password is.
    package struct Advice: Hashable, Sendable {
        /// Seconds until the password expires, if that is soon.
        package var expiresIn: Int?
        /// Binds with an expired password that are left.
        package var graceBinds: Int?

        package init(expiresIn: Int? = nil, graceBinds: Int? = nil) { (self.expiresIn, self.graceBinds) = (expiresIn, graceBinds) }
    }

    package init(_ answer: BindAnswer) {
        let policy: PasswordPolicyResponseControl?
        do throws(LDAPFault) {
            policy = try answer.controls.first(of: PasswordPolicyResponseControl.self)
        } catch {
            self = .unavailable(.violation(.malformed(error)))
            return
        }
        switch answer.result.code {
        case .success: self = Self.success(answer, policy)
        case .invalidCredentials: self = Self.refusal(policy?.fault) ?? Self.refusal(byActiveDirectory: answer.result) ?? Self.refusal(answer)
        // No password, or no entry: as good as a wrong one.
        case .inappropriateAuthentication, .noSuchObject: self = .invalidCredentials
        // 389 Directory Server's ways, with words that it has had since its beginnings.
        case .constraintViolation where Self.saysLimit(answer.result): self = .locked
        case .unwillingToPerform where answer.result.diagnosticMessage.hasPrefix("Account inactivated"): self = .disabled
        default: self = .unavailable(.refused(answer.result))
        }
    }
}

extension BindVerdict {
    /// The same as the server says it of an account. One that is locked has a wrong password, as far as anybody is told: the directory says so whatever the
    /// password was, and whoever hears more than that after a few guesses knows who has an account.
    package var accountVerdict: AccountVerdict {
        switch self {
        case .accepted: .ok
        case .invalidCredentials, .locked: .badCredentials
        case .disabled: .disabled
        case .expired, .mustChange: .expired
        case .unavailable: .unavailable
        }
    }

    private static func success(_ answer: BindAnswer, _ policy: PasswordPolicyResponseControl?) -> BindVerdict {
        // Until then nothing else is allowed to who is bound so (draft-behera-ldap-password-policy-10 §8.1.1).
        if policy?.fault == .changeAfterReset { return .mustChange }
        switch policy?.warning {
        case .timeBeforeExpiration(let seconds): return .accepted(Advice(expiresIn: Int(seconds)))
        case .graceAuthenticationsRemaining(let count): return .accepted(Advice(graceBinds: Int(count)))
        case nil: break
        }
        // With success: it has expired, and only the password may be changed.
        if answer.controls.contains(where: { $0.type == NetscapePolicy.expired }) { return .mustChange }
        return .accepted(Advice(expiresIn: NetscapePolicy.secondsLeft(answer.controls)))
    }

    private static func refusal(_ fault: PasswordPolicyResponseControl.Fault?) -> BindVerdict? {
        switch fault {
        case .passwordExpired: .expired
        case .accountLocked: .locked
        case .changeAfterReset: .mustChange
        default: nil
        }
    }

    private static func refusal(_ answer: BindAnswer) -> BindVerdict {
        answer.controls.contains { $0.type == NetscapePolicy.expired } ? .expired : .invalidCredentials
    }

    /// Active Directory has one result for all, and a number among its words ([MS-ADTS] §5.1.1.5, Windows' error codes): "…, data 533, v3839".
    private static func refusal(byActiveDirectory result: LDAPResult) -> BindVerdict? {
        let words = result.diagnosticMessage.split(whereSeparator: { " ,".contains($0) })
        guard let index = words.firstIndex(of: "data"), words.index(after: index) < words.endIndex else { return nil }
        switch Int32(words[words.index(after: index)], radix: 16) {
        // ERROR_ACCOUNT_LOCKED_OUT.
        case 0x775: return .locked
        // ERROR_ACCOUNT_DISABLED, ERROR_ACCOUNT_EXPIRED.
        case 0x533, 0x701: return .disabled
        // ERROR_PASSWORD_EXPIRED.
        case 0x532: return .expired
        // ERROR_PASSWORD_MUST_CHANGE.
        case 0x773: return .mustChange
        default: return nil
        }
    }

    private static func saysLimit(_ result: LDAPResult) -> Bool { result.diagnosticMessage.hasPrefix("Exceed password retry limit") }
}

/// Controls that 389 Directory Server sends unasked (draft-vchu-ldap-pwd-policy-00).
private enum NetscapePolicy {
    static let expired = "2.16.840.1.113730.3.4.4"
    static let expiring = "2.16.840.1.113730.3.4.5"

    /// Digits, though one who breaks the rules may send something else: then there is no advice.
    static func secondsLeft(_ controls: [LDAPControl]) -> Int? {
        guard let value = controls.first(where: { $0.type == expiring })?.value, value.count <= 10 else { return nil }
        return Int(String(decoding: value, as: UTF8.self)).flatMap { $0 >= 0 ? $0 : nil }
    }
}
