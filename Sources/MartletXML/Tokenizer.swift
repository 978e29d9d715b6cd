internal import CMartletScan

/// The tokenizer: checks the bytes of one element in a single pass and writes its tape.
///
/// It may be stopped at any byte. What it keeps then is the offset of the first byte it has not used up, which is the start of an atom
/// (a name, a reference, one UTF-8 sequence, `]]>`: all of bounded length), and the mode that says what is expected there. So no byte is
/// looked at more often than the longest atom is long, however small the pieces are in which it arrives, and what is wrong is said as soon
/// as it can be known.
///
/// Offsets count from the `<` of the element, so that the bytes may move between two runs.
struct Tokenizer: ~Copyable {
    private enum Mode: UInt8 { case markup, tag, equals, quote, value, text, cdata, endTag, complete }

    /// What is parsed: an element up to its end tag, or only the start tag of a stream.
    enum Scope: UInt8 { case element, startTag }

    /// A namespace declaration in scope.
    private struct Binding {
        var prefix: Range<Int>
        var namespace: UInt16
        /// Where the name is found: the first declaration of it in scope, so that equal unknown names have equal declarations.
        var declaration: UInt32
        /// Of the name, if it is unknown.
        var hash: Int
        var depth: Int
    }

    // The tape. Owned, grown by doubling.
    private var nodes: UnsafeMutablePointer<TapeNode>
    private var capacity: Int
    private(set) var count = 0

    private(set) var flags: ElementFlags = []
    private(set) var position = 0
    private var mode = Mode.markup
    private var scope = Scope.element
    private var depth = 0
    private var elements = 0
    /// Index of the innermost open element.
    private var open = 0
    /// Index of the attribute whose value is being read.
    private var attribute = 0
    private var attributes = 0
    private var hasPrefixedAttributes = false
    private var quoteMark: UInt8 = 0
    private var textStart = 0
    private var textFlags: TapeNode.Flags = []
    private var bindings: [Binding] = []
    /// The default namespace in scope, and which attribute declared it (or `StreamScope.outerBit` and an index).
    private var defaultNamespace: UInt16 = 0
    private var defaultDeclaration: UInt32 = 0
    /// The default namespace comes from outside and is not the content namespace.
    private var defaultIsForeign = false

    /// Nodes a new tape has room for; as many suffice for most stanzas.
    private static let initialCapacity = 64
    /// A tape with more room than this is not kept for the next stanza.
    private static let keptCapacity = 512

    init() {
        capacity = Self.initialCapacity
        nodes = .allocate(capacity: capacity)
    }

    deinit {
        nodes.deallocate()
    }

    /// Ready for the next element.
    mutating func reset(_ scope: Scope, outer: StreamScope) {
        if capacity > Self.keptCapacity {
            nodes.deallocate()
            capacity = Self.initialCapacity
            nodes = .allocate(capacity: capacity)
        }
        count = 0
        flags = []
        position = 0
        mode = .markup
        self.scope = scope
        depth = 0
        elements = 0
        open = 0
        if !bindings.isEmpty { bindings.removeAll(keepingCapacity: true) }
        useOuterDefault(outer)
    }

    /// The tape so far.
    func withNodes<R>(_ body: (UnsafeBufferPointer<TapeNode>) -> R) -> R {
        body(UnsafeBufferPointer(start: nodes, count: count))
    }

    /// Reads on. True: the element is complete and ends at `position`. False: more bytes are needed.
    ///
    /// `bytes` begins with the `<` of the element at every call, and holds at least what it held before.
    mutating func run(
        _ bytes: UnsafeRawBufferPointer, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        guard let base = bytes.baseAddress else { return false }
        let p = base.assumingMemoryBound(to: UInt8.self)
        let end = bytes.count
        // Most steps go straight into the next one. This loop is where a step is taken up again, and where tags have ended.
        while true {
            let advanced: Bool
            if mode == .text {
                advanced = try text(p, end, limits, table, outer, content)
            } else {
                switch mode {
                case .markup: advanced = try markup(p, end, limits, table, outer, content)
                case .tag: advanced = try tag(p, end, limits, table, outer, content)
                case .equals: advanced = try equals(p, end)
                case .quote: advanced = try quote(p, end)
                case .value: advanced = try value(p, end, limits, table, outer, content)
                case .text, .cdata: advanced = try cdata(p, end, limits)
                case .endTag: advanced = try endTag(p, end, outer)
                case .complete: return true
                }
            }
            guard advanced else { return false }
        }
    }

