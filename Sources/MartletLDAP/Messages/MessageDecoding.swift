public import NIOCore

extension LDAPMessage {
    /// - Parameter bytes: one message, as ``LDAPFraming`` gives it.
    public init(decoding bytes: ByteBuffer) throws(LDAPFault) { try self.init(LDAPEnvelope(bytes)) }

    /// What is inside as well.
    public init(_ envelope: LDAPEnvelope) throws(LDAPFault) {
        var reader = BERReader(envelope.rest)
        let operation = try LDAPOperation(envelope.kind, &reader)
        var controls: [LDAPControl] = []
        if reader.isNext(BERTag.constructed(0)) {
            controls = try reader.list(BERTag.constructed(0), of: .controls, max: LDAPLimits.controlsMax) { reader throws(LDAPFault) in
                try LDAPControl(&reader)
            }
        }
        try reader.skipUnknown()
        self.init(envelope.id, operation, controls: controls)
    }
}

extension LDAPOperation {
    fileprivate init(_ kind: Kind, _ reader: inout BERReader) throws(LDAPFault) {
        let tag = kind.rawValue
        switch kind {
        case .unbindRequest:
            try reader.null(tag)
            self = .unbindRequest
        case .delRequest: self = .delRequest(try reader.name(tag))
        case .abandonRequest: self = .abandonRequest(try reader.count(tag))
        case .searchResultReference: self = .searchResultReference(try LDAPResult.uris(&reader, tag))
        default:
            var content = try reader.constructed(tag)
            self = try Self.constructed(kind, &content)
            try content.skipUnknown()
        }
    }

    /// Those that are a SEQUENCE of different things.
    private static func constructed(_ kind: Kind, _ content: inout BERReader) throws(LDAPFault) -> LDAPOperation {
        switch kind {
        case .bindRequest: .bindRequest(try BindRequest(&content))
        case .bindResponse: .bindResponse(try BindResponse(&content))
        case .searchRequest: .searchRequest(try SearchRequest(&content))
        case .searchResultEntry: .searchResultEntry(try LDAPEntry(&content))
        case .searchResultDone: .searchResultDone(try LDAPResult(&content))
        case .modifyRequest: .modifyRequest(try ModifyRequest(&content))
        case .modifyResponse: .modifyResponse(try LDAPResult(&content))
        case .addRequest: .addRequest(try LDAPEntry(toBeAdded: &content))
        case .addResponse: .addResponse(try LDAPResult(&content))
        case .delResponse: .delResponse(try LDAPResult(&content))
        case .modifyDNRequest: .modifyDNRequest(try ModifyDNRequest(&content))
        case .modifyDNResponse: .modifyDNResponse(try LDAPResult(&content))
        case .compareRequest: .compareRequest(try CompareRequest(&content))
        case .compareResponse: .compareResponse(try LDAPResult(&content))
        case .extendedRequest: .extendedRequest(try ExtendedRequest(&content))
        case .extendedResponse: .extendedResponse(try ExtendedResponse(&content))
        case .intermediateResponse: .intermediateResponse(try IntermediateResponse(&content))
        case .unbindRequest, .delRequest, .abandonRequest, .searchResultReference: preconditionFailure("\(kind) is no such SEQUENCE")
        }
    }
}

extension LDAPControl {
    init(_ reader: inout BERReader) throws(LDAPFault) {
        var control = try reader.constructed()
        let type = try control.identifier()
        let isCritical = control.isNext(BERTag.boolean) ? try control.boolean() : false
        let value = control.isNext(BERTag.octetString) ? try control.octets() : nil
        try control.skipUnknown()
        self.init(type, isCritical: isCritical, value: value)
    }
}

extension LDAPResult {
    /// `COMPONENTS OF LDAPResult`; what follows in responses that have more is theirs.
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let code = LDAPResultCode(rawValue: try content.count(BERTag.enumerated))
        let matchedDN = try content.name()
        let diagnosticMessage = try content.string()
        let referrals = content.isNext(BERTag.constructed(3)) ? try Self.uris(&content, BERTag.constructed(3)) : []
        self.init(code, matchedDN: matchedDN, diagnosticMessage, referrals: referrals)
    }

    /// RFC 4511 §4.1.10 and §4.5.3: at least one.
    fileprivate static func uris(_ reader: inout BERReader, _ tag: UInt8) throws(LDAPFault) -> [String] {
        let uris = try reader.list(tag, of: .referrals, max: LDAPLimits.referralsMax) { reader throws(LDAPFault) in
            try reader.string(bytesMax: LDAPLimits.nameBytesMax)
        }
        guard !uris.isEmpty else { throw .empty(.referrals) }
        return uris
    }
}

