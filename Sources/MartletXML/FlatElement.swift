public import NIOCore

/// An element and everything in it, immutable, in one allocation: its nodes and, behind them, its bytes as they came.
///
/// It may be queued, logged, fanned out and handed to another event loop by reference.
///
/// The content namespace of a stream is read as `jabber:client`, whichever it is: `jabber:client` and `jabber:server` hold the same
/// stanzas (RFC 6120 §4.8.3). So code asks for `.client` everywhere, and the same bytes serve streams of both kinds. On a client's stream
/// `jabber:server` is a namespace like others: a stanza in it is none, and in a stanza it is extended content. Where it occurs the
/// bytes are not canonical, since on a stream between servers they would be content that nobody here has looked at.
public struct FlatElement: Sendable {
    @usableFromInline let storage: FlatStorage

    /// The element itself.
    @inlinable public var root: ElementView { ElementView(storage, 0) }

    /// Whether the bytes mean the same to every parser and may be forwarded as they came.
    ///
    /// They do if there is no CDATA, no reference but the five predefined ones, no carriage return, no tab or line feed in an attribute, no
    /// namespace from outside but the content namespace, and no declaration of the content namespace where it would mean something else on a
    /// stream of another one. What is not canonical goes through ``XMLWriter/append(_:)``, which writes it anew.
    @inlinable public var isCanonical: Bool {
        storage.header.flags.isDisjoint(with: [.notCanonical, .rootDeclaresContent])
    }

    /// Length of the element, from `<` to `>`.
    @inlinable public var byteCount: Int { Int(storage.header.byteCount) }

    /// The bytes as they came.
    public func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try storage.withBytes(0..<byteCount, body)
    }

    /// A copy of the bytes as they came.
    public var bytes: ByteBuffer { root.rawBytes }

    /// Appends the bytes as they came. For storage; another entity gets them only if ``isCanonical``.
    public func writeBytes(to buffer: inout ByteBuffer) {
        storage.write(0..<byteCount, to: &buffer)
    }

    /// The namespace the code has given a number under this name, at the time of parsing.
    func known(_ name: String) -> Namespace? {
        var name = name
        let id = name.withUTF8 { NamespaceTable.current.id(of: UnsafeRawBufferPointer($0)) }
        return id == Namespace.unknownID ? nil : Namespace(id: id)
    }
}

extension FlatElement {
    @inlinable public func isNamed(_ local: StaticString, _ namespace: Namespace) -> Bool { root.isNamed(local, namespace) }
    public var localName: String { root.localName }
    public var namespace: Namespace? { root.namespace }
    public func attribute(_ name: StaticString) -> String? { root.attribute(name) }
    public func attribute(_ name: StaticString, _ namespace: Namespace) -> String? { root.attribute(name, namespace) }
    @inlinable public var children: ElementChildren { root.children }
    @inlinable public func firstChild(_ local: StaticString, _ namespace: Namespace) -> ElementView? { root.firstChild(local, namespace) }
    @inlinable public func hasChild(_ local: StaticString, _ namespace: Namespace) -> Bool { root.hasChild(local, namespace) }
    public var text: String { root.text }
}

@frozen @usableFromInline struct FlatHeader {
    @usableFromInline var nodeCount: UInt32
    /// Length of the element.
    @usableFromInline var byteCount: UInt32
    /// The element, and behind it the names of outer namespaces that are used in it and not known by number.
    @usableFromInline var storedByteCount: UInt32
    /// How many namespaces had a number when this was parsed.
    @usableFromInline var knownNamespaces: UInt16
    @usableFromInline var flags: ElementFlags
}

/// The one allocation: `FlatHeader`, nodes, bytes.
@usableFromInline final class FlatObject: ManagedBuffer<FlatHeader, UInt64> {}

/// Reads a ``FlatObject``, and checks every index and range.
///
/// `@unchecked Sendable` because the object is written once, by the parser, before anybody else sees it, and only read from then on.
@frozen @usableFromInline struct FlatStorage: @unchecked Sendable {
    @usableFromInline let object: FlatObject

    @inlinable init(_ object: FlatObject) {
        self.object = object
    }

    // Through the pointer: the stored property of `ManagedBuffer` has its exclusivity checked at run time, although nobody writes any more.
    @inlinable var header: FlatHeader { object.withUnsafeMutablePointerToHeader { $0.pointee } }

    @inlinable func node(_ index: Int) -> TapeNode {
        object.withUnsafeMutablePointers { header, elements in
            precondition(index >= 0 && index < Int(header.pointee.nodeCount), "no such node")
            return UnsafeRawPointer(elements).load(fromByteOffset: index * MemoryLayout<TapeNode>.stride, as: TapeNode.self)
        }
    }

