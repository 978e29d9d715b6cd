internal import Synchronization

/// An XML namespace that the code knows by name, as a small number.
///
/// Numbers are given to literals of the code only; bytes from the network never make one. A namespace nobody has
/// written into the code stays what it is in an element: a range of bytes.
@frozen public struct Namespace: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// Position in the table of known names; 0 is "no namespace".
    public let id: UInt16

    @inlinable init(id: UInt16) {
        self.id = id
    }

    /// Looks the name up, or adds it, under a lock: meant for `static let`s, not for functions that run per stanza.
    public init(stringLiteral name: StaticString) {
        id = NamespaceRegistry.shared.intern(name)
    }

    public var name: String { literal.description }
    /// The name as the code has it, found without a lock.
    var literal: StaticString { NamespaceRegistry.shared.name(of: id) }
    public var description: String { name }
}

extension Namespace {
    /// No namespace at all: un-prefixed attributes, and elements under `xmlns=''`.
    @inlinable public static var none: Namespace { Namespace(id: 0) }
    /// `jabber:client`. Elements in the content namespace of any stream read as this one: see ``FlatElement``.
    @inlinable public static var client: Namespace { Namespace(id: 1) }
    /// `jabber:server`, except where it is the stream's content namespace: that reads as ``client``.
    @inlinable public static var server: Namespace { Namespace(id: 2) }
    /// `http://etherx.jabber.org/streams`.
    @inlinable public static var streams: Namespace { Namespace(id: 3) }
    /// `jabber:server:dialback` (XEP-0220), which stream headers of servers declare with a prefix.
    @inlinable public static var dialback: Namespace { Namespace(id: 6) }
    /// The namespace of the prefix `xml`.
    @inlinable public static var xml: Namespace { Namespace(id: 4) }
    /// The namespace of the prefix `xmlns`: that of namespace declarations.
    @inlinable public static var xmlns: Namespace { Namespace(id: 5) }

    /// The names behind the constants above, in the order of their numbers.
    fileprivate static let wellKnown: [StaticString] = [
        "", "jabber:client", "jabber:server", "http://etherx.jabber.org/streams",
        "http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/",
        "jabber:server:dialback",
    ]

    /// Stands in a tape for a namespace that is not in the table.
    @usableFromInline static var unknownID: UInt16 { .max }
}

/// A name with the namespace it is in.
public struct QName: Hashable, Sendable {
    public var local: String
    public var namespace: Namespace

    public init(_ local: String, _ namespace: Namespace) {
        self.local = local
        self.namespace = namespace
    }
}

/// What is known at one moment, frozen, so that a parser looks names up without a lock.
public struct NamespaceTable: Sendable {
    let names: KnownNames

    /// The table as it is now. Cheap while nothing is added.
    public static var current: NamespaceTable { NamespaceTable(names: NamespaceRegistry.shared.snapshot()) }

    /// Whether no name was added since.
    var isCurrent: Bool { names.count == NamespaceRegistry.shared.count }

    /// How many names there are; a namespace with a number from here on was added later.
    var count: Int { names.count }

    /// The number of `name`, or `unknownID`.
    @inline(__always)
    func id(of name: UnsafeRawBufferPointer) -> UInt16 { names.id(of: name) }

    static func hash(_ name: UnsafeRawBufferPointer) -> Int { KnownNames.hash(name) }
}

/// A hash table over the bytes of names. One object, so that handing it on costs one reference.
final class KnownNames: Sendable {
    let count: Int
    private let slots: [Slot]
    private let bytes: [UInt8]

    /// A name: its number, and where it stands in `bytes`.
    private struct Slot {
        var id: UInt16
        var length: UInt16
        var start: UInt32
    }

