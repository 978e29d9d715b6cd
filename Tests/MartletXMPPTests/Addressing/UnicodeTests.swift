import Foundation
import MartletXMPP
import Testing

extension SeededNumbers {
    /// A short text over one or two blocks, mixed with ASCII, so that rules about neighbours are met.
    mutating func text() -> [Unicode.Scalar] {
        let blocks = (0..<2).map { _ in Self.blocks.randomElement(using: &self) ?? 0x20...0x7E }
        return (0..<Int.random(in: 1...8, using: &self)).compactMap { _ in
            let block = Int.random(in: 0..<5, using: &self) == 0 ? 0x20...0x7E : blocks[Int.random(in: 0...1, using: &self)]
            return Unicode.Scalar(UInt32.random(in: block, using: &self))
        }
    }

    private static let blocks: [ClosedRange<UInt32>] = [
        0x20...0x7E, 0x41...0x7A, 0x61...0x7A, 0xA0...0x24F, 0xDF...0x17F, 0x250...0x36F, 0x370...0x52F,
        0x390...0x3CE, 0x590...0x5FF, 0x600...0x6FF, 0x660...0x669, 0x900...0x97F, 0xE00...0xEFF,
        0x10A0...0x11FF, 0x1680...0x169C, 0x1C80...0x1CBF, 0x1E00...0x1FFF, 0x2000...0x218F, 0x2460...0x24FF,
        0x2C00...0x2DFF, 0x2E80...0x33FF, 0x4E00...0x4FFF, 0xA640...0xA7FF, 0xAB30...0xABFF, 0xAC00...0xACFF,
        0xF900...0xFAFF, 0xFB00...0xFDFF, 0xFE00...0xFEFF, 0xFF00...0xFFEF, 0x10400...0x104FF,
        0x1D100...0x1D7FF, 0x1F300...0x1F6FF, 0x2F800...0x2FA1F, 0x20...0x10FFFF,
    ]
}

@Suite("Unicode")
struct UnicodeTests {
    static let conformanceFile = "/usr/share/unicode/NormalizationTest.txt.bz2"

    @Test(
        "normalisation passes the conformance test of the Unicode Standard (Annex #15)",
        .enabled(if: FileManager.default.isReadableFile(atPath: conformanceFile), "Debian's unicode-data is not installed"))
    func normalization() throws {
        let lines = try expanded(Self.conformanceFile).split(separator: "\n")
        try #require(lines.first?.contains("NormalizationTest-\(UnicodeTables.version).txt") == true)
        var singles: Set<Unicode.Scalar> = []
        var failed: [Substring] = []
        for line in lines where !line.hasPrefix("#") && !line.hasPrefix("@") {
            let columns = line.split(separator: ";").prefix(5).map(Self.codePoints)
            if columns[0].count == 1 { singles.insert(columns[0][0]) }
            let canonical = columns.map(UnicodeNormalization.canonical)
            let compatible = columns.map(UnicodeNormalization.compatible)
            let isRight =
                canonical[..<3].allSatisfy { $0 == columns[1] } && canonical[3...].allSatisfy { $0 == columns[3] }
                && compatible.allSatisfy { $0 == columns[3] }
            if !isRight { failed.append(line) }
        }
        #expect(singles.count > 16_000)
        #expect(failed.isEmpty)
        // Beyond plane 3 there are only tags, private use and nothing. Line feeds keep neighbours from composing.
        let others = (0...0x3FFFF as ClosedRange<UInt32>).compactMap(Unicode.Scalar.init).filter { !singles.contains($0) }
        let text = Array(others.map { [$0] }.joined(separator: ["\n"]))
        #expect(UnicodeNormalization.canonical(text) == text, "characters that the file does not name stay as they are")
        #expect(UnicodeNormalization.compatible(text) == text)
    }

    @Test("a long run of marks is put in order in time that does not grow with its square")
    func marksInOrder() throws {
        let marks = (0..<1200).map { $0 % 2 == 0 ? "\u{301}" as Unicode.Scalar : "\u{323}" }
        let text = String(String.UnicodeScalarView(["q"] + marks))
        let prepared = try PRECIS.opaqueString(text).codePoints
        #expect(prepared == ["q"] + Array(repeating: "\u{323}", count: 600) + Array(repeating: "\u{301}", count: 600))
    }

    @Test("what is prepared prepares to itself")
    func idempotence() throws {
        var numbers = SeededNumbers(seed: 7622)
        var accepted = 0
        let profiles: [(String) throws -> String] = [
            PRECIS.usernameCaseMapped, PRECIS.usernameCasePreserved, PRECIS.opaqueString, PRECIS.nickname,
            PRECIS.nicknameForComparison, { try BareJID(localpart: nil, domainpart: $0).domainpart },
            { try FullJID(parsing: $0).description },
        ]
        for round in 0..<8_000 {
            let text = String(String.UnicodeScalarView(numbers.text()))
            let profile = profiles[round % profiles.count]
            guard let prepared = try? profile(text) else { continue }
            accepted += 1
            #expect(try profile(prepared).codePoints == prepared.codePoints, "\(text.codePoints)")
        }
        #expect(accepted > 800)
    }

    @Test("a resourcepart with joiners, variation selectors and marks in any order prepares to itself, and has none that PRECIS refuses")
    func idempotenceWithInvisibles() throws {
        var numbers = SeededNumbers(seed: 3454)
        let scalars: [Unicode.Scalar] = [
            "\u{200C}", "\u{200D}", "\u{200D}", "\u{AD}", "\u{34F}", "\u{FE0F}", "\u{1806}", "\u{180B}", "\u{94D}", "\u{94D}", "\u{93C}", "\u{301}",
            "\u{323}", "\u{915}", "\u{628}", "\u{627}", "\u{64E}", "\u{B7}", "l", "\u{2764}", "\u{1F469}", " ",
        ]
        var accepted = 0
        var shortened = 0
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 1...9, using: &numbers)).map { _ in scalars.randomElement(using: &numbers) ?? "a" }
            let string = String(String.UnicodeScalarView(text))
            guard let prepared = try? FullJID(localpart: nil, domainpart: "a", resourcepart: string).resourcepart else { continue }
            accepted += 1
            if prepared.codePoints.count < text.count { shortened += 1 }
            #expect(try FullJID(localpart: nil, domainpart: "a", resourcepart: prepared).resourcepart.codePoints == prepared.codePoints, "\(text)")
            #expect(try PRECIS.opaqueString(prepared).codePoints == prepared.codePoints, "\(text)")
        }
        #expect(accepted > 5_000 && shortened > 4_000)
    }

    private static func codePoints(_ column: Substring) -> [Unicode.Scalar] {
        column.split(separator: " ").compactMap { UInt32($0, radix: 16).flatMap(Unicode.Scalar.init) }
    }

    /// By the shell: Foundation's `Process` may crash in `run` while other tests open and close files on other threads.
    private func expanded(_ path: String) throws -> String {
        let pipe = try #require(popen("bzcat '\(path)'", "r"))
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&piece, 1, piece.count, pipe)
            if count == 0 { break }
            bytes += piece[..<count]
        }
        #expect(pclose(pipe) == 0)
        return String(decoding: bytes, as: UTF8.self)
    }
}
