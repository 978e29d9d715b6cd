internal import CMartletScan
public import NIOCore

/// The one serializer: whatever leaves this process as XML is written here, and nothing can be written without escaping.
///
/// What it writes parses back to what was given: tab, line feed and carriage return in attributes and carriage return in text become
/// references, which a parser's normalisation does not touch (XML 1.0 §2.11, §3.3.3). Characters XML cannot hold become U+FFFD.
///
/// While elements are open, bytes may be added to ``buffer`` only through the writer.
public struct XMLWriter {
    /// What has been written; the start tag last opened may lack its `>` until the next call.
    public var buffer: ByteBuffer
    /// Whether `stream:` is declared outside, as on a TCP stream. Over WebSocket it is not (RFC 7395 §3.3.3).
    public var isStreamPrefixDeclared = true

    private struct Open {
        var nameStart: Int
        var nameLength: Int
        var outerScope: NamespaceName
    }

    private var stack: [Open] = []
    var scope: NamespaceName
    private var isInStartTag = false
    private var prefixCount = 0

    /// - Parameter contentNamespace: The default namespace in scope, which is not declared again. `.server` is the same as
    ///   `.client` here, so that the same bytes serve streams of both kinds; `.none` for a document that stands alone.
    public init(_ buffer: ByteBuffer = ByteBuffer(), contentNamespace: Namespace = .client) {
        self.buffer = buffer
        scope = .known(contentNamespace == .server ? .client : contentNamespace)
    }

    /// How many elements are open.
    public var depth: Int { stack.count }
}

/// A namespace by number where there is one.
enum NamespaceName: Hashable {
    case known(Namespace)
    case unknown(String)

    init(_ name: String) {
        var name = name
        let id = name.withUTF8 { NamespaceTable.current.id(of: UnsafeRawBufferPointer($0)) }
        self = id == Namespace.unknownID ? .unknown(name) : .known(Namespace(id: id))
    }

    var name: String {
        switch self {
        case .known(let namespace): namespace.name
        case .unknown(let name): name
        }
    }
}

// MARK: Elements

extension XMLWriter {
    /// Opens an element. Directly under the header, elements of the stream and dialback namespaces get the customary prefixes.
    public mutating func open(_ local: StaticString, _ namespace: Namespace) {
        let usesStreamPrefix = namespace == .streams && stack.isEmpty
        let usesDialbackPrefix = namespace == .dialback && stack.isEmpty
        if !usesStreamPrefix, !usesDialbackPrefix, namespace != .xml { return openPlainly(local, namespace) }
        var start = beginStartTag(.known(namespace))
        if usesStreamPrefix || usesDialbackPrefix {
            buffer.writeStaticString(usesStreamPrefix ? "stream:" : "db:")
            start.isPrefixed = true
        }
        buffer.writeStaticString(local)
        endName(start)
        if usesStreamPrefix, !isStreamPrefixDeclared { declaration(prefix: "stream", .known(.streams)) }
    }

    /// The usual case in one step.
    private mutating func openPlainly(_ local: StaticString, _ namespace: Namespace) {
        let outer = scope
        let nameStart = writeStart(local, namespace)
        stack.append(Open(nameStart: nameStart, nameLength: local.utf8CodeUnitCount, outerScope: outer))
        isInStartTag = true
        prefixCount = 0
        if outer != .known(namespace) { scope = .known(namespace) }
    }

    /// `<local` and, if need be, the declaration of its namespace. Where the name begins.
    private mutating func writeStart(_ local: StaticString, _ namespace: Namespace) -> Int {
        let isOpen = isInStartTag
        isInStartTag = false
        let declared: StaticString? = scope == .known(namespace) ? nil : namespace.literal
        let before = buffer.writerIndex + (isOpen ? 2 : 1)
        buffer.append(atMost: local.utf8CodeUnitCount + (declared?.utf8CodeUnitCount ?? 0) + 12) { cursor in
            cursor.put(isOpen ? "><" : "<")
            cursor.put(local)
            guard let declared else { return }
            cursor.put(" xmlns='")
            cursor.put(declared)
            cursor.put("'")
        }
        return before
    }