    // MARK: Markup

    /// At `<`: an end tag, a start tag or a CDATA section. There is no production for anything else (RFC 6120 §11.1).
    @inline(__always)
    private mutating func markup(
        _ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        guard position + 1 < end else { return false }
        switch p[position + 1] {
        case UInt8(ascii: "/"): return try endTagName(p, end, outer)
        case UInt8(ascii: "!"): return try cdataStart(p, end)
        case UInt8(ascii: "?"): throw .restrictedXML
        default:
            guard try startTagName(p, end, limits) else { return false }
            return try tag(p, end, limits, table, outer, content)
        }
    }

    @inline(__always)
    private mutating func startTagName(_ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits) throws(XMLError) -> Bool {
        guard let name = try name(p, position + 1, end, limits) else { return false }
        guard depth < limits.depthMax else { throw .limitExceeded(.depth) }
        guard elements < limits.elementsMax else { throw .limitExceeded(.elements) }
        var node = TapeNode(.element, start: position, contentStart: 0, next: open)
        node.prefixLength = name.prefixLength
        node.localLength = name.localLength
        open = count
        try append(node, limits)
        elements += 1
        depth += 1
        attributes = 0
        hasPrefixedAttributes = false
        position = name.end
        mode = .tag
        return true
    }

    /// Inside a start tag: attributes, and the end of the tag.
    private mutating func tag(
        _ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        while true {
            // One space and something else is by far the usual.
            let next = position &+ 1
            let i = next < end && p[position] == 0x20 && p[next] > 0x20 ? next : skipSpace(p, position, end)
            let spaced = i > position
            // The last white space is looked at again, so that it is known to be there.
            let stay = spaced ? i &- 1 : i
            guard i < end else {
                position = stay
                return false
            }
            if p[i] == UInt8(ascii: ">") {
                position = i &+ 1
                try finishStartTag(p, isEmpty: false, outer)
                return true
            }
            if p[i] == UInt8(ascii: "/") {
                guard i + 1 < end else {
                    position = stay
                    return false
                }
                guard p[i + 1] == UInt8(ascii: ">") else { throw .notWellFormed }
                position = i + 2
                try finishStartTag(p, isEmpty: true, outer)
                return true
            }
            guard spaced else { throw .notWellFormed }
            guard let name = try name(p, i, end, limits) else {
                position = stay
                return false
            }
            try startAttribute(p, i, name, limits)
            let after = name.end
            guard after + 1 < end, p[after] == UInt8(ascii: "="), p[after + 1] == UInt8(ascii: "'") || p[after + 1] == UInt8(ascii: "\"") else {
                position = after
                mode = .equals
                return true
            }
            startValue(p[after + 1], after + 2)
            guard try value(p, end, limits, table, outer, content) else { return false }
        }
    }

    @inline(__always)
    private mutating func startAttribute(
        _ p: UnsafePointer<UInt8>, _ start: Int, _ name: Name, _ limits: XMLLimits
    ) throws(XMLError) {
        guard attributes < limits.attributesMax else { throw .limitExceeded(.attributes) }
        var node = TapeNode(.attribute, start: start, contentStart: 0, next: count &+ 1)
        node.prefixLength = name.prefixLength
        node.localLength = name.localLength
        if attributes > 0 { try refuseDuplicate(p, node) }
        if name.prefixLength != 0 {
            if equals(p, node.prefixRange, "xmlns") {
                node.flags = .declaration
                node.namespace = Namespace.xmlns.id
            } else {
                hasPrefixedAttributes = true
            }
        } else if name.localLength == 5, p[start] == UInt8(ascii: "x"), equals(p, node.localRange, "xmlns") {
            node.flags = .declaration
            node.namespace = Namespace.xmlns.id
        }
        attribute = count
        try append(node, limits)
        attributes &+= 1
    }

    /// No attribute twice (XML 1.0 §3.1). By expanded name it is checked at the end of the tag, when all prefixes are known.
    ///
    /// It changes nothing; as one that might, it is not handed a copy of the tokenizer.
    private mutating func refuseDuplicate(_ p: UnsafePointer<UInt8>, _ node: TapeNode) throws(XMLError) {
        let first = p[Int(node.start)]
        var index = open &+ 1
        while index < count {
            let other = nodes + index
            if other.pointee.localLength == node.localLength, other.pointee.prefixLength == node.prefixLength,
                p[Int(other.pointee.start)] == first, same(p, other.pointee.nameRange, node.nameRange)
            {
                throw .notWellFormed
            }
            index &+= 1
        }
    }