    fileprivate init(_ names: UnsafeBufferPointer<StaticString>) {
        let free = Slot(id: Namespace.unknownID, length: 0, start: 0)
        var slots = [Slot](repeating: free, count: Self.slotCount(for: names.count))
        var bytes: [UInt8] = []
        for (id, name) in names.enumerated() {
            let utf8 = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
            var slot = Self.hash(utf8) & (slots.count - 1)
            while slots[slot].id != Namespace.unknownID { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Slot(id: UInt16(id), length: UInt16(utf8.count), start: UInt32(bytes.count))
            bytes += utf8
        }
        self.count = names.count
        self.slots = slots
        self.bytes = bytes
    }

    /// The number of `name`, or `unknownID`.
    @inline(__always)
    func id(of name: UnsafeRawBufferPointer) -> UInt16 {
        var index = Self.hash(name)
        while true {
            index &= slots.count &- 1
            let slot = slots[index]
            if slot.id == Namespace.unknownID { return Namespace.unknownID }
            if Int(slot.length) == name.count, matches(name, at: Int(slot.start)) { return slot.id }
            index &+= 1
        }
    }

    /// Whether the name that begins at `start`, and is as long as `name`, is the same.
    @inline(__always)
    private func matches(_ name: UnsafeRawBufferPointer, at start: Int) -> Bool {
        bytes.withUnsafeBytes { bytes in
            precondition(start + name.count <= bytes.count, "a name ends behind the names")
            return UnsafeRawBufferPointer(start: bytes.baseAddress.map { $0 + start }, count: name.count).elementsEqualFast(name)
        }
    }

    /// At most half full, a power of two.
    private static func slotCount(for names: Int) -> Int {
        var slots = 64
        while slots < names * 2 { slots *= 2 }
        return slots
    }

    /// Of the last sixteen bytes and the length, since names differ at their ends. Only our own names are in the table, so nobody outside
    /// can make it degenerate; elsewhere it only saves comparisons.
    @inline(__always)
    static func hash(_ name: UnsafeRawBufferPointer) -> Int {
        let count = name.count
        var hash = UInt64(truncatingIfNeeded: count)
        if count >= 8 {
            hash ^= name.loadUnaligned(fromByteOffset: max(count &- 16, 0), as: UInt64.self)
            hash = hash &* multiplier ^ name.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        } else {
            for byte in name { hash = hash << 8 ^ UInt64(byte) }
        }
        return Int(truncatingIfNeeded: (hash &* multiplier) >> 33)
    }

    /// Odd, with about as many ones as zeros; the upper bits of a product depend on all bits.
    private static let multiplier: UInt64 = 0x9E37_79B9_7F4A_7C15
}

/// Every name given a number in this process. Append only.
///
/// `@unchecked Sendable`: a name is written under the lock before its number is given to anybody, and never changed, so that whoever has a
/// number may read its name without the lock.
private final class NamespaceRegistry: @unchecked Sendable {
    static let shared = NamespaceRegistry()

    private struct State {
        var ids: [String: UInt16] = [:]
        var snapshot: KnownNames?
    }

    /// Names that the code may give numbers to.
    private static let namesMax = 4_096

    private let names = UnsafeMutablePointer<StaticString>.allocate(capacity: namesMax)
    // Taken at start-up and for cold questions only; a parser reads its own frozen table, a writer the names themselves.
    private let state = Mutex(State())
    private let added = Atomic<Int>(0)

    /// How many names there are.
    var count: Int { added.load(ordering: .acquiring) }

    init() {
        names.initialize(repeating: "", count: Self.namesMax)
        for name in Namespace.wellKnown { _ = intern(name) }
    }

    func intern(_ name: StaticString) -> UInt16 {
        precondition(!XMLWriter.needsEscaping(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)), "not a name")
        return state.withLock { state in
            if let id = state.ids[name.description] { return id }
            precondition(state.ids.count < Self.namesMax, "the code names more namespaces than there is room for")
            let id = UInt16(state.ids.count)
            names[Int(id)] = name
            state.ids[name.description] = id
            state.snapshot = nil
            added.store(state.ids.count, ordering: .releasing)
            return id
        }
    }

    func name(of id: UInt16) -> StaticString {
        precondition(id < Self.namesMax, "no namespace has this number")
        return names[Int(id)]
    }

    func snapshot() -> KnownNames {
        state.withLock { state in
            if let snapshot = state.snapshot { return snapshot }
            let made = KnownNames(UnsafeBufferPointer(start: names, count: state.ids.count))
            state.snapshot = made
            return made
        }
    }
}
