public import NIOCore

/// What a stream is made of.
public enum XMLStreamEvent: Sendable {
    /// The header's start tag: attributes and declarations, no content.
    case opened(FlatElement)
    /// A stanza, or any other element directly under the header.
    case element(FlatElement)
    /// The header's end tag. What comes behind it is thrown away.
    case closed
}

/// The bytes of one stream into events. One per connection and direction.
///
/// All input is taken: what does not complete anything yet is kept here, so a caller hands over what it has read and asks until the answer
/// is nil. An event is given in the call that brings its last byte. After an error the parser is of no use any more and repeats the error.
public struct XMLStreamParser: ~Copyable {
    /// What comes next.
    private enum Phase {
        /// The very beginning, where an XML declaration may stand.
        case beginning(afterRestart: Bool)
        /// Behind the declaration: white space, then the header.
        case prolog
        case header
        /// The header was `<stream:stream/>`.
        case selfClosed
        case between
        case element
        /// At `</` of the header's end tag, and behind its name.
        case endTag, endTagTail
        case closed
        case failed(XMLError)
    }

    /// What a peer may send. A change, as after authentication, counts from the next byte that is looked at.
    public var limits: XMLLimits {
        get { effectiveLimits }
        set { effectiveLimits = newValue.clamped }
    }

    private var effectiveLimits: XMLLimits
    private let contentNamespace: Namespace
    private var table: NamespaceTable
    private let scratch: XMLParserScratch
    private var phase = Phase.beginning(afterRestart: false)
    private var scope = StreamScope.usual
    /// Held only while an element is incomplete or events are being taken out of one read.
    private var workspace: Workspace?

    /// - Parameters:
    ///   - contentNamespace: The namespace of stanzas on this stream; it is read as `.client`, see ``FlatElement``.
    ///   - scratch: The event loop's. Without one the parser keeps its own working memory, some kilobytes.
    public init(limits: XMLLimits, contentNamespace: Namespace = .client, scratch: XMLParserScratch = XMLParserScratch()) {
        effectiveLimits = limits.clamped
        self.contentNamespace = contentNamespace
        self.scratch = scratch
        table = .current
    }

    /// The next event, or nil if more bytes are needed; `input` is empty then.
    public mutating func next(from input: inout ByteBuffer) throws(XMLError) -> XMLStreamEvent? {
        if case .failed(let error) = phase { throw error }
        // Most reads end with a stanza, and then there is nothing to do in the call that answers nil.
        if input.readableBytes == 0, pendingByteCount == 0, isBetween {
            if let workspace = workspace.take() { scratch.takeBack(workspace) }
            return nil
        }
        do {
            return try take(from: &input)
        } catch {
            phase = .failed(error)
            workspace = nil
            throw error
        }
    }

    /// Forgets the header and expects a new one, as after SASL (RFC 6120 §4.3.3). Bytes not yet used are kept.
    ///
    /// The one exception to "nothing in front of an XML declaration" is made here: white space behind the last element of the old stream.
    public mutating func restart() {
        phase = .beginning(afterRestart: true)
        scope = .usual
    }

    /// Throws away what has arrived and was not used; answers how many bytes. For STARTTLS, where they were sent in clear (CVE-2011-0411).
    @discardableResult
    public mutating func discardInput() -> Int {
        let count = pendingByteCount
        workspace = nil
        restart()
        return count
    }

    /// How many bytes wait here for the rest of what they begin.
    public var pendingByteCount: Int { workspace?.carry.readableBytes ?? 0 }

    /// Whether a stanza or header has begun to arrive and is not complete.
    public var isInsideElement: Bool { pendingByteCount > 0 }
}

extension XMLStreamParser {
    @inline(__always)
    private mutating func take(from input: inout ByteBuffer) throws(XMLError) -> XMLStreamEvent? {
        // Taken out while it is in use, so that nobody counts who else has it.
        let workspace = self.workspace.take() ?? scratch.lend()
        let event: XMLStreamEvent?
        if workspace.carry.readableBytes == 0 {
            event = try parse(&input, workspace)
            if event == nil, input.readableBytes > 0 { workspace.carry.writeBuffer(&input) }
        } else {
            if input.readableBytes > 0 { workspace.carry.writeBuffer(&input) }
            event = try parse(&workspace.carry, workspace)
            if workspace.carry.readableBytes == 0 { workspace.carry.clear() }
            if event == nil { workspace.carry.discardReadBytes() }
        }
        if event != nil || workspace.carry.readableBytes > 0 {
            self.workspace = workspace
        } else {
            scratch.takeBack(workspace)
        }
        return event
    }

