/// What is wrong in a conversation file, and in which line.
package struct ConversationSyntaxError: Error, Hashable, CustomStringConvertible {
    /// Counted from 1.
    package var line: Int
    package var reason: String

    package var description: String { "line \(line): \(reason)" }
}

/// Reads the text of a conversation file.
///
/// The format is made of lines. A line that starts in the first column is a statement; the indented lines that follow
/// it are its block. Lines that start with `#` are comments.
package struct ConversationParser {
    private var statements: [Statement]
    private var conversation = Conversation(
        title: "", section: "", expectedDifferences: [:], accounts: [], nobodies: [], subscriptions: [], rooms: [],
        roomSetups: [], participants: [], steps: [])

    private struct Statement {
        var line: Int
        var text: String
        var block: [String] = []
    }

    package static func parse(_ text: String) throws(ConversationSyntaxError) -> Conversation {
        var parser = ConversationParser(statements: try statements(of: text))
        for statement in parser.statements {
            try parser.read(statement)
        }
        try parser.checkHead()
        return parser.conversation
    }

    private init(statements: [Statement]) {
        self.statements = statements
    }

    // MARK: Lines

    private static func statements(of text: String) throws(ConversationSyntaxError) -> [Statement] {
        var statements: [Statement] = []
        for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = String(raw)
            guard let first = line.first(where: { !$0.isWhitespace }) else {
                statements.last.map { _ in statements[statements.count - 1].block.append("") }
                continue
            }
            if line.first?.isWhitespace == true {
                guard !statements.isEmpty else {
                    throw ConversationSyntaxError(line: index + 1, reason: "an indented line without a statement before it")
                }
                statements[statements.count - 1].block.append(line)
            } else if first != "#" {
                statements.append(Statement(line: index + 1, text: trimmed(line)))
            }
        }
        return statements
    }

    /// The block without empty lines around it and without the indentation that all its lines share.
    private static func text(of block: [String]) -> String {
        var lines = block[...]
        while lines.first?.isEmpty == true { lines.removeFirst() }
        while lines.last?.isEmpty == true { lines.removeLast() }
        let indentation = lines.filter { !$0.isEmpty }.map { $0.prefix(while: \.isWhitespace).count }.min() ?? 0
        return lines.map { String($0.dropFirst(indentation)) }.joined(separator: "\n")
    }

    // MARK: Statements

    private mutating func read(_ statement: Statement) throws(ConversationSyntaxError) {
        let block = Self.text(of: statement.block)
        if try readHead(statement) {
            guard block.isEmpty else { throw error(statement, "this statement takes no block") }
            return
        }
        let act = try act(of: statement, block: block)
        conversation.steps.append(Conversation.Step(line: statement.line, act: act))
    }

    /// Reads a declaration; false if the statement is none.
    private mutating func readHead(_ statement: Statement) throws(ConversationSyntaxError) -> Bool {
        let (word, rest) = Self.split(statement.text)
        if try readRoom(word, rest, statement) { return true }
        switch word {
        case "title:":
            conversation.title = rest
        case "section:":
            conversation.section = rest
        case "expect-difference":
            guard let colon = rest.firstIndex(of: ":") else { throw error(statement, "expect-difference SERVER: REASON") }
            let reason = Self.trimmed(String(rest[rest.index(after: colon)...]))
            guard !reason.isEmpty else { throw error(statement, "an expected difference needs a reason") }
            conversation.expectedDifferences[Self.trimmed(String(rest[..<colon])).lowercased()] = reason
        case "account":
            for name in Self.words(rest) { try addAccount(name, statement) }
        case "nobody":
            for name in Self.words(rest) {
                try checkName(name, statement)
                conversation.nobodies.append(name)
            }
        case "group":
            guard Self.group(rest, before: " becomes:") == nil else { return false }
            conversation.groups.append(try group(rest, before: ":", statement))
        case "client":
            try readClient(rest, statement)
        case "stream":
            try checkName(rest, statement)
            try addParticipant(Conversation.Participant(name: rest, kind: .stream), statement)
        case "contacts":
            let names = Self.words(rest)
            guard names.count == 2, let one = names.first, let other = names.last else {
                throw error(statement, "contacts ACCOUNT ACCOUNT")
            }
            try addSubscription(of: one, to: other, statement)
            try addSubscription(of: other, to: one, statement)
        case "subscribed":
            let names = Self.words(rest)
            guard names.count == 3, names[1] == "to" else { throw error(statement, "subscribed ACCOUNT to ACCOUNT") }
            try addSubscription(of: names[0], to: names[2], statement)
        default:
            return false
        }
        return true
    }

    /// `NAME: ACCOUNT…`, with `, seen by ACCOUNT…` behind it if others than the members see them.
    private mutating func group(_ text: String, before colon: String, _ statement: Statement) throws(ConversationSyntaxError) -> Conversation.Group {
        guard let (name, rest) = Self.group(text, before: colon) else { throw error(statement, "group NAME: ACCOUNT...") }
        let parts = rest.split(separator: ", seen by ", maxSplits: 1, omittingEmptySubsequences: false).map { Self.words(String($0)) }
        let group = Conversation.Group(name: name, members: parts.first ?? [], watchers: parts.count > 1 ? parts[1] : nil)
        for account in group.members + (group.watchers ?? []) { try addAccount(account, statement) }
        return group
    }

    private static func group(_ text: String, before colon: String) -> (name: String, rest: String)? {
        guard let range = text.firstRange(of: colon) else { return nil }
        let name = trimmed(String(text[..<range.lowerBound]))
        let isPlain = !name.isEmpty && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
        return isPlain ? (name, trimmed(String(text[range.upperBound...]))) : nil
    }

    private mutating func readClient(_ text: String, _ statement: Statement) throws(ConversationSyntaxError) {
        let (name, rest) = Self.split(text)
        guard let slash = name.firstIndex(of: "/") else { throw error(statement, "client ACCOUNT/RESOURCE") }
        let account = String(name[..<slash])
        let resource = String(name[name.index(after: slash)...])
        guard !resource.isEmpty else { throw error(statement, "client ACCOUNT/RESOURCE") }
        try addAccount(account, statement)
        guard let setup = Self.setup(rest) else { throw error(statement, "unknown option in '\(rest)'") }
        try addParticipant(
            Conversation.Participant(name: name, kind: .client(account: account, resource: resource, setup)), statement)
    }

    private static func setup(_ options: String) -> Conversation.ClientSetup? {
        var setup = Conversation.ClientSetup(start: .online, requestsRoster: true, enablesCarbons: false, priority: 0)
        for option in options.split(separator: ",").map({ trimmed(String($0)) }) {
            switch option {
            case "later": setup.start = .later
            case "bound": setup.start = .bound
            case "carbons": setup.enablesCarbons = true
            case "without roster": setup.requestsRoster = false
            default:
                let (word, rest) = split(option)
                guard word == "priority", let priority = Int(rest), (-128...127).contains(priority) else { return nil }
                setup.priority = priority
            }
        }
        return setup
    }

    // MARK: Rooms

    /// Reads a declaration about rooms; false if the statement is none.
    private mutating func readRoom(
        _ word: String, _ rest: String, _ statement: Statement
    ) throws(ConversationSyntaxError) -> Bool {
        switch word {
        case "room":
            for name in Self.words(rest) {
                try checkName(name, statement)
                conversation.rooms.append(name)
            }
        case "occupants":
            let (room, list) = try roomAndList(rest, statement)
            for item in list { try addOccupant(item, of: room, statement) }
        case "config":
            let (room, list) = try roomAndList(rest, statement)
            try addConfiguration(list, of: room, statement)
        case "affiliations":
            let (room, list) = try roomAndList(rest, statement)
            for item in list { try addAffiliation(item, in: room, statement) }
        default:
            return false
        }
        return true
    }

    /// Reads `council: one, two`.
    private func roomAndList(
        _ text: String, _ statement: Statement
    ) throws(ConversationSyntaxError) -> (room: String, list: [String]) {
        guard let colon = text.firstIndex(of: ":") else { throw error(statement, "a room, a colon and a list") }
        let room = Self.trimmed(String(text[..<colon]))
        guard conversation.rooms.contains(room) else { throw error(statement, "'\(room)' is not declared as a room") }
        let list = text[text.index(after: colon)...].split(separator: ",").map { Self.trimmed(String($0)) }
        guard !list.isEmpty else { throw error(statement, "the list is empty") }
        return (room, list)
    }

    /// Reads `crone1/desktop as firstwitch`.
    private mutating func addOccupant(
        _ text: String, of room: String, _ statement: Statement
    ) throws(ConversationSyntaxError) {
        let (name, rest) = Self.split(text)
        let (word, nickname) = Self.split(rest)
        guard word == "as", !nickname.isEmpty else { throw error(statement, "occupants ROOM: CLIENT as NICKNAME, …") }
        guard isOnlineAtFirst(name) else { throw error(statement, "'\(name)' is no client that is online from the beginning") }
        let isFirst = owner(of: room) == nil
        conversation.roomSetups.append(
            Conversation.RoomSetup(room: room, participant: name, act: .enters(nickname: nickname, isFirst: isFirst)))
    }

    /// Reads `muc#roomconfig_membersonly=1`, as often as there are fields.
    private mutating func addConfiguration(
        _ list: [String], of room: String, _ statement: Statement
    ) throws(ConversationSyntaxError) {
        var fields: [Conversation.RoomSetup.Field] = []
        for text in list {
            guard let equals = text.firstIndex(of: "=") else { throw error(statement, "config ROOM: FIELD=VALUE, …") }
            fields.append(
                Conversation.RoomSetup.Field(name: String(text[..<equals]), value: String(text[text.index(after: equals)...])))
        }
        try addOwnersAct(.configures(fields), in: room, statement)
    }

    /// Reads `hag66 member`.
    private mutating func addAffiliation(
        _ text: String, in room: String, _ statement: Statement
    ) throws(ConversationSyntaxError) {
        let words = Self.words(text)
        guard words.count == 2, let account = words.first, let affiliation = words.last else {
            throw error(statement, "affiliations ROOM: ACCOUNT AFFILIATION, …")
        }
        try addAccount(account, statement)
        try addOwnersAct(.affiliates(account: account, affiliation: affiliation), in: room, statement)
    }

    private mutating func addOwnersAct(
        _ act: Conversation.RoomSetup.Act, in room: String, _ statement: Statement
    ) throws(ConversationSyntaxError) {
        guard let owner = owner(of: room) else { throw error(statement, "nobody has entered '\(room)' yet, so nobody owns it") }
        conversation.roomSetups.append(Conversation.RoomSetup(room: room, participant: owner, act: act))
    }

    /// The client that was the first to enter.
    private func owner(of room: String) -> String? {
        conversation.roomSetups.first { $0.room == room }?.participant
    }

    private func isOnlineAtFirst(_ name: String) -> Bool {
        conversation.participants.contains { participant in
            guard participant.name == name, case .client(_, _, let setup) = participant.kind else { return false }
            return setup.start != .later
        }
    }

    // MARK: The steps

    private mutating func act(of statement: Statement, block: String) throws(ConversationSyntaxError) -> Conversation.Act {
        let act = try blockAct(of: statement, block: block)
        if let act {
            guard !block.isEmpty else { throw error(statement, "the block is missing") }
            return act
        }
        guard block.isEmpty else { throw error(statement, "this statement takes no block") }
        return try plainAct(of: statement)
    }

    private func blockAct(of statement: Statement, block: String) throws(ConversationSyntaxError) -> Conversation.Act? {
        if let name = Self.subject(of: statement.text, before: " sends:") {
            return .sends(try known(name, statement), text: block)
        }
        for verb in [" receives", " receive"] {
            if let names = Self.subject(of: statement.text, before: verb + ":") {
                return .receive(try knownList(names, statement), stanzas: block, order: .asWritten)
            }
            if let names = Self.subject(of: statement.text, before: verb + " in any order:") {
                return .receive(try knownList(names, statement), stanzas: block, order: .any)
            }
        }
        return nil
    }

    private mutating func plainAct(of statement: Statement) throws(ConversationSyntaxError) -> Conversation.Act {
        let text = statement.text
        if text.hasPrefix("group ") { return .shares(try group(Self.split(text).rest, before: " becomes:", statement)) }
        for verb in [" receives nothing", " receive nothing"] {
            if let names = Self.subject(of: text, before: verb) { return .receiveNothing(try knownList(names, statement)) }
        }
        if let name = Self.subject(of: text, before: " connects") { return .connects(try known(name, statement)) }
        if let name = Self.subject(of: text, before: " comes online") { return .comesOnline(try known(name, statement)) }
        if let name = Self.subject(of: text, before: " disconnects") { return .disconnects(try known(name, statement)) }
        if let name = Self.subject(of: text, before: " drops") { return .drops(try known(name, statement)) }
        if let name = Self.subject(of: text, before: " is disconnected") {
            return .isDisconnected(try known(name, statement))
        }
        if text.hasPrefix("time passes ") {
            guard let duration = Self.duration(String(text.dropFirst("time passes ".count))) else {
                throw error(statement, "time passes NUMBER followed by ms, s, min or h")
            }
            return .timePasses(duration)
        }
        throw error(statement, "'\(text)' is no statement")
    }

    // MARK: Names

    private mutating func addAccount(_ name: String, _ statement: Statement) throws(ConversationSyntaxError) {
        guard !conversation.accounts.contains(name) else { return }
        try checkName(name, statement)
        conversation.accounts.append(name)
    }

    private mutating func addSubscription(
        of subscriber: String, to contact: String, _ statement: Statement
    ) throws(ConversationSyntaxError) {
        try addAccount(subscriber, statement)
        try addAccount(contact, statement)
        conversation.subscriptions.append(Conversation.Subscription(subscriber: subscriber, contact: contact))
    }

    private mutating func addParticipant(
        _ participant: Conversation.Participant, _ statement: Statement
    ) throws(ConversationSyntaxError) {
        guard !conversation.participants.contains(where: { $0.name == participant.name }) else {
            throw error(statement, "'\(participant.name)' is declared twice")
        }
        conversation.participants.append(participant)
    }

    /// Names become localparts, so they are plain: small letters and digits.
    private func checkName(_ name: String, _ statement: Statement) throws(ConversationSyntaxError) {
        let isPlain = !name.isEmpty && name.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber) }
        guard isPlain, !ConversationNames.reserved.contains(name) else {
            throw error(statement, "'\(name)' is no name: small letters and digits, and none of the reserved words")
        }
    }

    private func known(_ name: String, _ statement: Statement) throws(ConversationSyntaxError) -> String {
        guard conversation.participants.contains(where: { $0.name == name }) else {
            throw error(statement, "'\(name)' is not declared as a client or stream")
        }
        return name
    }

    /// Reads `a`, `a and b`, or `a, b and c`.
    private func knownList(_ text: String, _ statement: Statement) throws(ConversationSyntaxError) -> [String] {
        var names: [String] = []
        for word in Self.words(text) where word != "and" {
            names.append(try known(word.last == "," ? String(word.dropLast()) : word, statement))
        }
        return names
    }

    private func checkHead() throws(ConversationSyntaxError) {
        guard !conversation.title.isEmpty else { throw ConversationSyntaxError(line: 1, reason: "the title is missing") }
        guard !conversation.section.isEmpty else { throw ConversationSyntaxError(line: 1, reason: "the section is missing") }
        guard !conversation.steps.isEmpty else { throw ConversationSyntaxError(line: 1, reason: "nothing happens") }
    }

    // MARK: Words

    private static func subject(of text: String, before verb: String) -> String? {
        text.hasSuffix(verb) ? String(text.dropLast(verb.count)) : nil
    }

    private static func duration(_ text: String) -> Duration? {
        let digits = text.prefix { $0.isNumber }
        guard let number = Int64(digits) else { return nil }
        switch trimmed(String(text.dropFirst(digits.count))) {
        case "ms": return .milliseconds(number)
        case "s": return .seconds(number)
        case "min": return .seconds(number * 60)
        case "h": return .seconds(number * 3600)
        default: return nil
        }
    }

    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map(String.init)
    }

    /// The first word, and what follows it.
    private static func split(_ text: String) -> (word: String, rest: String) {
        let word = text.prefix { !$0.isWhitespace }
        return (String(word), trimmed(String(text.dropFirst(word.count))))
    }

    private static func trimmed(_ text: String) -> String {
        var slice = Substring(text)
        while slice.first?.isWhitespace == true { slice.removeFirst() }
        while slice.last?.isWhitespace == true { slice.removeLast() }
        return String(slice)
    }

    private func error(_ statement: Statement, _ reason: String) -> ConversationSyntaxError {
        ConversationSyntaxError(line: statement.line, reason: reason)
    }
}