    /// A whole element that has nothing in it; `attributes` writes attributes and nothing else.
    public mutating func emptyElement(_ local: StaticString, _ namespace: Namespace, _ attributes: (inout XMLWriter) -> Void) {
        let outer = scope
        _ = writeStart(local, namespace)
        isInStartTag = true
        prefixCount = 0
        attributes(&self)
        precondition(isInStartTag && scope == outer, "an empty element has only attributes")
        isInStartTag = false
        buffer.writeStaticString("/>")
    }

    /// An empty element with a number and a text for attributes. Every message gets one for a name (XEP-0359): in one step it takes 500
    /// instructions, in four 1,400.
    public mutating func emptyElement(
        _ local: StaticString, _ namespace: Namespace, _ number: (name: StaticString, value: UInt64),
        _ text: (name: StaticString, utf8: UnsafeRawBufferPointer)
    ) {
        guard scope != .known(namespace), !isInStartTag, !Self.needsEscaping(text.utf8) else {
            return emptyElement(local, namespace) { writer in
                writer.attribute(number.name, decimal: number.value)
                writer.attribute(text.name, utf8: text.utf8)
            }
        }
        let declared = namespace.literal
        let names = local.utf8CodeUnitCount + declared.utf8CodeUnitCount + number.name.utf8CodeUnitCount + text.name.utf8CodeUnitCount
        buffer.append(atMost: names + text.utf8.count + ByteCursor.decimalDigitsMax + Self.emptyElementMarkupBytes) { cursor in
            cursor.put("<")
            cursor.put(local)
            cursor.put(" xmlns='")
            cursor.put(declared)
            cursor.put("' ")
            cursor.put(number.name)
            cursor.put("='")
            cursor.put(decimal: number.value)
            cursor.put("' ")
            cursor.put(text.name)
            cursor.put("='")
            cursor.put(text.utf8)
            cursor.put("'/>")
        }
    }

    /// What is written besides names and values: `< xmlns='' ='' =''/>`.
    private static let emptyElementMarkupBytes = 24

    /// Opens an element whose name is not known before. What cannot stand in a name becomes `_`.
    @_disfavoredOverload
    public mutating func open(_ local: String, _ namespace: Namespace) {
        open(local, .known(namespace))
    }

    mutating func open(_ local: String, _ namespace: NamespaceName) {
        let start = beginStartTag(namespace)
        write(name: local)
        endName(start)
    }

    /// Ends the innermost open element.
    public mutating func close() {
        guard let element = stack.popLast() else { preconditionFailure("no element is open") }
        scope = element.outerScope
        if isInStartTag {
            isInStartTag = false
            buffer.writeStaticString("/>")
            return
        }
        let name = element.nameStart..<(element.nameStart + element.nameLength)
        buffer.append(atMost: name.count + 3) { cursor, written in
            precondition(name.upperBound <= written.count, "the buffer was read from while an element was open")
            cursor.put("</")
            cursor.put(UnsafeRawBufferPointer(rebasing: written[name]))
            cursor.put(">")
        }
    }

    /// A whole element; attributes that are nil are left out.
    public mutating func element(
        _ local: StaticString, _ namespace: Namespace, _ attributes: KeyValuePairs<StaticString, String?> = [:], text: String? = nil
    ) {
        open(local, namespace)
        for (name, value) in attributes { attribute(name, value) }
        if let text { self.text(text) }
        close()
    }

    /// A whole element with what `content` writes in it.
    public mutating func element<E: Error>(
        _ local: StaticString, _ namespace: Namespace, _ attributes: KeyValuePairs<StaticString, String?> = [:],
        _ content: (inout XMLWriter) throws(E) -> Void
    ) throws(E) {
        open(local, namespace)
        for (name, value) in attributes { attribute(name, value) }
        try content(&self)
        close()
    }

