package import MartletCore
import MartletXML
package import MartletXMPP
import Synchronization

/// One command at the address of a domain (XEP-0050).
package struct ServerCommand: Sendable {
    /// Who may use a command, and sees it in the list.
    package enum Audience: Hashable, Sendable {
        /// Those with the admin role in the domain (``AccessPolicy``).
        case administrators
        /// The accounts of the domain.
        case accounts
        /// The same, by a session of their own that has not come in by the password of an application.
        case owners
    }

    /// All that a command decides by.
    package struct Call: Sendable {
        package let answers: [DataForm]
        package let actor: JID
        package let isByAdmin: Bool
        package let host: Host
        package let router: Router
        /// Of the loop on which it was asked.
        package let mailbox: LoopMailbox
        /// Milliseconds since 1970.
        package let now: Int64

        /// For the record.
        package var by: String { actor.bare.description }
    }

    /// Where it throws nothing was done, or the error says what was.
    package typealias Perform = @Sendable (Call) async throws(StanzaError) -> CommandStep

    package let name: CommandName
    package let audience: Audience
    let perform: Perform

    package init(_ node: String, _ name: String, for audience: Audience, _ perform: @escaping Perform) {
        self.name = CommandName(node, name)
        self.audience = audience
        self.perform = perform
    }
}

/// Commands of a domain: who is offered which, and the way of each from the first form to what came of it.
///
/// To whom a command is not open it does not exist: he neither sees it in the list nor learns more than that he may not.
package final class ServerCommands: IQResponder {
    package static let specification = AdHocCommands.specification
    package let disco: DiscoFeatures
    private let commands: [ServerCommand]
    // One command that is carried out takes it twice; never on a stanza's path.
    private let sessions = Mutex(CommandSessions())

    package init(_ commands: [ServerCommand]) {
        self.commands = commands
        disco = commands.isEmpty ? DiscoFeatures() : DiscoFeatures(host: [.commands])
    }

    package var routes: [IQRoute] {
        [.held(.set, "command", .commands, at: .host) { [self] held, context in take(held, context) }]
    }

    // MARK: Discovery (§2.2, §2.3)

    /// - Returns: `nil` for a node that is none of commands.
    func items(_ node: String, for request: IQRequest, _ host: Host) -> IQReply? {
        guard node == Namespace.commands.name else { return nil }
        return AdHocCommands.items(commands.filter { isOpen($0, to: request, host) }.map(\.name), at: host.domain)
    }

    /// The same.
    func info(_ node: String, for request: IQRequest, _ host: Host) throws(StanzaError) -> IQReply? {
        if node == Namespace.commands.name { return AdHocCommands.listInfo }
        guard let command = commands.first(where: { $0.name.node == node }) else { return nil }
        guard isOpen(command, to: request, host) else { throw .forbidden() }
        return AdHocCommands.info(command.name)
    }

    private func isOpen(_ command: ServerCommand, to request: IQRequest, _ host: Host) -> Bool {
        switch command.audience {
        case .administrators: request.isByAdmin
        case .accounts: Self.isAccount(request.actor, of: host)
        case .owners: Self.isAccount(request.actor, of: host) && request.actor.resourcepart != nil && !request.isByApplication
        }
    }

    private static func isAccount(_ actor: JID, of host: Host) -> Bool { actor.bare.domainpart == host.domain.domainpart }

    // MARK: Carrying out (§2.4)

    private func take(_ held: HeldRequest, _ context: LoopContext) {
        do throws(StanzaError) {
            let request = held.request
            guard let host = request.host else { throw .serviceUnavailable }
            let wish = try CommandRequest(request.child)
            let command = try command(wish.node, for: request, host)
            let now = context.time.wallMilliseconds
            switch try turn(wish, by: request.actor, now) {
            case .canceled(let reply): held.answer(reply, after: .none, context)
            case .stage(let stage):
                let (mailbox, random) = (context.mailbox, context.random)
                held.answer(context) { [self] router async throws(StanzaError) in
                    let step: CommandStep
                    do throws(StanzaError) {
                        step = try await command.perform(
                            .init(
                                answers: stage.answers, actor: request.actor, isByAdmin: request.isByAdmin, host: host, router: router, mailbox: mailbox,
                                now: now))
                    } catch { throw error.ofCommandPayload }
                    return sessions.withLock { $0.conclude(stage, step, by: request.actor, now: now, random) }
                }
            }
        } catch {
            held.refuse(error, context)
        }
    }

    private func command(_ node: String, for request: IQRequest, _ host: Host) throws(StanzaError) -> ServerCommand {
        guard let command = commands.first(where: { $0.name.node == node }) else { throw .itemNotFound("there is no such command") }
        guard isOpen(command, to: request, host) else {
            host.policy.refused(request.actor.bare, "command \(node)", needing: command.audience == .administrators ? .administer : nil)
            throw .forbidden()
        }
        return command
    }

    private func turn(_ wish: CommandRequest, by actor: JID, _ now: Int64) throws(StanzaError) -> CommandTurn {
        try sessions.withLock { sessions throws(StanzaError) in try sessions.take(wish, by: actor, now: now) }
    }
}
