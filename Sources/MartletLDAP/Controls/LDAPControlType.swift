/// The types of controls, as a root DSE lists those that its server knows in `supportedControl` (RFC 4512 §5.1).
public enum LDAPControlType {
    /// RFC 2696.
    public static let pagedResults = "1.2.840.113556.1.4.319"
    /// RFC 4533 §2.2 to §2.4. Only the first is listed.
    public static let syncRequest = "1.3.6.1.4.1.4203.1.9.1.1"
    public static let syncState = "1.3.6.1.4.1.4203.1.9.1.2"
    public static let syncDone = "1.3.6.1.4.1.4203.1.9.1.3"
    /// draft-ietf-ldapext-psearch-03.
    public static let persistentSearch = "2.16.840.1.113730.3.4.3"
    public static let entryChangeNotification = "2.16.840.1.113730.3.4.7"
    /// draft-behera-ldap-password-policy-10 §6, in both directions.
    public static let passwordPolicy = "1.3.6.1.4.1.42.2.27.8.5.1"
    /// RFC 4528.
    public static let assertion = "1.3.6.1.1.12"
    /// RFC 4527 §3.1 and §3.2, in both directions.
    public static let preRead = "1.3.6.1.1.13.1"
    public static let postRead = "1.3.6.1.1.13.2"
    /// RFC 4370.
    public static let proxiedAuthorization = "2.16.840.1.113730.3.4.18"
    /// RFC 3296 §3.
    public static let manageDsaIT = "2.16.840.1.113730.3.4.2"
    /// RFC 5805 §2.2.
    public static let transactionSpecification = "1.3.6.1.1.21.2"
    /// Active Directory's, [MS-ADTS] §3.1.1.3.4.1.14.
    public static let showDeleted = "1.2.840.113556.1.4.417"
    /// Active Directory's, [MS-ADTS] §3.1.1.3.4.1.9.
    public static let changeNotification = "1.2.840.113556.1.4.528"
}

/// A control that is known by its type, with what its value says.
public protocol TypedControl: Hashable, Sendable {
    /// A dotted OID.
    static var type: String { get }
    /// - Parameter value: `nil` if the control has none.
    init(value: [UInt8]?) throws(LDAPFault)
    /// `nil` for a control that has none.
    var value: [UInt8]? { get }
}

extension TypedControl {
    public func control(isCritical: Bool) -> LDAPControl { LDAPControl(Self.type, isCritical: isCritical, value: value) }
}

extension [LDAPControl] {
    /// What the first control of a type says.
    ///
    /// - Returns: `nil` if there is none.
    /// - Throws: what is wrong with its value.
    public func first<Control: TypedControl>(of type: Control.Type) throws(LDAPFault) -> Control? {
        for control in self where control.type == type.type { return try Control(value: control.value) }
        return nil
    }
}

/// Controls that are nothing but their type.
extension LDAPControl {
    /// Referrals are entries like others (RFC 3296 §3).
    public static let manageDsaIT = LDAPControl(LDAPControlType.manageDsaIT, isCritical: true)
    /// Entries that have been deleted are found as well, as Active Directory keeps them.
    public static let showDeleted = LDAPControl(LDAPControlType.showDeleted, isCritical: true)
    /// Active Directory tells of entries that change, without an end.
    public static let changeNotification = LDAPControl(LDAPControlType.changeNotification, isCritical: true)
    /// The answer is to say what the password policy has to say.
    public static let passwordPolicy = LDAPControl(LDAPControlType.passwordPolicy)
}

extension BERReader {
    /// Reads a value that is one SEQUENCE; what it has at its end and is not known is ignored.
    static func sequence<Value>(
        _ value: [UInt8]?, _ read: (inout BERReader) throws(LDAPFault) -> Value
    ) throws(LDAPFault) -> Value {
        var reader = try BERReader(required: value)
        var content = try reader.constructed()
        try reader.finish()
        let result = try read(&content)
        try content.skipUnknown()
        return result
    }

    /// A value that has to be there.
    init(required value: [UInt8]?) throws(LDAPFault) {
        guard let value else { throw .missing(tag: BERTag.octetString) }
        self.init(value)
    }
}