    private mutating func equals(_ p: UnsafePointer<UInt8>, _ end: Int) throws(XMLError) -> Bool {
        position = skipSpace(p, position, end)
        guard position < end else { return false }
        guard p[position] == UInt8(ascii: "=") else { throw .notWellFormed }
        position += 1
        mode = .quote
        return true
    }

    private mutating func quote(_ p: UnsafePointer<UInt8>, _ end: Int) throws(XMLError) -> Bool {
        position = skipSpace(p, position, end)
        guard position < end else { return false }
        let mark = p[position]
        guard mark == UInt8(ascii: "'") || mark == UInt8(ascii: "\"") else { throw .notWellFormed }
        startValue(mark, position + 1)
        return true
    }

    private mutating func startValue(_ mark: UInt8, _ start: Int) {
        quoteMark = mark
        nodes[attribute].contentStart = UInt32(truncatingIfNeeded: start)
        position = start
        mode = .value
    }

    /// An attribute's value up to its quote (XML 1.0 §2.3 [10]).
    @inline(__always)
    private mutating func value(
        _ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        var i = position &+ cscan_value(p + position, end &- position, quoteMark)
        if i >= end || p[i] != quoteMark {
            i = try restOfValue(p, i, end)
            guard i < end else { return false }
        }
        let node = nodes + attribute
        node.pointee.contentEnd = UInt32(truncatingIfNeeded: i)
        node.pointee.end = UInt32(truncatingIfNeeded: i &+ 1)
        position = i &+ 1
        mode = .tag
        if node.pointee.flags.contains(.declaration) { try bind(p, limits, table, outer, content) }
        return true
    }

    /// Where the quote is behind something that is not plain, or `end`; then `position` is where to go on.
    @inline(never)
    private mutating func restOfValue(_ p: UnsafePointer<UInt8>, _ start: Int, _ end: Int) throws(XMLError) -> Int {
        var i = start
        while i < end, p[i] != quoteMark {
            let byte = p[i]
            guard let length = try special(byte, p, i, end, in: .attribute) else { break }
            if byte < 0x80 { nodes[attribute].flags.insert(.encoded) }
            i += length
            i += cscan_value(p + i, end - i, quoteMark)
        }
        position = i
        return i < end && p[i] == quoteMark ? i : end
    }

    @inline(__always)
    private mutating func finishStartTag(_ p: UnsafePointer<UInt8>, isEmpty: Bool, _ outer: StreamScope) throws(XMLError) {
        let index = open
        if nodes[index].prefixLength == 0 {
            nodes[index].namespace = defaultNamespace
            nodes[index].declaration = defaultDeclaration
            if defaultIsForeign { noteOuter(defaultNamespace, index) }
        } else {
            try resolve(p, index, outer)
        }
        if depth == 1, nodes[index].namespace == Namespace.streams.id { try refuseSecondHeader(p, index, outer) }
        if hasPrefixedAttributes { try resolveAttributes(p, outer) }
        nodes[index].contentStart = UInt32(truncatingIfNeeded: position)
        if scope == .startTag {
            nodes[index].flags.insert(isEmpty ? .selfClosing : [])
            finish(index, contentEnd: position)
            mode = .complete
        } else if isEmpty {
            nodes[index].flags.insert(.selfClosing)
            close(contentEnd: position, outer)
        } else {
            mode = .text
            textStart = position
            textFlags = []
        }
    }

    /// In a stream nothing is waited for behind the start tag of another header (RFC 6120 §4.3). A document that stands alone may be one.
    @inline(never)
    private func refuseSecondHeader(_ p: UnsafePointer<UInt8>, _ index: Int, _ outer: StreamScope) throws(XMLError) {
        if scope == .element, !outer.headerName.isEmpty, equals(p, nodes[index].localRange, "stream") { throw .secondHeader }
    }

    // MARK: End tags

