public import NIOCore

/// An address without a resource, `localpart@domainpart` or `domainpart`, prepared as RFC 7622 says.
///
/// Preparation happens once, where bytes come in; afterwards equal addresses have equal bytes and equality needs
/// no Unicode. One reference, so copying costs a retain. The bytes need no escaping in XML: the characters that
/// would (`"&'<>`) are in no localpart and in no domainpart.
///
/// `@unchecked`: a `ManagedBuffer` is never `Sendable` by itself; this one is not changed after it was made.
@frozen
public struct BareJID: Hashable, @unchecked Sendable {
    /// Most octets in one part, after preparation (RFC 7622 §3.1).
    public static let partBytesMax = 1023

    @usableFromInline let storage: JIDStorage

    @inlinable init(storage: JIDStorage) { self.storage = storage }

    /// Prepares `localpart@domainpart` or `domainpart`; a resourcepart is refused with ``JIDError/unexpected(_:)``.
    public init(parsing bytes: UnsafeRawBufferPointer) throws(JIDError) {
        let storage = try JIDPreparation.storage(parsing: bytes)
        guard storage.lengths.resourcepartBytes == 0 else { throw .unexpected(.resourcepart) }
        self.storage = storage
    }

    /// Prepares `localpart@domainpart` or `domainpart`; a resourcepart is refused with ``JIDError/unexpected(_:)``.
    @inlinable
    public init(parsing text: some StringProtocol) throws(JIDError) {
        self = try JIDPreparation.withUTF8(of: text, BareJID.init(parsing:))
    }

    /// Prepares the parts of an address; without localpart it is the address of a domain.
    public init(localpart: String?, domainpart: String) throws(JIDError) {
        storage = try JIDPreparation.storage(localpart: localpart, domainpart: domainpart, resourcepart: nil)
    }

    /// The account or room, in lower case; `nil` in the address of a domain.
    public var localpart: String? {
        isDomain ? nil : storage.withBytes(of: .localpart) { String(decoding: $0, as: UTF8.self) }
    }

    /// The host name in lower case, with U-labels where it is internationalised, or an IP literal.
    public var domainpart: String { storage.withBytes(of: .domainpart) { String(decoding: $0, as: UTF8.self) } }

    /// Whether both are in the same domain.
    public func isInDomain(of other: BareJID) -> Bool {
        storage === other.storage
            || storage.withBytes(of: .domainpart) { mine in other.storage.withBytes(of: .domainpart) { mine.hasSameBytes(as: $0) } }
    }

    /// Whether there is no localpart.
    @inlinable public var isDomain: Bool { storage.lengths.localpartBytes == 0 }

    /// The address of the domain itself: `self` if it is one.
    public var domain: BareJID {
        guard !isDomain else { return self }
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        return BareJID(
            storage: storage.withBytes(of: .domainpart) { .make(localpart: none, domainpart: $0, resourcepart: none) })
    }

    /// A hash that is the same in every process and version; all its bits are good, the low ones too.
    ///
    /// It chooses shards, whose number is fixed. It is no key for tables that strangers fill: it has no seed.
    @inlinable public var shardHash: UInt32 { storage.lengths.shardHash }

    /// The address of one resource of this one.
    public func with(resourcepart: String) throws(JIDError) -> FullJID {
        FullJID(storage: try JIDPreparation.storage(bare: storage, resourcepart: resourcepart))
    }

    /// The same address without the memory of the full one that it may have been taken from.
    public func compacted() -> BareJID {
        storage.lengths.resourcepartBytes == 0 ? self : BareJID(storage: storage.bareCopy())
    }

    /// Gives `body` the octets of `localpart@domainpart`.
    @inlinable
    public func withUTF8<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try storage.withBareBytes(body)
    }

    /// Gives `body` the octets of one part; none if the address has no such part.
    @inlinable
    public func withUTF8<Result, Failure: Error>(
        of part: JIDPart, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        guard part != .resourcepart else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return try storage.withBytes(of: part, body)
    }

    /// Appends `localpart@domainpart`.
    @inlinable
    public func write(into buffer: inout ByteBuffer) {
        storage.withBareBytes { _ = buffer.writeBytes($0) }
    }

    @inlinable
    public static func == (a: BareJID, b: BareJID) -> Bool {
        a.storage === b.storage || JIDStorage.bareEqual(a.storage, b.storage)
    }

    @inlinable
    public func hash(into hasher: inout Hasher) { hasher.combine(storage.lengths.bareHash) }
}

/// An address with a resource, `localpart@domainpart/resourcepart` or `domainpart/resourcepart`, prepared as
/// RFC 7622 says.
///
/// A resourcepart may have characters that need escaping in XML. `@unchecked` as in ``BareJID``.
@frozen
public struct FullJID: Hashable, @unchecked Sendable {
    @usableFromInline let storage: JIDStorage

