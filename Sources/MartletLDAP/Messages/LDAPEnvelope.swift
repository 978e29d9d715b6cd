public import NIOCore

/// A message of which only the outside has been looked at: its identifier, and which operation it is. Enough to pass it on under another identifier.
public struct LDAPEnvelope: Hashable, Sendable {
    public let id: Int32
    public let kind: LDAPOperation.Kind
    /// Operation and controls, as they came.
    let rest: ByteBuffer

    /// - Parameter bytes: one message, as ``LDAPFraming`` gives it.
    /// - Throws: what is wrong outside, and a length of the operation that is not possible.
    public init(_ bytes: ByteBuffer) throws(LDAPFault) {
        var outside = BERReader(bytes)
        guard let first = outside.nextTag else { throw .missing(tag: BERTag.sequence) }
        guard first == BERTag.sequence else { throw .notAMessage(tag: first) }
        var message = try outside.constructed()
        try outside.finish()
        id = try message.count()
        rest = message.rest
        guard let tag = message.nextTag else { throw .missing(tag: nil) }
        guard let kind = LDAPOperation.Kind(rawValue: tag) else { throw .unknownOperation(tag: tag) }
        guard id != 0 || kind == .extendedResponse else { throw .zeroMessageID }
        self.kind = kind
        try message.skip()
    }

    /// Writes the message under another identifier; all else stays as it came, octet for octet.
    public func write(id: Int32, into buffer: inout ByteBuffer) {
        let identifier = BERWriter.bytes { $0.integer(Int(id)) }
        buffer.writeInteger(BERTag.sequence)
        buffer.writeBytes(BERWriter.length(identifier.count + rest.readableBytes))
        buffer.writeBytes(identifier)
        buffer.writeImmutableBuffer(rest)
    }
}

extension LDAPOperation {
    /// Which operation it is, by its tag.
    public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        case bindRequest = 0x60
        case bindResponse = 0x61
        case unbindRequest = 0x42
        case searchRequest = 0x63
        case searchResultEntry = 0x64
        case searchResultDone = 0x65
        case modifyRequest = 0x66
        case modifyResponse = 0x67
        case addRequest = 0x68
        case addResponse = 0x69
        case delRequest = 0x4A
        case delResponse = 0x6B
        case modifyDNRequest = 0x6C
        case modifyDNResponse = 0x6D
        case compareRequest = 0x6E
        case compareResponse = 0x6F
        case abandonRequest = 0x50
        case searchResultReference = 0x73
        case extendedRequest = 0x77
        case extendedResponse = 0x78
        case intermediateResponse = 0x79

        /// Whether a client says it.
        public var isRequest: Bool {
            switch self {
            case .bindRequest, .unbindRequest, .searchRequest, .modifyRequest, .addRequest, .delRequest, .modifyDNRequest, .compareRequest,
                .abandonRequest, .extendedRequest:
                true
            case .bindResponse, .searchResultEntry, .searchResultDone, .modifyResponse, .addResponse, .delResponse, .modifyDNResponse,
                .compareResponse, .searchResultReference, .extendedResponse, .intermediateResponse:
                false
            }
        }
    }

    public var kind: Kind {
        switch self {
        case .bindRequest: .bindRequest
        case .bindResponse: .bindResponse
        case .unbindRequest: .unbindRequest
        case .searchRequest: .searchRequest
        case .searchResultEntry: .searchResultEntry
        case .searchResultReference: .searchResultReference
        case .searchResultDone: .searchResultDone
        case .modifyRequest: .modifyRequest
        case .modifyResponse: .modifyResponse
        case .addRequest: .addRequest
        case .addResponse: .addResponse
        case .delRequest: .delRequest
        case .delResponse: .delResponse
        case .modifyDNRequest: .modifyDNRequest
        case .modifyDNResponse: .modifyDNResponse
        case .compareRequest: .compareRequest
        case .compareResponse: .compareResponse
        case .abandonRequest: .abandonRequest
        case .extendedRequest: .extendedRequest
        case .extendedResponse: .extendedResponse
        case .intermediateResponse: .intermediateResponse
        }
    }
}
