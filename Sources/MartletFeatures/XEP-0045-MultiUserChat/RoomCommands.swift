import MartletCore
import MartletXML
import MartletXMPP

/// One command of a room (XEP-0050).
struct RoomCommand: Sendable {
    /// All that a command needs besides the room.
    struct Call {
        let answers: [DataForm]
        let actor: JID
        let moment: RoomMoment
    }
    /// Changes nothing where it throws.
    typealias Decision = @Sendable (Call, inout Room, inout RoomEffects) throws(StanzaError) -> CommandStep

    let name: CommandName
    /// Whoever may do that, may use it, and sees it in the list.
    let deed: RoomDeed
    let decide: Decision

    init(_ node: String, _ name: String, for deed: RoomDeed, _ decide: @escaping Decision) {
        self.name = CommandName(node, name)
        self.deed = deed
        self.decide = decide
    }
}

enum RoomCommands {
    static let all: [RoomCommand] = Hats.commands + [MemberNotices.command]

    static func command(_ node: String) -> RoomCommand? { all.first { $0.name.node == node } }
}

extension Room {
    func commandList(for actor: RoomStanding) -> IQReply {
        AdHocCommands.items(RoomCommands.all.filter { configuration.permits($0.deed, by: actor) }.map(\.name), at: address)
    }

    /// - Returns: `nil` for a node that is none of commands.
    func commandInfo(_ node: String, for actor: RoomStanding) throws(StanzaError) -> IQReply? {
        if node == Namespace.commands.name { return AdHocCommands.listInfo }
        guard let command = RoomCommands.command(node) else { return nil }
        if let refusal = configuration.refusal(of: command.deed, by: actor) { throw refusal }
        return AdHocCommands.info(command.name)
    }

    mutating func execute(_ request: RoomRequest, _ moment: RoomMoment, _ effects: inout RoomEffects) throws(StanzaError) -> IQReply {
        let wish = try CommandRequest(request.child)
        guard let command = RoomCommands.command(wish.node) else { throw .itemNotFound("there is no such command") }
        if let refusal = configuration.refusal(of: command.deed, by: request.standing) { throw refusal }
        switch try commands.take(wish, by: request.actor, now: moment.now) {
        case .canceled(let reply): return reply
        case .stage(let stage):
            let step: CommandStep
            do throws(StanzaError) {
                step = try command.decide(.init(answers: stage.answers, actor: request.actor, moment: moment), &self, &effects)
            } catch { throw error.ofCommandPayload }
            if !effects.writes.isEmpty { effects.audits.append(.roomCommand(address, node: wish.node, by: request.actor.bare.description)) }
            return commands.conclude(stage, step, by: request.actor, now: moment.now, moment.random)
        }
    }
}