    @inlinable init(storage: JIDStorage) { self.storage = storage }

    /// Prepares an address; one without resourcepart is refused with ``JIDError/empty(_:)``.
    public init(parsing bytes: UnsafeRawBufferPointer) throws(JIDError) {
        let storage = try JIDPreparation.storage(parsing: bytes)
        guard storage.lengths.resourcepartBytes > 0 else { throw .empty(.resourcepart) }
        self.storage = storage
    }

    /// Prepares an address; one without resourcepart is refused with ``JIDError/empty(_:)``.
    @inlinable
    public init(parsing text: some StringProtocol) throws(JIDError) {
        self = try JIDPreparation.withUTF8(of: text, FullJID.init(parsing:))
    }

    /// Prepares the parts of an address.
    public init(localpart: String?, domainpart: String, resourcepart: String) throws(JIDError) {
        storage = try JIDPreparation.storage(localpart: localpart, domainpart: domainpart, resourcepart: resourcepart)
    }

    /// The address without its resource; shares the storage.
    @inlinable public var bare: BareJID { BareJID(storage: storage) }

    /// The resource: case kept, spaces allowed.
    public var resourcepart: String { storage.withBytes(of: .resourcepart) { String(decoding: $0, as: UTF8.self) } }

    /// Gives `body` the octets of the whole address.
    @inlinable
    public func withUTF8<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try storage.withFullBytes(body)
    }

    /// Gives `body` the octets of one part; none if the address has no such part.
    @inlinable
    public func withUTF8<Result, Failure: Error>(
        of part: JIDPart, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try storage.withBytes(of: part, body)
    }

    /// Appends the whole address, unescaped.
    @inlinable
    public func write(into buffer: inout ByteBuffer) {
        storage.withFullBytes { _ = buffer.writeBytes($0) }
    }

    /// Whether `bytes` are this address in its prepared spelling. Other spellings of it are not found.
    public func isSpelled(_ bytes: UnsafeRawBufferPointer) -> Bool { storage.withFullBytes { $0.hasSameBytes(as: bytes) } }

    @inlinable
    public static func == (a: FullJID, b: FullJID) -> Bool {
        a.storage === b.storage || JIDStorage.fullEqual(a.storage, b.storage)
    }

    @inlinable
    public func hash(into hasher: inout Hasher) { hasher.combine(storage.lengths.fullHash) }
}

/// Any address that may stand in `to` or `from`.
@frozen
public enum JID: Hashable, Sendable {
    case bare(BareJID)
    case full(FullJID)

    /// Prepares an address (RFC 7622 §3.1).
    public init(parsing bytes: UnsafeRawBufferPointer) throws(JIDError) {
        self.init(storage: try JIDPreparation.storage(parsing: bytes))
    }

    /// Prepares an address (RFC 7622 §3.1).
    @inlinable
    public init(_ text: some StringProtocol) throws(JIDError) {
        self = try JIDPreparation.withUTF8(of: text, JID.init(parsing:))
    }

    private init(storage: JIDStorage) {
        self = storage.lengths.resourcepartBytes == 0 ? .bare(BareJID(storage: storage)) : .full(FullJID(storage: storage))
    }

    @inlinable var storage: JIDStorage {
        switch self {
        case .bare(let jid): jid.storage
        case .full(let jid): jid.storage
        }
    }

    /// The address without its resource; shares the storage.
    @inlinable public var bare: BareJID { BareJID(storage: storage) }

    /// The resource, if there is one.
    public var resourcepart: String? {
        switch self {
        case .bare: nil
        case .full(let jid): jid.resourcepart
        }
    }

    /// Gives `body` the octets of the whole address.
    @inlinable
    public func withUTF8<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        switch self {
        case .bare(let jid): try jid.withUTF8(body)
        case .full(let jid): try jid.withUTF8(body)
        }
    }

    /// Appends the whole address, unescaped.
    @inlinable
    public func write(into buffer: inout ByteBuffer) {
        switch self {
        case .bare(let jid): jid.write(into: &buffer)
        case .full(let jid): jid.write(into: &buffer)
        }
    }
}

extension BareJID: CustomStringConvertible {
    public var description: String { withUTF8 { String(decoding: $0, as: UTF8.self) } }
}

extension FullJID: CustomStringConvertible {
    public var description: String { withUTF8 { String(decoding: $0, as: UTF8.self) } }
}

extension JID: CustomStringConvertible {
    public var description: String { withUTF8 { String(decoding: $0, as: UTF8.self) } }
}