    private var isBetween: Bool { if case .between = phase { true } else { false } }

    private mutating func parse(_ buffer: inout ByteBuffer, _ workspace: Workspace) throws(XMLError) -> XMLStreamEvent? {
        while true {
            switch phase {
            case .beginning(let afterRestart):
                if afterRestart { Self.skipSpace(&buffer) }
                guard try XMLDeclaration.isPassed(&buffer) else { return nil }
                phase = .prolog
            case .prolog:
                Self.skipSpace(&buffer)
                guard let byte = Self.byte(buffer, 0) else { return nil }
                guard byte == UInt8(ascii: "<") else { throw .notWellFormed }
                workspace.tokenizer.reset(.startTag, outer: StreamScope.none)
                phase = .header
            case .header:
                return try header(&buffer, workspace)
            case .between, .element:
                if let flat = try element(&buffer, workspace) { return .element(flat) }
                guard case .endTag = phase else { return nil }
            case .endTag:
                guard try endTag(&buffer) else { return nil }
                phase = .endTagTail
            case .endTagTail:
                Self.skipSpace(&buffer)
                guard let byte = Self.byte(buffer, 0) else { return nil }
                guard byte == UInt8(ascii: ">") else { throw .notWellFormed }
                buffer.moveReaderIndex(forwardBy: buffer.readableBytes)
                phase = .closed
                return .closed
            case .selfClosed:
                phase = .closed
                return .closed
            case .closed:
                buffer.moveReaderIndex(forwardBy: buffer.readableBytes)
                return nil
            case .failed(let error):
                throw error
            }
        }
    }

    /// The next element if it is complete, moved over in `buffer` with the white space around it.
    ///
    /// Some clients end every element with a line feed: it belongs to what it ends, so that a caller sees nothing left over.
    private mutating func element(_ buffer: inout ByteBuffer, _ workspace: Workspace) throws(XMLError) -> FlatElement? {
        let (flat, used) = try buffer.withUnsafeReadableBytes { (bytes) throws(XMLError) -> (FlatElement?, Int) in
            var start = 0
            if isBetween {
                start = Self.spaceEnd(bytes, 0)
                try begin(bytes, start, workspace)
            }
            guard case .element = phase else { return (nil, start) }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
            let flat = try workspace.run(rest, effectiveLimits, table, scope, contentNamespace.id, .stanzaBytes)
            guard let flat else { return (nil, start) }
            phase = .between
            return (flat, Self.spaceEnd(bytes, start + flat.byteCount))
        }
        buffer.moveReaderIndex(forwardBy: used)
        return flat
    }

    /// At the first byte of an element or of the header's end tag; the second byte tells which, and may not have arrived.
    @inline(__always)
    private mutating func begin(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ workspace: Workspace) throws(XMLError) {
        guard start < bytes.count else { return }
        guard bytes[start] == UInt8(ascii: "<") else { throw .textBetweenStanzas }
        guard start + 1 < bytes.count else { return }
        if bytes[start + 1] == UInt8(ascii: "/") {
            phase = .endTag
            return
        }
        // A name that the code has used since for the first time has a number now. What the header declared keeps its own.
        if !table.isCurrent, scope === StreamScope.usual { table = .current }
        workspace.tokenizer.reset(.element, outer: scope)
        phase = .element
    }

    private mutating func header(_ buffer: inout ByteBuffer, _ workspace: Workspace) throws(XMLError) -> XMLStreamEvent? {
        let flat = try workspace.run(&buffer, effectiveLimits, table, StreamScope.none, contentNamespace.id, .headerBytes)
        guard let flat else { return nil }
        scope = StreamScope.of(header: flat, content: contentNamespace)
        phase = flat.root.node.flags.contains(.selfClosing) ? .selfClosed : .between
        return .opened(flat)
    }

    private func endTag(_ buffer: inout ByteBuffer) throws(XMLError) -> Bool {
        let expected = Array("</".utf8) + scope.headerName
        let arrived = min(expected.count, buffer.readableBytes)
        guard buffer.readableBytesView.prefix(arrived).elementsEqual(expected.prefix(arrived)) else { throw .notWellFormed }
        guard arrived == expected.count else { return false }
        buffer.moveReaderIndex(forwardBy: arrived)
        return true
    }

    private static func byte(_ buffer: ByteBuffer, _ offset: Int) -> UInt8? {
        buffer.getInteger(at: buffer.readerIndex + offset)
    }

