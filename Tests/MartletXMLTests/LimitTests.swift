import MartletXML
import NIOCore
import Testing

/// Each limit on both sides, whole and in pieces (RFC 6120 §13.12).
@Suite struct LimitTests {
    private func check(
        _ limit: XMLError.Limit, _ limits: XMLLimits, fits: String, exceeds: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for outcome in outcomes(of: Array((GrammarTests.header + fits + "</stream:stream>").utf8), limits: limits) {
            let isClosed = if case .closed = outcome { true } else { false }
            #expect(isClosed, "\(outcome)", sourceLocation: sourceLocation)
        }
        for outcome in outcomes(of: Array((GrammarTests.header + exceeds + "</stream:stream>").utf8), limits: limits) {
            #expect(outcome == .refused(.limitExceeded(limit)), sourceLocation: sourceLocation)
        }
    }

    private func limits(_ change: (inout XMLLimits) -> Void) -> XMLLimits {
        var limits = XMLLimits.none
        change(&limits)
        return limits
    }

    @Test("stanza bytes, counted from < to >") func stanzaBytes() {
        let limits = limits { $0.stanzaBytesMax = 20 }
        check(.stanzaBytes, limits, fits: "  <a>0123456789012</a>  ", exceeds: "<a>01234567890123</a>")
        check(.stanzaBytes, limits, fits: "<a/>", exceeds: "<a b='" + String(repeating: "x", count: 50))
        check(.stanzaBytes, limits, fits: "<a/>", exceeds: "<a>" + String(repeating: " ", count: 50))
    }

    @Test("header bytes") func headerBytes() {
        let limits = limits { $0.headerBytesMax = 30 }
        for outcome in outcomes(of: Array("<a b='\(String(repeating: "x", count: 21))'/>".utf8), limits: limits) { #expect(outcome != .refused(.limitExceeded(.headerBytes))) }
        for outcome in outcomes(of: Array("<a b='\(String(repeating: "x", count: 22))'/>".utf8), limits: limits) { #expect(outcome == .refused(.limitExceeded(.headerBytes))) }
    }

    @Test("depth") func depth() {
        check(.depth, limits { $0.depthMax = 3 }, fits: "<a><a><a/><a></a></a></a>", exceeds: "<a><a><a><a/></a></a></a>")
    }

    @Test("attributes of one element, declarations included") func attributes() {
        check(.attributes, limits { $0.attributesMax = 3 }, fits: "<a b='' c='' xmlns='u'><d b='' c='' e=''/></a>", exceeds: "<a b='' c='' xmlns='u' d=''/>")
    }

    @Test("elements of one stanza") func elements() {
        check(.elements, limits { $0.elementsMax = 3 }, fits: "<a><b/><c/></a><a><b/><c/></a>", exceeds: "<a><b/><c/><d/></a>")
    }

    @Test("nodes of one stanza") func nodes() {
        check(.nodes, limits { $0.nodesMax = 4 }, fits: "<a b=''>x<c/></a>", exceeds: "<a b=''>x<c/>y</a>")
        check(.nodes, limits { $0.nodesMax = 4 }, fits: "<a><![CDATA[x]]><![CDATA[]]>y</a>", exceeds: "<a>" + String(repeating: "<![CDATA[x]]>", count: 4) + "</a>")
    }

    @Test("namespace declarations in scope") func namespaces() {
        check(.namespaces, limits { $0.namespacesMax = 3 }, fits: "<a xmlns='u'><b xmlns:x='v' xmlns:y='w'/><b xmlns:x='v' xmlns:y='w'/></a>", exceeds: "<a xmlns='u'><b xmlns:x='v' xmlns:y='w'><c xmlns='z'/></b></a>")
    }

    @Test("bytes of a name, complete or not") func nameBytes() {
        let limits = limits { $0.nameBytesMax = 14 }
        check(.nameBytes, limits, fits: "<a2345678901234/>", exceeds: "<a23456789012345/>")
        check(.nameBytes, limits, fits: "<a b2345678901234=''/>", exceeds: "<a b23456789012345=''/>")
        check(.nameBytes, limits, fits: "<a/>", exceeds: "<" + String(repeating: "a", count: 50))
    }

    @Test("bytes of a reference, which XML does not bound (XML 1.0 §4.1)") func references() {
        check(.nameBytes, .none, fits: "<a>&#" + String(repeating: "0", count: 40) + "65;</a>", exceeds: "<a>&#" + String(repeating: "0", count: 80) + "65;</a>")
    }

    @Test("before authentication every limit is lower or the same")
    func unauthenticated() {
        let low = XMLLimits.unauthenticated
        let high = XMLLimits.authenticated
        #expect(low.stanzaBytesMax == 16_384 && low.headerBytesMax == 16_384 && low.depthMax == 32 && low.elementsMax == 256)
        #expect(low.attributesMax <= high.attributesMax && low.nodesMax < high.nodesMax && low.namespacesMax <= high.namespacesMax)
        #expect(high.stanzaBytesMax >= 10_000)
    }

    @Test("a long stanza that arrives byte by byte costs linear time (reliability rule 7)")
    func linearTime() throws {
        for (before, after, filler) in [
            ("<a>", "</a>", "x"), ("<a b='", "'/>", "x"), ("<a>", "</a>", "]"), ("<a b='", "'/>", ">"), ("<a>", "</a>", "&#65;"), ("<a ", "/>", " "),
            ("<a b", "=''/>", " "), ("<a b=", "''/>", " "), ("<a></a", ">", " "), ("<a><![CDATA[", "]]></a>", "]"), ("<a>", "</a>", "é"),
        ] {
            let stanza = before + String(repeating: filler, count: 40_000 / filler.utf8.count) + after
            let clock = ContinuousClock()
            let time = clock.measure { _ = outcome(of: Array((GrammarTests.header + stanza).utf8), pieces: [1]) }
            // Some hundredths of a second are usual; looking at everything again for each byte would take minutes.
            #expect(time < .seconds(20), "\(before) \(filler)")
        }
    }

    @Test("deep elements are parsed, written, copied, compared and freed without recursion (reliability rule 6)")
    func deep() throws {
        let depth = 20_000
        let text = String(repeating: "<a x='1'>", count: depth) + String(repeating: "</a>", count: depth)
        let flat = try parseElement(ByteBuffer(string: text), limits: .none)
        let tree = Element(flat.root)
        #expect(tree == Element(flat.root))
        var writer = XMLWriter()
        writer.append(tree)
        #expect(writer.buffer.readableBytes > depth * 9)
        let odd = try parseElement(ByteBuffer(string: "<b>&#13;" + text + "</b>"), limits: .none)
        #expect(!odd.isCanonical && odd.rewritten().readableBytes > depth * 9)
    }
}
