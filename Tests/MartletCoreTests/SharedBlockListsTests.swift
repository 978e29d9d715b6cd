import MartletCore
import MartletXMPP
import Testing

@Suite("Block lists that others share")
struct SharedBlockListsTests {
    private let lists = SharedBlockLists()
    private let name = SharedListName(service: address("pubsub.example.net"), node: "bans")

    private static func address(_ text: String) -> BareJID {
        guard let address = try? BareJID(parsing: text) else { preconditionFailure("no address: \(text)") }
        return address
    }

    private func contains(_ text: String) -> Bool { lists.contains(Self.address(text)) }

    @Test("an entry is the SHA-256 of an address, in hexadecimal digits of either case, and nothing else is one")
    func entries() throws {
        // As `printf romeo@example.com | sha256sum` has it.
        let digits = "39ecd56efdb0e4fcfea7abed7238a899a39d7c3180bd06b22489c43e57e9c7b2"
        let entry = try #require(SharedListEntry(hexadecimal: digits))
        #expect(SharedListEntry(hexadecimal: digits.uppercased()) == entry && SharedListEntry(bytes: entry.bytes) == entry)
        #expect(entry == SharedListEntry(of: "romeo@example.com") && entry.bytes.count == SharedListEntry.byteCount)
        #expect(entry.bytes.first == 0x39 && entry.bytes.last == 0xb2)
        for text in ["", String(digits.dropLast()), digits + "0", String(digits.dropLast()) + "g", "romeo@example.com"] {
            #expect(SharedListEntry(hexadecimal: text) == nil)
        }
        #expect(SharedListEntry(bytes: Array(repeating: 0, count: 31)) == nil)
    }

    @Test("who is listed is so by his address or by his domain, and by no other")
    func addresses() {
        #expect(lists.isEmpty && !contains("tybalt@spam.example"))
        lists.set([SharedListEntry(of: "tybalt@spam.example"), SharedListEntry(of: "evil.example")], of: name)
        #expect(!lists.isEmpty)
        for text in ["tybalt@spam.example", "anybody@evil.example", "evil.example"] { #expect(contains(text), "\(text)") }
        for text in ["romeo@spam.example", "spam.example", "tybalt@evil2.example", "a@sub.evil.example"] { #expect(!contains(text), "\(text)") }
        lists.remove(name)
        #expect(lists.isEmpty && !contains("tybalt@spam.example"))
    }

    @Test("several lists count together, and one of them goes alone")
    func several() {
        let other = SharedListName(service: name.service, node: "others")
        lists.set([SharedListEntry(of: "a.example")], of: name)
        lists.set([SharedListEntry(of: "b.example")], of: other)
        #expect(contains("x@a.example") && contains("x@b.example"))
        lists.remove(other)
        #expect(contains("x@a.example") && !contains("x@b.example"))
    }

    @Test("nobody of this server is ever listed")
    func own() {
        lists.setOwn(["capulet.example", "conference.capulet.example"])
        lists.set(Set(["capulet.example", "tybalt@capulet.example", "conference.capulet.example"].map { SharedListEntry(of: $0) }), of: name)
        for text in ["tybalt@capulet.example", "capulet.example", "cave@conference.capulet.example"] { #expect(!contains(text)) }
    }

    @Test("a change says what it has changed, and a list takes so many entries and not one more")
    func changes() {
        let (a, b, c) = (SharedListEntry(of: "a"), SharedListEntry(of: "b"), SharedListEntry(of: "c"))
        let first = lists.change(name, adding: [a, b], removing: [c])
        #expect(first.added == [a, b] && first.removed.isEmpty)
        let second = lists.change(name, adding: [b, c], removing: [a])
        #expect(second.added == [c] && second.removed == [a] && lists.count(of: name) == 2)
        let many = (0..<SharedBlockLists.entriesMax - 2).map { SharedListEntry(of: "\($0).example") }
        #expect(lists.change(name, adding: Set(many), removing: []).added.count == many.count)
        #expect(lists.change(name, adding: [a], removing: []).added.isEmpty && lists.count(of: name) == SharedBlockLists.entriesMax)
        #expect(lists.change(name, adding: [a], removing: [b]).added == [a])
    }
}
