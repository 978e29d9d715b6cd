import MartletTesting
import Testing

@Suite("The format of conversations")
struct ConversationParserTests {
    private static let head = "title: A test\nsection: RFC 6120 §1\n"

    private func parsed(_ text: String) throws -> Conversation {
        try ConversationParser.parse(Self.head + text)
    }

    private func reason(_ text: String) -> ConversationSyntaxError? {
        #expect(throws: ConversationSyntaxError.self) { try parsed(text) }
    }

    @Test("a head declares accounts, addresses without account, subscriptions and participants")
    func head() throws {
        let conversation = try parsed(
            """
            expect-difference Prosody: it knows better
            account paris
            nobody tybalt
            contacts romeo juliet
            subscribed paris to juliet
            client romeo/orchard
            client juliet/balcony priority -5, carbons, without roster
            client juliet/chamber later
            client juliet/cell bound
            stream visitor
            visitor connects
            """)
        #expect(conversation.title == "A test")
        #expect(conversation.section == "RFC 6120 §1")
        #expect(conversation.expectedDifferences == ["prosody": "it knows better"])
        #expect(conversation.accounts == ["paris", "romeo", "juliet"])
        #expect(conversation.nobodies == ["tybalt"])
        #expect(conversation.subscriptions.map { "\($0.subscriber) \($0.contact)" } == ["romeo juliet", "juliet romeo", "paris juliet"])
        #expect(conversation.participants.map(\.name) == ["romeo/orchard", "juliet/balcony", "juliet/chamber", "juliet/cell", "visitor"])
        let setups = conversation.participants.compactMap { participant in
            if case .client(_, _, let setup) = participant.kind { setup } else { nil }
        }
        #expect(setups.map(\.start) == [.online, .online, .later, .bound])
        #expect(setups.map(\.priority) == [0, -5, 0, 0])
        #expect(setups.map(\.requestsRoster) == [true, false, true, true])
        #expect(setups.map(\.enablesCarbons) == [false, true, false, false])
    }

