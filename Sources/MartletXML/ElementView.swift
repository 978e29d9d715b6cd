public import NIOCore

/// One element inside a ``FlatElement``.
///
/// Questions about names and attributes build no strings; what answers with a `String` says so in its type.
@frozen public struct ElementView: Sendable {
    @usableFromInline let storage: FlatStorage
    @usableFromInline let index: Int

    @inlinable init(_ storage: FlatStorage, _ index: Int) {
        self.storage = storage
        self.index = index
    }

    @inlinable var node: TapeNode { storage.node(index) }

    /// The element this one is in, at any depth, with everything else in it.
    public var flat: FlatElement { FlatElement(storage: storage) }
}

// MARK: Name

extension ElementView {
    /// Whether this is the element `local` in `namespace`.
    @inlinable public func isNamed(_ local: StaticString, _ namespace: Namespace) -> Bool {
        // Most are told apart by their namespaces, without a call.
        let node = node
        return isIn(namespace, node) && Int(node.localLength) == local.utf8CodeUnitCount && storage.isName(local, at: node.localStart)
    }

    /// Whether this element is in `namespace`, also if that got its number after the element was parsed.
    @inlinable public func isIn(_ namespace: Namespace) -> Bool {
        isIn(namespace, node)
    }

    @inlinable func isIn(_ namespace: Namespace, _ node: TapeNode) -> Bool {
        storage.isIn(namespace, node)
    }

    public var localName: String { storage.string(node.localRange) }

    /// The name as it was written, prefix and all.
    public var qualifiedName: String { storage.string(node.nameRange) }

    /// The namespace, if the code knew it when the element was parsed.
    @inlinable public var namespace: Namespace? {
        let id = node.namespace
        return id == Namespace.unknownID ? nil : Namespace(id: id)
    }

    /// The name of the namespace, known or not; empty if there is none.
    public var namespaceName: String { storage.namespaceName(node) }

    /// `localName` as bytes, without a string.
    @inlinable public func withLocalName<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try storage.withBytes(node.localRange, body)
    }
}

// MARK: Attributes

extension ElementView {
    /// The un-prefixed attribute `name`, decoded and normalised.
    public func attribute(_ name: StaticString) -> String? {
        find(name).map { storage.value($0) }
    }

    /// The attribute `name` in `namespace`, as in `attribute("lang", .xml)`.
    public func attribute(_ name: StaticString, _ namespace: Namespace) -> String? {
        find(name, namespace).map { storage.value($0) }
    }

    public func hasAttribute(_ name: StaticString) -> Bool { find(name) != nil }

    /// The bytes of the un-prefixed attribute `name`, decoded and normalised, without a string.
    @inlinable public func withAttribute<R, E: Error>(_ name: StaticString, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R? {
        guard let node = find(name) else { return nil }
        return try storage.withValue(node, body)
    }

    /// Whether the un-prefixed attribute `name` is there and equals `value`.
    @inlinable public func attributeEquals(_ name: StaticString, _ value: StaticString) -> Bool {
        guard let node = find(name) else { return false }
        guard node.flags.contains(.encoded) else { return storage.matches(node.contentRange, value) }
        return storage.withValue(node) { bytes in
            FlatStorage.same(bytes, UnsafeBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount).span)
        }
    }

    /// The attributes in document order, without namespace declarations.
    public var attributes: ElementAttributes { ElementAttributes(storage, index) }

    /// The namespaces declared on this element itself; the default one has an empty prefix.
    public var namespaceDeclarations: [(prefix: String, name: String)] {
        attributeNodes.compactMap { node in
            guard node.flags.contains(.declaration) else { return nil }
            return (node.prefixLength == 0 ? "" : storage.string(node.localRange), storage.value(node))
        }
    }

    /// The value of `xmlns` on this element itself. A stream's header says its content namespace so (RFC 6120 §4.8.2).
    public var declaredDefaultNamespace: String? {
        namespaceDeclarations.first { $0.prefix.isEmpty }?.name
    }

    var attributeNodes: some Sequence<TapeNode> {
        let storage = storage
        let end = Int(node.next)
        return sequence(state: index + 1) { position -> TapeNode? in
            guard position < end else { return nil }
            let node = storage.node(position)
            position += 1
            return node.kind == .attribute ? node : nil
        }
    }

    @usableFromInline func find(_ name: StaticString) -> TapeNode? {
        storage.attribute(of: index, name)
    }

    private func find(_ name: StaticString, _ namespace: Namespace) -> TapeNode? {
        attributeNodes.first { node in
            guard node.prefixLength != 0 || namespace == .none else { return false }
            return !node.flags.contains(.declaration) && isIn(namespace, node) && storage.matches(node.localRange, name)
        }
    }
}

