import ArgumentParser
import Foundation

struct InviteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invite", abstract: "Make links by which people get accounts.",
        discussion: "Works while the server runs and while it does not. accounts.registration must be invited or open.",
        subcommands: [Create.self, List.self, Revoke.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an invitation.", discussion: "Prints the link for a browser, if there is one, and the link for a client. They are shown only now.")
        @OptionGroup var options: ConfigurationOption
        @Option(help: "The domain of the account; the first one, unless given.") var domain: String?
        @Option(help: "The name that the account will have, such as juliet; without, whoever is invited chooses one.") var name: String?
        @Option(help: ArgumentHelp("An account whose contact one becomes.", valueName: "jid")) var contact: String?
        @Option(help: "How many accounts can be made.") var uses = 1
        @Option(help: ArgumentHelp("For how many days it is good; accounts.invitations.lifetime, unless given.")) var days: Int?

        func run() async throws {
            if let days, !(1...365).contains(days) { throw ValidationError("--days is from 1 to 365") }
            var wish = InvitationOrder.Making()
            (wish.domain, wish.name, wish.contact, wish.uses) = (domain, name, contact, uses)
            wish.seconds = days.map { Int64($0) * 86_400 }
            let order = ControlOrder.invitation(.make(wish))
            try await AccountCommand.atDesk(try options.load()) { desk in
                guard case .invited(let uri, let page, _) = try await desk.ask(order) else { throw ServerReach.unexpected }
                if let page { Terminal.say(page) }
                Terminal.say(uri)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the invitations.")
        @OptionGroup var options: ConfigurationOption
        @Option(help: "Only those of a domain.") var domain: String?
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                var last: String?
                while case .invitations(let page) = try await desk.ask(.invitation(.list(domain: domain, after: last))), let end = page.last {
                    for line in page { Terminal.say(json ? Self.json(line) : line.text) }
                    last = end.id
                }
            }
        }

        private static func json(_ line: InvitationLine) -> String {
            String(decoding: (try? ControlClient.encoder.encode(line)) ?? Data(), as: UTF8.self)
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take an invitation back: its link is good for nothing.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "Its identifier, as the list shows it.") var id: String

        func run() async throws {
            let order = ControlOrder.invitation(.revoke(id))
            try await AccountCommand.atDesk(try options.load()) { desk in _ = try await desk.ask(order) }
            Terminal.say("revoked \(id)")
        }
    }
}
