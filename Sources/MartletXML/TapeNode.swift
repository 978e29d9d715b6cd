internal import CMartletScan

/// One element, attribute or piece of text, as offsets into the bytes of the whole element.
///
/// The nodes of an element stand in document order: the element, its attributes, its content. 32 bytes each.
@frozen @usableFromInline struct TapeNode {
    @usableFromInline var kind: Kind
    @usableFromInline var flags: Flags
    /// Number of the namespace, or `Namespace.unknownID`: then `declaration` leads to its name.
    @usableFromInline var namespace: UInt16 = 0
    /// Length of the prefix without the colon; 0 if there is none.
    @usableFromInline var prefixLength: UInt16 = 0
    @usableFromInline var localLength: UInt16 = 0
    /// First byte: `<` of an element, the name of an attribute, the text itself.
    @usableFromInline var start: UInt32
    /// Content of an element, value of an attribute, text.
    @usableFromInline var contentStart: UInt32
    @usableFromInline var contentEnd: UInt32 = 0
    /// Behind the last byte: behind `>` of the end tag, behind the closing quote.
    @usableFromInline var end: UInt32 = 0
    /// Index of the first node behind this one and all that is in it. While an element is open: index of its parent.
    @usableFromInline var next: UInt32
    /// Index of the attribute that declared the namespace, if the namespace is unknown.
    @usableFromInline var declaration: UInt32 = 0

    @frozen @usableFromInline enum Kind: UInt8 { case element, attribute, text }

    @frozen @usableFromInline struct Flags: OptionSet {
        @usableFromInline let rawValue: UInt8
        @usableFromInline init(rawValue: UInt8) { self.rawValue = rawValue }
        /// The bytes are not the value yet: references, or line ends and white space to normalise.
        @usableFromInline static var encoded: Flags { Flags(rawValue: 1) }
        /// Text from a CDATA section: `&` is a character in it.
        @usableFromInline static var cdata: Flags { Flags(rawValue: 2) }
        /// An attribute that declares a namespace.
        @usableFromInline static var declaration: Flags { Flags(rawValue: 4) }
        /// An element that declares its default namespace itself.
        @usableFromInline static var declaresDefault: Flags { Flags(rawValue: 8) }
        /// An element written as `<a/>`.
        @usableFromInline static var selfClosing: Flags { Flags(rawValue: 16) }
    }

    @inlinable init(_ kind: Kind, start: Int, contentStart: Int, next: Int) {
        self.kind = kind
        self.flags = []
        self.start = UInt32(truncatingIfNeeded: start)
        self.contentStart = UInt32(truncatingIfNeeded: contentStart)
        self.next = UInt32(truncatingIfNeeded: next)
    }

    /// First byte of the qualified name of an element or attribute.
    @inlinable @inline(__always) var nameStart: Int { Int(start) + (kind == .element ? 1 : 0) }
    /// First byte of the local part.
    @inlinable @inline(__always) var localStart: Int { nameStart + (prefixLength == 0 ? 0 : Int(prefixLength) + 1) }
    @inlinable @inline(__always) var prefixRange: Range<Int> { nameStart..<(nameStart + Int(prefixLength)) }
    @inlinable @inline(__always) var localRange: Range<Int> { localStart..<(localStart + Int(localLength)) }
    @inlinable @inline(__always) var nameRange: Range<Int> { nameStart..<(localStart + Int(localLength)) }
    @inlinable @inline(__always) var contentRange: Range<Int> { Int(contentStart)..<Int(contentEnd) }
    @inlinable @inline(__always) var range: Range<Int> { Int(start)..<Int(end) }
}

/// What was noticed about an element as a whole while it was parsed.
@frozen @usableFromInline struct ElementFlags: OptionSet, Sendable {
    @usableFromInline let rawValue: UInt16
    @usableFromInline init(rawValue: UInt16) { self.rawValue = rawValue }
    /// Outside the canonical subset, so that the bytes must not be passed on as they are.
    @usableFromInline static var notCanonical: ElementFlags { ElementFlags(rawValue: 1) }
    /// A prefix other than `xml` is used: a part of the bytes may not stand alone.
    @usableFromInline static var usesPrefixes: ElementFlags { ElementFlags(rawValue: 2) }
    /// The outermost start tag declares the content namespace itself, as WebSocket clients do (RFC 7395 §3.3.3).
    @usableFromInline static var rootDeclaresContent: ElementFlags { ElementFlags(rawValue: 4) }
    /// An unknown namespace declared outside is used.
    @usableFromInline static var usesOuterNamespace: ElementFlags { ElementFlags(rawValue: 8) }
    /// Longer than an element may be, once it is written anew.
    @usableFromInline static var tooLongRewritten: ElementFlags { ElementFlags(rawValue: 16) }
}

/// The nodes of an element and its bytes, where they lie. Every index and range is checked.
struct Tape {
    let nodes: UnsafeBufferPointer<TapeNode>
    let bytes: UnsafeRawBufferPointer

    subscript(index: Int) -> TapeNode {
        @inline(__always) get {
            precondition(index >= 0 && index < nodes.count, "no such node")
            return nodes[index]
        }
    }

    subscript(range: Range<Int>) -> UnsafeRawBufferPointer {
        @inline(__always) get {
            precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "no such bytes")
            return UnsafeRawBufferPointer(rebasing: bytes[range])
        }
    }

    /// Whether the local part of a node's name is `name`.
    @inline(__always)
    func isLocal(_ node: TapeNode, _ name: StaticString) -> Bool {
        Int(node.localLength) == name.utf8CodeUnitCount && isName(name, at: node.localStart)
    }

    /// Whether the bytes from `start` on begin with `name`.
    @inline(__always)
    func isName(_ name: StaticString, at start: Int) -> Bool {
        let count = name.utf8CodeUnitCount
        precondition(start >= 0 && start + count <= bytes.count, "no such bytes")
        guard let base = bytes.baseAddress else { return false }
        return cscan_same((base + start).assumingMemoryBound(to: UInt8.self), name.utf8Start, count)
    }
}
