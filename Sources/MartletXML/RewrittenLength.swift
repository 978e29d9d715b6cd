/// How long an element becomes that is written anew, before anything is written.
///
/// The writer declares a namespace at each change of namespace, where the sender may have declared it once, under a prefix. So a short stanza
/// may become a very long one, and what does is told when it comes: whoever routes or keeps it need not think of it.
extension FlatElement {
    /// Whether this, written anew, would be longer than the parser lets elements be.
    ///
    /// Asked of what is outside the canonical subset or uses prefixes, of which parts are written anew; of nothing else. An element or
    /// a part of it takes no more room than ``XMLLimits/stanzaBytesMax`` then, but for the declaration of its own namespace.
    @inlinable public var isTooLongRewritten: Bool { storage.header.flags.contains(.tooLongRewritten) }

    /// How many bytes ``XMLWriter`` writes, node by node, where the content namespace is in scope; `nil` if those are more than `bytesMax`.
    ///
    /// One pass over the tape, which ends where there are too many.
    public func rewrittenByteCount(upTo bytesMax: Int) -> Int? { RewrittenLength(storage).measure(upTo: bytesMax) }
}

extension FlatStorage {
    /// Notes what ``FlatElement/isTooLongRewritten`` says. Before anybody else sees the element.
    func markIfTooLongRewritten(_ bytesMax: Int) {
        guard !header.flags.isDisjoint(with: [.notCanonical, .usesPrefixes]), RewrittenLength(self).measure(upTo: bytesMax) == nil else { return }
        object.withUnsafeMutablePointerToHeader { header in _ = header.pointee.flags.insert(.tooLongRewritten) }
    }
}

/// What the writer does with a tape, in numbers of bytes.
private struct RewrittenLength {
    /// Equal names have equal declarations where both are in scope.
    private struct Name: Equatable {
        var namespace: UInt16
        var declaration: UInt32 = 0

        init(_ node: TapeNode) {
            namespace = node.namespace
            if namespace == Namespace.unknownID { declaration = node.declaration }
        }

        init(_ namespace: Namespace) { self.namespace = namespace.id }
    }

    private let storage: FlatStorage
    private var count = 0
    /// What is open: the index of the first node behind it, and the default namespace in it.
    private var open: [(end: Int, scope: Name)] = []

    init(_ storage: FlatStorage) { self.storage = storage }

    consuming func measure(upTo bytesMax: Int) -> Int? {
        var position = 0
        let end = Int(storage.node(0).next)
        while position < end {
            while let last = open.last, last.end <= position { open.removeLast() }
            let node = storage.node(position)
            switch node.kind {
            case .element: position = addTags(of: node, at: position)
            case .text:
                count += storage.withText(node) { XMLWriter.escapedByteCount($0, isAttribute: false) }
                position += 1
            case .attribute: position += 1
            }
            guard count <= bytesMax else { return nil }
        }
        return count
    }

    /// - Returns: where the content begins.
    private mutating func addTags(of node: TapeNode, at index: Int) -> Int {
        let outer = open.last?.scope ?? Name(.client)
        var (name, scope) = (Int(node.localLength), outer)
        if node.namespace == Namespace.xml.id {
            name += "xml:".utf8.count
        } else {
            scope = Name(node)
            if scope != outer { count += " xmlns=''".utf8.count + nameByteCount(node) }
        }
        let content = addAttributes(from: index + 1, to: Int(node.next))
        let isEmpty = content == Int(node.next)
        count += isEmpty ? "</>".utf8.count + name : "<></>".utf8.count + 2 * name
        if !isEmpty { open.append((Int(node.next), scope)) }
        return content
    }

    private mutating func addAttributes(from start: Int, to end: Int) -> Int {
        var position = start
        var prefixes = 0
        while position < end {
            let node = storage.node(position)
            guard node.kind == .attribute else { break }
            position += 1
            if node.flags.contains(.declaration) { continue }
            count += " =''".utf8.count + Int(node.localLength) + storage.withValue(node) { XMLWriter.escapedByteCount($0, isAttribute: true) }
            if node.prefixLength == 0 { continue }
            if node.namespace == Namespace.xml.id {
                count += "xml:".utf8.count
            } else {
                prefixes += 1
                count += " xmlns:=''".utf8.count + ":".utf8.count + 2 * "ns\(prefixes)".utf8.count + nameByteCount(node)
            }
        }
        return position
    }

    /// Of the namespace, as it stands in a declaration.
    private func nameByteCount(_ node: TapeNode) -> Int {
        guard node.namespace == Namespace.unknownID else { return Namespace(id: node.namespace).literal.utf8CodeUnitCount }
        return storage.withValue(storage.node(Int(node.declaration))) { XMLWriter.escapedByteCount($0, isAttribute: true) }
    }
}