    @inline(__always)
    private mutating func endTagName(_ p: UnsafePointer<UInt8>, _ end: Int, _ outer: StreamScope) throws(XMLError) -> Bool {
        guard depth > 0 else { throw .notWellFormed }
        let name = nodes[open].nameRange
        let start = position + 2
        let arrived = min(name.count, end - start)
        guard same(p, start..<(start + arrived), name.lowerBound..<(name.lowerBound + arrived)) else { throw .notWellFormed }
        guard arrived == name.count else { return false }
        nodes[open].contentEnd = UInt32(truncatingIfNeeded: position)
        position = start + arrived
        mode = .endTag
        return try endTag(p, end, outer)
    }

    private mutating func endTag(_ p: UnsafePointer<UInt8>, _ end: Int, _ outer: StreamScope) throws(XMLError) -> Bool {
        if position < end, p[position] != UInt8(ascii: ">") { position = skipSpace(p, position, end) }
        guard position < end else { return false }
        guard p[position] == UInt8(ascii: ">") else { throw .notWellFormed }
        position += 1
        close(contentEnd: Int(nodes[open].contentEnd), outer)
        return true
    }

    @inline(__always)
    private mutating func close(contentEnd: Int, _ outer: StreamScope) {
        let parent = Int(nodes[open].next)
        finish(open, contentEnd: contentEnd)
        if let last = bindings.last, last.depth == depth { unbind(outer) }
        depth -= 1
        open = parent
        mode = depth == 0 ? .complete : .text
        textStart = position
        textFlags = []
    }

    private func finish(_ index: Int, contentEnd: Int) {
        nodes[index].contentEnd = UInt32(truncatingIfNeeded: contentEnd)
        nodes[index].end = UInt32(truncatingIfNeeded: position)
        nodes[index].next = UInt32(truncatingIfNeeded: count)
    }

    // MARK: Text

    private mutating func text(
        _ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        var i = position &+ cscan_text(p + position, end &- position)
        if i >= end || p[i] != UInt8(ascii: "<") {
            i = try restOfText(p, i, end)
            guard i < end else { return false }
        }
        try appendText(upTo: i, limits)
        position = i
        mode = .markup
        return try markup(p, end, limits, table, outer, content)
    }

    /// Where the `<` is behind something that is not plain, or `end`; then `position` is where to go on.
    @inline(never)
    private mutating func restOfText(_ p: UnsafePointer<UInt8>, _ start: Int, _ end: Int) throws(XMLError) -> Int {
        var i = start
        while i < end, p[i] != UInt8(ascii: "<") {
            guard let length = try special(p[i], p, i, end, in: .text) else { break }
            i += length
            i += cscan_text(p + i, end - i)
        }
        position = i
        return i < end && p[i] == UInt8(ascii: "<") ? i : end
    }

    private mutating func cdataStart(_ p: UnsafePointer<UInt8>, _ end: Int) throws(XMLError) -> Bool {
        let opening: StaticString = "<![CDATA["
        let arrived = min(opening.utf8CodeUnitCount, end - position)
        for k in 0..<arrived where p[position + k] != opening.utf8Start[k] {
            throw .restrictedXML
        }
        guard arrived == opening.utf8CodeUnitCount else { return false }
        guard depth > 0 else { throw .notWellFormed }
        flags.insert(.notCanonical)
        position += arrived
        textStart = position
        textFlags = .cdata
        mode = .cdata
        return true
    }

    private mutating func cdata(_ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits) throws(XMLError) -> Bool {
        var i = position
        while true {
            i &+= cscan_text(p + i, end &- i)
            guard i < end else { break }
            let byte = p[i]
            if byte == UInt8(ascii: "]"), i + 2 < end, p[i + 1] == UInt8(ascii: "]"), p[i + 2] == UInt8(ascii: ">") {
                try appendText(upTo: i, limits)
                position = i + 3
                textStart = position
                textFlags = []
                mode = .text
                return true
            }
            guard let length = try special(byte, p, i, end, in: .cdata) else { break }
            i += length
        }
        position = i
        return false
    }

    @inline(__always)
    private mutating func appendText(upTo end: Int, _ limits: XMLLimits) throws(XMLError) {
        guard end > textStart else { return }
        var node = TapeNode(.text, start: textStart, contentStart: textStart, next: count + 1)
        node.contentEnd = UInt32(truncatingIfNeeded: end)
        node.end = node.contentEnd
        node.flags = textFlags
        try append(node, limits)
    }

