import MartletCore
import MartletXML
import MartletXMPP

/// Which requests to subscribe wait for an owner (§8.7): a command (XEP-0050) that first asks at which node, and then asks him about each of them as
/// when it came in (§8.6).
extension PubSubNodes {
    static let pendingCommand = CommandName("\(Namespace.pubsub.name)#get-pending", "Requests to subscribe that wait for an answer")

    mutating func execute(
        _ wish: CommandRequest, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        guard wish.node == Self.pendingCommand.node else { throw .itemNotFound }
        guard isOwner(actor, audience) else { throw .forbidden }
        switch try asPubSub({ () throws(StanzaError) in try commands.take(wish, by: actor, now: moment.now) }) {
        case .canceled(let reply): effects.answer = .reply(reply)
        case .stage(let stage):
            let step = try pendingStep(stage.answers, actor, audience, moment, &effects)
            effects.answer = .reply(commands.conclude(stage, step, by: actor, now: moment.now, moment.random))
        }
    }

    /// Whether there is anything here for which somebody may answer.
    func isOwner(_ actor: JID, _ audience: some NodeAudience) -> Bool {
        if actor.bare == account || (account == nil && audience.isAdmin) { return true }
        return nodes.values.contains { affiliation(of: actor, at: $0, audience) == .owner }
    }

    private func pendingStep(
        _ answers: [DataForm], _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) -> CommandStep {
        guard let answer = answers.last else { return askForNode(actor, audience) }
        let name = try asPubSub { () throws(StanzaError) in try Self.node(in: answer) }
        let node = try ownedNode(name, actor, audience)
        let waiting = node.subscriptions.all.filter { $0.state == .pending }.sorted { $0.address.precedes($1.address) }
        for subscription in waiting.prefix(settings.approvalsMax) { ask([actor.bare], about: subscription, node, moment, &effects) }
        guard waiting.count > settings.approvalsMax else { return .done() }
        return .done(notes: [CommandNote(.info, "These are \(settings.approvalsMax) of \(waiting.count) requests. Ask again when they are answered.")])
    }

    /// Only nodes where somebody waits are offered.
    private func askForNode(_ actor: JID, _ audience: some NodeAudience) -> CommandStep {
        let waiting = names { $0.subscriptions.pendingCount > 0 && affiliation(of: actor, at: $0, audience) == .owner }
        guard !waiting.isEmpty else { return .done(notes: [CommandNote(.info, "Nobody waits for an answer.")]) }
        var field = DataForm.Field("pubsub#node", .listSingle, "Node", [])
        field.options = waiting.prefix(settings.pageEntriesMax).map { DataForm.Field.Option($0.text) }
        field.isRequired = true
        return .ask(DataForm(.form, type: Self.approvalType, fields: [field]), isLast: true)
    }

    /// The form's type may be left out (§8.7.4).
    private static func node(in answer: DataForm) throws(StanzaError) -> String {
        var form = answer
        if form.type == nil { form.fields.append(.init(DataForm.typeName, .hidden, [approvalType])) }
        var fields = try { () throws(StanzaError) in try FormSubmission(form, type: approvalType) }()
        do throws(StanzaError) {
            guard let node = try fields.text("pubsub#node") else { throw .badRequest("the form says which node") }
            return node
        } catch {
            throw error.ofCommandPayload
        }
    }
}
