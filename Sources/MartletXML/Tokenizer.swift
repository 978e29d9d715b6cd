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
    /// A bit for each name that an attribute of the innermost start tag has: most names are known to be new without comparing them.
    private var attributeNames: UInt64 = 0
    private var hasPrefixedAttributes = false
    private var quoteMark: UInt8 = 0
    private var textStart = 0
    private var textFlags: TapeNode.Flags = []
    private var bindings = BindingStack()
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
        bindings.removeAll()
        useOuterDefault(outer)
    }

    /// The tape so far, until the tokenizer is used again.
    var tape: UnsafeBufferPointer<TapeNode> { UnsafeBufferPointer(start: nodes, count: count) }

    /// Reads on. True: the element is complete and ends at `position`. False: more bytes are needed.
    ///
    /// `bytes` begins with the `<` of the element at every call, and holds at least what it held before.
    mutating func run(
        _ bytes: UnsafeRawBufferPointer, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        guard let base = bytes.baseAddress else { return false }
        let p = base.assumingMemoryBound(to: UInt8.self)
        let end = bytes.count
        while true {
            let advanced: Bool
            switch mode {
            case .text: advanced = try text(p, end, limits)
            case .markup: advanced = try markup(p, end, limits, table, outer, content)
            case .tag: advanced = try startTag(p, end, limits, table, outer, content)
            case .equals: advanced = try equals(p, end)
            case .quote: advanced = try quote(p, end)
            case .value: advanced = try value(p, end, limits, table, outer, content)
            case .cdata: advanced = try cdata(p, end, limits)
            case .endTag: advanced = try endTag(p, end, outer)
            case .complete: return true
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
        default: return try startTag(p, end, limits, table, outer, content)
        }
    }

    @inline(__always)
    private mutating func startTagName(_ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits) throws(XMLError) -> Bool {
        guard let name = try Self.name(p, position + 1, end, limits) else { return false }
        guard depth < limits.depthMax else { throw .limitExceeded(.depth) }
        guard elements < limits.elementsMax else { throw .limitExceeded(.elements) }
        var node = TapeNode(.element, start: position, contentStart: 0, next: open)
        node.prefixLength = name.prefixLength
        node.localLength = name.localLength
        open = count
        try append(node, limits)
        elements &+= 1
        depth &+= 1
        attributeNames = 0
        hasPrefixedAttributes = false
        position = name.end
        mode = .tag
        return true
    }

    /// A start tag: its name if that has not been read, attributes, and the end of the tag.
    @inline(never)
    private mutating func startTag(
        _ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        if mode == .markup {
            guard try startTagName(p, end, limits) else { return false }
        }
        while true {
            let plain = cscan_attribute(p + position, end &- position)
            guard plain.name > 0, plain.name <= limits.nameBytesMax else { break }
            let name = Name(prefixLength: 0, localLength: UInt16(truncatingIfNeeded: plain.name), end: position &+ 1 &+ plain.name)
            let valueStart = name.end &+ 2
            let valueEnd = valueStart &+ plain.value
            let isDeclaration = try appendAttribute(p, position &+ 1, name, valueStart: valueStart, valueEnd: valueEnd, limits)
            position = valueEnd &+ 1
            if isDeclaration {
                markDeclaration()
                try bind(p, limits, table, outer, content)
            }
        }
        guard position < end else { return false }
        let isEmpty = p[position] == UInt8(ascii: "/")
        let last = isEmpty ? position &+ 1 : position
        guard last < end, p[last] == UInt8(ascii: ">") else { return try restOfTag(p, end, limits) }
        position = last &+ 1
        try finishStartTag(p, isEmpty: isEmpty, outer)
        return true
    }

    /// In front of the end of the tag, or the name of an attribute that is not written as most are.
    @inline(never)
    private mutating func restOfTag(_ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits) throws(XMLError) -> Bool {
        let i = skipSpace(p, position, end)
        let spaced = i > position
        // The last white space is looked at again, so that it is known to be there.
        let stay = spaced ? i &- 1 : i
        guard i < end else {
            position = stay
            return false
        }
        if p[i] == UInt8(ascii: ">") || p[i] == UInt8(ascii: "/") {
            position = i
            guard p[i] == UInt8(ascii: "/") else { return true }
            guard i + 1 < end else { return false }
            guard p[i + 1] == UInt8(ascii: ">") else { throw .notWellFormed }
            return true
        }
        guard spaced else { throw .notWellFormed }
        guard let name = try Self.name(p, i, end, limits) else {
            position = stay
            return false
        }
        if try appendAttribute(p, i, name, valueStart: 0, valueEnd: 0, limits) { markDeclaration() }
        position = name.end
        mode = .equals
        return true
    }

    /// Adds an attribute of the innermost start tag; what is behind the name may still be to come. Whether it declares a namespace.
    @inline(__always)
    private mutating func appendAttribute(
        _ p: UnsafePointer<UInt8>, _ start: Int, _ name: Name, valueStart: Int, valueEnd: Int, _ limits: XMLLimits
    ) throws(XMLError) -> Bool {
        guard count &- open <= limits.attributesMax else { throw .limitExceeded(.attributes) }
        let bit = 1 as UInt64 &<< UInt64(p[start] &+ p[name.end &- 1])
        if attributeNames & bit != 0 { try refuseDuplicate(p, start..<name.end) }
        attributeNames |= bit
        var node = TapeNode(.attribute, start: start, contentStart: valueStart, next: count &+ 1)
        node.prefixLength = name.prefixLength
        node.localLength = name.localLength
        node.contentEnd = UInt32(truncatingIfNeeded: valueEnd)
        node.end = UInt32(truncatingIfNeeded: valueEnd &+ 1)
        try append(node, limits)
        if name.prefixLength == 0 { return name.localLength == 5 && Self.equals(p, node.localRange, "xmlns") }
        if Self.equals(p, node.prefixRange, "xmlns") { return true }
        hasPrefixedAttributes = true
        return false
    }

    /// The attribute last added declares a namespace.
    @inline(__always)
    private mutating func markDeclaration() {
        nodes[count - 1].flags = .declaration
        nodes[count - 1].namespace = Namespace.xmlns.id
    }

    /// No attribute twice (XML 1.0 §3.1). By expanded name it is checked at the end of the tag, when all prefixes are known.
    ///
    /// It changes nothing; as one that might, it is not handed a copy of the tokenizer.
    @inline(never)
    private mutating func refuseDuplicate(_ p: UnsafePointer<UInt8>, _ name: Range<Int>) throws(XMLError) {
        for index in (open &+ 1)..<count where Self.same(p, nodes[index].nameRange, name) {
            throw .notWellFormed
        }
    }

    @inline(never)
    private mutating func equals(_ p: UnsafePointer<UInt8>, _ end: Int) throws(XMLError) -> Bool {
        position = skipSpace(p, position, end)
        guard position < end else { return false }
        guard p[position] == UInt8(ascii: "=") else { throw .notWellFormed }
        position += 1
        mode = .quote
        return true
    }

    @inline(never)
    private mutating func quote(_ p: UnsafePointer<UInt8>, _ end: Int) throws(XMLError) -> Bool {
        position = skipSpace(p, position, end)
        guard position < end else { return false }
        let mark = p[position]
        guard mark == UInt8(ascii: "'") || mark == UInt8(ascii: "\"") else { throw .notWellFormed }
        startValue(mark, position + 1)
        return true
    }

    @inline(__always)
    private mutating func startValue(_ mark: UInt8, _ start: Int) {
        quoteMark = mark
        nodes[count - 1].contentStart = UInt32(truncatingIfNeeded: start)
        position = start
        mode = .value
    }

    /// An attribute's value up to its quote (XML 1.0 §2.3 [10]).
    @inline(never)
    private mutating func value(
        _ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) -> Bool {
        var i = position &+ cscan_value(p + position, end &- position, quoteMark)
        if i >= end || p[i] != quoteMark {
            i = try restOfValue(p, i, end)
            guard i < end else { return false }
        }
        let node = nodes + (count - 1)
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
            if byte < 0x80 { nodes[count - 1].flags.insert(.encoded) }
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
        if scope == .element, !outer.headerName.isEmpty, Self.equals(p, nodes[index].localRange, "stream") { throw .secondHeader }
    }

    // MARK: End tags

    @inline(__always)
    private mutating func endTagName(_ p: UnsafePointer<UInt8>, _ end: Int, _ outer: StreamScope) throws(XMLError) -> Bool {
        guard depth > 0 else { throw .notWellFormed }
        let name = nodes[open].nameRange
        let start = position &+ 2
        let arrived = min(name.count, end &- start)
        guard cscan_same(p + start, p + name.lowerBound, arrived) else { throw .notWellFormed }
        guard arrived == name.count else { return false }
        nodes[open].contentEnd = UInt32(truncatingIfNeeded: position)
        position = start &+ arrived
        mode = .endTag
        return try endTag(p, end, outer)
    }

    @inline(__always)
    private mutating func endTag(_ p: UnsafePointer<UInt8>, _ end: Int, _ outer: StreamScope) throws(XMLError) -> Bool {
        if position < end, p[position] != UInt8(ascii: ">") { position = skipSpace(p, position, end) }
        guard position < end else { return false }
        guard p[position] == UInt8(ascii: ">") else { throw .notWellFormed }
        position &+= 1
        close(contentEnd: Int(nodes[open].contentEnd), outer)
        return true
    }

    @inline(__always)
    private mutating func close(contentEnd: Int, _ outer: StreamScope) {
        let parent = Int(nodes[open].next)
        finish(open, contentEnd: contentEnd)
        if bindings.innermostDepth == depth { unbind(outer) }
        depth &-= 1
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

    @inline(__always)
    private mutating func text(_ p: UnsafePointer<UInt8>, _ end: Int, _ limits: XMLLimits) throws(XMLError) -> Bool {
        guard position < end else { return false }
        mode = .markup
        if p[position] == UInt8(ascii: "<"), position == textStart { return true }
        var i = position &+ cscan_text(p + position, end &- position)
        if i >= end || p[i] != UInt8(ascii: "<") {
            i = try restOfText(p, i, end)
            guard i < end else {
                mode = .text
                return false
            }
        }
        try appendText(upTo: i, limits)
        position = i
        return true
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

    @inline(never)
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

    @inline(never)
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
            let predefined = Characters.predefinedLength(p, i, end)
            if predefined > 0 {
                textFlags.insert(.encoded)
                return predefined
            }
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
    private static func name(_ p: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ limits: XMLLimits) throws(XMLError) -> Name? {
        // One byte more than a name may have: whoever gets there is too long, in however many pieces it comes.
        let stop = min(end, start &+ limits.nameBytesMax &+ 1)
        guard start < stop else { return nil }
        let i = start &+ cscan_name(p + start, stop &- start)
        // Name characters from 0x40 on are those that may begin a name.
        guard i > start, i < stop, p[start] >= 0x40, p[i] < 0x80, p[i] != UInt8(ascii: ":") else { return try otherName(p, start, stop, limits) }
        return Name(prefixLength: 0, localLength: UInt16(truncatingIfNeeded: i &- start), end: i)
    }

    /// The same for names with a prefix or with characters above ASCII.
    @inline(never)
    private static func otherName(_ p: UnsafePointer<UInt8>, _ start: Int, _ stop: Int, _ limits: XMLLimits) throws(XMLError) -> Name? {
        var i = start
        var colon: Int?
        var isFirst = true
        while i < stop {
            let run = cscan_name(p + i, stop - i)
            if run > 0 {
                if isFirst, !cscan_is_name_start(p[i]) { throw .notWellFormed }
                i += run
                isFirst = false
            } else if p[i] >= 0x80 {
                guard let length = try wideNameCharacter(p, i, stop, isFirst: isFirst) else { return try unfinished(start, stop, limits) }
                i += length
                isFirst = false
            } else if isFirst {
                throw .notWellFormed
            } else if p[i] == UInt8(ascii: ":"), colon == nil {
                colon = i
                i += 1
                isFirst = true
            } else {
                let local = colon.map { $0 + 1 } ?? start
                return Name(
                    prefixLength: UInt16(truncatingIfNeeded: colon.map { $0 - start } ?? 0),
                    localLength: UInt16(truncatingIfNeeded: i - local), end: i)
            }
        }
        return try unfinished(start, stop, limits)
    }

    private static func unfinished(_ start: Int, _ stop: Int, _ limits: XMLLimits) throws(XMLError) -> Name? {
        guard stop - start <= limits.nameBytesMax else { throw .limitExceeded(.nameBytes) }
        return nil
    }

    private static func wideNameCharacter(_ p: UnsafePointer<UInt8>, _ i: Int, _ end: Int, isFirst: Bool) throws(XMLError) -> Int? {
        guard let length = try Characters.sequence(p, i, end) else { return nil }
        let scalar = Characters.scalar(p, i, length)
        guard isFirst ? Characters.isNameStart(scalar) : Characters.isName(scalar) else { throw .notWellFormed }
        return length
    }

    /// Takes the namespace declaration that has just been read (Namespaces in XML 1.0 §3, §5).
    @inline(never)
    private mutating func bind(
        _ p: UnsafePointer<UInt8>, _ limits: XMLLimits, _ table: NamespaceTable, _ outer: StreamScope, _ content: UInt16
    ) throws(XMLError) {
        guard bindings.count < limits.namespacesMax else { throw .limitExceeded(.namespaces) }
        let attribute = count - 1
        let node = nodes + attribute
        let value = UnsafeRawBufferPointer(start: p + Int(node.pointee.contentStart), count: node.pointee.contentRange.count)
        let id = node.pointee.flags.contains(.encoded) ? decodedID(p, node.pointee, table) : table.id(of: value)
        var binding = BindingStack.Binding(prefix: 0..<0, namespace: id, declaration: UInt32(truncatingIfNeeded: attribute), hash: 0, depth: depth)
        let isDefault = node.pointee.prefixLength == 0
        if !isDefault {
            binding.prefix = node.pointee.localRange
            if Self.equals(p, binding.prefix, "xml") {
                guard id == Namespace.xml.id else { throw .notWellFormed }
                flags.insert(.notCanonical)
                return
            }
            guard !value.isEmpty, !Self.equals(p, binding.prefix, "xmlns") else { throw .notWellFormed }
        }
        guard id != Namespace.xml.id, id != Namespace.xmlns.id else { throw .notWellFormed }
        if id == content || id == Namespace.client.id {
            noteContent(isDefault: isDefault, isLiteral: id == Namespace.client.id)
            binding.namespace = Namespace.client.id
        } else if id == Namespace.server.id {
            // Something else than content here, and content on a stream between servers: it never goes out as it came.
            flags.insert(.notCanonical)
        } else if id == Namespace.unknownID {
            findDeclaration(p, node.pointee, &binding, outer)
        }
        bindings.append(binding)
        if isDefault {
            nodes[open].flags.insert(.declaresDefault)
            useDefault(binding)
        }
    }

    @inline(never)
    private func decodedID(_ p: UnsafePointer<UInt8>, _ node: TapeNode, _ table: NamespaceTable) -> UInt16 {
        decoded(p, node).withUnsafeBytes { table.id(of: $0) }
    }

    @inline(__always)
    private mutating func useDefault(_ binding: BindingStack.Binding) {
        defaultNamespace = binding.namespace
        defaultDeclaration = binding.declaration
        defaultIsForeign = false
    }

    /// Leads an unknown name to its first declaration in scope, so that later two names need not be compared to be told apart.
    @inline(never)
    private mutating func findDeclaration(_ p: UnsafePointer<UInt8>, _ node: TapeNode, _ binding: inout BindingStack.Binding, _ outer: StreamScope) {
        let declaration = withName(p, node) { outer.unknown(named: $0) }
        if let declaration {
            flags.insert(.usesOuterNamespace)
            binding.declaration = declaration
            return
        }
        let hash = withName(p, node) { NamespaceTable.hash($0) }
        binding.hash = hash
        for index in 0..<bindings.count {
            let other = bindings[index]
            guard other.hash == hash, other.namespace == Namespace.unknownID, other.declaration & StreamScope.outerBit == 0 else { continue }
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

    /// The name an attribute declares, decoded.
    @inline(__always)
    private func withName<R>(_ p: UnsafePointer<UInt8>, _ node: TapeNode, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        guard node.flags.contains(.encoded) else {
            return body(UnsafeRawBufferPointer(start: p + Int(node.contentStart), count: node.contentRange.count))
        }
        return decoded(p, node).withUnsafeBytes(body)
    }

    @inline(never)
    private func decoded(_ p: UnsafePointer<UInt8>, _ node: TapeNode) -> [UInt8] {
        let raw = UnsafeBufferPointer(start: p + Int(node.contentStart), count: node.contentRange.count)
        return Decoder.decode(raw.span, isAttribute: true)
    }

    /// Forgets what the innermost element declared.
    @inline(never)
    private mutating func unbind(_ outer: StreamScope) {
        while bindings.innermostDepth == depth { bindings.removeLast() }
        guard nodes[open].flags.contains(.declaresDefault) else { return }
        var index = bindings.count
        while index > 0 {
            index &-= 1
            if bindings[index].prefix.isEmpty { return useDefault(bindings[index]) }
        }
        useOuterDefault(outer)
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
        if Self.equals(p, prefix, "xml") {
            nodes[index].namespace = Namespace.xml.id
            // Allowed on attributes anywhere; on an element it is a prefix like others.
            if index == open { flags.insert(.usesPrefixes) }
            return
        }
        flags.insert(.usesPrefixes)
        for inner in (0..<bindings.count).reversed() where Self.same(p, bindings[inner].prefix, prefix) {
            nodes[index].namespace = bindings[inner].namespace
            nodes[index].declaration = bindings[inner].declaration
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
        for index in (open + 1)..<count {
            let node = nodes[index]
            guard node.prefixLength != 0, !node.flags.contains(.declaration) else { continue }
            try resolve(p, index, outer)
            for other in (open + 1)..<index where isPrefixed(other) && Self.same(p, nodes[other].localRange, node.localRange) {
                if Self.sameNamespace(nodes[other], nodes[index]) { throw .notWellFormed }
            }
        }
    }

    private func isPrefixed(_ index: Int) -> Bool {
        nodes[index].prefixLength != 0 && !nodes[index].flags.contains(.declaration)
    }

    private static func sameNamespace(_ a: TapeNode, _ b: TapeNode) -> Bool {
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
    private static func same(_ p: UnsafePointer<UInt8>, _ a: Range<Int>, _ b: Range<Int>) -> Bool {
        a.count == b.count && cscan_same(p + a.lowerBound, p + b.lowerBound, a.count)
    }

    @inline(__always)
    private static func equals(_ p: UnsafePointer<UInt8>, _ range: Range<Int>, _ literal: StaticString) -> Bool {
        range.count == literal.utf8CodeUnitCount && cscan_same(p + range.lowerBound, literal.utf8Start, range.count)
    }

    @inline(__always)
    private mutating func append(_ node: TapeNode, _ limits: XMLLimits) throws(XMLError) {
        guard count < limits.nodesMax else { throw .limitExceeded(.nodes) }
        if count == capacity { grow() }
        (nodes + count).initialize(to: node)
        count &+= 1
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