    private enum Place { case attribute, text, cdata }

    /// What the scanners stop at and what is no delimiter: how many bytes to pass over, or nil if more are needed to know.
    private mutating func special(
        _ byte: UInt8, _ p: UnsafePointer<UInt8>, _ i: Int, _ end: Int, in place: Place
    ) throws(XMLError) -> Int? {
        switch byte {
        case 0x80...: return try Characters.sequence(p, i, end)
        case 0x09, 0x0A:
            if place == .attribute { flags.insert(.notCanonical) }
            return 1
        case 0x0D:
            flags.insert(.notCanonical)
            textFlags.insert(.encoded)
            return 1
        case UInt8(ascii: "&") where place != .cdata:
            guard let reference = try Characters.reference(p, i, end) else { return nil }
            if !reference.isPredefined { flags.insert(.notCanonical) }
            textFlags.insert(.encoded)
            return reference.length
        case UInt8(ascii: "&"): return 1
        case UInt8(ascii: "<") where place == .cdata: return 1
        case UInt8(ascii: "]"):
            guard i + 1 < end else { return nil }
            guard p[i + 1] == UInt8(ascii: "]") else { return 1 }
            guard i + 2 < end else { return nil }
            // `]]>` does not occur in text (XML 1.0 §2.4).
            if p[i + 2] == UInt8(ascii: ">") { throw .notWellFormed }
            return 1
        default: throw .notWellFormed
        }
    }

    // MARK: Names and namespaces

    private struct Name {
        var prefixLength: UInt16
        var localLength: UInt16
        var end: Int
    }

    /// The qualified name at `start` (Namespaces in XML 1.0 §4), or nil if its end has not arrived.
    @inline(__always)
    private func name(_ p: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ limits: XMLLimits) throws(XMLError) -> Name? {
        // One byte more than a name may have: whoever gets there is too long, in however many pieces it comes.
        let stop = min(end, start &+ limits.nameBytesMax &+ 1)
        guard start < stop else { return nil }
        guard cscan_is_name_start(p[start]) else { return try wideName(p, start, stop, limits) }
        let i = start &+ cscan_name(p + start, stop &- start)
        guard i < stop else { return try unfinished(start, stop, limits) }
        if p[i] == UInt8(ascii: ":") || p[i] >= 0x80 { return try wideName(p, start, stop, limits) }
        return Name(prefixLength: 0, localLength: UInt16(truncatingIfNeeded: i &- start), end: i)
    }

    /// The same for names with a prefix or with characters above ASCII.
    private func wideName(_ p: UnsafePointer<UInt8>, _ start: Int, _ stop: Int, _ limits: XMLLimits) throws(XMLError) -> Name? {
        var i = start
        var colon: Int?
        var isFirst = true
        while i < stop {
            if isFirst ? cscan_is_name_start(p[i]) : cscan_is_name(p[i]) {
                i += 1
                isFirst = false
            } else if p[i] >= 0x80 {
                guard let length = try wideNameCharacter(p, i, stop, isFirst: isFirst) else { return try unfinished(start, stop, limits) }
                i += length
                isFirst = false
            } else if p[i] == UInt8(ascii: ":"), !isFirst, colon == nil {
                colon = i
                i += 1
                isFirst = true
            } else if isFirst {
                throw .notWellFormed
            } else {
                let local = colon.map { $0 + 1 } ?? start
                return Name(
                    prefixLength: UInt16(truncatingIfNeeded: colon.map { $0 - start } ?? 0),
                    localLength: UInt16(truncatingIfNeeded: i - local), end: i)
            }
        }
        return try unfinished(start, stop, limits)
    }

    private func unfinished(_ start: Int, _ stop: Int, _ limits: XMLLimits) throws(XMLError) -> Name? {
        guard stop - start <= limits.nameBytesMax else { throw .limitExceeded(.nameBytes) }
        return nil
    }

    private func wideNameCharacter(_ p: UnsafePointer<UInt8>, _ i: Int, _ end: Int, isFirst: Bool) throws(XMLError) -> Int? {
        guard let length = try Characters.sequence(p, i, end) else { return nil }
        let scalar = Characters.scalar(p, i, length)
        guard isFirst ? Characters.isNameStart(scalar) : Characters.isName(scalar) else { throw .notWellFormed }
        return length
    }

