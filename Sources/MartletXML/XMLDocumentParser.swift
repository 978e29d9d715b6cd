public import NIOCore

/// The bytes of one document into its parts, for documents that are too long to be held: containers are told by their tags, and what is in
/// them element by element. Same grammar, same limits as streams; an XML declaration may come first.
///
/// All input is taken: what does not complete anything yet is kept here. After an error the parser is of no use any more and repeats it.
public struct XMLDocumentParser: ~Copyable {
    public enum Event: Sendable {
        /// The start tag of a container: attributes and declarations, no content.
        case opened(FlatElement)
        /// An element that is no container, whole, with what it inherits from around it.
        case element(FlatElement)
        /// The end tag of the innermost container that is open.
        case closed
    }

    /// Whether an element is a container: by its start tag, and those of the containers that it is in, from the outermost on.
    public typealias ContainerTest = (_ tag: ElementView, _ path: [FlatElement]) -> Bool

    private enum Phase {
        case beginning
        /// Between elements, or behind the last one.
        case between
        /// In a start tag; it is not known yet of what.
        case tag
        case element
        /// The container that was opened last has no content.
        case selfClosed
        case failed(XMLError)
    }

    /// Start tags of the containers that are open, from the outermost on.
    public private(set) var path: [FlatElement] = []
    /// Bytes that events were made of, white space included.
    public private(set) var usedByteCount = 0

    private let limits: XMLLimits
    private let isContainer: ContainerTest
    private let table = NamespaceTable.current
    private let workspace = Workspace()
    /// One for each container that is open.
    private var scopes: [StreamScope] = []
    private var bytes = ByteBuffer()
    private var phase = Phase.beginning
    private var hasRoot = false

    /// - Parameter limits: of one element, and, as `headerBytesMax`, of the start tag of a container.
    public init(limits: XMLLimits, _ isContainer: @escaping ContainerTest) {
        self.limits = limits.clamped
        self.isContainer = isContainer
    }

    /// Whether the document's one element has ended.
    public var isComplete: Bool { hasRoot && path.isEmpty && bytes.readableBytes == 0 }

    /// The next event, or nil if more bytes are needed; `input` is empty then.
    public mutating func next(from input: inout ByteBuffer) throws(XMLError) -> Event? {
        if case .failed(let error) = phase { throw error }
        bytes.writeBuffer(&input)
        input.clear()
        let before = bytes.readableBytes
        do throws(XMLError) {
            let event = try parse()
            usedByteCount += before - bytes.readableBytes
            if event == nil { bytes.discardReadBytes() }
            return event
        } catch {
            phase = .failed(error)
            throw error
        }
    }

    private mutating func parse() throws(XMLError) -> Event? {
        while true {
            switch phase {
            case .beginning:
                guard try XMLDeclaration.isPassed(&bytes) else { return nil }
                phase = .between
            case .between:
                XMLStreamParser.skipSpace(&bytes)
                guard bytes.readableBytes > 0 else { return nil }
                if hasRoot, path.isEmpty { throw .textBetweenStanzas }
                guard bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) == UInt8(ascii: "<") else { throw .textBetweenStanzas }
                guard let second = bytes.getInteger(at: bytes.readerIndex + 1, as: UInt8.self) else { return nil }
                if second == UInt8(ascii: "/") { return try endTag() ? close() : nil }
                workspace.tokenizer.reset(.startTag, outer: scope)
                phase = .tag
            case .tag:
                guard let tag = try run(.headerBytes) else { return nil }
                hasRoot = true
                if isContainer(tag.root, path) { return open(tag) }
                workspace.tokenizer.reset(.element, outer: scope)
                phase = .element
            case .element:
                guard let element = try run(.stanzaBytes) else { return nil }
                bytes.moveReaderIndex(forwardBy: element.byteCount)
                phase = .between
                return .element(element)
            case .selfClosed:
                phase = .between
                return close()
            case .failed(let error): throw error
            }
        }
    }

    private var scope: StreamScope { scopes.last ?? .none }

    /// Reads on in what begins at the reader index, which stays where it is.
    private func run(_ limit: XMLError.Limit) throws(XMLError) -> FlatElement? {
        let (workspace, limits, table, scope) = (workspace, limits, table, scope)
        return try bytes.withUnsafeReadableBytes { (bytes) throws(XMLError) -> FlatElement? in
            try workspace.run(bytes, limits, table, scope, Namespace.client.id, limit)
        }
    }

    private mutating func open(_ tag: FlatElement) -> Event {
        bytes.moveReaderIndex(forwardBy: tag.byteCount)
        scopes.append(.of(container: tag, within: scope))
        path.append(tag)
        phase = tag.root.node.flags.contains(.selfClosing) ? .selfClosed : .between
        return .opened(tag)
    }

    private mutating func close() -> Event {
        path.removeLast()
        scopes.removeLast()
        return .closed
    }

    /// Moves over the end tag of the innermost container. False: more bytes are needed.
    private mutating func endTag() throws(XMLError) -> Bool {
        guard !path.isEmpty else { throw .notWellFormed }
        let expected = Array("</".utf8) + scope.headerName
        let arrived = min(expected.count, bytes.readableBytes)
        guard bytes.readableBytesView.prefix(arrived).elementsEqual(expected.prefix(arrived)) else { throw .notWellFormed }
        var rest = bytes
        rest.moveReaderIndex(forwardBy: arrived)
        XMLStreamParser.skipSpace(&rest)
        guard let byte = rest.readInteger(as: UInt8.self) else {
            guard bytes.readableBytes <= limits.headerBytesMax else { throw .limitExceeded(.headerBytes) }
            return false
        }
        guard byte == UInt8(ascii: ">") else { throw .notWellFormed }
        bytes = rest
        return true
    }
}