    private struct StartTag {
        var nameStart: Int
        var namespace: NamespaceName
        var isPrefixed: Bool
    }

    /// Writes `<`, and `xml:` where that is the only way to say the namespace (Namespaces in XML 1.0 §3).
    private mutating func beginStartTag(_ namespace: NamespaceName) -> StartTag {
        endStartTag()
        buffer.writeInteger(UInt8(ascii: "<"))
        let tag = StartTag(nameStart: buffer.writerIndex, namespace: namespace, isPrefixed: namespace == .known(.xml))
        if tag.isPrefixed { buffer.writeStaticString("xml:") }
        return tag
    }

    private mutating func endName(_ tag: StartTag) {
        stack.append(Open(nameStart: tag.nameStart, nameLength: buffer.writerIndex - tag.nameStart, outerScope: scope))
        isInStartTag = true
        prefixCount = 0
        let namespace = tag.namespace
        guard !tag.isPrefixed, namespace != scope else { return }
        declaration(prefix: nil, namespace)
        scope = namespace
    }

    mutating func endStartTag() {
        guard isInStartTag else { return }
        isInStartTag = false
        buffer.writeInteger(UInt8(ascii: ">"))
    }

    private mutating func declaration(prefix: String?, _ namespace: NamespaceName) {
        buffer.writeStaticString(" xmlns")
        if let prefix {
            buffer.writeInteger(UInt8(ascii: ":"))
            buffer.writeString(prefix)
        }
        quoted(namespace.name)
    }
}

// MARK: Attributes and text

extension XMLWriter {
    /// Adds an attribute to the start tag just opened; nil adds nothing. `name` may be `xml:lang`.
    public mutating func attribute(_ name: StaticString, _ value: String?) {
        guard var value else { return }
        value.withUTF8 { attribute(name, utf8: UnsafeRawBufferPointer($0)) }
    }

