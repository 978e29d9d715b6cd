import MartletCore
import MartletFeatures
import MartletXMPP
import Testing

import martlet

@Suite("affiliations of rooms that come from groups")
struct GroupRoomsTests {
    private static func account(_ name: String) -> BareJID { try! BareJID(parsing: "\(name)@example.org") }
    private let alice = account("alice")
    private let bob = account("bob")
    private let carol = account("carol")
    private let stranger = try! BareJID(parsing: "romeo@example.net")
    private static func group(_ number: UInt8) -> GroupName { GroupName(prepared: [number]) }
    private let chiefs = group(1)
    private let staff = group(2)

    private func changes(
        _ groups: [RoomAffiliation: GroupName], _ current: [BareJID: RoomAffiliation], _ members: [GroupName: Set<BareJID>]
    ) -> [String] {
        GroupAffiliations(groups, of: alice.domain).changes(current, members).map { "\($0.account.localpart ?? "") \($0.to.name)" }
    }

    @Test("whoever is in a group becomes what it makes of him, and whoever is not is it no more")
    func members() {
        let groups: [RoomAffiliation: GroupName] = [.member: staff]
        #expect(changes(groups, [:], [staff: [alice, bob]]) == ["alice member", "bob member"])
        #expect(changes(groups, [alice: .member, carol: .member], [staff: [alice, bob]]) == ["bob member", "carol none"])
        #expect(changes(groups, [alice: .member], [staff: [alice]]) == [])
    }

    @Test("of several groups the highest counts, and owners come first")
    func highest() {
        let groups: [RoomAffiliation: GroupName] = [.owner: chiefs, .member: staff]
        #expect(changes(groups, [alice: .owner], [chiefs: [bob], staff: [alice, bob, carol]]) == ["bob owner", "alice member", "carol member"])
    }

    @Test("what no group gives stays as somebody has set it: other affiliations, bans, people of other domains")
    func others() {
        let groups: [RoomAffiliation: GroupName] = [.member: staff]
        let current: [BareJID: RoomAffiliation] = [alice: .owner, bob: .outcast, stranger: .member]
        #expect(changes(groups, current, [staff: [bob]]) == [])
        #expect(changes(groups, current, [staff: [alice, bob]]) == [])
        #expect(changes([.admin: chiefs, .member: staff], [alice: .admin, stranger: .admin], [chiefs: [], staff: []]) == ["alice none"])
    }
}