    /// Takes the namespace declaration that has just been read (Namespaces in XML 1.0 §3, §5).
    private mutating func bind(
        _ p: UnsafePointer<UInt8>, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) {
        guard bindings.count < limits.namespacesMax else { throw .limitExceeded(.namespaces) }
        let node = nodes[attribute]
        let isDefault = node.prefixLength == 0
        let prefix = isDefault ? 0..<0 : node.localRange
        let isPrefixXML = !isDefault && equals(p, prefix, "xml")
        var id = lookUp(p, node, table)
        if isPrefixXML {
            guard id == Namespace.xml.id else { throw .notWellFormed }
            flags.insert(.notCanonical)
            return
        }
        guard id != Namespace.xml.id, id != Namespace.xmlns.id else { throw .notWellFormed }
        guard isDefault || node.contentStart < node.contentEnd && !equals(p, prefix, "xmlns") else { throw .notWellFormed }
        if id == content || id == Namespace.client.id {
            noteContent(isDefault: isDefault, isLiteral: id == Namespace.client.id)
            id = Namespace.client.id
        } else if id == Namespace.server.id {
            // Something else than content here, and content on a stream between servers: it never goes out as it came.
            flags.insert(.notCanonical)
        }
        var binding = Binding(prefix: prefix, namespace: id, declaration: UInt32(truncatingIfNeeded: attribute), hash: 0, depth: depth)
        if id == Namespace.unknownID { findDeclaration(p, node, &binding, outer) }
        bindings.append(binding)
        if isDefault {
            nodes[open].flags.insert(.declaresDefault)
            defaultNamespace = id
            defaultDeclaration = binding.declaration
            defaultIsForeign = false
        }
    }

    /// Leads an unknown name to its first declaration in scope, so that later two names need not be compared to be told apart.
    private mutating func findDeclaration(_ p: UnsafePointer<UInt8>, _ node: TapeNode, _ binding: inout Binding, _ outer: StreamScope) {
        let declaration = withName(p, node) { outer.unknown(named: $0) }
        if let declaration {
            flags.insert(.usesOuterNamespace)
            binding.declaration = declaration
            return
        }
        let hash = withName(p, node) { NamespaceTable.hash($0) }
        binding.hash = hash
        for other in bindings where other.hash == hash && other.namespace == Namespace.unknownID && other.declaration & StreamScope.outerBit == 0 {
            let isSame = withName(p, node) { name in
                withName(p, nodes[Int(other.declaration)]) { name.elementsEqualFast($0) }
            }
            if isSame {
                binding.declaration = other.declaration
                return
            }
        }
    }

    /// The content namespace is declared inside: bytes that would mean something else on a stream of another content namespace.
    ///
    /// Harmless is only what stands under another namespace, as in a forwarded stanza (XEP-0297), and what a WebSocket client writes
    /// on the stanza itself, which is left out when the start tag is rewritten.
    private mutating func noteContent(isDefault: Bool, isLiteral: Bool) {
        if isDefault, depth == 1 {
            flags.insert(.rootDeclaresContent)
        } else if !isDefault || !isLiteral || defaultNamespace == Namespace.client.id {
            flags.insert(.notCanonical)
        }
    }

    private func lookUp(_ p: UnsafePointer<UInt8>, _ node: TapeNode, _ table: NamespaceTable) -> UInt16 {
        withName(p, node) { table.id(of: $0) }
    }

    /// The name an attribute declares, decoded.
    @inline(__always)
    private func withName<R>(_ p: UnsafePointer<UInt8>, _ node: TapeNode, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        guard node.flags.contains(.encoded) else {
            return body(UnsafeRawBufferPointer(start: p + Int(node.contentStart), count: node.contentRange.count))
        }
        return decoded(p, node).withUnsafeBytes(body)
    }

    private func decoded(_ p: UnsafePointer<UInt8>, _ node: TapeNode) -> [UInt8] {
        let raw = UnsafeBufferPointer(start: p + Int(node.contentStart), count: node.contentRange.count)
        return Decoder.decode(raw.span, isAttribute: true)
    }

    private mutating func unbind(_ outer: StreamScope) {
        var defaultEnds = false
        while let last = bindings.last, last.depth == depth {
            if last.prefix.isEmpty { defaultEnds = true }
            bindings.removeLast()
        }
        guard defaultEnds else { return }
        if let inherited = bindings.last(where: { $0.prefix.isEmpty }) {
            defaultNamespace = inherited.namespace
            defaultDeclaration = inherited.declaration
            defaultIsForeign = false
        } else {
            useOuterDefault(outer)
        }
    }

