/// RFC 4511 §4.2.
public struct BindRequest: Hashable, Sendable {
    public enum Authentication: Hashable, Sendable {
        /// A password. Empty, it is an unauthenticated bind (RFC 4513 §5.1.2), which some servers answer with success.
        case simple([UInt8])
        case sasl(mechanism: String, credentials: [UInt8]?)
    }
    public var version: Int
    public var name: String
    public var authentication: Authentication

    public init(_ name: String, _ authentication: Authentication, version: Int = 3) {
        self.version = version
        self.name = name
        self.authentication = authentication
    }
}

public struct BindResponse: Hashable, Sendable {
    public var result: LDAPResult
    public var serverSASLCredentials: [UInt8]?

    public init(_ result: LDAPResult, serverSASLCredentials: [UInt8]? = nil) {
        self.result = result
        self.serverSASLCredentials = serverSASLCredentials
    }
}

/// RFC 4511 §4.5.1.
public struct SearchRequest: Hashable, Sendable {
    public enum Scope: Int, Hashable, Sendable { case baseObject, singleLevel, wholeSubtree }
    public enum DereferenceAliases: Int, Hashable, Sendable { case never, inSearching, findingBaseObject, always }

    public var base: String
    public var scope: Scope
    public var dereferenceAliases: DereferenceAliases
    /// Entries; 0 for as many as the server gives.
    public var sizeLimit: Int32
    /// Seconds; 0 for as long as the server likes.
    public var timeLimit: Int32
    public var typesOnly: Bool
    public var filter: LDAPFilter
    /// None for all user attributes; `*`, `+` and `1.1` as RFC 4511 §4.5.1.8 and RFC 3673 say.
    public var attributes: [String]

    public init(
        _ base: String, _ scope: Scope, _ filter: LDAPFilter, attributes: [String] = [], dereferenceAliases: DereferenceAliases = .never,
        sizeLimit: Int32 = 0, timeLimit: Int32 = 0, typesOnly: Bool = false
    ) {
        self.base = base
        self.scope = scope
        self.dereferenceAliases = dereferenceAliases
        self.sizeLimit = sizeLimit
        self.timeLimit = timeLimit
        self.typesOnly = typesOnly
        self.filter = filter
        self.attributes = attributes
    }
}

/// RFC 4511 §4.6; `increment` is RFC 4525's.
public struct ModifyRequest: Hashable, Sendable {
    public enum Kind: Int, Hashable, Sendable { case add, delete, replace, increment }
    public struct Change: Hashable, Sendable {
        public var kind: Kind
        public var attribute: LDAPAttribute

        public init(_ kind: Kind, _ attribute: LDAPAttribute) {
            self.kind = kind
            self.attribute = attribute
        }
    }
    public var name: String
    public var changes: [Change]

    public init(_ name: String, _ changes: [Change]) {
        self.name = name
        self.changes = changes
    }
}

/// RFC 4511 §4.9.
public struct ModifyDNRequest: Hashable, Sendable {
    public var name: String
    public var newRDN: String
    public var deletesOldRDN: Bool
    public var newSuperior: String?

    public init(_ name: String, newRDN: String, deletesOldRDN: Bool, newSuperior: String? = nil) {
        self.name = name
        self.newRDN = newRDN
        self.deletesOldRDN = deletesOldRDN
        self.newSuperior = newSuperior
    }
}

/// RFC 4511 §4.10.
public struct CompareRequest: Hashable, Sendable {
    public var name: String
    public var attribute: String
    public var value: [UInt8]

    public init(_ name: String, _ attribute: String, _ value: [UInt8]) {
        self.name = name
        self.attribute = attribute
        self.value = value
    }
}

/// RFC 4511 §4.12.
public struct ExtendedRequest: Hashable, Sendable {
    /// A dotted OID.
    public var name: String
    public var value: [UInt8]?

    public init(_ name: String, value: [UInt8]? = nil) {
        self.name = name
        self.value = value
    }
}

public struct ExtendedResponse: Hashable, Sendable {
    public var result: LDAPResult
    public var name: String?
    public var value: [UInt8]?

    public init(_ result: LDAPResult, name: String? = nil, value: [UInt8]? = nil) {
        self.result = result
        self.name = name
        self.value = value
    }
}

/// RFC 4511 §4.13.
public struct IntermediateResponse: Hashable, Sendable {
    public var name: String?
    public var value: [UInt8]?

    public init(name: String? = nil, value: [UInt8]? = nil) {
        self.name = name
        self.value = value
    }
}
