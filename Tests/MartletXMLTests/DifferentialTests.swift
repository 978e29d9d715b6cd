import Foundation
import MartletXML
import NIOCore
import Testing

/// Our verdict and tree against libexpat's, on captures that have been damaged at random.
@Suite struct DifferentialTests {
    /// Inputs in one run. Release builds take seconds for all; debug builds get a tenth.
    static var inputs: Int {
        #if DEBUG
        20_000
        #else
        200_000
        #endif
    }

    @Test("every capture is accepted, and read as expat reads it (XML 1.0 §2.1)")
    func captures() throws {
        let captures = try Project.captures()
        #expect(captures.count >= 10)
        for (name, bytes) in captures {
            let expected = try #require(ExpatOracle.trace(of: bytes), "\(name)")
            for outcome in outcomes(of: bytes) { #expect(outcome == .closed(expected), "\(name)") }
        }
    }

    @Test("damaged captures are accepted and refused as by expat, with the same tree, whole and in pieces (XML 1.0, Namespaces in XML 1.0)")
    func mutations() throws {
        var mutator = Mutator(captures: try Project.captures().map(\.bytes), seed: 0x4D61_7274_6C65_74)
        var accepted = 0
        var disagreements: [String] = []
        for _ in 0..<Self.inputs {
            let bytes = mutator.next()
            let expected = ExpatOracle.trace(of: bytes)
            let pieces = (0..<8).map { _ in Int.random(in: 1...40, using: &mutator.random) }
            for ours in [outcome(of: bytes), outcome(of: bytes, pieces: pieces)] {
                let isSame = if case .closed(let trace) = ours { trace == expected } else { expected == nil }
                if !isSame { disagreements.append("\(String(decoding: bytes, as: UTF8.self))\n  expat: \(expected?.description ?? "-")\n  ours: \(ours)") }
            }
            if expected != nil { accepted += 1 }
            if disagreements.count > 3 { break }
        }
        for disagreement in disagreements.prefix(3) { Issue.record("\(disagreement)") }
        // Neither all nor none: the mutations must stay near the border.
        #expect(accepted > Self.inputs / 10 && accepted < Self.inputs * 9 / 10, "\(accepted)")
    }

    @Test("above ASCII, a character is in names what it is to expat (XML 1.0, fourth edition, Appendix B)")
    func nameCharacters() {
        for scalar in (0x80...0x2FFFF as ClosedRange<UInt32>).compactMap(Unicode.Scalar.init) where scalar.value < 0x3100 || scalar.value % 7 == 0 || (0xD700...0x10010).contains(scalar.value) {
            for name in ["\(Character(scalar))", "a\(Character(scalar))"] {
                let bytes = Array("<s><\(name)/></s>".utf8)
                let isOurs = if case .closed = outcome(of: bytes) { true } else { false }
                if isOurs != (ExpatOracle.trace(of: bytes) != nil) { Issue.record("U+\(String(scalar.value, radix: 16)) \(name.count)") }
            }
        }
    }
}

/// Damages captures: near enough to XMPP that much of it is still well-formed.
struct Mutator {
    private let captures: [(header: [UInt8], stanzas: [[UInt8]])]
    var random: Seeded

