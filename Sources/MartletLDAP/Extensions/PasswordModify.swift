/// Changes a password (RFC 3062 §2).
public struct PasswordModifyRequest: TypedExtendedRequest {
    public static var name: String { LDAPExtension.passwordModify }

    /// Whose; `nil` for one's own. Mostly the name of an entry.
    public var identity: String?
    public var oldPassword: [UInt8]?
    /// `nil`: the server makes one.
    public var newPassword: [UInt8]?

    public init(identity: String? = nil, oldPassword: [UInt8]? = nil, newPassword: [UInt8]? = nil) {
        self.identity = identity
        self.oldPassword = oldPassword
        self.newPassword = newPassword
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        guard value != nil else {
            self.init()
            return
        }
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            let identity = content.isNext(BERTag.context(0)) ? try content.name(BERTag.context(0)) : nil
            let oldPassword = content.isNext(BERTag.context(1)) ? try content.octets(BERTag.context(1)) : nil
            let newPassword = content.isNext(BERTag.context(2)) ? try content.octets(BERTag.context(2)) : nil
            return Self(identity: identity, oldPassword: oldPassword, newPassword: newPassword)
        }
    }

    public var value: [UInt8]? {
        if identity == nil && oldPassword == nil && newPassword == nil { return nil }
        return BERWriter.bytes {
            $0.constructed { content in
                if let identity { content.string(identity, BERTag.context(0)) }
                if let oldPassword { content.octets(oldPassword, BERTag.context(1)) }
                if let newPassword { content.octets(newPassword, BERTag.context(2)) }
            }
        }
    }
}

/// The value of the answer (RFC 3062 §2).
public struct PasswordModifyResponse: Hashable, Sendable {
    /// What the server made, if it was asked to.
    public var generatedPassword: [UInt8]?

    public init(generatedPassword: [UInt8]? = nil) { self.generatedPassword = generatedPassword }

    public init(value: [UInt8]?) throws(LDAPFault) {
        guard value != nil else {
            self.init()
            return
        }
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            Self(generatedPassword: content.isNext(BERTag.context(0)) ? try content.octets(BERTag.context(0)) : nil)
        }
    }

    public var value: [UInt8]? {
        generatedPassword.map { password in BERWriter.bytes { $0.constructed { $0.octets(password, BERTag.context(0)) } } }
    }
}
