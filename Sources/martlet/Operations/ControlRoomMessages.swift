/// What commands ask about rooms (XEP-0045).
package enum RoomOrder: Codable, Hashable, Sendable {
    package struct Listing: Codable, Hashable, Sendable {
        /// Of a domain of accounts or of its rooms; all if absent.
        package var domain: String?
        package var isPublic: Bool?
        /// Their beginnings are in name, description or address.
        package var words: String?
        /// The last room of the page before.
        package var after: String?
        package init() {}
    }

    case list(Listing)
    case info(of: String)
    case create(NewRoom)
    case destroy(String, venue: String?, reason: String?)
    /// A page of the list of one affiliation.
    case affiliations(of: String, affiliation: String, after: String?)
    case setAffiliation(NewAffiliation)
    /// The last messages, at most ``ControlProtocol/messagesMax``.
    case history(of: String, last: Int)
}

/// A room to be made.
package struct NewRoom: Codable, Hashable, Sendable {
    package var address: String
    package var owners: [String]
    /// Values of fields of the form by which owners configure rooms (XEP-0045 §16.4), by name; the others are as for any new room.
    package var settings: [String: String]
}

package struct NewAffiliation: Codable, Hashable, Sendable {
    package var room: String
    package var jid: String
    package var affiliation: String
    package var reason: String?
    /// To be reserved.
    package var nickname: String?
}

/// A room in a list.
package struct RoomLine: Codable, Hashable, Sendable {
    package var address: String
    package var name: String
    package var isPersistent: Bool
    package var isPublic: Bool
    /// Milliseconds since 1970.
    package var created: Int64
    /// Now.
    package var occupants: Int

    package init(address: String, name: String, isPersistent: Bool, isPublic: Bool, created: Int64, occupants: Int) {
        self.address = address
        self.name = name
        self.isPersistent = isPersistent
        self.isPublic = isPublic
        self.created = created
        self.occupants = occupants
    }

    /// As `martlet room list` prints it.
    package var text: String {
        let marks = [isPersistent ? "persistent" : "temporary", isPublic ? "public" : "hidden", "\(occupants) inside"].joined(separator: ", ")
        return "\(address)  (\(marks))" + (name.isEmpty ? "" : "  \(ConfigurationProblem.printable(name))")
    }
}

/// A room as it is now.
package struct RoomReport: Codable, Hashable, Sendable {
    package struct Occupant: Codable, Hashable, Sendable {
        package var nickname: String
        package var affiliation: String
        package var role: String
        /// Of each session.
        package var addresses: [String]
        package init(nickname: String, affiliation: String, role: String, addresses: [String]) {
            self.nickname = nickname
            self.affiliation = affiliation
            self.role = role
            self.addresses = addresses
        }
    }

    package var address: String
    package var name: String
    package var description: String
    /// Milliseconds since 1970.
    package var created: Int64
    /// Its owner has not said yet what it is to be (§10.1).
    package var isLocked: Bool
    /// In the words of §4.2.
    package var types: [String]
    /// The fields of the form of its owners (§16.4), but for the password.
    package var configuration: [String: [String]]
    /// How many have each.
    package var affiliations: [String: Int]
    package var occupants: [Occupant]
    /// The times of the first and the last message in its archive, in milliseconds since 1970.
    package var archiveFirst: Int64?
    package var archiveLast: Int64?
}

/// One of a room's affiliations.
package struct AffiliationLine: Codable, Hashable, Sendable {
    package var jid: String
    package var affiliation: String
    package var nickname: String?
    package var reason: String?

    package init(jid: String, affiliation: String, nickname: String? = nil, reason: String? = nil) {
        self.jid = jid
        self.affiliation = affiliation
        self.nickname = nickname
        self.reason = reason
    }

    /// As `martlet room affiliation` prints it.
    package var text: String {
        let more = [nickname.map { "nickname \($0)" }, reason.map { "reason: \($0)" }].compactMap { $0 }.map { "  " + ConfigurationProblem.printable($0) }
        return "\(affiliation)  \(ConfigurationProblem.printable(jid))" + more.joined()
    }
}

/// A message of a room.
package struct UtteranceLine: Codable, Hashable, Sendable {
    /// As a text: it is beyond what some readers of JSON take for a number.
    package var id: String
    /// Milliseconds since 1970.
    package var time: Int64
    package var nickname: String
    package var jid: String?
    package var subject: String?
    package var body: String?

    package init(id: String, time: Int64, nickname: String, jid: String? = nil, subject: String? = nil, body: String? = nil) {
        self.id = id
        self.time = time
        self.nickname = nickname
        self.jid = jid
        self.subject = subject
        self.body = body
    }

    /// As `martlet room history` prints it: one line, whatever is in it.
    package var text: String {
        let what = body ?? subject.map { "the subject is now: \($0)" } ?? "(no text)"
        let line = "\(nickname): \(what)".replacing("\n", with: " ")
        return "\(Timestamp.text(time))  \(ConfigurationProblem.printable(line))"
    }
}