    private static let snippets: [String] = [
        "<", ">", "&", "'", "\"", "/", "=", ":", " ", "\t", "\n", "\r", "\r\n", "]]>", "]]", "]", "<![CDATA[", "<![CDATA[x]]>", "<!--c-->", "<?pi?>",
        "<!DOCTYPE a>", "&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&foo;", "&#10;", "&#13;", "&#9;", "&#x20AC;", "&#0;", "&#xD800;", "&#xFFFE;",
        "&#x10FFFF;", "&#x110000;", "&#;", "&#x;", "&", "<a/>", "</a>", "<a>", "<a:b/>", " xmlns=''", " xmlns='urn:a'", " xmlns='jabber:client'",
        " xmlns:a='urn:a'", " xmlns:b='urn:a'", " a:x='1' b:x='2'", " xmlns:c=''", " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
        " xmlns:xml='urn:a'", " xmlns:d='http://www.w3.org/XML/1998/namespace'", " xmlns:xmlns='urn:a'", " xmlns='http://www.w3.org/2000/xmlns/'",
        " xmlns:e='http://www.w3.org/2000/xmlns/'", " xml:lang='en'", " x='1'", " x='2'", " y=\"a'b\"", "stream:", "xml:", "xmlns:", "a:", "\u{0}", "\u{1}",
        "\u{7F}", "\u{85}", "é", "ß", "名", "😀", "\u{FFFD}", "\u{FFFE}", "\u{FFFF}", "\u{300}", "·", "-", ".", "0", "<?xml version='1.0'?>",
    ]
    private static let bytes: [[UInt8]] = [
        [0xC0, 0x80], [0xC1, 0xBF], [0xED, 0xA0, 0x80], [0xE0, 0x80, 0x80], [0xF0, 0x80, 0x80, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF5], [0xFF], [0x80],
        [0xE2, 0x82], [0xEF, 0xBF, 0xBE], [0xEF, 0xBB, 0xBF], [0xF0, 0x9F, 0x98],
    ]

    init(captures: [[UInt8]], seed: UInt64) {
        self.captures = captures.map { Self.split($0) }
        random = Seeded(seed)
    }

    /// A header and one to three stanzas of one capture with, mostly, one to four wounds.
    mutating func next() -> [UInt8] {
        guard let capture = captures.randomElement(using: &random) else { return [] }
        var body: [UInt8] = []
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            // Long ones now and then only, so that many inputs fit into the time.
            guard let stanza = capture.stanzas.randomElement(using: &random) else { continue }
            if stanza.count < 1000 || Int.random(in: 0..<20, using: &random) == 0 { body += stanza }
        }
        var text = Int.random(in: 0..<8, using: &random) == 0 ? [] : capture.header
        let start = text.count
        text += body
        if text.count == body.count { text = capture.header + body }
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            wound(&text, from: Int.random(in: 0..<10, using: &random) == 0 ? 0 : min(start, text.count))
        }
        return text + Array("</stream:stream>".utf8)
    }

    private mutating func wound(_ text: inout [UInt8], from start: Int) {
        guard start < text.count else { return }
        let place = Int.random(in: start..<text.count, using: &random)
        let end = min(text.count, place + Int.random(in: 1...12, using: &random))
        switch Int.random(in: 0..<9, using: &random) {
        case 0: text[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: text.removeSubrange(place..<end)
        case 2: text.insert(contentsOf: text[place..<end], at: Int.random(in: start..<text.count, using: &random))
        case 3: text.replaceSubrange(place..<min(place + 1, text.count), with: Self.bytes.randomElement(using: &random) ?? [])
        case 4: text[place] = UInt8.random(in: 0x20...0x7E, using: &random)
        case 5, 6: text.insert(contentsOf: Array((Self.snippets.randomElement(using: &random) ?? "").utf8), at: place)
        default: insertWhereItFits(&text, from: start)
        }
    }

    /// Puts a snippet where it has a chance: an attribute before `>`, anything else behind one.
    private mutating func insertWhereItFits(_ text: inout [UInt8], from start: Int) {
        let ends = text[start...].indices.filter { text[$0] == UInt8(ascii: ">") }
        guard let end = ends.randomElement(using: &random), let snippet = Self.snippets.randomElement(using: &random) else { return }
        let isAttribute = snippet.hasPrefix(" ") && snippet.count > 1
        let before = text[end - 1] == UInt8(ascii: "/") ? end - 1 : end
        text.insert(contentsOf: Array(snippet.utf8), at: isAttribute ? before : end + 1)
    }

    /// The header, and what stands between it and the end of the stream, by element.
    private static func split(_ capture: [UInt8]) -> (header: [UInt8], stanzas: [[UInt8]]) {
        var stanzas: [[UInt8]] = []
        _ = outcome(of: capture) { stanzas.append(Array(buffer: $0.bytes)) }
        guard let first = stanzas.first, let text = String(bytes: capture, encoding: .utf8),
            let range = text.range(of: String(decoding: first, as: UTF8.self))
        else { return (capture, []) }
        return (Array(text[..<range.lowerBound].utf8), stanzas)
    }
}
