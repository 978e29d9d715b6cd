import MartletXMPP
import Testing

@Suite("PRECIS profiles")
struct PRECISTests {
    @Test(
        "every string of table 1 is a userpart (RFC 8265 §3.5)",
        arguments: [
            ("juliet@example.com", "juliet@example.com"),
            ("fussball", "fussball"),
            ("fu\u{DF}ball", "fu\u{DF}ball"),
            ("\u{3C0}", "\u{3C0}"),
            ("\u{3A3}", "\u{3C3}"),
            ("\u{3C3}", "\u{3C3}"),
            ("\u{3C2}", "\u{3C2}"),
        ])
    func legalUserparts(text: String, mapped: String) throws {
        #expect(try PRECIS.usernameCaseMapped(text).codePoints == mapped.codePoints)
        #expect(try PRECIS.usernameCasePreserved(text).codePoints == text.codePoints)
    }

    @Test(
        "no string of table 2 is a userpart (RFC 8265 §3.5)",
        arguments: [
            ("foo bar", PRECISError.disallowed(" ")),
            ("", .empty),
            ("henry\u{2163}", .disallowed("\u{2163}")),
            ("\u{265A}", .disallowed("\u{265A}")),
        ])
    func illegalUserparts(text: String, error: PRECISError) {
        #expect(throws: error) { try PRECIS.usernameCaseMapped(text) }
        #expect(throws: error) { try PRECIS.usernameCasePreserved(text) }
    }

