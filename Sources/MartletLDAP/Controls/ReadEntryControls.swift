/// Asks for an entry as it was before it is changed (RFC 4527 §3.1).
public struct PreReadRequestControl: TypedControl {
    public static var type: String { LDAPControlType.preRead }

    /// As in a search (RFC 4511 §4.5.1.8).
    public var attributes: [String]

    public init(_ attributes: [String]) { self.attributes = attributes }

    public init(value: [UInt8]?) throws(LDAPFault) { attributes = try BERReader.attributeSelection(value) }

    public var value: [UInt8]? { BERWriter.bytes { $0.strings(attributes) } }
}

/// The entry as it was (RFC 4527 §3.1).
public struct PreReadResponseControl: TypedControl {
    public static var type: String { LDAPControlType.preRead }

    public var entry: LDAPEntry

    public init(_ entry: LDAPEntry) { self.entry = entry }

    public init(value: [UInt8]?) throws(LDAPFault) { entry = try BERReader.entry(value) }

    public var value: [UInt8]? { BERWriter.bytes { $0.constructed(LDAPOperation.Kind.searchResultEntry.rawValue, entry.write) } }
}

/// Asks for an entry as it is afterwards (RFC 4527 §3.2).
public struct PostReadRequestControl: TypedControl {
    public static var type: String { LDAPControlType.postRead }

    /// As in a search (RFC 4511 §4.5.1.8).
    public var attributes: [String]

    public init(_ attributes: [String]) { self.attributes = attributes }

    public init(value: [UInt8]?) throws(LDAPFault) { attributes = try BERReader.attributeSelection(value) }

    public var value: [UInt8]? { BERWriter.bytes { $0.strings(attributes) } }
}

/// The entry as it is now (RFC 4527 §3.2).
public struct PostReadResponseControl: TypedControl {
    public static var type: String { LDAPControlType.postRead }

    public var entry: LDAPEntry

    public init(_ entry: LDAPEntry) { self.entry = entry }

    public init(value: [UInt8]?) throws(LDAPFault) { entry = try BERReader.entry(value) }

    public var value: [UInt8]? { BERWriter.bytes { $0.constructed(LDAPOperation.Kind.searchResultEntry.rawValue, entry.write) } }
}

extension BERReader {
    fileprivate static func attributeSelection(_ value: [UInt8]?) throws(LDAPFault) -> [String] {
        var reader = try BERReader(required: value)
        let attributes = try SearchRequest.attributeSelection(&reader)
        try reader.finish()
        return attributes
    }

    fileprivate static func entry(_ value: [UInt8]?) throws(LDAPFault) -> LDAPEntry {
        var reader = try BERReader(required: value)
        var content = try reader.constructed(LDAPOperation.Kind.searchResultEntry.rawValue)
        try reader.finish()
        let entry = try LDAPEntry(&content)
        try content.skipUnknown()
        return entry
    }
}