    /// Adds an attribute whose value is UTF-8 already.
    public mutating func attribute(_ name: StaticString, utf8 value: UnsafeRawBufferPointer) {
        attribute(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), utf8: value)
    }

    /// The same; `name` is one that a parser has accepted.
    private mutating func attribute(_ name: UnsafeRawBufferPointer, utf8 value: UnsafeRawBufferPointer) {
        if Self.needsEscaping(value) {
            beginAttribute()
            buffer.writeBytes(name)
            buffer.writeStaticString("='")
            escape(value, isAttribute: true)
            buffer.writeInteger(UInt8(ascii: "'"))
            return
        }
        precondition(isInStartTag, "attributes come before content")
        buffer.append(atMost: name.count + value.count + 4) { cursor in
            cursor.put(" ")
            cursor.put(name)
            cursor.put("='")
            cursor.put(value)
            cursor.put("'")
        }
    }

    /// Adds an attribute whose value is a number in decimal digits.
    public mutating func attribute(_ name: StaticString, decimal number: UInt64) {
        precondition(isInStartTag, "attributes come before content")
        buffer.append(atMost: name.utf8CodeUnitCount + ByteCursor.decimalDigitsMax + 4) { cursor in
            cursor.put(" ")
            cursor.put(name)
            cursor.put("='")
            cursor.put(decimal: number)
            cursor.put("'")
        }
    }

    /// Adds an attribute whose name is not known before. What cannot stand in a name becomes `_`.
    @_disfavoredOverload
    public mutating func attribute(_ name: String, _ value: String?) {
        guard let value else { return }
        beginAttribute()
        write(name: name)
        quoted(value)
    }

    /// Adds an attribute in a namespace, under `xml:` or a prefix declared beside it.
    public mutating func attribute(_ name: StaticString, _ namespace: Namespace, _ value: String?) {
        guard let value else { return }
        attribute(name.description, .known(namespace), value)
    }

    mutating func attribute(_ name: String, _ namespace: NamespaceName, _ value: String) {
        switch namespace {
        case .known(.none): beginAttribute()
        case .known(.xml):
            beginAttribute()
            buffer.writeStaticString("xml:")
        default:
            prefixCount += 1
            declaration(prefix: "ns\(prefixCount)", namespace)
            beginAttribute()
            buffer.writeString("ns\(prefixCount):")
        }
        write(name: name)
        quoted(value)
    }

    /// Adds text to the innermost open element.
    public mutating func text(_ text: String) {
        endStartTag()
        escape(text, isAttribute: false)
    }

    private mutating func beginAttribute() {
        precondition(isInStartTag, "attributes come before content")
        buffer.writeInteger(UInt8(ascii: " "))
    }

    private mutating func quoted(_ value: String) {
        buffer.writeStaticString("='")
        escape(value, isAttribute: true)
        buffer.writeInteger(UInt8(ascii: "'"))
    }

    private mutating func escape(_ text: String, isAttribute: Bool) {
        var text = text
        text.withUTF8 { escape(UnsafeRawBufferPointer($0), isAttribute: isAttribute) }
    }

    mutating func escape(_ bytes: Span<UInt8>, isAttribute: Bool) {
        bytes.withUnsafeBytes { escape($0, isAttribute: isAttribute) }
    }

    /// Writes runs of plain bytes as they are, and what needs it escaped between them.
    private mutating func escape(_ bytes: UnsafeRawBufferPointer, isAttribute: Bool) {
        var plain = 0
        var i = Self.plainPrefix(bytes, from: 0)
        while i < bytes.count {
            if let (replacement, length) = Self.replacement(bytes, i, isAttribute) {
                buffer.append(atMost: i - plain + replacement.utf8CodeUnitCount) { cursor in
                    cursor.put(UnsafeRawBufferPointer(rebasing: bytes[plain..<i]))
                    cursor.put(replacement)
                }
                i += length
                plain = i
            } else {
                i += 1
            }
            i = Self.plainPrefix(bytes, from: i)
        }
        if plain < i { buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[plain...])) }
    }

    /// How many bytes are written for these.
    static func escapedByteCount(_ bytes: Span<UInt8>, isAttribute: Bool) -> Int {
        bytes.withUnsafeBytes { bytes in
            var count = bytes.count
            var i = plainPrefix(bytes, from: 0)
            while i < bytes.count {
                let replaced = replacement(bytes, i, isAttribute)
                if let (replacement, length) = replaced { count += replacement.utf8CodeUnitCount - length }
                i = plainPrefix(bytes, from: i + (replaced?.1 ?? 1))
            }
            return count
        }
    }

    /// Where the first byte behind `start` is that may not stand for itself.
    @inline(__always)
    private static func plainPrefix(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        guard let base = bytes.baseAddress else { return bytes.count }
        let p = base.assumingMemoryBound(to: UInt8.self)
        var i = start
        while true {
            i += cscan_escape(p + i, bytes.count - i)
            // Of multi-byte sequences only those of the two non-characters are of interest.
            guard i < bytes.count, p[i] >= 0x80, p[i] != 0xEF else { return i }
            i += 1
        }
    }

    /// Whether there is anything in `bytes` that may not stand in an attribute, or perhaps not.
    @inline(__always)
    static func needsEscaping(_ bytes: UnsafeRawBufferPointer) -> Bool { plainPrefix(bytes, from: 0) < bytes.count }

    /// What stands for the character at `i`, and how many bytes that has; nil if it stands for itself.
    @inline(__always)
    private static func replacement(_ bytes: UnsafeRawBufferPointer, _ i: Int, _ isAttribute: Bool) -> (StaticString, Int)? {
        let byte = bytes[i]
        switch byte {
        case UInt8(ascii: "&"): return ("&amp;", 1)
        case UInt8(ascii: "<"): return ("&lt;", 1)
        // Always, so that no "]]>" can come together from two calls.
        case UInt8(ascii: ">"): return ("&gt;", 1)
        case UInt8(ascii: "'") where isAttribute: return ("&apos;", 1)
        case 0x09 where isAttribute: return ("&#9;", 1)
        case 0x0A where isAttribute: return ("&#10;", 1)
        case 0x0D: return ("&#13;", 1)
        case 0x09, 0x0A: return nil
        case 0x00..<0x20: return ("\u{FFFD}", 1)
        case 0xEF where i + 2 < bytes.count && bytes[i + 1] == 0xBF && bytes[i + 2] >= 0xBE: return ("\u{FFFD}", 3)
        default: return nil
        }
    }

    /// A local name from outside the code.
    private mutating func write(name: String) {
        let isFine = name.utf8.allSatisfy(Self.isPlainNameByte) && name.utf8.first.map(Self.isPlainNameStart) == true
        if isFine {
            buffer.writeString(name)
            return
        }
        for (index, scalar) in name.unicodeScalars.enumerated() {
            let isAllowed: Bool
            if let ascii = UInt8(exactly: scalar.value), ascii < 0x80 {
                isAllowed = index == 0 ? Self.isPlainNameStart(ascii) : Self.isPlainNameByte(ascii)
            } else {
                isAllowed = index == 0 ? Characters.isNameStart(scalar.value) : Characters.isName(scalar.value)
            }
            buffer.writeString(isAllowed ? String(scalar) : "_")
        }
        if name.isEmpty { buffer.writeStaticString("_") }
    }

    private static func isPlainNameStart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        default: false
        }
    }

    private static func isPlainNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."): true
        default: isPlainNameStart(byte)
        }
    }
}

