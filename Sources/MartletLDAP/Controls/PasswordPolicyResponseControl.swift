/// What the password policy has to say about an operation (draft-behera-ldap-password-policy-10 §6.2). It is asked for by
/// ``LDAPControl/passwordPolicy``, which has the same type and no value.
public struct PasswordPolicyResponseControl: TypedControl {
    public static var type: String { LDAPControlType.passwordPolicy }

    public enum Warning: Hashable, Sendable {
        /// In seconds.
        case timeBeforeExpiration(Int32)
        /// How often the password is still taken although it has expired.
        case graceAuthenticationsRemaining(Int32)
    }

    /// Others are possible.
    public struct Fault: RawRepresentable, Hashable, Sendable {
        public let rawValue: Int32
        public init(rawValue: Int32) { self.rawValue = rawValue }

        public static let passwordExpired = Self(rawValue: 0)
        public static let accountLocked = Self(rawValue: 1)
        public static let changeAfterReset = Self(rawValue: 2)
        public static let passwordModNotAllowed = Self(rawValue: 3)
        public static let mustSupplyOldPassword = Self(rawValue: 4)
        public static let insufficientPasswordQuality = Self(rawValue: 5)
        public static let passwordTooShort = Self(rawValue: 6)
        public static let passwordTooYoung = Self(rawValue: 7)
        public static let passwordInHistory = Self(rawValue: 8)
    }

    public var warning: Warning?
    public var fault: Fault?

    public init(warning: Warning? = nil, fault: Fault? = nil) {
        self.warning = warning
        self.fault = fault
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            let warning = content.isNext(BERTag.constructed(0)) ? try Warning(&content) : nil
            let fault = content.isNext(BERTag.context(1)) ? Fault(rawValue: try content.count(BERTag.context(1))) : nil
            return Self(warning: warning, fault: fault)
        }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                warning?.write(&content)
                if let fault { content.enumerated(Int(fault.rawValue), BERTag.context(1)) }
            }
        }
    }
}

extension PasswordPolicyResponseControl.Warning {
    fileprivate init(_ reader: inout BERReader) throws(LDAPFault) {
        var content = try reader.constructed(BERTag.constructed(0))
        switch content.nextTag {
        case nil: throw .missing(tag: nil)
        case BERTag.context(0): self = .timeBeforeExpiration(try content.count(BERTag.context(0)))
        case BERTag.context(1): self = .graceAuthenticationsRemaining(try content.count(BERTag.context(1)))
        case let tag?: throw .unknownChoice(tag: tag)
        }
        try content.finish()
    }

    fileprivate func write(_ writer: inout BERWriter) {
        writer.constructed(BERTag.constructed(0)) { content in
            switch self {
            case .timeBeforeExpiration(let seconds): content.integer(Int(seconds), BERTag.context(0))
            case .graceAuthenticationsRemaining(let count): content.integer(Int(count), BERTag.context(1))
            }
        }
    }
}