    private mutating func useOuterDefault(_ outer: StreamScope) {
        defaultNamespace = outer.defaultNamespace
        defaultDeclaration = outer.defaultDeclaration
        defaultIsForeign = outer.defaultNamespace != Namespace.client.id
    }

    private mutating func noteOuter(_ namespace: UInt16, _ index: Int) {
        flags.insert(.notCanonical)
        if namespace == Namespace.unknownID { flags.insert(.usesOuterNamespace) }
    }

    /// Finds the namespace of a prefixed element or attribute.
    private mutating func resolve(_ p: UnsafePointer<UInt8>, _ index: Int, _ outer: StreamScope) throws(XMLError) {
        let prefix = nodes[index].prefixRange
        if equals(p, prefix, "xml") {
            nodes[index].namespace = Namespace.xml.id
            // Allowed on attributes anywhere; on an element it is a prefix like others.
            if index == open { flags.insert(.usesPrefixes) }
            return
        }
        flags.insert(.usesPrefixes)
        if let binding = bindings.last(where: { !$0.prefix.isEmpty && same(p, $0.prefix, prefix) }) {
            nodes[index].namespace = binding.namespace
            nodes[index].declaration = binding.declaration
            return
        }
        let name = UnsafeRawBufferPointer(start: p + prefix.lowerBound, count: prefix.count)
        guard let found = outer.binding(of: name) else { throw .badNamespacePrefix }
        nodes[index].namespace = found.namespace
        nodes[index].declaration = found.declaration
        noteOuter(found.namespace, index)
    }

    /// Prefixed attributes of the innermost element: their namespaces, and none twice (Namespaces in XML 1.0 §6.3).
    private mutating func resolveAttributes(_ p: UnsafePointer<UInt8>, _ outer: StreamScope) throws(XMLError) {
        for index in (open + 1)..<(open + 1 + attributes) {
            let node = nodes[index]
            guard node.prefixLength != 0, !node.flags.contains(.declaration) else { continue }
            try resolve(p, index, outer)
            for other in (open + 1)..<index where isPrefixed(other) && same(p, nodes[other].localRange, node.localRange) {
                if sameNamespace(nodes[other], nodes[index]) { throw .notWellFormed }
            }
        }
    }

    private func isPrefixed(_ index: Int) -> Bool {
        nodes[index].prefixLength != 0 && !nodes[index].flags.contains(.declaration)
    }

    private func sameNamespace(_ a: TapeNode, _ b: TapeNode) -> Bool {
        a.namespace == b.namespace && (a.namespace != Namespace.unknownID || a.declaration == b.declaration)
    }

    // MARK: Bytes

    private mutating func skipSpace(_ p: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int {
        var i = start
        while i < end {
            switch p[i] {
            case 0x20, 0x09, 0x0A: i += 1
            case 0x0D:
                flags.insert(.notCanonical)
                i += 1
            default: return i
            }
        }
        return i
    }

    @inline(__always)
    private func same(_ p: UnsafePointer<UInt8>, _ a: Range<Int>, _ b: Range<Int>) -> Bool {
        guard a.count == b.count else { return false }
        var i = a.lowerBound
        var k = b.lowerBound
        while i < a.upperBound {
            if p[i] != p[k] { return false }
            i += 1
            k += 1
        }
        return true
    }

    private func equals(_ p: UnsafePointer<UInt8>, _ range: Range<Int>, _ literal: StaticString) -> Bool {
        guard range.count == literal.utf8CodeUnitCount else { return false }
        let q = literal.utf8Start
        for k in 0..<range.count where p[range.lowerBound + k] != q[k] { return false }
        return true
    }

    @inline(__always)
    private mutating func append(_ node: TapeNode, _ limits: XMLLimits) throws(XMLError) {
        guard count < limits.nodesMax else { throw .limitExceeded(.nodes) }
        if count == capacity { grow() }
        (nodes + count).initialize(to: node)
        count += 1
    }

    @inline(never)
    private mutating func grow() {
        let larger = UnsafeMutablePointer<TapeNode>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: nodes, count: count)
        nodes.deallocate()
        nodes = larger
        capacity *= 2
    }
}