// MARK: Parsed elements

extension XMLWriter {
    /// A whole element: its own bytes where they mean the same here, written anew otherwise.
    public mutating func append(_ element: ElementView) {
        endStartTag()
        switch splice(of: element) {
        case .whole: element.storage.write(element.byteRange, to: &buffer)
        case .withNamespace(let namespace):
            buffer.writeInteger(UInt8(ascii: "<"))
            element.storage.write(element.node.nameRange, to: &buffer)
            declaration(prefix: nil, namespace)
            element.storage.write(element.node.nameRange.upperBound..<element.byteRange.upperBound, to: &buffer)
        case .none:
            rewrite(element)
        }
    }

    public mutating func append(_ element: FlatElement) { append(element.root) }

    /// The children and text of an element, not its tags.
    public mutating func appendContent(of element: ElementView) {
        appendContent(of: element) { _ in true }
    }

    /// The text of an element, and those of its children that `isKept`.
    public mutating func appendContent(of element: ElementView, where isKept: (ElementView) -> Bool) {
        let node = element.node
        guard !node.contentRange.isEmpty else { return }
        endStartTag()
        let storage = element.storage
        let isSpliceable = canSpliceParts(element) && scope == name(of: node, storage)
        if isSpliceable, element.children.allSatisfy(isKept) {
            storage.write(node.contentRange, to: &buffer)
            return
        }
        var position = element.index + 1
        while position < Int(node.next) {
            let child = storage.node(position)
            switch child.kind {
            case .attribute: break
            case .text: text(child, storage)
            case .element:
                let view = ElementView(storage, position)
                if isKept(view) { append(view) }
            }
            position = Int(child.next)
        }
    }

    /// Opens an element with the name and attributes of another. Attributes in `changes` are set, or left out where nil.
    public mutating func open(copying element: ElementView, setting changes: KeyValuePairs<StaticString, String?> = [:]) {
        startTag(element.node, element, setting: changes)
    }

    /// Bytes this writer, or another one in the same scope, has made.
    public mutating func raw(_ bytes: ByteBuffer) {
        endStartTag()
        buffer.writeImmutableBuffer(bytes)
    }

    private enum Splice { case whole, withNamespace(NamespaceName), none }

