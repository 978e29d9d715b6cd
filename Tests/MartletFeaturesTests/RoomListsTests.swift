import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0045 §15.5.3: administrators and owners in the configuration form")
struct RoomListsTests {
    private let owner = "crone1@shakespeare.lit/desktop"

    private func occupied(admins: Int = 0) -> RoomOnPaper {
        var paper = RoomOnPaper()
        paper.enter(owner, as: "firstwitch")
        for start in stride(from: 0, to: admins, by: 50) {
            paper.administer(
                (start..<min(start + 50, admins)).map { "<item affiliation='admin' jid='admin\($0)@shakespeare.lit'/>" }.joined(), by: owner)
        }
        paper.forget()
        return paper
    }

    private func field(_ name: String, _ addresses: [String]) -> String {
        "<field var='muc#roomconfig_\(name)'>\(addresses.map { "<value>\($0)</value>" }.joined())</field>"
    }

    private func names(_ range: Range<Int>) -> [String] { range.map { "admin\($0)@shakespeare.lit" } }

    /// - Returns: the error, if it was refused.
    private func submit(_ fields: String, by session: String? = nil, to paper: inout RoomOnPaper) -> String? {
        let session = session ?? owner
        let type = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
        paper.forget()
        paper.send(
            "<iq type='set' id='c'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\(type)\(fields)</x></query></iq>",
            from: session)
        return paper.peek(session).compactMap(\.error).first
    }

    private func shown(_ paper: inout RoomOnPaper) -> [String: [String]] {
        paper.forget()
        paper.send("<iq type='get' id='g'><query xmlns='http://jabber.org/protocol/muc#owner'/></iq>", from: owner)
        let form = paper.received(by: owner).first?.child("query")?.firstChild
        let lists = form?.children.filter { $0.attribute("var")?.hasPrefix("muc#roomconfig_room") == true && $0.attribute("type") == "jid-multi" } ?? []
        return Dictionary(lists.map { ($0.attribute("var") ?? "", $0.children.filter { $0.localName == "value" }.map(\.text)) }) { first, _ in first }
    }

    private func affiliation(_ address: String, _ paper: RoomOnPaper) -> RoomAffiliation { paper.room.affiliations.affiliation(of: RoomOnPaper.jid(address)) }

    @Test("the form shows both lists as they are")
    func form() {
        var paper = occupied(admins: 2)
        #expect(
            shown(&paper) == [
                "muc#roomconfig_roomadmins": names(0..<2), "muc#roomconfig_roomowners": ["crone1@shakespeare.lit"],
            ])
    }

    @Test("a list is the whole list: who is not in it any more is a member, and a list that is left out stays")
    func whole() {
        var paper = occupied(admins: 3)
        #expect(submit(field("roomadmins", ["admin1@shakespeare.lit", "hag66@shakespeare.lit/pda"]), to: &paper) == nil)
        #expect(["admin0", "admin1", "admin2", "hag66", "crone1"].map { affiliation("\($0)@shakespeare.lit", paper) } == [.member, .admin, .member, .admin, .owner])
        #expect(submit("", to: &paper) == nil)
        #expect(affiliation("admin1@shakespeare.lit", paper) == .admin)
    }

    @Test("whoever is in both lists is an owner; an owner who is only in the other one is an administrator")
    func both() {
        var paper = occupied(admins: 1)
        #expect(submit(field("roomadmins", names(0..<1)) + field("roomowners", names(0..<1) + ["crone1@shakespeare.lit"]), to: &paper) == nil)
        #expect(affiliation("admin0@shakespeare.lit", paper) == .owner)
        #expect(submit(field("roomadmins", names(0..<1)), to: &paper) == nil)
        #expect(affiliation("admin0@shakespeare.lit", paper) == .owner)
        #expect(submit(field("roomadmins", names(0..<1)) + field("roomowners", ["crone1@shakespeare.lit"]), to: &paper) == nil)
        #expect(affiliation("admin0@shakespeare.lit", paper) == .admin)
    }

    @Test("what a list may not be is refused, and nothing else of the form is taken")
    func refused() {
        let cases = [
            (field("roomowners", []), "cancel/conflict"), (field("roomadmins", ["@"]), "modify/jid-malformed"),
            (field("roomadmins", ["shakespeare.lit"]), "cancel/not-allowed"),
        ]
        for (fields, error) in cases {
            var paper = occupied(admins: 1)
            #expect(submit("<field var='muc#roomconfig_roomname'><value>new</value></field>" + fields, to: &paper) == error)
            #expect(paper.room.configuration.name.isEmpty && affiliation("admin0@shakespeare.lit", paper) == .admin)
        }
    }

    @Test("only owners change them")
    func privileges() {
        var paper = occupied()
        paper.enter("hag66@shakespeare.lit/pda", as: "thirdwitch")
        #expect(submit(field("roomowners", ["hag66@shakespeare.lit"]), by: "hag66@shakespeare.lit/pda", to: &paper) == "auth/forbidden")
    }

    @Test("lists of a hundred are shown and taken; longer ones are not, and what a form says of them counts for nothing", arguments: [100, 101])
    func long(count: Int) {
        var paper = occupied(admins: count)
        #expect(shown(&paper).isEmpty == (count > RoomLimits.listedMax))
        #expect(submit(field("roomadmins", []), to: &paper) == nil)
        #expect(paper.room.affiliations.count(of: .admin) == (count > RoomLimits.listedMax ? count : 0))
    }

    @Test("a form has a hundred addresses in a list, and not one more")
    func tooMany() {
        var paper = occupied()
        #expect(submit(field("roomadmins", names(0..<101)), to: &paper) == "modify/not-acceptable")
        #expect(submit(field("roomadmins", names(0..<100)), to: &paper) == nil)
        #expect(paper.room.affiliations.count(of: .admin) == 100)
    }

    @Test("a room has so many affiliations by way of the form, too", arguments: [2, 3])
    func affiliationsMax(max: Int) {
        var paper = occupied()
        paper.limits.affiliationsMax = max
        #expect(submit(field("roomadmins", names(0..<2)), to: &paper) == (max < 3 ? "wait/resource-constraint" : nil))
    }

    @Test("an administrator of a room that is for members from now on stays in it")
    func members() {
        var paper = occupied()
        paper.enter("hag66@shakespeare.lit/pda", as: "thirdwitch")
        #expect(submit("<field var='muc#roomconfig_membersonly'><value>1</value></field>" + field("roomadmins", ["hag66@shakespeare.lit"]), to: &paper) == nil)
        #expect(paper.room.occupants.occupant(ofNickname: "thirdwitch")?.role == .moderator)
    }
}
