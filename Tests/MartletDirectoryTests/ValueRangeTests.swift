import MartletDirectory
import MartletLDAP
import Testing

@Suite("Values that come part by part")
struct ValueRangeTests {
    @Test("a part says where it begins and ends, among other options")
    func parsing() throws {
        let part = try #require(ValueRange("member;range=0-1499"))
        #expect(part.attribute == "member" && part.lower == 0 && part.upper == 1_499 && part.next == "member;range=1500-*")
        let last = try #require(ValueRange("member;Range=1500-*"))
        #expect(last.lower == 1_500 && last.upper == nil && last.next == nil)
        #expect(ValueRange("cn;lang-de;range=0-1;x-a")?.attribute == "cn;lang-de;x-a")
    }

    @Test("what is no part is none", arguments: ["member", "member;binary", "member;range=", "member;range=1", "member;range=5-4", "member;range=-1-4", "member;range=1-9999999999", "member;range=*-*", "range=0-1"])
    func noPart(_ description: String) { #expect(ValueRange(description) == nil) }

    private func values(_ range: Range<Int>) -> [[UInt8]] { range.map { Array("m\($0)".utf8) } }

    @Test("an entry is put together from its parts")
    func together() throws {
        var entry = RangedEntry(LDAPEntry("cn=all", [LDAPAttribute("cn", "all"), LDAPAttribute("member", []), LDAPAttribute("member;range=0-1", values(0..<2))]))
        #expect(entry.wanted == "member;range=2-*")
        try entry.add(LDAPEntry("cn=all", [LDAPAttribute("member;range=2-3", values(2..<4))]))
        #expect(entry.wanted == "member;range=4-*")
        try entry.add(LDAPEntry("cn=all", [LDAPAttribute("member;range=4-*", values(4..<5))]))
        #expect(entry.wanted == nil)
        #expect(entry.entry == LDAPEntry("cn=all", [LDAPAttribute("cn", "all"), LDAPAttribute("member", values(0..<5))]))
    }

    @Test("an entry without parts is as it was")
    func whole() {
        let entry = LDAPEntry("cn=all", [LDAPAttribute("cn", "all"), LDAPAttribute("member", [])])
        #expect(RangedEntry(entry).wanted == nil && RangedEntry(entry).entry == entry)
    }

    @Test("a part that does not go on where the last one ended would never end", arguments: ["member;range=0-1", "member;range=3-4", "member;range=2-5"])
    func endless(_ description: String) {
        var entry = RangedEntry(LDAPEntry("cn=all", [LDAPAttribute("member;range=0-1", values(0..<2))]))
        #expect(throws: DirectoryFailure.endless(attribute: "member")) { try entry.add(LDAPEntry("cn=all", [LDAPAttribute(description, [])])) }
    }

    @Test("members that are gone when the next part is asked for are no fault")
    func gone() throws {
        var entry = RangedEntry(LDAPEntry("cn=all", [LDAPAttribute("member;range=0-1", values(0..<2))]))
        try entry.add(LDAPEntry("cn=all"))
        #expect(entry.wanted == nil && entry.entry.attributes.first?.values.count == 2)
    }

    @Test("no attribute has more values than are taken")
    func valuesMax() throws {
        let many = Array(repeating: [UInt8](), count: RangedEntry.valuesMax - 1)
        var most = RangedEntry(LDAPEntry("cn=all", [LDAPAttribute("member;range=0-0", [[]])]))
        try most.add(LDAPEntry("cn=all", [LDAPAttribute("member;range=1-*", many)]))
        var more = RangedEntry(LDAPEntry("cn=all", [LDAPAttribute("member;range=0-0", [[]])]))
        #expect(throws: DirectoryFailure.endless(attribute: "member")) { try more.add(LDAPEntry("cn=all", [LDAPAttribute("member;range=1-*", many + [[]])])) }
    }
}
