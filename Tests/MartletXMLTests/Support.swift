import Foundation
import MartletXML
import NIOCore

/// SplitMix64: the same numbers in every run.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Files of the project that tests read.
enum Project {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Whole streams in one direction, as real clients and servers send them.
    static func captures() throws -> [(name: String, bytes: [UInt8])] {
        try files(in: "Fixtures/captures").filter { $0.name.hasSuffix(".xml") }
    }

    /// The files of a folder, by name; none if there is no such folder.
    static func files(in folder: String) throws -> [(name: String, bytes: [UInt8])] {
        let url = root.appendingPathComponent(folder).resolvingSymlinksInPath()
        guard FileManager.default.fileExists(atPath: url.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(at: url, includingPropertiesForKeys: nil)
            .sorted { $0.lastPathComponent < $1.lastPathComponent }
            .map { ($0.lastPathComponent, Array(try Data(contentsOf: $0))) }
    }
}

/// Bounds nothing reaches, for tests that are about grammar.
extension XMLLimits {
    static let none = XMLLimits(
        stanzaBytesMax: 1 << 24, headerBytesMax: 1 << 24, depthMax: 30_000, attributesMax: 10_000, elementsMax: 1 << 20, nodesMax: 1 << 21,
        namespacesMax: 10_000, nameBytesMax: 30_000)
}

/// What a stream means, written down so that two parsers' views can be compared byte by byte.
///
/// A start tag is `(namespace \u{1} local`, an attribute `@namespace \u{1} local = value`, text `"text`, an end tag `)`; text is put
/// together, white space between stanzas left out.
struct Trace: Equatable {
    var bytes: [UInt8] = []
    var isInText = false

    mutating func start(_ name: some Sequence<UInt8>) {
        isInText = false
        bytes.append(UInt8(ascii: "("))
        bytes += name
        bytes.append(2)
    }

    mutating func attribute(_ name: some Sequence<UInt8>, _ value: some Sequence<UInt8>) {
        bytes.append(UInt8(ascii: "@"))
        bytes += name
        bytes.append(UInt8(ascii: "="))
        bytes += value
        bytes.append(2)
    }

    mutating func text(_ text: some Collection<UInt8>) {
        guard !text.isEmpty else { return }
        if !isInText { bytes.append(UInt8(ascii: "\"")) }
        isInText = true
        bytes += text
    }

    mutating func end() {
        isInText = false
        bytes.append(UInt8(ascii: ")"))
    }

    mutating func add(startTagOf view: ElementView) {
        start(Self.name(view.namespaceName, view.localName))
        for attribute in view.attributes {
            self.attribute(Self.name(attribute.namespaceName, attribute.localName), attribute.value.utf8)
        }
    }

    /// The whole element, without recursion.
    mutating func add(_ view: ElementView) {
        add(startTagOf: view)
        var path = [view.content.makeIterator()]
        while !path.isEmpty {
            guard let piece = path[path.count - 1].next() else {
                end()
                path.removeLast()
                continue
            }
            switch piece {
            case .text(let text): self.text(Array(text.utf8))
            case .element(let child):
                add(startTagOf: child)
                path.append(child.content.makeIterator())
            }
        }
    }

    static func of(_ view: ElementView) -> Trace {
        var trace = Trace()
        trace.add(view)
        return trace
    }

    private static func name(_ namespace: String, _ local: String) -> [UInt8] {
        guard !namespace.isEmpty else { return Array(local.utf8) }
        return Array(namespace.utf8) + [1] + Array(local.utf8)
    }

    var description: String { String(decoding: bytes.map { $0 == 1 ? UInt8(ascii: "|") : $0 == 2 ? UInt8(ascii: ";") : $0 }, as: UTF8.self) }
}

/// What came of a stream.
enum Outcome: Equatable {
    /// It was closed by its own end tag.
    case closed(Trace)
    case incomplete
    case refused(XMLError)
}

/// Parses a whole stream that arrives in pieces of the given sizes; the last size is used again and again.
func outcome(
    of bytes: some Collection<UInt8>, pieces: [Int] = [.max], limits: XMLLimits = .none, content: Namespace = .client,
    each: (FlatElement) -> Void = { _ in }
) -> Outcome {
    var parser = XMLStreamParser(limits: limits, contentNamespace: content)
    var trace = Trace()
    var rest = bytes[...]
    var pieces = pieces[...]
    do {
        repeat {
            let size = pieces.count > 1 ? pieces.removeFirst() : pieces.first ?? .max
            var input = ByteBuffer(bytes: rest.prefix(size))
            rest = rest.dropFirst(size)
            while let event = try parser.next(from: &input) {
                switch event {
                case .opened(let header): trace.add(startTagOf: header.root)
                case .element(let element):
                    trace.add(element.root)
                    each(element)
                case .closed:
                    trace.end()
                    return .closed(trace)
                }
            }
        } while !rest.isEmpty
        return .incomplete
    } catch {
        return .refused(error)
    }
}

/// The same in one piece, byte by byte, and in random pieces; nil and a complaint if they differ.
func outcomes(of bytes: [UInt8], limits: XMLLimits = .none, seed: UInt64 = 1) -> [Outcome] {
    var random = Seeded(seed)
    let sizes = (0..<bytes.count).map { _ in Int.random(in: 1...9, using: &random) }
    return [
        outcome(of: bytes, limits: limits),
        outcome(of: bytes, pieces: [1], limits: limits),
        outcome(of: bytes, pieces: sizes + [Int.max], limits: limits),
    ]
}
