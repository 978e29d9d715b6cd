import MartletCore
import MartletDirectory
import MartletLDAP
import Testing

@Suite("What a bind says of a password")
struct BindVerdictTests {
    private static func verdict(_ code: LDAPResultCode, _ words: String = "", _ controls: [LDAPControl] = []) -> BindVerdict {
        BindVerdict(BindAnswer(LDAPResult(code, words), controls: controls))
    }

    private static func policy(
        warning: PasswordPolicyResponseControl.Warning? = nil, fault: PasswordPolicyResponseControl.Fault? = nil
    ) -> [LDAPControl] { [PasswordPolicyResponseControl(warning: warning, fault: fault).control(isCritical: false)] }

    @Test("success and invalid credentials are what they are")
    func plain() {
        #expect(Self.verdict(.success) == .accepted(.init()))
        #expect(Self.verdict(.invalidCredentials) == .invalidCredentials)
    }

    @Test("an entry that is gone or has no password has no right one", arguments: [LDAPResultCode.noSuchObject, .inappropriateAuthentication])
    func without(_ code: LDAPResultCode) { #expect(Self.verdict(code) == .invalidCredentials) }

    @Test(
        "whatever says neither yes nor no is unavailable, never wrong",
        arguments: [
            LDAPResultCode.operationsError, .protocolError, .timeLimitExceeded, .authMethodNotSupported, .strongerAuthRequired, .referral, .adminLimitExceeded,
            .unavailableCriticalExtension, .confidentialityRequired, .saslBindInProgress, .constraintViolation, .invalidDNSyntax, .insufficientAccessRights,
            .busy, .unavailable, .unwillingToPerform, .other, LDAPResultCode(rawValue: 999),
        ])
    func unavailable(_ code: LDAPResultCode) { #expect(Self.verdict(code, "x") == .unavailable(.refused(LDAPResult(code, "x")))) }

    @Test("the password policy says why (draft-behera-ldap-password-policy-10 §6.2)")
    func policies() {
        #expect(Self.verdict(.invalidCredentials, "", Self.policy(fault: .accountLocked)) == .locked)
        #expect(Self.verdict(.invalidCredentials, "", Self.policy(fault: .passwordExpired)) == .expired)
        #expect(Self.verdict(.success, "", Self.policy(fault: .changeAfterReset)) == .mustChange)
        #expect(Self.verdict(.success, "", Self.policy(warning: .timeBeforeExpiration(3_598))) == .accepted(.init(expiresIn: 3_598)))
        #expect(Self.verdict(.success, "", Self.policy(warning: .graceAuthenticationsRemaining(2))) == .accepted(.init(graceBinds: 2)))
        #expect(Self.verdict(.invalidCredentials, "", Self.policy()) == .invalidCredentials)
    }

    @Test("a policy that cannot be read decides nothing")
    func malformed() {
        let verdict = Self.verdict(.success, "", [LDAPControl(LDAPControlType.passwordPolicy, value: [0x30, 0x80])])
        guard case .unavailable(.violation(.malformed)) = verdict else {
            Issue.record("\(verdict)")
            return
        }
    }

    @Test(
        "Active Directory says why in words ([MS-ADTS])",
        arguments: [
            ("775", BindVerdict.locked), ("533", .disabled), ("701", .disabled), ("532", .expired), ("773", .mustChange), ("52e", .invalidCredentials),
            ("525", .invalidCredentials), ("", .invalidCredentials), ("zz", .invalidCredentials),
        ])
    func activeDirectory(_ data: String, _ expected: BindVerdict) {
        let words = "80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data \(data), v3839"
        #expect(Self.verdict(.invalidCredentials, words) == expected)
    }

    @Test("389 Directory Server has controls and words of its own")
    func netscape() {
        let expired = LDAPControl("2.16.840.1.113730.3.4.4", value: Array("0".utf8))
        #expect(Self.verdict(.success, "", [expired]) == .mustChange && Self.verdict(.invalidCredentials, "", [expired]) == .expired)
        func expiring(_ text: String) -> [LDAPControl] { [LDAPControl("2.16.840.1.113730.3.4.5", value: Array(text.utf8))] }
        #expect(Self.verdict(.success, "", expiring("86400")) == .accepted(.init(expiresIn: 86_400)))
        for text in ["", "-1", "soon", "99999999999"] { #expect(Self.verdict(.success, "", expiring(text)) == .accepted(.init())) }
        #expect(Self.verdict(.constraintViolation, "Exceed password retry limit. Please try later.") == .locked)
        #expect(Self.verdict(.unwillingToPerform, "Account inactivated. Contact system administrator.") == .disabled)
    }

    @Test("of an account it is said no more than who guesses may know")
    func accounts() {
        let said: [(BindVerdict, AccountVerdict)] = [
            (.accepted(.init(expiresIn: 5)), .ok), (.invalidCredentials, .badCredentials), (.locked, .badCredentials), (.disabled, .disabled),
            (.expired, .expired), (.mustChange, .expired), (.unavailable(.resting), .unavailable),
        ]
        for (verdict, expected) in said { #expect(verdict.accountVerdict == expected) }
    }
}
