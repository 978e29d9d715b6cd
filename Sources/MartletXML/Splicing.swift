public import NIOCore

extension ByteBuffer {
    /// The bytes of an element with one more attribute.
    ///
    /// - Parameters:
    ///   - name: of an attribute that the element does not have.
    ///   - value: UTF-8.
    ///   - place: where the name of the element ends.
    public func inserting(_ name: StaticString, _ value: UnsafeRawBufferPointer, at place: Int) -> ByteBuffer {
        var result = ByteBufferAllocator().buffer(capacity: readableBytes + name.utf8CodeUnitCount + value.count + 4)
        result.append(self, inserting: name, value, at: place)
        return result
    }

    /// Appends the bytes of an element with one more attribute, as ``inserting(_:_:at:)`` gives them.
    public mutating func append(_ element: ByteBuffer, inserting name: StaticString, _ value: UnsafeRawBufferPointer, at place: Int) {
        if XMLWriter.needsEscaping(value) { return appendEscaping(element, inserting: name, value, at: place) }
        element.withUnsafeReadableBytes { bytes in
            append(atMost: bytes.count + name.utf8CodeUnitCount + value.count + 4) { cursor in
                cursor.put(UnsafeRawBufferPointer(rebasing: bytes[..<place]))
                cursor.put(" ")
                cursor.put(name)
                cursor.put("='")
                cursor.put(value)
                cursor.put("'")
                cursor.put(UnsafeRawBufferPointer(rebasing: bytes[place...]))
            }
        }
    }

    private mutating func appendEscaping(
        _ element: ByteBuffer, inserting name: StaticString, _ value: UnsafeRawBufferPointer, at place: Int
    ) {
        var writer = XMLWriter()
        writer.open("x", .client)
        let start = writer.buffer.writerIndex
        writer.attribute(name, utf8: value)
        let attribute = writer.buffer.getSlice(at: start, length: writer.buffer.writerIndex - start) ?? ByteBuffer()
        var (head, tail) = (element, element)
        head.moveWriterIndex(to: element.readerIndex + place)
        tail.moveReaderIndex(forwardBy: place)
        for piece in [head, attribute, tail] { writeImmutableBuffer(piece) }
    }
}

extension XMLWriter {
    /// A stanza as it came, between the addresses that the server gives it: whatever the sender wrote for `from` and `to` is left out, the
    /// rest is copied as it is.
    ///
    /// This is how nearly every stanza leaves the server. It is allowed for the canonical subset only; what the stanza declares on its start
    /// tag stays there, but for the content namespace, which is declared only where this writer is not in it.
    ///
    /// - Parameters:
    ///   - from: UTF-8; nothing if the attribute is to be left out.
    ///   - to: as `from`.
    /// - Returns: false if the stanza has to be written anew; then nothing was written.
    public mutating func splice(_ stanza: FlatElement, from: UnsafeRawBufferPointer, to: UnsafeRawBufferPointer) -> Bool {
        splice(stanza, from: from, to: to, withEnd: true)
    }

    /// The same with what `add` writes behind the last child, in the content namespace.
    public mutating func splice(
        _ stanza: FlatElement, from: UnsafeRawBufferPointer, to: UnsafeRawBufferPointer, adding add: (inout XMLWriter) -> Void
    ) -> Bool {
        let outer = scope
        guard splice(stanza, from: from, to: to, withEnd: false) else { return false }
        scope = .known(.client)
        add(&self)
        endStartTag()
        scope = outer
        spliceEnd(of: stanza)
        return true
    }

    private mutating func splice(_ stanza: FlatElement, from: UnsafeRawBufferPointer, to: UnsafeRawBufferPointer, withEnd: Bool) -> Bool {
        guard stanza.storage.header.flags.isDisjoint(with: .notCanonical), !Self.needsEscaping(from), !Self.needsEscaping(to) else {
            return false
        }
        return stanza.storage.withTape { tape in
            let (root, bytes) = (tape[0], tape.bytes)
            guard root.prefixLength == 0, root.namespace == Namespace.client.id else { return false }
            endStartTag()
            let declares = scope != .known(.client)
            let roomMax = bytes.count + from.count + to.count + Self.spliceMarkupBytes
            buffer.append(atMost: roomMax) { cursor in
                cursor.put("<")
                cursor.put(tape[root.nameRange])
                if declares { cursor.put(" xmlns='jabber:client'") }
                Self.put(" from='", from, in: &cursor)
                Self.put(" to='", to, in: &cursor)
                let rest = Self.putAttributes(of: root, tape, in: &cursor)
                if withEnd { return cursor.put(tape[rest..<bytes.count]) }
                guard root.flags.contains(.selfClosing) else { return cursor.put(tape[rest..<Int(root.contentEnd)]) }
                cursor.put(tape[rest..<(bytes.count - 2)])
                cursor.put(">")
            }
            return true
        }
    }

    /// The end tag as it came; one that was `/>` in the start tag is written.
    private mutating func spliceEnd(of stanza: FlatElement) {
        stanza.storage.withTape { tape in
            let (root, name) = (tape[0], tape[tape[0].nameRange])
            let tag = root.flags.contains(.selfClosing) ? nil : tape[Int(root.contentEnd)..<tape.bytes.count]
            buffer.append(atMost: tag?.count ?? name.count + 3) { cursor in
                if let tag { return cursor.put(tag) }
                cursor.put("</")
                cursor.put(name)
                cursor.put(">")
            }
        }
    }

    /// What is written besides the bytes and the addresses: ` xmlns='jabber:client'`, ` from=''`, ` to=''`.
    private static let spliceMarkupBytes = 40

    @inline(__always)
    private static func put(_ beginning: StaticString, _ value: UnsafeRawBufferPointer, in cursor: inout ByteCursor) {
        guard value.count > 0 else { return }
        cursor.put(beginning)
        cursor.put(value)
        cursor.put("'")
    }

    /// The attributes that stay, in as few pieces as possible. Where the bytes go on that have not been copied.
    @inline(__always)
    private static func putAttributes(
        of root: TapeNode, _ tape: Tape, in cursor: inout ByteCursor
    ) -> Int {
        var copied = root.nameRange.upperBound
        var end = copied
        var index = 1
        while index < tape.nodes.count, tape[index].kind == .attribute {
            let node = tape[index]
            if isReplaced(node, tape) {
                if copied < end { cursor.put(tape[copied..<end]) }
                copied = Int(node.end)
            }
            end = Int(node.end)
            index += 1
        }
        return copied
    }

    /// `from`, `to`, and the declaration of the default namespace, which on a stanza is that of the content namespace.
    @inline(__always)
    private static func isReplaced(_ node: TapeNode, _ tape: Tape) -> Bool {
        guard node.prefixLength == 0 else { return false }
        switch node.localLength {
        case 2: return tape.isLocal(node, "to")
        case 4: return tape.isLocal(node, "from")
        case 5: return node.flags.contains(.declaration)
        default: return false
        }
    }
}