extension LDAPAttribute {
    fileprivate init(_ reader: inout BERReader) throws(LDAPFault) {
        var attribute = try reader.constructed()
        let description = try attribute.description()
        let values = try attribute.list(BERTag.set, of: .values, max: LDAPLimits.valuesMax) { reader throws(LDAPFault) in try reader.octets() }
        try attribute.skipUnknown()
        self.init(description, values)
    }
}

extension LDAPEntry {
    /// `SearchResultEntry`, without its tag.
    init(_ content: inout BERReader) throws(LDAPFault) {
        let name = try content.name()
        let attributes = try content.list(of: .attributes, max: LDAPLimits.attributesMax) { reader throws(LDAPFault) in try LDAPAttribute(&reader) }
        self.init(name, attributes)
    }

    /// `AddRequest`, whose attributes have values (RFC 4511 §4.7).
    fileprivate init(toBeAdded content: inout BERReader) throws(LDAPFault) {
        try self.init(&content)
        guard attributes.allSatisfy({ !$0.values.isEmpty }) else { throw .empty(.values) }
    }
}

extension BindRequest {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let version = try content.integer(in: 1...127)
        let name = try content.name()
        self.init(name, try Authentication(&content), version: version)
    }
}

extension BindRequest.Authentication {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        switch content.nextTag {
        case nil: throw .missing(tag: nil)
        case BERTag.context(0): self = .simple(try content.octets(BERTag.context(0)))
        case BERTag.constructed(3):
            var sasl = try content.constructed(BERTag.constructed(3))
            let mechanism = try sasl.description()
            let credentials = sasl.isNext(BERTag.octetString) ? try sasl.octets() : nil
            try sasl.skipUnknown()
            self = .sasl(mechanism: mechanism, credentials: credentials)
        case let tag?: throw .unknownAuthentication(tag: tag)
        }
    }
}

extension BindResponse {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let result = try LDAPResult(&content)
        self.init(result, serverSASLCredentials: content.isNext(BERTag.context(7)) ? try content.octets(BERTag.context(7)) : nil)
    }
}

extension SearchRequest {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let base = try content.name()
        let scope: Scope = try content.enumerated()
        let dereferenceAliases: DereferenceAliases = try content.enumerated()
        let sizeLimit = try content.count()
        let timeLimit = try content.count()
        let typesOnly = try content.boolean()
        let filter = try LDAPFilter(&content)
        self.init(
            base, scope, filter, attributes: try Self.attributeSelection(&content), dereferenceAliases: dereferenceAliases, sizeLimit: sizeLimit,
            timeLimit: timeLimit, typesOnly: typesOnly)
    }

    /// RFC 4511 §4.5.1.
    static func attributeSelection(_ reader: inout BERReader) throws(LDAPFault) -> [String] {
        try reader.list(of: .attributes, max: LDAPLimits.attributesMax) { reader throws(LDAPFault) in try reader.description() }
    }
}

extension ModifyRequest {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let name = try content.name()
        let changes = try content.list(of: .changes, max: LDAPLimits.changesMax) { reader throws(LDAPFault) in try Change(&reader) }
        self.init(name, changes)
    }
}

extension ModifyRequest.Change {
    fileprivate init(_ reader: inout BERReader) throws(LDAPFault) {
        var change = try reader.constructed()
        let kind: ModifyRequest.Kind = try change.enumerated()
        let attribute = try LDAPAttribute(&change)
        try change.skipUnknown()
        self.init(kind, attribute)
    }
}

extension ModifyDNRequest {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let name = try content.name()
        let newRDN = try content.name()
        let deletesOldRDN = try content.boolean()
        let newSuperior = content.isNext(BERTag.context(0)) ? try content.name(BERTag.context(0)) : nil
        self.init(name, newRDN: newRDN, deletesOldRDN: deletesOldRDN, newSuperior: newSuperior)
    }
}

extension CompareRequest {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let name = try content.name()
        var assertion = try content.constructed()
        let attribute = try assertion.description()
        self.init(name, attribute, try assertion.octets())
        try assertion.skipUnknown()
    }
}

extension ExtendedRequest {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let name = try content.identifier(BERTag.context(0))
        self.init(name, value: content.isNext(BERTag.context(1)) ? try content.octets(BERTag.context(1)) : nil)
    }
}

extension ExtendedResponse {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let result = try LDAPResult(&content)
        let name = content.isNext(BERTag.context(10)) ? try content.identifier(BERTag.context(10)) : nil
        self.init(result, name: name, value: content.isNext(BERTag.context(11)) ? try content.octets(BERTag.context(11)) : nil)
    }
}

extension IntermediateResponse {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let name = content.isNext(BERTag.context(0)) ? try content.identifier(BERTag.context(0)) : nil
        self.init(name: name, value: content.isNext(BERTag.context(1)) ? try content.octets(BERTag.context(1)) : nil)
    }
}