    private func splice(of element: ElementView) -> Splice {
        let node = element.node
        let flags = element.storage.header.flags
        let isClient = node.namespace == Namespace.client.id
        if element.index == 0, flags.isDisjoint(with: [.notCanonical, .rootDeclaresContent]), scope == .known(.client) { return .whole }
        if node.flags.contains(.declaresDefault) {
            // The content namespace is never declared on a stanza, wherever the stanza comes from.
            return canSpliceParts(element) && !isClient ? .whole : .none
        }
        guard canSpliceParts(element) else { return .none }
        let name = name(of: node, element.storage)
        return name == scope ? .whole : .withNamespace(name)
    }

    /// Whether parts of the bytes mean the same under the same default namespace.
    private func canSpliceParts(_ element: ElementView) -> Bool {
        element.storage.header.flags.isDisjoint(with: [.notCanonical, .usesPrefixes])
    }

    private func name(of node: TapeNode, _ storage: FlatStorage) -> NamespaceName {
        guard node.namespace == Namespace.unknownID else { return .known(Namespace(id: node.namespace)) }
        return NamespaceName(storage.unknownName(node))
    }

    private mutating func text(_ node: TapeNode, _ storage: FlatStorage) {
        endStartTag()
        storage.withText(node) { escape($0, isAttribute: false) }
    }

    /// Start tag from the tape: prefixes and declarations are made anew.
    private mutating func startTag(_ node: TapeNode, _ element: ElementView, setting changes: KeyValuePairs<StaticString, String?>) {
        let storage = element.storage
        let start = beginStartTag(name(of: node, storage))
        storage.write(node.localRange, to: &buffer)
        endName(start)
        for attribute in element.attributeNodes where !attribute.flags.contains(.declaration) {
            if attribute.prefixLength != 0 {
                self.attribute(storage.string(attribute.localRange), name(of: attribute, storage), storage.value(attribute))
            } else if !changes.contains(where: { storage.matches(attribute.localRange, $0.key) }) {
                storage.withValue(attribute) { value in
                    value.withUnsafeBytes { value in
                        storage.withTape { self.attribute($0[attribute.localRange], utf8: value) }
                    }
                }
            }
        }
        for (name, value) in changes { attribute(name, value) }
    }

    /// Writes an element from the tape, node by node, however deep it is.
    private mutating func rewrite(_ element: ElementView) {
        let storage = element.storage
        if canSpliceParts(element) {
            startTag(element.node, element, setting: [:])
            appendContent(of: element)
            return close()
        }
        let end = Int(element.node.next)
        var ends: [Int] = []
        var position = element.index
        while position < end {
            let node = storage.node(position)
            switch node.kind {
            case .attribute: break
            case .text: text(node, storage)
            case .element:
                startTag(node, ElementView(storage, position), setting: [:])
                ends.append(Int(node.next))
            }
            position += 1
            while ends.last == position {
                ends.removeLast()
                close()
            }
        }
    }
}

// MARK: Streams

extension XMLWriter {
    /// An XML declaration and the header of a stream (RFC 6120 §4.2); attributes that are nil are left out.
    public mutating func streamHeader(contentNamespace: Namespace, _ attributes: KeyValuePairs<StaticString, String?>) {
        buffer.writeStaticString("<?xml version='1.0'?><stream:stream")
        declaration(prefix: nil, .known(contentNamespace))
        declaration(prefix: "stream", .known(.streams))
        if contentNamespace == .server { declaration(prefix: "db", .known(.dialback)) }
        isInStartTag = true
        for (name, value) in attributes { attribute(name, value) }
        endStartTag()
    }

    /// The end tag of a stream.
    public mutating func streamEnd() {
        buffer.writeStaticString("</stream:stream>")
    }
}

extension FlatElement {
    /// The same element written anew, inside the canonical subset but for references no other notation exists for (`&#9;` and its like).
    public func rewritten() -> ByteBuffer {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: byteCount))
        writer.append(self)
        return writer.buffer
    }
}
