import CExpat
import MartletXML

/// libexpat's opinion about a stream, with what XMPP forbids on top of XML refused by its handlers.
final class ExpatOracle {
    private var trace = Trace()
    private var depth = 0
    private var isRefused = false
    private var isClosed = false
    private var parser: XML_Parser?

    /// The trace of a stream that is accepted up to its end tag; nil if it is refused or does not end.
    static func trace(of bytes: [UInt8]) -> Trace? {
        // Not a matter of expat's handlers: it takes a byte order mark.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { return nil }
        return ExpatOracle().parse(bytes)
    }

    private func parse(_ bytes: [UInt8]) -> Trace? {
        // No character of a document is U+0001, so it cannot be smuggled into a name.
        let parser = XML_ParserCreateNS("UTF-8", 1)
        self.parser = parser
        defer { XML_ParserFree(parser) }
        XML_SetUserData(parser, Unmanaged.passUnretained(self).toOpaque())
        XML_SetElementHandler(
            parser, { ExpatOracle.of($0).start($1, $2) }, { context, _ in ExpatOracle.of(context).end() })
        XML_SetCharacterDataHandler(parser) { ExpatOracle.of($0).text($1, $2) }
        XML_SetCommentHandler(parser) { context, _ in ExpatOracle.of(context).refuse() }
        XML_SetProcessingInstructionHandler(parser) { context, _, _ in ExpatOracle.of(context).refuse() }
        XML_SetStartDoctypeDeclHandler(parser) { context, _, _, _, _ in ExpatOracle.of(context).refuse() }
        XML_SetCdataSectionHandler(parser, { ExpatOracle.of($0).cdata() }, { _ in })
        XML_SetXmlDeclHandler(parser) { context, version, encoding, _ in ExpatOracle.of(context).declaration(version, encoding) }
        bytes.withUnsafeBytes { raw in
            _ = XML_Parse(parser, raw.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(raw.count), 1)
        }
        return isClosed && !isRefused ? trace : nil
    }

    private static func of(_ context: UnsafeMutableRawPointer?) -> ExpatOracle {
        Unmanaged<ExpatOracle>.fromOpaque(context!).takeUnretainedValue()
    }

    private func refuse() {
        isRefused = true
        XML_StopParser(parser, 0)
    }

    private func start(_ name: UnsafePointer<CChar>?, _ attributes: UnsafeMutablePointer<UnsafePointer<CChar>?>?) {
        guard !isRefused, !isClosed else { return }
        depth += 1
        trace.start(Self.bytes(name))
        var next = attributes
        while let name = next?[0] {
            trace.attribute(Self.bytes(name), Self.bytes(next?[1], isName: false))
            next = next?.advanced(by: 2)
        }
    }

    private func end() {
        guard !isRefused, !isClosed else { return }
        depth -= 1
        trace.end()
        if depth == 0 {
            isClosed = true
            XML_StopParser(parser, 0)
        }
    }

    private func text(_ text: UnsafePointer<CChar>?, _ length: Int32) {
        guard !isRefused, !isClosed, let text else { return }
        let bytes = UnsafeRawBufferPointer(start: text, count: Int(length))
        if depth > 1 {
            trace.text(bytes)
        } else if isReference || !bytes.allSatisfy({ [0x20, 0x09, 0x0A, 0x0D].contains($0) }) {
            refuse()
        }
    }

    /// Whether the token of the event now being reported begins with `&`: white space between stanzas must be white space in the bytes.
    private var isReference: Bool {
        var offset: Int32 = 0
        var size: Int32 = 0
        guard let context = XML_GetInputContext(parser, &offset, &size), offset < size else { return false }
        return context[Int(offset)] == CChar(UInt8(ascii: "&"))
    }

    private func cdata() {
        if depth <= 1 { refuse() }
    }

    private func declaration(_ version: UnsafePointer<CChar>?, _ encoding: UnsafePointer<CChar>?) {
        if let version, String(cString: version) != "1.0" { refuse() }
        if let encoding, String(cString: encoding).lowercased() != "utf-8" { refuse() }
    }

    private static func bytes(_ string: UnsafePointer<CChar>?, isName: Bool = true) -> [UInt8] {
        guard let string else { return [] }
        var bytes: [UInt8] = []
        var next = string
        while next.pointee != 0 {
            bytes.append(UInt8(bitPattern: next.pointee))
            next += 1
        }
        return bytes
    }
}
