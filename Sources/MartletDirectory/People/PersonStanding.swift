package import MartletCore

/// Whether a person's account may be used, as far as the directory says it in the entry. Who comes in by SCRAM never binds, so that nobody else would look
/// (draft-behera-ldap-password-policy-10 §7.1).
package struct PersonStanding: Hashable, Sendable {
    /// `xmppAuthPolicy`.
    package enum Policy: String, Hashable, Sendable {
        case any
        /// No password goes over the wire.
        case scram
        /// No password at all.
        case strong
    }

    package enum Lock: Hashable, Sendable {
        case none
        case forEver
        /// From this moment, in milliseconds since 1970.
        case since(Int64)
    }

    package var policy = Policy.any
    package var lock = Lock.none
    /// A moment before which, and one after which, nobody comes in.
    package var from: Int64?
    package var until: Int64?
    package var mustChangePassword = false

    init(_ reader: EntryReader, _ mapping: PersonMapping) {
        let control = reader.number("useraccountcontrol") ?? 0
        let isDisabled = mapping.isEnabled?(reader) == false || reader.isTrue("nsaccountlock") || control & ActiveDirectory.disabled != 0
        lock = isDisabled ? .forEver : Self.lock(reader.text("pwdaccountlockedtime"))
        from = reader.moment("pwdstarttime")
        until = [reader.moment("pwdendtime"), reader.number("accountexpires").flatMap(ActiveDirectory.moment)].compactMap(\.self).min()
        mustChangePassword = reader.isTrue("pwdreset") || control & ActiveDirectory.passwordExpired != 0
        // A policy that is not known is no reason to let somebody in who would not be.
        policy = reader.text(PersonAttributes.policy).map { Policy(rawValue: $0.lowercased()) ?? .strong } ?? .any
    }

    /// A lock that cannot be read is one.
    private static func lock(_ text: String?) -> Lock {
        guard let text else { return .none }
        guard text != "000001010000Z", let moment = DirectoryTime.milliseconds(text) else { return .forEver }
        return .since(moment)
    }

    /// Whether who is there already is out as well. A lock that the directory's policy has set after a few wrong passwords is no reason: whoever guesses would end the
    /// sessions of others.
    package func endsSessions(at now: Int64) -> Bool { lock == .forEver || isOutOfTime(at: now) }

    private func isOutOfTime(at now: Int64) -> Bool { from.map { now < $0 } == true || until.map { now >= $0 } == true }

    /// - Parameter lockMilliseconds: after so long a lock is over that the directory's policy has set (`pwdLockoutDuration`); `nil`: when the directory takes it away.
    package func verdict(at now: Int64, lockMilliseconds: Int64?) -> AccountVerdict {
        if isLocked(at: now, lockMilliseconds) || isOutOfTime(at: now) { return .disabled }
        return mustChangePassword ? .expired : .ok
    }

    private func isLocked(at now: Int64, _ lockMilliseconds: Int64?) -> Bool {
        switch lock {
        case .none: false
        case .forEver: true
        case .since(let moment): lockMilliseconds.map { now < moment + $0 } ?? true
        }
    }

    /// Whether the verdict may become another one though nothing changes.
    var isTimed: Bool {
        if case .since = lock { return true }
        return from != nil || until != nil
    }

    private enum ActiveDirectory {
        static let disabled: Int64 = 0x2
        static let passwordExpired: Int64 = 0x80_0000

        /// 0 and the highest number stand for never.
        static func moment(_ value: Int64) -> Int64? {
            value <= 0 || value == .max ? nil : DirectoryTime.milliseconds(sinceYear1601: value)
        }
    }
}