    @Test(
        "every string of table 3 is a password (RFC 8265 §4.3)",
        arguments: [
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u{3C0}\u{DF}\u{E5}", "\u{3C0}\u{DF}\u{E5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
        ])
    func legalPasswords(text: String, prepared: String) throws {
        #expect(try PRECIS.opaqueString(text).codePoints == prepared.codePoints)
    }

    @Test(
        "no string of table 4 is a password (RFC 8265 §4.3)",
        arguments: [("", PRECISError.empty), ("my cat is a \tby", .disallowed("\t"))])
    func illegalPasswords(text: String, error: PRECISError) {
        #expect(throws: error) { try PRECIS.opaqueString(text) }
    }

    @Test(
        "nicknames compare as in table 1 (RFC 8266 §3)",
        arguments: [
            ("Foo", "foo"), ("foo", "foo"), ("Foo Bar", "foo bar"), ("foo bar", "foo bar"),
            ("\u{3A3}", "\u{3C3}"), ("\u{3C3}", "\u{3C3}"), ("\u{3C2}", "\u{3C2}"),
            // The table has U+03C5 U+0308, which Normalisation Form KC composes.
            ("\u{3D4}", "\u{3CB}"),
            ("\u{265A}", "\u{265A}"), ("Richard \u{2163}", "richard iv"),
        ])
    func nicknames(text: String, compared: String) throws {
        #expect(try PRECIS.nicknameForComparison(text).codePoints == compared.codePoints)
    }

    @Test("a nickname keeps its case and loses superfluous spaces (RFC 8266 §2.1)")
    func nicknameSpaces() throws {
        #expect(try PRECIS.nickname("  St\u{A0}\u{2003}Peter ") == "St Peter")
        #expect(try PRECIS.nickname("Richard \u{2163}") == "Richard IV")
        #expect(throws: PRECISError.empty) { try PRECIS.nickname(" \u{3000}") }
        #expect(try PRECIS.nickname("\u{A8}a").codePoints == ["\u{308}", "a"])
    }

    @Test("fullwidth and halfwidth characters are mapped in usernames, not in passwords (RFC 8265 §3.3, §4.2)")
    func width() throws {
        #expect(try PRECIS.usernameCaseMapped("\u{FF2A}ulia") == "julia")
        #expect(try PRECIS.usernameCasePreserved("\u{FF2A}ulia") == "Julia")
        #expect(try PRECIS.opaqueString("\u{FF2A}ulia") == "\u{FF2A}ulia")
        #expect(try PRECIS.usernameCaseMapped("\u{FF76}") == "\u{30AB}")
    }

    @Test("letters are lower-cased one by one: no final sigma, the dot of U+0130 kept (RFC 8265 §3.3)")
    func caseMapping() throws {
        #expect(try PRECIS.usernameCaseMapped("\u{39F}\u{3A3}").codePoints == ["\u{3BF}", "\u{3C3}"])
        #expect(try PRECIS.usernameCaseMapped("\u{130}").codePoints == ["i", "\u{307}"])
        #expect(try PRECIS.usernameCaseMapped("A\u{30A}").codePoints == ["\u{E5}"])
    }

    @Test("right-to-left names satisfy the Bidi Rule (RFC 8265 §3.3, RFC 5893 §2)")
    func bidi() throws {
        #expect(try PRECIS.usernameCaseMapped("\u{5D0}\u{5D1}1") == "\u{5D0}\u{5D1}1")
        #expect(try PRECIS.usernameCaseMapped("\u{627}\u{64E}") == "\u{627}\u{64E}")
        for text in ["\u{5D0}a", "a\u{5D0}", "1\u{5D0}", "\u{5D0}-", "\u{627}1\u{661}", "\u{661}"] {
            #expect(throws: PRECISError.bidirectional) { try PRECIS.usernameCaseMapped(text) }
        }
        #expect(try PRECIS.opaqueString("\u{5D0}a") == "\u{5D0}a")
    }

    @Test(
        "characters with a contextual rule pass where it holds (RFC 5892 appendix A)",
        arguments: [
            "l\u{B7}l", "\u{375}\u{3B1}", "\u{5D0}\u{5F3}", "\u{5D0}\u{5F4}", "\u{30A2}\u{30FB}", "\u{30FB}\u{6F22}",
            "\u{628}\u{661}", "\u{628}\u{6F1}", "\u{915}\u{94D}\u{200D}\u{937}", "\u{915}\u{94D}\u{200C}\u{937}",
            "\u{628}\u{200C}\u{628}", "\u{628}\u{64E}\u{200C}\u{64E}\u{628}",
        ])
    func inContext(text: String) throws {
        #expect(try PRECIS.usernameCaseMapped(text).codePoints == text.codePoints)
        #expect(try PRECIS.opaqueString(text).codePoints == text.codePoints)
    }

    @Test(
        "characters with a contextual rule are refused elsewhere (RFC 5892 appendix A)",
        arguments: [
            ("l\u{B7}", "\u{B7}"), ("\u{B7}l", "\u{B7}"), ("a\u{B7}l", "\u{B7}"), ("\u{375}a", "\u{375}"),
            ("\u{375}", "\u{375}"), ("\u{5F3}\u{5D0}", "\u{5F3}"), ("a\u{5F4}", "\u{5F4}"), ("\u{30FB}", "\u{30FB}"),
            ("\u{628}\u{661}\u{6F1}", "\u{661}"), ("a\u{200D}", "\u{200D}"), ("\u{200C}", "\u{200C}"),
            ("\u{628}\u{200C}a", "\u{200C}"), ("\u{627}\u{200C}\u{628}", "\u{200C}"),
        ] as [(String, Unicode.Scalar)])
    func outOfContext(text: String, scalar: Unicode.Scalar) {
        #expect(throws: PRECISError.outOfContext(scalar)) { try PRECIS.usernameCaseMapped(text) }
        #expect(throws: PRECISError.outOfContext(scalar)) { try PRECIS.opaqueString(text) }
    }

    @Test("control, ignorable, old Hangul and unassigned characters are in no class (RFC 8264 §4.3.3)")
    func inNoClass() {
        for scalar: Unicode.Scalar in ["\0", "\u{7F}", "\u{AD}", "\u{FE0F}", "\u{E0001}", "\u{1100}", "\u{FFFE}", "\u{378}"] {
            #expect(throws: PRECISError.disallowed(scalar)) { try PRECIS.opaqueString("a\(scalar)") }
        }
    }
}

extension String {
    /// Compared instead of strings: `==` of strings is canonical equivalence.
    var codePoints: [Unicode.Scalar] { Array(unicodeScalars) }
}