    @inlinable func withBytes<R, E: Error>(_ range: Range<Int>, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try object.withUnsafeMutablePointers { (header, elements) throws(E) -> R in
            precondition(range.lowerBound >= 0 && range.upperBound <= Int(header.pointee.storedByteCount), "no such bytes")
            let offset = Int(header.pointee.nodeCount) * MemoryLayout<TapeNode>.stride + range.lowerBound
            let start = (UnsafeRawPointer(elements) + offset).assumingMemoryBound(to: UInt8.self)
            let bytes = UnsafeBufferPointer(start: start, count: range.count)
            return try body(bytes.span)
        }
    }

    func write(_ range: Range<Int>, to buffer: inout ByteBuffer) {
        withBytes(range) { bytes in
            bytes.withUnsafeBufferPointer { _ = buffer.writeBytes($0) }
        }
    }

    /// The nodes and the bytes of the element; nothing may be kept of either.
    @inline(__always)
    func withTape<R>(_ body: (Tape) -> R) -> R {
        object.withUnsafeMutablePointers { header, elements in
            let count = Int(header.pointee.nodeCount)
            let nodes = UnsafeRawPointer(elements).assumingMemoryBound(to: TapeNode.self)
            let bytes = UnsafeRawPointer(elements) + count * MemoryLayout<TapeNode>.stride
            return body(
                Tape(
                    nodes: UnsafeBufferPointer(start: nodes, count: count),
                    bytes: UnsafeRawBufferPointer(start: bytes, count: Int(header.pointee.byteCount))))
        }
    }

    /// Copies tape and bytes of the element the tokenizer has just completed.
    @inline(__always)
    static func make(
        _ tape: UnsafeBufferPointer<TapeNode>, _ flags: ElementFlags, _ bytes: UnsafeRawBufferPointer, _ table: NamespaceTable,
        _ outer: StreamScope
    ) -> FlatStorage {
        if flags.contains(.usesOuterNamespace) { return makeWithOuterNames(tape, flags, bytes, table, outer) }
        return make(tape, bytes, names: UnsafeRawBufferPointer(start: nil, count: 0), flags, table)
    }

    /// The rare case: names of outer namespaces go behind the bytes, as attributes of their own behind all nodes.
    @inline(never)
    private static func makeWithOuterNames(
        _ tape: UnsafeBufferPointer<TapeNode>, _ flags: ElementFlags, _ bytes: UnsafeRawBufferPointer, _ table: NamespaceTable,
        _ outer: StreamScope
    ) -> FlatStorage {
        var nodes = Array(tape)
        let count = nodes.count
        var names: [UInt8] = []
        var moved: [UInt32: UInt32] = [:]
        for index in 0..<count {
            let declaration = nodes[index].declaration
            guard nodes[index].namespace == Namespace.unknownID, let name = outer.name(declaredAt: declaration) else { continue }
            if moved[declaration] == nil {
                let start = bytes.count + names.count
                var node = TapeNode(.attribute, start: start, contentStart: start, next: nodes.count + 1)
                names += name
                node.contentEnd = UInt32(truncatingIfNeeded: bytes.count + names.count)
                node.end = node.contentEnd
                moved[declaration] = UInt32(truncatingIfNeeded: nodes.count)
                nodes.append(node)
            }
            nodes[index].declaration = moved[declaration] ?? 0
        }
        return nodes.withUnsafeBufferPointer { nodes in
            names.withUnsafeBytes { make(nodes, bytes, names: $0, flags, table) }
        }
    }

    private static func make(
        _ nodes: UnsafeBufferPointer<TapeNode>, _ bytes: UnsafeRawBufferPointer, names: UnsafeRawBufferPointer, _ flags: ElementFlags,
        _ table: NamespaceTable
    ) -> FlatStorage {
        let tapeSize = nodes.count * MemoryLayout<TapeNode>.stride
        let words = (tapeSize + bytes.count + names.count + 7) / 8
        let made = FlatObject.create(minimumCapacity: words) { _ in
            FlatHeader(
                nodeCount: UInt32(truncatingIfNeeded: nodes.count), byteCount: UInt32(truncatingIfNeeded: bytes.count),
                storedByteCount: UInt32(truncatingIfNeeded: bytes.count + names.count),
                knownNamespaces: UInt16(truncatingIfNeeded: table.count), flags: flags)
        }
        made.withUnsafeMutablePointerToElements { elements in
            let space = UnsafeMutableRawBufferPointer(start: elements, count: words * 8)
            space.copyMemory(from: UnsafeRawBufferPointer(nodes))
            UnsafeMutableRawBufferPointer(rebasing: space[tapeSize...]).copyMemory(from: bytes)
            UnsafeMutableRawBufferPointer(rebasing: space[(tapeSize + bytes.count)...]).copyMemory(from: names)
        }
        return FlatStorage(unsafeDowncast(made, to: FlatObject.self))
    }
}