    @Test("a head declares rooms, and who does what in them first")
    func rooms() throws {
        let conversation = try parsed(
            """
            client crone1/desktop
            client hag66/pda bound
            room council
            room heath blasted
            occupants council: crone1/desktop as first witch
            config council: muc#roomconfig_membersonly=1, muc#roomconfig_roomname=a=b
            affiliations council: hag66 member, macbeth outcast
            occupants council: hag66/pda as secondwitch, crone1/desktop as third
            occupants heath: hag66/pda as hag
            hag66/pda receives nothing
            """)
        #expect(conversation.rooms == ["council", "heath", "blasted"])
        #expect(conversation.accounts == ["crone1", "hag66", "macbeth"])
        let setups = conversation.roomSetups.map { "\($0.participant) in \($0.room) " + act($0.act) }
        #expect(
            setups == [
                "crone1/desktop in council enters first as first witch",
                "crone1/desktop in council configures muc#roomconfig_membersonly=1; muc#roomconfig_roomname=a=b",
                "crone1/desktop in council makes hag66 member",
                "crone1/desktop in council makes macbeth outcast",
                "hag66/pda in council enters as secondwitch",
                "crone1/desktop in council enters as third",
                "hag66/pda in heath enters first as hag",
            ])
    }

    private func act(_ act: Conversation.RoomSetup.Act) -> String {
        switch act {
        case .enters(let nickname, let isFirst): "enters \(isFirst ? "first " : "")as \(nickname)"
        case .configures(let fields): "configures " + fields.map { "\($0.name)=\($0.value)" }.joined(separator: "; ")
        case .affiliates(let account, let affiliation): "makes \(account) \(affiliation)"
        }
    }

    @Test(
        "what is wrong about rooms is said with its line",
        arguments: [
            ("room rooms", "'rooms' is no name"),
            ("occupants council crone1/desktop as a", "a room, a colon and a list"),
            ("occupants heath: crone1/desktop as a", "'heath' is not declared as a room"),
            ("occupants council:", "the list is empty"),
            ("occupants council: crone1/desktop", "occupants ROOM"),
            ("occupants council: crone1/desktop as", "occupants ROOM"),
            ("occupants council: hag66/pda as a", "'hag66/pda' is no client that is online"),
            ("occupants council: crone1/late as a", "'crone1/late' is no client that is online"),
            ("config council: a=b", "nobody owns it"),
            ("affiliations council: hag66 member", "nobody owns it"),
            ("occupants council: crone1/desktop as a\nconfig council: a", "config ROOM"),
            ("occupants council: crone1/desktop as a\naffiliations council: hag66", "affiliations ROOM"),
        ])
    func wrongRooms(text: String, wanted: String) {
        let error = reason("client crone1/desktop\nclient crone1/late later\nroom council\n" + text)
        #expect(error?.line == 5 + text.split(separator: "\n").count)
        #expect(error?.reason.contains(wanted) == true, "\(error?.reason ?? "")")
    }

    @Test("a block loses its common indentation and the empty lines around it, and nothing else")
    func blocks() throws {
        let conversation = try parsed(
            """
            client romeo/orchard

            romeo/orchard sends:

                <message>
                    <body> x </body>

                </message>

            # a comment
            romeo/orchard receives nothing
            """)
        #expect(conversation.steps.map(\.line) == [5, 13])
        #expect(conversation.steps.first?.act == .sends("romeo/orchard", text: "<message>\n    <body> x </body>\n\n</message>"))
        #expect(conversation.steps.last?.act == .receiveNothing(["romeo/orchard"]))
    }

    @Test("every verb is understood")
    func verbs() throws {
        let conversation = try parsed(
            """
            client a/1
            client b/2
            client c/3
            a/1, b/2 and c/3 receive:
                <x/>
            a/1 and b/2 receive in any order:
                <x/>
            a/1 receives:
                <x/>
            a/1 connects
            a/1 comes online
            a/1 disconnects
            a/1 drops
            a/1 is disconnected
            a/1 and b/2 receive nothing
            time passes 90 s
            time passes 250ms
            time passes 5min
            """)
        #expect(
            conversation.steps.map(\.act) == [
                .receive(["a/1", "b/2", "c/3"], stanzas: "<x/>", order: .asWritten),
                .receive(["a/1", "b/2"], stanzas: "<x/>", order: .any),
                .receive(["a/1"], stanzas: "<x/>", order: .asWritten),
                .connects("a/1"), .comesOnline("a/1"), .disconnects("a/1"), .drops("a/1"), .isDisconnected("a/1"),
                .receiveNothing(["a/1", "b/2"]),
                .timePasses(.seconds(90)), .timePasses(.milliseconds(250)), .timePasses(.seconds(300)),
            ])
        #expect(conversation.needsManualClock)
    }

    @Test("groups are there before the first step, and become others in a step")
    func groups() throws {
        let conversation = try ConversationParser.parse(
            """
            title: t
            section: s
            group Theatre: romeo juliet
            group Helpers: nurse, seen by juliet tybalt
            client romeo/orchard
            group Theatre becomes: romeo
            group Helpers becomes:
            """)
        #expect(conversation.groups == [
            .init(name: "Theatre", members: ["romeo", "juliet"], watchers: nil),
            .init(name: "Helpers", members: ["nurse"], watchers: ["juliet", "tybalt"]),
        ])
        #expect(conversation.accounts == ["romeo", "juliet", "nurse", "tybalt"])
        #expect(conversation.steps.map(\.act) == [
            .shares(.init(name: "Theatre", members: ["romeo"], watchers: nil)), .shares(.init(name: "Helpers", members: [], watchers: nil)),
        ])
        #expect(conversation.needsGroups)
    }

    @Test(
        "what is no statement is refused with its line",
        arguments: [
            ("client a/1\na/1 whispers", 4),
            ("group Theatre", 3),
            ("group The atre: a", 3),
            ("client a/1\ngroup Theatre grows: a", 4),
            ("client a/1\na/1 sends:", 4),
            ("client a/1\na/1 connects\n  <x/>", 4),
            ("client a/1\nb/2 connects", 4),
            ("client a/1\nclient a/1", 4),
            ("client a/1 asleep", 3),
            ("client a/1 priority 128", 3),
            ("client a", 3),
            ("client Romeo/1", 3),
            ("client any/1", 3),
            ("contacts a", 3),
            ("subscribed a b", 3),
            ("expect-difference prosody", 3),
            ("expect-difference prosody:", 3),
            ("client a/1\ntime passes soon", 4),
        ])
    func errors(text: String, line: Int) {
        #expect(reason(text)?.line == line)
    }

    @Test("a title, a section and a step are needed")
    func completeness() {
        for text in ["", "title: x\nsection: y", "title: x\nclient a/1\na/1 connects", "section: x\nclient a/1\na/1 connects", "  <x/>"] {
            #expect(throws: ConversationSyntaxError.self) { try ConversationParser.parse(text) }
        }
    }
}