/// One attribute of an element.
public struct AttributeView: Sendable {
    private let storage: FlatStorage
    private let node: TapeNode

    fileprivate init(_ storage: FlatStorage, _ node: TapeNode) {
        self.storage = storage
        self.node = node
    }

    public var localName: String { storage.string(node.localRange) }
    /// The prefix as it was written; empty if there is none.
    public var prefix: String { storage.string(node.prefixRange) }
    /// The namespace if the code knows it; `.none` for an attribute without prefix.
    public var namespace: Namespace? { node.namespace == Namespace.unknownID ? nil : Namespace(id: node.namespace) }
    public var namespaceName: String { storage.namespaceName(node) }
    /// The value, decoded and normalised.
    public var value: String { storage.value(node) }

    public func isNamed(_ local: StaticString) -> Bool { node.prefixLength == 0 && storage.matches(node.localRange, local) }
}

/// The attributes of an element in document order, without namespace declarations.
public struct ElementAttributes: Sequence, IteratorProtocol, Sendable {
    private let storage: FlatStorage
    private var position: Int
    private let end: Int

    fileprivate init(_ storage: FlatStorage, _ index: Int) {
        self.storage = storage
        position = index + 1
        end = Int(storage.node(index).next)
    }

    public mutating func next() -> AttributeView? {
        while position < end {
            let node = storage.node(position)
            guard node.kind == .attribute else { return nil }
            position += 1
            if !node.flags.contains(.declaration) { return AttributeView(storage, node) }
        }
        return nil
    }
}

// MARK: Content

extension ElementView {
    /// The elements directly in this one.
    @inlinable public var children: ElementChildren { ElementChildren(storage, index) }

    /// The first child `local` in `namespace`.
    public func firstChild(_ local: StaticString, _ namespace: Namespace) -> ElementView? {
        storage.firstChild(of: index, local, namespace).map { ElementView(storage, $0) }
    }

    /// The first child, whatever it is.
    @inlinable public var firstChild: ElementView? {
        var children = children
        return children.next()
    }

    public func hasChild(_ local: StaticString, _ namespace: Namespace) -> Bool {
        storage.firstChild(of: index, local, namespace) != nil
    }

    /// Whether there is any child in `namespace`. Few messages have one of those that the server looks for: the walk itself, which counts a
    /// reference for each child, is for those.
    public func hasChild(in namespace: Namespace) -> Bool { storage.hasChild(of: index, in: namespace) }

    /// Elements and text directly in this one, in document order. Neighbouring pieces of text may come apart.
    public var content: [ContentView] {
        var result: [ContentView] = []
        var position = index + 1
        let end = Int(node.next)
        while position < end {
            let node = storage.node(position)
            switch node.kind {
            case .attribute: break
            case .text: result.append(.text(storage.text(node)))
            case .element: result.append(.element(ElementView(storage, position)))
            }
            position = Int(node.next)
        }
        return result
    }

    /// The text directly in this element, put together, decoded.
    public var text: String {
        var pieces = textNodes.makeIterator()
        guard let first = pieces.next() else { return "" }
        var result = storage.text(first)
        while let more = pieces.next() { result += storage.text(more) }
        return result
    }

    /// Whether there is text directly in this element that is not only white space.
    public var hasText: Bool {
        textNodes.contains { node in
            storage.withText(node) { bytes in
                bytes.indices.contains { ![0x20, 0x09, 0x0A, 0x0D].contains(bytes[$0]) }
            }
        }
    }

    private var textNodes: some Sequence<TapeNode> {
        let storage = storage
        let end = Int(node.next)
        return sequence(state: index + 1) { position -> TapeNode? in
            while position < end {
                let node = storage.node(position)
                position = Int(node.next)
                if node.kind == .text { return node }
            }
            return nil
        }
    }
}

/// What an element directly contains.
public enum ContentView: Sendable {
    case element(ElementView)
    case text(String)
}

/// The elements directly in an element.
@frozen public struct ElementChildren: Sequence, IteratorProtocol, Sendable {
    @usableFromInline let storage: FlatStorage
    @usableFromInline var position: Int
    @usableFromInline let end: Int

    @inlinable init(_ storage: FlatStorage, _ index: Int) {
        self.storage = storage
        position = index + 1
        end = Int(storage.node(index).next)
    }

    @inlinable public mutating func next() -> ElementView? {
        while position < end {
            let index = position
            let node = storage.node(index)
            position = Int(node.next)
            if node.kind == .element { return ElementView(storage, index) }
        }
        return nil
    }
}

// MARK: Bytes

