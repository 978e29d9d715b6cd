/// Asks for a copy of what a search finds, and for what changes of it (RFC 4533 §2.2).
public struct SyncRequestControl: TypedControl {
    public static var type: String { LDAPControlType.syncRequest }

    public enum Mode: Int, Hashable, Sendable {
        case refreshOnly = 1
        case refreshAndPersist = 3
    }
    public var mode: Mode
    /// What is known already; `nil` for nothing.
    public var cookie: [UInt8]?
    /// Whether everything may come anew where the server cannot tell what changed.
    public var hintsReload: Bool

    public init(_ mode: Mode, cookie: [UInt8]? = nil, hintsReload: Bool = false) {
        self.mode = mode
        self.cookie = cookie
        self.hintsReload = hintsReload
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            Self(try content.enumerated(), cookie: try content.cookie(), hintsReload: try content.flag() ?? false)
        }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                content.enumerated(mode.rawValue)
                if let cookie { content.octets(cookie) }
                if hintsReload { content.boolean(true) }
            }
        }
    }
}

/// What an entry, or a reference, is to the copy (RFC 4533 §2.3).
public struct SyncStateControl: TypedControl {
    public static var type: String { LDAPControlType.syncState }

    public enum State: Int, Hashable, Sendable { case present, add, modify, delete }
    public var state: State
    /// 16 octets that name the entry whatever becomes of its name.
    public var uuid: [UInt8]
    /// What is known with it.
    public var cookie: [UInt8]?

    public init(_ state: State, uuid: [UInt8], cookie: [UInt8]? = nil) {
        self.state = state
        self.uuid = uuid
        self.cookie = cookie
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            Self(try content.enumerated(), uuid: try content.uuid(), cookie: try content.cookie())
        }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                content.enumerated(state.rawValue)
                content.octets(uuid)
                if let cookie { content.octets(cookie) }
            }
        }
    }
}

/// Stands with the result of a refresh that does not persist (RFC 4533 §2.4).
public struct SyncDoneControl: TypedControl {
    public static var type: String { LDAPControlType.syncDone }

    public var cookie: [UInt8]?
    /// Whether what was not named stays as it is. Otherwise it is gone: this was a present phase.
    public var refreshDeletes: Bool

    public init(cookie: [UInt8]? = nil, refreshDeletes: Bool = false) {
        self.cookie = cookie
        self.refreshDeletes = refreshDeletes
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            Self(cookie: try content.cookie(), refreshDeletes: try content.flag() ?? false)
        }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                if let cookie { content.octets(cookie) }
                if refreshDeletes { content.boolean(true) }
            }
        }
    }
}

/// What is said between entries (RFC 4533 §2.5), as an intermediate response.
public enum SyncInfo: Hashable, Sendable {
    /// A new cookie.
    case newCookie([UInt8])
    /// The end of a delete phase; with `isDone`, of the refresh.
    case refreshDelete(cookie: [UInt8]?, isDone: Bool)
    /// The end of a present phase: what it did not name is gone.
    case refreshPresent(cookie: [UInt8]?, isDone: Bool)
    /// Entries that are present, or with `refreshDeletes` are gone; each UUID has 16 octets.
    case idSet(cookie: [UInt8]?, refreshDeletes: Bool, uuids: [[UInt8]])

    public static let name = "1.3.6.1.4.1.4203.1.9.1.4"

    /// - Returns: `nil` for a response of another name.
    public init?(_ response: IntermediateResponse) throws(LDAPFault) {
        guard response.name == Self.name else { return nil }
        var reader = try BERReader(required: response.value)
        guard let tag = reader.nextTag else { throw .missing(tag: nil) }
        if tag == BERTag.context(0) {
            self = .newCookie(try reader.octets(tag))
        } else {
            guard (BERTag.constructed(1)...BERTag.constructed(3)).contains(tag) else { throw .unknownChoice(tag: tag) }
            var content = try reader.constructed(tag)
            let cookie = try content.cookie()
            let flag = try content.flag()
            switch tag {
            case BERTag.constructed(1): self = .refreshDelete(cookie: cookie, isDone: flag ?? true)
            case BERTag.constructed(2): self = .refreshPresent(cookie: cookie, isDone: flag ?? true)
            default: self = .idSet(cookie: cookie, refreshDeletes: flag ?? false, uuids: try Self.uuids(&content))
            }
            try content.skipUnknown()
        }
        try reader.finish()
    }

    private static func uuids(_ content: inout BERReader) throws(LDAPFault) -> [[UInt8]] {
        try content.list(BERTag.set, of: .uuids, max: LDAPLimits.syncUUIDsMax) { reader throws(LDAPFault) in try reader.uuid() }
    }

    public var response: IntermediateResponse { IntermediateResponse(name: Self.name, value: BERWriter.bytes(write)) }

    private func write(_ writer: inout BERWriter) {
        switch self {
        case .newCookie(let cookie): writer.octets(cookie, BERTag.context(0))
        case .refreshDelete(let cookie, let isDone): Self.writeEnd(1, cookie, isDone: isDone, &writer)
        case .refreshPresent(let cookie, let isDone): Self.writeEnd(2, cookie, isDone: isDone, &writer)
        case .idSet(let cookie, let refreshDeletes, let uuids):
            writer.constructed(BERTag.constructed(3)) { content in
                if let cookie { content.octets(cookie) }
                if refreshDeletes { content.boolean(true) }
                content.list(uuids, BERTag.set) { $0.octets($1) }
            }
        }
    }

    private static func writeEnd(_ number: UInt8, _ cookie: [UInt8]?, isDone: Bool, _ writer: inout BERWriter) {
        writer.constructed(BERTag.constructed(number)) { content in
            if let cookie { content.octets(cookie) }
            // True unless it is said.
            if !isDone { content.boolean(false) }
        }
    }
}

extension BERReader {
    /// `syncCookie OPTIONAL`.
    fileprivate mutating func cookie() throws(LDAPFault) -> [UInt8]? { isNext(BERTag.octetString) ? try octets() : nil }

    /// `BOOLEAN DEFAULT …`; `nil` if it is not there.
    fileprivate mutating func flag() throws(LDAPFault) -> Bool? { isNext(BERTag.boolean) ? try boolean() : nil }

    /// `syncUUID` (RFC 4533 §2.1).
    fileprivate mutating func uuid() throws(LDAPFault) -> [UInt8] {
        let uuid = try octets()
        guard uuid.count == 16 else { throw .malformedUUID(bytes: uuid.count) }
        return uuid
    }
}