    /// Where the white space ends that begins at `start`.
    @inline(__always)
    private static func spaceEnd(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> Int {
        var end = start
        while end < bytes.count, bytes[end] == 0x20 || bytes[end] == 0x09 || bytes[end] == 0x0A || bytes[end] == 0x0D { end += 1 }
        return end
    }

    static func skipSpace(_ buffer: inout ByteBuffer) {
        while let byte = byte(buffer, 0), byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
            buffer.moveReaderIndex(forwardBy: 1)
        }
    }
}

/// One document in one buffer: stored XML, or a frame of a WebSocket. Same grammar, same limits; no XML declaration.
///
/// - Parameters:
///   - defaultNamespace: The namespace of elements that declare none; the content namespace for stanzas.
///   - scratch: The event loop's. Without one working memory is made, some kilobytes.
public func parseElement(
    _ bytes: ByteBuffer, limits: XMLLimits, defaultNamespace: Namespace = .client, scratch: XMLParserScratch? = nil
) throws(XMLError) -> FlatElement {
    var buffer = bytes
    XMLStreamParser.skipSpace(&buffer)
    let scope = StreamScope.document(defaultNamespace)
    let workspace = scratch?.lend() ?? Workspace()
    defer { scratch?.takeBack(workspace) }
    workspace.tokenizer.reset(.element, outer: scope)
    guard buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) == UInt8(ascii: "<") else { throw .notWellFormed }
    let content = defaultNamespace == .none ? Namespace.client.id : defaultNamespace.id
    let flat = try workspace.run(&buffer, limits.clamped, .current, scope, content, .stanzaBytes)
    guard let flat else { throw .notWellFormed }
    XMLStreamParser.skipSpace(&buffer)
    guard buffer.readableBytes == 0 else { throw .textBetweenStanzas }
    return flat
}

/// Working memory for parsers of one event loop: lent while an element is being parsed, kept by a connection that is in the middle of one.
///
/// Not for more than one thread.
public final class XMLParserScratch {
    /// The one that is lent most of the time, when every element comes in one piece.
    @exclusivity(unchecked) private var first: Workspace?
    @exclusivity(unchecked) private var others: [Workspace] = []

    /// Workspaces kept besides the first, of about 2 kB each and what ``Workspace`` keeps for bytes.
    private static let othersMax = 8

    public init() {}

    func lend() -> Workspace {
        if let workspace = first.take() { return workspace }
        return others.popLast() ?? Workspace()
    }

    func takeBack(_ workspace: consuming Workspace) {
        workspace.shrink()
        if first == nil {
            first = workspace
        } else if others.count < Self.othersMax {
            others.append(workspace)
        }
    }
}

/// A tape, and the bytes of an element that is not complete.
///
/// Only the parser that holds it touches it, one property at a time; the run-time's checks of that took 1000 instructions for a stanza.
final class Workspace {
    @exclusivity(unchecked) var tokenizer = Tokenizer()
    @exclusivity(unchecked) var carry = ByteBuffer()

    /// A buffer larger than this is not kept when it is empty.
    private static let carryKeptMax = 16_384

    func shrink() {
        if carry.capacity > Self.carryKeptMax { carry = ByteBuffer() }
    }

    /// Lets the tokenizer read on in what has arrived of one element, which begins with its `<`. Nil if it is not complete.
    func run(
        _ arrived: UnsafeRawBufferPointer, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16,
        _ limit: XMLError.Limit
    ) throws(XMLError) -> FlatElement? {
        let bytesMax = limit == .headerBytes ? limits.headerBytesMax : limits.stanzaBytesMax
        let window = UnsafeRawBufferPointer(rebasing: arrived[..<min(arrived.count, bytesMax)])
        guard try tokenizer.run(window, limits, table, outer, content) else {
            if arrived.count > bytesMax { throw .limitExceeded(limit) }
            return nil
        }
        let element = UnsafeRawBufferPointer(rebasing: window[..<tokenizer.position])
        let storage = FlatStorage.make(tokenizer.tape, tokenizer.flags, element, table, outer)
        if limit == .stanzaBytes { storage.markIfTooLongRewritten(bytesMax) }
        return FlatElement(storage: storage)
    }

    /// The same, and moves over the element in `buffer`.
    func run(
        _ buffer: inout ByteBuffer, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16,
        _ limit: XMLError.Limit
    ) throws(XMLError) -> FlatElement? {
        let flat = try buffer.withUnsafeReadableBytes { (bytes) throws(XMLError) -> FlatElement? in
            try run(bytes, limits, table, outer, content, limit)
        }
        guard let flat else { return nil }
        buffer.moveReaderIndex(forwardBy: flat.byteCount)
        return flat
    }
}
