extension LDAPFilter {
    /// RFC 4511 §4.5.1.7, by tag.
    private enum Choice: UInt8 {
        case and = 0xA0
        case or = 0xA1
        case not = 0xA2
        case equality = 0xA3
        case substrings = 0xA4
        case greaterOrEqual = 0xA5
        case lessOrEqual = 0xA6
        case present = 0x87
        case approximate = 0xA8
        case extensible = 0xA9
    }

    /// A filter alone, as the value of a control is one (RFC 4528 §3).
    public init(decoding bytes: [UInt8]) throws(LDAPFault) {
        var reader = BERReader(bytes)
        self = try Self(&reader)
        try reader.finish()
    }

    public var encoded: [UInt8] { BERWriter.bytes(write) }

    /// The next element (RFC 4511 §4.5.1.7).
    init(_ reader: inout BERReader) throws(LDAPFault) {
        var nodes = 0
        self = try Self.read(&reader, depth: 1, nodes: &nodes)
    }

    /// - Parameters:
    ///   - depth: of what is read now.
    ///   - nodes: those that have been read.
    private static func read(_ reader: inout BERReader, depth: Int, nodes: inout Int) throws(LDAPFault) -> LDAPFilter {
        guard let tag = reader.nextTag else { throw .missing(tag: nil) }
        guard depth <= LDAPLimits.filterDepthMax else { throw .filterTooDeep(max: LDAPLimits.filterDepthMax) }
        guard nodes < LDAPLimits.filterNodesMax else { throw .tooMany(.filterNodes, max: LDAPLimits.filterNodesMax) }
        nodes += 1
        guard let choice = Choice(rawValue: tag) else { throw .unknownChoice(tag: tag) }
        switch choice {
        case .and: return .and(try parts(&reader, tag, depth: depth, nodes: &nodes))
        case .or: return .or(try parts(&reader, tag, depth: depth, nodes: &nodes))
        case .not:
            var content = try reader.constructed(tag)
            let part = try read(&content, depth: depth + 1, nodes: &nodes)
            try content.finish()
            return .not(part)
        case .present: return .present(try reader.description(tag))
        case .equality, .substrings, .greaterOrEqual, .lessOrEqual, .approximate, .extensible:
            var content = try reader.constructed(tag)
            let item = try item(choice, &content)
            try content.skipUnknown()
            return item
        }
    }

    /// Those of an `and` or `or`, which may have none (RFC 4526 §2).
    private static func parts(_ reader: inout BERReader, _ tag: UInt8, depth: Int, nodes: inout Int) throws(LDAPFault) -> [LDAPFilter] {
        var content = try reader.constructed(tag)
        var parts: [LDAPFilter] = []
        while !content.isAtEnd { parts.append(try read(&content, depth: depth + 1, nodes: &nodes)) }
        return parts
    }

    /// What a SEQUENCE says.
    private static func item(_ choice: Choice, _ content: inout BERReader) throws(LDAPFault) -> LDAPFilter {
        if choice == .extensible { return .extensible(try Extensible(&content)) }
        let attribute = try content.description()
        if choice == .substrings { return .substrings(attribute, try Substrings(&content)) }
        let value = try content.octets()
        switch choice {
        case .equality: return .equality(attribute, value)
        case .greaterOrEqual: return .greaterOrEqual(attribute, value)
        case .lessOrEqual: return .lessOrEqual(attribute, value)
        case .approximate: return .approximate(attribute, value)
        case .and, .or, .not, .present, .substrings, .extensible: preconditionFailure("\(choice) is no attribute with a value")
        }
    }

    func write(_ writer: inout BERWriter) {
        switch self {
        case .and(let parts): writer.list(parts, Choice.and.rawValue) { $1.write(&$0) }
        case .or(let parts): writer.list(parts, Choice.or.rawValue) { $1.write(&$0) }
        case .not(let part): writer.constructed(Choice.not.rawValue, part.write)
        case .equality(let attribute, let value): Self.write(.equality, attribute, value, &writer)
        case .substrings(let attribute, let substrings):
            writer.constructed(Choice.substrings.rawValue) { content in
                content.string(attribute)
                content.constructed(BERTag.sequence, substrings.write)
            }
        case .greaterOrEqual(let attribute, let value): Self.write(.greaterOrEqual, attribute, value, &writer)
        case .lessOrEqual(let attribute, let value): Self.write(.lessOrEqual, attribute, value, &writer)
        case .present(let attribute): writer.string(attribute, Choice.present.rawValue)
        case .approximate(let attribute, let value): Self.write(.approximate, attribute, value, &writer)
        case .extensible(let assertion): writer.constructed(Choice.extensible.rawValue, assertion.write)
        }
    }

    private static func write(_ choice: Choice, _ attribute: String, _ value: [UInt8], _ writer: inout BERWriter) {
        writer.constructed(choice.rawValue) { content in
            content.string(attribute)
            content.octets(value)
        }
    }
}

extension LDAPFilter.Substrings {
    /// RFC 4511 §4.5.1.7.2: at least one, `initial` only first, `final` only last.
    fileprivate init(_ reader: inout BERReader) throws(LDAPFault) {
        self.init()
        var content = try reader.constructed()
        guard !content.isAtEnd else { throw .empty(.substrings) }
        var isFirst = true
        while let tag = content.nextTag {
            guard final == nil else { throw .substringOrder }
            switch tag {
            case BERTag.context(0):
                guard isFirst else { throw .substringOrder }
                initial = try content.octets(tag)
            case BERTag.context(1):
                guard any.count < LDAPLimits.filterNodesMax else { throw .tooMany(.substrings, max: LDAPLimits.filterNodesMax) }
                any.append(try content.octets(tag))
            case BERTag.context(2): final = try content.octets(tag)
            default: throw .unknownChoice(tag: tag)
            }
            isFirst = false
        }
    }

    fileprivate func write(_ writer: inout BERWriter) {
        if let initial { writer.octets(initial, BERTag.context(0)) }
        for value in any { writer.octets(value, BERTag.context(1)) }
        if let final { writer.octets(final, BERTag.context(2)) }
    }
}

extension LDAPFilter.Extensible {
    fileprivate init(_ content: inout BERReader) throws(LDAPFault) {
        let matchingRule = content.isNext(BERTag.context(1)) ? try content.description(BERTag.context(1)) : nil
        let attribute = content.isNext(BERTag.context(2)) ? try content.description(BERTag.context(2)) : nil
        guard matchingRule != nil || attribute != nil else { throw .matchesNothing }
        let value = try content.octets(BERTag.context(3))
        let hasDNAttributes = content.isNext(BERTag.context(4)) ? try content.boolean(BERTag.context(4)) : false
        self.init(matchingRule: matchingRule, attribute: attribute, value: value, hasDNAttributes: hasDNAttributes)
    }

    fileprivate func write(_ writer: inout BERWriter) {
        if let matchingRule { writer.string(matchingRule, BERTag.context(1)) }
        if let attribute { writer.string(attribute, BERTag.context(2)) }
        writer.octets(value, BERTag.context(3))
        if hasDNAttributes { writer.boolean(true, BERTag.context(4)) }
    }
}
