/// One message of the protocol, in either direction (RFC 4511 §4.1.1).
public struct LDAPMessage: Hashable, Sendable {
    /// Names the operation within a connection: 1 to 2³¹ - 1; 0 only in what the server says unasked (RFC 4511 §4.1.1.1).
    public var id: Int32
    public var operation: LDAPOperation
    public var controls: [LDAPControl]

    public init(_ id: Int32, _ operation: LDAPOperation, controls: [LDAPControl] = []) {
        self.id = id
        self.operation = operation
        self.controls = controls
    }
}

/// `protocolOp` (RFC 4511 §4.2-4.14, in the order of its tags).
public enum LDAPOperation: Hashable, Sendable {
    case bindRequest(BindRequest)
    case bindResponse(BindResponse)
    case unbindRequest
    case searchRequest(SearchRequest)
    case searchResultEntry(LDAPEntry)
    /// URIs of where else the search is to go on.
    case searchResultReference([String])
    case searchResultDone(LDAPResult)
    case modifyRequest(ModifyRequest)
    case modifyResponse(LDAPResult)
    case addRequest(LDAPEntry)
    case addResponse(LDAPResult)
    /// The entry's name.
    case delRequest(String)
    case delResponse(LDAPResult)
    case modifyDNRequest(ModifyDNRequest)
    case modifyDNResponse(LDAPResult)
    case compareRequest(CompareRequest)
    case compareResponse(LDAPResult)
    /// The operation that nobody waits for any more.
    case abandonRequest(Int32)
    case extendedRequest(ExtendedRequest)
    case extendedResponse(ExtendedResponse)
    case intermediateResponse(IntermediateResponse)
}

/// Extends an operation (RFC 4511 §4.1.11).
public struct LDAPControl: Hashable, Sendable {
    /// A dotted OID.
    public var type: String
    /// Whether the operation is to be refused by who does not know the control.
    public var isCritical: Bool
    public var value: [UInt8]?

    public init(_ type: String, isCritical: Bool = false, value: [UInt8]? = nil) {
        self.type = type
        self.isCritical = isCritical
        self.value = value
    }
}

/// What became of an operation (RFC 4511 §4.1.9).
public struct LDAPResult: Hashable, Sendable, Error {
    public var code: LDAPResultCode
    public var matchedDN: String
    /// For people who look for a fault.
    public var diagnosticMessage: String
    /// URIs, with ``LDAPResultCode/referral``.
    public var referrals: [String]

    public init(_ code: LDAPResultCode, matchedDN: String = "", _ diagnosticMessage: String = "", referrals: [String] = []) {
        self.code = code
        self.matchedDN = matchedDN
        self.diagnosticMessage = diagnosticMessage
        self.referrals = referrals
    }
}

/// RFC 4511 Appendix A; others are possible.
public struct LDAPResultCode: RawRepresentable, Hashable, Sendable {
    public var rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let success = Self(rawValue: 0)
    public static let operationsError = Self(rawValue: 1)
    public static let protocolError = Self(rawValue: 2)
    public static let timeLimitExceeded = Self(rawValue: 3)
    public static let sizeLimitExceeded = Self(rawValue: 4)
    public static let compareFalse = Self(rawValue: 5)
    public static let compareTrue = Self(rawValue: 6)
    public static let authMethodNotSupported = Self(rawValue: 7)
    public static let strongerAuthRequired = Self(rawValue: 8)
    public static let referral = Self(rawValue: 10)
    public static let adminLimitExceeded = Self(rawValue: 11)
    public static let unavailableCriticalExtension = Self(rawValue: 12)
    public static let confidentialityRequired = Self(rawValue: 13)
    public static let saslBindInProgress = Self(rawValue: 14)
    public static let noSuchAttribute = Self(rawValue: 16)
    public static let undefinedAttributeType = Self(rawValue: 17)
    public static let inappropriateMatching = Self(rawValue: 18)
    public static let constraintViolation = Self(rawValue: 19)
    public static let attributeOrValueExists = Self(rawValue: 20)
    public static let invalidAttributeSyntax = Self(rawValue: 21)
    public static let noSuchObject = Self(rawValue: 32)
    public static let aliasProblem = Self(rawValue: 33)
    public static let invalidDNSyntax = Self(rawValue: 34)
    public static let inappropriateAuthentication = Self(rawValue: 48)
    public static let invalidCredentials = Self(rawValue: 49)
    public static let insufficientAccessRights = Self(rawValue: 50)
    public static let busy = Self(rawValue: 51)
    public static let unavailable = Self(rawValue: 52)
    public static let unwillingToPerform = Self(rawValue: 53)
    public static let loopDetect = Self(rawValue: 54)
    public static let namingViolation = Self(rawValue: 64)
    public static let objectClassViolation = Self(rawValue: 65)
    public static let notAllowedOnNonLeaf = Self(rawValue: 66)
    public static let entryAlreadyExists = Self(rawValue: 68)
    public static let objectClassModsProhibited = Self(rawValue: 69)
    public static let affectsMultipleDSAs = Self(rawValue: 71)
    public static let other = Self(rawValue: 80)
    /// RFC 4533 §2.6: the cookie is too old or not known.
    public static let syncRefreshRequired = Self(rawValue: 4096)
    /// RFC 3909 §3: what became of an operation that was cancelled, and of the wish to cancel one.
    public static let canceled = Self(rawValue: 118)
    public static let noSuchOperation = Self(rawValue: 119)
    public static let tooLate = Self(rawValue: 120)
    public static let cannotCancel = Self(rawValue: 121)
    /// RFC 4528 §4.
    public static let assertionFailed = Self(rawValue: 122)
    /// RFC 4370 §4.
    public static let authorizationDenied = Self(rawValue: 123)
}
