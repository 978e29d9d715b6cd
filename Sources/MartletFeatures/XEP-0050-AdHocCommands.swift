package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let commands: Namespace = "http://jabber.org/protocol/commands"
}

/// Commands that somebody is led through by forms. Here is the protocol, for whatever address; which commands there are, who may use them and
/// what they do is for the responder to say (for rooms: `RoomCommands`).
///
/// A request is answered in three steps, so that what a command changes stays in its responder's hands: ``CommandSessions/take(_:by:now:)``
/// says which answers the command has now, the command makes a ``CommandStep`` of them, and ``CommandSessions/conclude(_:_:by:now:_:)``
/// remembers that and writes the reply.
package enum AdHocCommands {
    package static let specification = Specification.xep(50, "Ad-Hoc Commands", version: "1.3.0", note: "in rooms, at the address of a domain, and of nodes' owners")

    /// §2.2.
    package static func items(_ commands: [CommandName], at address: BareJID) -> IQReply {
        IQReply { writer in
            writer.element("query", .discoItems, ["node": Namespace.commands.name]) { writer in
                for command in commands {
                    writer.element("item", .discoItems, ["jid": address.description, "node": command.node, "name": command.name])
                }
            }
        }
    }

    package static let listInfo = DiscoInfo(
        identities: [.init("automation", "command-list")], features: [Namespace.commands.name]
    ).reply(node: Namespace.commands.name)

    package static func info(_ command: CommandName) -> IQReply {
        DiscoInfo(
            identities: [.init("automation", "command-node", name: command.name)], features: [Namespace.commands.name, Namespace.dataForms.name]
        ).reply(node: command.node)
    }
}

/// What a command is called, by programs and by people.
package struct CommandName: Hashable, Sendable {
    package let node: String
    package let name: String
    package init(_ node: String, _ name: String) {
        self.node = node
        self.name = name
    }
}

/// `<command/>` as it comes in (§4.1).
package struct CommandRequest: Hashable, Sendable {
    package enum Action: String, Hashable, Sendable { case execute, cancel, prev, next, complete }

    package let node: String
    /// `nil` at the beginning.
    package let sessionID: String?
    package let action: Action
    /// A submission. One of type `cancel` counts as such (§3.5.1).
    package let answer: DataForm?

    package init(_ element: ElementView) throws(StanzaError) {
        guard let node = element.attribute("node") else { throw .badRequest("a command has a node") }
        guard let action = Action(rawValue: element.attribute("action") ?? Action.execute.rawValue) else { throw .command("malformed-action") }
        self.node = node
        self.action = action
        sessionID = element.attribute("sessionid")
        answer = try element.firstChild("x", .dataForms).map(Self.submission)
    }

    private static func submission(_ x: ElementView) throws(StanzaError) -> DataForm {
        var form = try DataForm(x)
        guard form.kind == .submit || form.kind == .cancel else { throw .command("bad-payload") }
        form.kind = .submit
        return form
    }
}

/// What a command makes of the answers it has got so far.
package enum CommandStep: Hashable, Sendable {
    /// It asks on. With the answer to the last form it is complete.
    case ask(DataForm, isLast: Bool)
    case done(DataForm? = nil, notes: [CommandNote] = [])
}

/// §4.3.
package struct CommandNote: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable { case info, warn, error }
    package var kind: Kind
    package var text: String
    package init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }
}

/// Where somebody stands in a command, when it is the command's turn.
package struct CommandStage: Hashable, Sendable {
    package let node: String
    /// `nil` at the beginning.
    let sessionID: String?
    /// One for each form, in order.
    package let answers: [DataForm]
}

package enum CommandTurn: Hashable, Sendable {
    case stage(CommandStage)
    case canceled(IQReply)
}