extension ElementView {
    /// Where this element stands in the bytes of ``flat``, from `<` to `>`.
    public var byteRange: Range<Int> { node.range }
    /// Where its start tag stands.
    public var startTagRange: Range<Int> { Int(node.start)..<Int(node.contentStart) }
    /// Where its content stands; empty for `<a/>`.
    public var contentRange: Range<Int> { node.contentRange }
    /// A copy of its bytes. They depend on the declarations around them unless ``flat`` is canonical and this is its root.
    public var rawBytes: ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: node.range.count)
        storage.write(node.range, to: &buffer)
        return buffer
    }
}

/// Questions about names. They are asked some twenty times on the way of a message, so they read the tape where it lies and build no views.
extension FlatStorage {
    /// Whether `name` stands at `start`.
    @usableFromInline func isName(_ name: StaticString, at start: Int) -> Bool {
        withTape { tape in tape.isName(name, at: start) }
    }

    /// Index of the first element `local` in `namespace` directly in the element at `index`.
    func firstChild(of index: Int, _ local: StaticString, _ namespace: Namespace) -> Int? {
        withTape { tape in
            let end = Int(tape[index].next)
            var position = index + 1
            while position < end {
                let node = tape[position]
                if node.kind == .element, isNamed(node, in: tape, local, namespace) { return position }
                position = Int(node.next)
            }
            return nil
        }
    }

    /// Whether there is an element in `namespace` directly in the element at `index`.
    func hasChild(of index: Int, in namespace: Namespace) -> Bool {
        withTape { tape in
            let end = Int(tape[index].next)
            var position = index + 1
            while position < end {
                let node = tape[position]
                if node.kind == .element, isIn(namespace, node) { return true }
                position = Int(node.next)
            }
            return false
        }
    }

    /// The attribute `name` without prefix of the element at `index`.
    func attribute(of index: Int, _ name: StaticString) -> TapeNode? {
        withTape { tape in
            let end = Int(tape[index].next)
            var position = index + 1
            while position < end {
                let node = tape[position]
                guard node.kind == .attribute else { return nil }
                if node.prefixLength == 0, tape.isLocal(node, name) { return node.flags.contains(.declaration) ? nil : node }
                position &+= 1
            }
            return nil
        }
    }

    @inline(__always)
    private func isNamed(_ node: TapeNode, in tape: Tape, _ local: StaticString, _ namespace: Namespace) -> Bool {
        isIn(namespace, node) && tape.isLocal(node, local)
    }

    @inlinable func isIn(_ namespace: Namespace, _ node: TapeNode) -> Bool {
        node.namespace == Namespace.unknownID ? isInLater(namespace, node) : node.namespace == namespace.id
    }

    /// Whether `namespace` got its number after this was parsed, and is that of the node, which had none.
    @inline(never) @usableFromInline func isInLater(_ namespace: Namespace, _ node: TapeNode) -> Bool {
        namespace.id >= header.knownNamespaces && unknownName(node) == namespace.name
    }
}

extension FlatStorage {
    @inlinable func matches(_ range: Range<Int>, _ literal: StaticString) -> Bool {
        guard range.count == literal.utf8CodeUnitCount else { return false }
        return withBytes(range) { bytes in
            Self.same(bytes, UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount).span)
        }
    }

    @inlinable static func same(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        var i = 0
        while i < a.count {
            if a[i] != b[i] { return false }
            i += 1
        }
        return true
    }

    func string(_ range: Range<Int>) -> String {
        withBytes(range) { Self.string($0) }
    }

    static func string(_ bytes: Span<UInt8>) -> String {
        bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }

    @inlinable func withValue<R, E: Error>(_ node: TapeNode, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        guard node.flags.contains(.encoded) else { return try withBytes(node.contentRange, body) }
        let decoded = decodedValue(node)
        return try body(decoded.span)
    }

    @usableFromInline func decodedValue(_ node: TapeNode) -> [UInt8] {
        withBytes(node.contentRange) { Decoder.decode($0, isAttribute: true) }
    }

    func withText<R, E: Error>(_ node: TapeNode, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        guard node.flags.contains(.encoded) else { return try withBytes(node.contentRange, body) }
        let isCDATA = node.flags.contains(.cdata)
        let decoded = withBytes(node.contentRange) { Decoder.decode($0, isAttribute: false, isCDATA: isCDATA) }
        return try body(decoded.span)
    }

    func value(_ node: TapeNode) -> String { withValue(node) { Self.string($0) } }
    func text(_ node: TapeNode) -> String { withText(node) { Self.string($0) } }

    func namespaceName(_ node: TapeNode) -> String {
        node.namespace == Namespace.unknownID ? unknownName(node) : Namespace(id: node.namespace).name
    }

    /// The name of a namespace that has no number.
    @usableFromInline func unknownName(_ node: TapeNode) -> String {
        value(self.node(Int(node.declaration)))
    }
}
