import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

/// What is wrong with a document, and ends its reading.
package enum PortableFault: Error, Hashable, Sendable {
    case xml(XMLError)
    /// The root is not `<server-data/>`.
    case notServerData
    /// `<include/>` of XInclude: one file has to have everything.
    case include
    /// A host or a user without a name, or within something else.
    case missing(String)
    /// The document ends before its root does.
    case incomplete
}

/// Reads a document of accounts (§4), whatever its length: what it holds in memory is one piece.
package struct PortableReader: ~Copyable {
    package enum Event: Hashable, Sendable {
        /// An account begins. The name is as it was written.
        case began(User)
        case keys(Result<ScramKeys, ScramKeysError>)
        /// The account must not log in where it comes from.
        case isDisabled
        case piece(PortablePiece)
        /// Something nobody here knows, by its name.
        case skipped(String)
        case ended
    }

    package struct User: Hashable, Sendable {
        package let domain: String
        package let name: String
        /// In plain text (§4.2).
        package let password: String?
    }

    private var parser: XMLDocumentParser
    private var domain = ""

    package init() {
        parser = XMLDocumentParser(limits: PortableAccounts.limits) { Self.isContainer($0, $1) }
    }

    /// Bytes that have been understood.
    package var usedByteCount: Int { parser.usedByteCount }

    private static func isContainer(_ tag: ElementView, _ path: [FlatElement]) -> Bool {
        switch path.count {
        case 0: tag.isNamed("server-data", .portable)
        case 1: tag.isNamed("host", .portable)
        case 2: tag.isNamed("user", .portable)
        case 3: place(of: tag) != nil || tag.isNamed("pubsub", .pubsub)
        case 4: path[3].isNamed("pubsub", .pubsub) && tag.isNamed("items", .pubsub)
        default: false
        }
    }

    /// Where the pieces are that a container in an account has.
    private static func place(of tag: ElementView) -> PortablePiece.Place? {
        if tag.isNamed("query", .roster) { return .roster }
        if tag.isNamed("query", .privateStorage) { return .privateStorage }
        if tag.isNamed("pubsub", .pubsubOwner) { return .nodeOwnership }
        if tag.isNamed("archive", .portableArchive) { return .archive }
        if tag.isNamed("offline-messages", .portable) { return .offlineMessages }
        return nil
    }

    /// The next event, or `nil` if more bytes are needed; `input` is empty then.
    package mutating func next(from input: inout ByteBuffer) throws(PortableFault) -> Event? {
        while true {
            let event: XMLDocumentParser.Event?
            do throws(XMLError) { event = try parser.next(from: &input) } catch { throw .xml(error) }
            guard let event else { return nil }
            switch event {
            case .opened(let tag): if let begun = try opened(tag) { return begun }
            case .element(let element): if let event = try self.element(element) { return event }
            case .closed: if parser.path.count == 2 { return .ended }
            }
        }
    }

    /// There are no more bytes.
    package borrowing func finish() throws(PortableFault) {
        guard parser.isComplete else { throw .incomplete }
    }

    private mutating func opened(_ tag: FlatElement) throws(PortableFault) -> Event? {
        switch parser.path.count {
        case 2:
            guard let name = tag.attribute("jid") else { throw .missing("a host has a jid") }
            domain = name
            return nil
        case 3:
            guard let name = tag.attribute("name") else { throw .missing("a user of \(domain) has a name") }
            return .began(User(domain: domain, name: name, password: tag.attribute("password")))
        default: return nil
        }
    }

    /// Includes are taken for what they are as far as users are concerned; below, they are somebody's data (§5).
    private func element(_ element: FlatElement) throws(PortableFault) -> Event? {
        let path = parser.path
        if path.count <= 3, element.isNamed("include", .xInclude) { throw .include }
        if element.isTooLongRewritten { return .skipped(Self.name(of: element)) }
        switch path.count {
        case 0: throw .notServerData
        case 1, 2: return .skipped(Self.name(of: element))
        case 3: return Self.piece(of: element)
        case 4: return Self.place(of: path[3].root).map { .piece(PortablePiece($0, xml: Self.text(of: element))) } ?? .skipped(Self.name(of: element))
        default:
            guard let node = path[4].attribute("node"), !node.isEmpty else { return .skipped("items of a node without a name") }
            return .piece(PortablePiece(.nodeItems, node: node, xml: Self.text(of: element)))
        }
    }

    /// What is directly in an account.
    private static func piece(of element: FlatElement) -> Event {
        if element.isNamed("scram-credentials", .portableKeys) {
            return .keys(Result { () throws(ScramKeysError) in try PortableAccounts.keys(element.root) })
        }
        if element.isNamed("account", .accountState) {
            return element.attribute("disabled") == "true" ? .isDisabled : .skipped(name(of: element))
        }
        let isKnown =
            element.isNamed("vCard", .vCard) || isStanza(element, "presence") || element.isNamed("query", .privacyLists)
            || element.isNamed("blocklist", .blocking) || element.isNamed("prefs", .archive)
        return isKnown ? .piece(PortablePiece(.account, xml: text(of: element))) : .skipped(name(of: element))
    }

    /// Prosody leaves out the namespace of stanzas (§4.8), which then are in the one around them.
    private static func isStanza(_ element: FlatElement, _ local: StaticString) -> Bool {
        element.isNamed(local, .client) || element.isNamed(local, .portable)
    }

    private static func text(of element: FlatElement) -> String {
        var writer = XMLWriter(contentNamespace: .none)
        if element.root.isIn(.portable) { writer.append(inClientNamespace(element)) } else { writer.append(element) }
        return String(buffer: writer.buffer)
    }

    private static func inClientNamespace(_ stanza: FlatElement) -> Element {
        let tree = Element(stanza.root)
        var pending = [tree]
        while let next = pending.popLast() {
            if next.namespaceName == Namespace.portable.name { next.namespaceName = Namespace.client.name }
            pending += next.children
        }
        return tree
    }

    /// Longest name that is told, in characters.
    private static let nameMax = 120

    private static func name(of element: FlatElement) -> String {
        String("<\(element.localName) xmlns='\(element.root.namespaceName)'>".prefix(nameMax))
    }
}
