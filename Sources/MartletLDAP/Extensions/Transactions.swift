/// The operation is part of a transaction (RFC 5805 §2.2). The control is critical always.
public struct TransactionSpecificationControl: TypedControl {
    public static var type: String { LDAPControlType.transactionSpecification }

    /// As the server gave it; it may be empty.
    public var identifier: [UInt8]

    public init(_ identifier: [UInt8]) { self.identifier = identifier }

    public init(value: [UInt8]?) throws(LDAPFault) {
        guard let value else { throw .missing(tag: BERTag.octetString) }
        identifier = value
    }

    public var value: [UInt8]? { identifier }
}

/// Everything that belongs to the transaction takes place now, or nothing of it (RFC 5805 §2.3).
public struct EndTransactionRequest: TypedExtendedRequest {
    public static var name: String { LDAPExtension.endTransaction }

    public var commits: Bool
    public var identifier: [UInt8]

    public init(_ identifier: [UInt8], commits: Bool) {
        self.identifier = identifier
        self.commits = commits
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            let commits = content.isNext(BERTag.boolean) ? try content.boolean() : true
            return Self(try content.octets(), commits: commits)
        }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                // True unless it is said.
                if !commits { content.boolean(false) }
                content.octets(identifier)
            }
        }
    }
}

/// The value of the answer (RFC 5805 §2.3).
public struct EndTransactionResponse: Hashable, Sendable {
    /// The controls with which the answer to one operation would have come.
    public struct Update: Hashable, Sendable {
        public var id: Int32
        public var controls: [LDAPControl]

        public init(_ id: Int32, _ controls: [LDAPControl]) {
            self.id = id
            self.controls = controls
        }
    }

    /// The operation because of which nothing took place.
    public var failed: Int32?
    public var updates: [Update]

    public init(failed: Int32? = nil, updates: [Update] = []) {
        self.failed = failed
        self.updates = updates
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        guard value != nil else {
            self.init()
            return
        }
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            let failed = content.isNext(BERTag.integer) ? try content.count() : nil
            guard content.isNext(BERTag.sequence) else { return Self(failed: failed) }
            let updates = try content.list(of: .changes, max: LDAPLimits.changesMax) { reader throws(LDAPFault) in try Update(&reader) }
            return Self(failed: failed, updates: updates)
        }
    }

    public var value: [UInt8]? {
        if failed == nil && updates.isEmpty { return nil }
        return BERWriter.bytes {
            $0.constructed { content in
                if let failed { content.integer(Int(failed)) }
                if !updates.isEmpty { content.list(updates) { $1.write(&$0) } }
            }
        }
    }
}

extension EndTransactionResponse.Update {
    fileprivate init(_ reader: inout BERReader) throws(LDAPFault) {
        var update = try reader.constructed()
        let id = try update.count()
        let controls = try update.list(of: .controls, max: LDAPLimits.controlsMax) { reader throws(LDAPFault) in try LDAPControl(&reader) }
        try update.skipUnknown()
        self.init(id, controls)
    }

    fileprivate func write(_ writer: inout BERWriter) {
        writer.constructed { update in
            update.integer(Int(id))
            update.list(controls) { $1.write(&$0) }
        }
    }
}
