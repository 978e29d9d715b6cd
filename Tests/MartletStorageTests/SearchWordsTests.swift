import MartletCore
import MartletXMPP
import NIOCore
import Testing

/// What a word is, to those who search (XEP-0431).
@Suite("Words to search for")
struct SearchWordsTests {
    @Test(
        "case, accents, width and form make no difference",
        arguments: [
            ("Hello, WORLD!", "hello world"), ("Crème brûlée", "creme brulee"), ("Cre\u{300}me", "creme"), ("İstanbul ISTANBUL", "istanbul"),
            ("Straße STRASSE", "strasse"), ("ΟΔΥΣΣΕΎΣ οδυσσεύς", "οδυσσευσ"), ("ﬁnd ｆｉｎｄ", "find"), ("Łódź", "łodz"), ("ёлка", "елка"),
            ("don't", "don t"), ("42nd 3.5", "42nd 3 5"), ("a_b", "a b"), ("soft\u{ad}ly", "softly"), ("\u{915}\u{93f}", "\u{915}"), ("   ", ""),
            ("\u{e000}x", "\u{e000}x"), ("a\nb\tc", "a b c"), ("\"x\" OR y*", "x or y"), ("½", "1 2"),
        ])
    func folding(_ text: String, _ words: String) {
        #expect(SearchWords.words(text) == Set(words.split(separator: " ").map(String.init)))
    }

    @Test("characters of scripts without spaces, and symbols, are words each")
    func unspaced() {
        #expect(SearchWords.words("東京タワーへ go") == ["東", "京", "タ", "ワ", "ー", "へ", "go"])
        #expect(SearchWords.words("ไทย") == ["ไ", "ท", "ย"])
        #expect(SearchWords.words("ok👍🏽👍") == ["ok", "👍"])
        #expect(SearchWords.words("한국어 한국") == SearchWords.words("한국 한국어") && SearchWords.words("한국어").count == 1)
    }

    @Test("a word is begun by each of its beginnings, in plain texts and in others alike", arguments: ["", " é", "é "])
    func beginnings(_ other: String) {
        func isBegun(_ text: String, by words: String) -> Bool { SearchWords.areBegun(SearchWords.words(words), in: text + other) }
        #expect(isBegun("A Dark CAVE-2", by: "a dark cave 2") && isBegun("A Dark CAVE-2", by: "D cav") && isBegun("x", by: ""))
        #expect(!isBegun("A Dark CAVE-2", by: "ark") && !isBegun("A Dark CAVE-2", by: "cave2") && !isBegun("A Dark CAVE-2", by: "dark cavern"))
        #expect(!isBegun("a\u{11}", by: "a1") && !isBegun("@x", by: "`x dark") && !isBegun("dark", by: "愛"))
        let long = String(repeating: "a", count: SearchWords.scalarsMax)
        #expect(isBegun(long, by: long) && isBegun(long + "b", by: long + "c") && !isBegun(String(long.dropLast()), by: long))
    }

    @Test("long words are cut, and so are long texts")
    func limits() {
        let long = String(repeating: "a", count: SearchWords.scalarsMax)
        #expect(SearchWords.words(long) == [long] && SearchWords.words(long + "b") == [long])
        let numbers = (1...SearchWords.wordsMax + 1).map(String.init)
        let most = SearchWords.words(numbers.dropLast().joined(separator: " "))
        #expect(most.count == SearchWords.wordsMax && most.contains(numbers[SearchWords.wordsMax - 1]))
        #expect(SearchWords.words(numbers.joined(separator: " ")) == most)
    }

    @Test("a message is found by all its bodies and by nothing else")
    func bodies() throws {
        let text = "<message from='romeo@montague.example' to='juliet@capulet.example'><subject>no</subject><body>one</body>"
            + "<body xml:lang='de'>zwei</body><body xmlns='other'>no</body><x xmlns='y'><body xmlns='jabber:client'>no</body></x></message>"
        let message = try #require(Stanza(sent: stanza(text)))
        #expect(SearchWords.inBodies(of: message) == ["one", "zwei"])
    }
}
