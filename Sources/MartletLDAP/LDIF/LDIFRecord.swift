/// One record of LDIF (RFC 2849): an entry, or what is to be changed about one.
public struct LDIFRecord: Hashable, Sendable {
    public enum Content: Hashable, Sendable {
        case entry(LDAPEntry)
        case add(LDAPEntry)
        /// The entry's name.
        case delete(String)
        case modify(ModifyRequest)
        case modifyDN(ModifyDNRequest)
    }
    public var content: Content
    /// Of a change.
    public var controls: [LDAPControl]

    public init(_ content: Content, controls: [LDAPControl] = []) {
        self.content = content
        self.controls = controls
    }

    public var name: String {
        switch content {
        case .entry(let entry), .add(let entry): entry.name
        case .delete(let name): name
        case .modify(let request): request.name
        case .modifyDN(let request): request.name
        }
    }
}

/// What is wrong with LDIF, and in which of its lines.
public struct LDIFError: Error, Hashable, Sendable {
    public enum Fault: Hashable, Sendable {
        /// The whole, a line with what continues it, or a record.
        case tooLong(octetsMax: Int)
        case tooMany(max: Int)
        /// Another version than 1.
        case version
        /// Something else should stand here: what.
        case expected(String)
        /// A line that continues none.
        case continuation
        case attributeDescription
        case base64
        /// The name of an entry is none.
        case name(LDAPTextError)
        /// An octet that has to be in base64.
        case unescaped(UInt8)
        /// A value that is to be fetched from an address, which would let a record read any file.
        case address
    }
    public let fault: Fault
    /// Counted from 1.
    public let line: Int

    public init(_ fault: Fault, line: Int) {
        self.fault = fault
        self.line = line
    }
}

extension LDIFError: CustomStringConvertible {
    public var description: String { "line \(line): \(fault.description)" }
}

extension LDIFError.Fault: CustomStringConvertible {
    public var description: String {
        switch self {
        case .tooLong(let max): "more than \(max) octets"
        case .tooMany(let max): "more than \(max) lines in a record"
        case .version: "another version than 1"
        case .expected(let what): "\(what) expected"
        case .continuation: "a line that continues none"
        case .attributeDescription: "no name of an attribute"
        case .base64: "no base64"
        case .name(let error): "no name: \(error.description)"
        case .unescaped(let octet): "octet \(octet) has to be in base64"
        case .address: "values are not fetched from addresses"
        }
    }
}
