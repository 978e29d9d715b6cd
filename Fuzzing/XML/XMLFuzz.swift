import MartletXML
import NIOCore

/// The first byte says how the rest is cut into pieces. It trusts nothing of the parser's answers:
///
/// - whole and in pieces, a stream gives the same elements and the same error, and so does a document that is read part by part;
/// - what was accepted is accepted again after it has been written anew, and means the same;
/// - canonical bytes are written as they came;
/// - what is written anew is as long as was said before, and is marked where that is longer than may be; parts of the rest grow no more than
///   by what quotation marks are written as.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: data + 1, count: size - 1))
    let piece = 1 + Int(data[0]) % 16
    let whole = read(bytes, piece: bytes.count)
    let pieces = read(bytes, piece: piece)
    precondition(whole.elements == pieces.elements && whole.error == pieces.error, "the pieces matter")
    let document = readDocument(bytes, piece: bytes.count)
    let documentInPieces = readDocument(bytes, piece: piece)
    precondition(document.elements == documentInPieces.elements && document.error == documentInPieces.error, "the pieces of a document matter")
    for element in whole.flat + document.flat {
        let written = element.rewritten()
        if element.isCanonical { precondition(written == element.bytes, "canonical bytes were changed") }
        guard let again = try? parseElement(written, limits: XMLLimits(stanzaBytesMax: 1 << 24, nodesMax: 1 << 20, namespacesMax: 1 << 12)) else {
            preconditionFailure("what was written is not accepted")
        }
        precondition(Element(again.root) == Element(element.root), "what was written means something else")
        checkLength(of: element, written)
    }
    return 0
}

private func checkLength(of element: FlatElement, _ written: ByteBuffer) {
    let bytesMax = XMLLimits.unauthenticated.stanzaBytesMax
    let counted = element.rewrittenByteCount(upTo: .max) ?? .max
    // Below a start tag that says only what is in scope anyway, bytes are copied.
    if !element.isCanonical, element.root.declaredDefaultNamespace == nil {
        precondition(written.readableBytes == counted, "another number of bytes was written than was counted")
    }
    precondition((element.rewrittenByteCount(upTo: bytesMax) == nil) == (counted > bytesMax), "the bound moves the count")
    if element.isTooLongRewritten {
        precondition(counted > bytesMax, "what fits is marked as too long")
        return
    }
    precondition(written.readableBytes <= "&apos;".utf8.count * bytesMax, "what is not marked is too long")
    // What is in `xml:` passes the namespace around it on to what is in it.
    for part in element.children where !part.isIn(.xml) {
        var writer = XMLWriter(contentNamespace: .none)
        writer.append(part)
        let declaration = " xmlns=''".utf8.count + "&quot;".utf8.count * part.namespaceName.utf8.count
        precondition(writer.buffer.readableBytes <= "&apos;".utf8.count * bytesMax + declaration, "a part is longer than the whole may be")
    }
}

private struct Reading {
    var flat: [FlatElement] = []
    var elements: [ByteBuffer] = []
    var error: XMLError?
}

private func read(_ bytes: [UInt8], piece: Int) -> Reading {
    var reading = Reading()
    var parser = XMLStreamParser(limits: .unauthenticated)
    var rest = bytes[...]
    do {
        while !rest.isEmpty {
            var input = ByteBuffer(bytes: rest.prefix(piece))
            rest = rest.dropFirst(piece)
            while let event = try parser.next(from: &input) {
                guard case .element(let element) = event else { continue }
                reading.flat.append(element)
                reading.elements.append(element.rewritten())
            }
        }
    } catch {
        reading.error = error
    }
    return reading
}

/// Everything down to the third level is a container.
private func readDocument(_ bytes: [UInt8], piece: Int) -> Reading {
    var reading = Reading()
    var parser = XMLDocumentParser(limits: .unauthenticated) { _, path in path.count < 3 }
    var rest = bytes[...]
    do {
        while !rest.isEmpty {
            var input = ByteBuffer(bytes: rest.prefix(piece))
            rest = rest.dropFirst(piece)
            while let event = try parser.next(from: &input) {
                guard case .element(let element) = event else { continue }
                reading.flat.append(element)
                reading.elements.append(element.rewritten())
            }
        }
    } catch {
        reading.error = error
    }
    return reading
}
