internal import MartletCore
internal import MartletXMPP

/// A reader's statement about who has given something to an account.
///
/// There is no index of it: the lists of rooms and nodes are looked through. With 1,000,000 lines that takes 0.1 s, once for an account that
/// goes, and an index would be kept with every change to a list.
final class GrantReads {
    private let grantors: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        grantors = try connection.prepare(
            """
            SELECT r.domainpart, r.localpart FROM room_affiliation l JOIN room r ON r.id = l.room WHERE l.affiliation > 0 AND \(Self.names)
            UNION \(Self.nodes("node_affiliation")) UNION \(Self.nodes("node_subscription"))
            """)
    }

    /// The account, or what begins with it and a slash. In octets, `0` comes behind it.
    private static let names = "(l.address = $1 OR (l.address > $2 AND l.address < $3))"

    private static func nodes(_ list: String) -> String {
        """
        SELECT COALESCE(n.service, a.domainpart), COALESCE(a.localpart, '')
        FROM \(list) l JOIN node n ON n.id = l.node LEFT JOIN account a ON a.id = n.account WHERE \(names)
        """
    }

    func grantors(to account: BareJID) throws(SQLError) -> Set<BareJID> {
        Set(
            try grantors.rows({
                $0.bind(account, at: 1)
                $0.bind("\(account)/", at: 2)
                $0.bind("\(account)0", at: 3)
            }) { row throws(SQLError) in try row.address(parts: 0) })
    }
}
