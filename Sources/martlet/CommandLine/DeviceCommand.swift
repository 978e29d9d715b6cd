import ArgumentParser
import Foundation

struct DeviceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device", abstract: "See on which devices accounts are used, and take their access away (XEP-0494).",
        discussion: "Works while the server runs and while it does not. What is changed is written to the audit log.",
        subcommands: [List.self, Revoke.self, Name.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the devices that have access to an account, the one that was seen last first.",
            discussion: "One line for each: its identifier, whether it is connected or when it was seen last, by what it logs in, and what it is called.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The account.", valueName: "jid")) var address: String
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                guard case .devices(let lines) = try await desk.ask(.device(.list(of: address))) else { throw ServerReach.unexpected }
                for line in lines { Terminal.say(json ? Terminal.json(line) : line.text) }
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a device's sessions, and take its tokens away.",
            discussion: """
                A device that has been given the password can log in with it again, until the account has a new one; so can one that has a certificate, or that \
                an authorization server lets in. Then that is said, and the command ends with 0 all the same.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The account.", valueName: "jid")) var address: String
        @Argument(help: "The device's identifier, as the list shows it.") var id: String

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                guard case .revoked(let remainder) = try await desk.ask(.device(.revoke(of: address, id: id))) else { throw ServerReach.unexpected }
                Terminal.say("revoked \(id)")
                if let remainder { Terminal.complain(remainder.advice(for: address)) }
            }
        }
    }

    struct Name: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Call a device something, whatever it says itself.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The account.", valueName: "jid")) var address: String
        @Argument(help: "The device's identifier, as the list shows it.") var id: String
        @Argument(help: "What it is called from now on; without, what it says itself.") var name: String?

        func run() async throws {
            let order = ControlOrder.device(.name(of: address, id: id, name))
            try await AccountCommand.atDesk(try options.load()) { desk in _ = try await desk.ask(order) }
        }
    }
}
