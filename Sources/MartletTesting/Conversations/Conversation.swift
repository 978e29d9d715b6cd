/// A transcript between clients and a server, as a file in `Conversations/` says it.
///
/// A conversation names no server: the same one runs in process on a manual clock, against the real binary over TCP,
/// and against another server as an oracle. `Conversations/README.md` describes the format.
package struct Conversation: Hashable, Sendable {
    /// What the conversation shows, as one sentence.
    package var title: String
    /// The section that demands it, for example `RFC 6121 §8.5.3.1`.
    package var section: String
    /// Reasons why a named server is expected to answer otherwise, by the server's name in lower case.
    package var expectedDifferences: [String: String]
    /// Accounts to be created, in the order in which they are first named. Their real addresses are fresh in every run.
    package var accounts: [String]
    /// Names of addresses at the server's domain that belong to nobody.
    package var nobodies: [String]
    /// Subscriptions that exist before the first client comes online.
    package var subscriptions: [Subscription]
    /// Rooms of multi-user chat (XEP-0045). Their real addresses, at `conference.` and the server's domain, are fresh in every run.
    package var rooms: [String]
    /// What is done to the rooms when the clients are online and before the first step, in this order.
    package var roomSetups: [RoomSetup]
    /// Groups that there are before the first client comes online, whose members others have as contacts without having asked.
    package var groups: [Group] = []
    /// The clients and bare streams that take part, in the order in which they are brought online.
    package var participants: [Participant]
    /// What happens then.
    package var steps: [Step]

    /// One account's subscription to the presence of another.
    package struct Subscription: Hashable, Sendable {
        package var subscriber: String
        package var contact: String
    }

    /// Accounts that others, or each of them the others, have as contacts.
    package struct Group: Hashable, Sendable {
        package var name: String
        package var members: [String]
        /// Accounts that see the members; `nil`: the members.
        package var watchers: [String]?

        package init(name: String, members: [String], watchers: [String]?) {
            self.name = name
            self.members = members
            self.watchers = watchers
        }
    }

    /// One act before the first step, with which a room comes into the state that the conversation is about.
    package struct RoomSetup: Hashable, Sendable {
        package var room: String
        /// The client that acts.
        package var participant: String
        package var act: Act

        package enum Act: Hashable, Sendable {
            /// Enters under the nickname. Whoever is the first to enter a room has created it, owns it, and accepts its default
            /// configuration (XEP-0045 §10.1.2).
            case enters(nickname: String, isFirst: Bool)
            /// Submits the configuration form with these fields (XEP-0045 §10.2).
            case configures([Field])
            /// Gives an account an affiliation (XEP-0045 §9, §10).
            case affiliates(account: String, affiliation: String)
        }

        /// A field of a data form with its one value, in which names are replaced.
        package struct Field: Hashable, Sendable {
            package var name: String
            package var value: String
        }
    }

    /// Somebody who sends and receives.
    package struct Participant: Hashable, Sendable {
        /// How the steps call it: `romeo/orchard` for a client, a plain word for a bare stream.
        package var name: String
        package var kind: Kind

        package enum Kind: Hashable, Sendable {
            /// A connection without anything done on it: the conversation says every byte.
            case stream
            /// A client of an account, logged in and bound by the runner.
            case client(account: String, resource: String, ClientSetup)
        }
    }

    /// How far the runner brings a client before the first step.
    package struct ClientSetup: Hashable, Sendable {
        package var start: Start
        /// The roster is requested, which makes the client an interested resource (RFC 6121 §2.2).
        package var requestsRoster: Bool
        package var enablesCarbons: Bool
        /// The priority of the initial presence (RFC 6121 §4.7.2.3); 0 is sent as no `<priority/>` at all.
        package var priority: Int

        package enum Start: Hashable, Sendable {
            /// Bound, set up and with initial presence sent.
            case online
            /// Bound and set up, but never available.
            case bound
            /// Not connected until a step says so.
            case later
        }
    }

    /// One line of the transcript with its block.
    package struct Step: Hashable, Sendable {
        /// Line of the file, counted from 1.
        package var line: Int
        package var act: Act
    }

    package enum Act: Hashable, Sendable {
        /// The text goes out as it is written, with names replaced. It need not be well-formed.
        case sends(String, text: String)
        /// Each of the participants gets the stanzas of the block, and nothing before or between them. Those marked
        /// optional may be missing.
        case receive([String], stanzas: String, order: Order)
        /// Nothing has come, which a round trip through every account proves.
        case receiveNothing([String])
        /// Connects, logs in and binds; what arrives is for the following steps. A bare stream only connects.
        case connects(String)
        /// Connects and does what its declaration says; what arrives meanwhile is not looked at.
        case comesOnline(String)
        /// Closes the stream and waits until the server has closed it too.
        case disconnects(String)
        /// Closes the connection without closing the stream.
        case drops(String)
        /// The server has closed the stream and the connection.
        case isDisconnected(String)
        /// Only where the clock is a manual one.
        case timePasses(Duration)
        /// The group is that from now on; without members there is none any more.
        case shares(Group)
    }

    package enum Order: Hashable, Sendable {
        case asWritten, any
    }

    /// Whether the conversation needs a server that has groups.
    package var needsGroups: Bool {
        !groups.isEmpty || steps.contains { step in
            if case .shares = step.act { true } else { false }
        }
    }

    /// Whether the conversation moves the clock and so cannot run against a server that has a real one.
    package var needsManualClock: Bool {
        steps.contains { step in
            if case .timePasses = step.act { true } else { false }
        }
    }
}
