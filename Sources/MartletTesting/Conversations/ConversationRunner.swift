import MartletXML

/// Why a conversation did not go as it is written.
package struct ConversationFailure: Error, Hashable, CustomStringConvertible {
    /// Line of the file, counted from 1; nil before the first step.
    package var line: Int?
    package var reason: String

    package init(_ reason: String, line: Int? = nil) {
        self.reason = reason
        self.line = line
    }

    package var description: String { line.map { "line \($0): \(reason)" } ?? reason }
}

/// Holds one conversation with a server.
///
/// Every statement takes full effect before the next one begins: when another participant acts, a round trip through
/// all accounts of the conversation has first shown that what was sent before has been processed.
package final class ConversationRunner {
    private let conversation: Conversation
    private let transport: any ConversationTransport
    private var accounts: [String: ConversationAccount] = [:]
    private var clients: [String: ConversationClient] = [:]
    private var names = ConversationNames()
    /// As they are now.
    private var groups: [Conversation.Group] = []
    /// Who has sent something that no round trip has followed yet.
    private var unsettled: Set<String> = []

    /// - Parameter tag: makes the addresses of this run fresh; small letters and digits.
    package static func run(
        _ conversation: Conversation, over transport: any ConversationTransport, tag: String
    ) throws(ConversationFailure) {
        let runner = ConversationRunner(conversation, transport, tag: tag)
        defer { runner.dropAll() }
        try runner.setUp()
        for step in conversation.steps {
            do {
                try runner.perform(step.act)
            } catch {
                throw ConversationFailure(error.reason, line: step.line)
            }
        }
        try runner.expectNothingMore()
    }

    private init(_ conversation: Conversation, _ transport: any ConversationTransport, tag: String) {
        self.conversation = conversation
        self.transport = transport
        names.values["domain"] = transport.domain
        names.values["DOMAIN"] = transport.domain.uppercased()
        names.values["rooms"] = roomsDomain
        for name in conversation.rooms { names.values[name] = "\(name)-\(tag)@\(roomsDomain)" }
        for name in conversation.nobodies { names.values[name] = "\(name)-\(tag)@\(transport.domain)" }
        for name in conversation.accounts {
            add(ConversationAccount(localpart: "\(name)-\(tag)", domain: transport.domain, password: "pw-\(tag)"), as: name)
        }
        for case .client(let account, let resource, _) in conversation.participants.map(\.kind) {
            names.values["\(account)/\(resource)"] = "\(account)-\(tag)@\(transport.domain)/\(resource)"
        }
    }

    /// Where the rooms are.
    private var roomsDomain: String { "conference." + transport.domain }

    private func add(_ account: ConversationAccount, as name: String) {
        accounts[name] = account
        names.values[name] = account.bareJID
        names.values[name + ".localpart"] = account.localpart
        names.values[name + ".password"] = account.password
        names.values[name + ".plain"] = account.plain
        names.values[name + ".scram"] = account.scram
    }

    // MARK: Before the first step

    private func setUp() throws(ConversationFailure) {
        for name in conversation.accounts {
            guard let account = accounts[name] else { continue }
            try transported { () throws(ConversationTransportError) in
                try transport.createAccount(localpart: account.localpart, password: account.password)
            }
        }
        try establishSubscriptions()
        if conversation.needsGroups { try share(conversation.groups) }
        for participant in conversation.participants {
            guard case .client(_, _, let setup) = participant.kind, setup.start != .later else { continue }
            try bringOnline(participant)
        }
        for setup in conversation.roomSetups { try perform(setup) }
        try settleAll()
        clients.values.forEach { $0.discardReceived() }
    }

    private func share(_ new: [Conversation.Group]) throws(ConversationFailure) {
        groups = new
        func addresses(_ names: [String]) -> [String] { names.compactMap { accounts[$0]?.bareJID } }
        let filled = new.map { Conversation.Group(name: $0.name, members: addresses($0.members), watchers: $0.watchers.map(addresses)) }
        try transported { () throws(ConversationTransportError) in try transport.share(filled) }
    }

    /// Subscribes by the protocol's own means, with clients that are gone afterwards (RFC 6121 §3.1).
    private func establishSubscriptions() throws(ConversationFailure) {
        var helpers: [String: ConversationClient] = [:]
        for name in Set(conversation.subscriptions.flatMap { [$0.subscriber, $0.contact] }) {
            helpers[name] = try connectedClient(account: name, resource: "setup")
        }
        let everybody = accounts.values.map(\.bareJID)
        for subscription in conversation.subscriptions {
            guard let subscriber = accounts[subscription.subscriber], let contact = accounts[subscription.contact] else {
                continue
            }
            try helpers[subscription.subscriber]?.ask("<presence type='subscribe' to='\(contact.bareJID)'/>", everybody)
            try helpers[subscription.contact]?.ask("<presence type='subscribed' to='\(subscriber.bareJID)'/>", everybody)
        }
        for helper in helpers.values { try close(helper) }
    }

    private func perform(_ setup: Conversation.RoomSetup) throws(ConversationFailure) {
        let client = try client(setup.participant)
        guard let room = names.values[setup.room] else { return }
        unsettled.insert(setup.participant)
        switch setup.act {
        case .enters(let nickname, let isFirst):
            try enter(room, as: nickname, client)
            if isFirst { try request(RoomRequest.configuration([], of: room), client) }
        case .configures(let fields):
            var filled: [Conversation.RoomSetup.Field] = []
            for field in fields { filled.append(.init(name: field.name, value: try self.filled(field.value))) }
            try request(RoomRequest.configuration(filled, of: room), client)
        case .affiliates(let account, let affiliation):
            guard let account = accounts[account] else { return }
            try request(RoomRequest.affiliation(affiliation, of: account.bareJID, in: room), client)
        }
    }

    private func enter(_ room: String, as nickname: String, _ client: ConversationClient) throws(ConversationFailure) {
        let answer = try client.ask(RoomRequest.entry(into: room, as: nickname)) {
            $0.localName == "presence" && $0.attribute("from") == room + "/" + nickname
        }
        guard answer.attribute("type") == nil else {
            throw ConversationFailure("entering \(room) was answered with \(ConversationClient.text(answer))")
        }
    }

    private func request(_ text: String, _ client: ConversationClient) throws(ConversationFailure) {
        let answer = try client.ask(text)
        guard answer.attribute("type") == "result" else {
            throw ConversationFailure("\(text) was answered with \(ConversationClient.text(answer))")
        }
    }

    private func bringOnline(_ participant: Conversation.Participant) throws(ConversationFailure) {
        guard case .client(let account, let resource, let setup) = participant.kind else { return }
        let client = try connectedClient(account: account, resource: resource)
        clients[participant.name] = client
        names.values[participant.name] = client.fullJID
        for text in Self.greeting(setup) { try send(text, from: client) }
        unsettled.insert(participant.name)
    }

    /// What a client sends before it takes part.
    private static func greeting(_ setup: Conversation.ClientSetup) -> [String] {
        var texts: [String] = []
        if setup.requestsRoster { texts.append("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>") }
        if setup.enablesCarbons { texts.append("<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>") }
        if setup.start != .bound {
            texts.append(setup.priority == 0 ? "<presence/>" : "<presence><priority>\(setup.priority)</priority></presence>")
        }
        return texts
    }

    private func connectedClient(account name: String, resource: String) throws(ConversationFailure) -> ConversationClient {
        guard let account = accounts[name] else { throw ConversationFailure("there is no account \(name)") }
        let client = try connection()
        try client.logIn(account, resource: resource)
        return client
    }

    private func connection() throws(ConversationFailure) -> ConversationClient {
        ConversationClient(try transported(transport.connect))
    }

    // MARK: Steps

    private func perform(_ act: Conversation.Act) throws(ConversationFailure) {
        switch act {
        case .sends(let name, let text): try sends(name, text)
        case .receive(let list, let stanzas, let order):
            for name in list { try receives(name, stanzas, order) }
        case .receiveNothing(let list):
            try settleAll()
            for name in list { try expectNothing(name) }
        case .connects(let name): try connects(name)
        case .comesOnline(let name): try comesOnline(name)
        case .disconnects(let name): try disconnects(name)
        case .drops(let name):
            try settleAll()
            // A bare stream has its own way of showing that it has received everything.
            if try client(name).isBound { try expectNothing(name) }
            try client(name).drop()
        case .isDisconnected(let name): try isDisconnected(name)
        case .timePasses(let duration):
            // Only who has sent something is asked: a round trip of the others would be a sign of life.
            try settle(except: nil)
            try transported { () throws(ConversationTransportError) in try transport.advance(by: duration) }
        case .shares(let group):
            try settleAll()
            try share(groups.filter { $0.name != group.name } + (group.members.isEmpty ? [] : [group]))
        }
    }

    private func sends(_ name: String, _ text: String) throws(ConversationFailure) {
        try settle(except: name)
        let client = try client(name)
        names.values["self"] = client.fullJID
        try send(try filled(text), from: client)
        if client.isBound { unsettled.insert(name) }
    }

    private func receives(_ name: String, _ block: String, _ order: Conversation.Order) throws(ConversationFailure) {
        names.values["self"] = try client(name).fullJID
        var patterns = try compiled { () throws(ConversationPatternError) in try StanzaPattern.patterns(block) }
        while let required = patterns.firstIndex(where: { !$0.isOptional }) {
            let element = try element(for: name, missing: patterns.filter { !$0.isOptional }.count)
            let candidates = order == .asWritten ? patterns[...required] : patterns[...]
            var reasons: [String] = []
            guard let match = try firstMatch(of: element.root, among: candidates, &reasons) else {
                let received = "\(name) received \(ConversationClient.text(element.root))"
                throw ConversationFailure(received + "\n    but " + reasons.joined(separator: "\n    or  "))
            }
            patterns.remove(at: match)
        }
        if !patterns.isEmpty { try receivesOptional(name, patterns) }
    }

    /// Takes what has come of stanzas that may be missing.
    private func receivesOptional(_ name: String, _ optional: [StanzaPattern]) throws(ConversationFailure) {
        try settleAll()
        let client = try client(name)
        var patterns = optional
        var reasons: [String] = []
        while case .element(let element) = client.firstArrived,
            let match = try firstMatch(of: element.root, among: patterns[...], &reasons)
        {
            client.nextArrived()
            patterns.remove(at: match)
        }
    }

    /// The place of the first pattern that the element fits, or the reasons why it fits none.
    private func firstMatch(
        of element: ElementView, among patterns: ArraySlice<StanzaPattern>, _ reasons: inout [String]
    ) throws(ConversationFailure) -> Int? {
        for index in patterns.indices {
            let reason = try compiled { () throws(ConversationPatternError) in
                try patterns[index].mismatch(element, &names)
            }
            guard let reason else { return index }
            reasons.append(reason)
        }
        return nil
    }

    private func element(for name: String, missing: Int) throws(ConversationFailure) -> FlatElement {
        let client = try client(name)
        switch try transported(client.next) {
        case .element(let element), .header(let element): return element
        case .streamClosed: throw ConversationFailure("the server closed the stream of \(name) with \(missing) to come")
        case .connectionClosed: throw ConversationFailure("the connection of \(name) was closed with \(missing) to come")
        case .garbage(let error): throw ConversationFailure("\(name) received what is no stream: \(error)")
        case nil: throw ConversationFailure("\(name) received nothing, with \(missing) to come")
        }
    }

    private func connects(_ name: String) throws(ConversationFailure) {
        try settleAll()
        guard let participant = conversation.participants.first(where: { $0.name == name }) else { return }
        switch participant.kind {
        case .stream:
            clients[name] = try connection()
        case .client(let account, let resource, _):
            clients[name] = try connectedClient(account: account, resource: resource)
            names.values[name] = clients[name]?.fullJID
            unsettled.insert(name)
        }
    }

    private func comesOnline(_ name: String) throws(ConversationFailure) {
        try settleAll()
        guard let participant = conversation.participants.first(where: { $0.name == name }) else { return }
        try bringOnline(participant)
        try settleAll()
        clients[name]?.discardReceived()
    }

    private func disconnects(_ name: String) throws(ConversationFailure) {
        try settleAll()
        try expectNothing(name)
        try close(try client(name))
    }

    private func isDisconnected(_ name: String) throws(ConversationFailure) {
        let client = try client(name)
        while let event = try transported(client.next) {
            switch event {
            case .connectionClosed: return
            case .streamClosed: try send("</stream:stream>", from: client)
            case .element(let element), .header(let element):
                throw ConversationFailure("\(name) received \(ConversationClient.text(element.root))")
            case .garbage(let error): throw ConversationFailure("\(name) received what is no stream: \(error)")
            }
        }
        guard client.isConnectionClosed else { throw ConversationFailure("\(name) is still connected") }
    }

    /// Closes the stream and waits for the server to do the same (RFC 6120 §4.4).
    private func close(_ client: ConversationClient) throws(ConversationFailure) {
        try send("</stream:stream>", from: client)
        while !client.isConnectionClosed {
            guard try transported(client.next) != nil else { throw ConversationFailure("the server did not close the stream") }
        }
        client.drop()
    }

    // MARK: Order

    private func settle(except name: String?) throws(ConversationFailure) {
        for other in unsettled where other != name {
            try roundTrip(of: other)
            unsettled.remove(other)
        }
    }

    /// Shows that everything sent has been processed and everything it caused has arrived everywhere.
    private func settleAll() throws(ConversationFailure) {
        for name in unsettled { try roundTrip(of: name) }
        unsettled = []
        for client in clients.values { try client.roundTrip(to: [transport.domain]) }
    }

    private func roundTrip(of name: String) throws(ConversationFailure) {
        try clients[name]?.roundTrip(to: accounts.values.map(\.bareJID), through: conversation.rooms.compactMap { names.values[$0] })
    }

    private func expectNothing(_ name: String) throws(ConversationFailure) {
        let client = try client(name)
        guard client.fullJID != nil else {
            throw ConversationFailure("that \(name) receives nothing cannot be proved on a bare stream")
        }
        guard let event = client.nextArrived() else { return }
        switch event {
        case .element(let element), .header(let element):
            throw ConversationFailure("\(name) received \(ConversationClient.text(element.root))")
        case .streamClosed, .connectionClosed: throw ConversationFailure("the stream of \(name) was closed")
        case .garbage(let error): throw ConversationFailure("\(name) received what is no stream: \(error)")
        }
    }

    private func expectNothingMore() throws(ConversationFailure) {
        try settleAll()
        for (name, client) in clients.sorted(by: { $0.key < $1.key }) where client.isBound {
            do {
                try expectNothing(name)
            } catch {
                throw ConversationFailure("at the end \(error.reason)")
            }
        }
    }

    private func dropAll() {
        clients.values.forEach { $0.drop() }
    }

    // MARK: Errors

    private func client(_ name: String) throws(ConversationFailure) -> ConversationClient {
        guard let client = clients[name] else { throw ConversationFailure("\(name) is not connected") }
        return client
    }

    private func send(_ text: String, from client: ConversationClient) throws(ConversationFailure) {
        try transported { () throws(ConversationTransportError) in try client.send(text) }
    }

    private func filled(_ text: String) throws(ConversationFailure) -> String {
        try compiled { () throws(ConversationPatternError) in try names.filled(text) }
    }
}

func transported<Result>(
    _ body: () throws(ConversationTransportError) -> Result
) throws(ConversationFailure) -> Result {
    do {
        return try body()
    } catch {
        throw ConversationFailure("\(error)")
    }
}

private func compiled<Result>(
    _ body: () throws(ConversationPatternError) -> Result
) throws(ConversationFailure) -> Result {
    do {
        return try body()
    } catch {
        throw ConversationFailure("\(error)")
    }
}
