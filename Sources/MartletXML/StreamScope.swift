/// The namespaces declared on a stream's header, which its stanzas inherit, and the name that will close it.
///
/// Immutable. Nearly every stream declares the same two, so nearly every connection shares one object.
final class StreamScope: Sendable {
    private struct Outer {
        var prefix: [UInt8]
        var namespace: UInt16
        var name: [UInt8]
    }

    /// Marks `TapeNode.declaration` as an index into what is declared outside the element.
    static let outerBit: UInt32 = 1 << 31

    private let declared: [Outer]
    /// For each of them the first with the same name: equal names have equal declarations.
    private let first: [Int]
    /// Qualified name of the header, which its end tag must repeat.
    let headerName: [UInt8]
    let defaultNamespace: UInt16
    let defaultDeclaration: UInt32

    /// `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`; on a stream of
    /// servers `jabber:server` reads the same.
    static let usual = StreamScope(
        [
            Outer(prefix: [], namespace: Namespace.client.id, name: Array("jabber:client".utf8)),
            Outer(prefix: Array("stream".utf8), namespace: Namespace.streams.id, name: Array("http://etherx.jabber.org/streams".utf8)),
        ], headerName: Array("stream:stream".utf8))

    private init(_ declared: [Outer], headerName: [UInt8]) {
        self.declared = declared
        self.headerName = headerName
        let first = declared.map { one in declared.firstIndex { $0.name == one.name } ?? 0 }
        self.first = first
        let index = declared.firstIndex { $0.prefix.isEmpty }
        defaultNamespace = index.map { declared[$0].namespace } ?? Namespace.none.id
        defaultDeclaration = index.map { Self.outerBit | UInt32(first[$0]) } ?? 0
    }

    /// Nothing is declared.
    static let none = StreamScope([], headerName: [])

    /// Nothing but a default namespace: the surroundings of a document that stands alone.
    static func document(_ defaultNamespace: Namespace) -> StreamScope {
        switch defaultNamespace {
        case .client: .usualDocument
        case .none: .none
        default: StreamScope([Outer(prefix: [], namespace: defaultNamespace.id, name: Array(defaultNamespace.name.utf8))], headerName: [])
        }
    }

    private static let usualDocument = StreamScope(
        [Outer(prefix: [], namespace: Namespace.client.id, name: Array("jabber:client".utf8))], headerName: [])

    /// What is declared on an element that is read part by part, and what was declared around it and is not declared anew.
    static func of(container: FlatElement, within outer: StreamScope) -> StreamScope {
        let own = declarations(on: container, content: .client)
        let inherited = outer.declared.filter { one in !own.contains { $0.prefix == one.prefix } }
        return StreamScope(own + inherited, headerName: Array(container.root.qualifiedName.utf8))
    }

    private static func declarations(on header: FlatElement, content: Namespace) -> [Outer] {
        header.root.namespaceDeclarations.map { declaration in
            let known = header.known(declaration.name)
            let isContent = known == content || known == .client
            return Outer(
                prefix: Array(declaration.prefix.utf8), namespace: isContent ? Namespace.client.id : known?.id ?? Namespace.unknownID,
                name: Array(declaration.name.utf8))
        }
    }

    static func of(header: FlatElement, content: Namespace) -> StreamScope {
        let declared = declarations(on: header, content: content)
        let made = StreamScope(declared, headerName: Array(header.root.qualifiedName.utf8))
        return made.isUsual ? .usual : made
    }

    private var isUsual: Bool {
        let usual = Self.usual
        return headerName == usual.headerName && declared.count == usual.declared.count
            && usual.declared.allSatisfy { one in declared.contains { $0.prefix == one.prefix && $0.namespace == one.namespace } }
    }

    func binding(of prefix: UnsafeRawBufferPointer) -> (namespace: UInt16, declaration: UInt32)? {
        guard let index = declared.firstIndex(where: { !$0.prefix.isEmpty && $0.prefix.elementsEqual(prefix) }) else { return nil }
        return (declared[index].namespace, Self.outerBit | UInt32(first[index]))
    }

    /// The declaration of a name that is not in the table.
    func unknown(named name: UnsafeRawBufferPointer) -> UInt32? {
        guard let index = declared.firstIndex(where: { $0.namespace == Namespace.unknownID && $0.name.elementsEqual(name) }) else { return nil }
        return Self.outerBit | UInt32(index)
    }

    /// The namespace that was declared outside, or nil if `declaration` is a node of the element.
    func name(declaredAt declaration: UInt32) -> [UInt8]? {
        guard declaration & Self.outerBit != 0 else { return nil }
        let index = Int(declaration & ~Self.outerBit)
        return index < declared.count ? declared[index].name : nil
    }
}
