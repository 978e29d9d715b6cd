package import MartletXML
import NIOCore

/// What a received element has to be, written as XML.
///
/// Elements are compared by what they mean: prefixes, the order of attributes and the order of children do not matter;
/// neither does white space between children. Everything the pattern does not have must not be there either, except
/// what a server may add to any stanza: `xml:lang` (RFC 6120 §8.1.5), `<stanza-id/>` (XEP-0359), in rooms
/// `<occupant-id/>` (XEP-0421) and `<mav/>` (XEP-0463), and to presence that there is no avatar (XEP-0398 §5, XEP-0153 §3.1).
/// In attributes and text, braces say what `ValuePattern` tells.
/// - `…` among the children of an element allows it any further content.
/// - The attribute `_` is not compared; it holds words: `…` allows further attributes, `optional` says that the element
///   may be missing, `absent` that no such element may be there.
package struct StanzaPattern: Hashable, Sendable {
    private var localName: String
    private var namespaceName: String
    private var attributes: [Attribute] = []
    private var allowsMoreAttributes = false
    private var allowsMoreContent = false
    private var occurrence = Occurrence.required
    private var text: ValuePattern
    private var children: [StanzaPattern] = []

    /// Whether the element may be missing.
    package var isOptional: Bool { occurrence == .optional }

    private struct Attribute: Hashable, Sendable {
        var localName: String
        var namespaceName: String
        var value: ValuePattern
    }

    private enum Occurrence: Hashable, Sendable {
        case required, optional, absent
    }

    /// The patterns of a block, in order. `jabber:client` is the default namespace, `stream` the prefix of streams.
    ///
    /// A stream header is written as an empty `<stream:stream/>`.
    package static func patterns(_ block: String) throws(ConversationPatternError) -> [StanzaPattern] {
        var patterns: [StanzaPattern] = []
        for element in try elements(block) { patterns.append(try StanzaPattern(element)) }
        return patterns
    }

    private static func elements(_ block: String) throws(ConversationPatternError) -> [ElementView] {
        let wrapped =
            "<block xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + block + "</block>"
        do {
            let element = try parseElement(ByteBuffer(string: wrapped), limits: .authenticated)
            return Array(element.root.children)
        } catch {
            throw .badXML("\(error)")
        }
    }

    // MARK: Reading

    private init(_ element: ElementView) throws(ConversationPatternError) {
        localName = element.localName
        namespaceName = element.namespaceName
        let content = element.text
        children = []
        for child in element.children { children.append(try StanzaPattern(child)) }
        allowsMoreContent = content.contains("…")
        text = try ValuePattern(content)
        for attribute in element.attributes {
            if attribute.localName == "_", attribute.namespaceName.isEmpty {
                try readMark(attribute.value)
            } else {
                attributes.append(
                    Attribute(
                        localName: attribute.localName, namespaceName: attribute.namespaceName,
                        value: try ValuePattern(attribute.value)))
            }
        }
    }

    private mutating func readMark(_ words: String) throws(ConversationPatternError) {
        for word in words.split(separator: " ") {
            switch word {
            case "…": allowsMoreAttributes = true
            case "optional": occurrence = .optional
            case "absent": occurrence = .absent
            default: throw .badXML("the mark '_' does not know '\(word)'")
            }
        }
    }

    // MARK: Matching

    /// The first thing in which the element is not what the pattern says, or nil if it is. Only a match captures.
    package func mismatch(
        _ element: ElementView, _ names: inout ConversationNames
    ) throws(ConversationPatternError) -> String? {
        var tried = names
        if let reason = try mismatch(element, path: localName, &tried) { return reason }
        names = tried
        return nil
    }

    private func mismatch(
        _ element: ElementView, path: String, _ names: inout ConversationNames
    ) throws(ConversationPatternError) -> String? {
        guard element.localName == localName, element.namespaceName == namespaceName else {
            return "\(path): it is <\(element.localName) xmlns='\(element.namespaceName)'>"
        }
        if let reason = try attributeMismatch(element, path: path, &names) { return reason }
        if let reason = try textMismatch(element, path: path, &names) { return reason }
        return try childMismatch(element, path: path, &names)
    }

    private func attributeMismatch(
        _ element: ElementView, path: String, _ names: inout ConversationNames
    ) throws(ConversationPatternError) -> String? {
        let present = Array(element.attributes)
        for expected in attributes {
            let value = present.first {
                $0.localName == expected.localName && $0.namespaceName == expected.namespaceName
            }?.value
            guard try expected.value.matches(value, &names) else {
                return "\(path): the attribute \(expected.localName) is \(value.map { "'\($0)'" } ?? "not there")"
            }
        }
        guard !allowsMoreAttributes else { return nil }
        let extra = present.first { attribute in
            let isExpected = attributes.contains {
                $0.localName == attribute.localName && $0.namespaceName == attribute.namespaceName
            }
            return !isExpected && attribute.namespaceName != Namespace.xml.name
        }
        return extra.map { "\(path): it has the attribute \($0.localName)='\($0.value)'" }
    }

    private func textMismatch(
        _ element: ElementView, path: String, _ names: inout ConversationNames
    ) throws(ConversationPatternError) -> String? {
        guard !allowsMoreContent else { return nil }
        let value = element.text
        guard children.isEmpty else {
            return value.allSatisfy(\.isWhitespace) ? nil : "\(path): it has the text '\(value)'"
        }
        return try text.matches(value, &names) ? nil : "\(path): the text is '\(value)'"
    }

    private func childMismatch(
        _ element: ElementView, path: String, _ names: inout ConversationNames
    ) throws(ConversationPatternError) -> String? {
        let present = Array(element.children)
        for unwanted in children where unwanted.occurrence == .absent {
            for child in present where try unwanted.mismatch(child, &names) == nil {
                return "\(path): it has the child \(unwanted.localName) that must be absent"
            }
        }
        var search = ChildSearch(present: present, allowsMore: allowsMoreContent, path: path)
        return try search.assign(children.filter { $0.occurrence != .absent }[...], &names) ? nil : search.reason
    }

    /// Finds for every child pattern a child of its own.
    private struct ChildSearch {
        var present: [ElementView]
        var allowsMore: Bool
        var path: String
        var taken: Set<Int> = []
        /// Of the attempt that came furthest.
        var reason = ""
        private var reasonDepth = -1

        init(present: [ElementView], allowsMore: Bool, path: String) {
            self.present = present
            self.allowsMore = allowsMore
            self.path = path
        }

        mutating func assign(
            _ patterns: ArraySlice<StanzaPattern>, _ names: inout ConversationNames
        ) throws(ConversationPatternError) -> Bool {
            guard let pattern = patterns.first else { return isNothingLeft }
            var nearest: String?
            for index in present.indices where !taken.contains(index) {
                var tried = names
                if let reason = try pattern.mismatch(present[index], path: path + "/" + pattern.localName, &tried) {
                    if nearest == nil || present[index].localName == pattern.localName { nearest = reason }
                    continue
                }
                taken.insert(index)
                if try assign(patterns.dropFirst(), &tried) {
                    names = tried
                    return true
                }
                taken.remove(index)
            }
            if pattern.occurrence == .optional { return try assign(patterns.dropFirst(), &names) }
            note(nearest ?? "\(path): the child \(pattern.localName) is missing")
            return false
        }

        private var isNothingLeft: Bool {
            mutating get {
                let extra = present.indices.first { !taken.contains($0) && !Self.isServersOwn(present[$0]) }
                guard !allowsMore, let extra else { return true }
                note("\(path): it has the child <\(present[extra].localName) xmlns='\(present[extra].namespaceName)'>")
                return false
            }
        }

        private static func isServersOwn(_ element: ElementView) -> Bool {
            switch element.localName {
            case "stanza-id": element.namespaceName == "urn:xmpp:sid:0"
            case "occupant-id": element.namespaceName == "urn:xmpp:occupant-id:0"
            case "mav": element.namespaceName == "urn:xmpp:muc:affiliations:1"
            case "x": element.namespaceName == "vcard-temp:x:update" && tellsOfNoAvatar(element)
            default: false
            }
        }

        private static func tellsOfNoAvatar(_ update: ElementView) -> Bool {
            let children = Array(update.children)
            return children.map(\.localName) == ["photo"] && children[0].text.isEmpty
        }

        private mutating func note(_ text: String) {
            guard taken.count > reasonDepth else { return }
            reasonDepth = taken.count
            reason = text
        }
    }
}