/// The commands that were begun at one address and wait for an answer (§3.3), oldest first.
///
/// Only the session that began a command goes on with it.
package struct CommandSessions: Sendable {
    /// Begun commands; the oldest one gives way.
    package static let countMax = 64
    /// The same, of one account.
    package static let accountMax = 4
    /// For how long a command waits for an answer, in milliseconds.
    package static let lifetime: Int64 = 600_000

    fileprivate struct Session {
        let id: String
        let node: String
        let requester: JID
        let answers: [DataForm]
        let isLast: Bool
        let expires: Int64
    }
    private var sessions: [Session] = []

    package init() {}
    package var count: Int { sessions.count }

    /// - Parameter now: in milliseconds since 1970, as everywhere here.
    package mutating func take(_ request: CommandRequest, by requester: JID, now: Int64) throws(StanzaError) -> CommandTurn {
        sessions.removeAll { $0.expires <= now }
        guard let id = request.sessionID else { return .stage(try Self.beginning(request)) }
        guard let session = sessions.first(where: { $0.id == id }) else {
            throw StanzaError(.notAllowed, .cancel, application: QName("session-expired", .commands))
        }
        guard session.requester == requester, session.node == request.node else { throw .command("bad-sessionid") }
        guard request.action != .cancel else {
            sessions.removeAll { $0.id == id }
            return .canceled(IQReply { Self.write(request.node, id, "canceled", to: &$0) { _ in } })
        }
        return .stage(CommandStage(node: request.node, sessionID: id, answers: try session.answers(with: request)))
    }

    /// Whoever knows the form sends it filled in at once (XEP-0317 §3.6).
    private static func beginning(_ request: CommandRequest) throws(StanzaError) -> CommandStage {
        guard request.action != .cancel, request.action != .prev else { throw .command("bad-action") }
        return CommandStage(node: request.node, sessionID: nil, answers: request.answer.map { [$0] } ?? [])
    }

    /// A stage that was answered with an error is still there to be tried again: its session is as it was.
    package mutating func conclude(
        _ stage: CommandStage, _ step: CommandStep, by requester: JID, now: Int64, _ random: any RandomSource
    ) -> IQReply {
        sessions.removeAll { $0.id == stage.sessionID }
        let id = stage.sessionID ?? random.token()
        switch step {
        case .ask(let form, let isLast):
            makeRoom(for: requester.bare)
            sessions.append(
                Session(
                    id: id, node: stage.node, requester: requester, answers: stage.answers, isLast: isLast, expires: now + Self.lifetime))
            return IQReply { Self.write(stage.node, id, form, isFirst: stage.answers.isEmpty, isLast: isLast, to: &$0) }
        case .done(let form, let notes):
            return IQReply { writer in
                Self.write(stage.node, id, "completed", to: &writer) { writer in
                    for note in notes { writer.element("note", .commands, ["type": note.kind.rawValue], text: note.text) }
                    form?.write(to: &writer)
                }
            }
        }
    }

    private mutating func makeRoom(for account: BareJID) {
        if sessions.count(where: { $0.requester.bare == account }) >= Self.accountMax,
            let oldest = sessions.firstIndex(where: { $0.requester.bare == account })
        {
            sessions.remove(at: oldest)
        }
        if sessions.count >= Self.countMax { sessions.removeFirst() }
    }

    // MARK: Writing (§4)

    private static func write(_ node: String, _ id: String, _ form: DataForm, isFirst: Bool, isLast: Bool, to writer: inout XMLWriter) {
        write(node, id, "executing", to: &writer) { writer in
            writer.element("actions", .commands, ["execute": isLast ? "complete" : "next"]) { writer in
                if !isFirst { writer.element("prev", .commands) }
                if isLast { writer.element("complete", .commands) } else { writer.element("next", .commands) }
            }
            form.write(to: &writer)
        }
    }

    private static func write(
        _ node: String, _ id: String, _ status: String, to writer: inout XMLWriter, _ content: (inout XMLWriter) -> Void
    ) {
        writer.element("command", .commands, ["node": node, "sessionid": id, "status": status], content)
    }
}

extension CommandSessions.Session {
    /// §3.4. `execute` is what the stage offers.
    fileprivate func answers(with request: CommandRequest) throws(StanzaError) -> [DataForm] {
        switch request.action {
        case .prev where !answers.isEmpty: return answers.dropLast()
        case .next where isLast, .complete where !isLast, .prev, .cancel: throw .command("bad-action")
        case .next, .complete, .execute:
            guard let answer = request.answer else { throw .command("bad-payload") }
            return answers + [answer]
        }
    }
}

extension StanzaError {
    /// §4.4.
    fileprivate static func command(_ application: String) -> StanzaError {
        StanzaError(.badRequest, .modify, application: QName(application, .commands))
    }

    /// The same where a form was not filled in as the command wants it.
    var ofCommandPayload: StanzaError {
        guard condition == .badRequest, application == nil else { return self }
        return StanzaError(.badRequest, .modify, text: text, application: QName("bad-payload", .commands))
    }
}
